//! [`Aggregate`]: one aggregate of a view, compiled, and the way from a record to the memory it belongs to.
//!
//! This file only dispatches: each kind's thinking is in the file named after it. An accumulator is always handed to
//! the aggregate that made it; another one is a mistake of the program, not of the data, and stops it.

use super::acc::Acc;
use super::approx_distinct::Sketch;
use super::distinct::Distinct;
use super::extremes::{Contest, Extreme, keep_extreme, merge_winner, offer_winner};
use super::ids::Ids;
use super::moments::{Spread, Sum, mean_scale, variance_scale};
use super::parse::{self, AggregateError};
use super::quantile::{Buckets, Quantile};
use super::top_k::TopK;
use crate::record::Record;
use crate::value::{Cell, Column, ColumnType, Field, FieldType, Value};

/// Texts are assumed to be no longer than this when memory is bounded. Longer ones are kept whole all the same.
pub(super) const TEXT_BYTES_MAX: usize = 64;

/// A field that an aggregate reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Input {
    /// Its position in the record.
    pub slot: usize,
    /// Its type in the stream.
    pub field_type: FieldType,
}

impl Input {
    /// Its value in a record.
    pub fn of<'r>(&self, record: &'r Record) -> &'r Value {
        &record.values[self.slot]
    }

    /// Digits after the point; 0 for what is not a decimal.
    pub fn scale(&self) -> u8 {
        if let FieldType::Decimal(scale) = self.field_type { scale } else { 0 }
    }

    /// What one value may hold outside of its own bytes.
    pub fn heap_bytes_max(&self) -> usize {
        if self.field_type == FieldType::Text { TEXT_BYTES_MAX } else { 0 }
    }
}

/// What an aggregate computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Records, or the records where a field is not null.
    Count(Option<Input>),
    Sum(Input),
    Mean(Input),
    Variance(Input),
    Stddev(Input),
    /// `min` and `max`.
    Extreme(Extreme, Input),
    /// `arg_min`, `arg_max`, `first` and `last`, and the field of the winning record that is shown.
    Winner(Contest, Input),
    /// At most so many values.
    Distinct(Input, usize),
    ApproxDistinct(Input),
    ApproxQuantile(Input, Quantile),
    /// So many values.
    TopK(Input, usize),
    /// So many ids.
    Ids(usize),
}

/// One aggregate of a view, compiled: what it is and which fields it reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aggregate {
    kind: Kind,
}

impl Aggregate {
    /// Parses `mean(power_kw)`, `distinct(user, max: 1000)`, `ids(1000)`, `count()`, or names all mistakes.
    pub fn parse(text: &str, fields: &[Field]) -> Result<Aggregate, Vec<AggregateError>> {
        parse::parse(text, fields).map(|kind| Aggregate { kind })
    }

    /// What it computes.
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// What it is called in a job file: `mean`, `top_k`.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Count(_) => "count",
            Kind::Sum(_) => "sum",
            Kind::Mean(_) => "mean",
            Kind::Variance(_) => "variance",
            Kind::Stddev(_) => "stddev",
            Kind::Extreme(extreme, _) => extreme.name(),
            Kind::Winner(contest, _) => contest.name(),
            Kind::Distinct(..) => "distinct",
            Kind::ApproxDistinct(_) => "approx_distinct",
            Kind::ApproxQuantile(..) => "approx_quantile",
            Kind::TopK(..) => "top_k",
            Kind::Ids(_) => "ids",
        }
    }

    /// The columns it makes under `name`: usually one.
    pub fn columns(&self, name: &str) -> Vec<Column> {
        let column = |suffix: &str, column_type| Column { name: format!("{name}{suffix}"), column_type };
        match self.kind {
            Kind::Count(_) | Kind::ApproxDistinct(_) => vec![column("", ColumnType::Integer)],
            Kind::Sum(x) => vec![column("", ColumnType::Decimal(x.scale()))],
            Kind::Mean(x) | Kind::Stddev(x) => vec![column("", ColumnType::Decimal(mean_scale(x.scale())))],
            Kind::Variance(x) => vec![column("", ColumnType::Decimal(variance_scale(x.scale())))],
            Kind::Extreme(_, x) | Kind::Winner(_, x) | Kind::ApproxQuantile(x, _) => vec![column("", x.field_type.into())],
            Kind::Distinct(..) => vec![column("", ColumnType::Integer), column("_overflow", ColumnType::Bool)],
            Kind::TopK(x, _) => vec![column("", ColumnType::List(Box::new(x.field_type.into())))],
            Kind::Ids(_) => vec![column("", ColumnType::List(Box::new(ColumnType::Text))), column("_total", ColumnType::Integer)],
        }
    }

    /// An accumulator that has seen nothing.
    pub fn empty(&self) -> Acc {
        match self.kind {
            Kind::Count(_) => Acc::Count(0),
            Kind::Sum(_) | Kind::Mean(_) => Acc::Sum(Sum::default()),
            Kind::Variance(_) | Kind::Stddev(_) => Acc::Spread(Box::default()),
            Kind::Extreme(..) => Acc::Extreme(Value::Null),
            Kind::Winner(..) => Acc::Winner(None),
            Kind::Distinct(..) => Acc::Distinct(Box::default()),
            Kind::ApproxDistinct(_) => Acc::Sketch(Sketch::default()),
            Kind::ApproxQuantile(..) => Acc::Buckets(Buckets::default()),
            Kind::TopK(..) => Acc::TopK(TopK::default()),
            Kind::Ids(_) => Acc::Ids(Box::default()),
        }
    }

    /// Takes one record.
    #[inline]
    pub fn insert(&self, acc: &mut Acc, record: &Record) {
        match (&self.kind, acc) {
            (Kind::Count(None), Acc::Count(count)) => *count += 1,
            (Kind::Count(Some(x)), Acc::Count(count)) => *count += u64::from(*x.of(record) != Value::Null),
            (Kind::Sum(x) | Kind::Mean(x), Acc::Sum(sum)) => sum.insert(x.of(record)),
            (Kind::Variance(x) | Kind::Stddev(x), Acc::Spread(spread)) => spread.insert(x.of(record)),
            (Kind::Extreme(extreme, x), Acc::Extreme(held)) => keep_extreme(*extreme, held, x.of(record)),
            (Kind::Winner(contest, y), Acc::Winner(held)) => offer_winner(contest, held, y, record),
            (Kind::Distinct(x, max), Acc::Distinct(distinct)) => distinct.insert(x.of(record), *max),
            (Kind::ApproxDistinct(x), Acc::Sketch(sketch)) => sketch.insert(x.of(record), x.scale()),
            (Kind::ApproxQuantile(x, _), Acc::Buckets(buckets)) => buckets.insert(x.of(record)),
            (Kind::TopK(x, k), Acc::TopK(top)) => top.insert(x.of(record), *k),
            (Kind::Ids(n), Acc::Ids(ids)) => ids.insert(record, *n),
            (_, acc) => self.refuse(acc),
        }
    }

    /// Takes all that `other` has seen.
    pub fn merge(&self, acc: &mut Acc, other: &Acc) {
        match (&self.kind, acc, other) {
            (Kind::Count(_), Acc::Count(count), Acc::Count(other)) => *count += other,
            (Kind::Sum(_) | Kind::Mean(_), Acc::Sum(sum), Acc::Sum(other)) => sum.merge(other),
            (Kind::Variance(_) | Kind::Stddev(_), Acc::Spread(spread), Acc::Spread(other)) => spread.merge(other),
            (Kind::Extreme(extreme, _), Acc::Extreme(held), Acc::Extreme(other)) => keep_extreme(*extreme, held, other),
            (Kind::Winner(contest, _), Acc::Winner(held), Acc::Winner(other)) => merge_winner(contest, held, other),
            (Kind::Distinct(_, max), Acc::Distinct(distinct), Acc::Distinct(other)) => distinct.merge(other, *max),
            (Kind::ApproxDistinct(_), Acc::Sketch(sketch), Acc::Sketch(other)) => sketch.merge(other),
            (Kind::ApproxQuantile(..), Acc::Buckets(buckets), Acc::Buckets(other)) => buckets.merge(other),
            (Kind::TopK(_, k), Acc::TopK(top), Acc::TopK(other)) => top.merge(other, *k),
            (Kind::Ids(n), Acc::Ids(ids), Acc::Ids(other)) => ids.merge(other, *n),
            (_, acc, _) => self.refuse(acc),
        }
    }

    /// One cell for each column.
    pub fn finish(&self, acc: &Acc, out: &mut Vec<Cell>) {
        match (&self.kind, acc) {
            (Kind::Count(_), Acc::Count(count)) => out.push(count_cell(*count)),
            (Kind::Sum(x), Acc::Sum(sum)) => out.push(sum.total(x.scale())),
            (Kind::Mean(x), Acc::Sum(sum)) => out.push(sum.mean(x.scale())),
            (Kind::Variance(x), Acc::Spread(spread)) => out.push(spread.variance(x.scale())),
            (Kind::Stddev(x), Acc::Spread(spread)) => out.push(spread.stddev(x.scale())),
            (Kind::Extreme(_, x), Acc::Extreme(held)) => out.push(Cell::of(held, x.field_type)),
            (Kind::Winner(_, y), Acc::Winner(held)) => {
                out.push(held.as_ref().map_or(Cell::Null, |winner| Cell::of(&winner.value, y.field_type)));
            }
            (Kind::Distinct(..), Acc::Distinct(distinct)) => out.extend(distinct.cells()),
            (Kind::ApproxDistinct(_), Acc::Sketch(sketch)) => out.push(count_cell(sketch.estimate())),
            (Kind::ApproxQuantile(x, q), Acc::Buckets(buckets)) => out.push(Cell::of(&buckets.value_at(*q), x.field_type)),
            (Kind::TopK(x, _), Acc::TopK(top)) => out.push(top.cell(x.field_type)),
            (Kind::Ids(_), Acc::Ids(ids)) => out.extend(ids.cells()),
            (_, acc) => self.refuse(acc),
        }
    }

    /// The most memory that one [`Acc`] of this aggregate can hold, in bytes, its own included. Texts and ids are
    /// assumed to be at most 64 bytes long.
    pub fn acc_bytes_max(&self) -> usize {
        let heap = match self.kind {
            Kind::Count(_) | Kind::Sum(_) | Kind::Mean(_) => 0,
            Kind::Variance(_) | Kind::Stddev(_) => Spread::HEAP_BYTES,
            Kind::Extreme(_, x) => x.heap_bytes_max(),
            Kind::Winner(contest, y) => contest.heap_bytes_max(&y),
            Kind::Distinct(x, max) => Distinct::heap_bytes_max(&x, max),
            Kind::ApproxDistinct(_) => Sketch::HEAP_BYTES_MAX,
            Kind::ApproxQuantile(..) => Buckets::HEAP_BYTES_MAX,
            Kind::TopK(x, k) => TopK::heap_bytes_max(&x, k),
            Kind::Ids(n) => Ids::heap_bytes_max(n),
        };
        size_of::<Acc>() + heap
    }

    #[cold]
    fn refuse(&self, acc: &Acc) -> ! {
        unreachable!("an accumulator belongs to the aggregate that made it, but {} was given {acc:?}", self.name())
    }
}

/// A count as a cell. Counts stay below 2⁶³: at a billion records a second that takes 292 years.
pub(super) fn count_cell(count: u64) -> Cell {
    Cell::Integer(i64::try_from(count).unwrap_or(i64::MAX))
}
