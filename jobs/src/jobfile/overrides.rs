//! `--set path=value` and `CAUDAL__PATH__TO__KEY`: single values of a job file, given outside of it.
//!
//! The value is YAML, so that lists and maps can be given too. Below a map of properties the rest of the path is one key,
//! dots included. A variable's name has no dots, dashes or lower case: it is matched with the keys that are there.

use super::mistakes::Mistakes;
use super::node::{Content, Entry, Node, Place};
use super::surroundings::{Override, VARIABLE_PREFIX};
use super::yaml;

/// Applies one override.
pub fn apply(root: &mut Node, given: &Override, mistakes: &mut Mistakes) {
    let (place, path, text) = match given {
        Override::Set(text) => match text.split_once('=') {
            Some((path, value)) if !path.is_empty() => (Place::outside(&format!("--set {path}")), path.to_string(), value),
            _ => {
                mistakes.note(Place::outside(&format!("--set {text}")), "", "expected path=value");
                return;
            }
        },
        Override::Variable(name, value) => (Place::outside(name), name[VARIABLE_PREFIX.len()..].to_string(), value.as_str()),
    };
    let dialect = match given {
        Override::Set(_) => Dialect::Dots,
        Override::Variable(..) => Dialect::Underscores,
    };
    let value = value(text, &place);
    if let Err(message) = set(root, &path, dialect, value, &place) {
        mistakes.note(place, &path, message);
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Dialect {
    Dots,
    Underscores,
}

/// Text that is no YAML is itself: `a: b: c` need not be quoted on a command line.
fn value(text: &str, place: &Place) -> Node {
    let mut errors = Vec::new();
    let parsed = if text.trim().is_empty() { None } else { yaml::parse("", text, &mut errors) };
    let mut node = parsed.filter(|_| errors.is_empty()).unwrap_or_else(|| Node::plain(text, place.clone()));
    relocate(&mut node, place);
    node
}

fn relocate(node: &mut Node, place: &Place) {
    node.place = place.clone();
    match &mut node.content {
        Content::List(items) => items.iter_mut().for_each(|n| relocate(n, place)),
        Content::Map(entries) => {
            for entry in entries {
                entry.place = place.clone();
                relocate(&mut entry.node, place);
            }
        }
        _ => {}
    }
}

fn set(node: &mut Node, path: &str, dialect: Dialect, value: Node, place: &Place) -> Result<(), String> {
    let separator = if dialect == Dialect::Dots { "." } else { "__" };
    let (head, rest) = match path.split_once(separator) {
        Some((head, rest)) => (head, Some(rest)),
        None => (path, None),
    };
    if head.is_empty() {
        return Err("a part of the path is empty".into());
    }
    if node.is_null() {
        node.content = Content::Map(Vec::new());
    }
    let kind = node.kind();
    let Content::Map(entries) = &mut node.content else {
        return Err(format!("`{head}` cannot be set: there is {kind}, no map, above it"));
    };
    let entry = entry(entries, head, dialect, place);
    match rest {
        None => entry.node = value,
        Some(rest) if entry.key == "properties" => property(entry, rest, dialect, value, place),
        Some(rest) => set(&mut entry.node, rest, dialect, value, place)?,
    }
    Ok(())
}

fn entry<'a>(entries: &'a mut Vec<Entry>, head: &str, dialect: Dialect, place: &Place) -> &'a mut Entry {
    let found = entries.iter().position(|e| match dialect {
        Dialect::Dots => e.key == head,
        Dialect::Underscores => plain(&e.key) == plain(head),
    });
    let index = found.unwrap_or_else(|| {
        let key = if dialect == Dialect::Dots { head.to_string() } else { head.to_ascii_lowercase() };
        entries.push(Entry { key, place: place.clone(), node: Node::empty_map(place.clone()) });
        entries.len() - 1
    });
    &mut entries[index]
}

/// As a variable would spell it.
fn plain(key: &str) -> String {
    key.to_ascii_lowercase().replace(['-', '.'], "_")
}

fn property(entry: &mut Entry, name: &str, dialect: Dialect, value: Node, place: &Place) {
    if !matches!(entry.node.content, Content::Map(_)) {
        entry.node = Node::empty_map(place.clone());
    }
    let Content::Map(entries) = &mut entry.node.content else { return };
    let found = entries.iter_mut().find(|e| if dialect == Dialect::Dots { e.key == name } else { plain(&e.key) == plain(name) });
    match found {
        Some(entry) => entry.node = value,
        None => {
            let key = if dialect == Dialect::Dots { name.to_string() } else { name.to_ascii_lowercase().replace('_', ".") };
            entries.push(Entry { key, place: place.clone(), node: value });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(overrides: &[Override]) -> (serde_json::Value, String) {
        let mut errors = Vec::new();
        let text = "name: a\nstreams: {my_readings: {from: {kafka: {properties: {bootstrap.servers: x}}}, lateness: 1h}}";
        let mut root = yaml::parse("job.yaml", text, &mut errors).expect("the text is YAML");
        let mut mistakes = Mistakes::new("job.yaml");
        overrides.iter().for_each(|o| apply(&mut root, o, &mut mistakes));
        (root.to_json(), mistakes.sorted().iter().map(|m| m.message.clone()).collect())
    }

    #[test]
    fn a_path_reaches_old_and_new_keys() {
        let (json, mistakes) = applied(&[
            Override::Set("streams.my_readings.lateness=2h".into()),
            Override::Set("limits.memory=2GiB".into()),
            Override::Set("streams.my_readings.from.kafka.properties.bootstrap.servers=host:9092".into()),
            Override::Set("streams.my_readings.id=[/a, /b]".into()),
        ]);
        assert_eq!(mistakes, "");
        let expected = serde_json::json!({
            "name": "a", "limits": {"memory": "2GiB"},
            "streams": {"my_readings": {"from": {"kafka": {"properties": {"bootstrap.servers": "host:9092"}}}, "lateness": "2h", "id": ["/a", "/b"]}},
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn a_variable_reaches_keys_whatever_their_case_and_dots() {
        let variable = |name: &str, value: &str| Override::Variable(name.into(), value.into());
        let (json, mistakes) = applied(&[
            variable("CAUDAL__NAME", "b"),
            variable("CAUDAL__STREAMS__MY_READINGS__FROM__KAFKA__PROPERTIES__BOOTSTRAP_SERVERS", "h:1"),
            variable("CAUDAL__STREAMS__MY_READINGS__FROM__KAFKA__PROPERTIES__SASL_USERNAME", "me"),
        ]);
        assert_eq!(mistakes, "");
        assert_eq!(json["name"], "b");
        assert_eq!(
            json["streams"]["my_readings"]["from"]["kafka"]["properties"],
            serde_json::json!({"bootstrap.servers": "h:1", "sasl.username": "me"})
        );
    }

    #[test]
    fn what_cannot_be_set_is_told() {
        let (_, mistakes) = applied(&[Override::Set("name.x=1".into()), Override::Set("nothing".into())]);
        assert_eq!(mistakes, "`x` cannot be set: there is a single value, no map, above itexpected path=value");
    }
}
