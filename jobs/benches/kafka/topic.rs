//! Topics of the benchmark: seeded events as stations would send them, keyed by station, some of them twice.

use super::Parameters;
use caudal_connectors::kafka::producer::{Outgoing, Producer};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use std::collections::BTreeMap;

/// So that every run reads the same bytes.
pub const SEED: u64 = 1;
/// Each is a group of the view, and in one partition.
pub const STATIONS: usize = 100;
/// Events for each second of event time.
const RATE: usize = 2_000;
/// Repeats among a hundred events, as of a producer that tries again.
const REPEATS: u64 = 3;
/// How far events are out of order.
const DISORDER_MS: u64 = 2_000;
/// 2025-01-01.
const START_MS: i64 = 1_735_689_600_000;
/// Events between two figures of progress.
const TOLD_EVERY: usize = 50_000;

/// A topic of this process. It is deleted in the end.
pub struct Topic {
    /// Its name.
    pub name: String,
    admin: AdminClient<DefaultClientContext>,
}

impl Topic {
    /// Makes it.
    pub fn create(parameters: &Parameters, name: &str) -> Topic {
        let mut config = ClientConfig::new();
        let admin = config.set("bootstrap.servers", &parameters.broker).create().expect("an admin client can be made");
        let topic = Topic { name: format!("caudal-bench-{}-{name}", std::process::id()), admin };
        let new = NewTopic::new(&topic.name, parameters.partitions as i32, TopicReplication::Fixed(1));
        let made = wait(topic.admin.create_topics([&new], &AdminOptions::new())).expect("the broker answers");
        assert_eq!(made, [Ok(topic.name.clone())], "the topic can be made");
        topic
    }

    /// Writes all events. Returns how many are distinct, and the bytes of a usual one.
    pub fn fill(&self, parameters: &Parameters) -> (usize, usize) {
        let producer = producer(parameters);
        // The broker may not know yet that it leads what was just made.
        producer.partitions(&self.name).expect("the topic is there");
        let (mut events, mut distinct) = (Events::new(), 0);
        let mut event = events.next(START_MS);
        for n in 0..parameters.events {
            if n == 0 || !events.is_repeat() {
                let late_ms = (events.random() % DISORDER_MS) as i64;
                event = events.next(START_MS + (n * 1000 / RATE) as i64 - late_ms);
                distinct += 1;
            }
            event.send(&producer, &self.name, parameters.partitions);
            if n % TOLD_EVERY == 0 {
                eprint!("\rproducing: {n} of {}", parameters.events);
            }
        }
        producer.flush().expect("the broker takes events");
        eprintln!("\rproducing: {0} of {0}", parameters.events);
        (distinct, event.body.len())
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        // A broker that was started for this is gone soon, with its topics.
        let _ = wait(self.admin.delete_topics(&[&self.name], &AdminOptions::new()));
    }
}

/// Events as they come: xorshift64*, seeded.
pub struct Events {
    state: u64,
    made: usize,
}

impl Events {
    pub fn new() -> Events {
        Events { state: SEED.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1, made: 0 }
    }

    fn random(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11
    }

    fn is_repeat(&mut self) -> bool {
        self.random() % 100 < REPEATS
    }

    /// A new event, of this time.
    pub fn next(&mut self, at_ms: i64) -> Event {
        self.made += 1;
        let (n, x, id) = (self.made, self.random() % 100_000, self.random() & 0xffff_ffff_ffff);
        let station = (self.random() % STATIONS as u64) as usize;
        let body = format!(
            r#"{{"id":"{n:08x}-0000-4000-8000-{id:012x}","t":{at_ms},"station":"station-{station}","reading":{}.{:03},"unit":"kW","software":"2.14.1-r3","ok":true}}"#,
            x / 1000,
            x % 1000
        );
        Event { station, body }
    }
}

/// A reading of a station.
pub struct Event {
    pub station: usize,
    body: String,
}

impl Event {
    /// To the partition of its station.
    pub fn send(&self, producer: &Producer, topic: &str, partitions: usize) {
        let (key, partition) = (format!("station-{}", self.station), (self.station % partitions) as i32);
        let payload = Some(self.body.as_bytes());
        let message = Outgoing { topic, partition: Some(partition), key: Some(key.as_bytes()), payload };
        producer.send(message).expect("the broker takes events");
    }
}

/// A producer of events.
pub fn producer(parameters: &Parameters) -> Producer {
    let properties = [("bootstrap.servers", &parameters.broker), ("compression.type", &parameters.compression)];
    let properties: BTreeMap<_, _> = properties.map(|(name, value)| (name.to_owned(), value.clone())).into();
    Producer::new(&properties).expect("the properties are right")
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made").block_on(future)
}
