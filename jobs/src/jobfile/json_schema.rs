//! The JSON Schema (2020-12) of the job file, for editors: `caudal schema`. Made from the grammar and the defaults page.

use super::defaults;
use super::grammar::JOB;
use super::node::Node;
use super::shape::{Keys, Names, Shape, Zero};
use serde_json::{Map, Value as Json, json};

/// The schema.
pub fn json_schema() -> Json {
    let mut schema = of(&JOB, Some(&defaults::tree()));
    if let Json::Object(map) = &mut schema {
        map.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
        map.insert("title".into(), json!("caudal job file"));
    }
    schema
}

/// A value that comes from a variable or a file may be anything.
const REFERENCE: &str = r"\$\{";

fn of(shape: &'static Shape, defaults: Option<&Node>) -> Json {
    match shape {
        Shape::Text | Shape::Expression => json!({"type": ["string", "number", "boolean"]}),
        Shape::Identifier => pattern("^[A-Za-z_][A-Za-z0-9_]{0,47}$"),
        Shape::JobName => pattern("^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$"),
        Shape::Integer(low, high) if *high == u64::MAX => or_reference(json!({"type": "integer", "minimum": low})),
        Shape::Integer(low, high) => or_reference(json!({"type": "integer", "minimum": low, "maximum": high})),
        Shape::Bool => or_reference(json!({"type": "boolean"})),
        Shape::Duration(Zero::Allowed) => pattern("^[0-9]+ ?(us|ms|s|m|h|d|w|y)$"),
        Shape::Duration(Zero::Refused(_)) => pattern("^0*[1-9][0-9]* ?(us|ms|s|m|h|d|w|y)$"),
        Shape::WindowSize => pattern("^(1mo|0*[1-9][0-9]* ?(us|ms|s|m|h|d|w|y))$"),
        Shape::Bytes => json!({"anyOf": [{"type": "integer", "minimum": 0}, pattern("^[0-9]+ ?(B|kB|MB|GB|KiB|MiB|GiB|TiB)?$")]}),
        Shape::Choice(["1"]) => json!({"enum": [1, "1"]}),
        Shape::Choice(words) => or_reference(json!({"enum": words})),
        Shape::Character => json!({"type": "string", "minLength": 1, "maxLength": 1}),
        Shape::List(item) => json!({"type": "array", "items": of(item, None)}),
        Shape::OneOrMany(item) => {
            let one = of(item, None);
            json!({"anyOf": [one, {"type": "array", "items": one}]})
        }
        Shape::Map(keys) => map(keys, defaults),
        Shape::Named(names, value) => named(*names, value, defaults),
        Shape::Either { scalar, list, map } => {
            let all: Vec<Json> = [scalar, list, map].into_iter().flatten().map(|s| of(s, defaults)).collect();
            json!({"anyOf": all})
        }
        Shape::Any => json!({}),
        Shape::Later(_) => json!(false),
    }
}

fn pattern(text: &str) -> Json {
    json!({"type": "string", "pattern": format!("{text}|{REFERENCE}")})
}

fn or_reference(schema: Json) -> Json {
    json!({"anyOf": [schema, {"type": "string", "pattern": REFERENCE}]})
}

fn map(keys: &'static Keys, defaults: Option<&Node>) -> Json {
    let mut properties = Map::new();
    for key in keys.keys {
        let default = defaults.and_then(|d| d.get(key.name));
        let below = defaults.and_then(|d| d.get(&format!("if {}", key.name))).or(default);
        let mut schema = of(key.shape, below);
        if let Json::Object(schema) = &mut schema {
            schema.insert("description".into(), json!(key.doc));
            let shown = default.filter(|d| d.scalar().is_some()).map(Node::to_json);
            schema.extend(shown.map(|d| ("default".to_string(), d)));
        }
        properties.insert(key.name.into(), schema);
    }
    let required: Vec<&str> = keys.keys.iter().filter(|k| k.required).map(|k| k.name).collect();
    let mut schema = json!({"type": "object", "properties": properties, "additionalProperties": false});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    if !keys.one_of.is_empty() {
        schema["oneOf"] = keys.one_of.iter().map(|name| json!({"required": [name]})).collect();
    }
    if required.is_empty() && keys.one_of.is_empty() {
        schema["type"] = json!(["object", "null"]);
    }
    schema
}

fn named(names: Names, value: &'static Shape, defaults: Option<&Node>) -> Json {
    let value = of(value, defaults.and_then(|d| d.get("<name>")));
    let pattern = match names {
        Names::Identifiers => "^[A-Za-z_][A-Za-z0-9_]{0,47}$",
        Names::Stores => "^[a-z][a-z0-9_]{0,47}$",
        Names::Free => return json!({"type": ["object", "null"], "additionalProperties": value}),
    };
    json!({"type": ["object", "null"], "patternProperties": {pattern: value}, "additionalProperties": false})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_grammar_is_described() {
        fn check(shape: &'static Shape, text: &str) {
            match shape {
                Shape::Map(Keys { keys, .. }) => keys.iter().for_each(|key| {
                    assert!(text.contains(&format!("\"{}\":", key.name)), "`{}` is not in the schema", key.name);
                    check(key.shape, text);
                }),
                Shape::Named(_, inner) | Shape::List(inner) | Shape::OneOrMany(inner) => check(inner, text),
                Shape::Either { scalar, list, map } => [scalar, list, map].into_iter().flatten().for_each(|s| check(s, text)),
                _ => {}
            }
        }
        check(&JOB, &json_schema().to_string());
    }

    #[test]
    fn defaults_are_shown() {
        let stream = &json_schema()["properties"]["streams"]["patternProperties"]["^[a-z][a-z0-9_]{0,47}$"];
        assert_eq!(stream["properties"]["lateness"]["default"], "1h");
        assert_eq!(stream["properties"]["watermark"]["properties"]["max_delay"]["default"], "10s");
        assert_eq!(stream["required"], json!(["from"]));
    }
}
