//! The template of an event, compiled to literal bytes and placeholders.
//!
//! A string may hold placeholders: `{uuid}`, `{time}`, `{time: unix_ms}`, `{source}`, `{index}`, `{int: [1, 6]}`, the
//! name of a value, `{{` for a brace. A string that is one placeholder becomes that value with its own type. A
//! mapping with the single key `int`, `decimal`, `choice`, `by_source` or `walk` is a placeholder as well.

use super::read_shapes::choice;
use super::reading::Reading;
use super::value::{Decimal, Drawn, Place, TimeFormat, Token, Walk};
use rand_chacha::ChaCha8Rng;
use serde_json::Value as Json;

/// A compiled template.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    /// Bytes as they are.
    Literal(String),
    /// A JSON value.
    Typed(Drawn),
    /// Within a JSON string.
    Inner(Drawn),
    /// Within plain text.
    Plain(Drawn),
}

impl Template {
    /// The template of a JSON value.
    pub(super) fn json(value: &Json, path: &str, scope: &mut Scope) -> Template {
        let mut template = Template::default();
        template.add_json(value, path, scope);
        template
    }

    /// The template of plain text: a key.
    pub(super) fn text(text: &str, path: &str, scope: &mut Scope) -> Template {
        let mut template = Template::default();
        for segment in segments(text, path, scope) {
            match segment {
                Segment::Text(text) => template.literal(&text),
                Segment::Drawn(drawn) => template.parts.push(Part::Plain(drawn)),
            }
        }
        template
    }

    /// Writes the bytes of an event.
    pub(super) fn write(&self, place: &Place, random: &mut ChaCha8Rng, out: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.extend_from_slice(text.as_bytes()),
                Part::Typed(drawn) => match drawn.draw(place, random) {
                    Token::Raw(raw) => out.extend_from_slice(raw.as_bytes()),
                    Token::Text(text) => out.extend_from_slice(quoted(&text).as_bytes()),
                },
                Part::Inner(drawn) => {
                    let quoted = quoted(&plain(drawn.draw(place, random)));
                    out.extend_from_slice(&quoted.as_bytes()[1..quoted.len() - 1]);
                }
                Part::Plain(drawn) => out.extend_from_slice(plain(drawn.draw(place, random)).as_bytes()),
            }
        }
    }

    fn literal(&mut self, text: &str) {
        match self.parts.last_mut() {
            Some(Part::Literal(last)) => last.push_str(text),
            _ => self.parts.push(Part::Literal(text.to_owned())),
        }
    }

    fn add_json(&mut self, value: &Json, path: &str, scope: &mut Scope) {
        match value {
            Json::String(text) => self.add_string(text, path, scope),
            Json::Array(items) => {
                self.literal("[");
                for (i, item) in items.iter().enumerate() {
                    self.literal(if i == 0 { "" } else { "," });
                    self.add_json(item, &format!("{path}[{i}]"), scope);
                }
                self.literal("]");
            }
            Json::Object(map) => match scope.placeholder(map, path) {
                Some(drawn) => self.parts.push(Part::Typed(drawn)),
                None => self.add_map(map, path, scope),
            },
            other => self.literal(&other.to_string()),
        }
    }

    fn add_map(&mut self, map: &serde_json::Map<String, Json>, path: &str, scope: &mut Scope) {
        self.literal("{");
        for (i, (key, item)) in map.iter().enumerate() {
            self.literal(if i == 0 { "" } else { "," });
            self.literal(&quoted(key));
            self.literal(":");
            self.add_json(item, &format!("{path}.{key}"), scope);
        }
        self.literal("}");
    }

    fn add_string(&mut self, text: &str, path: &str, scope: &mut Scope) {
        let mut segments = segments(text, path, scope);
        if let [Segment::Drawn(drawn)] = segments.as_slice() {
            self.parts.push(Part::Typed(drawn.clone()));
            return;
        }
        self.literal("\"");
        for segment in segments.drain(..) {
            match segment {
                Segment::Text(text) => {
                    let quoted = quoted(&text);
                    self.literal(&quoted[1..quoted.len() - 1]);
                }
                Segment::Drawn(drawn) => self.parts.push(Part::Inner(drawn)),
            }
        }
        self.literal("\"");
    }
}

fn quoted(text: &str) -> String {
    Json::String(text.to_owned()).to_string()
}

fn plain(token: Token) -> String {
    match token {
        Token::Raw(text) | Token::Text(text) => text,
    }
}

/// What placeholders may refer to, and what is wrong with those that do not.
pub(super) struct Scope<'a> {
    /// The names of the profile's values.
    pub(super) names: &'a [String],
    /// Where mistakes go.
    pub(super) reading: &'a mut Reading,
    /// Counts walks, to tell them apart.
    pub(super) walks: u64,
}

impl Scope<'_> {
    /// The placeholder that a mapping is, if it is one.
    pub(super) fn placeholder(&mut self, map: &serde_json::Map<String, Json>, path: &str) -> Option<Drawn> {
        let (name, arguments) = map.iter().next().filter(|_| map.len() == 1)?;
        matches!(name.as_str(), "int" | "decimal" | "choice" | "by_source" | "walk")
            .then(|| self.drawn(name, Some(arguments), &format!("{path}.{name}")))
            .map(|drawn| drawn.unwrap_or(Drawn::Index))
    }

    /// The placeholder `name` with its arguments; a mistake is noted.
    pub(super) fn drawn(&mut self, name: &str, arguments: Option<&Json>, path: &str) -> Option<Drawn> {
        if let Some(i) = self.names.iter().position(|n| n == name) {
            return Some(Drawn::Named(i));
        }
        match (name, arguments) {
            ("uuid", None) => Some(Drawn::Uuid),
            ("source", None) => Some(Drawn::Source),
            ("index", None) => Some(Drawn::Index),
            ("time", None) => Some(Drawn::Time(TimeFormat::Rfc3339)),
            ("time", Some(Json::String(format))) => self.time(format, path),
            ("int", Some(bounds)) => self.int(bounds, path),
            ("decimal", Some(shape)) => Decimal::parse(shape, path, self.reading).map(Drawn::Decimal),
            ("choice", Some(options)) => choice(options, path, self.reading),
            ("by_source", Some(Json::Array(options))) if !options.is_empty() => Some(Drawn::BySource(options.clone())),
            ("walk", Some(shape)) => {
                self.walks += 1;
                Walk::parse(shape, path, 0x3a1c_0000 + self.walks, self.reading).map(Drawn::Walk)
            }
            _ => {
                self.reading.mistake(
                    path,
                    format!("no placeholder `{name}` of this form: known are uuid, time, source, index, int, decimal, choice, by_source, walk and the names under `values`; write {{{{ for a brace"),
                );
                None
            }
        }
    }

    fn time(&mut self, format: &str, path: &str) -> Option<Drawn> {
        match format {
            "rfc3339" => Some(Drawn::Time(TimeFormat::Rfc3339)),
            "unix_ms" => Some(Drawn::Time(TimeFormat::UnixMs)),
            "unix_s" => Some(Drawn::Time(TimeFormat::UnixS)),
            other => {
                self.reading.mistake(path, format!("no time format `{other}`: use rfc3339, unix_ms or unix_s"));
                None
            }
        }
    }

    fn int(&mut self, bounds: &Json, path: &str) -> Option<Drawn> {
        let ends = bounds.as_array().map(|a| a.iter().map(Json::as_i64).collect::<Vec<_>>());
        match ends.as_deref() {
            Some([Some(least), Some(most)]) if least <= most => Some(Drawn::Int { least: *least, most: *most }),
            _ => {
                self.reading.mistake(path, "two whole numbers, the smaller first: int: [1, 6]");
                None
            }
        }
    }
}

enum Segment {
    Text(String),
    Drawn(Drawn),
}

/// Cuts a text at its placeholders; mistakes are noted and their placeholders left out.
fn segments(text: &str, path: &str, scope: &mut Scope) -> Vec<Segment> {
    let (mut found, mut literal, mut rest) = (Vec::new(), String::new(), text);
    while let Some(at) = rest.find(['{', '}']) {
        literal.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with("{{") || rest.starts_with("}}") {
            literal.push_str(&rest[..1]);
            rest = &rest[2..];
            continue;
        }
        let Some(end) = closing(rest) else {
            scope.reading.mistake(path, "a lone brace: write {{ or }} for one, or close the placeholder");
            return found;
        };
        if !literal.is_empty() {
            found.push(Segment::Text(std::mem::take(&mut literal)));
        }
        let (name, arguments) = split(&rest[1..end]);
        found.extend(scope.drawn(name, arguments.as_ref(), path).map(Segment::Drawn));
        rest = &rest[end + 1..];
    }
    literal.push_str(rest);
    if !literal.is_empty() || found.is_empty() {
        found.push(Segment::Text(literal));
    }
    found
}

/// Where the brace that opens `text` is closed.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0i32;
    for (at, c) in text.char_indices() {
        depth += match c {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        if depth <= 0 {
            return (c == '}' && at > 0).then_some(at);
        }
    }
    None
}

/// `name` or `name: arguments`; what is not JSON is a word.
fn split(inside: &str) -> (&str, Option<Json>) {
    match inside.split_once(':') {
        None => (inside.trim(), None),
        Some((name, rest)) => {
            let rest = rest.trim();
            (name.trim(), Some(serde_json::from_str(rest).unwrap_or_else(|_| Json::String(rest.to_owned()))))
        }
    }
}
