//! Requests of which it is not known what became of them: each call still says what is true.

use super::flaky::{Fate, Flaky};
use super::{address, objects};
use caudal_pipeline::ports::blobs::{BlobError, Blobs, Created};
use std::time::{Duration, Instant};

#[test]
fn a_put_that_went_through_unheard_is_new() {
    let server = address();
    let flaky = Flaky::to(&server);
    let (ours, others) = (objects(&flaky.address, "unheard"), objects(&server, "unheard"));
    for (n, fate) in [Fate::AnswerLost, Fate::PassedAndAnswered(500), Fate::PassedAndAnswered(503)].into_iter().enumerate() {
        let name = format!("gen/{n}");
        flaky.plan([fate]);
        assert_eq!(ours.create(&name, b"").unwrap(), Created::New, "{fate:?}");
        flaky.assert_all_happened();
        assert_eq!(others.create(&name, b"").unwrap(), Created::Exists, "{fate:?}");
    }
    // The question whose it is fails, too.
    flaky.plan([Fate::AnswerLost, Fate::Passed, Fate::Answered(503), Fate::Lost, Fate::Passed]);
    assert_eq!(ours.create("gen/9", b"").unwrap(), Created::New);
    flaky.assert_all_happened();
}

#[test]
fn a_put_that_did_not_go_through_is_put_again() {
    let server = address();
    let flaky = Flaky::to(&server);
    let (ours, others) = (objects(&flaky.address, "again"), objects(&server, "again"));
    // 409: S3 says so when the object was deleted while it was put; it is not there.
    for (n, fate) in [Fate::Lost, Fate::Answered(500), Fate::Answered(503), Fate::Answered(409)].into_iter().enumerate() {
        let name = format!("log/{n}");
        flaky.plan([fate]);
        assert_eq!(ours.create(&name, b"bytes").unwrap(), Created::New, "{fate:?}");
        flaky.assert_all_happened();
        assert_eq!(others.read(&name).unwrap(), b"bytes");
    }
}

/// Two processes take the same generation with the same, empty bytes, and one of them never hears what became of its put:
/// it must not take the other's for its own.
#[test]
fn anothers_equal_bytes_are_not_taken_for_ours() {
    let server = address();
    let flaky = Flaky::to(&server);
    let (ours, others) = (objects(&flaky.address, "equal"), objects(&server, "equal"));
    assert_eq!(others.create("gen/1", b"").unwrap(), Created::New);
    for fates in [vec![], vec![Fate::Lost], vec![Fate::AnswerLost], vec![Fate::PassedAndAnswered(500), Fate::Answered(409)]] {
        flaky.plan(fates.clone());
        assert_eq!(ours.create("gen/1", b"").unwrap(), Created::Exists, "{fates:?}");
        flaky.assert_all_happened();
    }
}

#[test]
fn what_only_looks_or_deletes_is_asked_again() {
    let flaky = Flaky::to(&address());
    let blobs = objects(&flaky.address, "look");
    blobs.create("log/1", b"0123456789").unwrap();
    for fate in [Fate::Lost, Fate::AnswerLost, Fate::Answered(500), Fate::Answered(429)] {
        let again = || flaky.plan([fate]);
        again();
        assert_eq!(blobs.read("log/1").unwrap(), b"0123456789", "{fate:?}");
        again();
        assert_eq!(blobs.read_range("log/1", 4, 3).unwrap(), b"456", "{fate:?}");
        again();
        assert_eq!(blobs.read_range("log/1", 10, 3).unwrap(), b"", "{fate:?}");
        again();
        assert_eq!(blobs.list("log/").unwrap(), ["log/1"], "{fate:?}");
        again();
        blobs.delete("log/2").unwrap();
        flaky.assert_all_happened();
    }
}

#[test]
fn storage_that_stays_away_ends_the_call_with_what_it_said() {
    let flaky = Flaky::to(&address());
    let blobs = objects(&flaky.address, "away").with_patience(Duration::from_secs(1));
    flaky.plan(std::iter::repeat_n(Fate::Answered(503), 1000));
    let began = Instant::now();
    let error = blobs.create("log/1", b"x").unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(matches!(&error, BlobError::Io { attempted: "write", name, .. } if name == "log/1"), "{error:?}");
    assert!(error.to_string().contains("503") && error.to_string().contains("tried for 1 s"), "{error}");

    // What is refused is not tried again.
    flaky.plan([Fate::Answered(403)]);
    let error = blobs.create("log/1", b"x").unwrap_err();
    assert!(matches!(&error, BlobError::Io { attempted: "write", .. }), "{error:?}");
    flaky.assert_all_happened();
}
