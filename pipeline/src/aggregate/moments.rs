//! Sums and what follows from them: `sum`, `mean`, `variance`, `stddev`.
//!
//! What is kept are the exact sums of the scaled values; a division or a root happens only on the way out and is
//! rounded half-even once. A mean has three more digits than its field: enough to tell neighbouring groups apart,
//! and the same everywhere. The variance is that of a sample, Σ(x − mean)² / (n − 1).
//!
//! A variance may need more than 128 bits: values at the limit of their range with a scale below 9 do, from a
//! standard deviation of 4·10¹⁷ units in the last place on. It is null then; the standard deviation never is.

use super::wide::{Quotient, Squares};
use crate::value::{Cell, SCALE_MAX, Value};
use ethnum::U256;
use serde::{Deserialize, Serialize};

/// Digits that a mean has beyond those of its field.
const MORE_DIGITS: u8 = 3;

/// The scale of a mean or a standard deviation of values with this scale.
pub fn mean_scale(scale: u8) -> u8 {
    (scale + MORE_DIGITS).min(SCALE_MAX)
}

/// The scale of a variance of values with this scale.
pub fn variance_scale(scale: u8) -> u8 {
    (2 * scale + MORE_DIGITS).min(SCALE_MAX)
}

/// How many values, and their sum. Packed to the alignment of a word: with that of `i128` it would take 32 bytes, and
/// every accumulator 48.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(Rust, packed(8))]
pub struct Sum {
    count: u64,
    sum: i128,
}

impl Sum {
    /// Takes a value, unless it is null.
    #[inline]
    pub fn insert(&mut self, value: &Value) {
        if let Value::Decimal(scaled) = value {
            self.count += 1;
            self.sum += i128::from(*scaled);
        }
    }

    /// Takes the values of another sum.
    #[inline]
    pub fn merge(&mut self, other: &Sum) {
        self.count += other.count;
        self.sum += other.sum;
    }

    /// The sum; null of nothing.
    pub fn total(&self, scale: u8) -> Cell {
        if self.count == 0 { Cell::Null } else { Cell::Decimal { unscaled: self.sum, scale } }
    }

    /// The mean; null of nothing.
    pub fn mean(&self, scale: u8) -> Cell {
        if self.count == 0 {
            return Cell::Null;
        }
        let more = mean_scale(scale);
        let magnitude = Quotient::new(U256::new({ self.sum }.unsigned_abs()), U256::from(self.count));
        let rounded = magnitude.times(power_of_ten(more - scale)).half_even().as_i128();
        Cell::Decimal { unscaled: if self.sum < 0 { -rounded } else { rounded }, scale: more }
    }
}

/// How many values, their sum and the sum of their squares.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Spread {
    sum: Sum,
    squares: Squares,
}

impl Spread {
    /// Memory outside of the accumulator.
    pub const HEAP_BYTES: usize = size_of::<Spread>();

    /// Takes a value, unless it is null.
    #[inline]
    pub fn insert(&mut self, value: &Value) {
        if let Value::Decimal(scaled) = value {
            self.sum.insert(value);
            self.squares.add_square(*scaled);
        }
    }

    /// Takes the values of another one.
    #[inline]
    pub fn merge(&mut self, other: &Spread) {
        self.sum.merge(&other.sum);
        self.squares.add(&other.squares);
    }

    /// The variance of the scaled values, exactly: `(n·Σx² − (Σx)²) / (n·(n − 1))`; `None` for fewer than two.
    fn scaled_variance(&self) -> Option<Quotient> {
        let n = U256::from(self.sum.count);
        if n < U256::from(2u8) {
            return None;
        }
        let sum = U256::new({ self.sum.sum }.unsigned_abs());
        Some(Quotient::new(n * self.squares.total() - sum * sum, n * (n - U256::ONE)))
    }

    /// The variance; null for fewer than two values and for what exceeds 128 bits.
    pub fn variance(&self, scale: u8) -> Cell {
        let Some(exact) = self.scaled_variance() else { return Cell::Null };
        let (from, to) = (2 * scale, variance_scale(scale));
        let rounded =
            if to >= from { exact.times(power_of_ten(to - from)) } else { exact.over(power_of_ten(from - to)) }.half_even();
        i128::try_from(rounded).map_or(Cell::Null, |unscaled| Cell::Decimal { unscaled, scale: to })
    }

    /// The standard deviation, correctly rounded; null for fewer than two values.
    pub fn stddev(&self, scale: u8) -> Cell {
        let Some(exact) = self.scaled_variance() else { return Cell::Null };
        let to = mean_scale(scale);
        let rounded = exact.times(power_of_ten(2 * (to - scale))).sqrt_half_even();
        Cell::Decimal { unscaled: rounded.as_i128(), scale: to }
    }
}

fn power_of_ten(exponent: u8) -> u64 {
    10u64.pow(u32::from(exponent))
}
