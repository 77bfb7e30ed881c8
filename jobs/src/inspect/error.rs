//! Why a verb did not do what it was asked to, and the exit code that says so.

use crate::jobfile::Mistakes;
use caudal_connectors::embedded::read::ReadError;
use caudal_pipeline::ports::sink::SinkError;
use std::io;

/// Why a verb stopped.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// Everything that is wrong with the job file.
    #[error("{0}")]
    Mistakes(#[from] Mistakes),
    /// An argument that cannot be used, or a file named in one.
    #[error("{0}")]
    Usage(String),
    /// Another attempt may help.
    #[error("{0}")]
    Failed(String),
    /// Another attempt will not.
    #[error("{0}")]
    Refused(String),
    /// Whoever read the output has gone: nobody is left to be told.
    #[error("the output was closed")]
    Closed,
}

impl InspectError {
    /// 0 if nobody reads on, 1 if another attempt may help, 2 for a wrong file or argument, 3 for a refusal.
    pub fn exit_code(&self) -> u8 {
        match self {
            InspectError::Closed => 0,
            InspectError::Failed(_) => 1,
            InspectError::Mistakes(_) | InspectError::Usage(_) => 2,
            InspectError::Refused(_) => 3,
        }
    }
}

/// Of the place that a verb writes to.
impl From<io::Error> for InspectError {
    fn from(error: io::Error) -> InspectError {
        match error.kind() {
            io::ErrorKind::BrokenPipe => InspectError::Closed,
            _ => InspectError::Failed(format!("cannot write the output: {error}")),
        }
    }
}

impl From<SinkError> for InspectError {
    fn from(error: SinkError) -> InspectError {
        match error {
            SinkError::Retry(why) | SinkError::Lost(why) => InspectError::Failed(why),
            SinkError::Stop(why) => InspectError::Refused(why),
        }
    }
}

impl From<ReadError> for InspectError {
    fn from(error: ReadError) -> InspectError {
        match error {
            ReadError::Missing(_) => InspectError::Usage(error.to_string()),
            ReadError::Refused { .. } => InspectError::Failed(error.to_string()),
        }
    }
}
