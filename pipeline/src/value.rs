//! What a field holds on the way in ([`Value`]) and what a column holds on the way out ([`Cell`]).
//!
//! Numbers are decimal fixed point: an `i64` scaled by the power of ten that the field's type declares, so that
//! addition is exact and order does not matter. There is no floating point in any accumulator.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

/// Scaled magnitudes stay below this, so that sums fit 128 bits and sums of squares 192 (SEMANTICS 9).
pub const SCALED_MAX: i64 = 1 << 62;

/// The largest scale a field may declare: digits after the decimal point.
pub const SCALE_MAX: u8 = 18;

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FieldType {
    /// `true` or `false`.
    Bool,
    /// A decimal with this many digits after the point; scale 0 is an integer.
    Decimal(u8),
    /// UTF-8 text.
    Text,
    /// A point in event time.
    Time,
}

/// A named, typed slot of a record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Field {
    /// The name that expressions, views and stores use.
    pub name: String,
    /// What it holds, when it is not null.
    pub field_type: FieldType,
}

/// One field's value. A `Decimal` is scaled by the field's type. The derived order is the order of keys and ties.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Value {
    /// Absent, or JSON null.
    #[default]
    Null,
    /// A boolean.
    Bool(bool),
    /// A number, scaled by the field's declared scale.
    Decimal(i64),
    /// Text.
    Text(CompactString),
    /// Microseconds since 1970.
    Time(i64),
}

/// The type of a result column.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ColumnType {
    /// A boolean.
    Bool,
    /// A whole number that fits 64 bits: counts.
    Integer,
    /// A decimal with this many digits after the point, up to 128 bits unscaled.
    Decimal(u8),
    /// Text.
    Text,
    /// A point in time, microseconds.
    Time,
    /// A list of one of the above.
    List(Box<ColumnType>),
}

/// A named, typed result column of a view.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Column {
    /// The name in every store.
    pub name: String,
    /// What it holds, when it is not null.
    pub column_type: ColumnType,
}

/// One result value.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Cell {
    /// No value: a mean of nothing, an overflown distinct.
    #[default]
    Null,
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// `unscaled / 10^scale`.
    Decimal {
        /// The digits.
        unscaled: i128,
        /// Digits after the point.
        scale: u8,
    },
    /// Text.
    Text(CompactString),
    /// Microseconds since 1970.
    Time(i64),
    /// Several values.
    List(Vec<Cell>),
}

impl From<FieldType> for ColumnType {
    fn from(t: FieldType) -> ColumnType {
        match t {
            FieldType::Bool => ColumnType::Bool,
            FieldType::Decimal(0) => ColumnType::Integer,
            FieldType::Decimal(scale) => ColumnType::Decimal(scale),
            FieldType::Text => ColumnType::Text,
            FieldType::Time => ColumnType::Time,
        }
    }
}

impl Cell {
    /// A field's value as a result, with the scale that its type declares.
    pub fn of(value: &Value, field_type: FieldType) -> Cell {
        match (value, field_type) {
            (Value::Null, _) => Cell::Null,
            (Value::Bool(b), _) => Cell::Bool(*b),
            (Value::Decimal(d), FieldType::Decimal(0)) => Cell::Integer(*d),
            (Value::Decimal(d), FieldType::Decimal(scale)) => Cell::Decimal { unscaled: i128::from(*d), scale },
            (Value::Decimal(d), _) => Cell::Integer(*d),
            (Value::Text(t), _) => Cell::Text(t.clone()),
            (Value::Time(t), _) => Cell::Time(*t),
        }
    }

    /// The JSON text of this cell: decimals as plain numbers with all their digits, times as RFC 3339 in UTC.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match self {
            Cell::Null => Json::Null,
            Cell::Bool(b) => Json::Bool(*b),
            Cell::Integer(i) => Json::from(*i),
            Cell::Decimal { unscaled, scale } => {
                Json::Number(serde_json::Number::from_string_unchecked(decimal_text(*unscaled, *scale)))
            }
            Cell::Text(t) => Json::String(t.to_string()),
            Cell::Time(us) => Json::String(crate::time::EventTime(*us).to_string()),
            Cell::List(cells) => Json::Array(cells.iter().map(Cell::to_json).collect()),
        }
    }
}

/// `unscaled / 10^scale` in plain digits: `-0.50`, `12`, never an exponent.
pub fn decimal_text(unscaled: i128, scale: u8) -> String {
    let sign = if unscaled < 0 { "-" } else { "" };
    let digits = format!("{:0width$}", unscaled.unsigned_abs(), width = usize::from(scale) + 1);
    let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// The number whose [`decimal_text`] at `scale` is `text`; `None` if there is none.
pub fn decimal_of(text: &str, scale: u8) -> Option<i128> {
    let unscaled = text.replacen('.', "", 1).parse().ok()?;
    (decimal_text(unscaled, scale) == text).then_some(unscaled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_is_read_from_its_own_text_alone() {
        for (unscaled, scale) in [(0, 0), (0, 2), (5, 2), (-5, 1), (120, 0), (i128::MIN, 18), (i128::MAX, 0)] {
            assert_eq!(decimal_of(&decimal_text(unscaled, scale), scale), Some(unscaled));
        }
        for (text, scale) in [("1.5", 2), ("1.50", 1), ("+1", 0), ("01", 0), ("-0", 0), ("", 0), (".5", 1), ("1.", 0), ("1e2", 0)]
        {
            assert_eq!(decimal_of(text, scale), None, "{text}");
        }
    }

    #[test]
    fn decimals_print_all_their_digits() {
        for (unscaled, scale, text) in [(5, 2, "0.05"), (-5, 1, "-0.5"), (120, 0, "120"), (-1234, 3, "-1.234"), (0, 2, "0.00")] {
            assert_eq!(decimal_text(unscaled, scale), text);
        }
    }
}
