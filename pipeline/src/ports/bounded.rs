//! A source up to a given offset of each partition: what was read already, and nothing after it.

use super::source::{Discovered, Position, Reader, Source, SourceError};
use crate::record::{Message, Offset, Partition, PartitionIndex};
use std::collections::BTreeMap;
use std::sync::Arc;

/// See the module. Partitions without an offset are not there.
pub struct BoundedSource {
    inner: Arc<dyn Source>,
    ends: BTreeMap<Partition, Offset>,
}

impl BoundedSource {
    /// `inner` up to, and without, these offsets.
    pub fn new(inner: Arc<dyn Source>, ends: BTreeMap<Partition, Offset>) -> BoundedSource {
        BoundedSource { inner, ends }
    }
}

impl Source for BoundedSource {
    fn discover(&self) -> Result<Vec<Discovered>, SourceError> {
        let all = self.inner.discover()?.into_iter();
        let bounded = |found: Discovered| {
            let end = *self.ends.get(&found.partition)?;
            Some(Discovered { end: Some(found.end.map_or(end, |of_all| of_all.min(end))), ..found })
        };
        Ok(all.filter_map(bounded).collect())
    }

    fn reader(&self) -> Result<Box<dyn Reader>, SourceError> {
        Ok(Box::new(BoundedReader { inner: self.inner.reader()?, ends: self.ends.clone(), assigned: BTreeMap::new() }))
    }
}

struct BoundedReader {
    inner: Box<dyn Reader>,
    ends: BTreeMap<Partition, Offset>,
    assigned: BTreeMap<PartitionIndex, Assigned>,
}

struct Assigned {
    end: Offset,
    /// The next offset that may come.
    next: Offset,
}

impl Assigned {
    fn is_over(&self) -> bool {
        self.next >= self.end
    }
}

impl Reader for BoundedReader {
    fn assign(&mut self, index: PartitionIndex, partition: &Partition, next: Offset) -> Result<(), SourceError> {
        let end = self.ends.get(partition).copied().unwrap_or_default();
        let assigned = Assigned { end, next };
        let over = assigned.is_over();
        self.assigned.insert(index, assigned);
        self.inner.assign(index, partition, next)?;
        self.inner.pause(index, over);
        Ok(())
    }

    fn poll(&mut self, budget_bytes: usize, out: &mut Vec<(PartitionIndex, Message)>) -> Result<(), SourceError> {
        let mut polled = Vec::new();
        let result = self.inner.poll(budget_bytes, &mut polled);
        for (index, message) in polled {
            let assigned = self.assigned.get_mut(&index).expect("only assigned partitions deliver");
            if assigned.is_over() {
                continue;
            }
            assigned.next = Offset(message.offset.0 + 1);
            if message.offset < assigned.end {
                out.push((index, message));
            }
            if assigned.is_over() {
                self.inner.pause(index, true);
            }
        }
        result
    }

    fn pause(&mut self, index: PartitionIndex, paused: bool) {
        let over = self.assigned.get(&index).is_some_and(Assigned::is_over);
        self.inner.pause(index, paused || over);
    }

    fn position(&self, index: PartitionIndex) -> Position {
        let Some(assigned) = self.assigned.get(&index) else { return Position::default() };
        let (over, inner) = (assigned.is_over(), self.inner.position(index));
        Position { at_end: over || inner.at_end, end: Some(assigned.end), finished: over || inner.finished }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::memory::MemorySource;

    #[test]
    fn what_lies_beyond_is_not_there() {
        let source = MemorySource::new("t", 2);
        (0..5).for_each(|n| source.push_payload(0, format!("{n}")));
        source.push_payload(1, "other");
        let partition = |number| Partition { topic: "t".into(), number };
        let bounded = BoundedSource::new(Arc::new(source), BTreeMap::from([(partition(0), Offset(3))]));
        let found = bounded.discover().unwrap();
        assert_eq!(found, [Discovered { partition: partition(0), start: Offset(0), end: Some(Offset(3)) }]);
        let mut reader = bounded.reader().unwrap();
        reader.assign(PartitionIndex(0), &partition(0), Offset(1)).unwrap();
        assert!(!reader.position(PartitionIndex(0)).finished);
        let mut out = Vec::new();
        reader.poll(1 << 20, &mut out).unwrap();
        assert_eq!(out.iter().map(|(_, message)| message.offset.0).collect::<Vec<_>>(), [1, 2]);
        assert!(reader.position(PartitionIndex(0)).finished);
        reader.pause(PartitionIndex(0), false);
        reader.poll(1 << 20, &mut out).unwrap();
        assert_eq!(out.len(), 2);
    }
}
