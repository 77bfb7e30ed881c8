//! The binary among stores that hang or are away, and beside a job that fails: it ends in time with the documented exit
//! code, says what it waits for, and misses nothing in the end.

use crate::binary::Binary;
use crate::cql::Cql;
use crate::expected::{Expected, assert_same};
use crate::running::{job, own_wind_farm, state};
use crate::stored::{DeadLetters, assert_cassandra, in_redis_at};
use crate::{broker, load, redis, until};
use caudal_connectors::embedded::read::Store;
use caudal_connectors::generate::Event;
use caudal_jobs::jobfile::Job;
use caudal_pipeline::time::EventTime;
use serde_json::json;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use xtask::services::cassandra::{self, CassandraOptions};
use xtask::services::process::signal;
use xtask::services::redis::{self as redis_server, RedisOptions};

/// A run that is asked to end does so in this time, whatever its stores do.
const END: Duration = Duration::from_secs(90);
/// And in this time if it is asked twice.
const FORCED_END: Duration = Duration::from_secs(15);

/// A store that takes connections and never says a word. No real one does that on demand.
fn silent_store() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // Ends with the tests; until then all connections stay open.
    std::thread::spawn(move || listener.incoming().collect::<Vec<_>>());
    address
}

fn readings(count: u64) -> Vec<Event> {
    load::events("wind-farm", &json!({"count": count, "rate": 0.1, "start": "2026-03-20T20:00:00Z"}))
}

/// A Redis of the test's own and a Cassandra hold every row of so many records.
fn assert_stored(job: &Job, redis_address: &str, cql: &Cql, records: u64) {
    let name = job.plan.name.as_str();
    let dead_letters = DeadLetters::in_cassandra(cql, "caudal_tests", job);
    let until = redis::cli_at(redis_address, &["HGET", &format!("{{{name}}}:asof"), "complete_until:per_minute"]);
    let watermark = EventTime(until[0].parse::<jiff::Timestamp>().unwrap().as_microsecond());
    let expected = Expected::of(job, &[name], &dead_letters, &[watermark]);
    assert_eq!(expected.received(), records);
    for view in job.plan.views.iter().filter(|view| view.name != "per_day") {
        assert_same("redis", &expected.all(&view.name), &in_redis_at(redis_address, job, view));
    }
    assert_cassandra(cql, "caudal_tests", job, &expected, &[watermark]);
}

/// Redis is stopped by the system in the middle of the run, Cassandra answers nothing from the beginning.
#[test]
fn stores_that_hang_do_not_hold_up_the_end_and_get_their_rows_at_the_next_start() {
    let server = redis_server::start(&RedisOptions::default()).unwrap();
    let (name, set) = own_wind_farm("hang");
    broker::make_topic(&name, 3);
    let hanging = |redis: &str, cassandra: &str| {
        let stores =
            [format!("sinks.hot.redis.url=redis://{redis}"), format!("sinks.cold.cassandra.contact_points=['{cassandra}']")];
        [&set[..], &stores[..]].concat()
    };
    let own_state = state("hang");
    let events = readings(3_000);
    let (first, second) = events.split_at(events.len() / 2);
    broker::produce(&name, first);
    let mut binary = Binary::start(&own_state, 2, &hanging(&server.address, &silent_store()));
    binary.until_received(first.len() as u64);
    binary.until_up("hot", true);
    signal(server.process.id(), "-STOP").unwrap();
    broker::produce(&name, second);
    binary.until_received(events.len() as u64);
    binary.signal();
    let began = Instant::now();

    // A server that hangs is told to be down; meanwhile another process is asked twice.
    binary.until_up("hot", false);
    asked_twice_it_ends_at_once();

    let status = binary.ended();
    let printed = binary.printed();
    assert!(began.elapsed() < END, "it took {:?}", began.elapsed());
    assert_eq!(status.code(), Some(0), "{printed}");
    for sink in ["hot", "cold"] {
        assert!(
            printed.lines().rev().any(|line| line.contains(&format!("sink {sink}  ")) && !line.contains(" ok ")),
            "{printed}"
        );
    }
    println!("ended after {:?}", began.elapsed());

    signal(server.process.id(), "-CONT").unwrap();
    let mut binary = Binary::start(&own_state, 1, &hanging(&server.address, &crate::cql::shared()));
    binary.until_up("hot", true);
    binary.until_up("cold", true);
    let (status, printed) = binary.terminate();
    assert_eq!(status.code(), Some(0), "{printed}");
    let job = job("wind-farm", &set);
    assert_stored(&job, &server.address, &Cql::shared(), events.len() as u64);
}

fn asked_twice_it_ends_at_once() {
    let (name, mut set) = own_wind_farm("twice-asked");
    broker::make_topic(&name, 3);
    let events = readings(500);
    broker::produce(&name, &events);
    let silent = silent_store();
    set.extend([format!("sinks.hot.redis.url=redis://{silent}"), format!("sinks.cold.cassandra.contact_points=['{silent}']")]);
    let mut binary = Binary::start(&state("twice-asked"), 1, &set);
    binary.until_received(events.len() as u64);
    binary.signal();
    binary.until("it drains", |binary| binary.get("/readyz").filter(|(code, why)| *code == 503 && why.contains("draining")));
    binary.signal();
    let began = Instant::now();
    assert_eq!(binary.ended().code(), Some(130), "{}", binary.printed());
    assert!(began.elapsed() < FORCED_END, "it took {:?}", began.elapsed());
    println!("forced to end in {:?}", began.elapsed());
}

#[test]
fn a_job_that_starts_without_its_stores_waits_for_them_and_catches_up() {
    // Stopped and made, so that both have their addresses.
    let mut server = redis_server::start(&RedisOptions::default()).unwrap();
    server.process.kill();
    let node = cassandra::prepare(&CassandraOptions::default()).unwrap();
    let (name, mut set) = own_wind_farm("without");
    set.push(format!("sinks.hot.redis.url=redis://{}", server.address));
    set.push(format!("sinks.cold.cassandra.contact_points=['{}']", node.address));
    broker::make_topic(&name, 3);
    let events = readings(3_000);
    let (first, second) = events.split_at(events.len() / 2);
    broker::produce(&name, first);
    let mut binary = Binary::start(&state("without"), 2, &set);
    binary.until_received(first.len() as u64);
    for (sink, address) in [("hot", &server.address), ("cold", &node.address)] {
        let line = binary.until("it says what it waits for", |binary| {
            let printed = binary.printed();
            printed.lines().find(|line| line.contains("trying again") && line.contains(address)).map(str::to_owned)
        });
        println!("{line}");
        assert!(line.contains(sink), "{line} names the sink");
        binary.until_up(sink, false);
    }
    // A dead store delays only itself: the process can be sent work.
    assert_eq!(binary.get("/readyz"), Some((200, "ready\n".to_owned())));

    let node = node.start().unwrap();
    redis_server::restart(&mut server).unwrap();
    binary.until_up("hot", true);
    binary.until_up("cold", true);

    server.process.kill();
    broker::produce(&name, second);
    binary.until_received(events.len() as u64);
    binary.until_up("hot", false);
    assert_eq!(binary.metric("caudal_sink_up", r#"sink="cold""#), Some(1.0), "the other one goes on");
    redis_server::restart(&mut server).unwrap();
    binary.until_up("hot", true);
    let (status, printed) = binary.terminate();
    assert_eq!(status.code(), Some(0), "{printed}");

    let job = job("wind-farm", &set);
    assert_stored(&job, &server.address, &Cql::at(&node.address, None), events.len() as u64);
}

/// A job without faults: the nth event has the index n, so that a row tells whether one is missing or counted twice.
const NUMBERED: &str = "\
caudal: 1
name: NAME
streams:
  readings:
    from: {generate: {seed: 7, rate: 500, sources: [one], template: {at: '{time}', unit: '{source}', n: '{index}'}}}
    event_time: {at: /at, format: rfc3339}
    lateness: 10s
    fields: {unit: {at: /unit, type: text}, n: {at: /n, type: integer}}
views:
  all: {from: readings, window: none, group_by: [unit], select: {events: count(), newest: max(n), total: sum(n)}}
";

/// The same from a topic that is not there.
fn without_topic() -> String {
    let topic = format!("kafka: {{topics: [nowhere], properties: {{bootstrap.servers: '{}'}}}}", broker::shared());
    let (before, rest) = NUMBERED.split_once("generate: {").unwrap();
    let (_, after) = rest.split_once("}}}").unwrap();
    format!("{before}{topic}}}{after}")
}

/// How many events the store of a job has counted, each of them once; more than `than`.
fn counted(state: &Path, name: &str, than: u64) -> Option<u64> {
    let rows = Store::open(&state.join("state").join(name).join("store.sqlite")).ok()?.all_rows("all").ok()?;
    let figure = |name: &str| rows.first().map(|row| row[name].as_u64().unwrap());
    let events = figure("events")?;
    assert_eq!((figure("newest")?, figure("total")?), (events - 1, events * (events - 1) / 2), "missing or counted twice");
    (events > than).then_some(events)
}

/// Of three jobs in one process one has no topic and one a state that is not its own.
#[test]
fn jobs_that_fail_do_not_stop_the_one_beside_them() {
    let own_state = state("beside");
    let files: Vec<PathBuf> = ["good", "topicless", "foreign"].map(|name| own_state.join(format!("{name}.yaml"))).into();
    std::fs::create_dir_all(own_state.join("state/foreign")).unwrap();
    std::fs::write(own_state.join("state/foreign/thesis.tex"), "someone's").unwrap();
    for (file, text) in files.iter().zip([
        NUMBERED.replace("NAME", "good"),
        without_topic().replace("NAME", "topicless"),
        NUMBERED.replace("NAME", "foreign"),
    ]) {
        std::fs::write(file, text).unwrap();
    }
    let mut binary = Binary::run(&own_state, 1, &files, &[]);
    // Told when it happens, not when the last job ends.
    for (name, word) in [("topicless", "nowhere"), ("foreign", "thesis.tex")] {
        let line = binary.until("the failure is told", |binary| {
            let printed = binary.printed();
            printed.lines().find(|line| line.contains(name) && line.contains(word)).map(str::to_owned)
        });
        println!("{line}");
    }
    binary.until("the other two alone are not ready", |binary| {
        let (code, reasons) = binary.get("/readyz")?;
        (code == 503 && reasons.contains("topicless: the run has ended") && !reasons.contains("good:")).then_some(())
    });
    let now = until("the good one counts", || counted(&own_state, "good", 0));
    binary.until("it goes on", |_| counted(&own_state, "good", now));
    let (status, printed) = binary.terminate();
    assert_eq!(status.code(), Some(3), "{printed}");
    for name in ["topicless: ", "foreign: "] {
        assert_eq!(printed.lines().filter(|line| line.starts_with(name)).count(), 1, "each failure is told once: {printed}");
    }
    assert!(counted(&own_state, "good", now).is_some());
}
