//! Parts of times and durations, and their texts.
//!
//! As in CEL months, days of the month, of the week and of the year count from 0 (`getDate` counts from 1), Sunday is the
//! first day, and a part is taken in UTC unless a zone is named. Zones come from the bundled database, so that an
//! expression means the same on every machine; an offset such as `+02:00` is a zone, too.

use super::super::code::{Code, TextCode, Typed};
use super::super::fault::{Fault, Place, Reason};
use super::super::operators::time_in_range;
use super::table::{Built, Function, Refusal, Style};
use super::texts::three;
use crate::suggest::suggest;
use crate::time::SECOND_US;
use crate::value::{Value, decimal_text};
use compact_str::CompactString;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};

const fn of_time(name: &'static str, usage: &'static str, build: fn(Vec<Typed>, Place) -> Built) -> Function {
    Function { name, usage, style: Style::Method, arguments: 1..=2, build }
}

pub(super) const FUNCTIONS: &[Function] = &[
    of_time("getFullYear", "time.getFullYear() or time.getFullYear('Europe/Madrid')", |arguments, at| {
        date_part(arguments, at, |t| i64::from(t.year()))
    }),
    of_time("getMonth", "time.getMonth() → 0 to 11, zone optional", |arguments, at| {
        date_part(arguments, at, |t| i64::from(t.month()) - 1)
    }),
    of_time("getDate", "time.getDate() → day of the month from 1, zone optional", |arguments, at| {
        date_part(arguments, at, |t| i64::from(t.day()))
    }),
    of_time("getDayOfMonth", "time.getDayOfMonth() → day of the month from 0, zone optional", |arguments, at| {
        date_part(arguments, at, |t| i64::from(t.day()) - 1)
    }),
    of_time("getDayOfWeek", "time.getDayOfWeek() → 0 (Sunday) to 6, zone optional", |arguments, at| {
        date_part(arguments, at, |t| i64::from(t.weekday().to_sunday_zero_offset()))
    }),
    of_time("getDayOfYear", "time.getDayOfYear() → day of the year from 0, zone optional", |arguments, at| {
        date_part(arguments, at, |t| i64::from(t.day_of_year()) - 1)
    }),
    of_time("getHours", "time.getHours() → 0 to 23, zone optional, or duration.getHours() → whole hours", |arguments, at| {
        clock_part(arguments, at, |t| i64::from(t.hour()), |us| us / (3600 * SECOND_US))
    }),
    of_time(
        "getMinutes",
        "time.getMinutes() → 0 to 59, zone optional, or duration.getMinutes() → whole minutes",
        |arguments, at| clock_part(arguments, at, |t| i64::from(t.minute()), |us| us / (60 * SECOND_US)),
    ),
    of_time(
        "getSeconds",
        "time.getSeconds() → 0 to 59, zone optional, or duration.getSeconds() → whole seconds",
        |arguments, at| clock_part(arguments, at, |t| i64::from(t.second()), |us| us / SECOND_US),
    ),
    of_time(
        "getMilliseconds",
        "time.getMilliseconds() or duration.getMilliseconds() → the milliseconds after the whole seconds",
        |arguments, at| clock_part(arguments, at, |t| i64::from(t.millisecond()), |us| us % SECOND_US / 1000),
    ),
];

fn clock_part(arguments: Vec<Typed>, at: Place, part: fn(DateTime) -> i64, of_duration: fn(i64) -> i64) -> Built {
    match three(arguments) {
        (Some(Typed::Duration(code)), None, _) => Ok(Typed::Decimal(code.map(move |us| Ok(of_duration(us)))?, 0)),
        (Some(Typed::Duration(_)), Some(_), _) => Err(Refusal::Argument(1, "a duration has no zone".into())),
        (time, zone, _) => date_part(time.into_iter().chain(zone).collect(), at, part),
    }
}

fn date_part(arguments: Vec<Typed>, at: Place, part: fn(DateTime) -> i64) -> Built {
    let code = match three(arguments) {
        (Some(Typed::Time(time)), None, _) => part_in(time, TimeZone::UTC, at, part)?,
        (Some(Typed::Time(time)), Some(Typed::Text(TextCode::Constant(Some(name)))), _) => {
            let zone = zone(&name).ok_or_else(|| Refusal::Argument(1, unknown_zone(&name)))?;
            part_in(time, zone, at, part)?
        }
        (Some(Typed::Time(time)), Some(Typed::Text(name)), _) => {
            let constant = time.is_constant() && name.is_constant();
            Code::computed(constant, move |slots: &[Value]| match (time.get(slots)?, name.get(slots)?) {
                (Some(us), Some(name)) => {
                    let zone = zone(&name).ok_or(at.fault(Reason::NoZone))?;
                    Ok(Some(part(local(us, &zone, at)?)))
                }
                _ => Ok(None),
            })?
        }
        _ => return Err(Refusal::Types),
    };
    Ok(Typed::Decimal(code, 0))
}

fn part_in(time: Code<i64>, zone: TimeZone, at: Place, part: fn(DateTime) -> i64) -> Result<Code<i64>, Fault> {
    time.map(move |us| Ok(part(local(us, &zone, at)?)))
}

fn local(us: i64, zone: &TimeZone, at: Place) -> Result<DateTime, Fault> {
    let us = time_in_range(i128::from(us), at)?;
    let timestamp = Timestamp::from_microsecond(us).map_err(|_| at.fault(Reason::TimeOutOfRange))?;
    Ok(zone.to_datetime(timestamp))
}

/// A zone by its IANA name, or by an offset: `+02:00`, `-03:30`, and as CEL has it `02:00`.
fn zone(name: &str) -> Option<TimeZone> {
    match offset_seconds(name) {
        Some(seconds) => Offset::from_seconds(seconds).ok().map(TimeZone::fixed),
        None => TimeZoneDatabase::bundled().get(name).ok(),
    }
}

fn offset_seconds(text: &str) -> Option<i32> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let (hours, minutes) = digits.split_once(':')?;
    let two_digits =
        |part: &str| if part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit()) { part.parse().ok() } else { None };
    let (hours, minutes): (i32, i32) = (two_digits(hours)?, two_digits(minutes)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

fn unknown_zone(name: &str) -> String {
    let database = TimeZoneDatabase::bundled();
    let known: Vec<String> = database.available().map(|zone| zone.as_str().to_string()).collect();
    match suggest(name, known.iter().map(String::as_str)) {
        Some(near) => format!("no time zone `{name}`: did you mean `{near}`?"),
        None => format!("no time zone `{name}`: write a name such as 'Europe/Madrid' or an offset such as '+02:00'"),
    }
}

/// A time in RFC 3339. What is finer than a microsecond is cut off, towards the past.
pub(super) fn parse_time(text: &str, at: Place) -> Result<i64, Fault> {
    let timestamp: Timestamp = text.parse().map_err(|_| at.fault(Reason::NoTime))?;
    time_in_range(timestamp.as_nanosecond().div_euclid(1000), at)
}

const UNITS_NS: [(&str, i128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// Microseconds of `1h30m`, `-1.5s`, `0`; `None` if it is no such text or not whole microseconds.
pub(super) fn parse_duration(text: &str) -> Option<i128> {
    let (sign, mut rest) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    if rest.is_empty() || rest == "0" {
        return (rest == "0").then_some(0);
    }
    let mut ns = 0_i128;
    while !rest.is_empty() {
        let number = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
        let unit_end = rest[number..].find(|c: char| c.is_ascii_digit() || c == '.').map_or(rest.len(), |end| number + end);
        let (_, unit) = UNITS_NS.into_iter().find(|(name, _)| *name == &rest[number..unit_end])?;
        ns = ns.checked_add(amount_ns(&rest[..number], unit)?)?;
        rest = &rest[unit_end..];
    }
    (ns % 1000 == 0).then_some(sign * ns / 1000)
}

/// `12.5` of a unit in nanoseconds, exactly or not at all.
fn amount_ns(number: &str, unit: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = [whole, fraction].concat();
    if digits.is_empty() || digits.len() > 22 || fraction.len() > 18 || digits.contains('.') {
        return None;
    }
    let scaled = digits.parse::<i128>().ok()?.checked_mul(unit)?;
    let divisor = 10_i128.pow(fraction.len() as u32);
    (scaled % divisor == 0).then_some(scaled / divisor)
}

/// A duration as CEL writes it: seconds, `5400s`, `-0.5s`.
pub(super) fn duration_text(us: i64) -> CompactString {
    let seconds = decimal_text(i128::from(us), 6);
    let short = seconds.trim_end_matches('0').trim_end_matches('.');
    CompactString::from(format!("{short}s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_exactly_or_not_at_all() {
        for (text, us) in [
            ("1h30m", Some(5_400_000_000)),
            ("-1.5s", Some(-1_500_000)),
            ("+2ms", Some(2_000)),
            ("1us500ns500ns", Some(2)),
            ("1µs", Some(1)),
            ("0.000001s", Some(1)),
            ("1d", Some(86_400_000_000)),
            ("0", Some(0)),
            ("-0", Some(0)),
            (".5s", Some(500_000)),
            ("", None),
            ("+", None),
            ("-", None),
            ("1", None),
            ("s", None),
            ("1 h", None),
            ("1x", None),
            ("1.2.3s", None),
            ("1h-30m", None),
            ("1ns", None),
            ("0.0000001s", None),
            ("99999999999999999999999d", None),
        ] {
            assert_eq!(parse_duration(text), us, "{text}");
        }
    }
}
