//! `top_k(x, k)`: the k largest values, repeats included, largest first. Null is not a value.

use super::compiled::Input;
use super::leading::{Leading, list_bytes_max};
use crate::value::{Cell, FieldType, Value};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;

/// The largest values seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopK(Leading<Reverse<Value>>);

impl TopK {
    /// Takes a value, unless it is null.
    pub fn insert(&mut self, value: &Value, k: usize) {
        if *value != Value::Null {
            self.0.offer(k, |held| value.cmp(&held.0), || Reverse(value.clone()));
        }
    }

    /// Takes the values of another one.
    pub fn merge(&mut self, other: &TopK, k: usize) {
        self.0.merge(&other.0, k);
    }

    /// The values as a list.
    pub fn cell(&self, field_type: FieldType) -> Cell {
        Cell::List(self.0.items().iter().map(|value| Cell::of(&value.0, field_type)).collect())
    }

    /// Memory outside of the accumulator.
    pub(super) fn heap_bytes_max(x: &Input, k: usize) -> usize {
        list_bytes_max::<Value>(k) + k * x.heap_bytes_max()
    }
}
