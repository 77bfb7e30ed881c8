//! From what is found at a place to a typed value.
//!
//! | type | JSON | text (a JSON string, CSV cell, header, key, table cell) |
//! |---|---|---|
//! | decimal | number | a number with the format's decimal point |
//! | text | string | any |
//! | bool | `true`, `false` | `true`, `false` |
//! | time | – | RFC 3339, or as the stream's `event_time` where it names the same place |
//!
//! A number is never taken for text nor a boolean for a number: `1`, `1.0` and `"1"` would be one value for some
//! producers and three for others.

use super::decimal::{self, DecimalError, Excess};
use super::place::Found;
use super::text;
use super::time_reader::TimeReader;
use crate::value::{FieldType, Value};
use serde_json::Value as Json;

/// How one field's values are read.
#[derive(Clone, Debug)]
pub(crate) struct Conversion {
    pub field_type: FieldType,
    pub excess: Excess,
    /// The decimal point of numbers written as text.
    pub decimal: u8,
    pub time: TimeReader,
}

impl Conversion {
    /// As table cells and defaults are written: a decimal point, RFC 3339, no digit too many.
    pub fn plain(field_type: FieldType) -> Conversion {
        Conversion { field_type, excess: Excess::Reject, decimal: b'.', time: TimeReader::Rfc3339 }
    }

    /// The value, or what is wrong with it.
    pub fn value(&self, found: Found<'_>) -> Result<Value, String> {
        match (self.field_type, found) {
            (_, Found::Nothing) => Ok(Value::Null),
            (FieldType::Decimal(scale), Found::Json(Json::Number(n))) => self.decimal(n.as_str(), scale, b'.'),
            (FieldType::Decimal(scale), Found::Json(Json::String(s))) => self.decimal(s, scale, self.decimal),
            (FieldType::Decimal(scale), Found::Text(s)) => self.decimal(s, scale, self.decimal),
            (FieldType::Decimal(scale), Found::Integer(n)) => {
                decimal::rescale(n, 0, scale, self.excess).map(Value::Decimal).map_err(|e| refusal(&n.to_string(), scale, e))
            }
            (FieldType::Text, Found::Json(Json::String(s))) => Ok(Value::Text(s.as_str().into())),
            (FieldType::Text, Found::Text(s)) => Ok(Value::Text(s.into())),
            (FieldType::Bool, Found::Json(Json::Bool(b))) => Ok(Value::Bool(*b)),
            (FieldType::Bool, Found::Json(Json::String(s))) if s == "true" || s == "false" => Ok(Value::Bool(s == "true")),
            (FieldType::Bool, Found::Text(s @ ("true" | "false"))) => Ok(Value::Bool(s == "true")),
            (FieldType::Time, Found::Json(Json::String(s))) => self.time.text(s).map(Value::Time),
            (FieldType::Time, Found::Json(Json::Number(n))) => self.time.number(n.as_str()).map(Value::Time),
            (FieldType::Time, Found::Text(s)) => self.time.text(s).map(Value::Time),
            (FieldType::Time, Found::Time(us)) => Ok(Value::Time(us)),
            (expected, found) => Err(format!("must be {}, is {}", name(expected), found.describe())),
        }
    }

    fn decimal(&self, text: &str, scale: u8, point: u8) -> Result<Value, String> {
        decimal::parse(text, scale, point, self.excess).map(Value::Decimal).map_err(|e| refusal(text, scale, e))
    }
}

/// Why a number does not fit its field.
pub(crate) fn refusal(text: &str, scale: u8, error: DecimalError) -> String {
    match error {
        DecimalError::NotANumber => format!("must be a number, is {}", text::quote(text)),
        DecimalError::ExcessDigits => format!("has more than the declared {scale} digits after the point: {}", text::clip(text)),
        DecimalError::OutOfRange => {
            let limit = crate::value::decimal_text(i128::from(crate::value::SCALED_MAX), scale);
            format!(
                "is out of range for {}, whose numbers are smaller than {limit}: {}",
                name(FieldType::Decimal(scale)),
                text::clip(text)
            )
        }
    }
}

/// A type as the job file writes it.
pub(crate) fn name(field_type: FieldType) -> String {
    match field_type {
        FieldType::Bool => "bool".into(),
        FieldType::Decimal(scale) => format!("decimal({scale})"),
        FieldType::Text => "text".into(),
        FieldType::Time => "time".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(field_type: FieldType, json: &str) -> Result<Value, String> {
        let value = crate::decode::json::parse(json.as_bytes()).unwrap();
        Conversion { excess: Excess::HalfEven, ..Conversion::plain(field_type) }.value(Found::Json(&value))
    }

    #[test]
    fn values_take_the_declared_type_or_none() {
        use FieldType::{Bool, Decimal, Text, Time};
        for (field_type, json, value) in [
            (Decimal(2), "1.005", Value::Decimal(100)),
            (Decimal(2), "\"-1.5\"", Value::Decimal(-150)),
            (Text, "\"\\u0000\"", Value::Text("\0".into())),
            (Bool, "true", Value::Bool(true)),
            (Bool, "\"false\"", Value::Bool(false)),
            (Time, "\"1970-01-01T00:00:01Z\"", Value::Time(1_000_000)),
        ] {
            assert_eq!(read(field_type, json), Ok(value), "{json}");
        }
        for (field_type, json, words) in [
            (Decimal(0), "1e400", "is out of range for decimal(0), whose numbers are smaller than 4611686018427387904: 1e400"),
            (Decimal(2), "true", "must be decimal(2), is true"),
            (Decimal(2), "\"x\"", "must be a number, is \"x\""),
            (Text, "1", "must be text, is 1"),
            (Bool, "1", "must be bool, is 1"),
            (Time, "1", "expected text, found the number 1"),
            (Time, "{}", "must be time, is an object"),
        ] {
            assert_eq!(read(field_type, json), Err(words.into()), "{json}");
        }
    }
}
