//! What a schema says about types, so that fields need not say it again.
//!
//! Follows `properties`, `prefixItems`, `items`, `$ref` (pointers within a document, other documents by their URI)
//! and `allOf`. What it cannot see (anchors, dynamic references, alternatives) has no type here, and the field must
//! declare one: a guess could be wrong.

use super::decimal::{self, Excess};
use super::pointer::{Pointer, Token};
use crate::value::{FieldType, SCALE_MAX};
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// How many references one after the other are followed.
const REFERENCES_MAX: usize = 32;

/// The type of a scalar, as far as a schema tells it. Null beside it does not matter: every field may be null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    Bool,
    Text,
    Integer,
    /// A number whose `multipleOf` tells the digits after the point, or nothing does.
    Number(Option<u8>),
}

impl Scalar {
    /// The field's type, unless only the job file can tell it.
    pub fn field_type(self) -> Option<FieldType> {
        match self {
            Scalar::Bool => Some(FieldType::Bool),
            Scalar::Text => Some(FieldType::Text),
            Scalar::Integer => Some(FieldType::Decimal(0)),
            Scalar::Number(scale) => scale.map(FieldType::Decimal),
        }
    }
}

/// A schema and the document that its pointers start from.
#[derive(Clone, Copy)]
pub(crate) struct Shape<'a> {
    schema: &'a Json,
    document: &'a Json,
    resources: &'a BTreeMap<String, Json>,
}

impl<'a> Shape<'a> {
    /// The shape of a whole schema.
    pub fn new(schema: &'a Json, resources: &'a BTreeMap<String, Json>) -> Shape<'a> {
        Shape { schema, document: schema, resources }
    }

    /// The shapes of what lies at a pointer.
    pub fn at(self, pointer: &Pointer) -> Vec<Shape<'a>> {
        pointer.tokens().iter().fold(vec![self], |shapes, token| shapes.into_iter().flat_map(|s| s.step(token)).collect())
    }

    /// The shapes of an array's elements.
    pub fn items(self) -> Vec<Shape<'a>> {
        self.facets().into_iter().filter_map(|f| f.schema.get("items").map(|schema| f.with(schema))).collect()
    }

    fn step(self, token: &Token) -> Vec<Shape<'a>> {
        let below = |facet: Shape<'a>| {
            let property = facet.schema.get("properties").and_then(|p| p.get(&token.key));
            let item = token.index().and_then(|i| {
                let prefix = facet.schema.get("prefixItems").and_then(|items| items.get(i));
                prefix.or_else(|| facet.schema.get("items"))
            });
            property.or(item).map(|schema| facet.with(schema))
        };
        self.facets().into_iter().filter_map(below).collect()
    }

    /// This schema and all that must hold together with it.
    fn facets(self) -> Vec<Shape<'a>> {
        let mut found = Vec::new();
        self.collect(&mut found, REFERENCES_MAX);
        found
    }

    fn collect(self, found: &mut Vec<Shape<'a>>, left: usize) {
        if left == 0 || found.len() > 1_000 {
            return;
        }
        found.push(self);
        if let Some(target) = self.schema.get("$ref").and_then(Json::as_str).and_then(|r| self.resolve(r)) {
            target.collect(found, left - 1);
        }
        for part in self.schema.get("allOf").and_then(Json::as_array).into_iter().flatten() {
            self.with(part).collect(found, left - 1);
        }
    }

    fn resolve(self, reference: &str) -> Option<Shape<'a>> {
        let (uri, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let document = if uri.is_empty() { self.document } else { self.resources.get(uri)? };
        let schema = Pointer::parse(fragment).ok()?.get(document)?;
        Some(Shape { schema, document, resources: self.resources })
    }

    fn with(self, schema: &'a Json) -> Shape<'a> {
        Shape { schema, ..self }
    }

    /// Properties by name, with their scalar type if they have one.
    pub fn scalars(self) -> BTreeMap<&'a str, Scalar> {
        let mut found = BTreeMap::new();
        for facet in self.facets() {
            for (name, property) in facet.schema.get("properties").and_then(Json::as_object).into_iter().flatten() {
                if let Some(scalar) = scalar(&[facet.with(property)]) {
                    found.entry(name.as_str()).or_insert(scalar);
                }
            }
        }
        found
    }
}

/// The scalar type on which all that is known of a place agrees first.
pub(crate) fn scalar(shapes: &[Shape<'_>]) -> Option<Scalar> {
    let facets: Vec<Shape<'_>> = shapes.iter().flat_map(|shape| shape.facets()).collect();
    let scalar = facets.iter().find_map(|facet| declared(facet.schema).or_else(|| listed(facet.schema)))?;
    match scalar {
        Scalar::Number(_) => Some(Scalar::Number(facets.iter().find_map(|facet| digits(facet.schema)))),
        other => Some(other),
    }
}

fn declared(schema: &Json) -> Option<Scalar> {
    let of = |name: &Json| match name.as_str()? {
        "boolean" => Some(Scalar::Bool),
        "string" => Some(Scalar::Text),
        "integer" => Some(Scalar::Integer),
        "number" => Some(Scalar::Number(None)),
        _ => None,
    };
    match schema.get("type")? {
        Json::Array(types) => {
            let mut others = types.iter().filter(|t| t.as_str() != Some("null"));
            let only = others.next()?;
            if others.next().is_none() { of(only) } else { None }
        }
        one => of(one),
    }
}

/// The type of `enum` and `const` values, if they share one.
fn listed(schema: &Json) -> Option<Scalar> {
    let values: Vec<&Json> = match (schema.get("const"), schema.get("enum")) {
        (Some(value), _) => vec![value],
        (None, Some(values)) => values.as_array()?.iter().collect(),
        _ => return None,
    };
    let of = |value: &&Json| match value {
        Json::Bool(_) => Some(Scalar::Bool),
        Json::String(_) => Some(Scalar::Text),
        Json::Number(n) if decimal::parse(n.as_str(), 0, b'.', Excess::Reject).is_ok() => Some(Scalar::Integer),
        _ => None,
    };
    let mut kinds = values.iter().filter(|v| !v.is_null()).map(of);
    let first = kinds.next()??;
    kinds.all(|kind| kind == Some(first)).then_some(first)
}

/// `multipleOf: 0.01` promises two digits after the point.
fn digits(schema: &Json) -> Option<u8> {
    let Json::Number(step) = schema.get("multipleOf")? else { return None };
    (0..=SCALE_MAX).find(|scale| decimal::parse(step.as_str(), *scale, b'.', Excess::Reject).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::json;

    #[test]
    fn types_are_found_through_references_and_allof() {
        let schema = json::parse(
            br##"{"allOf":[{"$ref":"common.json#/$defs/base"}],"$ref":"#/$defs/loop","properties":{
            "id":{"type":["string","null"]},"n":{"type":"number"},"m":{"type":"number","multipleOf":0.001},
            "mixed":{"type":["string","integer"]},"kind":{"enum":["a","b",null]},"list":{"type":"array","items":{"type":"boolean"}},
            "rows":{"prefixItems":[{"type":"integer"}],"items":{"$ref":"#/$defs/row"}}},
            "$defs":{"loop":{"$ref":"#/$defs/loop"},"row":{"properties":{"x":{"const":3}}}}}"##,
        )
        .unwrap();
        let common =
            json::parse(br##"{"$defs":{"base":{"properties":{"at":{"$ref":"#/$defs/t"}}},"t":{"type":"string"}}}"##).unwrap();
        let resources = BTreeMap::from([("common.json".to_owned(), common)]);
        let shape = Shape::new(&schema, &resources);
        let at = |pointer: &str| scalar(&shape.at(&Pointer::parse(pointer).unwrap()));
        for (pointer, expected) in [
            ("/id", Some(Scalar::Text)),
            ("/n", Some(Scalar::Number(None))),
            ("/m", Some(Scalar::Number(Some(3)))),
            ("/mixed", None),
            ("/kind", Some(Scalar::Text)),
            ("/list", None),
            ("/list/7", Some(Scalar::Bool)),
            ("/rows/0", Some(Scalar::Integer)),
            ("/rows/1/x", Some(Scalar::Integer)),
            ("/at", Some(Scalar::Text)),
            ("/none", None),
        ] {
            assert_eq!(at(pointer), expected, "{pointer}");
        }
        let names: Vec<&str> = shape.scalars().into_keys().collect();
        assert_eq!(names, ["at", "id", "kind", "m", "n"]);
    }
}
