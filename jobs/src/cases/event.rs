//! The messages of a `send`: events written as YAML, with `$` keys for what is not the event itself.

use super::read::Scope;
use crate::jobfile::mistakes::Mistakes;
use crate::jobfile::reader::At;
use caudal_pipeline::record::Message;
use caudal_pipeline::suggest::suggest;
use serde_json::{Map, Value as Json};

/// A message and where it is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    /// Position of the stream in the plan.
    pub stream: usize,
    /// The topic, if it is not the stream's own.
    pub topic: Option<String>,
    /// The partition's number; one that does not exist yet is added, with all before it.
    pub partition: usize,
    /// How often.
    pub times: u64,
    /// What.
    pub message: Message,
}

const KEYS: [&str; 11] =
    ["$like", "$without", "$text", "$hex", "$tombstone", "$size", "$topic", "$partition", "$key", "$times", "$header.NAME"];

/// A padded body is no longer than this.
const SIZE_MAX: u64 = 64 << 20;

/// Everything that is sent to one stream.
pub fn sent(stream: usize, events: &At<'_>, scope: &Scope<'_>, mistakes: &mut Mistakes) -> Vec<Sent> {
    let all = if events.node.entries().is_empty() { events.items() } else { vec![events.clone()] };
    all.iter().filter_map(|event| one(stream, event, scope, mistakes)).collect()
}

fn one(stream: usize, event: &At<'_>, scope: &Scope<'_>, mistakes: &mut Mistakes) -> Option<Sent> {
    let mut sent = Sent { stream, topic: None, partition: 0, times: 1, message: Message::default() };
    if event.node.entries().is_empty() {
        sent.message.payload = Some(event.text().unwrap_or_default().as_bytes().to_vec());
        return Some(sent);
    }
    let before = mistakes.len();
    for (entry, at) in event.entries().filter(|(entry, _)| entry.key.starts_with('$')) {
        if let Err(message) = envelope(&entry.key, &at, &mut sent) {
            mistakes.note(entry.place.clone(), &event.path, message);
        }
    }
    let body = body(event, scope, mistakes);
    sent.message.payload = match (event.get("$text"), event.get("$hex"), event.bool_of("$tombstone")) {
        (_, _, Some(true)) => None,
        (Some(text), ..) => Some(text.text().unwrap_or_default().as_bytes().to_vec()),
        (_, Some(hex), _) => Some(bytes(&hex, mistakes)),
        _ => Some(body.to_string().into_bytes()),
    };
    if let (Some(size), Some(body)) = (event.bytes_of("$size"), &mut sent.message.payload) {
        // White space at the end is no part of any value.
        body.resize(body.len().max(usize::try_from(size.min(SIZE_MAX)).expect("a small number")), b' ');
    }
    (mistakes.len() == before).then_some(sent)
}

/// A `$` key that is not about the body.
fn envelope(key: &str, at: &At<'_>, sent: &mut Sent) -> Result<(), String> {
    let text = at.text().unwrap_or_default();
    let number = |least: u64, most: u64| {
        let number = text.parse::<u64>().ok().filter(|n| (least..=most).contains(n));
        number.ok_or_else(|| format!("`{key}`: expected a whole number from {least} to {most}, found `{text}`"))
    };
    match (key, key.strip_prefix("$header.")) {
        ("$partition", _) => sent.partition = number(0, 999)? as usize,
        ("$times", _) => sent.times = number(1, 100_000)?,
        ("$topic", _) => sent.topic = Some(text.to_owned()),
        ("$key", _) => sent.message.key = Some(text.as_bytes().to_vec()),
        ("$like" | "$without" | "$text" | "$hex" | "$tombstone" | "$size", _) => {}
        (_, Some(name)) if !name.is_empty() => {
            let mut headers = sent.message.headers.to_vec();
            headers.push((name.to_owned(), text.as_bytes().to_vec()));
            sent.message.headers = headers.into();
        }
        _ => {
            let hint = suggest(key, KEYS)
                .map_or_else(|| format!("known are {}", KEYS.join(", ")), |near| format!("did you mean `{near}`?"));
            return Err(format!("unknown key `{key}`; {hint}"));
        }
    }
    Ok(())
}

/// The event: what it is like, laid over with what is written, less what it is without.
fn body(event: &At<'_>, scope: &Scope<'_>, mistakes: &mut Mistakes) -> Json {
    let mut body = Json::Object(Map::new());
    if let Some(like) = event.get("$like") {
        let name = like.text().unwrap_or_default();
        match scope.events.get(name) {
            Some(base) => body = base.clone(),
            None => {
                let hint = suggest(name, scope.events.keys().map(String::as_str)).map(|near| format!("; did you mean `{near}`?"));
                like.mistake(mistakes, format!("no event `{name}` under `events`{}", hint.unwrap_or_default()));
            }
        }
    }
    for (entry, at) in event.entries().filter(|(entry, _)| !entry.key.starts_with('$')) {
        lay_over(&mut body[entry.key.as_str()], &at.node.to_json());
    }
    for pointer in event.get("$without").iter().flat_map(At::items) {
        let text = pointer.text().unwrap_or_default();
        if !take_away(&mut body, text) {
            pointer.mistake(mistakes, format!("the event has nothing at `{text}`"));
        }
    }
    body
}

/// Maps are merged, everything else is replaced.
fn lay_over(base: &mut Json, over: &Json) {
    match (base, over) {
        (Json::Object(base), Json::Object(over)) => {
            over.iter().for_each(|(key, value)| lay_over(base.entry(key.as_str()).or_insert(Json::Null), value));
        }
        (base, over) => base.clone_from(over),
    }
}

fn take_away(body: &mut Json, pointer: &str) -> bool {
    let Some((parent, last)) = pointer.rsplit_once('/') else { return false };
    match body.pointer_mut(parent) {
        Some(Json::Object(map)) => map.remove(&last.replace("~1", "/").replace("~0", "~")).is_some(),
        Some(Json::Array(items)) => last.parse().ok().filter(|at| *at < items.len()).map(|at: usize| items.remove(at)).is_some(),
        _ => false,
    }
}

fn bytes(hex: &At<'_>, mistakes: &mut Mistakes) -> Vec<u8> {
    let digits: Vec<u8> = hex.text().unwrap_or_default().bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes = digits.len().is_multiple_of(2).then(|| digits.chunks(2).map(pair).collect::<Option<Vec<u8>>>()).flatten();
    bytes.unwrap_or_else(|| {
        hex.mistake(mistakes, "expected pairs of hexadecimal digits, such as '7b ff 7d'");
        Vec::new()
    })
}
