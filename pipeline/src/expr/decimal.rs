//! Exact arithmetic on scaled integers: the value of `v` at scale `s` is `v / 10^s`.
//!
//! Operands are below 2^62 in magnitude and scales at most 18, so that aligned operands, products and dividends fit 128
//! bits; a result that is 2^62 or more is an overflow (`None`), never a wrapped number. Rounding is half to even.
//!
//! | operation | scale of the result |
//! |---|---|
//! | `a + b`, `a - b`, `a % b` | the larger of the two |
//! | `a * b` | their sum, at most 18 |
//! | `a / b` | the larger of the two plus 6, at most 18 |

use crate::value::{SCALE_MAX, SCALED_MAX};
use std::cmp::Ordering;

/// Digits that a quotient has beyond its operands.
const QUOTIENT_DIGITS: u8 = 6;

/// The scale of a product.
pub(super) fn product_scale(a: u8, b: u8) -> u8 {
    a.saturating_add(b).min(SCALE_MAX)
}

/// The scale of a quotient.
pub(super) fn quotient_scale(a: u8, b: u8) -> u8 {
    (a.max(b) + QUOTIENT_DIGITS).min(SCALE_MAX)
}

/// `10^n`, for n up to 38.
pub(super) const fn power_of_ten(n: u8) -> i128 {
    10_i128.pow(n as u32)
}

/// The number if its magnitude is below 2^62.
pub(super) fn fit(v: i128) -> Option<i64> {
    let limit = i128::from(SCALED_MAX);
    if -limit < v && v < limit { Some(v as i64) } else { None }
}

/// Rounds `n / d` to a whole number, half to even. `d` is not zero; both are far from the ends of 128 bits.
pub(super) fn divide_half_even(n: i128, d: i128) -> i128 {
    let (quotient, rest) = (n / d, n % d);
    let away = if (n < 0) == (d < 0) { 1 } else { -1 };
    match (rest.unsigned_abs() * 2).cmp(&d.unsigned_abs()) {
        Ordering::Less => quotient,
        Ordering::Greater => quotient + away,
        Ordering::Equal => quotient + away * (quotient & 1),
    }
}

/// The same number at another scale, rounded half to even where digits go.
pub(super) fn rescale(v: i64, from: u8, to: u8) -> Option<i64> {
    if to >= from {
        fit(i128::from(v) * power_of_ten(to - from))
    } else {
        Some(divide_half_even(i128::from(v), power_of_ten(from - to)) as i64)
    }
}

/// `a * b` with `drop` digits rounded away, which is what the capped scale asks for.
pub(super) fn multiply(a: i64, b: i64, drop: u8) -> Option<i64> {
    let product = i128::from(a) * i128::from(b);
    fit(if drop == 0 { product } else { divide_half_even(product, power_of_ten(drop)) })
}

/// `a * 10^shift / b`; `b` is not zero. Where the dividend exceeds 128 bits the quotient exceeds 2^62 for any divisor.
pub(super) fn divide(a: i64, b: i64, shift: u8) -> Option<i64> {
    let dividend = i128::from(a).checked_mul(power_of_ten(shift))?;
    fit(divide_half_even(dividend, i128::from(b)))
}

/// A number read from text: `±digits · 10^exponent`. Beyond [`DIGITS_MAX`] significant digits only «there was more» is
/// kept, as a last digit 1, which decides any rounding rightly.
#[derive(Debug)]
pub(super) struct Parsed {
    digits: i128,
    exponent: i64,
}

/// Significant digits that are kept: twice what a result can hold, less than 128 bits.
const DIGITS_MAX: u32 = 36;

/// Reads `-12.5`, `+3`, `.5`, `1.5e-3`. Nothing else: no blanks, separators, infinities.
pub(super) fn parse(text: &str) -> Option<Parsed> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return None,
        None if mantissa.is_empty() => return None,
        None => (mantissa, ""),
    };
    let (mut digits, mut kept, mut dropped, mut more) = (0_i128, 0, 0_i64, false);
    for byte in whole.bytes().chain(fraction.bytes()) {
        if !byte.is_ascii_digit() {
            return None;
        }
        if kept < DIGITS_MAX {
            digits = digits * 10 + i128::from(byte - b'0');
            kept += u32::from(digits != 0);
        } else {
            dropped += 1;
            more |= byte != b'0';
        }
    }
    let exponent = exponent.saturating_sub(fraction.len() as i64).saturating_add(dropped) - i64::from(more);
    digits = if more { digits * 10 + 1 } else { digits };
    Some(Parsed { digits: if negative { -digits } else { digits }, exponent })
}

/// An exponent, held at ±10^6 where it is absurd.
fn parse_exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let magnitude = digits.parse::<i64>().unwrap_or(i64::MAX).min(1_000_000);
    Some(if text.starts_with('-') { -magnitude } else { magnitude })
}

impl Parsed {
    /// The number at a scale, half to even; `None` if it is too large.
    pub fn at_scale(&self, scale: u8) -> Option<i64> {
        let shift = self.exponent.saturating_add(i64::from(scale));
        match shift {
            _ if self.digits == 0 => Some(0),
            0..=38 => fit(self.digits.checked_mul(power_of_ten(shift as u8))?),
            39.. => None,
            -38..=-1 => fit(divide_half_even(self.digits, power_of_ten(-shift as u8))),
            _ => Some(0),
        }
    }

    /// The number if it is a whole one.
    pub fn whole(&self) -> Option<i64> {
        let divisor = power_of_ten((-self.exponent).clamp(0, 38) as u8);
        let is_whole = self.digits == 0 || (self.exponent >= -38 && self.digits % divisor == 0);
        if is_whole { self.at_scale(0) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_to_the_even_neighbour_on_both_sides_of_zero() {
        for (n, d, q) in [
            (5, 10, 0),
            (15, 10, 2),
            (25, 10, 2),
            (26, 10, 3),
            (-5, 10, 0),
            (-15, 10, -2),
            (-25, 10, -2),
            (-26, 10, -3),
            (15, -10, -2),
            (-7, -2, 4),
            (-5, -2, 2),
        ] {
            assert_eq!(divide_half_even(n, d), q, "{n} / {d}");
        }
    }

    #[test]
    fn texts_become_decimals_at_any_scale() {
        for (text, scale, value) in [
            ("12.345", 2, Some(1234)),
            ("12.355", 2, Some(1236)),
            ("-0.5", 0, Some(0)),
            ("-1.5", 0, Some(-2)),
            ("+7", 3, Some(7000)),
            ("1e3", 0, Some(1000)),
            ("1.5E-2", 3, Some(15)),
            ("0.5000000000000000000000000000000000000000000000001", 0, Some(1)),
            ("2.4999999999999999999999999999999999999999999999999", 0, Some(2)),
            ("100000000000000000000000000000000000000000000000e-44", 1, Some(10_000)),
            ("1e-400", 18, Some(0)),
            ("0e999999999", 0, Some(0)),
            ("1e400", 0, None),
            ("4611686018427387904", 0, None),
        ] {
            assert_eq!(parse(text).expect(text).at_scale(scale), value, "{text} at {scale}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "-", "+", ".", "1.", "--1", "1e", "1e+", "1 ", " 1", "1_0", "0x1", "NaN", "1.2.3", "1e5.0", "½"] {
            assert!(parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn whole_numbers_may_have_zeros_after_the_point() {
        for (text, whole) in
            [("12", Some(12)), ("12.000", Some(12)), ("1.2e1", Some(12)), ("12.5", None), ("1e-50", None), ("0e-50", Some(0))]
        {
            assert_eq!(parse(text).expect(text).whole(), whole, "{text}");
        }
    }
}
