//! Why a state folder cannot be used, each with its remedy.

use std::io;

/// Why a state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateFolderError {
    /// Another process holds the lock.
    #[error("the state folder {folder} is in use by {holder}: stop that process, or start with --take-over")]
    InUse {
        /// The folder.
        folder: String,
        /// `process 4711`, or words where the pid cannot be read.
        holder: String,
    },
    /// The folder holds the state of another job.
    #[error("the state folder {folder} belongs to the job `{found}`, not to `{wanted}`: give this job a folder of its own")]
    OtherJob {
        /// The folder.
        folder: String,
        /// Whose it is.
        found: String,
        /// Who asked for it.
        wanted: String,
    },
    /// The folder holds files which are not ours.
    #[error("{folder} is no state folder and is not empty (it holds `{found}`): name an empty or a new one")]
    Foreign {
        /// The folder.
        folder: String,
        /// One of its entries.
        found: String,
    },
    /// The disk is full.
    #[error("no space left to {attempted} {path}: free some, or name a state folder on another disk")]
    Full {
        /// What was attempted.
        attempted: &'static str,
        /// On which file.
        path: String,
    },
    /// The system does not let us.
    #[error("not allowed to {attempted} {path}: check owner and mode of the state folder")]
    Denied {
        /// What was attempted.
        attempted: &'static str,
        /// On which file.
        path: String,
    },
    /// Something that is no folder is in the way: a file, or a link to nowhere.
    #[error("cannot {attempted} {path}: something on this path is not a folder; name another one with --state")]
    NoFolder {
        /// What was attempted.
        attempted: &'static str,
        /// Which folder.
        path: String,
    },
    /// Anything else.
    #[error("cannot {attempted} {path}: {cause}")]
    Io {
        /// What was attempted.
        attempted: &'static str,
        /// On which file.
        path: String,
        /// What the system said.
        cause: io::Error,
    },
}

impl StateFolderError {
    /// Sorts a failure of the system under the remedy it needs.
    pub(super) fn io(attempted: &'static str, path: &std::path::Path, cause: io::Error) -> StateFolderError {
        let path = path.display().to_string();
        match cause.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StateFolderError::Full { attempted, path },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => StateFolderError::Denied { attempted, path },
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => StateFolderError::NoFolder { attempted, path },
            _ => StateFolderError::Io { attempted, path, cause },
        }
    }

    /// Whether the same start may succeed later without anyone changing the job or its folder.
    pub fn restart_may_help(&self) -> bool {
        matches!(self, StateFolderError::Full { .. } | StateFolderError::Io { .. })
    }
}
