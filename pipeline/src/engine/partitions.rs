//! Partitions that exist, against those that were read.

use super::epochs::SourceStream;
use super::{Engine, EngineError, Phase};
use crate::log::Bind;
use crate::ports::source::Discovered;
use crate::record::{Offset, Partition};
use crate::worker::{Command, WorkerError};
use std::collections::{BTreeMap, VecDeque};

/// By stream, the next offset of each partition as bound in the log.
pub(super) type Positions = BTreeMap<u32, BTreeMap<Partition, Offset>>;

/// Positions as of a checkpoint, and what is to be repeated since.
pub(super) fn bound_positions(sources: &BTreeMap<u32, SourceStream>, replay: &VecDeque<Bind>) -> Positions {
    let of = |(stream, source): (&u32, &SourceStream)| {
        let mut bound = source.partitions.clone();
        for bind in replay.iter().flat_map(|bind| &bind.streams).filter(|bind| bind.stream == *stream) {
            bound.extend(bind.added.iter().cloned());
            bind.partitions.iter().for_each(|of| bound[of.index.0 as usize].1 = of.next);
        }
        (*stream, bound.into_iter().collect())
    };
    sources.iter().map(of).collect()
}

impl Engine {
    /// Tells of the partitions that exist; new ones are read from the next turn on, or once the replay is over.
    pub fn discovered(&mut self, stream: u32, partitions: Vec<Discovered>) {
        self.discovered.insert(stream, partitions);
    }

    /// Refuses a partition that ends before what was bound of it when the engine started: none of that would ever come
    /// again. Asked of the first answer alone, which is younger than what it is compared with.
    pub(super) fn check_ends(&mut self) -> Result<(), EngineError> {
        for (stream, found) in &self.discovered {
            let Some(bound) = self.bound_at_start.get_mut(stream) else { continue };
            for Discovered { partition, end, .. } in found {
                if let (Some(next), Some(end)) = (bound.remove(partition), end)
                    && *end < next
                {
                    let what = format!("it ends at offset {}, and was read up to {}", end.0, next.0);
                    let topic = partition.topic.to_string();
                    return Err(WorkerError::Rewritten { topic, partition: partition.number, what }.into());
                }
            }
        }
        Ok(())
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
                    added.push(Command::Assign { stream, index, partition: found.partition, next: found.start, last: None });
                }
            }
        }
        added.iter().for_each(|command| self.tell(command));
    }
}
