//! A source whose messages are made when they are read, from their place alone: long inputs that take no memory, for
//! tests and benchmarks.

use super::source::{Discovered, Position, Reader, Source, SourceError};
use crate::record::{Message, Offset, Partition, PartitionIndex};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Makes the message at an offset of a partition; the same one each time.
pub type Make = Arc<dyn Fn(u64, u64) -> Message + Send + Sync>;

/// See the module.
#[derive(Clone)]
pub struct MadeSource {
    partitions: u64,
    make: Make,
    released: Arc<AtomicU64>,
}

impl MadeSource {
    /// So many partitions, of which nothing can be read yet.
    pub fn new(partitions: u64, make: Make) -> MadeSource {
        MadeSource { partitions, make, released: Arc::default() }
    }

    /// Lets so many messages of each partition be read.
    pub fn release(&self, of_each: u64) {
        self.released.store(of_each, Ordering::SeqCst);
    }
}

impl Source for MadeSource {
    fn discover(&self) -> Result<Vec<Discovered>, SourceError> {
        let partition = |number| Partition { topic: "made".into(), number };
        Ok((0..self.partitions as i32).map(|n| Discovered { partition: partition(n), start: Offset(0), end: None }).collect())
    }

    fn reader(&self) -> Result<Box<dyn Reader>, SourceError> {
        Ok(Box::new(MadeReader { source: self.clone(), assigned: BTreeMap::new() }))
    }
}

struct Assigned {
    number: u64,
    next: u64,
    paused: bool,
}

struct MadeReader {
    source: MadeSource,
    assigned: BTreeMap<PartitionIndex, Assigned>,
}

impl Reader for MadeReader {
    fn assign(&mut self, index: PartitionIndex, partition: &Partition, next: Offset) -> Result<(), SourceError> {
        self.assigned.insert(index, Assigned { number: partition.number as u64, next: next.0, paused: false });
        Ok(())
    }

    fn poll(&mut self, budget_bytes: usize, out: &mut Vec<(PartitionIndex, Message)>) -> Result<(), SourceError> {
        let released = self.source.released.load(Ordering::SeqCst);
        let each = budget_bytes / self.assigned.len().max(1);
        for (index, assigned) in self.assigned.iter_mut().filter(|(_, assigned)| !assigned.paused) {
            let mut bytes = 0;
            while assigned.next < released && bytes < each {
                let message = (self.source.make)(assigned.number, assigned.next);
                bytes += message.len_bytes() + 1;
                assigned.next += 1;
                out.push((*index, message));
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
        let released = self.source.released.load(Ordering::SeqCst);
        let at_end = self.assigned.get(&index).is_some_and(|assigned| assigned.next >= released);
        Position { at_end, end: Some(Offset(released)), finished: false }
    }
}
