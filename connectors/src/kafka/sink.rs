//! Topics of Kafka as a sink: at least once, every record named and versioned.
//!
//! A cut is written by one idempotent producer and is done when every record of it is acknowledged by all replicas in
//! sync. When it fails in part, the whole comes again: what arrived is found by reading the topics back
//! ([`super::readback`]) and is not sent twice.

use super::client::{Watch, topics};
use super::config::SinkConfig;
use super::envelope::{self, Envelope};
use super::error::{self, Trouble, code};
use super::{properties, readback};
use crate::context::SinkContext;
use caudal_pipeline::ports::sink::{Cut, SetAside, Sink, SinkError};
use caudal_pipeline::record::Partition;
use caudal_pipeline::time::Version;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::types::RDKafkaErrorCode as Code;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long the producer waits for an acknowledgement before it looks again.
const WAIT: Duration = Duration::from_millis(2);

/// How long it waits for an event before it asks the brokers again.
const EVENT_WAIT: Duration = Duration::from_millis(100);

/// Results published to topics.
pub struct KafkaSink {
    config: SinkConfig,
    context: SinkContext,
    client: ClientConfig,
    connection: Option<Connection>,
}

/// A producer, and what its topics held when it began.
struct Connection {
    producer: BaseProducer<Deliveries>,
    partitions: Vec<Partition>,
    written: Option<readback::Written>,
}

impl KafkaSink {
    /// A sink for the job that `context` describes. Refuses properties that contradict the guarantee; connects to
    /// nothing yet.
    pub fn new(config: SinkConfig, context: SinkContext) -> Result<KafkaSink, SinkError> {
        let client = properties::sink(&config.properties).map_err(|mistakes| SinkError::Stop(properties::in_words(&mistakes)))?;
        Ok(KafkaSink { config, context, client, connection: None })
    }

    /// Makes a producer and finds the partitions of every topic that is published to.
    fn connect(&self) -> Result<Connection, Trouble> {
        let deliveries = Deliveries::default();
        let health = deliveries.watch.0.clone();
        let producer: BaseProducer<Deliveries> = self
            .client
            .create_with_context(deliveries)
            .map_err(|error| Trouble::Refused(format!("cannot make a kafka producer from the sink's properties: {error}")))?;
        let brokers = properties::bootstrap(&self.config.properties);
        let names: BTreeSet<&str> = self.config.publish.iter().map(|publication| publication.topic.as_str()).collect();
        let mut partitions = Vec::new();
        for name in names {
            let listed = topics(producer.client(), &health, brokers, Some(name), || producer.poll(EVENT_WAIT))?;
            partitions.extend(listed.into_iter().flat_map(|(topic, numbers)| {
                numbers.into_iter().map(move |number| Partition { topic: topic.as_str().into(), number })
            }));
        }
        Ok(Connection { producer, partitions, written: None })
    }
}

impl Sink for KafkaSink {
    fn prepare(&mut self) -> Result<(), SinkError> {
        // Before the new producer: what the old one still holds is given up, not sent beside the new one's.
        self.connection = None;
        self.connection = Some(self.connect()?);
        Ok(())
    }

    fn write(&mut self, cut: &Cut) -> Result<Vec<SetAside>, SinkError> {
        let Some(connection) = &mut self.connection else {
            return Err(SinkError::Retry("the kafka sink is not connected".to_owned()));
        };
        let mut envelopes = envelope::envelopes(&self.context, &self.config.publish, cut);
        if connection.written.is_none() && !envelopes.is_empty() {
            let since = since(cut, &envelopes);
            let config = properties::read_back(&self.config.properties);
            let written = readback::read(&config, &self.context.job, &connection.partitions, since)?;
            tracing::info!(ids = written.len(), "read back what is published beyond the cursor");
            connection.written = Some(written);
        }
        if let Some(written) = &mut connection.written {
            if written.is_over(cut.previous_version) {
                *written = readback::Written::default();
            }
            envelopes.retain(|envelope| !written.holds(envelope.topic, &envelope.id, envelope.version));
        }
        Ok(connection.send(&envelopes, cut.version)?)
    }
}

/// From which version on the topics may hold records that were not acknowledged.
fn since(cut: &Cut, envelopes: &[Envelope<'_>]) -> Version {
    if cut.previous_version > Version(0) {
        return cut.previous_version;
    }
    envelopes.iter().map(|envelope| envelope.version).min().unwrap_or(cut.version)
}

impl Connection {
    /// Sends all and waits until each is acknowledged or has failed; what is too large for its topic is set aside.
    fn send(&self, envelopes: &[Envelope<'_>], cut: Version) -> Result<Vec<SetAside>, Trouble> {
        let all: Vec<&Envelope<'_>> = envelopes.iter().collect();
        let mut too_large = Vec::new();
        for (position, error) in self.deliver(&all, cut) {
            match code(&error) {
                Some(Code::MessageSizeTooLarge) => too_large.push(all[position]),
                _ => return Err(error::writing(all[position].topic, &error)),
            }
        }
        // A broker refuses a whole batch for its size: alone, each shows whether it is the one.
        let mut aside = Vec::new();
        for envelope in too_large {
            for (_, error) in self.deliver(&[envelope], cut) {
                match code(&error) {
                    Some(Code::MessageSizeTooLarge) => aside.push(set_aside(envelope)),
                    _ => return Err(error::writing(envelope.topic, &error)),
                }
            }
        }
        Ok(aside)
    }

    /// One attempt at each; returns those that failed, by position.
    fn deliver(&self, envelopes: &[&Envelope<'_>], cut: Version) -> Vec<(usize, KafkaError)> {
        let deliveries = self.producer.context();
        for (position, envelope) in envelopes.iter().enumerate() {
            while let Err(error) = self.enqueue(position, envelope, cut) {
                if code(&error) == Some(Code::QueueFull) {
                    self.producer.poll(WAIT);
                } else {
                    deliveries.failed(position, error);
                    break;
                }
            }
            self.producer.poll(Duration::ZERO);
        }
        while deliveries.in_flight.load(Ordering::Acquire) > 0 {
            self.producer.poll(WAIT);
        }
        deliveries.take_failed()
    }

    /// Hands one record to the producer.
    fn enqueue(&self, position: usize, envelope: &Envelope<'_>, cut: Version) -> Result<(), KafkaError> {
        let headers =
            envelope.headers.iter().fold(OwnedHeaders::new_with_capacity(envelope.headers.len()), |headers, (name, value)| {
                headers.insert(Header { key: name, value: Some(value) })
            });
        let mut record = BaseRecord::<[u8], [u8], usize>::with_opaque_to(envelope.topic, position)
            .timestamp(cut.0.div_euclid(1_000))
            .headers(headers);
        record.key = envelope.key.as_deref();
        record.payload = envelope.body.as_deref();
        // Counted before it is sent: the acknowledgement may be quicker than we are.
        let in_flight = &self.producer.context().in_flight;
        in_flight.fetch_add(1, Ordering::AcqRel);
        self.producer.send(record).map_err(|(error, _)| {
            in_flight.fetch_sub(1, Ordering::AcqRel);
            error
        })
    }
}

fn set_aside(envelope: &Envelope<'_>) -> SetAside {
    SetAside {
        row: envelope.id.clone(),
        cause: format!(
            "larger than topic {} or the producer takes ({} bytes): raise max.message.bytes of the topic and message.max.bytes \
             in the sink's kafka properties",
            envelope.topic,
            envelope.body.as_ref().map_or(0, Vec::len)
        ),
    }
}

/// The producer's context: counts what is under way and collects what failed.
#[derive(Default)]
pub(super) struct Deliveries {
    pub(super) watch: Watch,
    pub(super) in_flight: AtomicUsize,
    failed: Mutex<Vec<(usize, KafkaError)>>,
}

impl Deliveries {
    fn failed(&self, position: usize, error: KafkaError) {
        self.failed.lock().expect("no thread panics while it holds this lock").push((position, error));
    }

    pub(super) fn take_failed(&self) -> Vec<(usize, KafkaError)> {
        std::mem::take(&mut *self.failed.lock().expect("no thread panics while it holds this lock"))
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.watch.log(level, facility, message);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.watch.stats_raw(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.watch.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, position: usize) {
        if let Err((error, _)) = result {
            self.failed(position, error.clone());
        }
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}
