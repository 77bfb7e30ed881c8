//! A broker that dies under a reader and comes back.

use super::broker::{Broker, body, drain, failure, plain, reading, take, text, until};
use caudal_connectors::kafka::config::Start;
use caudal_pipeline::ports::source::SourceError;
use caudal_pipeline::record::PartitionIndex;
use xtask::services::kafka::{self, KafkaOptions};

#[test]
fn a_reader_outlives_its_broker() {
    let mut running = kafka::start(&KafkaOptions::default()).unwrap();
    let broker = Broker { properties: plain(&running.address) };
    let topic = broker.topic("outage", 1, &[]);
    broker.produce(&topic, &[body("before")]);
    let mut reader = reading(&broker.source_of(&topic, Start::Earliest));
    assert_eq!(drain(&mut *reader, 1), ["before"]);

    running.process.kill();
    match failure(&mut *reader) {
        SourceError::Retry(text) => assert!(text.starts_with(&format!("cannot reach kafka at {}", running.address)), "{text}"),
        other => panic!("{other:?}"),
    }
    assert!(!reader.position(PartitionIndex(0)).at_end, "nobody confirms the end while the broker is away");

    kafka::restart(&mut running).unwrap();
    // The end is the one that was told before: only a broker that answers makes it good again.
    until("the end is confirmed again", || {
        let _ = reader.poll(1 << 20, &mut Vec::new());
        reader.position(PartitionIndex(0)).at_end.then_some(())
    });
    broker.produce(&topic, &[body("after")]);
    assert_eq!(text(&take(&mut *reader, 1)[0].1), "after");
}
