//! event-pipeline, unchanged: three topics by pattern, two streams, three sinks, a restart in the middle.

use crate::broker;
use crate::cql::Cql;
use crate::expected::{Expected, Rows, assert_same, text};
use crate::running::{Running, job, state};
use crate::stored::{DeadLetters, assert_cassandra, assert_redis, clear};
use crate::{by_hand, load, readme};
use caudal_connectors::generate::Event;
use caudal_jobs::jobfile::Job;
use caudal_pipeline::engine::Status;
use caudal_pipeline::record::{Message, Verdict};
use caudal_pipeline::value::Cell;
use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};

const TOPICS: [&str; 3] = ["events.security", "events.survey", "events.migration"];
const PUBLISHED: [&str; 3] = ["analytics.window", "metrics.daily", "deadletter.validation"];
const KEYSPACE: &str = "caudal";

#[test]
fn windows_metrics_and_dead_letters_are_right_in_every_store_and_topic() {
    let job = job("event-pipeline", &[]);
    clear(&job);
    TOPICS.into_iter().chain(PUBLISHED).for_each(|topic| broker::make_topic(topic, 3));
    // Four minutes across midnight, so that one day completes.
    let events = load::events("event-pipeline", &json!({"count": 20_000, "start": "2026-03-20T23:58:20Z"}));
    let (first, second) = events.split_at(events.len() / 2);
    let state = state("event-pipeline");

    broker::produce_by_kind(first);
    let running = Running::start(&job, &state, 3);
    running.until_read(first.len() as u64 / 4);
    running.drain();
    let running = Running::start(&job, &state, 1);
    broker::produce_by_kind(second);
    running.until_read(events.len() as u64);
    // Keys are regions and partitions three, so that some partition may hold nothing: it is waited for until it is idle.
    running.until("the first day is complete", |running| {
        let watermark = running.shared().published().status.watermarks.first().copied()?;
        (watermark.to_string().as_str() > "2026-03-21T00:01:00Z" && watermark.0 > 0).then_some(())
    });
    let status = running.drain();

    let cql = Cql::shared();
    let dead_letters = DeadLetters::in_cassandra(&cql, KEYSPACE, &job);
    let expected = Expected::of(&job, &TOPICS, &dead_letters, &status.watermarks);
    expected.assert_counts(&status, &dead_letters);
    expected.assert_originals(&dead_letters);
    assert!(expected.records(Verdict::Accepted) > 15_000 && expected.records(Verdict::Duplicate) > 500);
    assert_redis(&job, &["per_window", "daily", "daily_severe"], &expected, &status.watermarks);
    assert_cassandra(&cql, KEYSPACE, &job, &expected, &status.watermarks);
    assert_published(&expected, &status);
    let rows = assert_by_hand(&job, &cql, &expected, &dead_letters, &status);
    assert_dead_letters_published(&dead_letters);
    readme::redis_lines("event-pipeline");
    readme::cql_lines("event-pipeline", &cql);
    the_readme_reads_the_windows();
    all_types_in_one_topic_give_the_same(&events, &rows, &cql);
}

/// The same events in one topic: the README's `--set` is all that changes, beside the names that keep the tests apart.
fn all_types_in_one_topic_give_the_same(events: &[Event], rows: &[by_hand::Row], cql: &Cql) {
    let (name, published) = (broker::own("one-topic"), broker::own("one-topic-published"));
    let mut set = vec![
        readme::setting("event-pipeline", "streams.events.from.kafka.topics").replace("all-events", &name),
        format!("name={name}"),
        "sinks.cold.cassandra.keyspace=caudal_tests".to_owned(),
    ];
    set.extend(
        ["per_window", "daily", "daily_severe", "dead_letters"].map(|what| format!("sinks.bus.publish.{what}.topic={published}")),
    );
    let job = job("event-pipeline", &set);
    [&name, &published].into_iter().for_each(|topic| broker::make_topic(topic, 3));
    broker::produce(&name, events);
    let running = Running::start(&job, &state("one-topic"), 2);
    running.until_read(events.len() as u64);
    running.until("the first day is complete", |running| {
        let watermark = running.shared().published().status.watermarks.first().copied()?;
        (watermark.to_string().as_str() > "2026-03-21T00:01:00Z" && watermark.0 > 0).then_some(())
    });
    running.drain();
    let watermark = by_hand::watermark(&job, "per_window");
    by_hand::assert_stores(cql, "caudal_tests", &job, &["per_window", "daily", "daily_severe"], rows, watermark);
}

/// The same by hand, with the verdicts.
fn assert_by_hand(job: &Job, cql: &Cql, expected: &Expected, dead_letters: &DeadLetters, status: &Status) -> Vec<by_hand::Row> {
    let refused = by_hand::refused(dead_letters);
    let judged = by_hand::event_pipeline::judged(&expected.messages, &refused);
    by_hand::assert_verdicts(&judged, &refused, status);
    let rows = by_hand::event_pipeline::rows(&judged.counted);
    let watermark = by_hand::watermark(job, "per_window");
    by_hand::assert_stores(cql, KEYSPACE, job, &["per_window", "daily", "daily_severe"], &rows, watermark);
    rows
}

/// The windows' and the days' topics hold every complete row, the highest version of an id being the row.
fn assert_published(expected: &Expected, status: &Status) {
    let mut found: BTreeMap<String, Rows> = BTreeMap::new();
    for (topic, views) in [(PUBLISHED[0], vec!["per_window"]), (PUBLISHED[1], vec!["daily", "daily_severe"])] {
        for (id, message) in newest(topic) {
            let parts: Vec<&str> = id.split('/').collect();
            let [job, view, group @ .., start] = &parts[..] else { panic!("{id} is job/view/group…/start") };
            assert!(*job == "event-pipeline" && views.contains(view), "{id} in {topic}");
            let mut columns: Map<String, Json> = serde_json::from_slice(message.payload.as_ref().expect("a row")).unwrap();
            let mut take = |name: &str| columns.remove(name).unwrap_or_else(|| panic!("{id} has {name}"));
            assert_eq!(take("state"), "complete", "{id}");
            assert_eq!(take("version").to_string(), header(&message, "caudal-version"), "{id}");
            let fields: &[&str] = if *view == "per_window" { &["event_type", "region"] } else { &["region"] };
            let named: Vec<String> = fields.iter().map(|field| text(&take(field))).collect();
            assert_eq!(named, group, "{id}");
            let key = message.key.as_ref().map(|key| String::from_utf8(key.clone()).unwrap()).expect("a key");
            assert_eq!(key, if group.len() == 1 { named[0].clone() } else { json!(named).to_string() }, "{id}");
            let (window_start, end) = (text(&take("window_start")), take("window_end"));
            let started = window_start.parse::<jiff::Timestamp>().unwrap().as_microsecond();
            assert_eq!(started.to_string(), **start, "{id}");
            columns.insert("end".to_owned(), end);
            found.entry((*view).to_owned()).or_default().insert(((*view).to_owned(), named, window_start), columns);
        }
    }
    for view in ["per_window", "daily", "daily_severe"] {
        let complete = expected.rows(view, expected.complete(view, status.watermarks[0]), Cell::to_json);
        assert!(!complete.is_empty(), "{view} has complete rows");
        assert_same("kafka", &complete, &found[view]);
    }
}

/// The README's console consumer prints every record of the windows' topic, with its headers.
fn the_readme_reads_the_windows() {
    let records = broker::contents(PUBLISHED[0]).into_iter().map(|(_, messages)| messages.len()).sum();
    let mut printed = BTreeSet::new();
    for line in readme::consumer_lines("event-pipeline", records) {
        let (headers, row) = line.split_once('\t').unwrap_or_else(|| panic!("headers and a value: {line}"));
        let row: Json = serde_json::from_str(row).unwrap();
        assert!(row["events"].is_u64() && headers.contains("caudal-version:"), "{line}");
        let id = headers.split(',').find_map(|header| header.strip_prefix("caudal-id:"));
        printed.insert(id.unwrap_or_else(|| panic!("{line} has an id")).to_owned());
    }
    assert_eq!(printed, newest(PUBLISHED[0]).into_keys().collect());
}

/// Each dead letter is published as it came, with its reason.
fn assert_dead_letters_published(dead_letters: &DeadLetters) {
    let published = newest(PUBLISHED[2]);
    assert_eq!(published.len(), dead_letters.0.len(), "one id for each dead letter");
    for letter in &dead_letters.0 {
        let (_, partition, offset, element) = &letter.place;
        let id = format!("event-pipeline/events/{}/{}/{offset}/{element}", partition.topic, partition.number);
        let message = published.get(&id).unwrap_or_else(|| panic!("{id} is not published"));
        assert_eq!(message.payload, letter.payload, "{id}");
        assert_eq!(header(message, "caudal-reason"), letter.reason.name(), "{id}");
        assert!(!header(message, "caudal-error").is_empty(), "{id} says what is wrong");
    }
}

/// Of each id in a topic the record with the highest version.
fn newest(topic: &str) -> BTreeMap<String, Message> {
    let mut newest: BTreeMap<String, Message> = BTreeMap::new();
    for message in broker::contents(topic).into_iter().flat_map(|(_, messages)| messages) {
        let (id, version) = (header(&message, "caudal-id"), header(&message, "caudal-version"));
        if newest.get(&id).is_none_or(|other| header(other, "caudal-version") <= version) {
            newest.insert(id, message);
        }
    }
    newest
}

fn header(message: &Message, name: &str) -> String {
    let found = message.headers.iter().find(|(header, _)| header == name);
    String::from_utf8(found.unwrap_or_else(|| panic!("a record without {name}")).1.clone()).unwrap()
}
