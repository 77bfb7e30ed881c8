//! One worker's consumer: partitions assigned by hand, each with a queue of its own, polled without waiting.
//!
//! ```text
//! broker ──fetch thread──▶ queue of partition 0 ─┐
//!                          queue of partition 1 ─┼─ poll, in turns ─▶ messages, ends, errors
//! client events ─────────▶ the consumer's queue ─┘
//! ```
//!
//! A queue for each partition, because an end or an error of the client names no topic: it belongs to the partition
//! from whose queue it comes. A queue is split off *before* its partition is assigned, so that nothing of it can slip
//! into the consumer's own. A paused partition is simply not polled: its queue fills to its bound and fetching stops,
//! with nothing thrown away and fetched again.

use super::client::{Health, Watch};
use super::error::{self, Trouble, code};
use caudal_pipeline::ports::source::{Position, Reader, SourceError};
use caudal_pipeline::record::{Message, Offset, Partition, PartitionIndex};
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message as _};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Messages taken from one partition before the next has its turn.
const TURN: usize = 256;

/// How long a side thread may wait for a topic's new partitions.
const REFRESH_LIMIT: Duration = Duration::from_secs(5);

/// Headers, shared between messages that carry the same.
type SharedHeaders = Arc<[(String, Vec<u8>)]>;

/// A worker's view of its partitions of one stream.
pub(super) struct KafkaReader {
    /// Before the consumer: a queue must be gone when its consumer is closed.
    assigned: Vec<Assigned>,
    /// Partitions' places in `assigned`.
    places: BTreeMap<PartitionIndex, usize>,
    /// Whose turn it is.
    turn: usize,
    /// Found while messages were handed over; told by the next poll.
    trouble: Option<Trouble>,
    headers: SharedHeaders,
    health: Arc<Health>,
    brokers: String,
    consumer: Arc<BaseConsumer<Watch>>,
}

/// One partition that is read.
struct Assigned {
    index: PartitionIndex,
    partition: Partition,
    queue: PartitionQueue<Watch>,
    next: u64,
    /// What is read first was read before, and may be gone meanwhile.
    looking_back: bool,
    ended: bool,
    paused: bool,
}

impl KafkaReader {
    /// A reader with nothing assigned.
    pub(super) fn new(health: Arc<Health>, consumer: BaseConsumer<Watch>, brokers: String) -> KafkaReader {
        KafkaReader {
            assigned: Vec::new(),
            places: BTreeMap::new(),
            turn: 0,
            trouble: None,
            headers: Arc::default(),
            health,
            brokers,
            consumer: Arc::new(consumer),
        }
    }

    /// Reads the client's own events: errors and statistics go to its health, a fatal one is told.
    fn events(&self) -> Result<(), Trouble> {
        match self.consumer.poll(Duration::ZERO) {
            Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                Err(Trouble::Refused(format!("the kafka client cannot go on: {code}: {}", self.health.reason())))
            }
            _ => Ok(()),
        }
    }

    /// Tells what went wrong: once, or for ever if a restart will not help.
    fn told(&mut self) -> Result<(), SourceError> {
        match &self.trouble {
            None => Ok(()),
            Some(Trouble::Refused(text)) => Err(SourceError::Stop(text.clone())),
            Some(Trouble::Away(_)) => Err(self.trouble.take().expect("it is there").into()),
        }
    }

    /// Reads from `next` on; if that was read before, it may be gone.
    fn assign_at(
        &mut self,
        index: PartitionIndex,
        partition: &Partition,
        next: Offset,
        looking_back: bool,
    ) -> Result<(), SourceError> {
        self.unassign(index)?;
        let queue = self.consumer.split_partition_queue(&partition.topic, partition.number);
        let queue = queue.ok_or_else(|| SourceError::Stop(format!("{} is not the name of a topic", partition.topic)))?;
        let offset = i64::try_from(next.0)
            .map_err(|_| SourceError::Stop(format!("topic {}: no offset is as large as {}", partition.topic, next.0)))?;
        let list = list(partition, KafkaOffset::Offset(offset))?;
        self.consumer.incremental_assign(&list).map_err(|error| failed(partition, &error))?;
        self.refresh(&partition.topic);
        self.places.insert(index, self.assigned.len());
        self.assigned.push(Assigned {
            index,
            partition: partition.clone(),
            queue,
            next: next.0,
            looking_back,
            ended: false,
            paused: false,
        });
        Ok(())
    }

    /// Forgets a partition that is assigned again, with what its queue holds.
    fn unassign(&mut self, index: PartitionIndex) -> Result<(), SourceError> {
        let Some(place) = self.places.remove(&index) else { return Ok(()) };
        let old = self.assigned.remove(place);
        for other in self.places.values_mut().filter(|other| **other > place) {
            *other -= 1;
        }
        self.consumer
            .incremental_unassign(&list(&old.partition, KafkaOffset::Invalid)?)
            .map_err(|error| failed(&old.partition, &error))
    }

    /// Has a topic's partitions listed anew, beside the worker, when one is assigned that is newer than the list.
    ///
    /// librdkafka looks for an unknown partition only every ten seconds.
    fn refresh(&self, topic: &Arc<str>) {
        if self.assigned.iter().any(|assigned| assigned.partition.topic == *topic) {
            let (consumer, topic) = (Arc::clone(&self.consumer), Arc::clone(topic));
            // Should it fail, the ten seconds are waited for.
            std::thread::spawn(move || drop(consumer.fetch_metadata(Some(&topic), REFRESH_LIMIT)));
        }
    }

    fn place(&self, index: PartitionIndex) -> Option<&Assigned> {
        self.places.get(&index).map(|place| &self.assigned[*place])
    }
}

impl Reader for KafkaReader {
    fn assign(&mut self, index: PartitionIndex, partition: &Partition, next: Offset) -> Result<(), SourceError> {
        self.assign_at(index, partition, next, false)
    }

    fn assign_after(&mut self, index: PartitionIndex, partition: &Partition, last: Offset) -> Result<(), SourceError> {
        self.assign_at(index, partition, last, true)
    }

    fn poll(&mut self, budget_bytes: usize, out: &mut Vec<(PartitionIndex, Message)>) -> Result<(), SourceError> {
        self.told()?;
        self.events()?;
        let before = out.len();
        let mut left = budget_bytes;
        let mut quiet = 0;
        while left > 0 && quiet < self.assigned.len() {
            self.turn = (self.turn + 1) % self.assigned.len();
            let assigned = &mut self.assigned[self.turn];
            let (taken, trouble) = assigned.take(&mut left, &self.health, &mut self.headers, out);
            quiet = if taken == 0 { quiet + 1 } else { 0 };
            if let (Some(Trouble::Refused(_)), true) = (&trouble, assigned.looking_back) {
                // What was read last may be gone by now; what comes after it must be there.
                let (index, partition) = (assigned.index, assigned.partition.clone());
                let (next, paused) = (Offset(assigned.next + 1), assigned.paused);
                self.assign_at(index, &partition, next, false)?;
                self.pause(index, paused);
                break;
            }
            if trouble.is_some() {
                self.trouble = trouble;
                break;
            }
        }
        if out.len() > before {
            self.health.answered();
            return Ok(());
        }
        self.told()?;
        match self.health.down() {
            Some(reason) => Err(SourceError::Retry(format!("cannot reach kafka at {}: {reason}", self.brokers))),
            None => Ok(()),
        }
    }

    fn pause(&mut self, index: PartitionIndex, paused: bool) {
        if let Some(place) = self.places.get(&index) {
            self.assigned[*place].paused = paused;
        }
    }

    fn position(&self, index: PartitionIndex) -> Position {
        let Some(assigned) = self.place(index) else { return Position::default() };
        let fetching = self.health.fetching(&assigned.partition.topic, assigned.partition.number);
        let reachable = self.health.down().is_none() && fetching.is_none_or(|fetching| fetching.reachable);
        Position {
            at_end: assigned.ended && reachable,
            end: fetching.and_then(|fetching| fetching.end).map(|end| Offset(end.max(assigned.next))),
            finished: false,
        }
    }
}

impl Assigned {
    /// Takes a turn's worth of messages; tells how many came and what went wrong.
    fn take(
        &mut self,
        left: &mut usize,
        health: &Health,
        headers: &mut SharedHeaders,
        out: &mut Vec<(PartitionIndex, Message)>,
    ) -> (usize, Option<Trouble>) {
        let mut taken = 0;
        while !self.paused && *left > 0 && taken < TURN {
            match self.queue.poll(Duration::ZERO) {
                None => break,
                Some(Ok(borrowed)) => {
                    let message = owned(&borrowed, headers);
                    self.next = message.offset.0 + 1;
                    (self.looking_back, self.ended) = (false, false);
                    *left = left.saturating_sub(message.len_bytes() + size_of::<Message>());
                    out.push((self.index, message));
                    taken += 1;
                }
                Some(Err(error)) => match code(&error) {
                    Some(Code::PartitionEOF) => {
                        self.ended = true;
                        health.answered();
                    }
                    _ => {
                        self.ended = false;
                        let partition = &self.partition;
                        let trouble = error::reading(&partition.topic, partition.number, self.next, &error, &health.reason());
                        return (taken, Some(trouble));
                    }
                },
            }
        }
        (taken, None)
    }
}

/// A message of our own, with the headers shared if they are those of the message before.
fn owned(message: &BorrowedMessage<'_>, last: &mut SharedHeaders) -> Message {
    Message {
        offset: Offset(u64::try_from(message.offset()).expect("a broker's offsets are not negative")),
        key: message.key().map(<[u8]>::to_vec),
        headers: shared(message, last),
        payload: message.payload().map(<[u8]>::to_vec),
        broker_time_us: message.timestamp().to_millis().filter(|ms| *ms >= 0).map(|ms| ms.saturating_mul(1_000)),
    }
}

fn shared(message: &BorrowedMessage<'_>, last: &mut SharedHeaders) -> SharedHeaders {
    let found = || message.headers().into_iter().flat_map(|headers| headers.iter());
    let same = found().map(|header| (header.key, header.value.unwrap_or_default()));
    if !same.eq(last.iter().map(|(name, value)| (name.as_str(), value.as_slice()))) {
        *last = found().map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec())).collect();
    }
    Arc::clone(last)
}

fn list(partition: &Partition, offset: KafkaOffset) -> Result<TopicPartitionList, SourceError> {
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition_offset(&partition.topic, partition.number, offset).map_err(|error| failed(partition, &error))?;
    Ok(list)
}

fn failed(partition: &Partition, error: &KafkaError) -> SourceError {
    SourceError::Retry(format!("cannot begin to read topic {}, partition {}: {error}", partition.topic, partition.number))
}
