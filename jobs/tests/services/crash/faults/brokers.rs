//! Faults of Kafka: a broker that restarts, a leader that changes, a partition that is away by itself, a right taken back.

use super::scene::{Places, Scene, asked, lasts, ms};
use crate::broker;
use crate::crash::process::readings;
use serde_json::json;
use std::time::{Duration, Instant};
use xtask::services::kafka::{self, KafkaOptions, PASSWORD, READER};
use xtask::services::kafka_group::{self, IDS};

/// A partition at whose end nothing comes for so long is idle.
const IDLE_AFTER: Duration = Duration::from_secs(2);

#[test]
fn a_broker_that_restarts() {
    let (seed, long) = asked();
    let time = long.map_or(Duration::ZERO, |_| Duration::from_secs(30));
    let mut node = kafka::start(&KafkaOptions::default()).unwrap();
    let places = Places { brokers: node.address.clone(), ..Places::shared() };
    let mut scene = Scene::begin("restarting", places, readings(seed));
    node.process.kill();
    lasts(&mut scene, time);
    kafka::restart(&mut node).unwrap();
    let recovered = scene.caught_up();
    scene.figure("broker restarts", json!({"outcome": "survived", "ms to recover": ms(recovered)}));
    scene.end("the broker's restart");
}

#[test]
fn a_leader_that_changes() {
    let (seed, _) = asked();
    let mut brokers = kafka_group::start().unwrap();
    let addresses = kafka_group::addresses(&brokers);
    let make_topic = |brokers: &str, name: &str| broker::make_topic_at(brokers, name, 3, 3);
    let places = Places { brokers: addresses.clone(), make_topic, ..Places::shared() };
    let mut scene = Scene::begin("leaders", places, readings(seed));
    let before = broker::leaders(&addresses, &scene.name);
    let lost = IDS.iter().position(|id| *id == before[0]).unwrap();
    let began = Instant::now();
    brokers[lost].process.kill();
    // Each partition goes on: the leader of one has changed.
    let is_led = |leaders: &[i32]| leaders.iter().all(|leader| *leader != before[0] && *leader >= 0);
    let name = scene.name.clone();
    scene.until("another broker leads", |_| is_led(&broker::leaders(&addresses, &name)).then_some(()));
    scene.caught_up();
    let took = began.elapsed();
    scene.figure("leader changes", json!({"outcome": "survived", "ms to recover": ms(took)}));
    kafka::restart(&mut brokers[lost]).unwrap();
    scene.caught_up();
    scene.end("the change of leader");
}

/// Away is not idle: the watermark waits for what the partition may hold, however long it is away.
#[test]
fn a_partition_that_is_away_for_longer_than_it_may_be_idle() {
    let (seed, long) = asked();
    let away = long.unwrap_or(4 * IDLE_AFTER);
    let mut brokers = kafka_group::start().unwrap();
    let places = Places {
        brokers: kafka_group::addresses(&brokers),
        set: vec![format!("streams.readings.watermark.idle_after={}s", IDLE_AFTER.as_secs())],
        make_topic: |brokers, name| broker::make_spread_topic(brokers, name, &IDS),
        ..Places::shared()
    };
    let mut scene = Scene::begin("partition", places, readings(seed));
    brokers[2].process.kill();
    let watermark = |scene: &Scene| scene.binary.metric("caudal_watermark_timestamp_seconds", "").unwrap();
    // What was read before it went may have no epoch yet.
    let epoch = |scene: &Scene| scene.binary.metric("caudal_epoch", "").unwrap();
    let stands = |scene: &mut Scene| {
        let (before, begun) = (watermark(scene), epoch(scene));
        lasts(scene, IDLE_AFTER);
        // Nor may the whole job stand, for the disk perhaps.
        (watermark(scene) == before && epoch(scene) > begun + 2.0).then_some(before)
    };
    let before = (0..20).find_map(|_| stands(&mut scene)).expect("the watermark comes to a stand");
    lasts(&mut scene, away);
    let after = watermark(&scene);
    assert_eq!(after, before, "the watermark waits");
    kafka::restart(&mut brokers[2]).unwrap();
    let recovered = scene.caught_up();
    scene.until("the watermark goes on", |binary| {
        (binary.metric("caudal_watermark_timestamp_seconds", "")? > before).then_some(())
    });
    scene.figure(
        "partition away",
        json!({"outcome": "survived", "away s": away.as_secs(), "idle_after s": IDLE_AFTER.as_secs(),
               "watermark moved meanwhile by s": after - before, "ms to recover": ms(recovered)}),
    );
    scene.end("the partition's absence");
}

/// A login that may not read any more ends the job, which says what to grant; granted again, it goes on.
#[test]
fn a_right_to_read_that_is_taken_back() {
    let (seed, _) = asked();
    let server = kafka::start(&KafkaOptions { sasl: true, acls: true, ..KafkaOptions::default() }).unwrap();
    let reader = format!("User:{READER}");
    let acl = |what: &[&str], operation: &str| {
        let of_reader = ["--allow-principal", &reader, "--topic", "*", "--operation", operation];
        kafka::acl(&server, &[what, &of_reader].concat()).unwrap();
    };
    let granted = || ["Read", "Describe"].iter().for_each(|operation| acl(&["--add"], operation));
    granted();
    let property = |name: &str, value: &str| format!("streams.readings.from.kafka.properties.{name}={value}");
    let places = Places {
        brokers: kafka::inside(&server).unwrap(),
        set: vec![
            property("bootstrap.servers", &server.address),
            property("security.protocol", "SASL_PLAINTEXT"),
            property("sasl.mechanism", "PLAIN"),
            property("sasl.username", READER),
            property("sasl.password", PASSWORD),
        ],
        ..Places::shared()
    };
    let mut scene = Scene::begin("reader", places, readings(seed));
    acl(&["--remove", "--force"], "Read");
    let said = scene.ends(3, &["reading is not allowed", "grant READ on the topic to this login"]);
    acl(&["--remove", "--force"], "Describe");
    scene.start();
    let at_start = scene.ends(3, &["may not be seen by this login", "grant DESCRIBE and READ"]);
    granted();
    let recovered = scene.start_again();
    scene.figure(
        "permission revoked in kafka",
        json!({"outcome": format!("stopped, exit code 3: {said}"),
               "a start meanwhile": format!("exit code 3: {at_start}"), "ms to recover": ms(recovered)}),
    );
    scene.end("the right to read");
}
