//! Where messages come from. The engine owns positions: a source keeps none, commits none, and replays from any.
//!
//! ```text
//! Source::discover ─▶ partitions ─(bound in the commit log)─▶ Reader::assign ─▶ Reader::poll ─▶ messages
//! ```
//!
//! A reader belongs to one worker and is polled from its loop, so `poll` never blocks; whatever must wait (network,
//! disk) waits on a thread of the connector's own behind a bounded channel.

use crate::record::{Message, Offset, Partition, PartitionIndex};

/// A partition that exists, and where a job without state begins to read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovered {
    /// Its name.
    pub partition: Partition,
    /// The next offset to read by the configured start position.
    pub start: Offset,
    /// The next offset that will be written, where the source was asked for it just now.
    pub end: Option<Offset>,
}

/// Why reading failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SourceError {
    /// Worth trying again for ever: broker away, leader changing. Shown and counted meanwhile.
    #[error("{0}")]
    Retry(String),
    /// A restart will not help: unknown topic, wrong credentials, lost offsets, compacted topic.
    #[error("{0}")]
    Stop(String),
}

/// One outside system's partitions of one stream. The guarantee that exact results stand on, and that each gives: the same
/// offsets give the same bytes until retention removes them, and then an error.
pub trait Source: Send + Sync {
    /// The partitions that exist now; called at start and every so often from a thread that may block.
    fn discover(&self) -> Result<Vec<Discovered>, SourceError>;
    /// A reader for one worker, with nothing assigned.
    fn reader(&self) -> Result<Box<dyn Reader>, SourceError>;
    /// Told when epochs are bound: everything below `next` in `partition` will not be asked for before a restart
    /// and, once `durable` says so too, never again. For lag tools and for pruning local logs.
    fn bound(&self, partition: &Partition, next: Offset, durable: Offset) {
        let _ = (partition, next, durable);
    }
}

/// How far a reader is with one partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// A fetch since the last message has confirmed that there is nothing more to read now.
    pub at_end: bool,
    /// The next offset that will be written, if known: for lag.
    pub end: Option<Offset>,
    /// A finite source has delivered its last message and will never have another.
    pub finished: bool,
}

/// A worker's view of its partitions of one stream.
pub trait Reader: Send {
    /// Reads `partition` from `next` on; messages come tagged with `index`.
    fn assign(&mut self, index: PartitionIndex, partition: &Partition, next: Offset) -> Result<(), SourceError>;
    /// Reads `partition` on from after the message at `last`, which comes once more before them if it is still there: by it the
    /// engine sees whether the partition is the one that it has read. Whoever's partitions cannot be made anew leaves it out.
    fn assign_after(&mut self, index: PartitionIndex, partition: &Partition, last: Offset) -> Result<(), SourceError> {
        self.assign(index, partition, Offset(last.0 + 1))
    }
    /// Appends messages that are ready, in offset order within a partition, up to about `budget_bytes`. Never blocks.
    fn poll(&mut self, budget_bytes: usize, out: &mut Vec<(PartitionIndex, Message)>) -> Result<(), SourceError>;
    /// Stops or resumes fetching a partition that runs ahead. Messages already fetched may still be polled.
    fn pause(&mut self, index: PartitionIndex, paused: bool);
    /// How far it is.
    fn position(&self, index: PartitionIndex) -> Position;
}
