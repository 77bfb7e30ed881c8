//! Reading a mapping key by key, and collecting what is wrong with it.

use super::config::{Mistake, Share};
use super::duration::parse_us;
use serde_json::{Map, Value as Json};

/// Collects mistakes.
#[derive(Default)]
pub(super) struct Reading {
    pub(super) mistakes: Vec<Mistake>,
}

impl Reading {
    /// Notes a mistake.
    pub(super) fn mistake(&mut self, path: &str, message: impl Into<String>) {
        self.mistakes.push(Mistake { path: path.to_owned(), message: message.into() });
    }

    /// A mapping with none but these keys.
    pub(super) fn map<'a>(&mut self, value: &'a Json, path: &str, keys: &[&str]) -> Option<&'a Map<String, Json>> {
        let Some(map) = value.as_object() else {
            self.mistake(path, format!("a mapping with {}", keys.join(", ")));
            return None;
        };
        for key in map.keys().filter(|key| !keys.contains(&key.as_str())) {
            self.mistake(&join(path, key), format!("unknown key: known are {}", keys.join(", ")));
        }
        Some(map)
    }

    pub(super) fn duration(&mut self, map: &Map<String, Json>, key: &str, path: &str) -> Option<i64> {
        self.duration_of(map.get(key)?, &join(path, key))
    }

    pub(super) fn duration_of(&mut self, value: &Json, path: &str) -> Option<i64> {
        let us = value.as_str().and_then(parse_us);
        if us.is_none() {
            self.mistake(path, "a length of time: 500ms, 10s, 1h30m");
        }
        us
    }

    pub(super) fn number(&mut self, map: &Map<String, Json>, key: &str, path: &str) -> Option<f64> {
        let value = map.get(key)?;
        let number = value.as_f64().filter(|n| n.is_finite());
        if number.is_none() {
            self.mistake(&join(path, key), "a number");
        }
        number
    }

    pub(super) fn whole(&mut self, map: &Map<String, Json>, key: &str, path: &str) -> Option<u64> {
        let value = map.get(key)?;
        if value.as_u64().is_none() {
            self.mistake(&join(path, key), "a whole number, zero or more");
        }
        value.as_u64()
    }

    pub(super) fn text(&mut self, map: &Map<String, Json>, key: &str, path: &str) -> Option<String> {
        let value = map.get(key)?;
        if value.as_str().is_none() {
            self.mistake(&join(path, key), "a text");
        }
        value.as_str().map(str::to_owned)
    }

    /// A positive number in thousandths.
    pub(super) fn milli(&mut self, map: &Map<String, Json>, key: &str, path: &str) -> Option<u64> {
        let number = self.number(map, key, path)?;
        if !(0.001..=1e9).contains(&number) {
            self.mistake(&join(path, key), "a number from 0.001 to 1,000,000,000");
            return None;
        }
        Some((number * 1000.0).round() as u64)
    }

    pub(super) fn share(&mut self, value: Option<&Json>, path: &str) -> Share {
        let Some(value) = value else {
            self.mistake(path, "missing: a share from 0 to 1");
            return Share::default();
        };
        match value.as_f64().filter(|s| (0.0..=1.0).contains(s)) {
            Some(share) => Share((share * f64::from(Share::ONE.0)).round() as u32),
            None => {
                self.mistake(path, "a share from 0 to 1");
                Share::default()
            }
        }
    }

    pub(super) fn required<T>(&mut self, value: Option<T>, map: &Map<String, Json>, key: &str, path: &str) -> Option<T> {
        if !map.contains_key(key) {
            self.mistake(&join(path, key), "missing");
        }
        value
    }
}

pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
