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

impl Rules {
    /// Compiles the schemas, or notes what is wrong with each.
    pub fn new(spec: &DecoderSpec, errors: &mut Vec<SpecError>) -> Option<Rules> {
        let mut compile = |path: String, schema: &Json| {
            let compiled = Schema::new(schema, &spec.schema_resources);
            compiled.map_err(|message| errors.push(SpecError { path, span: None, message })).ok()
        };
        match &spec.schema {
            None => Some(Rules::Anything),
            Some(SchemaSpec::Whole(schema)) => compile("schema".into(), schema).map(Rules::Message),
            Some(SchemaSpec::Element(schema)) => {
                let compiled = compile("schema".into(), schema).map(Rules::Element);
                if spec.explode.is_none() {
                    let message = "the schema is for exploded elements, but the stream has no `explode`".to_owned();
                    errors.push(SpecError { path: "schema".into(), span: None, message });
                }
                compiled
            }
            Some(SchemaSpec::Envelope { envelope, at, by, of }) => {
                let schema = compile("schema".into(), envelope);
                let payloads: BTreeMap<String, Option<Schema>> =
                    of.iter().map(|(name, payload)| (name.clone(), compile(format!("schema.of.{name}"), payload))).collect();
                let mut place = |key: &str, written: &String| {
                    let place = Place::new(&Reference(written.clone()), spec.explode.is_some());
                    let place = place.and_then(|place| match place {
                        Place::Metadata(_) => Err(format!("`{written}` must be a pointer into the message, as in `/event_type`")),
                        place => Ok(place),
                    });
                    place.map_err(|message| errors.push(SpecError { path: format!("schema.{key}"), span: None, message })).ok()
                };
                let (at, by) = (place("at", at), place("by", by));
                if of.is_empty() {
                    let message = "no payload schema is listed: nothing could be valid".to_owned();
                    errors.push(SpecError { path: "schema.of".into(), span: None, message });
                }
                let of = payloads.into_iter().map(|(name, schema)| Some((name, schema?))).collect::<Option<_>>()?;
                Some(Rules::Envelope(Box::new(Envelope { schema: schema?, at: at?, by: by?, of })))
            }
        }
    }

    /// Violations of the message's own schema.
    pub fn message(&self, root: &Json) -> Violations {
        let mut violations = Violations::default();
        let schema = match self {
            Rules::Anything | Rules::Element(_) => return violations,
            Rules::Message(schema) => schema,
            Rules::Envelope(envelope) => &envelope.schema,
        };
        if !schema.is_valid(root) {
            schema.violations(root, "", &mut violations);
        }
        violations
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
