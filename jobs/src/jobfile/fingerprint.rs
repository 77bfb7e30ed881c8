//! All of a job that alters its results, as one text: equal texts give equal results from equal records.
//!
//! Left out is what may change without a drain: limits, sinks, addresses and logins, start positions, table rows (the
//! log binds their version). Lengths of time are written in their largest unit, so that `60m` is `1h`. Contents of schemas are
//! in it, paths are not.

use super::grammar::JOB;
use super::node::{Content, Node};
use super::reader::At;
use super::shape::Shape;
use super::streams::BuiltStream;
use super::units;
use serde_json::Value as Json;

/// The job's fingerprint, as canonical JSON.
pub fn of(job: &At<'_>, streams: &[BuiltStream<'_>]) -> String {
    let Shape::Map(keys) = &JOB else { return String::new() };
    let section = |name: &str| match (keys.key(name), job.node.get(name)) {
        (Some(key), Some(node)) => canonical(key.shape, node, name),
        _ => Json::Null,
    };
    let schemas: Vec<Json> =
        streams.iter().map(|s| s.schema.as_ref().map_or(Json::Null, |loaded| sorted(loaded.to_json()))).collect();
    let all = ["name", "tables", "streams", "views"].map(section);
    Json::Array(all.into_iter().chain([Json::Array(schemas)]).collect()).to_string()
}

/// Keys that do not alter results.
const WITHOUT_EFFECT: [&str; 5] = ["properties", "start", "schema", "http", "max_ahead"];

/// Maps become lists of pairs: a closed set in the order of its grammar, names in the order written, which counts.
fn canonical(shape: &'static Shape, node: &Node, key: &str) -> Json {
    if WITHOUT_EFFECT.contains(&key) {
        return Json::Null;
    }
    let pair = |key: &str, value: Json| Json::Array(vec![Json::from(key), value]);
    match (shape.for_node(node), &node.content) {
        (Some(Shape::Map(keys)), _) => {
            let written = keys.keys.iter().filter_map(|k| Some((k, node.get(k.name)?)));
            Json::Array(written.map(|(k, value)| pair(k.name, canonical(k.shape, value, k.name))).collect())
        }
        (Some(Shape::Named(_, value)), Content::Map(entries)) => {
            Json::Array(entries.iter().map(|e| pair(&e.key, canonical(value, &e.node, ""))).collect())
        }
        (Some(Shape::List(item) | Shape::OneOrMany(item)), Content::List(items)) => {
            Json::Array(items.iter().map(|i| canonical(item, i, "")).collect())
        }
        (Some(Shape::OneOrMany(item)), _) => Json::Array(vec![canonical(item, node, "")]),
        (Some(Shape::Duration(_) | Shape::WindowSize), Content::Scalar(s)) => {
            units::duration(&s.text).map_or_else(|_| Json::from(s.text.as_str()), |span| Json::from(span.to_string()))
        }
        (Some(Shape::Bytes), Content::Scalar(s)) => units::bytes(&s.text).map_or(Json::Null, Json::from),
        // Nothing, `~` and `null` are one value.
        (_, Content::Scalar(s)) if s.is_null() => Json::Null,
        (_, Content::Scalar(s)) => Json::from(s.text.as_str()),
        _ => sorted(node.to_json()),
    }
}

/// Objects as lists of pairs in the order of their keys, whatever the order of the map type.
fn sorted(json: Json) -> Json {
    match json {
        Json::Array(items) => Json::Array(items.into_iter().map(sorted).collect()),
        Json::Object(map) => {
            let mut pairs: Vec<(String, Json)> = map.into_iter().collect();
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            let pairs = pairs.into_iter().map(|(k, v)| Json::Array(vec![Json::from(k), sorted(v)]));
            Json::Array(std::iter::once(Json::from("object")).chain(pairs).collect())
        }
        other => other,
    }
}
