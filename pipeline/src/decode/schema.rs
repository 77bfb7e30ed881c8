//! One JSON Schema (2020-12), compiled: a verdict, and every violation where the verdict is no.
//!
//! Formats are asserted. What could not be judged is refused when the schema is read, never judged wrongly: an unknown
//! format, a regular expression that the engine cannot run, a reference to a document that nobody supplied (nothing
//! is ever fetched), another draft than 2020-12, a schema that its own meta-schema refuses.

use super::{schema_text, text};
use crate::record::Violation;
use jsonschema::{Registry, Validator};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};

/// The most violations that one record keeps; a megabyte of wrong array elements must not become a gigabyte of text.
const VIOLATIONS_MAX: usize = 1_000;

/// The meta-schema of the one draft that schemas may name.
const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// A compiled schema.
#[derive(Debug)]
pub(crate) struct Schema(Box<Validator>);

impl Schema {
    /// Compiles `schema`, whose references may name `resources` by URI.
    pub fn new(schema: &Json, resources: &BTreeMap<String, Json>) -> Result<Schema, String> {
        Schema::compile(schema, resources, true)
    }

    fn compile(schema: &Json, resources: &BTreeMap<String, Json>, formats_asserted: bool) -> Result<Schema, String> {
        std::iter::once(schema).chain(resources.values()).try_for_each(known_draft)?;
        let registry = Registry::new()
            .retriever(Nowhere)
            .extend(resources.iter().map(|(uri, document)| (uri.as_str(), document)))
            .and_then(|registry| registry.prepare())
            .map_err(|e| format!("a document that the schema may refer to cannot be used: {}", clause(&e)))?;
        let options = jsonschema::options()
            .with_registry(&registry)
            .with_retriever(Nowhere)
            .should_validate_formats(formats_asserted)
            .should_ignore_unknown_formats(!formats_asserted);
        let built = options.build(schema).map_err(|e| refusal(&e))?;
        Ok(Schema(Box::new(built)))
    }

    /// The verdict alone: what nearly every record needs.
    pub fn is_valid(&self, value: &Json) -> bool {
        self.0.is_valid(value)
    }

    /// Adds every violation; `prefix` is the pointer to `value` within the message.
    pub fn violations(&self, value: &Json, prefix: &str, out: &mut Violations) {
        for error in self.0.iter_errors(value) {
            let path = format!("{prefix}{}", error.instance_path().as_str());
            out.add(path, schema_text::describe(&error));
        }
    }
}

/// Why a schema was not accepted, in words that name the remedy where there is one.
fn refusal(error: &jsonschema::ValidationError<'_>) -> String {
    let path = error.instance_path().as_str();
    let place = if path.is_empty() { String::new() } else { format!(" at `{}`", text::clip(path)) };
    format!("the schema cannot be used{place}: {}", clause(error))
}

/// An error of the library as part of a sentence of ours: bounded, on one line.
fn clause(error: &impl std::fmt::Display) -> String {
    let words: Vec<String> = error.to_string().split_whitespace().map(str::to_owned).collect();
    let line = words.join(" ");
    line.chars().take(400).collect()
}

/// Refuses other drafts by name. An unknown meta-schema is looked up among the resources later on.
fn known_draft(schema: &Json) -> Result<(), String> {
    let Some(declared) = schema.get("$schema").and_then(Json::as_str) else { return Ok(()) };
    let trimmed = declared.trim_end_matches('#');
    let other =
        trimmed != DRAFT && (trimmed.contains("://json-schema.org/draft-0") || trimmed.contains("://json-schema.org/draft/20"));
    if other {
        return Err(format!("the schema is written in `{}`: only {DRAFT} is understood", text::clip(declared)));
    }
    Ok(())
}

/// Refuses to fetch: documents come with the schema or not at all.
struct Nowhere;

impl jsonschema::Retrieve for Nowhere {
    fn retrieve(&self, uri: &jsonschema::Uri<String>) -> Result<Json, Box<dyn std::error::Error + Send + Sync>> {
        Err(format!("`{uri}` is not among the schema files of the job, and nothing is fetched").into())
    }
}

/// Violations in order, each once, at most [`VIOLATIONS_MAX`] of them: those that sort first, and a note that says so.
#[derive(Debug, Default)]
pub(crate) struct Violations {
    sorted: BTreeSet<Violation>,
    cut: bool,
}

impl Violations {
    /// Adds one.
    pub fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.sorted.insert(Violation { path: path.into(), message: message.into() });
        if self.sorted.len() > VIOLATIONS_MAX {
            self.sorted.pop_last();
            self.cut = true;
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// Those that concern the element at `element`, or everything but what lies within an element of `array`.
    pub fn concerning<'a>(&'a self, array: &'a str, element: &'a str) -> impl Iterator<Item = &'a Violation> {
        self.sorted.iter().filter(move |v| within(&v.path, element) || !within_any(&v.path, array))
    }

    /// Adds others.
    pub fn extend<'a>(&mut self, others: impl Iterator<Item = &'a Violation>) {
        others.for_each(|v| self.add(v.path.clone(), v.message.clone()));
    }

    /// The list for a dead letter.
    pub fn into_vec(self) -> Vec<Violation> {
        let mut list: Vec<Violation> = self.sorted.into_iter().collect();
        if let (true, Some(last)) = (self.cut, list.last().cloned()) {
            let message = format!("and more violations: only the first {VIOLATIONS_MAX} by path are kept");
            list.push(Violation { path: last.path, message });
        }
        list
    }
}

/// Whether `path` is `place` or lies below it.
fn within(path: &str, place: &str) -> bool {
    path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether `path` is an element of `array` or lies below one.
fn within_any(path: &str, array: &str) -> bool {
    path.strip_prefix(array).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
#[path = "schema_suite.rs"]
mod suite;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::json;

    fn document(text: &str) -> Json {
        json::parse(text.as_bytes()).unwrap()
    }

    fn refused(text: &str) -> String {
        Schema::new(&document(text), &BTreeMap::new()).unwrap_err()
    }

    fn violations(schema: &str, value: &str) -> Vec<String> {
        let schema = Schema::new(&document(schema), &BTreeMap::new()).unwrap();
        let mut out = Violations::default();
        schema.violations(&document(value), "/at", &mut out);
        out.into_vec().into_iter().map(|v| format!("{} {}", v.path, v.message)).collect()
    }

    #[test]
    fn all_violations_come_sorted_with_their_paths() {
        let schema = r#"{"type":"object","required":["id","z"],"additionalProperties":false,"properties":{
            "id":{"type":"string","format":"uuid"},"a/b":{"type":"array","items":{"type":"integer","maximum":10}},"z":true}}"#;
        let found = violations(schema, r#"{"id":"x","a/b":[1,11,"y"],"extra":null}"#);
        assert_eq!(
            found,
            [
                "/at property `z` is missing",
                "/at unexpected property `extra`",
                "/at/a~1b/1 must be at most 10, is 11",
                "/at/a~1b/2 must be of type integer, is \"y\"",
                "/at/id must be a valid uuid, is \"x\"",
            ]
        );
    }

    #[test]
    fn messages_and_their_number_are_bounded() {
        let text = format!("\"{}\"", "x".repeat(1 << 20));
        for schema in
            [r#"{"maxLength":3}"#, r#"{"const":1}"#, r#"{"enum":[1]}"#, r#"{"type":"integer"}"#, r#"{"not":{}}"#, "false"]
        {
            assert!(violations(schema, &text)[0].len() < 300, "{schema}");
        }
        let property = format!("{{{text}:1}}");
        for schema in
            [r#"{"additionalProperties":false}"#, r#"{"propertyNames":{"maxLength":2}}"#, r#"{"unevaluatedProperties":false}"#]
        {
            assert!(violations(schema, &property)[0].len() < 300, "{schema}");
        }
        let array = format!("[{}0]", "1,".repeat(5_000));
        let found = violations(r#"{"items":{"type":"string"}}"#, &array);
        assert_eq!(found.len(), VIOLATIONS_MAX + 1);
        assert!(found[VIOLATIONS_MAX].contains("and more violations"));
    }

    #[test]
    fn what_cannot_be_judged_is_refused_when_read() {
        for (schema, words) in [
            (r#"{"properties":{"a":{"format":"isbn"}}}"#, "isbn"),
            (r#"{"pattern":"("}"#, "pattern"),
            (r#"{"$ref":"http://example.com/other.json"}"#, "example.com"),
            (r##"{"$ref":"#/$defs/none"}"##, "/$defs/none"),
            (r#"{"type":"strin"}"#, "strin"),
            (r#"{"$schema":"http://json-schema.org/draft-07/schema#"}"#, "draft-07"),
            (r#"{"$schema":"https://example.com/mine"}"#, "example.com/mine"),
            ("[]", "schema"),
        ] {
            assert!(refused(schema).contains(words), "{schema}: {}", refused(schema));
        }
    }

    #[test]
    fn resources_are_found_by_relative_name() {
        let resources = BTreeMap::from([("common.json".to_owned(), document(r#"{"$defs":{"id":{"type":"string"}}}"#))]);
        let schema = Schema::new(&document(r#"{"properties":{"id":{"$ref":"common.json#/$defs/id"}}}"#), &resources).unwrap();
        assert!(schema.is_valid(&document(r#"{"id":"x"}"#)));
        assert!(!schema.is_valid(&document(r#"{"id":1}"#)));
    }

    #[test]
    fn extreme_numbers_and_schemas_that_loop_come_to_an_end() {
        let huge = "1e1000000000";
        for (schema, valid) in [
            (r#"{"type":"number"}"#, true),
            (r#"{"type":"integer"}"#, true),
            (r#"{"maximum":10}"#, false),
            (r#"{"minimum":10}"#, true),
            (r#"{"multipleOf":0.01}"#, true),
            (r#"{"const":1e1000000000}"#, true),
            (r#"{"uniqueItems":true,"enum":[5]}"#, false),
        ] {
            assert_eq!(violations(schema, huge).is_empty(), valid, "{schema}");
        }
        for schema in
            [r##"{"$ref":"#"}"##, r##"{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}}}"##]
        {
            let compiled = Schema::new(&document(schema), &BTreeMap::new());
            assert!(compiled.is_err() || compiled.is_ok_and(|s| s.is_valid(&Json::Null)), "{schema}");
        }
        let deep = "[".repeat(json::MAX_DEPTH) + &"]".repeat(json::MAX_DEPTH);
        assert!(violations(r##"{"type":"array","items":{"$ref":"#"}}"##, &deep).is_empty());
    }
}
