//! Code of a known type: what the checker hands from part to part, and what an expression is in the end.

use super::code::{Code, TextCode};
use super::fault::Fault;
use crate::value::{FieldType, Value};

/// Code of a known type. A duration is known inside expressions only.
pub(super) enum Typed {
    /// The literal `null`.
    Null,
    Bool(Code<bool>),
    /// Scaled by the second.
    Decimal(Code<i64>, u8),
    Text(TextCode),
    /// Microseconds since 1970.
    Time(Code<i64>),
    /// Microseconds.
    Duration(Code<i64>),
}

impl Typed {
    /// The type of the field that could hold it; `None` for null. Durations are refused before anyone asks.
    pub fn field_type(&self) -> Option<FieldType> {
        match self {
            Typed::Null | Typed::Duration(_) => None,
            Typed::Bool(_) => Some(FieldType::Bool),
            Typed::Decimal(_, scale) => Some(FieldType::Decimal(*scale)),
            Typed::Text(_) => Some(FieldType::Text),
            Typed::Time(_) => Some(FieldType::Time),
        }
    }

    /// The type in words, for messages.
    pub fn words(&self) -> &'static str {
        match self {
            Typed::Null => "null",
            Typed::Bool(_) => "a bool",
            Typed::Decimal(..) => "a number",
            Typed::Text(_) => "a text",
            Typed::Time(_) => "a time",
            Typed::Duration(_) => "a duration",
        }
    }

    /// The value for these slots.
    pub fn value(&self, slots: &[Value]) -> Result<Value, Fault> {
        let value = match self {
            Typed::Null => None,
            Typed::Bool(code) => code.get(slots)?.map(Value::Bool),
            Typed::Decimal(code, _) | Typed::Duration(code) => code.get(slots)?.map(Value::Decimal),
            Typed::Time(code) => code.get(slots)?.map(Value::Time),
            Typed::Text(code) => code.get(slots)?.map(|text| Value::Text(text.into())),
        };
        Ok(value.unwrap_or(Value::Null))
    }

    /// Whether the value is null.
    pub fn null_test(self) -> Code<bool> {
        match self {
            Typed::Null => Code::Constant(Some(true)),
            Typed::Bool(code) => code.null_test(),
            Typed::Decimal(code, _) | Typed::Time(code) | Typed::Duration(code) => code.null_test(),
            Typed::Text(code) => code.null_test(),
        }
    }
}
