//! Numbers and times by hand: a number is an integer in units of its last digit, a time counts days and seconds.

use serde_json::Value as Json;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// The number that a JSON text writes, in units of 10^-digits, half to even.
pub fn scaled(text: &str, digits: usize) -> i128 {
    let (unscaled, scale) = parts(text);
    let more = digits as i32 - scale;
    if more >= 0 { unscaled * 10_i128.pow(more as u32) } else { divided(unscaled, 10_i128.pow(-more as u32)) }
}

/// The same, if no digit is lost.
pub fn exact(text: &str, digits: usize) -> Option<i128> {
    let (unscaled, scale) = parts(text);
    let more = scale - digits as i32;
    let found = scaled(text, digits);
    (more <= 0 || found * 10_i128.pow(more as u32) == unscaled).then_some(found)
}

/// `-1.25e3` is -125 with a scale of -1.
fn parts(text: &str) -> (i128, i32) {
    let (mantissa, exponent) = text.split_once(['e', 'E']).map_or((text, 0), |(m, e)| (m, e.parse::<i32>().unwrap()));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    (format!("{whole}{fraction}").parse().unwrap(), fraction.len() as i32 - exponent)
}

/// A quotient rounded half to even.
pub fn divided(dividend: i128, divisor: i128) -> i128 {
    let (floor, rest) = (dividend.div_euclid(divisor), dividend.rem_euclid(divisor));
    match (2 * rest).cmp(&divisor) {
        std::cmp::Ordering::Less => floor,
        std::cmp::Ordering::Greater => floor + 1,
        std::cmp::Ordering::Equal => floor + floor.rem_euclid(2),
    }
}

/// `-5` with two digits is `-0.05`.
pub fn decimal(unscaled: i128, digits: usize) -> Json {
    let sign = if unscaled < 0 { "-" } else { "" };
    let mut text = format!("{:0>1$}", unscaled.unsigned_abs(), digits + 1);
    if digits > 0 {
        text.insert(text.len() - digits, '.');
    }
    serde_json::from_str(&format!("{sign}{text}")).unwrap()
}

/// Days from 1970-01-01, by counting them.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let years: i64 = (1970..year).map(|year| 365 + i64::from(is_leap(year))).sum();
    let months: i64 = (1..month).map(|month| length(year, month)).sum();
    years + months + day - 1
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn length(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Microseconds since 1970 of an RFC 3339 text of up to microseconds, or nothing if it is none.
pub fn micros(text: &str) -> Option<i64> {
    let number =
        |from: usize, to: usize| text.get(from..to).filter(|part| part.bytes().all(|b| b.is_ascii_digit()))?.parse::<i64>().ok();
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if marks.iter().any(|(at, mark)| text.as_bytes().get(*at) != Some(mark)) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let rest = text.get(19..)?;
    let zone = rest.find(['Z', '+', '-'])?;
    let fraction = rest[..zone].strip_prefix('.').unwrap_or_default();
    let fraction: i64 = format!("{fraction:0<6}").parse().ok()?;
    let ahead = match &rest[zone..] {
        "Z" => 0,
        offset => {
            let minutes = offset.get(1..3)?.parse::<i64>().ok()? * 60 + offset.get(4..6)?.parse::<i64>().ok()?;
            if offset.starts_with('-') { -minutes } else { minutes }
        }
    };
    let in_range =
        (1..=12).contains(&month) && (1..=length(year, month)).contains(&day) && hour < 24 && minute < 60 && second < 60;
    let minutes = (days(year, month, day) * 24 + hour) * 60 + minute - ahead;
    in_range.then_some((minutes * 60 + second) * SECOND + fraction)
}

/// A time in UTC, with as many digits of a second as it needs.
pub fn time_text(us: i64) -> String {
    let (mut left, mut year, mut month) = (us.div_euclid(DAY), 1970, 1);
    while left >= 365 + i64::from(is_leap(year)) {
        left -= 365 + i64::from(is_leap(year));
        year += 1;
    }
    while left >= length(year, month) {
        left -= length(year, month);
        month += 1;
    }
    let (second, fraction) = (us.rem_euclid(DAY) / SECOND, us.rem_euclid(SECOND));
    let digits = format!(".{fraction:06}");
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    format!("{year:04}-{month:02}-{:02}T{:02}:{:02}:{:02}{digits}Z", left + 1, second / 3600, second / 60 % 60, second % 60)
}

/// The window of so many seconds, counted from 1970.
pub fn window(us: i64, seconds: i64) -> (i64, i64) {
    let size = seconds * SECOND;
    let start = us.div_euclid(size) * size;
    (start, start + size)
}

/// When Madrid's clocks change in 2026, and how many hours they are ahead of UTC from then on.
const MADRID: [(&str, i64); 3] = [("2025-10-26T01:00:00Z", 1), ("2026-03-29T01:00:00Z", 2), ("2026-10-25T01:00:00Z", 1)];

/// The local day in Madrid that a time of 2026 lies in.
pub fn madrid_day(us: i64) -> (i64, i64) {
    let ahead = |us: i64| {
        let past = MADRID.iter().rev().find(|(from, _)| us >= micros(from).unwrap());
        past.expect("a time of 2026").1 * 3600 * SECOND
    };
    let (start, end) = window(us + ahead(us), 86_400);
    // Midnight is where a clock that shows so much stands: no change is at midnight.
    let midnight = |local: i64| local - ahead(local - 2 * 3600 * SECOND);
    (midnight(start), midnight(end))
}

#[test]
fn figures_by_hand() {
    for (text, value) in [("1000.25", 10_002), ("1000.35", 10_004), ("1.25e3", 12_500), ("-20.05", -200), ("-0.04", 0), ("7", 70)]
    {
        assert_eq!(scaled(text, 1), value, "{text}");
    }
    assert_eq!((exact("12.5", 2), exact("0.005", 2), exact("1e-2", 2)), (Some(1250), None, Some(1)));
    assert_eq!([(-5, 2), (1250, 2), (7, 0)].map(|(n, digits)| decimal(n, digits).to_string()), ["-0.05", "12.50", "7"]);
    for text in ["2026-03-29T01:00:00Z", "2024-02-29T23:59:59.000001Z", "1970-01-01T00:00:00.5Z"] {
        assert_eq!(time_text(micros(text).unwrap()), text);
    }
    assert_eq!(micros("2026-03-29T03:30:00+02:00"), micros("2026-03-29T01:30:00Z"));
    assert_eq!((micros("2026-02-29T00:00:00Z"), micros("2026-03-29T03:30:00"), micros("-1")), (None, None, None));
    for (at, start, end) in [
        ("2026-03-28T22:59:59Z", "2026-03-27T23:00:00Z", "2026-03-28T23:00:00Z"),
        ("2026-03-28T23:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
        ("2026-03-29T21:59:59Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
        ("2026-03-29T22:00:00Z", "2026-03-29T22:00:00Z", "2026-03-30T22:00:00Z"),
        ("2026-10-25T22:59:59Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
    ] {
        let (from, to) = madrid_day(micros(at).unwrap());
        assert_eq!((time_text(from), time_text(to)), (start.to_owned(), end.to_owned()), "{at}");
    }
}
