//! Integers wider than 128 bits: a sum of squares, division that rounds half-even, an exact integer square root.
//!
//! Nothing here can overflow for what the aggregates put in: fewer than 2⁶⁴ values below 2⁶³ in magnitude.

use ethnum::U256;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// A sum of squares: 192 bits, enough for 2⁶⁴ squares of 64-bit values. Two words that are saved as variable-length
/// integers, so that small sums stay small.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Squares {
    high: u64,
    low: u128,
}

impl Squares {
    /// Adds `value` squared.
    #[inline]
    pub fn add_square(&mut self, value: i64) {
        let magnitude = u128::from(value.unsigned_abs());
        self.add(&Squares { high: 0, low: magnitude * magnitude });
    }

    /// Adds another sum.
    #[inline]
    pub fn add(&mut self, other: &Squares) {
        let (low, carry) = self.low.overflowing_add(other.low);
        self.low = low;
        self.high += other.high + u64::from(carry);
    }

    /// The sum.
    pub fn total(&self) -> U256 {
        U256::from_words(u128::from(self.high), self.low)
    }
}

/// A non-negative number: `whole + rest / divisor`, with `rest < divisor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotient {
    /// The whole part.
    pub whole: U256,
    rest: U256,
    divisor: U256,
}

impl Quotient {
    /// `numerator / divisor`.
    pub fn new(numerator: U256, divisor: U256) -> Quotient {
        let (whole, rest) = numerator.div_rem(divisor);
        Quotient { whole, rest, divisor }
    }

    /// This number times `factor`. Whole and rest are multiplied apart, so that the numerator need not fit.
    pub fn times(self, factor: u64) -> Quotient {
        let more = Quotient::new(self.rest * U256::from(factor), self.divisor);
        Quotient { whole: self.whole * U256::from(factor) + more.whole, ..more }
    }

    /// This number divided by `by`.
    pub fn over(self, by: u64) -> Quotient {
        let by = U256::from(by);
        let (whole, carried) = self.whole.div_rem(by);
        Quotient { whole, rest: carried * self.divisor + self.rest, divisor: self.divisor * by }
    }

    /// The nearest whole number; of two, the even one.
    pub fn half_even(self) -> U256 {
        round(self.whole, self.rest.cmp(&(self.divisor - self.rest)))
    }

    /// The whole number nearest to the square root; of two, the even one.
    ///
    /// With `t` the root rounded down, the root is above `t + ½` iff this number is above `t² + t + ¼`. As `t² + t`
    /// is whole, that is: iff the whole part is above `t² + t`, or equal to it and the rest above a quarter.
    pub fn sqrt_half_even(self) -> U256 {
        let root = integer_sqrt(self.whole);
        let middle = root * root + root;
        let fraction = || (self.rest * U256::from(4u8)).cmp(&self.divisor);
        round(root, self.whole.cmp(&middle).then_with(fraction))
    }
}

/// `below` or the next number, by how the fraction between them compares with a half.
fn round(below: U256, with_half: Ordering) -> U256 {
    match with_half {
        Ordering::Less => below,
        Ordering::Equal => below + (below & U256::ONE),
        Ordering::Greater => below + U256::ONE,
    }
}

/// The square root rounded down, by Newton's method from above.
fn integer_sqrt(n: U256) -> U256 {
    if let Ok(narrow) = u128::try_from(n) {
        return U256::from(narrow.isqrt());
    }
    let mut root = U256::ONE << (256 - n.leading_zeros()).div_ceil(2);
    loop {
        let next = (root + n / root) >> 1;
        if next >= root {
            return root;
        }
        root = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_round_half_even() {
        for (numerator, divisor, rounded) in
            [(0u64, 3u64, 0u64), (1, 3, 0), (2, 3, 1), (1, 2, 0), (3, 2, 2), (5, 2, 2), (7, 2, 4), (8, 2, 4)]
        {
            let quotient = Quotient::new(U256::from(numerator), U256::from(divisor));
            assert_eq!(quotient.half_even(), U256::from(rounded), "{numerator}/{divisor}");
        }
    }

    #[test]
    fn roots_round_half_even() {
        // √(1/4) = ½ → 0, √(9/4) = 1½ → 2, √(25/4) = 2½ → 2, a hair more → 3.
        for (numerator, divisor, rounded) in
            [(1u64, 4u64, 0u64), (9, 4, 2), (25, 4, 2), (2501, 400, 3), (2, 1, 1), (3, 1, 2), (99, 1, 10), (0, 7, 0)]
        {
            let quotient = Quotient::new(U256::from(numerator), U256::from(divisor));
            assert_eq!(quotient.sqrt_half_even(), U256::from(rounded), "√({numerator}/{divisor})");
        }
    }

    #[test]
    fn scaling_keeps_the_rest() {
        let third = Quotient::new(U256::from(7u8), U256::from(3u8));
        assert_eq!(third.times(1000).half_even(), U256::from(2333u32));
        assert_eq!(third.times(1000), Quotient::new(U256::from(7000u32), U256::from(3u8)));
        assert_eq!(third.over(2), Quotient::new(U256::from(7u8), U256::from(6u8)));
        assert_eq!(Quotient::new(U256::from(25u8), U256::ONE).over(10).half_even(), U256::from(2u8));
    }

    #[test]
    fn wide_roots_are_exact() {
        for bits in 64..128 {
            let root = (U256::ONE << bits) + U256::from(12_345u32);
            let square = root * root;
            assert_eq!(integer_sqrt(square), root);
            assert_eq!(integer_sqrt(square - U256::ONE), root - U256::ONE);
            assert_eq!(integer_sqrt(square + root + root), root);
        }
        assert_eq!(integer_sqrt(U256::MAX), U256::from(u128::MAX));
    }

    #[test]
    fn squares_carry_into_the_third_word() {
        let mut squares = Squares { high: 0, low: u128::MAX };
        squares.add_square(-2);
        assert_eq!(squares, Squares { high: 1, low: 3 });
        squares.add(&squares.clone());
        assert_eq!(squares.total(), U256::from_words(2, 6));
    }
}
