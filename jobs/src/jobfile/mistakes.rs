//! What is wrong with a job file: all of it at once, each with its place, its path and what to do about it.

use super::node::{Node, Place};
use std::collections::BTreeSet;
use std::fmt;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where it was written.
    pub place: Place,
    /// The place in the job's own terms: `views.per_minute.select.avg`; empty for the whole file.
    pub path: String,
    /// What is wrong and the remedy, lower case, no full stop.
    pub message: String,
}

/// All mistakes of one job file, printed as people read them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mistakes {
    file: String,
    list: Vec<Mistake>,
    settled: BTreeSet<String>,
}

impl Mistakes {
    /// None so far, in this file.
    pub fn new(file: &str) -> Mistakes {
        Mistakes { file: file.into(), list: Vec::new(), settled: BTreeSet::new() }
    }

    /// Notes a mistake at a node.
    pub fn at(&mut self, node: &Node, path: &str, message: impl Into<String>) {
        self.note(node.place.clone(), path, message);
    }

    /// From now on nothing more is said of the paths that have a mistake: it would only be a consequence.
    pub fn settle(&mut self) {
        self.settled.extend(self.list.iter().map(|m| m.path.clone()).filter(|path| !path.is_empty()));
    }

    /// Notes a mistake at a place. The same words about the same place are said once.
    pub fn note(&mut self, place: Place, path: &str, message: impl Into<String>) {
        let mistake = Mistake { place, path: path.into(), message: message.into() };
        if !self.list.contains(&mistake) && !self.settled.contains(path) {
            self.list.push(mistake);
        }
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// In the order of the file: the job file itself, then included ones, overrides last.
    pub fn sorted(&self) -> Vec<Mistake> {
        let mut sorted = self.list.clone();
        sorted.sort_by_key(|m| (m.place.line == 0, *m.place.file != *self.file, m.place.clone(), m.path.clone()));
        sorted
    }

    /// The place as printed: the file's name only where it is not the job file.
    fn place_text(&self, place: &Place) -> String {
        match (place.line, *place.file == *self.file) {
            (0, _) => place.file.to_string(),
            (_, true) => format!("{}:{}", place.line, place.column),
            (_, false) => format!("{}:{}:{}", place.file, place.line, place.column),
        }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.list.len();
        let noun = if count == 1 { "mistake" } else { "mistakes" };
        write!(f, "{}: {count} {noun}, nothing was started", self.file)?;
        let sorted: Vec<(String, Mistake)> = self.sorted().into_iter().map(|m| (self.place_text(&m.place), m)).collect();
        let width = sorted.iter().map(|(place, _)| place.chars().count()).max().unwrap_or(0);
        for (place, m) in sorted {
            let path = if m.path.is_empty() { String::new() } else { format!("{}   ", m.path) };
            write!(f, "\n  {place:width$}  {path}{}", m.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(file: &str, line: usize, column: usize) -> Place {
        Place { file: file.into(), line, column }
    }

    #[test]
    fn mistakes_print_in_the_order_of_the_file_with_aligned_paths() {
        let mut mistakes = Mistakes::new("wind.yaml");
        mistakes.note(place("--set limits.groups=x", 0, 0), "limits.groups", "expected a whole number");
        mistakes.note(place("wind.yaml", 24, 18), "views.per_minute.select.avg", "meen(power_kw): no such aggregate");
        mistakes.note(place("wind.yaml", 9, 3), "streams.readings", "missing: where its records come from");
        mistakes.note(place("shared.yaml", 1, 2), "", "not YAML");
        assert_eq!(
            mistakes.to_string(),
            "wind.yaml: 4 mistakes, nothing was started\n\
             \x20 9:3                    streams.readings   missing: where its records come from\n\
             \x20 24:18                  views.per_minute.select.avg   meen(power_kw): no such aggregate\n\
             \x20 shared.yaml:1:2        not YAML\n\
             \x20 --set limits.groups=x  limits.groups   expected a whole number"
        );
    }
}
