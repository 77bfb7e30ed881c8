//! `${VAR}`, `${VAR:-default}` and `${file:/path}` within values; `$${` is a plain `${`.
//!
//! What comes from a file, and what a key of a secret name holds, is a secret: it is remembered, so that whoever prints
//! can mask it. A value that cannot be found out becomes `Content::Unknown`, with one mistake.

use super::mistakes::Mistakes;
use super::node::{Content, Entry, Node, Scalar};
use super::path;
use super::surroundings::Surroundings;
use std::collections::BTreeSet;

/// Replaces all references below `node`; gives back the secrets.
pub fn substitute(node: &mut Node, around: &Surroundings<'_>, mistakes: &mut Mistakes) -> BTreeSet<String> {
    let mut walk = Walk { around, mistakes, secrets: BTreeSet::new() };
    walk.node(node, "", "");
    walk.secrets
}

struct Walk<'a, 'b> {
    around: &'a Surroundings<'b>,
    mistakes: &'a mut Mistakes,
    secrets: BTreeSet<String>,
}

impl Walk<'_, '_> {
    fn node(&mut self, node: &mut Node, at: &str, key: &str) {
        let place = node.place.clone();
        match &mut node.content {
            Content::List(items) => items.iter_mut().enumerate().for_each(|(i, n)| self.node(n, &path::item(at, i), key)),
            Content::Map(entries) => {
                for Entry { key, node, .. } in entries {
                    self.node(node, &path::key(at, key), key);
                }
            }
            Content::Scalar(scalar) => match self.scalar(scalar) {
                Ok(()) => self.remember(scalar, at, key),
                Err(message) => {
                    self.mistakes.note(place, at, message);
                    node.content = Content::Unknown;
                }
            },
            Content::Unknown => {}
        }
    }

    fn scalar(&self, scalar: &mut Scalar) -> Result<(), String> {
        if !scalar.text.contains("${") {
            return Ok(());
        }
        let (mut out, mut rest) = (String::new(), scalar.text.as_str());
        while let Some(start) = rest.find("${") {
            if rest[..start].ends_with('$') {
                out.push_str(&rest[..start - 1]);
                out.push_str("${");
                rest = &rest[start + 2..];
                continue;
            }
            let end = rest[start..].find('}').ok_or_else(|| format!("`{}` lacks its `}}`", &rest[start..]))? + start;
            out.push_str(&rest[..start]);
            let (value, secret) = self.value(&rest[start + 2..end])?;
            out.push_str(&value);
            scalar.secret |= secret;
            rest = &rest[end + 1..];
        }
        out.push_str(rest);
        (scalar.text, scalar.source) = (out, String::new());
        Ok(())
    }

    /// The value of what stands between the braces, and whether it is a secret.
    fn value(&self, reference: &str) -> Result<(String, bool), String> {
        if let Some(file) = reference.strip_prefix("file:") {
            let text = (self.around.file)(file.as_ref()).map_err(|e| format!("${{{reference}}} cannot be read: {e}"))?;
            return Ok((text.trim_end_matches(['\n', '\r']).into(), true));
        }
        let (name, default) = match reference.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (reference, None),
        };
        let valid = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !valid || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(format!("`${{{reference}}}` is no variable: write ${{NAME}}, ${{NAME:-default}} or ${{file:/path}}"));
        }
        match ((self.around.variable)(name), default) {
            (Some(value), None) => Ok((value, false)),
            (Some(value), Some(_)) if !value.is_empty() => Ok((value, false)),
            (_, Some(default)) => Ok((default.into(), false)),
            (None, None) => Err(format!("${{{name}}} is not set: export it or write ${{{name}:-{}}}", example(name))),
        }
    }

    fn remember(&mut self, scalar: &mut Scalar, at: &str, key: &str) {
        if scalar.secret || holds_logins(at) && is_secret_key(key) {
            scalar.secret = true;
            if !scalar.text.is_empty() {
                self.secrets.insert(scalar.text.clone());
            }
        } else if let Some(password) = url_password(&scalar.text) {
            self.secrets.insert(password.into());
        }
    }
}

/// A default that a reader may try at once.
fn example(name: &str) -> &'static str {
    match name {
        _ if name.contains("KAFKA") => "localhost:9092",
        _ if name.contains("REDIS") => "redis://localhost:6379",
        _ if name.contains("CASSANDRA") || name.contains("SCYLLA") => "localhost:9042",
        _ => "default",
    }
}

/// Whether a place says how something outside is reached. A field may well be called `tokens`.
fn holds_logins(at: &str) -> bool {
    let mut parts = at.split('.');
    match parts.next() {
        Some(first) if first == "sinks" || first.starts_with("sinks[") => true,
        Some("streams") => parts.nth(1) == Some("from"),
        _ => false,
    }
}

/// Whether the value of such a key must never be shown: `password`, `sasl.password`, `ssl.key.pem`, `client_secret`.
fn is_secret_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["password", "secret", "token", "passphrase", "key.pem", "sasl.jaas"].iter().any(|word| key.contains(word))
}

/// The password in `scheme://user:password@host`.
pub fn url_password(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (user, _) = authority.rsplit_once('@')?;
    let (_, password) = user.split_once(':')?;
    (!password.is_empty()).then_some(password)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobfile::node::Place;

    fn substituted(text: &str) -> Result<(String, bool), String> {
        let around = Surroundings {
            variable: &|name| match name {
                "HOST" => Some("kafka:9092".into()),
                "EMPTY" => Some(String::new()),
                _ => None,
            },
            file: &|path| if path == "/run/secret" { Ok("s3cret\n".into()) } else { Err("no such file".into()) },
            overrides: Vec::new(),
            fits: &|_| Ok(()),
        };
        let mut mistakes = Mistakes::new("job.yaml");
        let mut node = Node::plain(text, Place::outside("x"));
        let secrets = substitute(&mut node, &around, &mut mistakes);
        match node.content {
            Content::Scalar(s) => Ok((s.text.clone(), secrets.contains(&s.text))),
            _ => Err(mistakes.sorted()[0].message.clone()),
        }
    }

    #[test]
    fn references_become_values() {
        let cases = [
            ("${HOST}", "kafka:9092", false),
            ("a ${HOST},${HOST} b", "a kafka:9092,kafka:9092 b", false),
            ("${NONE:-localhost:9092}", "localhost:9092", false),
            ("${EMPTY:-x}${EMPTY}", "x", false),
            ("$${HOST} $topic", "${HOST} $topic", false),
            ("${file:/run/secret}", "s3cret", true),
        ];
        for (text, expected, secret) in cases {
            assert_eq!(substituted(text), Ok((expected.into(), secret)), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_found_names_the_remedy() {
        let cases = [
            ("${KAFKA_BROKERS}", "${KAFKA_BROKERS} is not set: export it or write ${KAFKA_BROKERS:-localhost:9092}"),
            ("${HOST", "`${HOST` lacks its `}`"),
            ("${a b}", "`${a b}` is no variable: write ${NAME}, ${NAME:-default} or ${file:/path}"),
            ("${file:/nothing}", "${file:/nothing} cannot be read: no such file"),
        ];
        for (text, expected) in cases {
            assert_eq!(substituted(text), Err(expected.into()), "{text}");
        }
    }

    #[test]
    fn passwords_in_addresses_are_found() {
        assert_eq!(url_password("redis://me:pa@ss@host:6379/0"), Some("pa@ss"));
        assert_eq!(url_password("redis://host:6379"), None);
    }
}
