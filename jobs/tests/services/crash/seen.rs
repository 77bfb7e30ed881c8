//! What a reader has seen of a store, and whether that can be: versions go on, and one version has one value.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The memory of a reader.
#[derive(Default)]
pub struct Seen {
    /// By place and row, the newest version and its value, for the message when the next one contradicts it.
    newest: BTreeMap<(&'static str, String), (u64, String)>,
    /// By row and version, a hash of the value: wherever a row is read, its version says the same.
    values: BTreeMap<(String, u64), u64>,
    looks: u64,
    rows: u64,
    /// What others have seen, of other rows.
    others: usize,
}

impl Seen {
    /// A look has begun.
    pub fn look(&mut self) {
        self.looks += 1;
    }

    /// A row was read, at one of the places where it is kept.
    pub fn row(&mut self, place: &'static str, row: &str, version: u64, value: &str) {
        self.rows += 1;
        let entry = self.newest.entry((place, row.to_owned())).or_insert_with(|| (version, value.to_owned()));
        assert!(version >= entry.0, "{place}: {row} goes back from {} to {version}:\n{}\n{value}", entry.0, entry.1);
        assert!(version > entry.0 || entry.1 == value, "{place}: {row} has two values in {version}:\n{}\n{value}", entry.1);
        *entry = (version, value.to_owned());
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        let hash = hasher.finish();
        let known = *self.values.entry((row.to_owned(), version)).or_insert(hash);
        assert_eq!(known, hash, "{place}: {row} had another value in {version} elsewhere:\n{value}");
    }

    pub fn looks(&self) -> u64 {
        self.looks
    }

    /// Rows read, as often as they were.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Different versions of different rows.
    pub fn versions(&self) -> usize {
        self.values.len() + self.others
    }

    /// What several have seen, each of stores of its own.
    pub fn together(all: Vec<Seen>) -> Seen {
        let sum = |of: fn(&Seen) -> u64| all.iter().map(of).sum();
        Seen { looks: sum(Seen::looks), rows: sum(Seen::rows), others: all.iter().map(Seen::versions).sum(), ..Seen::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::Seen;

    fn looked(looks: &[(&'static str, u64, &str)]) {
        let mut seen = Seen::default();
        looks.iter().for_each(|(place, version, value)| seen.row(place, "row", *version, value));
    }

    #[test]
    fn a_row_that_goes_on_may_do_so() {
        looked(&[("here", 1, "a"), ("here", 1, "a"), ("here", 3, "b"), ("there", 1, "a")]);
    }

    #[test]
    #[should_panic(expected = "goes back from 2 to 1")]
    fn a_version_that_goes_back_is_noticed() {
        looked(&[("here", 2, "a"), ("here", 1, "b")]);
    }

    #[test]
    #[should_panic(expected = "two values in 1")]
    fn a_second_value_is_noticed() {
        looked(&[("here", 1, "a"), ("here", 1, "b")]);
    }

    #[test]
    #[should_panic(expected = "another value in 1 elsewhere")]
    fn a_second_value_elsewhere_is_noticed() {
        looked(&[("here", 1, "a"), ("here", 2, "b"), ("there", 1, "b")]);
    }
}
