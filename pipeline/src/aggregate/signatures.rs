//! The table of aggregates: their names, what they take, and what they become. A new aggregate is a row here.

use super::compiled::{Input, Kind};
use super::extremes::{Contest, Extreme};
use super::quantile::Quantile;

/// What a job file may write.
pub struct Signature {
    /// Its name.
    pub name: &'static str,
    /// How it is written, for messages.
    pub usage: &'static str,
    /// The fields it takes, in order.
    pub fields: &'static [Accepts],
    /// How many of them it cannot do without.
    pub required: usize,
    /// The number that follows them.
    pub number: Option<Number>,
    /// Makes it of its fields and its number, which have been checked.
    pub build: fn(&[Input], u64) -> Kind,
}

/// Which fields fit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Accepts {
    /// All of them.
    Any,
    /// Numbers.
    Decimal,
}

/// A number that an aggregate takes, scaled by its digits.
pub struct Number {
    /// Its name.
    pub name: &'static str,
    /// What it is, with its range, for messages.
    words: &'static str,
    /// Digits after the point.
    digits: u8,
    least: u64,
    most: u64,
}

impl Number {
    /// What it is: «a whole number from 1 to 10000».
    pub fn range(&self) -> &'static str {
        self.words
    }

    /// Reads plain digits with at most one point; `None` for all else and for what is out of range.
    pub fn read(&self, text: &str) -> Option<u64> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = usize::from(self.digits);
        let plain = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        let dangling = whole.is_empty() || (text.contains('.') && fraction.is_empty());
        if dangling || !plain(whole) || !plain(fraction) || fraction.len() > digits {
            return None;
        }
        let scaled: u64 = format!("{whole}{fraction:0<digits$}").parse().ok()?;
        (self.least..=self.most).contains(&scaled).then_some(scaled)
    }
}

/// Values that a set may hold: a bound on memory, and more are hardly counted one by one.
const DISTINCT_MAX: Number =
    Number { name: "max", words: "a whole number from 1 to 1000000", digits: 0, least: 1, most: 1_000_000 };
/// Entries of a list, which is one cell of a row: stores refuse or suffer from more.
const TOP_K: Number = Number { name: "k", words: "a whole number from 1 to 10000", digits: 0, least: 1, most: 10_000 };
const IDS_N: Number = Number { name: "n", ..TOP_K };
const QUANTILE: Number = Number {
    name: "q",
    words: "a number from 0 to 1 with at most 9 digits after the point",
    digits: Quantile::DIGITS,
    least: 0,
    most: Quantile::ONE,
};

const ANY: &[Accepts] = &[Accepts::Any];
const TWO: &[Accepts] = &[Accepts::Any, Accepts::Any];
const DECIMAL: &[Accepts] = &[Accepts::Decimal];

/// An aggregate of fields alone.
const fn of(name: &'static str, usage: &'static str, fields: &'static [Accepts], build: fn(&[Input], u64) -> Kind) -> Signature {
    Signature { name, usage, fields, required: fields.len(), number: None, build }
}

/// An aggregate of fields and a number.
const fn with(number: Number, signature: Signature) -> Signature {
    Signature { number: Some(number), ..signature }
}

/// A checked number of list or set entries.
fn entries(number: u64) -> usize {
    usize::try_from(number).expect("limited to a million")
}

/// All aggregates.
pub const SIGNATURES: &[Signature] = &[
    Signature { required: 0, ..of("count", "count()", ANY, |x, _| Kind::Count(x.first().copied())) },
    of("sum", "sum(x)", DECIMAL, |x, _| Kind::Sum(x[0])),
    of("mean", "mean(x)", DECIMAL, |x, _| Kind::Mean(x[0])),
    of("variance", "variance(x)", DECIMAL, |x, _| Kind::Variance(x[0])),
    of("stddev", "stddev(x)", DECIMAL, |x, _| Kind::Stddev(x[0])),
    of("min", "min(x)", ANY, |x, _| Kind::Extreme(Extreme::Least, x[0])),
    of("max", "max(x)", ANY, |x, _| Kind::Extreme(Extreme::Greatest, x[0])),
    of("arg_min", "arg_min(x, y)", TWO, |x, _| Kind::Winner(Contest::ArgMin(x[0]), x[1])),
    of("arg_max", "arg_max(x, y)", TWO, |x, _| Kind::Winner(Contest::ArgMax(x[0]), x[1])),
    of("first", "first(x)", ANY, |x, _| Kind::Winner(Contest::First, x[0])),
    of("last", "last(x)", ANY, |x, _| Kind::Winner(Contest::Last, x[0])),
    with(DISTINCT_MAX, of("distinct", "distinct(x, max: 1000)", ANY, |x, max| Kind::Distinct(x[0], entries(max)))),
    of("approx_distinct", "approx_distinct(x)", ANY, |x, _| Kind::ApproxDistinct(x[0])),
    with(QUANTILE, of("approx_quantile", "approx_quantile(x, 0.95)", DECIMAL, |x, q| Kind::ApproxQuantile(x[0], Quantile(q)))),
    with(TOP_K, of("top_k", "top_k(x, 10)", ANY, |x, k| Kind::TopK(x[0], entries(k)))),
    with(IDS_N, of("ids", "ids(1000)", &[], |_, n| Kind::Ids(entries(n)))),
];
