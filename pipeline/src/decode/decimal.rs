//! Decimal fixed point from text, exactly: no floating point on the way, exponents included.
//!
//! `12.345` at scale 2 is `1234` half-even, `-1.5e1` at scale 0 is `-15`. A number whose scaled magnitude reaches
//! 2⁶² is out of range, however it is written, so that no accumulator can overflow (SEMANTICS 9).

use super::spec::ExcessDigits;
use crate::value::SCALED_MAX;

/// What is done with digits beyond the scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Excess {
    /// To the nearest, ties to the even neighbour.
    HalfEven,
    /// An error, unless they are zeros.
    Reject,
    /// Down: what times do, so that an instant never moves into the next unit.
    Floor,
}

impl From<ExcessDigits> for Excess {
    fn from(written: ExcessDigits) -> Excess {
        match written {
            ExcessDigits::Round => Excess::HalfEven,
            ExcessDigits::Reject => Excess::Reject,
        }
    }
}

/// Why a text is not a number of the declared scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DecimalError {
    /// Not a number at all.
    NotANumber,
    /// The scaled magnitude reaches 2⁶².
    OutOfRange,
    /// Digits beyond the scale, which are to be rejected.
    ExcessDigits,
}

/// A number's text, taken apart: `± 0.whole·fraction × 10^(whole.len() + exponent)`.
struct Parts<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

/// Parses `text` at `scale`; `point` separates the fraction. Leading zeros are allowed, a leading `+` is not.
pub(crate) fn parse(text: &str, scale: u8, point: u8, excess: Excess) -> Result<i64, DecimalError> {
    let parts = Parts::of(text.as_bytes(), point).ok_or(DecimalError::NotANumber)?;
    let digits = || parts.whole.iter().chain(parts.fraction).map(|d| d - b'0');
    let zeros = digits().take_while(|d| *d == 0).count();
    if zeros == parts.whole.len() + parts.fraction.len() {
        return Ok(0);
    }
    // The significant digits kept are those before the point once it has moved right by the exponent and the scale.
    let kept = (parts.whole.len() as i64).saturating_add(parts.exponent).saturating_add(i64::from(scale)) - zeros as i64;
    if kept > 19 {
        return Err(DecimalError::OutOfRange);
    }
    let mut significant = digits().skip(zeros);
    let mut scaled: u128 = 0;
    for _ in 0..kept.max(0) {
        scaled = scaled * 10 + u128::from(significant.next().unwrap_or(0));
    }
    let first = if kept < 0 { 0 } else { significant.next().unwrap_or(0) };
    let rest = kept < 0 || significant.any(|d| d != 0);
    settle(scaled, first, rest, parts.negative, excess)
}

/// Applies the digits beyond the scale: the `first` of them, and whether any after it is not zero.
fn settle(scaled: u128, first: u8, rest: bool, negative: bool, excess: Excess) -> Result<i64, DecimalError> {
    let inexact = first != 0 || rest;
    let away = match excess {
        Excess::Reject if inexact => return Err(DecimalError::ExcessDigits),
        Excess::Reject => false,
        Excess::HalfEven => first > 5 || (first == 5 && (rest || scaled % 2 == 1)),
        Excess::Floor => negative && inexact,
    };
    let scaled = scaled + u128::from(away);
    if scaled >= SCALED_MAX as u128 {
        return Err(DecimalError::OutOfRange);
    }
    let magnitude = scaled as i64;
    Ok(if negative { -magnitude } else { magnitude })
}

impl Parts<'_> {
    fn of(text: &[u8], point: u8) -> Option<Parts<'_>> {
        let (negative, text) = match text.strip_prefix(b"-") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, rest) = text.split_at(digits_in(text));
        let (fraction, rest) = match rest.strip_prefix(&[point]) {
            Some(after) => after.split_at(digits_in(after)),
            None => (&rest[..0], rest),
        };
        let pointed = text.get(whole.len()) == Some(&point);
        if whole.is_empty() || (pointed && fraction.is_empty()) {
            return None;
        }
        let exponent = if rest.is_empty() { 0 } else { exponent(rest)? };
        Some(Parts { negative, whole, fraction, exponent })
    }
}

/// `e+12` → 12. One of a thousand digits saturates: whatever it scales is out of range or vanishes.
fn exponent(text: &[u8]) -> Option<i64> {
    let rest = text.strip_prefix(b"e").or_else(|| text.strip_prefix(b"E"))?;
    let (negative, digits) = match rest.split_first()? {
        (b'-', digits) => (true, digits),
        (b'+', digits) => (false, digits),
        _ => (false, rest),
    };
    if digits.is_empty() || digits_in(digits) != digits.len() {
        return None;
    }
    let magnitude = digits.iter().fold(0i64, |n, d| n.saturating_mul(10).saturating_add(i64::from(d - b'0'))).min(1 << 40);
    Some(if negative { -magnitude } else { magnitude })
}

fn digits_in(text: &[u8]) -> usize {
    text.iter().take_while(|b| b.is_ascii_digit()).count()
}

/// A scaled value at another scale.
pub(crate) fn rescale(value: i64, from: u8, to: u8, excess: Excess) -> Result<i64, DecimalError> {
    let (negative, magnitude) = (value < 0, u128::from(value.unsigned_abs()));
    if to >= from {
        let scaled = magnitude.checked_mul(10u128.pow(u32::from(to - from))).ok_or(DecimalError::OutOfRange)?;
        return settle(scaled, 0, false, negative, excess);
    }
    let unit = 10u128.pow(u32::from(from - to));
    let (kept, beyond) = (magnitude / unit, magnitude % unit);
    settle(kept, (beyond / (unit / 10)) as u8, beyond % (unit / 10) != 0, negative, excess)
}

#[cfg(test)]
mod tests {
    use super::*;
    use DecimalError::{ExcessDigits, NotANumber, OutOfRange};
    use Excess::{Floor, HalfEven, Reject};

    #[test]
    fn texts_become_scaled_integers() {
        for (text, scale, excess, expected) in [
            ("12.345", 2, HalfEven, Ok(1234)),
            ("12.355", 2, HalfEven, Ok(1236)),
            ("12.3450000000000000000000001", 2, HalfEven, Ok(1235)),
            ("-0.5", 0, HalfEven, Ok(0)),
            ("-1.5", 0, HalfEven, Ok(-2)),
            ("0.05", 0, HalfEven, Ok(0)),
            ("0.6", 0, HalfEven, Ok(1)),
            ("12.30", 1, Reject, Ok(123)),
            ("12.31", 1, Reject, Err(ExcessDigits)),
            ("1e-400", 2, Reject, Err(ExcessDigits)),
            ("1e-400", 2, HalfEven, Ok(0)),
            ("9e-1", 0, HalfEven, Ok(1)),
            ("9e-2", 0, HalfEven, Ok(0)),
            ("-0.0000001", 3, Floor, Ok(-1)),
            ("0.9999", 3, Floor, Ok(999)),
            ("-1.5e1", 0, Reject, Ok(-15)),
            ("1.5E+2", 1, Reject, Ok(1500)),
            ("0.00015e4", 1, Reject, Ok(15)),
            ("1e400", 0, HalfEven, Err(OutOfRange)),
            ("0e99999999999999999999999", 18, Reject, Ok(0)),
            ("1e-99999999999999999999999", 18, HalfEven, Ok(0)),
            ("0000000000000000000000000000012", 0, Reject, Ok(12)),
            ("4611686018427387903", 0, Reject, Ok((1 << 62) - 1)),
            ("4611686018427387904", 0, Reject, Err(OutOfRange)),
            ("-4611686018427387904", 0, Reject, Err(OutOfRange)),
            ("4611686018427387903.5", 0, HalfEven, Err(OutOfRange)),
            ("9999999999999999999", 0, Reject, Err(OutOfRange)),
            ("5", 18, Reject, Err(OutOfRange)),
            ("4.5", 18, Reject, Ok(4_500_000_000_000_000_000)),
        ] {
            assert_eq!(parse(text, scale, b'.', excess), expected, "{text} at {scale}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in
            ["", "-", "+1", ".5", "1.", "1e", "1e+", "1e1.5", "1_000", "1,5", " 1", "1 ", "NaN", "Infinity", "0x10", "1.2.3", "١"]
        {
            assert_eq!(parse(text, 2, b'.', HalfEven), Err(NotANumber), "{text}");
        }
        assert_eq!(parse("1,5", 1, b',', Reject), Ok(15));
        assert_eq!(parse("1.5", 1, b',', Reject), Err(NotANumber));
    }

    #[test]
    fn rescaling_follows_the_same_rules() {
        for (value, from, to, excess, expected) in [
            (1234, 3, 2, HalfEven, Ok(123)),
            (1235, 3, 2, HalfEven, Ok(124)),
            (-1225, 3, 2, HalfEven, Ok(-122)),
            (1230, 3, 2, Reject, Ok(123)),
            (1234, 3, 2, Reject, Err(ExcessDigits)),
            (5, 0, 18, Reject, Err(OutOfRange)),
            (7, 1, 3, Reject, Ok(700)),
        ] {
            assert_eq!(rescale(value, from, to, excess), expected, "{value} from {from} to {to}");
        }
    }
}
