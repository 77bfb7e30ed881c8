//! Why a worker stopped.

use crate::record::Partition;

/// Why a worker stopped.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WorkerError {
    /// The source says that a restart will not help.
    #[error("{0}")]
    Source(String),
    /// What was saved could not be read.
    #[error("the state could not be loaded: {0}")]
    State(String),
    /// A defect of caudal: an invariant did not hold.
    #[error("a worker has stopped on a defect of caudal, told above; nothing wrong was written: please report it")]
    Panicked,
    /// What is read again is not what was bound.
    #[error(
        "{topic}/{partition} is not what was read before: {what}; the topic was rewritten or truncated, so its results cannot be repeated exactly: restore the topic, or start with a new state folder"
    )]
    Rewritten {
        /// Topic, file or generator.
        topic: String,
        /// Number within it.
        partition: i32,
        /// What differs.
        what: String,
    },
}

impl WorkerError {
    /// A partition is not what was read of it.
    pub(super) fn rewritten(partition: &Partition, what: String) -> WorkerError {
        WorkerError::Rewritten { topic: partition.topic.to_string(), partition: partition.number, what }
    }
}
