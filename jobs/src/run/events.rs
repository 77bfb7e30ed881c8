//! What happens to a run, as log lines: a struct for each occurrence, written once, with its names as fields.
//!
//! ERROR wakes someone, WARN is looked at first, INFO is a change of state. The counts behind them are in the metrics.

use caudal_pipeline::engine::{Phase, Rebuilt};
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

/// A job is recomputed beside its old state.
pub struct RebuildBegins<'a> {
    pub job: &'a str,
    /// Memory that the job can need at most, bytes, if its limits bound it.
    pub memory_bound: Option<u64>,
    /// Memory that comparing needs, if no more rows come out than the ledger still has, bytes.
    pub comparing: u64,
}

impl RebuildBegins<'_> {
    /// Writes the line.
    pub fn emit(self) {
        let memory = self.memory_bound.map_or("what the job needs in memory, which no limit bounds".to_owned(), |bytes| {
            format!("up to {} MiB of memory while it runs", bytes >> 20)
        });
        info!(
            caudal_job = self.job,
            "recomputing from what the sources still have; this takes {memory}, then up to {} MiB to compare the rows of both \
             states, if no more come out than the ledger still has (how many is told again before), and twice the disk; \
             results stand still until it is done",
            self.comparing.div_ceil(1 << 20)
        );
    }
}

/// A rebuild is done but for the comparing of rows.
pub struct RebuildCompares<'a> {
    pub job: &'a str,
    /// Memory that it needs at most, bytes.
    pub bytes: u64,
}

impl RebuildCompares<'_> {
    /// Writes the line.
    pub fn emit(self) {
        let mebibytes = self.bytes.div_ceil(1 << 20);
        info!(caudal_job = self.job, "comparing the rows of both states and of the stores: up to {mebibytes} MiB of memory");
    }
}

/// How far a rebuild is.
pub struct RebuildProgress<'a> {
    pub job: &'a str,
    /// Messages.
    pub read: u64,
    pub all: u64,
}

impl RebuildProgress<'_> {
    /// Writes the line.
    pub fn emit(self) {
        let RebuildProgress { job, read, all } = self;
        info!(caudal_job = job, read, all, "recomputing: {} % of {all} messages", read * 100 / all.max(1));
    }
}

/// A rebuild waits for a source or store.
pub struct RebuildWaits<'a> {
    pub job: &'a str,
    pub whom: &'a str,
    pub why: &'a str,
}

impl RebuildWaits<'_> {
    /// Writes the line.
    pub fn emit(self) {
        warn!(caudal_job = self.job, whom = self.whom, "the rebuild waits, trying again: {}", self.why);
    }
}

/// What was recomputed is the state now.
pub struct RebuildEnds<'a> {
    pub job: &'a str,
    pub rebuilt: Rebuilt,
    /// Streams and views that it no longer has.
    pub removed: &'a [String],
}

impl RebuildEnds<'_> {
    /// Writes the line.
    pub fn emit(self) {
        let Rebuilt { same, changed, gone, refused } = self.rebuilt;
        let anew = if refused == 0 { String::new() } else { format!("; {refused} records are dead letters now") };
        let without = if self.removed.is_empty() { String::new() } else { format!("; without {}", self.removed.join(", ")) };
        info!(
            caudal_job = self.job,
            same,
            changed,
            gone,
            refused,
            "recomputed: {changed} rows are other or new, {gone} are gone, {same} are the same{anew}{without}"
        );
    }
}

/// The job as the state keeps it cannot be read back.
pub struct KeptInVain<'a> {
    pub job: &'a str,
    pub why: &'a str,
}

impl KeptInVain<'_> {
    /// Writes the line.
    pub fn emit(self) {
        warn!(
            caudal_job = self.job,
            "before this job is changed, run it with --drain: it could not be read back from its state: {}", self.why
        );
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

/// A sink keeps a view of before that it did not keep, or not in this way.
pub struct SinkKeepsOtherwise<'a> {
    pub job: &'a str,
    pub sink: &'a str,
    pub view: &'a str,
}

impl SinkKeepsOtherwise<'_> {
    /// Writes the line.
    pub fn emit(self) {
        let SinkKeepsOtherwise { job, sink, view } = self;
        warn!(
            caudal_job = job,
            sink,
            view,
            "the sink keeps this view otherwise than before, and gets its rows as they change from now on: under another \
             name it would get all that is still there"
        );
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
