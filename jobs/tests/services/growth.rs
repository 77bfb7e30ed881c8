//! A topic gains partitions while the job reads it: what is written to them counts like the rest.

use crate::cql::Cql;
use crate::expected::Expected;
use crate::running::{Running, job, own_wind_farm, state};
use crate::stored::{DeadLetters, assert_cassandra, assert_redis};
use crate::{broker, load};
use caudal_connectors::generate::Event;
use serde_json::json;

#[test]
fn partitions_that_appear_during_the_run_are_read_from_their_beginning() {
    let (name, set) = own_wind_farm("growth");
    let job = job("wind-farm", &set);
    broker::make_topic(&name, 2);
    let events = load::events("wind-farm", &json!({"count": 6_000, "rate": 0.1, "start": "2026-03-20T20:00:00Z"}));
    let (before, after) = events.split_at(events.len() / 3);
    produce_by_source(&name, before, 2);
    let running = Running::start(&job, &state("growth"), 2);
    running.until_read(before.len() as u64);

    broker::grow(&name, 5);
    produce_by_source(&name, after, 5);
    running.until_read(events.len() as u64);
    let status = running.drain();
    assert_eq!(status.positions[&0].len(), 5);
    assert!(status.positions[&0].iter().all(|(_, next)| next.0 > 0), "{:?}", status.positions);

    let cql = Cql::shared();
    let dead_letters = DeadLetters::in_cassandra(&cql, "caudal_tests", &job);
    let expected = Expected::of(&job, &[&name], &dead_letters, &status.watermarks);
    expected.assert_counts(&status, &dead_letters);
    assert_redis(&job, &["per_minute", "per_hour", "last_seen"], &expected, &status.watermarks);
    assert_cassandra(&cql, "caudal_tests", &job, &expected, &status.watermarks);
}

/// A generator keeps to its partition while their number stays the same, as producers with a key do.
fn produce_by_source(topic: &str, events: &[Event], partitions: usize) {
    for partition in 0..partitions {
        let own: Vec<Event> = events.iter().filter(|event| event.source % partitions == partition).cloned().collect();
        broker::produce_to(topic, partition as i32, &own);
    }
}
