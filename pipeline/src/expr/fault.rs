//! Why a part of an expression has no value for one record: small enough to travel through every closure for nothing.

use std::ops::Range;

/// A part of the text, by bytes; texts are at most 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    start: u32,
    end: u32,
}

impl From<&Range<usize>> for Place {
    fn from(span: &Range<usize>) -> Place {
        Place { start: span.start as u32, end: span.end as u32 }
    }
}

impl Place {
    /// The same as a span of bytes.
    pub fn span(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// A fault here.
    pub fn fault(self, reason: Reason) -> Fault {
        Fault { reason, place: self }
    }
}

/// What happened, and in which part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub reason: Reason,
    pub place: Place,
}

/// Everything that can go wrong with values of the right type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Overflow,
    DivisionByZero,
    TimeOutOfRange,
    DurationOutOfRange,
    NoNumber,
    NoWholeNumber,
    NoBool,
    NoTime,
    NoDuration,
    NoZone,
    NoSuchPosition,
    TextTooLong,
    /// The caller put a value of another type into a slot.
    ForeignSlot(usize),
}

impl Fault {
    /// In the user's words, quoting the part that failed.
    pub fn explain(self, text: &str) -> String {
        const QUOTED_MAX: usize = 60;
        let part = text.get(self.place.span()).unwrap_or(text);
        match part.char_indices().nth(QUOTED_MAX) {
            Some((cut, _)) => format!("`{}…`: {}", &part[..cut], self.reason.words()),
            None => format!("`{part}`: {}", self.reason.words()),
        }
    }
}

impl Reason {
    /// What happened.
    pub fn words(self) -> String {
        let words = match self {
            Reason::Overflow => "the result is too large: without its point it must be below 2^62",
            Reason::DivisionByZero => "division by zero",
            Reason::TimeOutOfRange => "the time is outside the years 1 to 9999",
            Reason::DurationOutOfRange => "the duration is longer than 10,000 years",
            Reason::NoNumber => "the text is no number such as -12.5 or 1.5e-3",
            Reason::NoWholeNumber => "the text is no whole number",
            Reason::NoBool => "the text is neither true nor false",
            Reason::NoTime => "the text is no RFC 3339 time such as 2024-05-01T12:00:00Z",
            Reason::NoDuration => "the text is no duration such as 1h30m or -0.5s, in whole microseconds",
            Reason::NoZone => "the text is no time zone such as Europe/Madrid or +02:00",
            Reason::NoSuchPosition => "the position is outside the text",
            Reason::TextTooLong => "the text would be longer than 1 MiB",
            Reason::ForeignSlot(slot) => return format!("slot {slot} holds a value of another type than its field declares"),
        };
        words.to_string()
    }
}
