//! Messages as they are given, and topics that are asked for without being made.

use super::broker::Broker;
use caudal_connectors::kafka::missing_topics;
use caudal_connectors::kafka::producer::{Outgoing, Producer};

#[test]
fn what_is_sent_arrives_in_order_of_its_key() {
    let broker = Broker::shared();
    let topic = broker.topic("produced", 2, &[]);
    let producer = Producer::new(&broker.properties).unwrap();
    assert_eq!(producer.partitions(&topic).unwrap(), 2);
    let bodies: Vec<String> = (0..1_000).map(|n| format!("{n:04}")).collect();
    for (n, body) in bodies.iter().enumerate() {
        let key = if n % 2 == 0 { b"even".as_slice() } else { b"odd" };
        producer.send(Outgoing { topic: &topic, partition: None, key: Some(key), payload: Some(body.as_bytes()) }).unwrap();
    }
    producer.flush().unwrap();
    assert_eq!(producer.in_flight(), 0);
    let found = broker.contents(&topic);
    for (key, first) in [("even", 0), ("odd", 1)] {
        let of_key = found.iter().filter(|found| found.key.as_deref() == Some(key));
        let arrived: Vec<String> =
            of_key.map(|found| String::from_utf8_lossy(found.body.as_deref().unwrap()).into_owned()).collect();
        let sent: Vec<String> = bodies.iter().skip(first).step_by(2).cloned().collect();
        assert_eq!(arrived, sent, "{key}");
    }
}

#[test]
fn topics_that_are_missing_are_named_and_not_made() {
    let broker = Broker::shared();
    let topic = broker.topic("there", 1, &[]);
    for _ in 0..2 {
        assert_eq!(missing_topics(&broker.properties, &[&topic, "caudal-not-there"]).unwrap(), ["caudal-not-there"]);
    }
}
