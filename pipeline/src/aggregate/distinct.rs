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

/// The different values seen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Distinct {
    /// All of them.
    Values(BTreeSet<Value>),
    /// More than could be kept.
    TooMany,
}

impl Default for Distinct {
    fn default() -> Self {
        Distinct::Values(BTreeSet::new())
    }
}

impl Distinct {
    /// Takes a value, unless it is null.
    pub fn insert(&mut self, value: &Value, max: usize) {
        let Distinct::Values(values) = self else { return };
        if *value != Value::Null && !values.contains(value) {
            values.insert(value.clone());
            self.forget_above(max);
        }
    }

    /// Takes the values of another one.
    pub fn merge(&mut self, other: &Distinct, max: usize) {
        match (&mut *self, other) {
            (Distinct::Values(values), Distinct::Values(others)) => values.extend(others.iter().cloned()),
            _ => *self = Distinct::TooMany,
        }
        self.forget_above(max);
    }

    /// How many, or null; and whether there were too many.
    pub fn cells(&self) -> [Cell; 2] {
        match self {
            Distinct::Values(values) => [count_cell(values.len() as u64), Cell::Bool(false)],
            Distinct::TooMany => [Cell::Null, Cell::Bool(true)],
        }
    }

    fn forget_above(&mut self, max: usize) {
        if matches!(self, Distinct::Values(values) if values.len() > max) {
            *self = Distinct::TooMany;
        }
    }

    /// Memory outside of the accumulator.
    pub(super) fn heap_bytes_max(x: &Input, max: usize) -> usize {
        size_of::<Distinct>() + (max + 1) * (ENTRY_BYTES_MAX + x.heap_bytes_max())
    }
}
