//! Aggregates: what a view remembers of its records, and the cells it makes of that.
//!
//! ```text
//! text ──parse──▶ Aggregate        Record ──insert──▶ Acc ◀──merge── Acc
//!                                                      └──finish──▶ Cells
//! ```
//!
//! Three promises hold for every aggregate:
//!
//! 1. **Order-free.** The same records in any order, split in any way and merged by any tree, give the *same* [`Acc`]
//!    (`==`, and the same bytes when saved), and so the same cells. Where an order is needed, as for `first` or a tie
//!    of `arg_max`, it is that of (event time, id), which belongs to the records and not to their arrival.
//! 2. **Exact.** Numbers are scaled integers, sums have 128 bits and sums of squares 192: nothing overflows, and what
//!    is rounded is rounded once, half-even, in [`Aggregate::finish`]. There is no floating point. What is
//!    approximate says so in its name, and even that is the same everywhere, bit by bit.
//! 3. **Bounded.** [`Aggregate::acc_bytes_max`] says how large one [`Acc`] can get; lists and sets have a declared limit.
//!
//! | aggregate | cell | of nothing |
//! |---|---|---|
//! | `count()`, `count(x)` | records; records whose `x` is not null | 0 |
//! | `sum(x)` | decimal at the scale of `x`, up to 128 bits, whatever the scale | null |
//! | `mean(x)` | decimal at the scale of `x` plus 3, at most 18 | null |
//! | `variance(x)` | of a sample (n − 1): decimal at twice the scale of `x` plus 3, at most 18; null if it exceeds 128 bits | null, also of one value |
//! | `stddev(x)` | its square root: decimal at the scale of `x` plus 3, at most 18 | null, also of one value |
//! | `min(x)`, `max(x)` | as `x` | null |
//! | `arg_min(x, y)`, `arg_max(x, y)` | `y` of the record with the extreme `x`; the earliest of several | null |
//! | `first(x)`, `last(x)` | `x` of the earliest or latest record where it is not null | null |
//! | `distinct(x, max: N)` | how many values; above N null, with the flag `<name>_overflow` | 0 |
//! | `approx_distinct(x)` | how many values: exact up to 256, then within about 1.6 % (one standard error) | 0 |
//! | `approx_quantile(x, q)` | the nearest-rank quantile, within 0.4 % of the value, at the scale of `x` | null |
//! | `top_k(x, k)` | the k largest values, repeats included, largest first | empty list |
//! | `ids(n)` | the n earliest ids, with `<name>_total`, how many there are | empty list |
//!
//! Null values are skipped by all of them; only `count()` and `ids(n)` look at records instead of values. Numbers may
//! be named (`top_k(x, k: 5)`) or stand in their place (`top_k(x, 5)`).
//!
//! A roll-up merges accumulators of the lower view and never touches its cells, which is why a mean of means cannot
//! happen: [`Aggregate::name`] is there to refuse it in words.
//!
//! ```
//! use caudal_pipeline::aggregate::Aggregate;
//! use caudal_pipeline::record::{Id, Origin, Record};
//! use caudal_pipeline::time::EventTime;
//! use caudal_pipeline::value::{Field, FieldType, Value, decimal_text, Cell};
//!
//! let fields = [Field { name: "power_kw".into(), field_type: FieldType::Decimal(1) }];
//! let mean = Aggregate::parse("mean(power_kw)", &fields).expect("a known aggregate of a decimal");
//! let record = |us, tenths| Record {
//!     event_time: EventTime(us),
//!     origin: Origin::default(),
//!     id: Id::Given(us.to_string().into()),
//!     content: 0,
//!     passes: true,
//!     values: Box::new([Value::Decimal(tenths)]),
//! };
//!
//! let (mut here, mut there) = (mean.empty(), mean.empty());
//! mean.insert(&mut here, &record(1, 10));
//! mean.insert(&mut there, &record(2, 25));
//! mean.merge(&mut here, &there);
//!
//! let mut cells = Vec::new();
//! mean.finish(&here, &mut cells);
//! assert_eq!(cells, [Cell::Decimal { unscaled: 17_500, scale: 4 }]);
//! assert_eq!(decimal_text(17_500, 4), "1.7500");
//! ```

mod acc;
mod approx_distinct;
mod call;
mod compiled;
mod distinct;
mod extremes;
mod ids;
mod leading;
mod moments;
mod parse;
mod quantile;
mod signatures;
mod sizes;
mod top_k;
mod wide;

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;

pub use acc::Acc;
pub use compiled::Aggregate;
pub use ids::id_text;
pub use parse::AggregateError;
