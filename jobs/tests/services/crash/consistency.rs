//! The row `consistency`: bank, unchanged. Whoever reads balances and totals in one MULTI finds money neither made nor
//! lost, whatever happens to the process meanwhile.

mod failover;

use super::feed::Feed;
use super::lives::{Lives, Stage, Subject};
use super::metrics::Counts;
use super::process::{add, looks};
use super::trials::Trials;
use super::{cassandra, metrics, redis};
use crate::bank::assert_balanced;
use crate::cql::Cql;
use crate::expected::Expected;
use crate::running::{job, state};
use crate::stored::{DeadLetters, assert_cassandra, assert_redis, watermarks};
use crate::{broker, by_hand, load};
use caudal_connectors::generate::Event;
use caudal_jobs::jobfile::Job;
use caudal_pipeline::record::Verdict;
use serde_json::json;

const KEYSPACE: &str = "caudal_tests";
const HOT: &[&str] = &["balance", "total"];

#[test]
fn credits_and_debits_are_equal_whenever_one_looks_while_processes_die() {
    let trials = Trials::asked();
    let name = broker::own("dying-bank");
    let set = vec![
        format!("name={name}"),
        format!("streams.entries.from.kafka.topics=[{name}]"),
        format!("sinks.cold.cassandra.keyspace={KEYSPACE}"),
    ];
    let job = job("bank", &set);
    // A branch in each, so that no partition without a booking holds the watermark back.
    broker::make_topic(&name, 2);
    let stage = Stage::new();
    let hot = redis::watch(&stage, &job, |board| {
        let rows = board.views.values().flatten().map(|(group, member)| (group.as_str(), member.as_str()));
        assert_balanced(&board.version.to_string(), rows);
    });
    let (cold, scrapes) = (cassandra::watch(&stage, &job, KEYSPACE), metrics::watch(&stage));
    let feed = Feed::start(&name, transfers(trials.seed));
    let (mut binary, told) = Lives::new(Subject { job: "bank", set, state: state("dying-bank") }, trials, &stage).run();
    metrics::until_watermark(&mut binary, "2026-03-20T23:01:00Z");
    feed.stop();
    let entries = entries(&name);
    binary.until_received(entries);
    let scrape = binary.get("/metrics").expect("the port is open").1;
    let (status, printed) = binary.terminate();
    assert_eq!(status.code(), Some(0), "{printed}");
    let (hot, cold, scrapes) = (hot.stop(), cold.stop(), scrapes.stop());

    let rows = compared(&job, &name, entries, &Counts::of(&scrape).expect("it has counts"));
    let mut figures = told.figures();
    add(&mut figures, json!({"entries": entries, "rows compared": rows, "scrapes that add up": scrapes}));
    add(&mut figures, looks("boards and rows in redis", &hot));
    add(&mut figures, looks("cassandra", &cold));
    add(&mut figures, json!({"boards on which credits and debits differ": 0, "lost": 0, "duplicated": 0, "divergent": 0}));
    println!("figures {figures}");
    assert!(hot.looks() > 20 && scrapes > 20, "too tame");
}

/// A second of event time each, from ten minutes before midnight in Madrid, so that a day of bookings completes.
fn transfers(seed: u64) -> impl Iterator<Item = Event> + Send {
    load::generator("bank", &json!({"seed": seed, "rate": 1, "start": "2026-03-20T22:50:00Z"})).events()
}

/// Records in the topic: two of each transfer, one of a message that holds no JSON.
fn entries(topic: &str) -> u64 {
    let messages = broker::contents(topic).into_iter().flat_map(|(_, messages)| messages);
    let records = |payload: Vec<u8>| serde_json::from_slice::<serde_json::Value>(&payload).map_or(1, |_| 2);
    messages.map(|message| records(message.payload.expect("no message without a body"))).sum()
}

/// Everything in the stores is what the topic comes to, with the engine's parts and by hand; how many rows that are.
fn compared(job: &Job, topic: &str, entries: u64, counts: &Counts) -> usize {
    let cql = Cql::shared();
    let dead_letters = DeadLetters::in_cassandra(&cql, KEYSPACE, job);
    let watermarks = watermarks(job);
    let expected = Expected::of(job, &[topic], &dead_letters, &watermarks);
    assert_redis(job, HOT, &expected, &watermarks);
    assert_cassandra(&cql, KEYSPACE, job, &expected, &watermarks);
    let refused = by_hand::refused(&dead_letters);
    let judged = by_hand::bank::judged(&expected.messages, &refused);
    counts.assert_they_add_up();
    assert_eq!((counts.received, counts.rejected), (entries, refused.len() as u64), "received, and dead letters");
    by_hand::assert_counts(&judged, &refused, |verdict| match verdict {
        Verdict::Accepted => counts.accepted,
        Verdict::Filtered => counts.filtered,
        _ => counts.duplicate,
    });
    let rows = by_hand::bank::rows(&judged.counted);
    by_hand::assert_stores(&cql, KEYSPACE, job, HOT, &rows, by_hand::watermark(job, "balance"));
    rows.len()
}
