//! The ways in which an event can be wrong, applied to the bytes of a right one.

use super::fate::below;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use serde_json::Value as Json;

/// A way to be wrong. Places are JSON pointers.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// The bytes end too early.
    Cut,
    /// A byte that no UTF-8 text holds.
    InvalidUtf8,
    /// A text becomes a number, anything else a text.
    WrongType(String),
    /// A member is left out.
    MissingField(String),
    /// A member has this value.
    OutOfRange(String, Json),
    /// The member that names the event's type names one that nobody knows.
    UnknownType(String),
}

impl Fault {
    /// The name in profiles and in the truth.
    pub fn name(&self) -> &'static str {
        match self {
            Fault::Cut => "cut",
            Fault::InvalidUtf8 => "invalid_utf8",
            Fault::WrongType(_) => "wrong_type",
            Fault::MissingField(_) => "missing_field",
            Fault::OutOfRange(..) => "out_of_range",
            Fault::UnknownType(_) => "unknown_type",
        }
    }

    /// Makes `body` wrong. Returns the name of what was done: an event without the fault's place is cut instead.
    pub(super) fn apply(&self, body: &mut Vec<u8>, random: &mut ChaCha8Rng) -> &'static str {
        let edited = match self {
            Fault::Cut => false,
            Fault::InvalidUtf8 => {
                let at = body.iter().rposition(|b| *b == b'"').unwrap_or(body.len());
                body.insert(at, 0xff);
                true
            }
            Fault::WrongType(at) => edit(body, |event| event.pointer_mut(at).map(|v| *v = other_type(v)).is_some()),
            Fault::MissingField(at) => edit(body, |event| remove(event, at)),
            Fault::OutOfRange(at, value) => edit(body, |event| event.pointer_mut(at).map(|v| *v = value.clone()).is_some()),
            Fault::UnknownType(at) => {
                edit(body, |event| event.pointer_mut(at).map(|v| *v = Json::from("unknown.type")).is_some())
            }
        };
        if edited {
            return self.name();
        }
        // An object that has lost its closing brace is never JSON.
        let kept = 1 + below(random.next_u64(), body.len() as u64 - 1) as usize;
        body.truncate(kept);
        Fault::Cut.name()
    }
}

fn edit(body: &mut Vec<u8>, change: impl FnOnce(&mut Json) -> bool) -> bool {
    let mut event: Json = serde_json::from_slice(body).expect("a template makes JSON");
    let changed = change(&mut event);
    if changed {
        *body = event.to_string().into_bytes();
    }
    changed
}

fn other_type(value: &Json) -> Json {
    match value {
        Json::String(_) => Json::from(-1),
        other => Json::String(format!("not {other}")),
    }
}

fn remove(event: &mut Json, at: &str) -> bool {
    let Some((parent, last)) = at.rsplit_once('/') else { return false };
    let last = last.replace("~1", "/").replace("~0", "~");
    match event.pointer_mut(parent) {
        Some(Json::Object(map)) => map.remove(&last).is_some(),
        _ => false,
    }
}
