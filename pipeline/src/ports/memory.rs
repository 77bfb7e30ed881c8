//! A source in memory: for tests, and for embedding the engine where messages are already at hand.
//!
//! Messages are appended by anyone who holds a clone, and read like any other source's: from any offset, again and
//! again. The offset is the position in the partition.

use super::source::{Discovered, Position, Reader, Source, SourceError};
use crate::record::{Message, Offset, Partition, PartitionIndex};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

#[derive(Default)]
struct Shared {
    partitions: Vec<Vec<Message>>,
    finished: bool,
}

/// Partitions of messages, shared.
#[derive(Clone)]
pub struct MemorySource {
    topic: Arc<str>,
    shared: Arc<Mutex<Shared>>,
}

const LOCK: &str = "no thread panics while it holds the partitions";

impl MemorySource {
    /// `partitions` empty partitions of `topic`.
    pub fn new(topic: &str, partitions: usize) -> MemorySource {
        let shared = Shared { partitions: vec![Vec::new(); partitions], finished: false };
        MemorySource { topic: topic.into(), shared: Arc::new(Mutex::new(shared)) }
    }

    /// Appends a message; its offset is its position.
    pub fn push(&self, partition: usize, mut message: Message) {
        let mut shared = self.shared.lock().expect(LOCK);
        let messages = &mut shared.partitions[partition];
        message.offset = Offset(messages.len() as u64);
        messages.push(message);
    }

    /// Appends a message without key or headers.
    pub fn push_payload(&self, partition: usize, payload: impl Into<Vec<u8>>) {
        self.push(partition, Message { payload: Some(payload.into()), ..Message::default() });
    }

    /// Adds an empty partition, as a topic that grows does.
    pub fn add_partition(&self) {
        self.shared.lock().expect(LOCK).partitions.push(Vec::new());
    }

    /// No message will be appended any more.
    pub fn finish(&self) {
        self.shared.lock().expect(LOCK).finished = true;
    }

    /// The messages of a partition so far.
    pub fn messages(&self, partition: usize) -> Vec<Message> {
        self.shared.lock().expect(LOCK).partitions[partition].clone()
    }
}

impl Source for MemorySource {
    fn discover(&self) -> Result<Vec<Discovered>, SourceError> {
        let ends: Vec<usize> = self.shared.lock().expect(LOCK).partitions.iter().map(Vec::len).collect();
        let found = |(number, end): (i32, usize)| {
            let partition = Partition { topic: self.topic.clone(), number };
            Discovered { partition, start: Offset(0), end: Some(Offset(end as u64)) }
        };
        Ok((0i32..).zip(ends).map(found).collect())
    }

    fn reader(&self) -> Result<Box<dyn Reader>, SourceError> {
        Ok(Box::new(MemoryReader { source: self.clone(), assigned: BTreeMap::new() }))
    }
}

struct Assigned {
    number: usize,
    next: usize,
    paused: bool,
}

struct MemoryReader {
    source: MemorySource,
    assigned: BTreeMap<PartitionIndex, Assigned>,
}

impl Reader for MemoryReader {
    fn assign(&mut self, index: PartitionIndex, partition: &Partition, next: Offset) -> Result<(), SourceError> {
        self.assigned.insert(index, Assigned { number: partition.number as usize, next: next.0 as usize, paused: false });
        Ok(())
    }

    fn assign_after(&mut self, index: PartitionIndex, partition: &Partition, last: Offset) -> Result<(), SourceError> {
        self.assign(index, partition, last)
    }

    fn poll(&mut self, budget_bytes: usize, out: &mut Vec<(PartitionIndex, Message)>) -> Result<(), SourceError> {
        let shared = self.source.shared.lock().expect(LOCK);
        for (index, assigned) in self.assigned.iter_mut().filter(|(_, assigned)| !assigned.paused) {
            let mut budget = budget_bytes / shared.partitions.len().max(1);
            while let Some(message) = shared.partitions[assigned.number].get(assigned.next)
                && budget > 0
            {
                budget = budget.saturating_sub(message.len_bytes() + 1);
                assigned.next += 1;
                out.push((*index, message.clone()));
            }
        }
        Ok(())
    }

    fn pause(&mut self, index: PartitionIndex, paused: bool) {
        if let Some(assigned) = self.assigned.get_mut(&index) {
            assigned.paused = paused;
        }
    }

    fn position(&self, index: PartitionIndex) -> Position {
        let shared = self.source.shared.lock().expect(LOCK);
        let Some(assigned) = self.assigned.get(&index) else { return Position::default() };
        let end = shared.partitions[assigned.number].len();
        let at_end = assigned.next >= end;
        Position { at_end, end: Some(Offset(end as u64)), finished: at_end && shared.finished }
    }
}
