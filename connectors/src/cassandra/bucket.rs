//! Which partition of a group's rows a window belongs to: enough rows to read at once, never too many.

use caudal_pipeline::plan::WindowPlan;
use caudal_pipeline::time::{EventTime, SECOND_US, Span};

/// How long a partition is, as a date format; `None` for rows that need no split.
pub fn format(window: &WindowPlan) -> Option<&'static str> {
    let step = match window {
        WindowPlan::Tumbling { size } => *size,
        WindowPlan::Sliding { every, .. } => *every,
        WindowPlan::Session { gap } => *gap,
        WindowPlan::Calendar { .. } => Span::seconds(86_400),
        WindowPlan::Unwindowed => return None,
    };
    Some(match step {
        Span(us) if us < SECOND_US => "%Y-%m-%dT%H",
        Span(us) if us < 3_600 * SECOND_US => "%Y-%m-%d",
        Span(us) if us < 86_400 * SECOND_US => "%Y-%m",
        _ => "%Y",
    })
}

/// The bucket that `start` lies in, in UTC.
pub fn of(format: &str, start: EventTime) -> String {
    match jiff::Timestamp::from_microsecond(start.0) {
        Ok(instant) => instant.to_zoned(jiff::tz::TimeZone::UTC).strftime(format).to_string(),
        // Outside the years that events may have.
        Err(_) => "never".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use caudal_pipeline::plan::CalendarUnit;

    #[test]
    fn partitions_grow_with_windows() {
        let start = EventTime(1_795_000_000 * SECOND_US);
        for (window, bucket) in [
            (WindowPlan::Tumbling { size: Span::millis(100) }, "2026-11-18T11"),
            (WindowPlan::Tumbling { size: Span::seconds(5) }, "2026-11-18"),
            (WindowPlan::Tumbling { size: Span::seconds(3600) }, "2026-11"),
            (WindowPlan::Tumbling { size: Span::seconds(86_400) }, "2026"),
            (WindowPlan::Sliding { size: Span::seconds(86_400), every: Span::seconds(60) }, "2026-11-18"),
            (WindowPlan::Session { gap: Span::seconds(30) }, "2026-11-18"),
            (WindowPlan::Calendar { unit: CalendarUnit::Day, zone: "Europe/Madrid".to_owned() }, "2026"),
        ] {
            assert_eq!(of(format(&window).unwrap(), start), bucket, "{window:?}");
        }
        assert_eq!(format(&WindowPlan::Unwindowed), None);
        assert_eq!(of("%Y-%m-%d", EventTime(-62_135_596_800 * SECOND_US)), "0001-01-01");
    }
}
