//! bank, unchanged: whoever reads the board in one MULTI sees money neither made nor lost, during the run and after.

use crate::cql::Cql;
use crate::expected::Expected;
use crate::running::{Running, job, state};
use crate::stored::{DeadLetters, assert_cassandra, assert_redis, clear};
use crate::{broker, by_hand, load, readme, redis};
use caudal_pipeline::record::Verdict;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const TOPIC: &str = "bank.transfers";
const KEYSPACE: &str = "caudal";

#[test]
fn credits_and_debits_are_equal_whenever_one_looks() {
    let job = job("bank", &[]);
    clear(&job);
    broker::make_topic(TOPIC, 4);
    // A quarter of an hour across midnight in Madrid, so that one day of bookings completes.
    let events = load::events("bank", &json!({"count": 16_000, "start": "2026-03-20T22:50:00Z"}));
    let (first, second) = events.split_at(events.len() / 2);
    let state = state("bank");
    let ended = Arc::new(AtomicBool::new(false));
    let reader = std::thread::spawn({
        let ended = ended.clone();
        move || look_until(&ended)
    });

    broker::produce(TOPIC, first);
    let running = Running::start(&job, &state, 1);
    running.until_read(first.len() as u64 / 2);
    running.drain();
    let running = Running::start(&job, &state, 4);
    for piece in second.chunks(500) {
        broker::produce(TOPIC, piece);
    }
    running.until_read(events.len() as u64);
    running.until("the first day is complete", |running| {
        let watermark = running.shared().published().status.watermarks.first().copied()?;
        (watermark.0 > 0 && watermark.to_string().as_str() > "2026-03-20T23:01:00Z").then_some(())
    });
    let status = running.drain();
    ended.store(true, Ordering::SeqCst);
    let versions = reader.join().unwrap();
    assert!(versions.len() > 10, "many different moments were looked at: {}", versions.len());

    let cql = Cql::shared();
    let dead_letters = DeadLetters::in_cassandra(&cql, KEYSPACE, &job);
    let expected = Expected::of(&job, &[TOPIC], &dead_letters, &status.watermarks);
    expected.assert_counts(&status, &dead_letters);
    expected.assert_originals(&dead_letters);
    assert!(expected.records(Verdict::Duplicate) > 0, "transfers were repeated");
    assert_redis(&job, &["balance", "total"], &expected, &status.watermarks);
    assert_cassandra(&cql, KEYSPACE, &job, &expected, &status.watermarks);
    for columns in expected.all("total").values() {
        assert_eq!(columns["total"].to_string(), "0.00");
    }
    let refused = by_hand::refused(&dead_letters);
    let judged = by_hand::bank::judged(&expected.messages, &refused);
    by_hand::assert_verdicts(&judged, &refused, &status);
    let rows = by_hand::bank::rows(&judged.counted);
    by_hand::assert_stores(&cql, KEYSPACE, &job, &["balance", "total"], &rows, by_hand::watermark(&job, "balance"));
    readme::redis_lines("bank");
    readme::cql_lines("bank", &cql);
}

/// Reads the board again and again, and tells the versions seen.
fn look_until(ended: &AtomicBool) -> BTreeSet<String> {
    let mut versions = BTreeSet::new();
    while !ended.load(Ordering::SeqCst) {
        let command = "MULTI\nHGETALL {bank}:latest:balance\nHGETALL {bank}:latest:total\nHGET {bank}:asof v\nEXEC\n";
        let answer = redis::commands(command);
        let answer: Vec<&str> = answer.iter().map(String::as_str).filter(|line| !matches!(*line, "OK" | "QUEUED")).collect();
        let (Some(version), pairs) = (answer.last(), answer.chunks_exact(2)) else { continue };
        assert_balanced(version, pairs.map(|pair| (pair[0], pair[1])));
        versions.insert((*version).to_owned());
    }
    versions
}

/// Balances of `account|currency` add up to zero in each currency, and to as many entries as the total says.
pub fn assert_balanced<'a>(version: &str, fields: impl Iterator<Item = (&'a str, &'a str)>) {
    let mut sums: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    let mut totals = BTreeMap::new();
    for (group, member) in fields {
        let row: Json = serde_json::from_str(member).unwrap();
        let entries = row["entries"].as_i64().unwrap();
        match group.split_once('|') {
            Some((_, currency)) => {
                let sum = sums.entry(currency).or_default();
                *sum = (sum.0 + cents(&row["balance"]), sum.1 + entries);
            }
            None => drop(totals.insert(group, (cents(&row["total"]), entries))),
        }
    }
    assert_eq!(sums, totals, "balances and totals as of {version}");
    assert!(sums.values().all(|(cents, entries)| *cents == 0 && entries % 2 == 0), "as of {version}: {sums:?}");
}

fn cents(amount: &Json) -> i64 {
    amount.to_string().replace('.', "").parse().expect("an amount has two digits after the point")
}
