//! [`Acc`]: what an aggregate remembers of the records it has seen.
//!
//! It travels between workers, sits in every (window, group) row and is saved with every checkpoint, so it is small:
//! 32 bytes, and what is larger sits in a box. Two accumulators that have seen the same records are equal, in any
//! order and after any merging, because each variant has one canonical form for one set of records.

use super::approx_distinct::Sketch;
use super::distinct::Distinct;
use super::extremes::Winner;
use super::ids::Ids;
use super::moments::{Spread, Sum};
use super::quantile::Buckets;
use super::top_k::TopK;
use crate::value::Value;
use serde::{Deserialize, Serialize};

/// What an aggregate remembers of the records it has seen: order-free and mergeable. It belongs to the
/// [`Aggregate`](super::Aggregate) that made it. Saved by position: a new variant goes to the end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Acc {
    /// `count`.
    Count(u64),
    /// `sum` and `mean`.
    Sum(Sum),
    /// `variance` and `stddev`.
    Spread(Box<Spread>),
    /// `min` and `max`: the value, or null.
    Extreme(Value),
    /// `arg_min`, `arg_max`, `first` and `last`.
    Winner(Option<Box<Winner>>),
    /// `distinct`.
    Distinct(Box<Distinct>),
    /// `approx_distinct`.
    Sketch(Sketch),
    /// `approx_quantile`.
    Buckets(Buckets),
    /// `top_k`.
    TopK(TopK),
    /// `ids`.
    Ids(Box<Ids>),
}
