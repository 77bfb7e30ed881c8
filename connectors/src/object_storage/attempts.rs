//! What a failed request means, and whether there is another one.

use object_store::Error;
use std::time::Duration;

/// How long a call goes on trying a storage that is away.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// The first wait between two attempts; it doubles up to [`WAIT_MAX`].
const WAIT: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(5);
/// How long an answer takes at most, beside the bytes.
const ANSWER: Duration = Duration::from_secs(30);
/// How many bytes come and go in a second at least.
const BYTES_A_SECOND_MIN: u64 = 1 << 20;

/// Why an attempt did not do what was asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// No such object, or no such bucket.
    Missing,
    /// There is an object of this name, or there was while this one was put.
    Exists,
    /// The same request will be refused again; nothing was done.
    Refused(String),
    /// Another attempt may succeed; this one may have, too.
    Again(String),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        match error {
            Error::NotFound { .. } => Fault::Missing,
            Error::AlreadyExists { .. } | Error::Precondition { .. } | Error::NotModified { .. } => Fault::Exists,
            Error::PermissionDenied { .. }
            | Error::Unauthenticated { .. }
            | Error::InvalidPath { .. }
            | Error::NotSupported { .. }
            | Error::NotImplemented { .. } => Fault::Refused(words(&error)),
            _ => Fault::Again(words(&error)),
        }
    }
}

/// The error and what it was caused by, in one line, each thing once.
fn words(error: &dyn std::error::Error) -> String {
    let mut text = one_line(&error.to_string());
    let mut source = error.source();
    while let Some(cause) = source {
        let said = one_line(&cause.to_string());
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    text
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// How long a request may take that carries `bytes`.
pub(super) fn limit(bytes: u64) -> Duration {
    ANSWER + Duration::from_secs(bytes / BYTES_A_SECOND_MIN)
}

/// The waits between attempts: each twice the one before, until they come to the patience that there is.
pub(super) struct Waits {
    next: Duration,
    left: Duration,
}

impl Waits {
    pub(super) fn new(patience: Duration) -> Waits {
        Waits { next: WAIT, left: patience }
    }

    /// How long to wait before another attempt; `None` if there is none. `spent` is what the last one took.
    pub(super) fn after(&mut self, spent: Duration) -> Option<Duration> {
        self.left = self.left.checked_sub(spent + self.next)?;
        let wait = self.next;
        self.next = (wait * 2).min(WAIT_MAX);
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_follow_at_growing_distances_until_patience_ends() {
        let mut waits = Waits::new(Duration::from_secs(20));
        let waited: Vec<u128> = std::iter::from_fn(|| waits.after(Duration::ZERO)).map(|wait| wait.as_millis()).collect();
        assert_eq!(waited, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(Waits::new(PATIENCE).after(PATIENCE), None, "an attempt that took all of it was the last");
    }

    #[test]
    fn what_is_denied_is_not_tried_again_and_what_fails_is() {
        let path = || "a".to_owned();
        let source = || "connection reset".into();
        assert_eq!(Fault::from(Error::NotFound { path: path(), source: source() }), Fault::Missing);
        assert_eq!(Fault::from(Error::AlreadyExists { path: path(), source: source() }), Fault::Exists);
        assert!(matches!(Fault::from(Error::PermissionDenied { path: path(), source: source() }), Fault::Refused(_)));
        let Fault::Again(words) = Fault::from(Error::Generic { store: "S3", source: source() }) else { panic!() };
        assert_eq!(words.matches("connection reset").count(), 1, "{words}");
    }
}
