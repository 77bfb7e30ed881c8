//! RFC 3339 instants, read strictly and without allocation.
//!
//! - The offset is required; between date and time stands `T`, `t` or a space.
//! - Years 1 to 9999, in UTC.
//! - Digits of a second beyond the sixth are cut off, so an instant never moves into a later microsecond.
//! - A leap second (`23:59:60` in UTC) is the first second of the next day: two instants share a value, none is lost.
//!   `:60` at any other time does not exist.

use crate::time::SECOND_US;

const DAY_S: i64 = 86_400;

/// Year 1 in microseconds since 1970.
pub(crate) const MIN_US: i64 = -62_135_596_800 * SECOND_US;

/// Year 10000 in microseconds since 1970: the first instant that is not allowed.
pub(crate) const END_US: i64 = 253_402_300_800 * SECOND_US;

/// Microseconds since 1970, or what is wrong.
pub(crate) fn parse(text: &str) -> Result<i64, &'static str> {
    let bytes = text.as_bytes();
    let digits = [(0, 4), (5, 2), (8, 2), (11, 2), (14, 2), (17, 2)];
    let shape = [(4, b"-" as &[u8]), (7, b"-"), (10, b"Tt "), (13, b":"), (16, b":")];
    if bytes.len() < 20 || !shape.iter().all(|(at, allowed)| allowed.contains(&bytes[*at])) {
        return Err("must look like 2026-01-31T23:59:59.123Z, with an offset");
    }
    let mut numbers = [0i64; 6];
    for (number, (at, len)) in numbers.iter_mut().zip(digits) {
        *number = digits_of(&bytes[at..at + len]).ok_or("must look like 2026-01-31T23:59:59.123Z, with an offset")?;
    }
    let [year, month, day, hour, minute, second] = numbers;
    let (fraction_us, rest) = fraction(&bytes[19..])?;
    let offset_s = offset(rest)?;
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return Err("that day does not exist");
    }
    if hour > 23 || minute > 59 || second > 60 {
        return Err("that time of day does not exist");
    }
    let seconds = days_from_civil(year, month, day) * DAY_S + hour * 3600 + minute * 60 + second - offset_s;
    if second == 60 && seconds.rem_euclid(DAY_S) != 0 {
        return Err("second 60 exists only as a leap second, at 23:59:60 in UTC");
    }
    in_years(seconds * SECOND_US + fraction_us)
}

/// The instant, if it lies within years 1 to 9999.
pub(crate) fn in_years(us: i64) -> Result<i64, &'static str> {
    if (MIN_US..END_US).contains(&us) { Ok(us) } else { Err("must lie in the years 1 to 9999") }
}

/// Microseconds of `.123`, and what follows.
fn fraction(text: &[u8]) -> Result<(i64, &[u8]), &'static str> {
    let Some(rest) = text.strip_prefix(b".") else { return Ok((0, text)) };
    let len = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    if len == 0 {
        return Err("has a point after the seconds, but no digits");
    }
    let us = (0..6).fold(0, |n, i| n * 10 + if i < len { i64::from(rest[i] - b'0') } else { 0 });
    Ok((us, &rest[len..]))
}

/// Seconds of `Z`, `z`, `+02:00`; `-00:00` is UTC.
fn offset(text: &[u8]) -> Result<i64, &'static str> {
    let signed = match text {
        b"Z" | b"z" => return Ok(0),
        [] => return Err("has no offset: end it in Z or +02:00"),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => digits_of(&[*h1, *h2]).zip(digits_of(&[*m1, *m2])).map(|t| (*sign, t)),
        _ => None,
    };
    match signed {
        Some((sign, (hours, minutes))) if hours < 24 && minutes < 60 => {
            let seconds = hours * 3600 + minutes * 60;
            Ok(if sign == b'-' { -seconds } else { seconds })
        }
        _ => Err("has an offset that is neither Z nor like +02:00"),
    }
}

fn digits_of(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Microseconds since 1970 of a local date and time at an offset; what lies below the microsecond is cut.
pub(crate) fn civil_us(local: jiff::civil::DateTime, offset_s: i32) -> i64 {
    let days = days_from_civil(local.year().into(), local.month().into(), local.day().into());
    let second_of_day = i64::from(local.hour()) * 3600 + i64::from(local.minute()) * 60 + i64::from(local.second());
    (days * DAY_S + second_of_day - i64::from(offset_s)) * SECOND_US + i64::from(local.subsec_nanosecond() / 1_000)
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar, counted in years that begin in March.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_exact() {
        for (text, us) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01t00:00:00.0000019z", 1),
            ("1969-12-31 23:59:59.999999999Z", -1),
            ("2026-03-29T03:30:00.5+02:00", 1_774_747_800_500_000),
            ("2000-02-29T00:00:00-00:00", 951_782_400_000_000),
            ("0001-01-01T00:00:00Z", MIN_US),
            ("9999-12-31T23:59:59.999999Z", END_US - 1),
            ("2016-12-31T23:59:60.25Z", 1_483_228_800_250_000),
            ("2017-01-01T01:59:60+02:00", 1_483_228_800_000_000),
        ] {
            assert_eq!(parse(text), Ok(us), "{text}");
        }
    }

    #[test]
    fn it_agrees_with_a_calendar_library() {
        for day in (-719_162..2_932_895).step_by(97) {
            let date = jiff::civil::date(1970, 1, 1).checked_add(jiff::Span::new().days(day)).unwrap();
            assert_eq!(parse(&format!("{date}T12:00:00Z")), Ok((day * DAY_S + 43_200) * SECOND_US), "{date}");
        }
    }

    #[test]
    fn what_is_no_instant_is_refused() {
        for text in [
            "",
            "2026-01-31",
            "2026-01-31T12:00:00",
            "2026-01-31T12:00:00.Z",
            "2026-1-31T12:00:00Z",
            "2026-02-29T12:00:00Z",
            "1900-02-29T12:00:00Z",
            "2026-13-01T12:00:00Z",
            "2026-00-01T12:00:00Z",
            "2026-01-00T12:00:00Z",
            "2026-01-31T24:00:00Z",
            "2026-01-31T12:60:00Z",
            "2026-01-31T12:00:61Z",
            "2026-01-31T12:00:60Z",
            "2016-12-31T23:59:60+01:00",
            "2026-01-31T12:00:00+24:00",
            "2026-01-31T12:00:00+0200",
            "2026-01-31T12:00:00+02",
            "2026-01-31T12:00:00ZZ",
            "0000-12-31T00:00:00Z",
            "0001-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59-01:00",
            "2026-01-31_12:00:00Z",
            "٢٠٢٦-01-31T12:00:00Z",
            "-026-01-31T12:00:00Z",
            "12026-01-31T12:00:00Z",
            " 2026-01-31T12:00:00Z",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
