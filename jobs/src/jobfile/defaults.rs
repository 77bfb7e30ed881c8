//! Fills in what a job file leaves out, from the embedded reference page `defaults.yaml`.
//!
//! A plain key of the page is inserted where it is missing; `if key:` holds the defaults below a key that is written.

use super::node::{Content, Entry, Node, Place};
use super::shape::Shape;
use super::yaml;

/// The reference page.
pub const PAGE: &str = include_str!("defaults.yaml");

/// The page's place in messages and in the resolved job.
pub const FILE: &str = "default";

/// The page as a tree. Its text is part of the program, and a test reads it.
pub fn tree() -> Node {
    let mut errors = Vec::new();
    yaml::parse(FILE, PAGE, &mut errors).unwrap_or_else(|| Node::empty_map(Place::outside(FILE)))
}

/// Completes `node` with the defaults for its shape.
pub fn fill(shape: &'static Shape, node: &mut Node, defaults: &Node) {
    let Some(shape) = shape.for_node(node) else { return };
    match shape {
        Shape::Map(keys) => {
            if node.is_null() {
                node.content = Content::Map(Vec::new());
            }
            let derived = is_derived_stream(node);
            for key in keys.keys {
                let missing_ok = derived || keys.one_of.contains(&key.name);
                below(key.name, key.shape, node, defaults, missing_ok);
            }
            order(node, |name| keys.keys.iter().position(|k| k.name == name));
        }
        Shape::Named(_, value) => {
            let (Some(defaults), Content::Map(entries)) = (defaults.get("<name>"), &mut node.content) else { return };
            entries.iter_mut().for_each(|e| fill(value, &mut e.node, defaults));
        }
        _ => {}
    }
}

fn below(name: &str, shape: &'static Shape, node: &mut Node, defaults: &Node, missing_ok: bool) {
    let Content::Map(entries) = &mut node.content else { return };
    let default = defaults.get(name);
    match entries.iter_mut().find(|e| e.key == name) {
        Some(entry) => {
            let conditional = defaults.get(&format!("if {name}"));
            let tree = conditional.or(default);
            if let (Some(tree), Content::Map(_) | Content::Scalar(_)) = (tree, &entry.node.content) {
                fill(shape, &mut entry.node, tree);
            }
        }
        None if missing_ok => {}
        None => {
            let inserted = default.filter(|d| d.get("<name>").is_none()).map(outside);
            entries.extend(inserted.map(|node| Entry { key: name.into(), place: node.place.clone(), node }));
        }
    }
}

/// A stream made from a stream has its parent's settings, not the defaults.
fn is_derived_stream(node: &Node) -> bool {
    node.get("from").is_some_and(|from| from.scalar().is_some()) && node.get("window").is_none()
}

/// In the order of the page, so that a resolved job reads like it.
fn order(node: &mut Node, position: impl Fn(&str) -> Option<usize>) {
    if let Content::Map(entries) = &mut node.content {
        entries.sort_by_key(|e| position(&e.key).unwrap_or(usize::MAX));
    }
}

fn outside(default: &Node) -> Node {
    let content = match &default.content {
        Content::Map(entries) => {
            let kept = entries.iter().filter(|e| !e.key.starts_with("if "));
            Content::Map(
                kept.map(|e| Entry { key: e.key.clone(), place: Place::outside(FILE), node: outside(&e.node) }).collect(),
            )
        }
        other => other.clone(),
    };
    Node { place: Place::outside(FILE), content }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobfile::grammar::JOB;
    use crate::jobfile::shape::Keys;

    #[test]
    fn the_page_names_every_key() {
        fn check(shape: &'static Shape) {
            match shape {
                Shape::Map(Keys { keys, .. }) => {
                    for key in *keys {
                        let named = [format!("{}: ", key.name), format!("{}:\n", key.name)]
                            .iter()
                            .any(|text| PAGE.contains(text.as_str()));
                        assert!(named || key.name == "detectors", "`{}` is not on the page", key.name);
                        check(key.shape);
                    }
                }
                Shape::Named(_, inner) | Shape::List(inner) | Shape::OneOrMany(inner) => check(inner),
                Shape::Either { scalar, list, map } => [scalar, list, map].into_iter().flatten().for_each(|s| check(s)),
                _ => {}
            }
        }
        check(&JOB);
    }

    #[test]
    fn a_default_is_inserted_only_where_its_condition_holds() {
        let filled = |text: &str| {
            let mut node = yaml::parse("job.yaml", text, &mut Vec::new()).expect("the text is YAML");
            fill(&JOB, &mut node, &tree());
            node.to_json()
        };
        let json = filled("streams: {a: {from: {file: x}, lateness: 2h, watermark: {max_delay: 1s}}, b: {from: a}}");
        let expected = serde_json::json!({"streams": {
            "a": {"from": {"file": "x"}, "format": "json", "max_message": "1MiB", "lateness": "2h",
                  "watermark": {"max_delay": "1s", "idle_after": "30s", "max_future": "1m", "all_idle": "advance"}},
            "b": {"from": "a"},
        }});
        assert_eq!(json, expected);
        let json = filled("sinks: {s: {redis: {url: x}, keep: {views: all}}}\nstreams: {a: {from: b, format: {csv: }}}");
        let expected = serde_json::json!({
            "streams": {"a": {"from": "b", "format": {"csv": {"delimiter": ",", "decimal": "."}}}},
            "sinks": {"s": {"redis": {"url": "x", "board_groups_max": 10000},
                            "keep": {"views": "all", "alerts": "none", "events": "none", "dead_letters": "none"}}},
        });
        assert_eq!(json, expected);
    }
}
