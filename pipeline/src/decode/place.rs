//! Places: a [`Reference`](super::Reference) of the job file, compiled, and what is found there in one message.

use super::decoder::Context;
use super::pointer::Pointer;
use super::spec::Reference;
use super::text;
use crate::record::Message;
use crate::value::FieldType;
use serde_json::Value as Json;

/// Where a value is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the message, from its top.
    Message(Pointer),
    /// In the exploded element.
    Element(Pointer),
    /// `$topic`, `$partition`, `$offset`, `$key`, `$header.X`, `$received`.
    Metadata(Metadata),
}

/// What is known of a message besides its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Metadata {
    Topic,
    Partition,
    Offset,
    Key,
    Header(String),
    Received,
}

/// What stands at a place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Found<'a> {
    /// Nothing, or JSON null.
    Nothing,
    /// A JSON value other than null.
    Json(&'a Json),
    /// Text from outside the body.
    Text(&'a str),
    /// Bytes from outside the body that are not text.
    NotText,
    /// A whole number from outside the body.
    Integer(i64),
    /// Microseconds since 1970.
    Time(i64),
}

/// One record's surroundings while it is being decoded.
pub(crate) struct Scene<'a> {
    /// The message as it came.
    pub message: &'a Message,
    /// Partition, clock and tables.
    pub context: &'a Context<'a>,
    /// The whole body.
    pub root: &'a Json,
    /// The exploded element; the body where nothing is exploded.
    pub element: &'a Json,
    /// Pointer to the element; empty where nothing is exploded.
    pub element_path: &'a str,
}

impl Place {
    /// Compiles a reference; `exploded` tells whether `./` has a meaning.
    pub fn new(reference: &Reference, exploded: bool) -> Result<Place, String> {
        let written = reference.0.as_str();
        if let Some(name) = written.strip_prefix('$') {
            return Metadata::new(name).map(Place::Metadata);
        }
        match written.strip_prefix('.') {
            Some(pointer) if !exploded => {
                Err(format!("`{written}` starts at an exploded element, but the stream has no `explode`: write `{pointer}`"))
            }
            Some(pointer) => Pointer::parse(pointer).map(Place::Element).map_err(|e| format!("`{written}`: {e}")),
            None => Pointer::parse(written).map(Place::Message),
        }
    }

    /// What stands there.
    pub fn find<'a>(&self, scene: &Scene<'a>) -> Found<'a> {
        match self {
            Place::Message(pointer) => Found::json(pointer.get(scene.root)),
            Place::Element(pointer) => Found::json(pointer.get(scene.element)),
            Place::Metadata(metadata) => metadata.find(scene),
        }
    }

    /// The place as a dead letter names it.
    pub fn path(&self, scene: &Scene<'_>) -> String {
        match self {
            Place::Message(pointer) => pointer.as_str().to_owned(),
            Place::Element(pointer) => format!("{}{}", scene.element_path, pointer.as_str()),
            Place::Metadata(metadata) => metadata.name(),
        }
    }
}

impl Metadata {
    /// The metadata that every message has; headers are named one by one.
    pub const COMMON: [Metadata; 5] = [Metadata::Topic, Metadata::Partition, Metadata::Offset, Metadata::Key, Metadata::Received];

    fn new(name: &str) -> Result<Metadata, String> {
        match (name, name.strip_prefix("header.")) {
            (_, Some(header)) if !header.is_empty() => Ok(Metadata::Header(header.to_owned())),
            ("topic", _) => Ok(Metadata::Topic),
            ("partition", _) => Ok(Metadata::Partition),
            ("offset", _) => Ok(Metadata::Offset),
            ("key", _) => Ok(Metadata::Key),
            ("received", _) => Ok(Metadata::Received),
            _ => Err(format!("unknown `${name}`: use $topic, $partition, $offset, $key, $header.NAME or $received")),
        }
    }

    /// As written in a job file.
    pub fn name(&self) -> String {
        match self {
            Metadata::Topic => "$topic".into(),
            Metadata::Partition => "$partition".into(),
            Metadata::Offset => "$offset".into(),
            Metadata::Key => "$key".into(),
            Metadata::Header(name) => format!("$header.{name}"),
            Metadata::Received => "$received".into(),
        }
    }

    /// Its type.
    pub fn field_type(&self) -> FieldType {
        match self {
            Metadata::Topic | Metadata::Key | Metadata::Header(_) => FieldType::Text,
            Metadata::Partition | Metadata::Offset => FieldType::Decimal(0),
            Metadata::Received => FieldType::Time,
        }
    }

    /// Its value; of a header that repeats, the last.
    pub fn find<'a>(&self, scene: &Scene<'a>) -> Found<'a> {
        match self {
            Metadata::Topic => Found::Text(&scene.context.partition.topic),
            Metadata::Partition => Found::Integer(scene.context.partition.number.into()),
            Metadata::Offset => Found::Integer(i64::try_from(scene.message.offset.0).unwrap_or(i64::MAX)),
            Metadata::Key => Found::bytes(scene.message.key.as_deref()),
            Metadata::Header(name) => {
                let last = scene.message.headers.iter().rev().find(|(n, _)| n == name);
                Found::bytes(last.map(|(_, value)| value.as_slice()))
            }
            Metadata::Received => Found::Time(scene.context.opened.0),
        }
    }
}

impl<'a> Found<'a> {
    fn json(value: Option<&'a Json>) -> Found<'a> {
        match value {
            None | Some(Json::Null) => Found::Nothing,
            Some(value) => Found::Json(value),
        }
    }

    fn bytes(value: Option<&'a [u8]>) -> Found<'a> {
        match value.map(std::str::from_utf8) {
            None => Found::Nothing,
            Some(Ok(text)) => Found::Text(text),
            Some(Err(_)) => Found::NotText,
        }
    }

    /// For people.
    pub fn describe(self) -> String {
        match self {
            Found::Nothing => "nothing".into(),
            Found::Json(value) => text::found(value),
            Found::Text(text) => text::quote(text),
            Found::NotText => "bytes that are not UTF-8".into(),
            Found::Integer(n) => n.to_string(),
            Found::Time(us) => crate::time::EventTime(us).to_string(),
        }
    }
}
