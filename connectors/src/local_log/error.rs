//! Why the log could not be written or opened.

use std::io;
use std::path::Path;

/// Why the log could not be written or opened.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LocalLogError {
    /// There is no such partition.
    #[error("the local log has {partitions} partitions, none is number {number}")]
    NoPartition {
        /// What was asked for.
        number: i32,
        /// How many there are.
        partitions: usize,
    },
    /// A record is larger than a frame may be.
    #[error("a record of {bytes} bytes is more than the {most} that the local log takes")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The most.
        most: usize,
    },
    /// The disk is full: nothing was appended, and trying again may work once there is space.
    #[error("no space left to append to {0}")]
    Full(String),
    /// Bytes that were acknowledged are not what they were.
    #[error("{path} is damaged at byte {at}: {cause}")]
    Damaged {
        /// The segment.
        path: String,
        /// Where.
        at: u64,
        /// What is wrong.
        cause: String,
    },
    /// Syncing failed, now or earlier: nobody knows what is on the disk. The process must end; a restart finds out.
    #[error("cannot sync {path}, what was written may or may not be kept: {cause}")]
    Sync {
        /// The segment.
        path: String,
        /// What the system said.
        cause: String,
    },
    /// Anything else; nothing was appended.
    #[error("cannot {attempted} {path}: {cause}")]
    Io {
        /// What was attempted.
        attempted: &'static str,
        /// On which file.
        path: String,
        /// What the system said.
        cause: String,
    },
}

impl LocalLogError {
    pub(super) fn io(attempted: &'static str, path: &Path, error: &io::Error) -> LocalLogError {
        let path = path.display().to_string();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => LocalLogError::Full(path),
            _ => LocalLogError::Io { attempted, path, cause: error.to_string() },
        }
    }

    pub(super) fn sync(path: &Path, error: &io::Error) -> LocalLogError {
        LocalLogError::Sync { path: path.display().to_string(), cause: error.to_string() }
    }
}
