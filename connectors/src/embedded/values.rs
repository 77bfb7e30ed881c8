//! Cells as SQLite values, and back as JSON by the column's declared type.

use caudal_pipeline::time::EventTime;
use caudal_pipeline::value::{Cell, ColumnType, FieldType, Value, decimal_of, decimal_text};
use rusqlite::types::{Value as Sql, ValueRef};
use serde_json::Value as Json;

/// The declared type of a column. Names that hold `TEXT` have text affinity, so that no digit is touched.
pub(super) fn declared(column_type: &ColumnType) -> String {
    match column_type {
        ColumnType::Bool => "BOOLEAN".to_owned(),
        ColumnType::Integer => "INTEGER".to_owned(),
        ColumnType::Decimal(scale) => format!("DECIMAL_TEXT({scale})"),
        ColumnType::Text => "TEXT".to_owned(),
        ColumnType::Time => "TIME_TEXT".to_owned(),
        ColumnType::List(_) => "JSON_TEXT".to_owned(),
    }
}

/// A column's value.
pub(super) fn cell(cell: &Cell) -> Sql {
    match cell {
        Cell::Null => Sql::Null,
        Cell::Bool(b) => Sql::Integer((*b).into()),
        Cell::Integer(i) => Sql::Integer(*i),
        Cell::Decimal { unscaled, scale } => Sql::Text(decimal_text(*unscaled, *scale)),
        Cell::Text(text) => Sql::Text(text.to_string()),
        Cell::Time(us) => time(EventTime(*us)),
        Cell::List(_) => Sql::Text(cell.to_json().to_string()),
    }
}

/// A group field's value: never NULL, which a primary key would not tell apart from another NULL.
pub(super) fn group_cell(value: &Cell) -> Sql {
    match value {
        Cell::Null => Sql::Blob(Vec::new()),
        other => cell(other),
    }
}

/// A point in time; the ends of time sort before and after all others.
pub(super) fn time(time: EventTime) -> Sql {
    Sql::Text(match time {
        EventTime::MIN => "-infinity".to_owned(),
        EventTime::MAX => "infinity".to_owned(),
        other => other.to_string(),
    })
}

/// The time that [`time`] stores as `text`.
pub(super) fn time_of(text: &str) -> Option<EventTime> {
    match text {
        "-infinity" => Some(EventTime::MIN),
        "infinity" => Some(EventTime::MAX),
        other => EventTime::displayed_as(other),
    }
}

/// The value of a group's field that is stored so; `None` if no value of its type is.
pub(super) fn group_value(stored: ValueRef, field_type: FieldType) -> Option<Value> {
    let value = match (stored, field_type) {
        (ValueRef::Blob([]), _) => Value::Null,
        (ValueRef::Integer(i), FieldType::Bool) => Value::Bool(i != 0),
        (ValueRef::Integer(i), FieldType::Decimal(0)) => Value::Decimal(i),
        (ValueRef::Text(_), FieldType::Decimal(scale)) => {
            Value::Decimal(i64::try_from(decimal_of(stored.as_str().ok()?, scale)?).ok()?)
        }
        (ValueRef::Text(_), FieldType::Text) => Value::Text(stored.as_str().ok()?.into()),
        (ValueRef::Text(_), FieldType::Time) => Value::Time(time_of(stored.as_str().ok()?)?.0),
        _ => return None,
    };
    let written = group_cell(&Cell::of(&value, field_type));
    (ValueRef::from(&written) == stored).then_some(value)
}

/// The same value as all stores show it: decimals as numbers, the ends of time and group nulls as null.
pub(super) fn to_json(value: ValueRef, declared: &str) -> Json {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match (value, declared) {
        (ValueRef::Integer(i), "BOOLEAN") => Json::Bool(i != 0),
        (ValueRef::Integer(i), _) => Json::from(i),
        (ValueRef::Real(r), _) => Json::from(r),
        (ValueRef::Text(b"-infinity" | b"infinity"), "TIME_TEXT") => Json::Null,
        (ValueRef::Text(bytes), "JSON_TEXT") => serde_json::from_slice(bytes).unwrap_or_else(|_| Json::String(text(bytes))),
        (ValueRef::Text(bytes), decimal) if decimal.starts_with("DECIMAL_TEXT") => {
            text(bytes).parse().map_or_else(|_| Json::String(text(bytes)), Json::Number)
        }
        (ValueRef::Text(bytes), _) => Json::String(text(bytes)),
        (ValueRef::Null | ValueRef::Blob(_), _) => Json::Null,
    }
}
