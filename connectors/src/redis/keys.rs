//! Names of keys, and a group as text.
//!
//! A group's values are joined by `|`. Within a value `\` becomes `\\` and `|` becomes `\|`; null is `\N`, which no
//! text can be. Numbers have all their digits, times are RFC 3339 in UTC. A view without a group has the empty group.

use caudal_pipeline::time::EventTime;
use caudal_pipeline::value::{Cell, Field, FieldType, Value, decimal_of, decimal_text};

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
        Cell::Time(us) => text.push_str(&EventTime(*us).to_string()),
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

/// The group that stands as `text`; `None` if no group of these fields does.
pub fn group_values(fields: &[Field], text: &str) -> Option<Vec<Value>> {
    let parts = if fields.is_empty() { Vec::new() } else { parts(text) };
    if parts.len() != fields.len() {
        return None;
    }
    let values: Option<Vec<Value>> = fields.iter().zip(parts).map(|(field, part)| value(field.field_type, part)).collect();
    values.filter(|values| group_text(fields, values) == text)
}

/// What stands between those `|` that are not escaped.
fn parts(text: &str) -> Vec<&str> {
    let (mut parts, mut begin, mut escaped) = (Vec::new(), 0, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '|' => {
                parts.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[begin..]);
    parts
}

fn value(field_type: FieldType, part: &str) -> Option<Value> {
    Some(match field_type {
        _ if part == "\\N" => Value::Null,
        FieldType::Bool => Value::Bool(part.parse().ok()?),
        FieldType::Decimal(scale) => Value::Decimal(i64::try_from(decimal_of(part, scale)?).ok()?),
        FieldType::Time => Value::Time(EventTime::displayed_as(part)?.0),
        FieldType::Text => {
            let mut escaped = false;
            let stands = |character: &char| {
                escaped = *character == '\\' && !escaped;
                !escaped
            };
            Value::Text(part.chars().filter(stands).collect())
        }
    })
}

/// The sorted set of a group's rows. The braces make the group the key's slot in a cluster.
pub fn rows(job: &str, view: &str, group: &str) -> String {
    format!("{job}:{view}:{{{group}}}")
}

/// What all keys of a view's rows match, and some of others.
pub fn rows_pattern(job: &str, view: &str) -> String {
    let escape = |character: char| r"*?[]\".contains(character).then_some('\\');
    let escaped: String =
        rows(job, view, "").chars().flat_map(|character| escape(character).into_iter().chain([character])).collect();
    escaped.replacen("{}", "{*}", 1)
}

/// The group whose rows are under `key`; `None` if it is no key of this view's rows.
pub fn group_of<'a>(job: &str, view: &str, key: &'a str) -> Option<&'a str> {
    key.strip_prefix(job)?.strip_prefix(':')?.strip_prefix(view)?.strip_prefix(":{")?.strip_suffix('}')
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

    #[test]
    fn a_group_is_read_from_its_own_text_alone() {
        let field = |field_type| Field { name: "f".to_owned(), field_type };
        let of = |types: &[FieldType], text: &str| {
            let fields: Vec<Field> = types.iter().copied().map(field).collect();
            group_values(&fields, text)
        };
        let (text, decimal) = (FieldType::Text, FieldType::Decimal(2));
        assert_eq!(of(&[], ""), Some(vec![]));
        assert_eq!(of(&[text], ""), Some(vec![Value::Text("".into())]));
        assert_eq!(of(&[text, text], r"a\\|\|b"), Some(vec![Value::Text(r"a\".into()), Value::Text("|b".into())]));
        assert_eq!(of(&[text, decimal], r"\N|-1.50"), Some(vec![Value::Null, Value::Decimal(-150)]));
        // Groups of other fields: more of them, none, numbers with fewer digits, numbers that were texts.
        for (types, other) in [(&[text][..], "a|b"), (&[], "a"), (&[decimal], "1.5"), (&[decimal], "north"), (&[text], r"a\b")] {
            assert_eq!(of(types, other), None, "{other}");
        }
    }

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
        assert_eq!(rows_pattern("wind-farm", "per_minute"), "wind-farm:per_minute:{*}");
        assert_eq!(rows_pattern("a*", "v"), r"a\*:v:{*}");
        for group in ["", "north", "}", "}{", "a:{b}"] {
            assert_eq!(group_of("j", "v", &rows("j", "v", group)), Some(group));
        }
        for key in ["j:v:groups:9", "j:vv:{a}", "{j}:asof", "j::written:{0}"] {
            assert_eq!(group_of("j", "v", key), None);
        }
    }
}
