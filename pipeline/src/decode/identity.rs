//! What a record is called: the configured parts as text, joined by U+001F; else what its sender called it in a header,
//! or its origin.
//!
//! A number is taken as it is written: `1` and `1.0` are two names. A part may not contain the separator when there
//! are several, for then two different records could get one name. No length is too long: what is remembered is a hash.

use super::place::{Found, Place, Scene};
use super::spec::{DecoderSpec, Reference, SpecError};
use crate::record::{Id, Origin, Reason, Rejection};
use compact_str::CompactString;
use serde_json::Value as Json;
use std::borrow::Cow;

/// Between the parts of an id.
const SEPARATOR: char = '\u{1f}';

/// A stream's `id`, compiled.
#[derive(Debug)]
pub(crate) enum Identity {
    Origin,
    Parts(Vec<Place>),
    /// A header's value, if there is one; all elements of a message share it, so theirs have their number too.
    Header {
        at: Place,
        exploded: bool,
    },
}

impl Identity {
    /// Compiles the parts, or notes what is wrong with them.
    pub fn new(spec: &DecoderSpec, errors: &mut Vec<SpecError>) -> Identity {
        let Some(references) = &spec.id else { return Identity::Origin };
        let mut mistake = |message: String| errors.push(SpecError { path: "id".into(), span: None, message });
        let mut parts = Vec::new();
        for reference in references {
            match Place::new(reference, spec.explode.is_some()) {
                Ok(place) => parts.push(place),
                Err(message) => mistake(message),
            }
        }
        if references.is_empty() {
            mistake("an id needs at least one part: name a pointer, or leave `id` out to use the origin".into());
        } else if spec.explode.is_some() && !references.iter().any(|r| r.0.starts_with('.')) {
            mistake("all elements of a message would share this id: add a part of the element, as in `./id`".into());
        }
        Identity::Parts(parts)
    }

    /// Where no parts are configured, a record is called what this header says.
    pub fn or_header(self, name: &str, exploded: bool) -> Identity {
        match self {
            Identity::Origin => {
                let at = Place::new(&Reference(format!("$header.{name}")), exploded).expect("a header's name is not empty");
                Identity::Header { at, exploded }
            }
            configured => configured,
        }
    }

    /// A record's id.
    pub fn read(&self, scene: &Scene<'_>, origin: Origin) -> Result<Id, Rejection> {
        match self {
            Identity::Origin => Ok(Id::Origin(origin)),
            Identity::Parts(parts) => Identity::joined(parts, scene),
            Identity::Header { at, exploded } => Ok(match at.find(scene) {
                Found::Text(name) if *exploded => Id::Given(format!("{name}{SEPARATOR}{}", origin.element).into()),
                Found::Text(name) => Id::Given(name.into()),
                _ => Id::Origin(origin),
            }),
        }
    }

    fn joined(parts: &[Place], scene: &Scene<'_>) -> Result<Id, Rejection> {
        let mut id = CompactString::default();
        for (n, place) in parts.iter().enumerate() {
            let part = part(place.find(scene), parts.len() > 1)
                .map_err(|message| Rejection::one(Reason::Field, place.path(scene), message))?;
            if n > 0 {
                id.push(SEPARATOR);
            }
            id.push_str(&part);
        }
        Ok(Id::Given(id))
    }
}

fn part(found: Found<'_>, one_of_several: bool) -> Result<Cow<'_, str>, String> {
    let text = match found {
        Found::Json(Json::String(text)) => Cow::Borrowed(text.as_str()),
        Found::Json(Json::Number(number)) => Cow::Borrowed(number.as_str()),
        Found::Json(Json::Bool(b)) => Cow::Borrowed(if *b { "true" } else { "false" }),
        Found::Text(text) => Cow::Borrowed(text),
        Found::Integer(number) => Cow::Owned(number.to_string()),
        Found::Time(us) => Cow::Owned(us.to_string()),
        Found::Nothing => return Err("a part of the id is missing".into()),
        other => return Err(format!("a part of the id must be text or a number, is {}", other.describe())),
    };
    if text.is_empty() && !one_of_several {
        return Err("the id is empty".into());
    }
    if one_of_several && text.contains(SEPARATOR) {
        return Err("a part of the id contains U+001F, which separates parts".into());
    }
    Ok(text)
}
