//! What happens to a run, as log lines: a struct for each occurrence, written once, with its names as fields.
//!
//! ERROR wakes someone, WARN is looked at first, INFO is a change of state. The counts behind them are in the metrics.

use caudal_pipeline::engine::Phase;
use caudal_pipeline::time::EventTime;
use tracing::{error, info, warn};

/// The job does something else now.
pub struct PhaseChanged<'a> {
    pub job: &'a str,
    pub phase: Phase,
    pub generation: u64,
}

impl PhaseChanged<'_> {
    /// Writes the line.
    pub fn emit(self) {
        let phase = format!("{:?}", self.phase).to_lowercase();
        info!(caudal_job = self.job, generation = self.generation, "the job is {phase}");
    }
}

/// The job has gone on from the state of the one before.
pub struct Changed<'a> {
    pub job: &'a str,
    /// Streams and views that it no longer has.
    pub removed: &'a [String],
}

impl Changed<'_> {
    /// Writes the line.
    pub fn emit(self) {
        let Changed { job, removed } = self;
        match removed {
            [] => info!(caudal_job = job, "the job has changed, and goes on from the state of the one before"),
            removed => info!(caudal_job = job, "the job has changed, and goes on without {}", removed.join(", ")),
        }
    }
}

/// A view came to a job that had begun.
pub struct ViewBegins<'a> {
    pub job: &'a str,
    pub view: &'a str,
    pub begin: EventTime,
}

impl ViewBegins<'_> {
    /// Writes the line.
    pub fn emit(self) {
        info!(caudal_job = self.job, view = self.view, "the view has the windows that start at {} or later", self.begin);
    }
}

/// A sink came to a job that had begun.
pub struct SinkBegins<'a> {
    pub job: &'a str,
    pub sink: &'a str,
    pub view: &'a str,
    pub after: EventTime,
}

impl SinkBegins<'_> {
    /// Writes the line.
    pub fn emit(self) {
        let SinkBegins { job, sink, view, after } = self;
        info!(caudal_job = job, sink, view, "the sink is new, and has of this view the windows that end after {after}");
    }
}

/// Something went wrong but was survived.
pub struct Alarm<'a> {
    pub job: &'a str,
    pub what: &'a str,
}

impl Alarm<'_> {
    /// Writes the line.
    pub fn emit(self) {
        warn!(caudal_job = self.job, "{}", self.what);
    }
}

/// A sink's store has begun to fail; it is tried again for ever.
pub struct SinkFailing<'a> {
    pub job: &'a str,
    pub sink: &'a str,
    pub why: &'a str,
}

impl SinkFailing<'_> {
    /// Writes the line.
    pub fn emit(self) {
        warn!(caudal_job = self.job, sink = self.sink, "the store fails, trying again: {}", self.why);
    }
}

/// A sink's store has gone back to an earlier moment.
pub struct SinkLost<'a> {
    pub job: &'a str,
    pub sink: &'a str,
    pub why: &'a str,
}

impl SinkLost<'_> {
    /// Writes the line.
    pub fn emit(self) {
        warn!(caudal_job = self.job, sink = self.sink, "every row is written again: {}", self.why);
    }
}

/// A sink's store holds everything again.
pub struct SinkRestored<'a> {
    pub job: &'a str,
    pub sink: &'a str,
}

impl SinkRestored<'_> {
    /// Writes the line.
    pub fn emit(self) {
        info!(caudal_job = self.job, sink = self.sink, "every row is written again, the store lacks nothing");
    }
}

/// A sink's store takes rows again.
pub struct SinkRecovered<'a> {
    pub job: &'a str,
    pub sink: &'a str,
    pub retries: u64,
}

impl SinkRecovered<'_> {
    /// Writes the line.
    pub fn emit(self) {
        info!(caudal_job = self.job, sink = self.sink, retries = self.retries, "the store is there again");
    }
}

/// A sink's store has refused it for good.
pub struct SinkStopped<'a> {
    pub job: &'a str,
    pub sink: &'a str,
    pub why: &'a str,
}

impl SinkStopped<'_> {
    /// Writes the line.
    pub fn emit(self) {
        error!(caudal_job = self.job, sink = self.sink, "the store refuses, its rows wait in the ledger: {}", self.why);
    }
}
