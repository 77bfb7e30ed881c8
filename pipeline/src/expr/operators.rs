//! Operators as code: arithmetic of numbers, times and texts, the connectives, negation, and the choice `c ? a : b`.
//!
//! `Ok(None)` says that the operator does not take these types; words for that are the checker's business.

use super::ast::{Binary, Logic};
use super::code::{Code, Outcome, TextCode, Typed};
use super::decimal::{self, fit, power_of_ten};
use super::fault::{Fault, Place, Reason};
use crate::value::SCALE_MAX;
use compact_str::CompactString;

/// The first and the last microsecond of the years 1 to 9999.
const TIME_RANGE_US: std::ops::RangeInclusive<i128> = -62_135_596_800_000_000..=253_402_300_799_999_999;
/// CEL's bound of durations: 10,000 years.
const DURATION_MAX_US: i128 = 315_576_000_000_000_000;
/// Texts are not made longer than this.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// A time if it lies in the years 1 to 9999.
pub(super) fn time_in_range(us: i128, at: Place) -> Result<i64, Fault> {
    if TIME_RANGE_US.contains(&us) { Ok(us as i64) } else { Err(at.fault(Reason::TimeOutOfRange)) }
}

/// A duration if it is not longer than 10,000 years.
pub(super) fn duration_in_range(us: i128, at: Place) -> Result<i64, Fault> {
    if us.abs() <= DURATION_MAX_US { Ok(us as i64) } else { Err(at.fault(Reason::DurationOutOfRange)) }
}

/// A text if it is not too long.
pub(super) fn text_in_bounds(length: usize, at: Place) -> Result<(), Fault> {
    if length <= TEXT_BYTES_MAX { Ok(()) } else { Err(at.fault(Reason::TextTooLong)) }
}

/// `+ - * / %`.
pub(super) fn arithmetic(operator: Binary, left: Typed, right: Typed, at: Place) -> Result<Option<Typed>, Fault> {
    use Typed::{Decimal, Duration, Text, Time};
    let sum = |a: Code<i64>, b: Code<i64>, sign: i128, bound: fn(i128, Place) -> Result<i64, Fault>| {
        a.zip(b, move |a, b| bound(i128::from(a) + sign * i128::from(b), at))
    };
    Ok(Some(match (operator, left, right) {
        (_, Decimal(a, a_scale), Decimal(b, b_scale)) => return numbers(operator, (a, a_scale), (b, b_scale), at).map(Some),
        (Binary::Add, Text(a), Text(b)) => Text(concatenated(a, b, at)?),
        (Binary::Add, Time(a), Duration(b)) | (Binary::Add, Duration(b), Time(a)) => Time(sum(a, b, 1, time_in_range)?),
        (Binary::Subtract, Time(a), Duration(b)) => Time(sum(a, b, -1, time_in_range)?),
        (Binary::Subtract, Time(a), Time(b)) => Duration(sum(a, b, -1, duration_in_range)?),
        (Binary::Add, Duration(a), Duration(b)) => Duration(sum(a, b, 1, duration_in_range)?),
        (Binary::Subtract, Duration(a), Duration(b)) => Duration(sum(a, b, -1, duration_in_range)?),
        _ => return Ok(None),
    }))
}

/// Arithmetic of decimals; [`decimal`] has the scales of the results.
fn numbers(operator: Binary, (a, a_scale): (Code<i64>, u8), (b, b_scale): (Code<i64>, u8), at: Place) -> Result<Typed, Fault> {
    let overflow = at.fault(Reason::Overflow);
    let by_zero = at.fault(Reason::DivisionByZero);
    let scale = a_scale.max(b_scale);
    let (up_a, up_b) = (power_of_ten(scale - a_scale), power_of_ten(scale - b_scale));
    let aligned = move |a: i64, b: i64| (i128::from(a) * up_a, i128::from(b) * up_b);
    Ok(match operator {
        Binary::Add if a_scale == b_scale => {
            Typed::Decimal(a.zip(b, move |a, b| fit(i128::from(a) + i128::from(b)).ok_or(overflow))?, scale)
        }
        Binary::Subtract if a_scale == b_scale => {
            Typed::Decimal(a.zip(b, move |a, b| fit(i128::from(a) - i128::from(b)).ok_or(overflow))?, scale)
        }
        Binary::Add => {
            let sum = a.zip(b, move |a, b| {
                let (a, b) = aligned(a, b);
                fit(a + b).ok_or(overflow)
            })?;
            Typed::Decimal(sum, scale)
        }
        Binary::Subtract => {
            let difference = a.zip(b, move |a, b| {
                let (a, b) = aligned(a, b);
                fit(a - b).ok_or(overflow)
            })?;
            Typed::Decimal(difference, scale)
        }
        Binary::Remainder => {
            let rest = a.zip(b, move |a, b| {
                let (a, b) = aligned(a, b);
                if b == 0 { Err(by_zero) } else { fit(a % b).ok_or(overflow) }
            })?;
            Typed::Decimal(rest, scale)
        }
        Binary::Multiply => {
            let scale = decimal::product_scale(a_scale, b_scale);
            let drop = (a_scale + b_scale).saturating_sub(SCALE_MAX);
            Typed::Decimal(a.zip(b, move |a, b| decimal::multiply(a, b, drop).ok_or(overflow))?, scale)
        }
        _ => {
            let scale = decimal::quotient_scale(a_scale, b_scale);
            let shift = scale - a_scale + b_scale;
            let quotient = move |a, b| if b == 0 { Err(by_zero) } else { decimal::divide(a, b, shift).ok_or(overflow) };
            Typed::Decimal(a.zip(b, quotient)?, scale)
        }
    })
}

fn concatenated(a: TextCode, b: TextCode, at: Place) -> Result<TextCode, Fault> {
    TextCode::computed(a.is_constant() && b.is_constant(), move |slots| match (a.get(slots)?, b.get(slots)?) {
        (Some(a), Some(b)) => {
            text_in_bounds(a.len() + b.len(), at)?;
            let mut whole = CompactString::from(a);
            whole.push_str(&b);
            Ok(Some(whole))
        }
        _ => Ok(None),
    })
}

/// `-x`.
pub(super) fn negate(operand: Typed, at: Place) -> Result<Option<Typed>, Fault> {
    let negated = move |v: i64| v.checked_neg().ok_or(at.fault(Reason::Overflow));
    Ok(match operand {
        Typed::Decimal(code, scale) => Some(Typed::Decimal(code.map(negated)?, scale)),
        Typed::Duration(code) => Some(Typed::Duration(code.map(negated)?)),
        _ => None,
    })
}

/// `!x`.
pub(super) fn not(code: Code<bool>) -> Result<Code<bool>, Fault> {
    code.map(|truth| Ok(!truth))
}

/// `a && b && …` or `a || b || …`: the deciding value from anywhere wins, then an error, then null.
pub(super) fn connect(logic: Logic, terms: Vec<Code<bool>>) -> Result<Code<bool>, Fault> {
    let deciding = logic == Logic::Any;
    let constant = terms.iter().all(Code::is_constant);
    Code::computed(constant, move |slots| connected(deciding, terms.iter().map(|term| term.get(slots))))
}

/// Three-valued `&&` (false decides) or `||` (true decides) of what the terms turned out to be.
pub(super) fn connected(deciding: bool, terms: impl Iterator<Item = Outcome<bool>>) -> Outcome<bool> {
    let mut otherwise = Ok(Some(!deciding));
    for term in terms {
        match term {
            Ok(Some(truth)) if truth == deciding => return Ok(Some(deciding)),
            Ok(Some(_)) => {}
            null_or_error if otherwise.is_ok() => otherwise = null_or_error,
            _ => {}
        }
    }
    otherwise
}

/// `c ? a : b`: of one type, decimals at the larger scale; a literal null takes the type of the other branch.
pub(super) fn choice(condition: Code<bool>, yes: Typed, no: Typed, at: Place) -> Result<Option<Typed>, Fault> {
    use Typed::{Bool, Decimal, Duration, Null, Text, Time};
    Ok(Some(match (like(yes, &no), no) {
        (Null, Null) => Null,
        (yes, Null) => {
            let no = like(Null, &yes);
            return choice(condition, yes, no, at);
        }
        (Bool(a), Bool(b)) => Bool(Code::choose(condition, a, b)),
        (Text(a), Text(b)) => Text(TextCode::choose(condition, a, b)),
        (Time(a), Time(b)) => Time(Code::choose(condition, a, b)),
        (Duration(a), Duration(b)) => Duration(Code::choose(condition, a, b)),
        (Decimal(a, a_scale), Decimal(b, b_scale)) => {
            let scale = a_scale.max(b_scale);
            Decimal(Code::choose(condition, rescaled(a, a_scale, scale, at)?, rescaled(b, b_scale, scale, at)?), scale)
        }
        _ => return Ok(None),
    }))
}

/// A null of the other's type; anything else as it is.
fn like(value: Typed, other: &Typed) -> Typed {
    match (&value, other) {
        (Typed::Null, Typed::Bool(_)) => Typed::Bool(Code::Constant(None)),
        (Typed::Null, Typed::Decimal(_, scale)) => Typed::Decimal(Code::Constant(None), *scale),
        (Typed::Null, Typed::Text(_)) => Typed::Text(TextCode::Constant(None)),
        (Typed::Null, Typed::Time(_)) => Typed::Time(Code::Constant(None)),
        (Typed::Null, Typed::Duration(_)) => Typed::Duration(Code::Constant(None)),
        _ => value,
    }
}

/// A number at another scale, half to even where digits go.
pub(super) fn rescaled(code: Code<i64>, from: u8, to: u8, at: Place) -> Result<Code<i64>, Fault> {
    if from == to {
        return Ok(code);
    }
    code.map(move |v| decimal::rescale(v, from, to).ok_or(at.fault(Reason::Overflow)))
}
