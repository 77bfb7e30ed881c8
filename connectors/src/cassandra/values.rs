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

/// The value of a group's field that stands so in a key; `None` if no value of its type does.
pub fn key_value(field: &Field, stored: &CqlValue) -> Option<Value> {
    let value = match (stored, field.field_type) {
        (CqlValue::Text(t), FieldType::Text | FieldType::Time) if t == "\\N" => Value::Null,
        (CqlValue::Text(t), FieldType::Text) if t == "\\E" => Value::Text("".into()),
        (CqlValue::Text(t), FieldType::Text) => Value::Text(t.strip_prefix('\\').unwrap_or(t).into()),
        (CqlValue::Text(t), FieldType::Time) => Value::Time(EventTime::displayed_as(t)?.0),
        (CqlValue::Boolean(b), FieldType::Bool) => Value::Bool(*b),
        (CqlValue::BigInt(i), FieldType::Decimal(0)) => Value::Decimal(*i),
        (CqlValue::Decimal(d), FieldType::Decimal(_)) => Value::Decimal(unscaled(d)?),
        _ => return None,
    };
    (key(field, &value).as_ref() == Ok(stored)).then_some(value)
}

/// A decimal's digits, if they fit a field.
fn unscaled(decimal: &CqlDecimal) -> Option<i64> {
    let (bytes, _) = decimal.as_signed_be_bytes_slice_and_exponent();
    let first = *bytes.first()? as i8;
    let digits =
        bytes[1..].iter().try_fold(i128::from(first), |digits, byte| digits.checked_mul(256)?.checked_add((*byte).into()));
    digits?.try_into().ok()
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

/// The time that [`timestamp`] has stored, to the millisecond.
pub fn time_of(stored: &CqlValue) -> Option<EventTime> {
    let CqlValue::Timestamp(CqlTimestamp(ms)) = stored else { return None };
    ms.checked_mul(1000).map(EventTime)
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
    fn a_value_is_read_from_its_own_key_alone() {
        let field = |field_type| Field { name: "f".to_owned(), field_type };
        let (text, cents) = (field(FieldType::Text), field(FieldType::Decimal(2)));
        for unscaled in [0, 1, -1, 127, 128, -128, -129, 255, 256, i64::MAX, i64::MIN] {
            let value = Value::Decimal(unscaled);
            assert_eq!(key_value(&cents, &key(&cents, &value).unwrap()), Some(value), "{unscaled}");
        }
        for t in ["", "a", r"\", r"\\", r"\N", r"\E", r"\\N"] {
            let value = Value::Text(t.into());
            assert_eq!(key_value(&text, &key(&text, &value).unwrap()), Some(value), "{t}");
        }
        // Of another scale, and of nobody's making.
        for (field, other) in
            [(&cents, decimal(15, 1)), (&text, CqlValue::Text(String::new())), (&text, CqlValue::Text(r"\x".to_owned()))]
        {
            assert_eq!(key_value(field, &other), None, "{other:?}");
        }
    }

    #[test]
    fn times_before_1970_are_cut_downwards() {
        assert_eq!(timestamp(-1), CqlValue::Timestamp(CqlTimestamp(-1)));
        assert_eq!(bound(EventTime::MIN), None);
    }
}
