//! A view's group as bytes: compared, hashed and sorted as bytes, in the order of its values.
//!
//! ```
//! use caudal_pipeline::{group::Group, value::Value};
//! let north = Group::of(&[Value::Text("north".into()), Value::Decimal(-3)]);
//! assert_eq!(north.values(), [Value::Text("north".into()), Value::Decimal(-3)]);
//! assert!(Group::of(&[Value::Decimal(-3)]) < Group::of(&[Value::Decimal(2)]));
//! ```

use crate::hash::route;
use crate::value::Value;
use serde::{Deserialize, Serialize};

/// The values of a view's group fields, encoded.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Group(Box<[u8]>);

impl Group {
    /// Encodes values in order.
    pub fn of<'a>(values: impl IntoIterator<Item = &'a Value>) -> Group {
        let mut bytes = Vec::with_capacity(16);
        for value in values {
            push_value(&mut bytes, value);
        }
        Group(bytes.into_boxed_slice())
    }

    /// The encoded bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// A group from its encoded bytes.
    pub fn from_bytes(bytes: &[u8]) -> Group {
        Group(bytes.into())
    }

    /// Which worker it lives on.
    pub fn route(&self) -> u64 {
        route(&self.0)
    }

    /// The values, decoded.
    ///
    /// # Panics
    /// If the bytes did not come from [`Group::of`]; state files are verified before they get here.
    pub fn values(&self) -> Vec<Value> {
        let mut rest = &self.0[..];
        let mut values = Vec::new();
        while !rest.is_empty() {
            values.push(take_value(&mut rest).expect("a group holds whole values"));
        }
        values
    }
}

/// Appends `value` so that byte order is value order and no encoding is a prefix of another's.
fn push_value(bytes: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => bytes.push(0),
        Value::Bool(b) => bytes.extend([1, u8::from(*b)]),
        Value::Decimal(d) => push_tagged(bytes, 2, *d),
        Value::Text(text) => {
            bytes.push(3);
            push_escaped(bytes, text.as_bytes());
        }
        Value::Time(t) => push_tagged(bytes, 4, *t),
    }
}

fn push_tagged(bytes: &mut Vec<u8>, tag: u8, number: i64) {
    bytes.push(tag);
    bytes.extend(ordered(number).to_be_bytes());
}

/// Maps signed order to unsigned order.
pub fn ordered(number: i64) -> u64 {
    (number as u64) ^ (1 << 63)
}

/// The inverse of [`ordered`].
pub fn unordered(number: u64) -> i64 {
    (number ^ (1 << 63)) as i64
}

/// Zero bytes become `00 ff`; `00 00` ends the text.
fn push_escaped(bytes: &mut Vec<u8>, text: &[u8]) {
    for &byte in text {
        bytes.push(byte);
        if byte == 0 {
            bytes.push(0xff);
        }
    }
    bytes.extend([0, 0]);
}

fn take_value(rest: &mut &[u8]) -> Option<Value> {
    let (&tag, tail) = rest.split_first()?;
    *rest = tail;
    match tag {
        0 => Some(Value::Null),
        1 => take(rest, 1).map(|b| Value::Bool(b[0] == 1)),
        2 => take_number(rest).map(Value::Decimal),
        3 => take_escaped(rest).map(|text| Value::Text(text.into())),
        4 => take_number(rest).map(Value::Time),
        _ => None,
    }
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    Some(head)
}

fn take_number(rest: &mut &[u8]) -> Option<i64> {
    Some(unordered(u64::from_be_bytes(take(rest, 8)?.try_into().ok()?)))
}

fn take_escaped(rest: &mut &[u8]) -> Option<String> {
    let mut text = Vec::new();
    loop {
        let byte = take(rest, 1)?[0];
        if byte != 0 {
            text.push(byte);
            continue;
        }
        match take(rest, 1)?[0] {
            0 => return String::from_utf8(text).ok(),
            _ => text.push(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_order_is_value_order() {
        let values = [
            Value::Null,
            Value::Bool(false),
            Value::Bool(true),
            Value::Decimal(i64::MIN),
            Value::Decimal(-1),
            Value::Decimal(0),
            Value::Decimal(7),
            Value::Text("".into()),
            Value::Text("\0".into()),
            Value::Text("a".into()),
            Value::Text("a\0b".into()),
            Value::Text("ab".into()),
            Value::Time(-5),
        ];
        for (i, a) in values.iter().enumerate() {
            for (j, b) in values.iter().enumerate() {
                let (left, right) = (Group::of([a, &Value::Decimal(1)]), Group::of([b, &Value::Decimal(0)]));
                assert_eq!(left.cmp(&right), (i, 1).cmp(&(j, 0)), "{a:?} {b:?}");
                assert_eq!(left.values(), [a.clone(), Value::Decimal(1)]);
            }
        }
    }
}
