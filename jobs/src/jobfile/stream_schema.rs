//! `streams.<name>.schema`: one file, or an envelope and a file for each type.

use super::mistakes::Mistakes;
use super::reader::At;
use super::schemas::{Schemas, requires};
use caudal_pipeline::decode::SchemaSpec;
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};

/// A schema with all that it refers to.
#[derive(Clone, Debug)]
pub struct LoadedSchema {
    /// The schema.
    pub spec: SchemaSpec,
    /// Other documents, by URI.
    pub resources: BTreeMap<String, Json>,
}

impl LoadedSchema {
    /// All of it as one value, for the fingerprint.
    pub fn to_json(&self) -> Json {
        let spec = match &self.spec {
            SchemaSpec::Whole(schema) => schema.clone(),
            SchemaSpec::Envelope { envelope, at, by, of } => {
                serde_json::json!({"envelope": envelope, "at": at, "by": by, "of": of})
            }
            SchemaSpec::Element(schema) => serde_json::json!({"element": schema}),
        };
        serde_json::json!({"schema": spec, "resources": self.resources})
    }
}

/// The schema of a stream, if it has one and its files can be read.
pub fn schema(stream: &At<'_>, schemas: &mut Schemas<'_>, mistakes: &mut Mistakes) -> Option<SchemaSpec> {
    let at = stream.get("schema")?;
    if at.text().is_some() {
        return schemas.load(&at, mistakes).map(SchemaSpec::Whole);
    }
    let items = at.items();
    match items.as_slice() {
        [envelope, payload] if envelope.text().is_some() && payload.has("of") => {
            self::envelope(envelope, payload, schemas, mistakes)
        }
        [single] if single.text().is_some() => schemas.load(single, mistakes).map(SchemaSpec::Whole),
        _ => {
            let message = "expected one schema file, or [envelope.json, {at: /payload, by: /type, of: {a: a.json, b: b.json}}]";
            at.mistake(mistakes, message);
            None
        }
    }
}

fn envelope(envelope: &At<'_>, payload: &At<'_>, schemas: &mut Schemas<'_>, mistakes: &mut Mistakes) -> Option<SchemaSpec> {
    let whole = schemas.load(envelope, mistakes);
    let choices = payload.get("of")?;
    if choices.node.entries().is_empty() {
        choices.mistake(mistakes, "no type: name each with its schema file");
        return None;
    }
    let loaded: Vec<Option<(String, Json)>> =
        choices.entries().map(|(e, at)| Some((e.key.clone(), schemas.load(&at, mistakes)?))).collect();
    let of: BTreeMap<String, Json> = loaded.into_iter().collect::<Option<_>>()?;
    Some(SchemaSpec::Envelope { envelope: whole?, at: payload.text_of("at")?, by: payload.text_of("by")?, of })
}

/// Whether whatever is valid has a value at `pointer`; `None` if that cannot be told.
pub fn promises(schema: Option<&SchemaSpec>, pointer: &str) -> Option<bool> {
    match schema {
        None => Some(false),
        Some(SchemaSpec::Whole(schema)) => requires(schema, pointer),
        Some(SchemaSpec::Envelope { envelope, at, of, .. }) => match pointer
            .strip_prefix(at.as_str())
            .filter(|r| r.starts_with('/'))
        {
            None => requires(envelope, pointer),
            Some(rest) if requires(envelope, pointer) != Some(true) => {
                let each: Vec<Option<bool>> = of.values().map(|s| requires(s, rest)).collect();
                if each.contains(&Some(false)) { Some(false) } else { each.into_iter().collect::<Option<Vec<_>>>().map(|_| true) }
            }
            Some(_) => Some(true),
        },
        Some(SchemaSpec::Element(_)) => None,
    }
}

/// The top-level properties that a valid record may lack.
pub fn optional_properties(schema: Option<&SchemaSpec>) -> BTreeSet<String> {
    let Some(SchemaSpec::Whole(schema)) = schema else { return BTreeSet::new() };
    let names = schema.get("properties").and_then(Json::as_object).into_iter().flat_map(|p| p.keys());
    let pointer = |name: &str| format!("/{}", name.replace('~', "~0").replace('/', "~1"));
    names.filter(|name| requires(schema, &pointer(name)) == Some(false)).cloned().collect()
}
