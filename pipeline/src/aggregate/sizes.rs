//! How large an accumulator can become, in memory and as saved, by how many records it has seen.
//!
//! Both are concave in the number of records: a list grows with each record until it is full. So of all ways to spread
//! records over rows the even one takes the most, which is what bounds are computed from.

use super::acc::Acc;
use super::approx_distinct::Sketch;
use super::compiled::{Aggregate, Input, Kind, TEXT_BYTES_MAX};
use super::distinct::Distinct;
use super::extremes::Contest;
use super::ids::Ids;
use super::quantile::Buckets;
use super::top_k::TopK;
use crate::value::FieldType;

/// What the allocator adds to a small piece of memory.
const ALLOCATION: u64 = 16;
/// A saved whole number at most.
const NUMBER: u64 = 10;
/// A saved number of 128 bits at most.
const WIDE: u64 = 19;
/// A saved id at most: its kind, its length, its text.
const ID: u64 = 2 + TEXT_BYTES_MAX as u64;
/// What a value adds to a sketch, as if its registers came little by little: they take 4 KiB from the 257th value on.
const SKETCHED: u64 = 16;

impl Aggregate {
    /// The most memory that one [`Acc`] of this aggregate holds once it has seen so many records, its own included.
    /// Texts and ids are assumed to be at most 64 bytes long.
    pub fn acc_bytes_after(&self, records: u64) -> u64 {
        let texts = |x: &Input| if x.field_type == FieldType::Text { ALLOCATION } else { 0 };
        let heap = match self.kind() {
            Kind::Distinct(x, max) => {
                let values = first(max, records);
                Distinct::heap_bytes_max(&x, values as usize) as u64 + ALLOCATION + values * texts(&x)
            }
            Kind::ApproxDistinct(_) => (Sketch::HEAP_BYTES_MAX as u64).min(records.saturating_mul(SKETCHED)) + ALLOCATION,
            Kind::ApproxQuantile(..) => Buckets::heap_bytes_max(records) + ALLOCATION,
            Kind::TopK(x, k) => {
                let values = first(k, records);
                TopK::heap_bytes_max(&x, values as usize) as u64 + ALLOCATION + values * texts(&x)
            }
            Kind::Ids(n) => {
                let ids = first(n, records);
                Ids::heap_bytes_max(ids as usize) as u64 + 2 * ALLOCATION + ids * ALLOCATION
            }
            _ => {
                let heap = (self.acc_bytes_max() - size_of::<Acc>()) as u64;
                if heap > 0 { heap + 4 * ALLOCATION } else { 0 }
            }
        };
        size_of::<Acc>() as u64 + heap
    }

    /// The most bytes that such an accumulator takes where it is saved.
    pub fn saved_bytes_after(&self, records: u64) -> u64 {
        let variant = 1;
        variant
            + match self.kind() {
                Kind::Count(_) => NUMBER,
                Kind::Sum(_) | Kind::Mean(_) => NUMBER + WIDE,
                Kind::Variance(_) | Kind::Stddev(_) => 2 * NUMBER + 2 * WIDE,
                Kind::Extreme(_, x) => value(&x),
                Kind::Winner(contest, shown) => 1 + key(&contest) + NUMBER + ID + value(&shown),
                Kind::Distinct(x, max) => 2 + NUMBER + first(max, records) * value(&x),
                Kind::ApproxDistinct(_) => NUMBER + (Sketch::HEAP_BYTES_MAX as u64).min(records.saturating_mul(SKETCHED)),
                Kind::ApproxQuantile(..) => NUMBER + Buckets::heap_bytes_max(records) / 2,
                Kind::TopK(x, k) => NUMBER + first(k, records) * value(&x),
                Kind::Ids(n) => 2 * NUMBER + first(n, records) * (NUMBER + ID),
            }
    }
}

fn first(limit: usize, records: u64) -> u64 {
    records.min(limit as u64)
}

/// A saved value at most.
fn value(x: &Input) -> u64 {
    1 + match x.field_type {
        FieldType::Text => 1 + TEXT_BYTES_MAX as u64,
        FieldType::Bool => 1,
        FieldType::Decimal(_) | FieldType::Time => NUMBER,
    }
}

fn key(contest: &Contest) -> u64 {
    match contest {
        Contest::ArgMin(x) | Contest::ArgMax(x) => value(x),
        Contest::First | Contest::Last => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Id, Origin, Record};
    use crate::time::EventTime;
    use crate::value::{Field, Value};

    const CALLS: [&str; 14] = [
        "count()",
        "sum(x)",
        "mean(x)",
        "variance(x)",
        "min(x)",
        "max(t)",
        "arg_max(x, t)",
        "last(t)",
        "distinct(t, max: 50)",
        "approx_distinct(x)",
        "approx_quantile(x, 0.5)",
        "top_k(t, 20)",
        "top_k(x, 20)",
        "ids(30)",
    ];

    fn parsed(text: &str) -> Aggregate {
        let field = |name: &str, field_type| Field { name: name.into(), field_type };
        Aggregate::parse(text, &[field("x", FieldType::Decimal(3)), field("t", FieldType::Text)]).expect("a known aggregate")
    }

    /// Texts of 64 bytes, numbers that take all their bytes.
    fn record(n: u64) -> Record {
        let text = format!("{n:064}");
        let number = (1i64 << 61) + (n as i64) * 1_000_003;
        Record {
            event_time: EventTime(1_700_000_000_000_000 + n as i64),
            origin: Origin::default(),
            id: Id::Given(text.as_str().into()),
            content: n,
            passes: true,
            values: Box::new([
                Value::Decimal(if n.is_multiple_of(2) { number } else { -number }),
                Value::Text(text.as_str().into()),
            ]),
        }
    }

    #[test]
    fn what_is_saved_stays_within_the_bound() {
        for call in CALLS {
            let aggregate = parsed(call);
            let mut acc = aggregate.empty();
            for seen in 1..=400 {
                aggregate.insert(&mut acc, &record(seen));
                let saved = postcard::to_stdvec(&acc).expect("plain data").len() as u64;
                assert!(saved <= aggregate.saved_bytes_after(seen), "{call} after {seen}: {saved}");
            }
        }
    }

    #[test]
    fn bounds_grow_and_bend_down() {
        for call in CALLS {
            let aggregate = parsed(call);
            for bytes in [Aggregate::acc_bytes_after, Aggregate::saved_bytes_after] {
                let at: Vec<u64> = (0..200).map(|n| bytes(&aggregate, n)).collect();
                assert!(at.windows(3).all(|w| w[1] >= w[0] && w[1] - w[0] >= w[2] - w[1]), "{call}");
            }
            assert!(aggregate.acc_bytes_after(u64::MAX) >= aggregate.acc_bytes_max() as u64, "{call}");
        }
    }
}
