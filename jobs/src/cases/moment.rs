//! Times in a case: in full, or as a time of the day on which it begins.

/// Microseconds of `2026-03-21T10:00:00Z`, or of `10:00` on the day (in UTC) of `start_us`.
pub fn parse(text: &str, start_us: i64) -> Result<i64, String> {
    const DAY_US: i64 = 86_400_000_000;
    if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
        return Ok(timestamp.as_microsecond());
    }
    let day = start_us.div_euclid(DAY_US) * DAY_US;
    match text.parse::<jiff::civil::Time>() {
        Ok(time) if text.contains(':') && !text.contains(['T', '-', '+', 'Z']) => {
            let since = time.duration_since(jiff::civil::Time::midnight());
            Ok(day + i64::try_from(since.as_micros()).expect("less than a day"))
        }
        _ => Err(format!("expected a time such as `2026-03-21T10:00:00Z`, or `10:00:30` on the day of `start`, found `{text}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_is_on_the_day_of_the_start() {
        let start = parse("2026-03-21T23:30:00Z", 0).unwrap();
        for (text, full) in [
            ("10:05", "2026-03-21T10:05:00Z"),
            ("00:00:30.25", "2026-03-21T00:00:30.25Z"),
            ("2026-03-22T01:00:00+02:00", "2026-03-21T23:00:00Z"),
        ] {
            assert_eq!(parse(text, start), parse(full, 0), "{text}");
        }
        for text in ["", "10", "25:00", "tomorrow", "2026-03-21", "10:00Z"] {
            assert!(parse(text, start).is_err(), "{text}");
        }
    }
}
