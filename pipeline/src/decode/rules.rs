//! A stream's validation: one schema, or an envelope and the payload schema that a field of it chooses.
//!
//! Every violation is reported with its pointer from the top of the message, whichever schema found it.

use super::place::{Found, Place, Scene};
use super::schema::{Schema, Violations};
use super::spec::{DecoderSpec, Reference, SchemaSpec, SpecError};
use super::text;
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// What is valid.
#[derive(Debug)]
pub(crate) enum Rules {
    /// Everything that parses.
    Anything,
    /// What the whole message's schema allows.
    Message(Schema),
    /// What each element's schema allows.
    Element(Schema),
    /// What an envelope's schema and the payload's allow.
    Envelope(Box<Envelope>),
}

/// An envelope and its payloads.
#[derive(Debug)]
pub(crate) struct Envelope {
    schema: Schema,
    at: Place,
    by: Place,
    of: BTreeMap<String, Schema>,
}

/// Compiles what a spec names, noting mistakes with their paths.
struct Compiler<'a> {
    spec: &'a DecoderSpec,
    errors: &'a mut Vec<SpecError>,
}

impl Compiler<'_> {
    fn mistake(&mut self, path: &str, message: String) {
        self.errors.push(SpecError { path: path.into(), span: None, message });
    }

    fn schema(&mut self, path: &str, schema: &Json) -> Option<Schema> {
        let compiled = Schema::new(schema, &self.spec.schema_resources);
        let compiled = if self.spec.explode.is_some() { compiled.map(Schema::listing_all) } else { compiled };
        compiled.map_err(|message| self.mistake(path, message)).ok()
    }

    fn place(&mut self, path: &str, written: &str) -> Option<Place> {
        match Place::new(&Reference(written.to_owned()), self.spec.explode.is_some()) {
            Ok(Place::Metadata(_)) => {
                self.mistake(path, format!("`{written}` must be a pointer into the message, as in `/event_type`"));
                None
            }
            Ok(place) => Some(place),
            Err(message) => {
                self.mistake(path, message);
                None
            }
        }
    }

    fn envelope(&mut self, envelope: &Json, at: &str, by: &str, of: &BTreeMap<String, Json>) -> Option<Envelope> {
        let schema = self.schema("schema", envelope);
        let compiled: Vec<(&String, Option<Schema>)> =
            of.iter().map(|(name, payload)| (name, self.schema(&format!("schema.of.{name}"), payload))).collect();
        let (at, by) = (self.place("schema.at", at), self.place("schema.by", by));
        if of.is_empty() {
            self.mistake("schema.of", "no payload schema is listed: nothing could be valid".into());
        }
        let of = compiled.into_iter().map(|(name, schema)| Some((name.clone(), schema?))).collect::<Option<_>>()?;
        Some(Envelope { schema: schema?, at: at?, by: by?, of })
    }
}

impl Rules {
    /// Compiles the schemas, or notes what is wrong with each.
    pub fn new(spec: &DecoderSpec, errors: &mut Vec<SpecError>) -> Option<Rules> {
        let mut compiler = Compiler { spec, errors };
        match &spec.schema {
            None => Some(Rules::Anything),
            Some(SchemaSpec::Whole(schema)) => compiler.schema("schema", schema).map(Rules::Message),
            Some(SchemaSpec::Element(schema)) => {
                if spec.explode.is_none() {
                    compiler.mistake("schema", "the schema is for exploded elements, but the stream has no `explode`".into());
                }
                compiler.schema("schema", schema).map(Rules::Element)
            }
            Some(SchemaSpec::Envelope { envelope, at, by, of }) => {
                compiler.envelope(envelope, at, by, of).map(|envelope| Rules::Envelope(Box::new(envelope)))
            }
        }
    }

    /// Adds violations of the message's own schema.
    pub fn message(&self, root: &Json, violations: &mut Violations) {
        let schema = match self {
            Rules::Anything | Rules::Element(_) => return,
            Rules::Message(schema) => schema,
            Rules::Envelope(envelope) => &envelope.schema,
        };
        if !schema.is_valid(root) {
            schema.violations(root, "", violations);
        }
    }

    /// Adds violations of the element's schema and of the payload's.
    pub fn element(&self, scene: &Scene<'_>, violations: &mut Violations) {
        match self {
            Rules::Anything | Rules::Message(_) => {}
            Rules::Element(schema) => {
                if !schema.is_valid(scene.element) {
                    schema.violations(scene.element, scene.element_path, violations);
                }
            }
            Rules::Envelope(envelope) => envelope.payload(scene, violations),
        }
    }
}

impl Envelope {
    fn payload(&self, scene: &Scene<'_>, violations: &mut Violations) {
        let Some(schema) = self.chosen(scene) else {
            let known: Vec<&String> = self.of.keys().collect();
            let found = self.by.find(scene).describe();
            return violations.add(self.by.path(scene), format!("must be one of {}, is {found}", text::list(&known)));
        };
        let payload = match self.at.find(scene) {
            Found::Json(payload) => payload,
            _ if self.is_null(scene) => &Json::Null,
            _ => return violations.add(self.at.path(scene), "the payload is missing"),
        };
        if !schema.is_valid(payload) {
            schema.violations(payload, &self.at.path(scene), violations);
        }
    }

    fn chosen(&self, scene: &Scene<'_>) -> Option<&Schema> {
        match self.by.find(scene) {
            Found::Json(Json::String(name)) => self.of.get(name),
            Found::Json(Json::Number(number)) => self.of.get(number.as_str()),
            _ => None,
        }
    }

    /// A payload that is null is there, and its schema judges it.
    fn is_null(&self, scene: &Scene<'_>) -> bool {
        match &self.at {
            Place::Message(pointer) => pointer.get(scene.root).is_some(),
            Place::Element(pointer) => pointer.get(scene.element).is_some(),
            Place::Metadata(_) => false,
        }
    }
}
