//! A YAML document as a tree that still knows where each key and value was written, and how.
//!
//! Scalars stay text: `1.10` keeps its digits, and `'1'` stays apart from `1`. What a scalar means is decided by the
//! one who asks for it.

use super::locate;
use std::sync::Arc;

/// Where something was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file as the user named it; for an override, the flag or variable.
    pub file: Arc<str>,
    /// From 1; 0 for an override, which has no lines.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl Place {
    /// A place outside of any file: a flag, a variable, a default.
    pub fn outside(name: &str) -> Place {
        Place { file: name.into(), line: 0, column: 0 }
    }
}

/// A value with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it begins.
    pub place: Place,
    /// What it holds.
    pub content: Content,
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Text, a number, a boolean or null, as written.
    Scalar(Scalar),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order written; keys are unique.
    Map(Vec<Entry>),
    /// A value that could not be found out, about which a mistake is noted already: nothing more is said of it.
    Unknown,
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key's text.
    pub key: String,
    /// Where the key begins.
    pub place: Place,
    /// The value.
    pub node: Node,
}

/// How a scalar was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Without quotes: may be a number, a boolean or null.
    Plain,
    /// In single quotes.
    Single,
    /// In double quotes.
    Double,
    /// In a `|` or `>` block.
    Block,
}

/// A scalar's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar {
    /// What it says, after YAML's own escapes and our substitutions.
    pub text: String,
    /// How it was written.
    pub style: Style,
    /// The source text, from its first to its last character; empty once the text was substituted.
    pub source: String,
    /// Whether the text must never be shown.
    pub secret: bool,
}

impl Scalar {
    /// Plain text that no file holds.
    pub fn plain(text: &str) -> Scalar {
        Scalar { text: text.into(), style: Style::Plain, source: String::new(), secret: false }
    }

    /// YAML's null: nothing, `~` or `null`, without quotes.
    pub fn is_null(&self) -> bool {
        self.style == Style::Plain && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }

    /// YAML's booleans, without quotes.
    pub fn as_bool(&self) -> Option<bool> {
        match (self.style, self.text.as_str()) {
            (Style::Plain, "true" | "True" | "TRUE") => Some(true),
            (Style::Plain, "false" | "False" | "FALSE") => Some(false),
            _ => None,
        }
    }
}

impl Node {
    /// A plain scalar that no file holds.
    pub fn plain(text: &str, place: Place) -> Node {
        Node { place, content: Content::Scalar(Scalar::plain(text)) }
    }

    /// An empty map.
    pub fn empty_map(place: Place) -> Node {
        Node { place, content: Content::Map(Vec::new()) }
    }

    /// The scalar, if it is one and not null.
    pub fn scalar(&self) -> Option<&Scalar> {
        match &self.content {
            Content::Scalar(s) if !s.is_null() => Some(s),
            _ => None,
        }
    }

    /// Whether it is null: a key without a value.
    pub fn is_null(&self) -> bool {
        matches!(&self.content, Content::Scalar(s) if s.is_null())
    }

    /// The map's entries; none for anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.content {
            Content::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The list's items; none for anything else.
    pub fn items(&self) -> &[Node] {
        match &self.content {
            Content::List(items) => items,
            _ => &[],
        }
    }

    /// The map's entry of this name.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|e| e.key == key)
    }

    /// The map's value of this name.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|e| &e.node)
    }

    /// What kind of node it is, for messages.
    pub fn kind(&self) -> &'static str {
        match &self.content {
            Content::Scalar(s) if s.is_null() => "nothing",
            Content::Scalar(_) => "a single value",
            Content::List(_) => "a list",
            Content::Map(_) => "a map",
            Content::Unknown => "something unknown",
        }
    }

    /// Where the byte at `offset` of the scalar's text was written, quotes, escapes and folding accounted for.
    pub fn place_of(&self, offset: usize) -> Place {
        match &self.content {
            Content::Scalar(s) if !s.source.is_empty() && self.place.line > 0 => {
                let (line, column) = locate::position(s, offset, self.place.line, self.place.column);
                Place { file: self.place.file.clone(), line, column }
            }
            _ => self.place.clone(),
        }
    }

    /// The node as JSON: plain scalars become numbers, booleans and null where they look like them.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.content {
            Content::Scalar(s) => scalar_to_json(s),
            Content::List(items) => Json::Array(items.iter().map(Node::to_json).collect()),
            Content::Map(entries) => Json::Object(entries.iter().map(|e| (e.key.clone(), e.node.to_json())).collect()),
            Content::Unknown => Json::Null,
        }
    }
}

fn scalar_to_json(s: &Scalar) -> serde_json::Value {
    use serde_json::Value as Json;
    if s.is_null() {
        return Json::Null;
    }
    if let Some(b) = s.as_bool() {
        return Json::Bool(b);
    }
    let number = if s.style == Style::Plain { s.text.parse::<serde_json::Number>().ok() } else { None };
    number.map_or_else(|| Json::String(s.text.clone()), Json::Number)
}
