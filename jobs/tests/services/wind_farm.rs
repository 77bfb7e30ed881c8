//! wind-farm, unchanged: a day of readings from three partitions, a restart in the middle, everything read back.

use crate::cql::Cql;
use crate::expected::Expected;
use crate::running::{Running, job, state};
use crate::stored::{DeadLetters, assert_cassandra, assert_redis, clear};
use crate::{broker, by_hand, load, readme};
use caudal_connectors::generate::Event;
use caudal_jobs::jobfile::Job;
use caudal_pipeline::engine::Status;
use caudal_pipeline::record::{Reason, Verdict};
use serde_json::{Value as Json, json};

const TOPIC: &str = "wind.readings";
const KEYSPACE: &str = "caudal";

#[test]
fn a_day_of_readings_is_right_in_every_store() {
    let job = job("wind-farm", &[]);
    clear(&job);
    broker::make_topic(TOPIC, 3);
    // Twenty-five hours from before midnight in Madrid: hours, thousands of minutes and a local day of 23 hours complete.
    let late = json!({"share": 0.03, "by": ["15s", "6h"]});
    let changes = json!({"count": 20_000, "rate": 0.22, "start": "2026-03-28T22:30:00Z", "late": late});
    let events = with_oddities(load::events("wind-farm", &changes));
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
        Verdict::Rejected(Reason::Conflict),
    ] {
        assert!(expected.records(verdict) > 0, "the load has {verdict:?}");
    }
    let late: u64 = status.counts.values().map(|(_, late)| late).sum();
    assert!(late > 0, "late readings corrected");
    assert_redis(&job, &["per_minute", "per_hour", "last_seen"], &expected, &status.watermarks);
    assert_cassandra(&cql, KEYSPACE, &job, &expected, &status.watermarks);
    assert_by_hand(&job, &cql, &expected, &dead_letters, &status);
    the_readme_reads_them(&expected, &cql);
}

/// The same by hand, W and the verdicts too.
fn assert_by_hand(job: &Job, cql: &Cql, expected: &Expected, dead_letters: &DeadLetters, status: &Status) {
    let refused = by_hand::refused(dead_letters);
    let judged = by_hand::wind_farm::judged(&expected.messages, &refused);
    by_hand::assert_verdicts(&judged, &refused, status);
    // No partition was idle: the slowest one holds W back.
    let slowest = judged.newest.values().min().expect("partitions hold readings");
    let watermark = by_hand::watermark(job, "per_minute");
    assert_eq!(watermark, slowest - by_hand::wind_farm::MAX_DELAY_US, "W on the board");
    let rows = by_hand::wind_farm::rows(&judged.counted);
    let is_short =
        |row: &by_hand::Row| row.view == "per_day" && row.window.is_some_and(|(start, end)| end - start == 23 * 3_600_000_000);
    assert!(rows.iter().any(is_short), "a day has 23 hours");
    by_hand::assert_stores(cql, KEYSPACE, job, &["per_minute", "per_hour", "last_seen"], &rows, watermark);
}

/// Among the generated readings some by hand, each sent when it is due: at the edges of days and of the hour that Madrid
/// skips, numbers in other spellings and with digits to round, equal powers, a conflict, a turbine that no table knows,
/// and faults that the generator does not make.
fn with_oddities(mut events: Vec<Event>) -> Vec<Event> {
    let body = |number: u64, at: &str, generator: &str, power: &str| {
        format!(
            r#"{{"event_id":"00000000-0000-4000-8000-{number:012}","timestamp":"{at}","generator_id":"{generator}","power":{{"active":{power}}},"status":"running"}}"#
        )
    };
    let mut odd: Vec<(&str, &str, String)> = Vec::new();
    let edges = [
        "2026-03-28T22:59:59.999999Z",
        "2026-03-28T23:00:00Z",
        "2026-03-29T00:59:59.999999Z",
        "2026-03-29T01:00:00Z",
        "2026-03-29T21:59:59.999999Z",
        "2026-03-29T22:00:00Z",
    ];
    let powers = ["1000.25", "1000.35", "1.25e3", "-20.05", "-0.04", "19999.95", "0.05E+1"];
    for (number, (at, power)) in (1..).zip(edges.iter().flat_map(|at| powers.map(|power| (*at, power)))) {
        odd.push((at, "gen-01", body(number, at, "gen-01", power)));
    }
    let noon = "2026-03-29T12:00:00.5Z";
    // The least id of the earliest wins, whichever is read first.
    odd.push((noon, "gen-09", body(202, noon, "gen-09", "19000")));
    odd.push((noon, "gen-08", body(201, noon, "gen-08", "19000.0")));
    odd.push((noon, "gen-10", body(200, "2026-03-29T12:00:00.500001Z", "gen-10", "19e3")));
    // Once more byte for byte, and once with another power.
    odd.push((noon, "gen-08", body(201, noon, "gen-08", "19000.0")));
    odd.push((noon, "gen-08", body(201, noon, "gen-08", "19000")));
    odd.push((noon, "gen-77", body(300, "2026-03-29T14:00:00.5+02:00", "gen-77", "1")));
    for (number, generator, power) in [
        (400, "gen-1", "1"),
        (401, "gen-00001", "1"),
        (402, "gen-05", "20000.1"),
        (403, "gen-05", "-100.5"),
        (404, "gen-05", "true"),
    ] {
        odd.push((noon, "gen-05", body(number, noon, generator, power)));
    }
    odd.push((noon, "gen-05", body(405, "2026-03-29T12:00:00", "gen-05", "1")));
    odd.push((noon, "gen-05", body(406, noon, "gen-05", "1").replace("running", "resting")));
    odd.push((noon, "gen-05", body(407, noon, "gen-05", "1").replace("00000000-", "0000000-")));
    for (due, key, body) in odd {
        let due_us = due.parse::<jiff::Timestamp>().unwrap().as_microsecond();
        let at = events.partition_point(|event| event.due_us <= due_us);
        let of_its_time = events[at.min(events.len() - 1)].clone();
        events.insert(at, Event { key: key.into(), body: body.into_bytes(), due_us, ..of_its_time });
    }
    events
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
    assert_eq!(rows("last_seen").len(), 11);
}
