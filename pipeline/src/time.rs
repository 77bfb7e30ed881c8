//! The three clocks of caudal, as types that do not mix.
//!
//! *Event time* is when something happened, *version* is when the epoch that noticed it was opened, and an
//! *epoch* is the engine's logical time. Only the commit log turns wall time into versions (ARCHITECTURE.md, «Epochs»).

use serde::{Deserialize, Serialize};
use std::fmt;

/// Microseconds in a second, the unit of every time here.
pub const SECOND_US: i64 = 1_000_000;

/// When something happened, in microseconds since 1970-01-01T00:00:00Z. Years 1 to 9999 fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventTime(pub i64);

impl EventTime {
    /// Before every event: the watermark of a stream that has seen nothing.
    pub const MIN: EventTime = EventTime(i64::MIN);
    /// After every event: the end of an unwindowed row.
    pub const MAX: EventTime = EventTime(i64::MAX);

    /// This time moved by `span`; the ends of time stay where they are.
    pub fn plus(self, span: Span) -> EventTime {
        if self == Self::MIN || self == Self::MAX { self } else { EventTime(self.0.saturating_add(span.0)) }
    }

    /// This time moved back by `span`; the ends of time stay where they are.
    pub fn minus(self, span: Span) -> EventTime {
        self.plus(Span(-span.0))
    }

    /// The time that is displayed as `text`; `None` if there is none.
    pub fn displayed_as(text: &str) -> Option<EventTime> {
        let time = match text {
            "-∞" => Self::MIN,
            "∞" => Self::MAX,
            _ => EventTime(match text.strip_suffix("us") {
                Some(us) => us.parse().ok()?,
                None => text.parse::<jiff::Timestamp>().ok()?.as_microsecond(),
            }),
        };
        (time.to_string() == text).then_some(time)
    }
}

impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::MIN => f.write_str("-∞"),
            Self::MAX => f.write_str("∞"),
            EventTime(us) => match jiff::Timestamp::from_microsecond(us) {
                Ok(t) => write!(f, "{t}"),
                Err(_) => write!(f, "{us}us"),
            },
        }
    }
}

/// A length of time in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span(pub i64);

impl Span {
    /// A span of whole seconds.
    pub const fn seconds(s: i64) -> Span {
        Span(s * SECOND_US)
    }
    /// A span of milliseconds.
    pub const fn millis(ms: i64) -> Span {
        Span(ms * 1_000)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(i64, &str); 6] = [
            (86_400 * SECOND_US, "d"),
            (3_600 * SECOND_US, "h"),
            (60 * SECOND_US, "m"),
            (SECOND_US, "s"),
            (1_000, "ms"),
            (1, "us"),
        ];
        let (size, unit) = UNITS.into_iter().find(|(size, _)| self.0 != 0 && self.0 % size == 0).unwrap_or((1, "us"));
        write!(f, "{}{unit}", self.0 / size)
    }
}

/// One round of the engine: the unit of binding, of effects and of checkpoints. The first is 1; 0 means «nothing yet».
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The round after this one.
    pub fn next(self) -> Epoch {
        Epoch(self.0 + 1)
    }
}

/// The version of an effect: `opened_us` of its epoch, microseconds of wall time that only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version(pub i64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_print_in_their_largest_whole_unit() {
        for (span, text) in
            [(Span::seconds(3600), "1h"), (Span::millis(1500), "1500ms"), (Span(0), "0us"), (Span::seconds(90), "90s")]
        {
            assert_eq!(span.to_string(), text);
        }
    }

    #[test]
    fn a_time_is_read_from_what_is_displayed_and_from_nothing_else() {
        let last = 253_402_300_799_999_999;
        for us in [i64::MIN, i64::MAX, i64::MIN + 1, 0, 1, -1, 1_500_000, 1_795_000_000_123_456, last, -62_135_596_800_000_000] {
            assert_eq!(EventTime::displayed_as(&EventTime(us).to_string()), Some(EventTime(us)), "{us}");
        }
        for text in
            ["", "us", "1970", "1970-01-01T01:00:00+01:00", "1970-01-01T00:00:00.0000001Z", "1970-01-01T00:00:00.0Z", "5us"]
        {
            assert_eq!(EventTime::displayed_as(text), None, "{text}");
        }
    }

    #[test]
    fn the_ends_of_time_do_not_move() {
        assert_eq!(EventTime::MIN.plus(Span::seconds(1)), EventTime::MIN);
        assert_eq!(EventTime::MAX.minus(Span::seconds(1)), EventTime::MAX);
        assert_eq!(EventTime(5).minus(Span(7)), EventTime(-2));
    }
}
