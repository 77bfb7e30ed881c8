//! A store that is away, and a store that refuses one table: each delays only itself, and misses nothing in the end.
//!
//! Both happen to a Cassandra of the test's own.

use crate::cql::Cql;
use crate::expected::Expected;
use crate::running::{Running, job, own_wind_farm, state};
use crate::stored::{DeadLetters, assert_cassandra, assert_redis};
use crate::{broker, load, redis};
use caudal_jobs::run::SinkState;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use xtask::services::cassandra::{self, CassandraOptions, SUPERUSER};

/// How long the store is away.
const AWAY: Duration = Duration::from_secs(60);

#[test]
fn redis_moves_on_while_cassandra_is_away() {
    let mut node = cassandra::start(&CassandraOptions::default()).unwrap();
    let (name, mut set) = own_wind_farm("away");
    set.push(format!("sinks.cold.cassandra.contact_points=['{}']", node.address));
    let job = job("wind-farm", &set);
    broker::make_topic(&name, 3);
    let events = load::events("wind-farm", &json!({"count": 9_000, "rate": 0.1, "start": "2026-03-20T20:00:00Z"}));
    let pieces: Vec<_> = events.chunks(events.len().div_ceil(3)).collect();
    let running = Running::start(&job, &state("away"), 2);
    broker::produce(&name, pieces[0]);
    running.until_read(pieces[0].len() as u64);
    running.until("cassandra is written to", |running| (running.shared().sinks().get("cold")?.rows > 0).then_some(()));

    node.process.kill();
    let (since, mut moments) = (Instant::now(), BTreeSet::new());
    for event in pieces[1].chunks(pieces[1].len() / 24) {
        broker::produce(&name, event);
        std::thread::park_timeout(AWAY / 24);
        moments.insert(redis::field(&format!("{{{name}}}:asof"), "v"));
    }
    assert!(since.elapsed() >= AWAY / 2 && moments.len() > 10, "the board showed {} moments", moments.len());
    let SinkState::Retrying(why) = running.shared().sinks()["cold"].state.clone() else {
        panic!("cassandra cannot be written to")
    };
    assert!(why.contains(&node.address), "{why} names the store");
    let newest_hour = redis::field(&format!("{{{name}}}:latest:per_hour"), "north");

    cassandra::restart(&mut node).unwrap();
    broker::produce(&name, pieces[2]);
    running.until_read(events.len() as u64);
    running.until("cassandra is written to again", |running| {
        (running.shared().sinks()["cold"].state == SinkState::Ok).then_some(())
    });
    let status = running.drain();
    assert_ne!(newest_hour, redis::field(&format!("{{{name}}}:latest:per_hour"), "north"));
    let cql = Cql::at(&node.address, None);
    let dead_letters = DeadLetters::in_cassandra(&cql, "caudal_tests", &job);
    let expected = Expected::of(&job, &[&name], &dead_letters, &status.watermarks);
    expected.assert_counts(&status, &dead_letters);
    assert_redis(&job, &["per_minute", "per_hour", "last_seen"], &expected, &status.watermarks);
    assert_cassandra(&cql, "caudal_tests", &job, &expected, &status.watermarks);
}

#[test]
fn a_table_that_may_not_be_modified_stops_that_sink_alone() {
    let node = cassandra::start(&CassandraOptions { login: true, ..CassandraOptions::default() }).unwrap();
    let (name, mut set) = own_wind_farm("revoked");
    set.extend([
        format!("sinks.cold.cassandra.contact_points=['{}']", node.address),
        "sinks.cold.cassandra.username=job".to_owned(),
        "sinks.cold.cassandra.password=pw".to_owned(),
    ]);
    let job = job("wind-farm", &set);
    broker::make_topic(&name, 3);
    let events = load::events("wind-farm", &json!({"count": 6_000, "rate": 0.05, "start": "2026-03-20T20:00:00Z"}));
    let (first, second) = events.split_at(events.len() / 2);
    let admin = Cql::at(&node.address, Some(SUPERUSER));
    admin.run("CREATE ROLE job WITH PASSWORD = 'pw' AND LOGIN = true");
    for grant in ["CREATE ON ALL KEYSPACES", "SELECT ON ALL KEYSPACES", "MODIFY ON ALL KEYSPACES"] {
        admin.run(&format!("GRANT {grant} TO job"));
    }
    let state = state("revoked");
    let running = Running::start(&job, &state, 2);
    broker::produce(&name, first);
    running.until_read(first.len() as u64);
    running.until("cassandra is written to", |running| (running.shared().sinks().get("cold")?.rows > 0).then_some(()));

    // Whoever made a table may do everything with it; what is left is taken table by table.
    let tables = admin.rows("SELECT table_name FROM system_schema.tables WHERE keyspace_name = 'caudal_tests'");
    let tables: Vec<String> = tables.iter().map(|row| row["table_name"].as_str().unwrap().to_owned()).collect();
    let minutes = format!("{}_per_minute", name.replace('-', "_"));
    admin.run("REVOKE MODIFY ON ALL KEYSPACES FROM job");
    for table in &tables {
        admin.run(&format!("GRANT MODIFY ON caudal_tests.{table} TO job"));
    }
    admin.run(&format!("REVOKE ALL PERMISSIONS ON caudal_tests.{minutes} FROM job"));
    admin.run("REVOKE ALL PERMISSIONS ON KEYSPACE caudal_tests FROM job");
    broker::produce(&name, second);
    let why = running.until("the sink is stopped", |running| match running.shared().sinks()["cold"].state.clone() {
        SinkState::Stopped(why) => Some(why),
        _ => None,
    });
    assert!(why.contains(&minutes) && why.contains("GRANT MODIFY"), "{why}");
    running.until_read(events.len() as u64);
    let began = Instant::now();
    let status = running.drain_with_stopped("cold");
    assert!(began.elapsed() < Duration::from_secs(30), "a sink that is stopped is not waited for");

    // What it missed lies in the ledger: granted again, a restart writes it.
    admin.run(&format!("GRANT MODIFY ON caudal_tests.{minutes} TO job"));
    let began = Instant::now();
    let running = Running::start(&job, &state, 3);
    running.until("cassandra is written to", |running| (running.shared().sinks().get("cold")?.rows > 0).then_some(()));
    let recovered = began.elapsed().as_millis() as u64;
    let again = running.drain();
    assert_eq!(again.counts, status.counts);
    let dead_letters = DeadLetters::in_cassandra(&admin, "caudal_tests", &job);
    let expected = Expected::of(&job, &[&name], &dead_letters, &again.watermarks);
    expected.assert_counts(&again, &dead_letters);
    assert_redis(&job, &["per_minute", "per_hour", "last_seen"], &expected, &again.watermarks);
    assert_cassandra(&admin, "caudal_tests", &job, &expected, &again.watermarks);
    let figures =
        json!({"outcome": format!("that sink stopped: {}", why.replace(&node.address, "NODE")), "ms to recover": recovered});
    println!("figures {}", json!({"permission revoked in cassandra": figures}));
}
