//! `approx_quantile(x, q)`: a count for each bucket of values, with fixed buckets.
//!
//! A bucket is a sign, an exponent of two and the seven bits after the leading one, of the scaled value:
//!
//! ```text
//! scaled   0 1 2 … 255 | 256‥257 258‥259 … 510‥511 | 512‥515 516‥519 … | …
//! bucket   0 1 2 … 255 | 256     257     … 383     | 384     385     … | …
//! ```
//!
//! Up to 255 units in the last place it is exact; beyond, a bucket is at most 1/128 of its values wide, and its middle
//! at most 1/256 (0.4 %) off. Buckets do not depend on the data, so adding counts is all that merging does. The
//! quantile is that of the nearest rank: the least bucket with at least `q` of all values in it or below it.

use crate::value::Value;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Bits of a magnitude that tell buckets apart: the leading one and seven more.
const PRECISION: u32 = 8;
/// Buckets for each power of two above the exact ones.
const PER_POWER: i16 = 1 << (PRECISION - 1);
/// The largest bucket: that of 2⁶³.
const BUCKET_MAX: i16 = PER_POWER * (64 - PRECISION as i16 + 1) + PER_POWER - 1;
/// What a bucket takes in the map, whose nodes may be half empty.
const ENTRY_BYTES_MAX: usize = 32;

/// Which quantile, in billionths: 0 is the least value, 10⁹ the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantile(pub u64);

impl Quantile {
    /// Digits after the point that a quantile may have.
    pub const DIGITS: u8 = 9;
    /// The greatest value.
    pub const ONE: u64 = 1_000_000_000;

    /// Which of `count` sorted values it is, from 1.
    fn rank(self, count: u64) -> u64 {
        let exact = u128::from(self.0) * u128::from(count);
        u64::try_from(exact.div_ceil(u128::from(Self::ONE))).expect("a part of a count is no more than it").max(1)
    }
}

/// How many values fell into each bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Buckets(BTreeMap<i16, u64>);

impl Buckets {
    /// Memory outside of the accumulator, should values fall into all buckets.
    pub const HEAP_BYTES_MAX: usize = (2 * BUCKET_MAX as usize + 1) * ENTRY_BYTES_MAX;

    /// The same after so many values.
    pub fn heap_bytes_max(values: u64) -> u64 {
        (Self::HEAP_BYTES_MAX as u64).min(values.saturating_mul(ENTRY_BYTES_MAX as u64))
    }

    /// Takes a value, unless it is null.
    pub fn insert(&mut self, value: &Value) {
        if let Value::Decimal(scaled) = value {
            *self.0.entry(bucket(*scaled)).or_default() += 1;
        }
    }

    /// Takes the values of another one.
    pub fn merge(&mut self, other: &Buckets) {
        for (bucket, count) in &other.0 {
            *self.0.entry(*bucket).or_default() += count;
        }
    }

    /// The middle of the quantile's bucket; null of nothing.
    pub fn value_at(&self, q: Quantile) -> Value {
        let rank = q.rank(self.0.values().sum());
        let mut seen = 0;
        let reaches = |(_, count): &(&i16, &u64)| {
            seen += **count;
            seen >= rank
        };
        self.0.iter().find(reaches).map_or(Value::Null, |(bucket, _)| Value::Decimal(middle(*bucket)))
    }
}

/// The bucket of a scaled value. Buckets are ordered as their values are.
fn bucket(scaled: i64) -> i16 {
    let magnitude = scaled.unsigned_abs();
    let shift = (u64::BITS - magnitude.leading_zeros()).saturating_sub(PRECISION);
    let power = i16::try_from(shift).expect("a shift is below 64") * PER_POWER;
    let above = power + i16::try_from(magnitude >> shift).expect("shifted to eight bits");
    if scaled < 0 { -above } else { above }
}

/// The value in the middle of a bucket.
fn middle(bucket: i16) -> i64 {
    let above = bucket.unsigned_abs();
    let shift = (above / PER_POWER.unsigned_abs()).saturating_sub(1);
    let least = u64::from(above - shift * PER_POWER.unsigned_abs()) << shift;
    let middle = (least + ((1u64 << shift) >> 1)).min(i64::MAX.unsigned_abs());
    let magnitude = i64::try_from(middle).expect("just limited");
    if bucket < 0 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_values_have_a_bucket_each() {
        for value in -257i64..=257 {
            let exact = value.abs() < 256;
            assert!(!exact || (i64::from(bucket(value)) == value && middle(bucket(value)) == value), "{value}");
        }
    }

    #[test]
    fn buckets_are_ordered_and_their_middle_is_near() {
        let mut last = 0;
        for shift in 0..62 {
            for step in 0..64i64 {
                let value = (1i64 << shift) + step * ((1i64 << shift) / 64);
                let bucket_of = bucket(value);
                assert!(bucket_of >= last, "{value}");
                last = bucket_of;
                let off = (middle(bucket_of) - value).abs();
                assert!(off <= value / 256, "{value} is shown as {}", middle(bucket_of));
                assert_eq!(middle(bucket(-value)), -middle(bucket_of));
            }
        }
        assert_eq!(bucket(i64::MIN), -BUCKET_MAX + PER_POWER - 1, "the first bucket of its power of two");
    }

    #[test]
    fn quantiles_are_of_the_nearest_rank() {
        let mut buckets = Buckets::default();
        assert_eq!(buckets.value_at(Quantile(0)), Value::Null);
        (1..=10).for_each(|v| buckets.insert(&Value::Decimal(v)));
        for (billionths, value) in
            [(0, 1), (100_000_000, 1), (100_000_001, 2), (500_000_000, 5), (990_000_000, 10), (1_000_000_000, 10)]
        {
            assert_eq!(buckets.value_at(Quantile(billionths)), Value::Decimal(value), "{billionths}");
        }
    }
}
