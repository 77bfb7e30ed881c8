//! Messages out as they are given, for generated load: no envelope, no ids.
//!
//! Idempotent like the sink's producer, so that a retry neither doubles nor reorders what the profile meant to be single
//! and in order. A full queue is waited for; what the brokers refuse is told at the next [`Producer::send`] or
//! [`Producer::flush`].

use super::client::topics;
use super::error::{Trouble, code, writing};
use super::properties;
use super::sink::Deliveries;
use caudal_pipeline::ports::sink::SinkError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::types::RDKafkaErrorCode as Code;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long a full queue is waited for before it is tried again.
const WAIT: Duration = Duration::from_millis(2);

/// How long the client waits for an event before it asks the brokers again.
const EVENT_WAIT: Duration = Duration::from_millis(100);

/// A message to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Where.
    pub topic: &'a str,
    /// Which partition; by the key if none.
    pub partition: Option<i32>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The body; none is a tombstone.
    pub payload: Option<&'a [u8]>,
}

/// A producer of messages.
pub struct Producer {
    producer: BaseProducer<Deliveries>,
    brokers: String,
}

impl Producer {
    /// A producer with these librdkafka properties, `bootstrap.servers` among them. Connects in the background.
    pub fn new(properties: &BTreeMap<String, String>) -> Result<Producer, SinkError> {
        let client = properties::sink(properties).map_err(|mistakes| SinkError::Stop(properties::in_words(&mistakes)))?;
        let producer = client
            .create_with_context(Deliveries::default())
            .map_err(|error| SinkError::Stop(format!("cannot make a kafka producer: {error}")))?;
        Ok(Producer { producer, brokers: properties::bootstrap(properties).to_owned() })
    }

    /// How many partitions a topic has; an error if there is no such topic, or no broker.
    pub fn partitions(&self, topic: &str) -> Result<usize, SinkError> {
        let health = &self.producer.context().watch.0;
        let found = topics(self.producer.client(), health, &self.brokers, Some(topic), || self.producer.poll(EVENT_WAIT))?;
        Ok(found.values().map(Vec::len).sum())
    }

    /// Queues a message, waiting while the queue is full.
    pub fn send(&self, message: Outgoing<'_>) -> Result<(), SinkError> {
        self.refusals(message.topic)?;
        let deliveries = self.producer.context();
        let mut record = BaseRecord::<[u8], [u8], usize>::with_opaque_to(message.topic, 0);
        (record.partition, record.key, record.payload) = (message.partition, message.key, message.payload);
        loop {
            // Counted before it is sent: the acknowledgement may be quicker than we are.
            deliveries.in_flight.fetch_add(1, Ordering::AcqRel);
            match self.producer.send(record) {
                Ok(()) => break,
                Err((error, back)) => {
                    deliveries.in_flight.fetch_sub(1, Ordering::AcqRel);
                    if code(&error) != Some(Code::QueueFull) {
                        return Err(writing(message.topic, &error).into());
                    }
                    record = back;
                    self.producer.poll(WAIT);
                }
            }
        }
        self.producer.poll(Duration::ZERO);
        Ok(())
    }

    /// Messages that no broker has acknowledged yet.
    pub fn in_flight(&self) -> usize {
        self.producer.poll(Duration::ZERO);
        self.producer.context().in_flight.load(Ordering::Acquire)
    }

    /// Waits until everything sent is acknowledged or refused.
    pub fn flush(&self) -> Result<(), SinkError> {
        while self.in_flight() > 0 {
            self.producer.poll(WAIT);
        }
        self.refusals("named in the profile")
    }

    fn refusals(&self, topic: &str) -> Result<(), SinkError> {
        let refused = self.producer.context().take_failed();
        let why = |error| match writing(topic, error) {
            Trouble::Away(text) => Trouble::Away(format!("{text}; {} messages were not taken", refused.len())),
            refused => refused,
        };
        refused.first().map_or(Ok(()), |(_, error)| Err(why(error).into()))
    }
}
