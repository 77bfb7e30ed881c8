//! Faults of the stores: Cassandra away under load, while Redis is looked at; a permission that Redis takes back.

use super::freshness;
use super::scene::{Places, Scene, asked, lasts, ms};
use crate::crash::process::readings_at;
use crate::redis;
use serde_json::json;
use std::time::{Duration, Instant};
use xtask::services::cassandra::{self, CassandraOptions};

/// Of each second of the load's event time: so that a minute's rows do not outgrow what they are in life.
const EVENTS_PER_S: u64 = 20;
/// More than a worker reads in any build.
const FLOOD: u64 = 1_000_000;
/// The load, percent of what one worker sustains.
const LOAD: u64 = 80;

/// Redis is written to as quickly as before, and Cassandra has everything in the end.
#[test]
fn cassandra_away_at_high_load() {
    let (seed, long) = asked();
    let (away, around) = (long.unwrap_or(Duration::from_secs(5)), Duration::from_secs(if long.is_some() { 30 } else { 2 }));
    let mut node = cassandra::start(&CassandraOptions::default()).unwrap();
    let places = Places { cassandra: node.address.clone(), workers: 1, ..Places::shared() };
    let mut scene = Scene::begin("cassandra-away", places, readings_at(seed, EVENTS_PER_S));
    let sustained = sustained(&mut scene, around.min(Duration::from_secs(10)));
    scene.feed.set_rate(0);
    scene.caught_up();
    scene.feed.set_rate(sustained * LOAD / 100);
    scene.caught_up();
    let watch = freshness::watch(&scene.stage, &scene.name);
    lasts(&mut scene, around);
    let since = Instant::now();
    node.process.kill();
    lasts(&mut scene, away);
    let shown = || redis::cli(&["HGET", &format!("{{{}}}:asof", scene.name), "v"]);
    let at_return = shown();
    crate::until("Redis shows more while Cassandra is away", || (shown() != at_return).then_some(()));
    let until = Instant::now();
    assert_eq!(scene.binary.metric("caudal_sink_up", r#"sink="hot""#), Some(1.0));
    assert_eq!(scene.binary.metric("caudal_sink_up", r#"sink="cold""#), Some(0.0));
    let behind = scene.binary.metric("caudal_sink_behind_bytes", r#"sink="cold""#).unwrap_or_default();
    cassandra::restart(&mut node).unwrap();
    let recovered = scene.caught_up();
    let ages = watch.stop();
    let (before, meanwhile) = (ages.between(None, since), ages.between(Some(since), until));
    scene.figure(
        "cassandra away",
        json!({"outcome": "survived", "away s": away.as_secs(), "one worker sustains records/s": sustained,
               "load records/s": sustained * LOAD / 100, "from an epoch's opening to redis, before": before.figures(),
               "from an epoch's opening to redis, while away": meanwhile.figures(),
               "MB behind at its return": (behind / 1e6) as u64, "ms to recover": ms(recovered)}),
    );
    // In seconds, beside other tests, there is too little to compare.
    if long.is_some() {
        meanwhile.assert_not_worse_than(&before, Duration::from_millis(250));
    }
    scene.end("cassandra's absence");
}

/// Records in a second, while there are always more.
fn sustained(scene: &mut Scene, time: Duration) -> u64 {
    let received = |scene: &Scene| scene.binary.metric("caudal_events_received_total", "").unwrap();
    scene.feed.set_rate(FLOOD);
    let (began, before) = (Instant::now(), received(scene));
    lasts(scene, time);
    let (received, sent) = (received(scene), scene.feed.sent() as f64);
    assert!(received < 0.95 * sent, "{received} of {sent}: it is not flooded");
    ((received - before) / began.elapsed().as_secs_f64()) as u64
}

/// The sink stops and says which right it lacks; given back, a restart writes what it missed.
#[test]
fn a_permission_that_redis_takes_back() {
    let (seed, _) = asked();
    let set = vec![format!("sinks.hot.redis.url=redis://granted:pw@{}", redis::shared())];
    let may = |rights: &[&str]| {
        let answer = redis::cli(&[&["ACL", "SETUSER", "granted"], rights].concat());
        assert_eq!(answer, ["OK"]);
    };
    may(&["on", ">pw", "~*", "&*", "+@all"]);
    let mut scene = Scene::begin("permission", Places { set, ..Places::shared() }, readings_at(seed, 1));
    may(&["-@write"]);
    scene.until("the sink is stopped", |binary| (binary.metric("caudal_sink_stopped", r#"sink="hot""#)? == 1.0).then_some(()));
    let said = scene.says(&["the store refuses", "check user and password"]);
    assert_eq!(scene.binary.metric("caudal_sink_up", r#"sink="cold""#), Some(1.0), "the other one goes on");
    scene.binary.signal();
    let status = scene.binary.ended();
    assert_eq!(status.code(), Some(0), "{}", scene.binary.printed());
    may(&["+@write"]);
    let recovered = scene.start_again();
    scene.figure(
        "permission revoked in redis",
        json!({"outcome": format!("that sink stopped: {said}"), "ms to recover": ms(recovered)}),
    );
    scene.end("the permission's return");
}
