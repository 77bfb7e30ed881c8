//! What a sink finds in its topics after a restart, so as not to write it again.
//!
//! The cursor of a sink moves once a cut is acknowledged. What lies beyond it in the topics was written by a cut that
//! did not live to see that, in part or whole, and comes again with the same ids and versions, perhaps cut elsewhere.
//!
//! ```text
//! topic  ──────────────┬───────────────┬─────────┐ end
//!        acknowledged  │ SLACK         │ beyond  │
//!                      └ read from here, by time ┘
//! ```
//!
//! Each record is sent with its cut's version as its time, and a cut that was not acknowledged is younger than the
//! last that was: so all that matters lies at or after the first record that is not older than that version. Topics
//! that stamp records themselves do so by the broker's clock, for which there is some slack; reading too much is
//! harmless. Before a first acknowledgement the oldest version about to be written stands in for it.

use super::client::Watch;
use super::config::Start;
use super::envelope::{ID, VERSION};
use super::error::{Trouble, code};
use super::offsets;
use caudal_pipeline::record::{Offset, Partition};
use caudal_pipeline::time::Version;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{ClientConfig, Offset as KafkaOffset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How far a broker's clock may be behind ours, microseconds.
const SLACK_US: i64 = 300_000_000;

/// How long one wait for the brokers may take.
const WAIT: Duration = Duration::from_millis(10);

/// How long reading back may bring nothing before it is tried again later.
const SILENCE_LIMIT: Duration = Duration::from_secs(15);

/// What was found: the highest version of every id, by topic.
#[derive(Debug, Default)]
pub(super) struct Written {
    versions: BTreeMap<(String, String), Version>,
    /// The youngest record that was found, by its time in the topic.
    youngest_us: i64,
}

impl Written {
    /// Whether `topic` holds this version of `id`, or a later one.
    pub(super) fn holds(&self, topic: &str, id: &str, version: Version) -> bool {
        !self.versions.is_empty() && self.versions.get(&(topic.to_owned(), id.to_owned())).is_some_and(|found| *found >= version)
    }

    /// Whether a cut that begins here comes after everything that was found, which can then be forgotten.
    pub(super) fn is_over(&self, previous: Version) -> bool {
        previous.0 > self.youngest_us.saturating_add(SLACK_US)
    }

    /// How many ids are remembered.
    pub(super) fn len(&self) -> usize {
        self.versions.len()
    }

    fn note(&mut self, topic: &str, id: String, version: Version, time_ms: Option<i64>) {
        let found = self.versions.entry((topic.to_owned(), id)).or_insert(version);
        *found = version.max(*found);
        self.youngest_us = self.youngest_us.max(time_ms.unwrap_or_default().saturating_mul(1_000)).max(version.0);
    }
}

/// Reads all that `job` wrote to `partitions` since `since`, up to their ends now.
pub(super) fn read(config: &ClientConfig, job: &str, partitions: &[Partition], since: Version) -> Result<Written, Trouble> {
    let consumer: BaseConsumer<Watch> = config.create_with_context(Watch::default()).map_err(|error| away(&error.to_string()))?;
    let consumer = Arc::new(consumer);
    let mut tails = assign(&consumer, partitions, since)?;
    let mut written = Written::default();
    let prefix = format!("{job}/");
    let mut heard = Instant::now();
    while !tails.is_empty() {
        let mut brought = 0;
        for tail in &mut tails {
            brought += tail.read(&prefix, &mut written)?;
        }
        tails.retain(|tail| !tail.done);
        if brought > 0 {
            heard = Instant::now();
        } else if heard.elapsed() > SILENCE_LIMIT {
            return Err(away("the brokers send nothing"));
        } else {
            // The client's own events; nothing else comes this way.
            let _ = consumer.poll(WAIT);
        }
    }
    Ok(written)
}

/// The end of one partition, while it is read.
struct Tail {
    topic: String,
    end: Offset,
    queue: PartitionQueue<Watch>,
    done: bool,
}

impl Tail {
    /// Takes what is ready, and tells how much that was.
    fn read(&mut self, prefix: &str, written: &mut Written) -> Result<usize, Trouble> {
        let mut brought = 0;
        while !self.done {
            match self.queue.poll(Duration::ZERO) {
                None => break,
                Some(Ok(message)) => {
                    if let Some((id, version)) = named(&message, prefix) {
                        written.note(&self.topic, id, version, message.timestamp().to_millis());
                    }
                    self.done = u64::try_from(message.offset() + 1).is_ok_and(|next| next >= self.end.0);
                }
                // The last offsets may be markers of transactions, which are never delivered.
                Some(Err(error)) if code(&error) == Some(Code::PartitionEOF) => self.done = true,
                Some(Err(error)) => return Err(away(&format!("topic {}: {error}", self.topic))),
            }
            brought += 1;
        }
        Ok(brought)
    }
}

/// Begins reading at the first record that can matter; what is empty from there on is not read at all.
fn assign(consumer: &Arc<BaseConsumer<Watch>>, partitions: &[Partition], since: Version) -> Result<Vec<Tail>, Trouble> {
    let begin = offsets::asked(Start::Timestamp(since.0.saturating_sub(SLACK_US)), false);
    let starts = offsets::starts(consumer, partitions, begin)?;
    let ends = offsets::starts(consumer, partitions, KafkaOffset::End)?;
    let mut list = TopicPartitionList::new();
    let mut tails = Vec::new();
    for ((partition, start), end) in partitions.iter().zip(starts).zip(ends).filter(|((_, start), end)| start < end) {
        let start = KafkaOffset::Offset(i64::try_from(start.0).expect("it came from the broker as one"));
        list.add_partition_offset(&partition.topic, partition.number, start).map_err(|error| away(&error.to_string()))?;
        let queue = consumer.split_partition_queue(&partition.topic, partition.number);
        let queue = queue.ok_or_else(|| away(&format!("topic {} has no queue", partition.topic)))?;
        tails.push(Tail { topic: partition.topic.to_string(), end, queue, done: false });
    }
    consumer.assign(&list).map_err(|error| away(&error.to_string()))?;
    Ok(tails)
}

/// The id and version in a record's headers, if this job wrote it.
fn named(message: &impl Message, prefix: &str) -> Option<(String, Version)> {
    let headers = message.headers()?;
    let text = |name: &str| {
        let header = headers.iter().filter(|header| header.key == name).last()?;
        std::str::from_utf8(header.value?).ok()
    };
    let id = text(ID).filter(|id| id.starts_with(prefix))?;
    Some((id.to_owned(), Version(text(VERSION)?.parse().ok()?)))
}

fn away(what: &str) -> Trouble {
    Trouble::Away(format!("cannot read back what was published: {what}"))
}
