//! Conversions between types. What is lost is said by the name: `int` drops what follows the point, `decimal` rounds half
//! to even at the digits asked for. A text that does not convert is an error of its record, not null.

use super::super::code::{Code, TextCode, Typed};
use super::super::decimal;
use super::super::fault::{Place, Reason};
use super::super::operators::{duration_in_range, rescaled, time_in_range};
use super::table::{Built, Function, Refusal, Style};
use super::texts::three;
use super::times;
use crate::time::{EventTime, SECOND_US};
use crate::value::{SCALE_MAX, decimal_text};
use compact_str::{CompactString, format_compact};

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "int",
        usage: "int(x) of a number (towards zero), of a text with a whole number, or of a time (seconds since 1970)",
        style: Style::Plain,
        arguments: 1..=1,
        build: int,
    },
    Function {
        name: "decimal",
        usage: "decimal(number or text, digits after the point), or decimal(duration or time) for seconds with 6 digits",
        style: Style::Plain,
        arguments: 1..=2,
        build: decimal,
    },
    Function { name: "string", usage: "string(x) of anything", style: Style::Plain, arguments: 1..=1, build: string },
    Function { name: "bool", usage: "bool(text) of true or false", style: Style::Plain, arguments: 1..=1, build: bool },
    Function {
        name: "timestamp",
        usage: "timestamp('2024-05-01T12:00:00Z') of a text in RFC 3339, or timestamp(seconds since 1970)",
        style: Style::Plain,
        arguments: 1..=1,
        build: timestamp,
    },
    Function {
        name: "duration",
        usage: "duration('1h30m') of a text; the units are d, h, m, s, ms, us, ns",
        style: Style::Plain,
        arguments: 1..=1,
        build: duration,
    },
];

fn int(arguments: Vec<Typed>, at: Place) -> Built {
    let code = match three(arguments).0 {
        Some(Typed::Decimal(code, 0)) => code,
        Some(Typed::Decimal(code, scale)) => {
            let unit = decimal::power_of_ten(scale) as i64;
            code.map(move |v: i64| Ok(v / unit))?
        }
        Some(Typed::Time(code)) => code.map(|us: i64| Ok(us.div_euclid(SECOND_US)))?,
        Some(Typed::Text(text)) => text.read(move |text| whole_number(text, at))?,
        Some(Typed::Bool(_)) => return Err(Refusal::Argument(0, "a bool is no number: write `x ? 1 : 0`".into())),
        Some(Typed::Duration(_)) => {
            return Err(Refusal::Argument(0, "take `(…).getSeconds()` of a duration, or `decimal(…)`".into()));
        }
        _ => return Err(Refusal::Types),
    };
    Ok(Typed::Decimal(code, 0))
}

fn whole_number(text: &str, at: Place) -> Result<i64, super::super::fault::Fault> {
    let parsed = decimal::parse(text).ok_or(at.fault(Reason::NoWholeNumber))?;
    match (parsed.whole(), parsed.at_scale(0)) {
        (Some(v), _) => Ok(v),
        (None, Some(_)) => Err(at.fault(Reason::NoWholeNumber)),
        (None, None) => Err(at.fault(Reason::Overflow)),
    }
}

fn decimal(arguments: Vec<Typed>, at: Place) -> Built {
    match three(arguments) {
        (Some(Typed::Duration(code)), None, _) => Ok(Typed::Decimal(code, 6)),
        (Some(Typed::Time(code)), None, _) => Ok(Typed::Decimal(code.map(move |us| time_in_range(i128::from(us), at))?, 6)),
        (Some(Typed::Decimal(code, scale)), None, _) => Ok(Typed::Decimal(code, scale)),
        (Some(Typed::Text(_)), None, _) => {
            Err(Refusal::Argument(0, "how many digits after the point? write `decimal(x, 3)`".into()))
        }
        (Some(Typed::Decimal(code, from)), Some(digits), _) => {
            let to = wanted_scale(&digits)?;
            Ok(Typed::Decimal(rescaled(code, from, to, at)?, to))
        }
        (Some(Typed::Text(text)), Some(digits), _) => {
            let to = wanted_scale(&digits)?;
            let read = move |text: &str| {
                let parsed = decimal::parse(text).ok_or(at.fault(Reason::NoNumber))?;
                parsed.at_scale(to).ok_or(at.fault(Reason::Overflow))
            };
            Ok(Typed::Decimal(text.read(read)?, to))
        }
        _ => Err(Refusal::Types),
    }
}

/// The type has to be known before the first record, so the digits are written out.
fn wanted_scale(digits: &Typed) -> Result<u8, Refusal> {
    match digits {
        Typed::Decimal(Code::Constant(Some(digits)), 0) if (0..=i64::from(SCALE_MAX)).contains(digits) => Ok(*digits as u8),
        _ => {
            Err(Refusal::Argument(1, format!("the digits after the point are a whole number from 0 to {SCALE_MAX}, written out")))
        }
    }
}

fn string(arguments: Vec<Typed>, at: Place) -> Built {
    let code = match three(arguments).0 {
        Some(Typed::Text(code)) => code,
        Some(Typed::Bool(code)) => code.write(|truth| Ok(CompactString::const_new(if truth { "true" } else { "false" })))?,
        Some(Typed::Decimal(code, scale)) => code.write(move |v| Ok(decimal_text(i128::from(v), scale).into()))?,
        Some(Typed::Time(code)) => code.write(move |us| {
            time_in_range(i128::from(us), at)?;
            Ok(format_compact!("{}", EventTime(us)))
        })?,
        Some(Typed::Duration(code)) => code.write(|us| Ok(times::duration_text(us)))?,
        _ => return Err(Refusal::Types),
    };
    Ok(Typed::Text(code))
}

fn bool(arguments: Vec<Typed>, at: Place) -> Built {
    match three(arguments).0 {
        Some(Typed::Bool(code)) => Ok(Typed::Bool(code)),
        Some(Typed::Text(text)) => Ok(Typed::Bool(text.read(move |text| match text {
            "true" | "True" | "TRUE" | "t" | "T" | "1" => Ok(true),
            "false" | "False" | "FALSE" | "f" | "F" | "0" => Ok(false),
            _ => Err(at.fault(Reason::NoBool)),
        })?)),
        Some(Typed::Decimal(..)) => Err(Refusal::Argument(0, "a number is no bool: write `x != 0`".into())),
        _ => Err(Refusal::Types),
    }
}

fn timestamp(arguments: Vec<Typed>, at: Place) -> Built {
    let code = match three(arguments).0 {
        Some(Typed::Time(code)) => code,
        Some(Typed::Text(text)) => text.read(move |text| times::parse_time(text, at))?,
        Some(Typed::Decimal(code, scale)) => code.map(move |v| {
            let us = decimal::rescale(v, scale, 6).ok_or(at.fault(Reason::TimeOutOfRange))?;
            time_in_range(i128::from(us), at)
        })?,
        _ => return Err(Refusal::Types),
    };
    Ok(Typed::Time(code))
}

fn duration(arguments: Vec<Typed>, at: Place) -> Built {
    let code = match three(arguments).0 {
        Some(Typed::Duration(code)) => code,
        Some(Typed::Text(text)) => duration_of(text, at)?,
        Some(Typed::Decimal(..)) => {
            return Err(Refusal::Argument(0, "a duration is written with its unit, `duration('90s')`".into()));
        }
        _ => return Err(Refusal::Types),
    };
    Ok(Typed::Duration(code))
}

fn duration_of(text: TextCode, at: Place) -> Result<Code<i64>, super::super::fault::Fault> {
    text.read(move |text| {
        let us = times::parse_duration(text).ok_or(at.fault(Reason::NoDuration))?;
        duration_in_range(us, at)
    })
}
