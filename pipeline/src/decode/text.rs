//! Quoting what was found in messages for people: enough to recognise it, never a megabyte.

use serde_json::Value as Json;

/// The most characters of a value that a message repeats.
const CLIP: usize = 64;

/// The text, cut after [`CLIP`] characters.
pub(crate) fn clip(text: &str) -> String {
    match text.char_indices().nth(CLIP) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// The text in quotes with control characters escaped, cut.
pub(crate) fn quote(text: &str) -> String {
    format!("{:?}", clip(text))
}

/// A value as it was written, if it is short; else what it is.
pub(crate) fn found(value: &Json) -> String {
    match value {
        Json::Null => "null".into(),
        Json::Bool(b) => b.to_string(),
        Json::Number(n) => clip(n.as_str()),
        Json::String(s) => quote(s),
        Json::Array(items) => format!("an array of {}", items.len()),
        Json::Object(_) => "an object".into(),
    }
}

/// `a`, `b` and 3 more.
pub(crate) fn list<T: AsRef<str>>(names: &[T]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{}`", clip(name.as_ref()))).collect();
    let more = names.len().saturating_sub(SHOWN);
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}

/// The name most like `name`, if one is near enough to be what was meant.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known.map(|k| (distance(name, k), k)).filter(|(d, k)| *d <= 1 + k.len() / 4).min().map(|(_, k)| k)
}

/// Edits between two names (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_and_near_names_found() {
        assert!(quote(&"x".repeat(1 << 20)).len() < 80);
        assert_eq!(clip("short"), "short");
        assert_eq!(list(&["a", "b"]), "`a`, `b`");
        assert_eq!(nearest("pwoer", ["power", "farm"].into_iter()), Some("power"));
        assert_eq!(nearest("x", ["power"].into_iter()), None);
    }
}
