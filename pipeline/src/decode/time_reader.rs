//! Reading a time, in any of the ways it may be written.
//!
//! | format | accepts | digits beyond a microsecond |
//! |---|---|---|
//! | `rfc3339` | see [`rfc3339`](super::rfc3339) | cut |
//! | `unix_ms`, `unix_s` | a number, or text that is one; exact, exponents included | down to the microsecond before |
//! | a pattern | text that strptime reads completely; an offset in it wins over the zone | cut |
//!
//! All are limited to years 1 to 9999 in UTC. A local time that the clocks skipped or showed twice is what the job
//! file says: refused unless it chooses. A leap second counts as the next second everywhere.

use super::decimal::{self, DecimalError, Excess};
use super::rfc3339;
use super::spec::{Fold, Gap, TimeFormat};
use jiff::civil::DateTime;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

/// A [`TimeFormat`] ready for use.
#[derive(Clone, Debug)]
pub(crate) enum TimeReader {
    Rfc3339,
    /// A number of seconds times `10^-scale`, microseconds being scale 6.
    Unix {
        scale: u8,
        decimal: u8,
    },
    Pattern {
        pattern: String,
        zone: TimeZone,
        gap: Gap,
        fold: Fold,
    },
}

impl TimeReader {
    /// Checks pattern and zone. `decimal` is the decimal point of numbers written as text.
    pub fn new(format: &TimeFormat, decimal: u8) -> Result<TimeReader, String> {
        match format {
            TimeFormat::Rfc3339 => Ok(TimeReader::Rfc3339),
            TimeFormat::UnixMs => Ok(TimeReader::Unix { scale: 3, decimal }),
            TimeFormat::UnixS => Ok(TimeReader::Unix { scale: 6, decimal }),
            TimeFormat::Pattern { pattern, zone, gap, fold } => {
                let zone = self::zone(zone)?;
                let reader = TimeReader::Pattern { pattern: pattern.clone(), zone, gap: *gap, fold: *fold };
                reader.try_out(pattern)?;
                Ok(reader)
            }
        }
    }

    /// A pattern must be able to read back what it writes: that finds unknown directives and missing dates at once.
    fn try_out(&self, pattern: &str) -> Result<(), String> {
        let sample =
            jiff::civil::date(2026, 7, 15).at(13, 14, 15, 123_456_000).to_zoned(TimeZone::UTC).map_err(|e| e.to_string())?;
        let written = jiff::fmt::strtime::format(pattern, &sample)
            .map_err(|e| format!("the pattern `{pattern}` is not a strptime pattern, as in `%Y-%m-%d %H:%M:%S`: {e}"))?;
        self.text(&written).map(drop).map_err(|e| format!("the pattern `{pattern}` does not give a date and time: {e}"))
    }

    /// Microseconds since 1970 of a JSON number's text.
    pub fn number(&self, text: &str) -> Result<i64, String> {
        match self {
            TimeReader::Unix { scale, .. } => unix(text, *scale, b'.'),
            _ => Err(format!("expected text, found the number {}", super::text::clip(text))),
        }
    }

    /// Microseconds since 1970 of a text.
    pub fn text(&self, text: &str) -> Result<i64, String> {
        match self {
            TimeReader::Rfc3339 => rfc3339::parse(text).map_err(|e| format!("the time {} {e}", super::text::quote(text))),
            TimeReader::Unix { scale, decimal } => unix(text, *scale, *decimal),
            TimeReader::Pattern { pattern, zone, gap, fold } => {
                local(text, pattern, zone, *gap, *fold).map_err(|e| format!("the time {} {e}", super::text::quote(text)))
            }
        }
    }
}

/// A zone of the bundled database, whatever is installed on the machine.
fn zone(name: &str) -> Result<TimeZone, String> {
    jiff::tz::TimeZoneDatabase::bundled()
        .get(name)
        .map_err(|_| format!("unknown time zone `{name}`: use an IANA name such as Europe/Madrid or UTC"))
}

fn unix(text: &str, scale: u8, decimal: u8) -> Result<i64, String> {
    let us = decimal::parse(text, scale, decimal, Excess::Floor).map_err(|e| match e {
        DecimalError::NotANumber => format!("the time {} is not a number", super::text::quote(text)),
        _ => format!("the time {} must lie in the years 1 to 9999", super::text::clip(text)),
    })?;
    rfc3339::in_years(us).map_err(|e| format!("the time {} {e}", super::text::clip(text)))
}

fn local(text: &str, pattern: &str, zone: &TimeZone, gap: Gap, fold: Fold) -> Result<i64, String> {
    let mismatch = |e: jiff::Error| format!("does not fit the pattern `{pattern}`: {e}");
    let parsed = BrokenDownTime::parse(pattern, text).map_err(mismatch)?;
    let us = match (parsed.timestamp(), parsed.offset()) {
        (Some(instant), _) => instant.as_nanosecond().div_euclid(1_000) as i64,
        (None, Some(offset)) => rfc3339::civil_us(parsed.to_datetime().map_err(mismatch)?, offset.seconds()),
        (None, None) => {
            let local = parsed.to_datetime().map_err(mismatch)?;
            rfc3339::civil_us(local, offset_in(zone, local, gap, fold)?.seconds())
        }
    };
    let leap = if is_second_60(text, pattern, &parsed) { leap_second(us)? } else { 0 };
    rfc3339::in_years(us + leap).map_err(str::to_owned)
}

/// The offset from UTC that makes a local time an instant. Within a gap the offset before it gives the later time.
fn offset_in(zone: &TimeZone, local: DateTime, gap: Gap, fold: Fold) -> Result<Offset, String> {
    match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } => Ok(offset),
        AmbiguousOffset::Gap { before, .. } if gap == Gap::Later => Ok(before),
        AmbiguousOffset::Gap { .. } => Err("never was: the clocks skipped it (gap: reject)".into()),
        AmbiguousOffset::Fold { before, after } => match fold {
            Fold::Earlier => Ok(before),
            Fold::Later => Ok(after),
            Fold::Reject => Err("was twice: the clocks were set back (fold: reject)".into()),
        },
    }
}

/// strptime reads second 60 as 59. It was one if changing a `60` in the text changes the second that is read.
fn is_second_60(text: &str, pattern: &str, parsed: &BrokenDownTime) -> bool {
    parsed.second() == Some(59)
        && text.match_indices("60").any(|(at, sixty)| {
            let other = format!("{}58{}", &text[..at], &text[at + sixty.len()..]);
            BrokenDownTime::parse(pattern, &other).is_ok_and(|tm| tm.second() == Some(58))
        })
}

fn leap_second(us_of_59: i64) -> Result<i64, String> {
    let day_us = 86_400 * crate::time::SECOND_US;
    if (us_of_59 + crate::time::SECOND_US).rem_euclid(day_us) < crate::time::SECOND_US {
        Ok(crate::time::SECOND_US)
    } else {
        Err("second 60 exists only as a leap second, at 23:59:60 in UTC".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(pattern: &str, zone: &str, gap: Gap, fold: Fold) -> TimeReader {
        let format = TimeFormat::Pattern { pattern: pattern.into(), zone: zone.into(), gap, fold };
        TimeReader::new(&format, b'.').unwrap()
    }

    fn at(text: &str) -> i64 {
        rfc3339::parse(text).unwrap()
    }

    #[test]
    fn unix_times_are_exact() {
        let ms = TimeReader::new(&TimeFormat::UnixMs, b'.').unwrap();
        let s = TimeReader::new(&TimeFormat::UnixS, b',').unwrap();
        for (reader, text, us) in [
            (&ms, "1774747800500", Ok(1_774_747_800_500_000)),
            (&ms, "1.7747478005e12", Ok(1_774_747_800_500_000)),
            (&ms, "-0.0001", Ok(-1)),
            (&s, "1774747800.1234567", Ok(1_774_747_800_123_456)),
            (&s, "-62135596800", Ok(rfc3339::MIN_US)),
            (&s, "-62135596801", Err(())),
            (&s, "253402300800", Err(())),
            (&s, "1e400", Err(())),
        ] {
            assert_eq!(reader.number(text).map_err(drop), us, "{text}");
        }
        assert_eq!(s.text("1,5"), Ok(1_500_000));
        assert!(s.text("1.5").is_err());
        assert!(TimeReader::Rfc3339.number("5").is_err());
    }

    #[test]
    fn local_times_in_madrid_obey_gap_and_fold() {
        const P: &str = "%Y-%m-%d %H:%M:%S";
        let reject = pattern(P, "Europe/Madrid", Gap::Reject, Fold::Reject);
        let early = pattern(P, "Europe/Madrid", Gap::Later, Fold::Earlier);
        let late = pattern(P, "Europe/Madrid", Gap::Later, Fold::Later);
        for reader in [&reject, &early, &late] {
            assert_eq!(reader.text("2026-03-29 01:59:59"), Ok(at("2026-03-29T00:59:59Z")));
            assert_eq!(reader.text("2026-03-29 03:00:00"), Ok(at("2026-03-29T01:00:00Z")));
            assert_eq!(reader.text("2026-10-25 03:00:00"), Ok(at("2026-10-25T02:00:00Z")));
        }
        assert!(reject.text("2026-03-29 02:30:00").unwrap_err().contains("clocks skipped it"));
        assert!(reject.text("2026-10-25 02:30:00").unwrap_err().contains("was twice"));
        assert_eq!(early.text("2026-03-29 02:30:00"), Ok(at("2026-03-29T03:30:00+02:00")));
        assert_eq!(early.text("2026-10-25 02:30:00"), Ok(at("2026-10-25T02:30:00+02:00")));
        assert_eq!(late.text("2026-10-25 02:30:00"), Ok(at("2026-10-25T02:30:00+01:00")));
    }

    #[test]
    fn patterns_read_offsets_fractions_and_plain_dates() {
        let (gap, fold) = (Gap::Reject, Fold::Reject);
        let offset = pattern("%d/%m/%Y %H:%M:%S%.f %z", "Europe/Madrid", gap, fold);
        assert_eq!(offset.text("31/01/2026 12:00:00.1234569 +0530"), Ok(at("2026-01-31T12:00:00.123456+05:30")));
        assert_eq!(pattern("%Y-%m-%d", "UTC", gap, fold).text("0001-01-01"), Ok(rfc3339::MIN_US));
        assert_eq!(pattern("%Y-%m-%d %H", "UTC", gap, fold).text("9999-12-31 23"), Ok(at("9999-12-31T23:00:00Z")));
        let seconds = pattern("%Y-%m-%d %H:%M:%S", "UTC", gap, fold);
        assert_eq!(seconds.text("2016-12-31 23:59:60"), Ok(at("2017-01-01T00:00:00Z")));
        assert_eq!(seconds.text("2060-12-31 23:59:59"), Ok(at("2060-12-31T23:59:59Z")));
        for text in
            ["2016-12-31 12:59:60", "2016-12-31 23:59:61", "2016-02-30 00:00:00", "2016-12-31", "2016-12-31 23:59:59 x", ""]
        {
            assert!(seconds.text(text).is_err(), "{text}");
        }
    }

    #[test]
    fn useless_patterns_and_zones_are_refused() {
        for (pattern, zone) in
            [("%H:%M:%S", "UTC"), ("%Y-%m", "UTC"), ("%Y-%m-%d %é", "UTC"), ("", "UTC"), ("%Y-%m-%d", "Europe/Sevilla")]
        {
            let format = TimeFormat::Pattern { pattern: pattern.into(), zone: zone.into(), gap: Gap::Reject, fold: Fold::Reject };
            assert!(TimeReader::new(&format, b'.').is_err(), "{pattern} {zone}");
        }
    }
}
