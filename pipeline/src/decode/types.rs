//! Types of places by the stream's schema, and the fields of a stream that lists none.
//!
//! Without `fields` a stream has its schema's scalar properties by name, where the name is an identifier:
//!
//! 1. under `explode`, those of an element;
//! 2. those of the whole message (of an envelope, the envelope's);
//! 3. those of the payload on which all payload schemas agree.
//!
//! Of two with the same name the first wins. A number needs a scale, and a schema tells one only by `multipleOf`.

use super::place::Place;
use super::pointer::{self, Pointer};
use super::shapes::{Scalar, Shape, scalar};
use super::spec::{DecoderSpec, ExcessDigits, FieldFrom, FieldSpec, Reference, SchemaSpec, SpecError};
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// What the schema of a spec says about types.
pub(crate) struct SchemaTypes<'a> {
    spec: &'a DecoderSpec,
    explode: Option<Pointer>,
    payload_at: Option<Place>,
}

impl<'a> SchemaTypes<'a> {
    /// Reads what can be read; what is wrong with pointers is reported elsewhere.
    pub fn new(spec: &'a DecoderSpec) -> SchemaTypes<'a> {
        let payload_at = match &spec.schema {
            Some(SchemaSpec::Envelope { at, .. }) => Place::new(&Reference(at.clone()), spec.explode.is_some()).ok(),
            _ => None,
        };
        SchemaTypes { spec, explode: spec.explode.as_deref().and_then(|at| Pointer::parse(at).ok()), payload_at }
    }

    /// The type of a place, if the schema tells it.
    pub fn at(&self, place: &Place) -> Option<Scalar> {
        let shapes = match place {
            Place::Message(pointer) => self.message()?.at(pointer),
            Place::Element(pointer) => self.elements().into_iter().flat_map(|shape| shape.at(pointer)).collect(),
            Place::Metadata(_) => return None,
        };
        scalar(&shapes).or_else(|| self.in_payload(place))
    }

    fn shape(&self, schema: &'a Json) -> Shape<'a> {
        Shape::new(schema, &self.spec.schema_resources)
    }

    fn message(&self) -> Option<Shape<'a>> {
        match self.spec.schema.as_ref()? {
            SchemaSpec::Whole(schema) | SchemaSpec::Envelope { envelope: schema, .. } => Some(self.shape(schema)),
            // Knows nothing of the message, but is asked for the places within the element only.
            SchemaSpec::Element(_) => None,
        }
    }

    fn elements(&self) -> Vec<Shape<'a>> {
        match (&self.spec.schema, &self.explode) {
            (Some(SchemaSpec::Element(schema)), Some(_)) => vec![self.shape(schema)],
            (Some(_), Some(array)) => {
                self.message().into_iter().flat_map(|shape| shape.at(array)).flat_map(|shape| shape.items()).collect()
            }
            _ => Vec::new(),
        }
    }

    fn payloads(&self) -> Vec<Shape<'a>> {
        match &self.spec.schema {
            Some(SchemaSpec::Envelope { of, .. }) => of.values().map(|schema| self.shape(schema)).collect(),
            _ => Vec::new(),
        }
    }

    /// The type within the payload, if all payload schemas agree.
    fn in_payload(&self, place: &Place) -> Option<Scalar> {
        let below = match (place, self.payload_at.as_ref()?) {
            (Place::Message(pointer), Place::Message(at)) | (Place::Element(pointer), Place::Element(at)) => pointer.below(at)?,
            _ => return None,
        };
        agreed(self.payloads().into_iter().map(|shape| scalar(&shape.at(&below))))
    }

    /// The fields of a stream that lists none.
    pub fn fields(&self, errors: &mut Vec<SpecError>) -> Vec<FieldSpec> {
        let mut found: BTreeMap<String, (String, Scalar)> = BTreeMap::new();
        let mut add = |prefix: &str, scalars: BTreeMap<&'a str, Scalar>| {
            for (name, scalar) in scalars.into_iter().filter(|(name, _)| is_identifier(name)) {
                found.entry(name.to_owned()).or_insert_with(|| (format!("{prefix}/{}", pointer::escape(name)), scalar));
            }
        };
        self.elements().into_iter().for_each(|shape| add(".", shape.scalars()));
        self.message().into_iter().for_each(|shape| add("", shape.scalars()));
        if let Some(SchemaSpec::Envelope { at, .. }) = &self.spec.schema {
            add(at, self.common_scalars());
        }
        found.into_iter().filter_map(|(name, (at, scalar))| implicit(name, at, scalar, errors)).collect()
    }

    /// Types of a CSV record's columns.
    pub fn columns(&self) -> BTreeMap<&'a str, Scalar> {
        self.message().map(Shape::scalars).unwrap_or_default()
    }

    fn common_scalars(&self) -> BTreeMap<&'a str, Scalar> {
        let payloads: Vec<BTreeMap<&str, Scalar>> = self.payloads().into_iter().map(Shape::scalars).collect();
        let names = payloads.first().into_iter().flat_map(|first| first.keys().copied());
        names.filter_map(|name| Some((name, agreed(payloads.iter().map(|scalars| scalars.get(name).copied()))?))).collect()
    }
}

fn agreed(mut scalars: impl Iterator<Item = Option<Scalar>>) -> Option<Scalar> {
    let first = scalars.next()??;
    scalars.all(|scalar| scalar == Some(first)).then_some(first)
}

fn implicit(name: String, at: String, scalar: Scalar, errors: &mut Vec<SpecError>) -> Option<FieldSpec> {
    if scalar.field_type().is_none() {
        let message = format!(
            "the schema's property `{name}` is a number of unknown scale: give it a `multipleOf` there (0.001 for three digits after \
             the point), or list the stream's `fields`, as in `{name}: {{at: {at}, type: decimal(3)}}`"
        );
        errors.push(SpecError { path: "fields".into(), span: None, message });
        return None;
    }
    let from = FieldFrom::Reference(Reference(at));
    Some(FieldSpec { name, from, field_type: scalar.field_type(), excess_digits: ExcessDigits::Round, default: None })
}

/// Whether expressions can name it.
pub(crate) fn is_identifier(name: &str) -> bool {
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    first && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && !["true", "false", "null", "in"].contains(&name)
}
