//! When a record happened: the place, how it is written, and what becomes of a record without one.
//!
//! *Missing* is nothing or null at the place. What stands there and cannot be read is wrong, not missing: it is a dead
//! letter even where `missing: received` lets records without a time pass.

use super::place::{Found, Place, Scene};
use super::spec::{DecoderSpec, Missing, SpecError, TimeFormat};
use super::time_reader::TimeReader;
use super::types::SchemaTypes;
use crate::record::{Reason, Rejection};
use crate::time::EventTime;
use serde_json::Value as Json;

/// A stream's `event_time`, compiled.
#[derive(Debug)]
pub(crate) struct EventTimeRule {
    /// `None`: the time received.
    at: Option<Place>,
    reader: TimeReader,
    missing: Missing,
}

impl EventTimeRule {
    /// Compiles the rule, or notes what is wrong with it.
    pub fn new(spec: &DecoderSpec, types: &SchemaTypes<'_>, decimal: u8, errors: &mut Vec<SpecError>) -> Option<EventTimeRule> {
        let rule = &spec.event_time;
        let reader = match TimeReader::new(&rule.format, decimal) {
            Ok(reader) => Some(reader),
            Err(message) => {
                errors.push(SpecError { path: "event_time.format".into(), span: None, message });
                None
            }
        };
        let at = match rule.at.as_ref().map(|reference| Place::new(reference, spec.explode.is_some())).transpose() {
            Ok(at) => at,
            Err(message) => {
                errors.push(SpecError { path: "event_time.at".into(), span: None, message });
                return None;
            }
        };
        if let Some(message) = at.as_ref().and_then(|place| contradiction(place, &rule.format, types)) {
            errors.push(SpecError { path: "event_time.format".into(), span: None, message });
        }
        Some(EventTimeRule { at, reader: reader?, missing: rule.missing })
    }

    /// The reader, if `place` is where the event time stands: a field from there is read the same way.
    pub fn reader_of(&self, place: &Place) -> Option<&TimeReader> {
        (self.at.as_ref() == Some(place)).then_some(&self.reader)
    }

    /// A record's event time.
    pub fn read(&self, scene: &Scene<'_>) -> Result<EventTime, Rejection> {
        let Some(place) = &self.at else { return Ok(EventTime(scene.context.opened.0)) };
        let read = match place.find(scene) {
            Found::Nothing if self.missing == Missing::Received => Ok(scene.context.opened.0),
            Found::Nothing => Err("the event time is missing".to_owned()),
            Found::Json(Json::String(text)) => self.reader.text(text),
            Found::Json(Json::Number(number)) => self.reader.number(number.as_str()),
            Found::Text(text) => self.reader.text(text),
            Found::Integer(number) => self.reader.number(&number.to_string()),
            Found::Time(us) => Ok(us),
            other => Err(format!("the event time must be text or a number, is {}", other.describe())),
        };
        read.map(EventTime).map_err(|message| Rejection::one(Reason::EventTime, place.path(scene), message))
    }
}

/// A schema that makes every record's event time unreadable.
fn contradiction(place: &Place, format: &TimeFormat, types: &SchemaTypes<'_>) -> Option<String> {
    use super::shapes::Scalar;
    let unix = matches!(format, TimeFormat::UnixMs | TimeFormat::UnixS);
    match types.at(place)? {
        Scalar::Bool => Some("the schema makes this a boolean, which is no time".into()),
        Scalar::Integer | Scalar::Number(_) if !unix => {
            Some("the schema makes this a number: use the format unix_ms or unix_s".into())
        }
        _ => None,
    }
}
