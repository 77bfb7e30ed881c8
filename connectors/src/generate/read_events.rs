//! Reading what events look like: named values and weighted templates.

use super::config::Kind;
use super::reading::{Reading, join};
use super::template::{Scope, Template};
use super::value::Drawn;
use serde_json::{Map, Value as Json};

pub(super) fn templates(map: &Map<String, Json>, reading: &mut Reading) -> (Vec<(String, Drawn)>, Vec<Kind>) {
    let mut scope = Scope { names: &[], reading, walks: 0 };
    let values = values(map.get("values"), &mut scope);
    let names: Vec<String> = values.iter().map(|(name, _)| name.clone()).collect();
    let mut scope = Scope { names: &names, walks: scope.walks, reading: scope.reading };
    let key = map.get("key").cloned().unwrap_or_else(|| Json::from("{source}"));
    let kinds = match (map.get("events"), map.get("template")) {
        (None, Some(_)) => kind(&Json::Object(only(map, &["topic", "template"])), "", &key, &mut scope).into_iter().collect(),
        (Some(Json::Array(events)), None) if !events.is_empty() => {
            let place = |i: usize| format!("events[{i}]");
            events.iter().enumerate().filter_map(|(i, e)| kind(e, &place(i), &key, &mut scope)).collect()
        }
        _ => {
            scope.reading.mistake("template", "either `template`, or `events` as a list of {weight, topic, key, template}");
            Vec::new()
        }
    };
    if kinds.iter().map(|k| k.weight).sum::<u64>() == 0 && !kinds.is_empty() {
        scope.reading.mistake("events", "the weights add up to nothing");
    }
    (values, kinds)
}

fn only(map: &Map<String, Json>, keys: &[&str]) -> Map<String, Json> {
    map.iter().filter(|(key, _)| keys.contains(&key.as_str())).map(|(k, v)| (k.clone(), v.clone())).collect()
}

fn values(value: Option<&Json>, scope: &mut Scope) -> Vec<(String, Drawn)> {
    let Some(value) = value else { return Vec::new() };
    let Some(map) = value.as_object() else {
        scope.reading.mistake("values", "a mapping of names to placeholders");
        return Vec::new();
    };
    let mut found = Vec::new();
    for (name, value) in map {
        let path = format!("values.{name}");
        let drawn = match value {
            Json::Object(one) => scope.placeholder(one, &path),
            Json::String(text) => {
                text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).and_then(|t| scope.drawn(t, None, &path))
            }
            _ => None,
        };
        match drawn {
            Some(drawn) => found.push((name.clone(), drawn)),
            None => scope.reading.mistake(&path, "a placeholder: {choice: [north, south]}, {int: [1, 6]}, '{uuid}'"),
        }
    }
    found
}

fn kind(value: &Json, path: &str, default_key: &Json, scope: &mut Scope) -> Option<Kind> {
    let map = scope.reading.map(value, path, &["weight", "topic", "key", "template"])?;
    let weight = scope.reading.whole(map, "weight", path).unwrap_or(1);
    let topic = scope.reading.text(map, "topic", path);
    let place = join(path, "key");
    let key = match map.get("key").unwrap_or(default_key) {
        Json::String(text) => Template::text(text, &place, scope),
        _ => {
            scope.reading.mistake(&place, "a text, with placeholders or without");
            Template::default()
        }
    };
    let place = join(path, "template");
    match map.get("template") {
        Some(body @ Json::Object(_)) => Some(Kind { weight, topic, key, body: Template::json(body, &place, scope) }),
        _ => {
            scope.reading.mistake(&place, "the event as a mapping");
            None
        }
    }
}
