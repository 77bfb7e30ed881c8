//! Partitions that exist, against those that were read.

use super::{Engine, EngineError, Phase};
use crate::ports::source::Discovered;
use crate::record::{Offset, Partition};
use crate::worker::{Command, WorkerError};
use std::collections::BTreeMap;

impl Engine {
    /// Tells of the partitions that exist; new ones are read from the next turn on, or once the replay is over.
    pub fn discovered(&mut self, stream: u32, partitions: Vec<Discovered>) {
        self.discovered.insert(stream, partitions);
        self.unchecked.insert(stream);
    }

    /// Refuses a partition that ends before what was read of it: no message that was bound would ever come again.
    pub(super) fn check_ends(&mut self) -> Result<(), EngineError> {
        while let Some(stream) = self.unchecked.pop_first() {
            let bound = self.bound_positions(stream);
            for Discovered { partition, end, .. } in &self.discovered[&stream] {
                if let (Some(next), Some(end)) = (bound.get(partition), end)
                    && end < next
                {
                    let what = format!("it ends at offset {}, and was read up to {}", end.0, next.0);
                    let topic = partition.topic.to_string();
                    return Err(WorkerError::Rewritten { topic, partition: partition.number, what }.into());
                }
            }
        }
        Ok(())
    }

    /// The next offset of each partition as bound in the log, what is still to be repeated included.
    fn bound_positions(&self, stream: u32) -> BTreeMap<Partition, Offset> {
        let mut bound = self.sources.get(&stream).map(|source| source.partitions.clone()).unwrap_or_default();
        for bind in self.replay.iter().flat_map(|bind| &bind.streams).filter(|bind| bind.stream == stream) {
            bound.extend(bind.added.iter().cloned());
            bind.partitions.iter().for_each(|of| bound[of.index.0 as usize].1 = of.next);
        }
        bound.into_iter().collect()
    }

    /// Reads new partitions from where they begin.
    pub(super) fn add_discovered(&mut self) {
        if self.phase != Phase::Live {
            return;
        }
        let mut added = Vec::new();
        for (stream, partitions) in &mut self.discovered {
            let (stream, source) = (*stream, self.sources.get_mut(stream).expect("a source stream"));
            for found in partitions.drain(..) {
                if let Some(index) = source.add(found.partition.clone(), found.start) {
                    added.push(Command::Assign { stream, index, partition: found.partition, next: found.start });
                }
            }
        }
        added.iter().for_each(|command| self.tell(command));
    }
}
