//! Expected against found, row by row, in words. Pure.

use super::expectation::{ExpectedLetter, ExpectedRows};
use super::found::FoundRow;
use super::value::{same, shown};
use caudal_pipeline::value::Cell;

type Values<'a> = &'a [(String, Cell)];

/// What differs between the rows of a view.
pub fn rows(view: &str, identity: &[&str], expected: &ExpectedRows, mut found: Vec<FoundRow>) -> Vec<String> {
    let gone = |row: Values<'_>| get(row, "state") == Some(&Cell::Text("gone".into()));
    if !expected.rows.iter().any(|row| gone(row)) {
        found.retain(|row| !gone(row));
    }
    let mut differences = Vec::new();
    let mut missing = Vec::new();
    // Rows that agree go first, so that one that differs cannot take the place of another.
    for row in &expected.rows {
        match found.iter().position(|found| agrees(row, found, |_| true)) {
            Some(at) => drop(found.remove(at)),
            None => missing.push(row),
        }
    }
    for row in missing {
        let is_identity = |name: &str| identity.contains(&name);
        let named = row.iter().any(|(name, _)| is_identity(name));
        match found.iter().position(|found| named && agrees(row, found, is_identity)) {
            Some(at) => differences.push(columns(view, row, &found.remove(at), &is_identity)),
            None => differences.push(format!("{view} {}   expected, but there is no such row", braces(row, |_| true))),
        }
    }
    if !expected.others_allowed {
        let mentioned = |name: &str| identity.contains(&name) || expected.rows.iter().any(|row| get(row, name).is_some());
        let all = expected.rows.is_empty();
        let not_expected =
            found.iter().map(|row| format!("{view} {}   found, but not expected", braces(row, |n| all || mentioned(n))));
        differences.extend(not_expected);
    }
    differences
}

/// One row whose other columns differ.
fn columns(view: &str, expected: Values<'_>, found: Values<'_>, is_identity: &dyn Fn(&str) -> bool) -> String {
    let mut text = format!("{view} {}", braces(expected, is_identity));
    for (name, wanted) in expected.iter().filter(|(name, _)| !is_identity(name)) {
        let there = get(found, name).unwrap_or(&Cell::Null);
        if !same(wanted, there) {
            text += &format!("\n  {name}   expected {}   found {}", shown(wanted), shown(there));
        }
    }
    text
}

fn agrees(expected: Values<'_>, found: Values<'_>, of: impl Fn(&str) -> bool) -> bool {
    let mut compared = expected.iter().filter(|(name, _)| of(name));
    compared.all(|(name, wanted)| get(found, name).is_some_and(|there| same(wanted, there)))
}

fn get<'a>(row: Values<'a>, name: &str) -> Option<&'a Cell> {
    row.iter().find(|(known, _)| known == name).map(|(_, cell)| cell)
}

fn braces(row: Values<'_>, shows: impl Fn(&str) -> bool) -> String {
    let parts = row.iter().filter(|(name, _)| shows(name)).map(|(name, cell)| format!("{name}: {}", shown(cell)));
    format!("{{{}}}", parts.collect::<Vec<_>>().join(", "))
}

/// What differs between dead letters; `found` is each one's values by key.
pub fn letters(expected: &[ExpectedLetter], mut found: Vec<Vec<(&'static str, Vec<String>)>>) -> Vec<String> {
    let mut differences = Vec::new();
    // The most particular first: a vague description must not take what a particular one means.
    let mut order: Vec<&ExpectedLetter> = expected.iter().collect();
    order.sort_by_key(|letter| std::cmp::Reverse(letter.written.len()));
    for letter in order {
        match found.iter().position(|found| letter.written.iter().all(|(key, text)| fits(key, text, found))) {
            Some(at) => drop(found.remove(at)),
            None => {
                let parts: Vec<String> = letter.written.iter().map(|(key, text)| format!("{key}: {text}")).collect();
                differences.push(format!("dead letter {{{}}}   expected, but there is no such one", parts.join(", ")));
            }
        }
    }
    for letter in found {
        let shown = letter.iter().filter(|(key, _)| !matches!(*key, "topic" | "element"));
        let parts: Vec<String> = shown.map(|(key, texts)| format!("{key}: {}", clipped(&texts.join(" | ")))).collect();
        differences.push(format!("dead letter {{{}}}   found, but not expected", parts.join(", ")));
    }
    differences
}

/// Words are looked for in messages and bytes; everything else is compared as a whole.
fn fits(key: &str, text: &str, found: &[(&'static str, Vec<String>)]) -> bool {
    let within = matches!(key, "message" | "payload");
    let fits = |there: &String| if within { there.contains(text) } else { there == text };
    found.iter().any(|(known, texts)| *known == key && texts.iter().any(fits))
}

fn clipped(text: &str) -> String {
    const CHARACTERS_MAX: usize = 160;
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(farm: &str, mean: i64) -> FoundRow {
        vec![
            ("farm".into(), Cell::Text(farm.into())),
            ("mean".into(), Cell::Integer(mean)),
            ("state".into(), Cell::Text("open".into())),
        ]
    }

    fn expect(rows: &[(&str, i64)], others_allowed: bool) -> ExpectedRows {
        ExpectedRows { others_allowed, rows: rows.iter().map(|(farm, mean)| row(farm, *mean)[..2].to_vec()).collect() }
    }

    #[test]
    fn each_row_is_told_once() {
        let found = || vec![row("a", 1), row("b", 2), row("c", 3)];
        let differ = |expected: ExpectedRows| rows("v", &["farm"], &expected, found());
        assert_eq!(differ(expect(&[("c", 3), ("a", 1), ("b", 2)], false)), Vec::<String>::new());
        assert_eq!(differ(expect(&[("b", 2)], true)), Vec::<String>::new());
        assert_eq!(
            differ(expect(&[("a", 1), ("b", 5), ("d", 4)], false)),
            [
                "v {farm: b}\n  mean   expected 5   found 2",
                "v {farm: d, mean: 4}   expected, but there is no such row",
                "v {farm: c, mean: 3}   found, but not expected",
            ]
        );
    }

    #[test]
    fn rows_that_went_are_seen_only_where_they_are_asked_for() {
        let mut gone = row("a", 0);
        gone[2].1 = Cell::Text("gone".into());
        assert_eq!(rows("v", &["farm"], &expect(&[], false), vec![gone.clone()]), Vec::<String>::new());
        let asked = ExpectedRows { others_allowed: false, rows: vec![gone.clone()] };
        assert_eq!(rows("v", &["farm"], &asked, vec![gone]), Vec::<String>::new());
    }

    #[test]
    fn a_vague_dead_letter_leaves_the_particular_one_alone() {
        let letter = |keys: &[(&str, &str)]| ExpectedLetter {
            written: keys.iter().map(|(k, t)| (k.to_string(), t.to_string())).collect(),
        };
        let found = |reason: &str, path: &str| vec![("reason", vec![reason.to_owned()]), ("path", vec![path.to_owned()])];
        let all = vec![found("schema", "/a"), found("schema", "/b")];
        let expected = [letter(&[("reason", "schema")]), letter(&[("reason", "schema"), ("path", "/a")])];
        assert_eq!(letters(&expected, all.clone()), Vec::<String>::new());
        let one = [letter(&[("path", "/c")]), letter(&[("path", "/b")])];
        assert_eq!(letters(&one, all).len(), 2);
    }
}
