//! wind-farm, unchanged: a day of readings from three partitions, a restart in the middle, everything read back.

use crate::cql::Cql;
use crate::expected::Expected;
use crate::running::{Running, job, state};
use crate::stored::{DeadLetters, assert_cassandra, assert_redis, clear};
use crate::{broker, load, readme};
use caudal_pipeline::record::{Reason, Verdict};
use serde_json::{Value as Json, json};

const TOPIC: &str = "wind.readings";
const KEYSPACE: &str = "caudal";

#[test]
fn a_day_of_readings_is_right_in_every_store() {
    let job = job("wind-farm", &[]);
    clear(&job);
    broker::make_topic(TOPIC, 3);
    // Twenty-five hours across midnight in Madrid: hours and a local day complete, thousands of minutes do.
    let late = json!({"share": 0.03, "by": ["15s", "6h"]});
    let events =
        load::events("wind-farm", &json!({"count": 20_000, "rate": 0.22, "start": "2026-03-20T22:30:00Z", "late": late}));
    let (first, second) = events.split_at(events.len() / 2);
    let state = state("wind-farm");

    // Stopped while there is more to read, and more to come.
    broker::produce(TOPIC, first);
    let running = Running::start(&job, &state, 2);
    running.until_read(first.len() as u64 / 4);
    let producer = std::thread::spawn({
        let second = second.to_vec();
        move || broker::produce(TOPIC, &second)
    });
    running.drain();
    let running = Running::start(&job, &state, 3);
    producer.join().unwrap();
    running.until_read(events.len() as u64);
    let status = running.drain();

    let cql = Cql::shared();
    let dead_letters = DeadLetters::in_cassandra(&cql, KEYSPACE, &job);
    let expected = Expected::of(&job, &[TOPIC], &dead_letters, &status.watermarks);
    expected.assert_counts(&status, &dead_letters);
    expected.assert_originals(&dead_letters);
    for verdict in [
        Verdict::Accepted,
        Verdict::Filtered,
        Verdict::Duplicate,
        Verdict::Rejected(Reason::Malformed),
        Verdict::Rejected(Reason::Schema),
        Verdict::Rejected(Reason::TooLate),
    ] {
        assert!(expected.records(verdict) > 0, "the load has {verdict:?}");
    }
    let late: u64 = status.counts.values().map(|(_, late)| late).sum();
    assert!(late > 0, "late readings corrected");
    assert_redis(&job, &["per_minute", "per_hour", "last_seen"], &expected, &status.watermarks);
    assert_cassandra(&cql, KEYSPACE, &job, &expected, &status.watermarks);
    the_readme_reads_them(&expected, &cql);
}

/// The README's lines answer with rows of ours: their shape is what the README says of them.
fn the_readme_reads_them(expected: &Expected, cql: &Cql) {
    let answers = readme::redis_lines("wind-farm");
    let printed = |part: &str| &answers.iter().find(|(line, _)| line.contains(part)).expect("a line of the README").1;
    let member = |text: &str| serde_json::from_str::<Json>(text).unwrap();
    let newest = member(&printed("HGET '{wind-farm}:latest:per_minute' north")[0]);
    let minutes = printed("ZREVRANGE 'wind-farm:per_minute:{north}' 0 4");
    assert_eq!((minutes.len(), member(&minutes[0])), (5, newest.clone()), "the newest is the first of the last five");
    let north: Vec<_> = expected.all("per_minute").into_iter().filter(|(key, _)| key.1 == ["north"]).collect();
    let ((_, _, start), columns) = north.last().expect("the north has minutes");
    assert_eq!((&newest["start"], &newest["max_generator"]), (&Json::from(start.as_str()), &columns["max_generator"]));
    assert_eq!(printed("latest:last_seen").len(), 2 * expected.all("last_seen").len());

    let answers = readme::cql_lines("wind-farm", cql);
    let rows = |part: &str| &answers.iter().find(|(line, _)| line.contains(part)).expect("a line of the README").1;
    assert_eq!(rows("per_minute").len(), 5);
    assert!(rows("per_minute")[0]["window_start"].as_str() > rows("per_minute")[1]["window_start"].as_str(), "newest first");
    assert_eq!(rows("last_seen").len(), 10);
}
