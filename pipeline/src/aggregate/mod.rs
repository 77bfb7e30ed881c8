//! (contract; to be replaced by the real module)
use crate::record::Record;
use crate::value::{Cell, Column, Field};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// One aggregate of a view, compiled: what it is and which fields it reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aggregate;

/// What an aggregate remembers of the records it has seen: order-free and mergeable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Acc;

/// A mistake in an aggregate's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AggregateError { /// Bytes of the text.
    pub span: Range<usize>, /// What and remedy.
    pub message: String }

impl Aggregate {
    /// Parses `mean(power_kw)`, `distinct(user, max: 1000)`, `ids(1000)`, `count()`.
    pub fn parse(_text: &str, _fields: &[Field]) -> Result<Aggregate, Vec<AggregateError>> { unimplemented!() }
    /// The columns it makes under `name`: usually one.
    pub fn columns(&self, _name: &str) -> Vec<Column> { unimplemented!() }
    /// An accumulator that has seen nothing.
    pub fn empty(&self) -> Acc { unimplemented!() }
    /// Takes one record.
    pub fn insert(&self, _acc: &mut Acc, _record: &Record) { unimplemented!() }
    /// Takes all that `other` has seen.
    pub fn merge(&self, _acc: &mut Acc, _other: &Acc) { unimplemented!() }
    /// One cell for each column.
    pub fn finish(&self, _acc: &Acc, _out: &mut Vec<Cell>) { unimplemented!() }
}
