//! A cursor over the tree that knows its path. It gives values that are as they should be and stays silent about the
//! rest: `conform` has noted those already.

use super::mistakes::Mistakes;
use super::node::{Content, Entry, Node, Scalar};
use super::path;
use super::units;
use caudal_pipeline::time::Span;

/// A node and where it is in the job.
#[derive(Clone, Debug)]
pub struct At<'n> {
    /// The node.
    pub node: &'n Node,
    /// Its path.
    pub path: String,
}

impl<'n> At<'n> {
    /// The whole job.
    pub fn root(node: &'n Node) -> At<'n> {
        At { node, path: String::new() }
    }

    /// The value of a key, if there is one.
    pub fn get(&self, key: &str) -> Option<At<'n>> {
        let node = self.node.get(key)?;
        if node.content == Content::Unknown { None } else { Some(At { node, path: path::key(&self.path, key) }) }
    }

    /// Whether the key was written, whatever it holds.
    pub fn has(&self, key: &str) -> bool {
        self.node.get(key).is_some()
    }

    /// A map's entries.
    pub fn entries(&self) -> impl Iterator<Item = (&'n Entry, At<'n>)> + use<'n> {
        let at = self.path.clone();
        self.node.entries().iter().map(move |e| (e, At { node: &e.node, path: path::key(&at, &e.key) }))
    }

    /// A list's items, or the single value as the only item.
    pub fn items(&self) -> Vec<At<'n>> {
        match &self.node.content {
            Content::List(items) => {
                items.iter().enumerate().map(|(i, node)| At { node, path: path::item(&self.path, i) }).collect()
            }
            Content::Scalar(_) if !self.node.is_null() => vec![self.clone()],
            _ => Vec::new(),
        }
    }

    /// The scalar.
    pub fn scalar(&self) -> Option<&'n Scalar> {
        self.node.scalar()
    }

    /// The scalar's text.
    pub fn text(&self) -> Option<&'n str> {
        self.scalar().map(|s| s.text.as_str())
    }

    /// The key's text.
    pub fn text_of(&self, key: &str) -> Option<String> {
        self.get(key)?.text().map(str::to_string)
    }

    /// All texts of a list or a single value.
    pub fn texts(&self) -> Vec<String> {
        self.items().iter().filter_map(|i| i.text().map(str::to_string)).collect()
    }

    /// A map of texts.
    pub fn text_map<M: FromIterator<(String, String)>>(&self) -> M {
        self.entries().filter_map(|(e, at)| Some((e.key.clone(), at.text()?.to_string()))).collect()
    }

    /// The key's length of time.
    pub fn duration_of(&self, key: &str) -> Option<Span> {
        units::duration(self.get(key)?.text()?).ok()
    }

    /// The key's size.
    pub fn bytes_of(&self, key: &str) -> Option<u64> {
        units::bytes(self.get(key)?.text()?).ok()
    }

    /// The key's whole number.
    pub fn integer_of(&self, key: &str) -> Option<u64> {
        self.get(key)?.text()?.parse().ok()
    }

    /// The key's boolean.
    pub fn bool_of(&self, key: &str) -> Option<bool> {
        self.get(key)?.scalar()?.as_bool()
    }

    /// Notes a mistake here.
    pub fn mistake(&self, mistakes: &mut Mistakes, message: impl Into<String>) {
        mistakes.at(self.node, &self.path, message);
    }

    /// Notes a mistake at the key, or here where the key is not written.
    pub fn mistake_at(&self, key: &str, mistakes: &mut Mistakes, message: impl Into<String>) {
        let node = self.node.get(key).unwrap_or(self.node);
        mistakes.at(node, &path::key(&self.path, key), message);
    }

    /// Notes a mistake about a key itself: that it is there.
    pub fn mistake_key(&self, key: &str, mistakes: &mut Mistakes, message: impl Into<String>) {
        let place = self.node.entry(key).map_or_else(|| self.node.place.clone(), |e| e.place.clone());
        mistakes.note(place, &path::key(&self.path, key), message);
    }

    /// Notes a mistake at a byte of the scalar's text.
    pub fn mistake_within(&self, offset: usize, mistakes: &mut Mistakes, message: impl Into<String>) {
        mistakes.note(self.node.place_of(offset), &self.path, message);
    }

    /// The node at `path` below, as deep as it exists.
    pub fn deepest(&self, path: &str) -> At<'n> {
        let mut at = self.clone();
        for key in path.split('.') {
            match at.get(key) {
                Some(next) => at = next,
                None => break,
            }
        }
        at
    }
}
