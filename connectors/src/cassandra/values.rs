//! Cells and group values as CQL values.

use caudal_pipeline::time::EventTime;
use caudal_pipeline::value::{Cell, Field, FieldType, Value};
use scylla::value::{CqlDecimal, CqlTimestamp, CqlValue};

/// The last instant that plain clients can show: the end of all time.
const LAST_MS: i64 = 253_402_300_799_999;

/// A column's value; `None` is null. Fails on a null within a list, which Cassandra cannot hold.
pub fn cell(cell: &Cell) -> Result<Option<CqlValue>, String> {
    Ok(Some(match cell {
        Cell::Null => return Ok(None),
        Cell::Bool(b) => CqlValue::Boolean(*b),
        Cell::Integer(i) => CqlValue::BigInt(*i),
        Cell::Decimal { unscaled, scale } => decimal(*unscaled, *scale),
        Cell::Text(t) => CqlValue::Text(t.to_string()),
        Cell::Time(us) => timestamp(*us),
        Cell::List(cells) => CqlValue::List(cells.iter().map(element).collect::<Result<_, _>>()?),
    }))
}

fn element(of_list: &Cell) -> Result<CqlValue, String> {
    cell(of_list)?.ok_or_else(|| "a list holds a null, which Cassandra cannot store".to_owned())
}

/// A group's value as a part of a key, which is never null and never empty.
pub fn key(field: &Field, value: &Value) -> Result<CqlValue, String> {
    Ok(match (value, field.field_type) {
        (Value::Null, FieldType::Text | FieldType::Time) => CqlValue::Text("\\N".to_owned()),
        (Value::Null, _) => {
            return Err(format!("the group's {} is null, which no key can hold: give the field a default", field.name));
        }
        (Value::Text(t), _) => CqlValue::Text(key_text(t)),
        (Value::Bool(b), _) => CqlValue::Boolean(*b),
        (Value::Decimal(d), FieldType::Decimal(scale)) if scale > 0 => decimal(i128::from(*d), scale),
        (Value::Decimal(d), _) => CqlValue::BigInt(*d),
        (Value::Time(us), _) => CqlValue::Text(EventTime(*us).to_string()),
    })
}

fn key_text(text: &str) -> String {
    match text {
        "" => "\\E".to_owned(),
        escaped if escaped.starts_with('\\') => format!("\\{escaped}"),
        plain => plain.to_owned(),
    }
}

/// The shortest two's complement, as every client writes it: in a key, other bytes are another key.
fn decimal(unscaled: i128, scale: u8) -> CqlValue {
    let bytes = unscaled.to_be_bytes();
    let filler = if unscaled < 0 { 0xff } else { 0x00 };
    let mut first = 0;
    while first < 15 && bytes[first] == filler && (bytes[first + 1] & 0x80) == (filler & 0x80) {
        first += 1;
    }
    CqlValue::Decimal(CqlDecimal::from_signed_be_bytes_slice_and_exponent(&bytes[first..], i32::from(scale)))
}

/// Microseconds as a `timestamp`, cut to the millisecond.
pub fn timestamp(us: i64) -> CqlValue {
    CqlValue::Timestamp(CqlTimestamp(us.div_euclid(1000)))
}

/// A window's bound or a frontier: before all time is null, after it the last day of year 9999.
pub fn bound(at: EventTime) -> Option<CqlValue> {
    match at {
        EventTime::MIN => None,
        EventTime::MAX => Some(CqlValue::Timestamp(CqlTimestamp(LAST_MS))),
        EventTime(us) => Some(timestamp(us)),
    }
}

/// Bytes on the wire, about.
pub fn len_bytes(value: &Option<CqlValue>) -> usize {
    4 + match value {
        Some(CqlValue::Text(t)) => t.len(),
        Some(CqlValue::Blob(b)) => b.len(),
        Some(CqlValue::List(items)) => items.iter().map(|item| 4 + element_bytes(item)).sum(),
        Some(_) => 16,
        None => 0,
    }
}

fn element_bytes(value: &CqlValue) -> usize {
    match value {
        CqlValue::Text(t) => t.len(),
        CqlValue::Blob(b) => b.len(),
        CqlValue::List(items) => items.iter().map(|item| 4 + element_bytes(item)).sum(),
        _ => 16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_have_the_fewest_bytes_that_hold_them() {
        for (unscaled, bytes) in [
            (0, vec![0]),
            (1, vec![1]),
            (-1, vec![0xff]),
            (127, vec![0x7f]),
            (128, vec![0, 0x80]),
            (-128, vec![0x80]),
            (-129, vec![0xff, 0x7f]),
            (i128::MAX, i128::MAX.to_be_bytes().to_vec()),
            (i128::MIN, i128::MIN.to_be_bytes().to_vec()),
        ] {
            let expected = CqlDecimal::from_signed_be_bytes_and_exponent(bytes, 2);
            let CqlValue::Decimal(found) = decimal(unscaled, 2) else { panic!("{unscaled}") };
            assert_eq!(
                found.as_signed_be_bytes_slice_and_exponent(),
                expected.as_signed_be_bytes_slice_and_exponent(),
                "{unscaled}"
            );
        }
    }

    #[test]
    fn keys_are_never_null_or_empty_and_never_the_same() {
        let text = Field { name: "farm".to_owned(), field_type: FieldType::Text };
        let number = Field { name: "n".to_owned(), field_type: FieldType::Decimal(0) };
        for (value, expected) in [
            (Value::Null, r"\N"),
            (Value::Text("".into()), r"\E"),
            (Value::Text(r"\N".into()), r"\\N"),
            (Value::Text("a".into()), "a"),
        ] {
            assert_eq!(key(&text, &value), Ok(CqlValue::Text(expected.to_owned())));
        }
        assert_eq!(key(&number, &Value::Decimal(7)), Ok(CqlValue::BigInt(7)));
        assert!(key(&number, &Value::Null).unwrap_err().contains("default"));
    }

    #[test]
    fn times_before_1970_are_cut_downwards() {
        assert_eq!(timestamp(-1), CqlValue::Timestamp(CqlTimestamp(-1)));
        assert_eq!(bound(EventTime::MIN), None);
    }
}
