//! Names of keys, and a group as text.
//!
//! A group's values are joined by `|`. Within a value `\` becomes `\\` and `|` becomes `\|`; null is `\N`, which no
//! text can be. Numbers have all their digits, times are RFC 3339 in UTC. A view without a group has the empty group.

use caudal_pipeline::value::{Cell, Field, Value, decimal_text};

/// How many keys a view's index of groups is spread over.
pub const SHARDS: u32 = 16;

/// The group as it stands in keys, indexes and boards.
pub fn group_text(fields: &[Field], values: &[Value]) -> String {
    let mut text = String::new();
    for (position, (field, value)) in fields.iter().zip(values).enumerate() {
        if position > 0 {
            text.push('|');
        }
        push_value(&mut text, &Cell::of(value, field.field_type));
    }
    text
}

fn push_value(text: &mut String, cell: &Cell) {
    match cell {
        Cell::Null => text.push_str("\\N"),
        Cell::Bool(b) => text.push_str(if *b { "true" } else { "false" }),
        Cell::Integer(i) => text.push_str(&i.to_string()),
        Cell::Decimal { unscaled, scale } => text.push_str(&decimal_text(*unscaled, *scale)),
        Cell::Time(us) => text.push_str(&caudal_pipeline::time::EventTime(*us).to_string()),
        Cell::Text(t) => {
            for character in t.chars() {
                if matches!(character, '\\' | '|') {
                    text.push('\\');
                }
                text.push(character);
            }
        }
        // Fields are scalars: no group holds a list.
        Cell::List(_) => {}
    }
}

/// The sorted set of a group's rows. The braces make the group the key's slot in a cluster.
pub fn rows(job: &str, view: &str, group: &str) -> String {
    format!("{job}:{view}:{{{group}}}")
}

/// The part of a view's index that lists `group`: CRC-32C of its text, modulo [`SHARDS`].
pub fn groups(job: &str, view: &str, group: &str) -> String {
    format!("{job}:{view}:groups:{}", crc32c::crc32c(group.as_bytes()) % SHARDS)
}

/// The board's newest row of every group of a view.
pub fn latest(job: &str, view: &str) -> String {
    format!("{{{job}}}:latest:{view}")
}

/// The mark of a cluster's primary that has keys with this tag. No view has an empty name.
pub fn mark(job: &str, tag: u32) -> String {
    format!("{job}::written:{{{tag}}}")
}

/// The board's frontiers.
pub fn asof(job: &str) -> String {
    format!("{{{job}}}:asof")
}

#[cfg(test)]
mod tests {
    use super::*;
    use caudal_pipeline::value::FieldType;

    #[test]
    fn different_groups_have_different_texts() {
        let field = |field_type| Field { name: "f".to_owned(), field_type };
        let text = |t: &str| (FieldType::Text, Value::Text(t.into()));
        for (values, expected) in [
            (vec![], ""),
            (vec![text("north")], "north"),
            (vec![text("a|b"), text("c")], r"a\|b|c"),
            (vec![text("a"), text("b|c")], r"a|b\|c"),
            (vec![text(r"a\"), text("b")], r"a\\|b"),
            (vec![(FieldType::Text, Value::Null)], r"\N"),
            (vec![text(r"\N")], r"\\N"),
            (vec![(FieldType::Decimal(2), Value::Decimal(-150)), (FieldType::Decimal(0), Value::Decimal(7))], "-1.50|7"),
            (vec![(FieldType::Bool, Value::Bool(true)), (FieldType::Time, Value::Time(1))], "true|1970-01-01T00:00:00.000001Z"),
        ] {
            let (types, values): (Vec<_>, Vec<_>) = values.into_iter().unzip();
            let fields: Vec<Field> = types.into_iter().map(field).collect();
            assert_eq!(group_text(&fields, &values), expected);
        }
    }

    #[test]
    fn keys_are_as_readers_know_them() {
        assert_eq!(rows("wind-farm", "per_minute", "north"), "wind-farm:per_minute:{north}");
        assert_eq!(latest("wind-farm", "per_minute"), "{wind-farm}:latest:per_minute");
        assert_eq!(asof("wind-farm"), "{wind-farm}:asof");
        assert_eq!(groups("wind-farm", "per_minute", "north"), "wind-farm:per_minute:groups:9");
    }
}
