//! `distinct(x, max: N)`: how many different values, exactly, as long as there are at most N.
//!
//! Above N the values are forgotten and only the fact remains. That does not depend on the order: a part that holds
//! more than N values is part of a whole that does, and a whole that does is found out at the latest when its parts
//! are merged.

use super::compiled::{Input, count_cell};
use crate::value::{Cell, Value};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What one value takes in a set, besides the text it may hold: nodes may be half empty.
const ENTRY_BYTES_MAX: usize = 64;

/// The different values seen; `None` once there were too many.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Distinct(Option<Box<BTreeSet<Value>>>);

impl Default for Distinct {
    fn default() -> Self {
        Distinct(Some(Box::default()))
    }
}

impl Distinct {
    /// Takes a value, unless it is null.
    pub fn insert(&mut self, value: &Value, max: usize) {
        let Some(values) = &mut self.0 else { return };
        if *value != Value::Null && !values.contains(value) {
            values.insert(value.clone());
            self.check(max);
        }
    }

    /// Takes the values of another one.
    pub fn merge(&mut self, other: &Distinct, max: usize) {
        match (&mut self.0, &other.0) {
            (Some(values), Some(others)) => values.extend(others.iter().cloned()),
            _ => self.0 = None,
        }
        self.check(max);
    }

    /// How many, or null; and whether there were too many.
    pub fn cells(&self) -> [Cell; 2] {
        match &self.0 {
            Some(values) => [count_cell(values.len() as u64), Cell::Bool(false)],
            None => [Cell::Null, Cell::Bool(true)],
        }
    }

    /// Memory outside of the accumulator.
    pub fn heap_bytes_max(x: &Input, max: usize) -> usize {
        size_of::<BTreeSet<Value>>() + (max + 1) * (ENTRY_BYTES_MAX + x.heap_bytes_max())
    }

    fn check(&mut self, max: usize) {
        if self.0.as_ref().is_some_and(|values| values.len() > max) {
            self.0 = None;
        }
    }
}
