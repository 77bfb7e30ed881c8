//! Does a node have the shape it should? Every departure is noted, each at its own place.

use super::grammar::NO_WINDOW;
use super::mistakes::Mistakes;
use super::node::{Content, Entry, Node, Scalar, Style};
use super::path;
use super::shape::{Keys, Names, Shape, Zero, listed, one_of};
use super::units;
use caudal_pipeline::suggest::suggest;

/// Notes whatever about `node` is not as `shape` says.
pub fn conform(shape: &'static Shape, node: &Node, at: &str, mistakes: &mut Mistakes) {
    if node.content == Content::Unknown {
        return;
    }
    match shape {
        Shape::Any => {}
        Shape::Later(what) => mistakes.at(node, at, *what),
        Shape::OneOrMany(item) if matches!(node.content, Content::Scalar(_)) => conform(item, node, at, mistakes),
        Shape::List(item) | Shape::OneOrMany(item) => list(shape, item, node, at, mistakes),
        Shape::Map(keys) => map(shape, keys, node, at, mistakes),
        Shape::Named(names, value) => named(shape, *names, value, node, at, mistakes),
        Shape::Either { scalar: Some(Shape::Choice(words)), .. }
            if node.scalar().is_some_and(|s| !words.contains(&s.text.as_str())) =>
        {
            let text = node.scalar().map_or("", shown);
            let hint = suggest(text, words.iter().copied()).map(|w| format!("; did you mean `{w}`?")).unwrap_or_default();
            mistakes.at(node, at, format!("expected {}, found `{text}`{hint}", shape.expected()));
        }
        Shape::Either { .. } => match shape.for_node(node) {
            Some(shape) => conform(shape, node, at, mistakes),
            None => mistakes.at(node, at, unexpected(shape, node)),
        },
        _ => match node.scalar() {
            Some(scalar) => {
                if let Err(message) = single(shape, scalar) {
                    mistakes.at(node, at, message);
                }
            }
            None => mistakes.at(node, at, unexpected(shape, node)),
        },
    }
}

fn unexpected(shape: &Shape, node: &Node) -> String {
    let quote = match (shape, &node.content) {
        (Shape::Expression, Content::Map(_) | Content::List(_)) => ": YAML cut the expression in two, quote this",
        _ => "",
    };
    format!("expected {}, found {}{quote}", shape.expected(), node.kind())
}

fn single(shape: &Shape, scalar: &Scalar) -> Result<(), String> {
    let text = scalar.text.as_str();
    let fail = || Err(format!("expected {}, found `{}`", shape.expected(), shown(scalar)));
    match shape {
        Shape::Expression => whole_expression(scalar),
        Shape::Identifier if !is_identifier(text) => fail(),
        Shape::JobName if !is_job_name(text) => fail(),
        Shape::Integer(low, high) if !text.parse::<u64>().is_ok_and(|n| (*low..=*high).contains(&n)) => fail(),
        Shape::Bool if scalar.as_bool().is_none() => fail(),
        Shape::Duration(zero) => match (units::duration(text)?, zero) {
            (span, Zero::Refused(why)) if span.0 == 0 => Err((*why).into()),
            _ => Ok(()),
        },
        Shape::WindowSize if text == "1mo" => Ok(()),
        Shape::WindowSize => match units::duration(text) {
            Ok(span) if span.0 == 0 => Err(NO_WINDOW.into()),
            Ok(_) => Ok(()),
            Err(_) => fail(),
        },
        Shape::Bytes => units::bytes(text).map(|_| ()),
        Shape::Choice(words) if !words.contains(&text) => {
            let near = suggest(text, words.iter().copied()).filter(|_| words.len() > 1);
            let hint = near.map(|w| format!("; did you mean `{w}`?")).unwrap_or_default();
            Err(format!("expected {}, found `{}`{hint}", one_of(words), shown(scalar)))
        }
        Shape::Character if text.chars().count() != 1 || !text.is_ascii() => fail(),
        Shape::List(_) | Shape::Map(_) | Shape::Named(..) => fail(),
        _ => Ok(()),
    }
}

fn shown(scalar: &Scalar) -> &str {
    if scalar.secret { "***" } else { &scalar.text }
}

/// An unquoted expression that ends within a bracket or a string was cut by YAML at a comma, a `: ` or a ` #`.
fn whole_expression(scalar: &Scalar) -> Result<(), String> {
    if scalar.style != Style::Plain {
        return Ok(());
    }
    let (mut open, mut string) = (0i64, None);
    for c in scalar.text.chars() {
        match (string, c) {
            (None, '"' | '\'') => string = Some(c),
            (Some(quote), c) if c == quote => string = None,
            (None, '(' | '[' | '{') => open += 1,
            (None, ')' | ']' | '}') => open -= 1,
            _ => {}
        }
    }
    if open == 0 && string.is_none() {
        return Ok(());
    }
    Err(format!("YAML cut this expression in two, `{}` is all that is left: quote this as a whole", scalar.text))
}

fn list(shape: &Shape, item: &'static Shape, node: &Node, at: &str, mistakes: &mut Mistakes) {
    match &node.content {
        Content::List(items) => {
            for (i, node) in items.iter().enumerate() {
                conform(item, node, &path::item(at, i), mistakes);
            }
        }
        _ => mistakes.at(node, at, unexpected(shape, node)),
    }
}

fn map(shape: &Shape, keys: &'static Keys, node: &Node, at: &str, mistakes: &mut Mistakes) {
    let is_map = matches!(node.content, Content::Map(_));
    let empty = node.is_null() && keys.one_of.is_empty();
    if !is_map && !empty {
        mistakes.at(node, at, unexpected(shape, node));
        return;
    }
    for entry in node.entries() {
        match keys.key(&entry.key) {
            Some(key) => conform(key.shape, &entry.node, &path::key(at, &entry.key), mistakes),
            None => mistakes.note(entry.place.clone(), &path::key(at, &entry.key), unknown_key(keys, entry)),
        }
    }
    for key in keys.keys.iter().filter(|k| k.required && node.get(k.name).is_none()) {
        mistakes.at(node, &path::key(at, key.name), format!("missing: {}", key.doc));
    }
    choice(keys, node, at, mistakes);
}

fn unknown_key(keys: &Keys, entry: &Entry) -> String {
    let names: Vec<&str> = keys.keys.iter().map(|k| k.name).collect();
    if entry.key.contains(')') || entry.key.contains('(') {
        return format!("YAML cut an expression in two before `{}`: quote this as a whole", entry.key);
    }
    match suggest(&entry.key, names.iter().copied()) {
        Some(name) => format!("unknown key; did you mean `{name}`?"),
        None => format!("unknown key; the keys here are {}", listed(&names)),
    }
}

fn choice(keys: &Keys, node: &Node, at: &str, mistakes: &mut Mistakes) {
    if keys.one_of.is_empty() {
        return;
    }
    let chosen: Vec<&Entry> = node.entries().iter().filter(|e| keys.one_of.contains(&e.key.as_str())).collect();
    match chosen.as_slice() {
        [_] => {}
        [] => mistakes.at(node, at, format!("missing: write one of {}", one_of(keys.one_of))),
        [first, rest @ ..] => {
            for extra in rest {
                let message = format!("`{}` and `{}` exclude each other: keep one", first.key, extra.key);
                mistakes.note(extra.place.clone(), &path::key(at, &extra.key), message);
            }
        }
    }
}

fn named(shape: &Shape, names: Names, value: &'static Shape, node: &Node, at: &str, mistakes: &mut Mistakes) {
    if !matches!(node.content, Content::Map(_)) {
        if !node.is_null() {
            mistakes.at(node, at, unexpected(shape, node));
        }
        return;
    }
    for entry in node.entries() {
        let path = path::key(at, &entry.key);
        if let Err(message) = name(names, &entry.key) {
            mistakes.note(entry.place.clone(), &path, message);
        } else {
            conform(value, &entry.node, &path, mistakes);
        }
    }
}

fn name(names: Names, text: &str) -> Result<(), String> {
    let cut = text.contains(['(', ')', '"', '\'']);
    match names {
        Names::Free => Ok(()),
        _ if cut => Err(format!("YAML cut an expression in two before `{text}`: quote this as a whole")),
        Names::Identifiers if is_identifier(text) => Ok(()),
        Names::Identifiers => Err(format!("`{text}` is no name: letters, digits and `_`, at most 48, a letter first")),
        Names::Stores if is_identifier(text) && !text.starts_with('_') && !text.contains(char::is_uppercase) => Ok(()),
        Names::Stores => Err(format!("`{text}` is no name: lower-case letters, digits and `_`, at most 48, a letter first")),
    }
}

/// `[A-Za-z_][A-Za-z0-9_]*`, at most 48.
fn is_identifier(text: &str) -> bool {
    let head = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    head && text.len() <= 48 && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn is_job_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.len() <= 48 && text.chars().all(allowed) && !text.starts_with('-') && !text.ends_with('-')
}
