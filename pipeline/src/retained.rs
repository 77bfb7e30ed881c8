//! What a worker holds of the messages of an epoch until the epoch is collected: their bytes may become dead letters or
//! archived events.
//!
//! A record's verdict can come from another worker after its bytes were decoded, so the messages of an open epoch stay
//! where they were read. They are what `in_flight_bytes` counts, and what intake is paused for.

use crate::operators::collect::{Accepted, Counts, Retained};
use crate::record::{DeadLetter, Event, Message, Offset, Origin, Partition, PartitionIndex, Rejection, Verdict};
use crate::time::Epoch;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// An epoch's messages by source stream and partition, and what reading already decided.
#[derive(Default)]
struct Held {
    messages: BTreeMap<(u32, PartitionIndex), Vec<Message>>,
    dead_letters: Vec<DeadLetter>,
    counts: Counts,
    bytes: u64,
}

struct Inner {
    epochs: BTreeMap<Epoch, Held>,
    partitions: BTreeMap<(u32, PartitionIndex), Partition>,
    /// The source stream at the bottom of each stream.
    roots: Vec<u32>,
    in_flight_bytes: Arc<AtomicU64>,
}

/// Shared by a worker's reading side and its collector.
#[derive(Clone)]
pub struct RetainedMessages(Rc<RefCell<Inner>>);

impl RetainedMessages {
    /// Nothing held. `roots[s]` is the source stream at the bottom of stream `s`.
    pub fn new(roots: Vec<u32>, in_flight_bytes: Arc<AtomicU64>) -> RetainedMessages {
        let inner = Inner { epochs: BTreeMap::new(), partitions: BTreeMap::new(), roots, in_flight_bytes };
        RetainedMessages(Rc::new(RefCell::new(inner)))
    }

    /// Names a partition.
    pub fn add_partition(&self, stream: u32, index: PartitionIndex, partition: Partition) {
        self.0.borrow_mut().partitions.insert((stream, index), partition);
    }

    /// Holds a message of `epoch`; offsets of a partition ascend. `rejections` are those that decoding decided.
    pub fn hold(&self, epoch: Epoch, stream: u32, index: PartitionIndex, message: Message, rejections: Vec<(u32, Rejection)>) {
        let inner = &mut *self.0.borrow_mut();
        let bytes = message.len_bytes() as u64 + 64;
        inner.in_flight_bytes.fetch_add(bytes, Ordering::Relaxed);
        let held = inner.epochs.entry(epoch).or_default();
        held.bytes += bytes;
        for (element, rejection) in rejections {
            held.counts.entry((stream, Verdict::Rejected(rejection.reason))).or_default().0 += 1;
            let partition = inner.partitions[&(stream, index)].clone();
            held.dead_letters.push(dead_letter(stream, partition, element, &message, rejection));
        }
        held.messages.entry((stream, index)).or_default().push(message);
    }
}

fn dead_letter(stream: u32, partition: Partition, element: u32, message: &Message, rejection: Rejection) -> DeadLetter {
    DeadLetter {
        stream,
        partition,
        offset: message.offset,
        element,
        rejection,
        key: message.key.clone(),
        headers: message.headers.to_vec(),
        payload: message.payload.clone(),
        broker_time_us: message.broker_time_us,
    }
}

impl Inner {
    /// A judged record's message.
    fn message(&self, epoch: Epoch, place: (u32, PartitionIndex), offset: Offset) -> &Message {
        let messages = &self.epochs[&epoch].messages[&place];
        let at = messages.binary_search_by_key(&offset, |message| message.offset);
        &messages[at.expect("a judged record's message is held until its epoch is collected")]
    }
}

impl Retained for RetainedMessages {
    fn dead_letter(&mut self, epoch: Epoch, stream: u32, origin: Origin, rejection: Rejection) -> DeadLetter {
        let inner = self.0.borrow();
        let place = (inner.roots[stream as usize], origin.partition);
        let message = inner.message(epoch, place, origin.offset);
        dead_letter(stream, inner.partitions[&place].clone(), origin.element, message, rejection)
    }

    fn event(&mut self, epoch: Epoch, accepted: Accepted, with_payload: bool) -> Event {
        let inner = self.0.borrow();
        let Accepted { stream, origin, event_time, id } = accepted;
        let place = (stream, origin.partition);
        let message = inner.message(epoch, place, origin.offset);
        Event {
            stream,
            partition: inner.partitions[&place].clone(),
            offset: origin.offset,
            element: origin.element,
            event_time,
            id,
            key: message.key.clone(),
            payload: message.payload.clone().filter(|_| with_payload),
        }
    }

    fn release(&mut self, epoch: Epoch) -> (Vec<DeadLetter>, Counts) {
        let inner = &mut *self.0.borrow_mut();
        let held = inner.epochs.remove(&epoch).unwrap_or_default();
        inner.in_flight_bytes.fetch_sub(held.bytes, Ordering::Relaxed);
        (held.dead_letters, held.counts)
    }
}
