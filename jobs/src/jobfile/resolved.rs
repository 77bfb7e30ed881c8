//! The resolved job as YAML, secrets masked: `caudal config`.
//!
//! What is printed can be read again and means the same, secrets aside.

use super::environment::url_password;
use super::job::Job;
use super::node::{Content, Node, Scalar, Style};
use std::fmt::Write;

/// In place of a secret.
pub const MASK: &str = "***";

/// The job with everything included, overridden, substituted and filled in.
pub fn resolved(job: &Job) -> String {
    let mut out = String::new();
    for entry in job.resolved.entries().iter().filter(|e| e.key != "include") {
        block(&mut out, &entry.key, &entry.node, 0, job);
    }
    out
}

/// `text` with every secret of the job masked: for logs and messages of client libraries.
pub fn masked(text: &str, job: &Job) -> String {
    // Longer ones first: a secret may be a part of another.
    let mut secrets: Vec<&String> = job.secrets.iter().collect();
    secrets.sort_by_key(|s| std::cmp::Reverse(s.len()));
    secrets.into_iter().fold(text.to_string(), |text, secret| text.replace(secret.as_str(), MASK))
}

fn block(out: &mut String, key: &str, node: &Node, depth: usize, job: &Job) {
    let indent = "  ".repeat(depth);
    let name = quoted(key, false);
    let _ = match &node.content {
        Content::Map(entries) if !entries.is_empty() && !fits(node) => {
            let _ = writeln!(out, "{indent}{name}:");
            entries.iter().for_each(|e| block(out, &e.key, &e.node, depth + 1, job));
            return;
        }
        _ => writeln!(out, "{indent}{name}: {}", flow(node, job)),
    };
}

/// Small maps of single values stay on one line.
fn fits(node: &Node) -> bool {
    let small = |n: &Node| n.scalar().is_some_and(|s| s.text.len() <= 40);
    node.entries().len() <= 4 && node.entries().iter().all(|e| small(&e.node))
}

fn flow(node: &Node, job: &Job) -> String {
    match &node.content {
        Content::Scalar(scalar) => scalar_text(scalar, job),
        Content::List(items) => format!("[{}]", items.iter().map(|i| flow(i, job)).collect::<Vec<_>>().join(", ")),
        Content::Map(entries) => {
            let inner: Vec<String> =
                entries.iter().map(|e| format!("{}: {}", quoted(&e.key, false), flow(&e.node, job))).collect();
            format!("{{{}}}", inner.join(", "))
        }
        Content::Unknown => "~".into(),
    }
}

fn scalar_text(scalar: &Scalar, job: &Job) -> String {
    if scalar.is_null() {
        return "~".into();
    }
    if scalar.secret {
        return format!("'{MASK}'");
    }
    let text = match url_password(&scalar.text) {
        Some(password) => scalar.text.replacen(&format!(":{password}@"), &format!(":{MASK}@"), 1),
        None => scalar.text.clone(),
    };
    let text = if job.secrets.contains(&text) { MASK.into() } else { text };
    // `${` that was written as `$${` must not become a reference.
    quoted(&text.replace("${", "$${"), scalar.style != Style::Plain)
}

/// Plain where YAML reads plain text back as it is, else in quotes.
fn quoted(text: &str, was_quoted: bool) -> String {
    let simple = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '+');
    let head = text.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_'));
    let looks_typed = Scalar::plain(text).as_bool().is_some()
        || Scalar::plain(text).is_null()
        || text.starts_with(|c: char| c.is_ascii_digit());
    if head && text.chars().all(simple) && !(was_quoted && looks_typed) {
        return text.into();
    }
    if text.chars().any(|c| c.is_control()) {
        // JSON's escapes are YAML's too.
        return serde_json::Value::from(text).to_string();
    }
    format!("'{}'", text.replace('\'', "''"))
}
