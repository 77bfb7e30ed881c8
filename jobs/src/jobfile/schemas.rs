//! Schema files: loaded by path, with all the files that their `$ref`s name.
//!
//! A relative `$ref` means a file beside the schema, whatever the schema's `$id` says. It is rewritten to a `file:` URI
//! relative to the job, under which the other document is registered: the same on every machine.

use super::include::beside;
use super::mistakes::Mistakes;
use super::reader::At;
use super::surroundings::Surroundings;
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

/// Loads schemas of one stream.
pub struct Schemas<'a> {
    around: &'a Surroundings<'a>,
    job_file: &'a str,
    /// Documents that `$ref`s name, by URI.
    pub resources: BTreeMap<String, Json>,
}

impl<'a> Schemas<'a> {
    /// None loaded yet.
    pub fn new(around: &'a Surroundings<'a>, job_file: &'a str) -> Schemas<'a> {
        Schemas { around, job_file, resources: BTreeMap::new() }
    }

    /// The schema whose path stands at `at`.
    pub fn load(&mut self, at: &At<'_>, mistakes: &mut Mistakes) -> Option<Json> {
        let path = path_of(at, self.job_file)?;
        match self.document(&path) {
            Ok(schema) => Some(schema),
            Err(message) => {
                at.mistake(mistakes, message);
                None
            }
        }
    }

    fn document(&mut self, path: &Path) -> Result<Json, String> {
        let shown = path.display();
        let text = (self.around.file)(path).map_err(|e| format!("schema `{shown}` cannot be read: {e}"))?;
        let mut schema: Json = serde_json::from_str(&text).map_err(|e| format!("schema `{shown}` is not JSON: {e}"))?;
        if !schema.is_object() && !schema.is_boolean() {
            return Err(format!("schema `{shown}` is neither an object nor a boolean"));
        }
        let mut ids = BTreeSet::new();
        collect_ids(&schema, &mut ids);
        self.references(&mut schema, path, &ids)?;
        Ok(schema)
    }

    /// Rewrites the relative references below `schema` and loads what they name.
    fn references(&mut self, schema: &mut Json, path: &Path, ids: &BTreeSet<String>) -> Result<(), String> {
        match schema {
            Json::Array(items) => items.iter_mut().try_for_each(|item| self.references(item, path, ids)),
            Json::Object(map) => {
                for (key, value) in map.iter_mut() {
                    match (key.as_str(), value) {
                        ("$ref" | "$dynamicRef", Json::String(reference)) => *reference = self.reference(reference, path, ids)?,
                        ("const" | "enum" | "default" | "examples", _) => {}
                        (_, value) => self.references(value, path, ids)?,
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn reference(&mut self, reference: &str, path: &Path, ids: &BTreeSet<String>) -> Result<String, String> {
        let (target, fragment) = reference.split_once('#').map_or((reference, None), |(t, f)| (t, Some(f)));
        let absolute = target.split_once(':').is_some_and(|(scheme, _)| scheme.chars().all(|c| c.is_ascii_alphanumeric()));
        if target.is_empty() || absolute || ids.contains(target) {
            return Ok(reference.into());
        }
        let other = path.parent().unwrap_or(Path::new("")).join(target);
        let uri = self.uri(&other);
        if !self.resources.contains_key(&uri) {
            self.resources.insert(uri.clone(), Json::Bool(true));
            let document = self.document(&other).map_err(|e| format!("`$ref: {reference}` in `{}`: {e}", path.display()))?;
            self.resources.insert(uri.clone(), document);
        }
        Ok(fragment.map_or_else(|| uri.clone(), |f| format!("{uri}#{f}")))
    }

    /// The same for the same layout of files, wherever the job lies.
    fn uri(&self, path: &Path) -> String {
        let folder = Path::new(self.job_file).parent().unwrap_or(Path::new(""));
        let path = normal(path);
        let relative = path.strip_prefix(normal(folder)).unwrap_or(&path);
        let parts = relative.components().map(|c| match c {
            Component::ParentDir => "parent".into(),
            other => other.as_os_str().to_string_lossy().replace('%', "%25").replace(' ', "%20"),
        });
        format!("file:///{}", parts.filter(|p| p != "/").collect::<Vec<String>>().join("/"))
    }
}

/// The file that stands at `at`, relative to the file that says so; for an override, to the job file.
pub fn path_of(at: &At<'_>, job_file: &str) -> Option<PathBuf> {
    let place = &at.node.place;
    let file = if place.line == 0 { job_file } else { &place.file };
    Some(beside(file, at.text()?))
}

fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if out.components().next_back().is_some_and(|c| matches!(c, Component::Normal(_))) => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

fn collect_ids(schema: &Json, ids: &mut BTreeSet<String>) {
    match schema {
        Json::Array(items) => items.iter().for_each(|i| collect_ids(i, ids)),
        Json::Object(map) => {
            ids.extend(map.get("$id").and_then(Json::as_str).map(str::to_string));
            map.values().for_each(|v| collect_ids(v, ids));
        }
        _ => {}
    }
}

/// Whether a value at `pointer` is there and not null in everything that the schema accepts; `None` if that cannot be
/// told by looking at `properties`, `required` and `type` alone.
pub fn requires(schema: &Json, pointer: &str) -> Option<bool> {
    let mut schema = schema;
    for name in pointer.split('/').skip(1) {
        let name = name.replace("~1", "/").replace("~0", "~");
        let property = schema.get("properties").and_then(|p| p.get(&name));
        let required =
            schema.get("required").and_then(Json::as_array).is_some_and(|r| r.iter().any(|n| n == &Json::from(name.as_str())));
        let combined = ["$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if"].iter().any(|k| schema.get(k).is_some());
        match (required, property) {
            (false, _) if combined => return None,
            (false, _) => return Some(false),
            (true, None) => return None,
            (true, Some(property)) => schema = property,
        }
    }
    match schema.get("type") {
        Some(Json::String(one)) => Some(one != "null"),
        Some(Json::Array(several)) => Some(!several.iter().any(|t| t == "null")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobfile::node::{Node, Place};
    use serde_json::json;

    fn files(path: &Path) -> Result<String, String> {
        match path.to_str() {
            Some("jobs/a/reading.json") => {
                Ok(r##"{"$id": "https://x.org/r.json", "properties": {"p": {"$ref": "../common/types.json#/$defs/p"},
                "q": {"$ref": "#/$defs/q"}, "r": {"$ref": "https://x.org/known"}}, "enum": [{"$ref": "nothing.json"}]}"##
                    .into())
            }
            Some("jobs/a/../common/types.json") => Ok(r#"{"$defs": {"p": {"$ref": "types.json"}}}"#.into()),
            Some("jobs/a/../common/types.json/../types.json" | "jobs/a/../common/../common/types.json") => unreachable!(),
            _ => Err("no such file".into()),
        }
    }

    #[test]
    fn references_to_files_become_resources_once() {
        let around = Surroundings { variable: &|_| None, file: &files, overrides: Vec::new(), fits: &|_| Ok(()) };
        let mut schemas = Schemas::new(&around, "jobs/job.yaml");
        let node = Node::plain("a/reading.json", Place::outside("--set"));
        let mut mistakes = Mistakes::new("jobs/job.yaml");
        let schema = schemas.load(&At::root(&node), &mut mistakes);
        assert_eq!(mistakes.sorted(), []);
        let schema = schema.expect("there are no mistakes");
        assert_eq!(schema["properties"]["p"]["$ref"], "file:///common/types.json#/$defs/p");
        assert_eq!(schema["properties"]["r"]["$ref"], "https://x.org/known");
        assert_eq!(schemas.resources.keys().collect::<Vec<_>>(), ["file:///common/types.json"]);
        assert_eq!(
            schemas.resources["file:///common/types.json"],
            json!({"$defs": {"p": {"$ref": "file:///common/types.json"}}})
        );
    }

    #[test]
    fn a_required_path_is_told_from_an_optional_one() {
        let schema = json!({
            "required": ["a", "n", "c"],
            "properties": {
                "a": {"type": "object", "required": ["x"], "properties": {"x": {"type": "string"}, "y": {"type": "string"}}},
                "n": {"type": ["string", "null"]}, "c": {"$ref": "#/$defs/c"},
            },
        });
        for (pointer, expected) in
            [("/a/x", Some(true)), ("/a/y", Some(false)), ("/n", Some(false)), ("/b", Some(false)), ("/c/z", None), ("/c", None)]
        {
            assert_eq!(requires(&schema, pointer), expected, "{pointer}");
        }
    }
}
