//! The binary as it is deployed: killed, asked to stop, and started where it cannot work.

use crate::binary::{Binary, Launch};
use crate::cql::Cql;
use crate::expected::Expected;
use crate::running::{addresses, job, own_wind_farm, state};
use crate::stored::{DeadLetters, assert_cassandra, assert_redis, watermarks};
use crate::{broker, load, redis};
use caudal_connectors::generate::{Class, Event};
use serde_json::json;

#[test]
fn killed_three_times_and_still_right() {
    let (name, set) = own_wind_farm("killed");
    let state = state("killed");
    broker::make_topic(&name, 3);
    let events = load::events("wind-farm", &json!({"count": 9_000, "rate": 0.1, "start": "2026-03-20T20:00:00Z"}));
    let pieces: Vec<_> = events.chunks(events.len().div_ceil(3)).collect();
    let moment = || redis::field(&format!("{{{name}}}:asof"), "v");
    for (piece, workers) in pieces.iter().zip([2, 3, 1]) {
        // Killed in the middle of its work: the board has moved, and there is more to read.
        let before = moment();
        let mut binary = Binary::start(&state, workers, &set);
        let half = piece.len() / 2;
        broker::produce(&name, &piece[..half]);
        binary.until("the board moves", |_| (moment() > before).then_some(()));
        broker::produce(&name, &piece[half..]);
        let now = moment();
        binary.until("the board moves on", |_| (moment() > now).then_some(()));
        binary.kill();
    }
    let binary = Binary::start(&state, 2, &set);
    ends_right(binary, &name, &set, &events);
}

/// Reads to the end, stops, and has left in the stores what a recomputation says.
pub fn ends_right(mut binary: Binary, name: &str, set: &[String], events: &[Event]) {
    let last = events.last().expect("there are events");
    broker::produce_each(name, &last_readings(last));
    binary.until("the last reading of each partition is on the board", |_| {
        let seen = redis::hash(&format!("{{{name}}}:latest:last_seen"));
        (seen.iter().filter(|(generator, _)| generator.starts_with("gen-9")).count() == 3).then_some(())
    });
    let (status, printed) = binary.terminate();
    assert_eq!(status.code(), Some(0), "{printed}");
    // Shown if what follows fails: a sink that has stopped says so there.
    println!("{printed}");

    let job = job("wind-farm", set);
    let cql = Cql::shared();
    let dead_letters = DeadLetters::in_cassandra(&cql, "caudal_tests", &job);
    let watermarks = watermarks(&job);
    let expected = Expected::of(&job, &[name], &dead_letters, &watermarks);
    assert!(printed.contains(&format!("readings  received {}  ", expected.received())), "{}: {printed}", expected.received());
    assert_redis(&job, &["per_minute", "per_hour", "last_seen"], &expected, &watermarks);
    assert_cassandra(&cql, "caudal_tests", &job, &expected, &watermarks);
    expected.assert_originals(&dead_letters);
}

/// A reading of a generator of its own for each of three partitions: once all are seen, everything is read.
fn last_readings(last: &Event) -> Vec<Event> {
    let time = jiff::Timestamp::from_microsecond(last.event_time_us).unwrap();
    let reading = |partition: u64| {
        let body = json!({
            "event_id": format!("00000000-0000-4000-8000-00000000000{partition}"), "timestamp": time.to_string(),
            "generator_id": format!("gen-9{partition}"), "power": {"active": 1}, "status": "running",
        });
        Event { body: body.to_string().into_bytes(), index: partition, class: Class::Valid, ..last.clone() }
    };
    (0..3).map(reading).collect()
}

#[test]
fn a_broker_that_is_not_there_is_waited_for() {
    let (_, mut set) = own_wind_farm("nobody");
    // Nothing listens there.
    set.push("streams.readings.from.kafka.properties.bootstrap.servers=127.0.0.1:9".to_owned());
    let mut binary = Binary::start(&state("nobody"), 1, &set);
    let line = binary.until("it says what it waits for", |binary| {
        binary.printed().lines().find(|line| line.contains("waiting")).map(str::to_owned)
    });
    assert!(line.contains("127.0.0.1:9"), "{line}");
    let (status, printed) = binary.terminate();
    assert_eq!(status.code(), Some(0), "{printed}");
}

#[test]
fn a_topic_that_is_not_there_is_refused() {
    let (name, set) = own_wind_farm("no-topic");
    let mut binary = Binary::start(&state("no-topic"), 1, &set);
    assert_eq!(binary.ended().code(), Some(3), "{}", binary.printed());
    assert!(binary.printed().contains(&name), "{} names the topic", binary.printed());
}

/// Symptom: a process that was asked to end while it repeated what it had read, with its broker away, never did.
#[test]
fn what_cannot_be_repeated_does_not_hold_up_the_end_for_ever() {
    let (name, set) = own_wind_farm("unrepeated");
    let state = state("unrepeated");
    broker::make_topic(&name, 3);
    let events = load::events("wind-farm", &json!({"count": 3_000, "rate": 0.1, "start": "2026-03-20T20:00:00Z"}));
    broker::produce(&name, &events);
    // Without a checkpoint meanwhile, so that there is something to repeat.
    let (jobs, whole) = ([load::folder("wind-farm").join("job.yaml")], [addresses("wind-farm"), set.clone()].concat());
    let mut binary = Launch { checkpoint_every_s: 3_600, ..Launch::of(&state, 2, &jobs, &whole) }.start();
    binary.until_received(events.len() as u64);
    binary.kill();
    let away = [&set[..], &["streams.readings.from.kafka.properties.bootstrap.servers=127.0.0.1:9".to_owned()]].concat();
    let mut binary = Binary::start(&state, 1, &away);
    binary.until("it repeats", |binary| binary.printed().contains("127.0.0.1:9").then_some(()));
    let (status, printed) = binary.terminate();
    assert_eq!(status.code(), Some(1), "{printed}");
    assert!(printed.contains("what was read before this start could not be read again"), "{printed}");
    ends_right(Binary::start(&state, 3, &set), &name, &set, &events);
}

#[test]
fn a_topic_that_is_made_anew_is_not_taken_for_the_old_one() {
    let (name, set) = own_wind_farm("anew");
    let state = state("anew");
    broker::make_topic(&name, 1);
    let events = load::events("wind-farm", &json!({"count": 300, "rate": 0.1, "start": "2026-03-20T20:00:00Z"}));
    let (old, new) = events.split_at(100);
    broker::produce(&name, old);
    let mut binary = Binary::start(&state, 2, &set);
    binary.until_received(old.len() as u64);
    // An orderly end: nothing is left to be repeated.
    assert_eq!(binary.terminate().0.code(), Some(0));
    broker::delete_topic(&name);
    broker::make_topic(&name, 1);
    broker::produce(&name, new);
    let mut binary = Binary::start(&state, 1, &set);
    assert_eq!(binary.ended().code(), Some(3), "{}", binary.printed());
    let said = format!("{name}/0 is not what was read before: the message at offset {} is another one", old.len() - 1);
    assert!(binary.printed().contains(&said), "{}", binary.printed());
}

#[test]
fn a_state_folder_has_one_process() {
    let (name, set) = own_wind_farm("twice");
    broker::make_topic(&name, 1);
    let state = state("twice");
    let mut first = Binary::start(&state, 1, &set);
    first.until("it has its folder", |_| state.join("state").join(&name).join("JOB").exists().then_some(()));
    let mut second = Binary::start(&state, 1, &set);
    assert_eq!(second.ended().code(), Some(3), "{}", second.printed());
    let (said, holder) = (second.printed(), format!("process {}", first.id()));
    assert!(said.contains(&holder) && said.contains("--take-over"), "{said} names {holder}");
    assert!(first.is_running());
    let (status, printed) = first.terminate();
    assert_eq!(status.code(), Some(0), "{printed}");
}
