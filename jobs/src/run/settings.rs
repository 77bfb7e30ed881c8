//! How a job is run.

use super::{Place, RunError};
use crate::serve::PublicPort;
use caudal_pipeline::time::Span;
use std::path::PathBuf;
use std::sync::Arc;

/// What belongs to the process and not to the job.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The place of the job's state.
    pub state: Place,
    /// Threads that work.
    pub workers: usize,
    /// Whether the job is recomputed from what its sources still have, before it goes on.
    pub rebuild: bool,
    /// Whether a process that holds the state is taken over from.
    pub take_over: bool,
    /// Whether the run ends once finite sources are read.
    pub until_end: bool,
    /// Whether the input is closed for ever at the end.
    pub close: bool,
    /// Whether nothing new is read: what was bound is finished, and a last checkpoint made.
    pub drain: bool,
    /// Time between checkpoints.
    pub checkpoint_every: Span,
    /// The port for people and programs, opened only if the job takes events over HTTP; jobs of one process share it.
    pub listen: Arc<PublicPort>,
}

impl Settings {
    /// The defaults, with state under `state`.
    pub fn in_folder(state: PathBuf) -> Settings {
        let workers = std::thread::available_parallelism().map_or(1, |n| n.get().min(4));
        Settings {
            state: state.into(),
            workers,
            rebuild: false,
            take_over: false,
            until_end: false,
            close: false,
            drain: false,
            checkpoint_every: Span::seconds(60),
            listen: PublicPort::at(PublicPort::DEFAULT),
        }
    }

    /// A run that ends once something is done has not done it while a sink lacks rows of it.
    pub(super) fn all_is_written(&self, behind: &[String]) -> Result<(), RunError> {
        if behind.is_empty() || !(self.until_end || self.close || self.drain) {
            return Ok(());
        }
        let sinks: Vec<String> = behind.iter().map(|name| format!("sinks.{name}")).collect();
        Err(RunError::Failed(format!(
            "{}: not everything was written, as is told above; what is missing waits in the state: start again once the store takes it",
            sinks.join(", ")
        )))
    }
}
