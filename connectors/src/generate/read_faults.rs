//! Reading what shall be wrong: malformed events and silent sources.

use super::config::{Malformed, Profile, Silence};
use super::fault::Fault;
use super::reading::{Reading, join};
use serde_json::{Map, Value as Json};

/// A fault's place must be in some template: else the fault would never happen.
pub(super) fn check_fault_places(map: &Map<String, Json>, profile: &Profile, reading: &mut Reading) {
    let bodies: Vec<&Json> = match map.get("events").and_then(Json::as_array) {
        Some(events) => events.iter().filter_map(|e| e.get("template")).collect(),
        None => map.get("template").into_iter().collect(),
    };
    for (i, fault) in profile.malformed.iter().flat_map(|m| &m.faults).enumerate() {
        let (Fault::WrongType(at) | Fault::MissingField(at) | Fault::OutOfRange(at, _) | Fault::UnknownType(at)) = fault else {
            continue;
        };
        if !bodies.iter().any(|body| body.pointer(at).is_some()) {
            reading.mistake(&format!("malformed.kinds[{i}]"), format!("no template has anything at `{at}`"));
        }
    }
}

pub(super) fn malformed(value: &Json, reading: &mut Reading) -> Option<Malformed> {
    let map = reading.map(value, "malformed", &["share", "kinds"])?;
    let share = reading.share(map.get("share"), "malformed.share");
    let faults = match map.get("kinds") {
        None => vec![Fault::Cut, Fault::InvalidUtf8],
        Some(Json::Array(kinds)) if !kinds.is_empty() => {
            let place = |i: usize| format!("malformed.kinds[{i}]");
            kinds.iter().enumerate().filter_map(|(i, kind)| fault(kind, &place(i), reading)).collect()
        }
        Some(_) => {
            reading.mistake("malformed.kinds", "a list with at least one kind");
            return None;
        }
    };
    (!faults.is_empty()).then_some(Malformed { share, faults })
}

fn fault(value: &Json, path: &str, reading: &mut Reading) -> Option<Fault> {
    let found = match value {
        Json::String(name) if name == "cut" => Some(Fault::Cut),
        Json::String(name) if name == "invalid_utf8" => Some(Fault::InvalidUtf8),
        Json::Object(map) if map.len() == 1 => map.iter().next().and_then(|(name, at)| placed_fault(name, at)),
        _ => None,
    };
    if found.is_none() {
        reading.mistake(
            path,
            "one of cut, invalid_utf8, {wrong_type: /at}, {missing_field: /at}, {out_of_range: {at: /at, value: 1e9}}, {unknown_type: /at}",
        );
    }
    found
}

fn placed_fault(name: &str, at: &Json) -> Option<Fault> {
    let pointer = |at: &Json| at.as_str().filter(|p| p.starts_with('/')).map(str::to_owned);
    match name {
        "wrong_type" => pointer(at).map(Fault::WrongType),
        "missing_field" => pointer(at).map(Fault::MissingField),
        "unknown_type" => pointer(at).map(Fault::UnknownType),
        "out_of_range" => Some(Fault::OutOfRange(pointer(at.get("at")?)?, at.get("value")?.clone())),
        _ => None,
    }
}

pub(super) fn silences(value: Option<&Json>, sources: &[String], reading: &mut Reading) -> Vec<Silence> {
    let Some(value) = value else { return Vec::new() };
    let Some(list) = value.as_array() else {
        reading.mistake("silent", "a list of {source, from, for}");
        return Vec::new();
    };
    let place = |i: usize| format!("silent[{i}]");
    list.iter().enumerate().filter_map(|(i, s)| silence(s, &place(i), sources, reading)).collect()
}

fn silence(value: &Json, path: &str, sources: &[String], reading: &mut Reading) -> Option<Silence> {
    let map = reading.map(value, path, &["source", "from", "for"])?;
    let (from, length) = (reading.duration(map, "from", path), reading.duration(map, "for", path));
    let from = reading.required(from, map, "from", path)?;
    let length = reading.required(length, map, "for", path)?;
    let name = map.get("source").map(|s| s.as_str().map_or_else(|| s.to_string(), str::to_owned));
    let Some(source) = name.and_then(|name| sources.iter().position(|s| *s == name)) else {
        reading.mistake(&join(path, "source"), format!("the name of a source: {}", sources[..sources.len().min(5)].join(", ")));
        return None;
    };
    Some(Silence { source, from_us: from.unsigned_abs(), until_us: from.unsigned_abs().saturating_add(length.unsigned_abs()) })
}
