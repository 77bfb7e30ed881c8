//! Expected values: read by the type of their column, compared by what they mean, shown as they are written.

use super::moment;
use crate::jobfile::node::{Content, Node};
use caudal_pipeline::value::{Cell, ColumnType, decimal_text};

/// The value that stands at `node` for a column of this type.
pub fn parse(node: &Node, column_type: &ColumnType, start_us: i64) -> Result<Cell, String> {
    if node.is_null() {
        return Ok(Cell::Null);
    }
    if let (ColumnType::List(of), Content::List(items)) = (column_type, &node.content) {
        return items.iter().map(|item| parse(item, of, start_us)).collect::<Result<_, _>>().map(Cell::List);
    }
    let Some(scalar) = node.scalar() else { return Err(format!("expected {}, found {}", words(column_type), node.kind())) };
    let text = scalar.text.as_str();
    let wrong = || format!("expected {}, found `{text}`", words(column_type));
    match column_type {
        ColumnType::Bool => scalar.as_bool().map(Cell::Bool).ok_or_else(wrong),
        ColumnType::Integer => text.parse().map(Cell::Integer).map_err(|_| wrong()),
        ColumnType::Decimal(_) => decimal(text).ok_or_else(wrong),
        ColumnType::Text => Ok(Cell::Text(text.into())),
        ColumnType::Time => moment::parse(text, start_us).map(Cell::Time),
        ColumnType::List(_) => Err(wrong()),
    }
}

fn words(column_type: &ColumnType) -> String {
    match column_type {
        ColumnType::Bool => "true or false".into(),
        ColumnType::Integer => "a whole number".into(),
        ColumnType::Decimal(_) => "a number in plain digits".into(),
        ColumnType::Text => "a text".into(),
        ColumnType::Time => "a time".into(),
        ColumnType::List(of) => format!("a list, each item {}", words(of)),
    }
}

/// A number in plain digits, without the zeros at its end.
fn decimal(text: &str) -> Option<Cell> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    let plain = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if digits.is_empty() || !plain(digits) || !plain(fraction) || fraction.len() > 38 || text.ends_with('.') {
        return None;
    }
    let unscaled = format!("{whole}{fraction}").parse().ok()?;
    Some(Cell::Decimal { unscaled, scale: fraction.len() as u8 })
}

/// Whether two values mean the same: `1.50` is `1.5`.
pub fn same(a: &Cell, b: &Cell) -> bool {
    match (a, b) {
        (Cell::List(a), Cell::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Cell::Decimal { .. } | Cell::Integer(_), Cell::Decimal { .. } | Cell::Integer(_)) => shortest(a) == shortest(b),
        _ => a == b,
    }
}

fn shortest(cell: &Cell) -> (i128, u8) {
    let (mut unscaled, mut scale) = match cell {
        Cell::Decimal { unscaled, scale } => (*unscaled, *scale),
        Cell::Integer(n) => (i128::from(*n), 0),
        _ => unreachable!("only numbers are compared by their digits"),
    };
    while scale > 0 && unscaled % 10 == 0 {
        (unscaled, scale) = (unscaled / 10, scale - 1);
    }
    (unscaled, scale)
}

/// As it would be written in a case.
pub fn shown(cell: &Cell) -> String {
    match cell {
        Cell::Null => "null".into(),
        Cell::Text(text) => text.to_string(),
        Cell::Decimal { unscaled, scale } => decimal_text(*unscaled, *scale),
        Cell::Time(us) => caudal_pipeline::time::EventTime(*us).to_string(),
        Cell::List(cells) => format!("[{}]", cells.iter().map(shown).collect::<Vec<_>>().join(", ")),
        other => other.to_json().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobfile::node::Place;

    #[test]
    fn numbers_are_compared_by_what_they_mean() {
        let read = |text: &str| parse(&Node::plain(text, Place::outside("x")), &ColumnType::Decimal(3), 0);
        for (a, b, equal) in [("1.50", "1.5", true), ("-0.0", "0", true), ("10", "1", false), ("100", "100.000", true)] {
            assert_eq!(same(&read(a).unwrap(), &read(b).unwrap()), equal, "{a} {b}");
        }
        for text in ["1e3", "1.", ".5", "--1", "", "NaN"] {
            assert!(read(text).is_err() || text.is_empty(), "{text}");
        }
    }
}
