//! What the engine says of itself: figures for people, metrics and tests.

use super::lag::{self, Lag};
use super::{CURSORS, Engine, LEDGER_TABLE_BYTES_HELD, SourceStream};
use crate::operators::collect::{Counts, RowCounts};
use crate::record::{Offset, Partition};
use crate::state::{Held, Sizes};
use crate::time::{Epoch, EventTime, Version};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

/// What the engine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Repeating epochs that were bound before the start.
    Replaying,
    /// Reading what comes.
    Live,
    /// No epoch opens any more; those that are open finish.
    Draining,
    /// Everything is in the ledger and in a checkpoint.
    Done,
}

/// Why nothing is read now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HeldBack {
    /// The wall clock has jumped and is not believed yet.
    ClockJumped,
    /// What was read cannot be bound.
    DiskFull,
    /// As much is in flight as may be.
    InFlight,
    /// The ledger grows faster than a checkpoint can be written.
    SlowCheckpoint,
}

impl HeldBack {
    /// All reasons.
    pub const ALL: [HeldBack; 4] = [HeldBack::ClockJumped, HeldBack::DiskFull, HeldBack::InFlight, HeldBack::SlowCheckpoint];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            HeldBack::ClockJumped => "clock_jumped",
            HeldBack::DiskFull => "disk_full",
            HeldBack::InFlight => "in_flight",
            HeldBack::SlowCheckpoint => "slow_checkpoint",
        }
    }
}

impl std::fmt::Display for HeldBack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            HeldBack::ClockJumped => "the wall clock has jumped and is not believed yet",
            HeldBack::DiskFull => "the disk is full",
            HeldBack::InFlight => "as much is in flight as may be",
            HeldBack::SlowCheckpoint => "the ledger grows faster than a checkpoint can be written",
        })
    }
}

/// Figures for people, metrics and tests; all counts are as of `epoch`.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// The last epoch in the ledger.
    pub epoch: Epoch,
    /// Its version.
    pub opened: Version,
    /// W for each stream of the plan.
    pub watermarks: Vec<EventTime>,
    /// Verdicts since the job began.
    pub counts: Counts,
    /// Row changes since the job began.
    pub row_counts: RowCounts,
    /// Epochs that are opened and not in the ledger, the one being read included.
    pub open_epochs: usize,
    /// How much state there is as of `epoch`.
    pub held: Held,
    /// Views that came to a job which had begun, by name: the start of their first whole window.
    pub begins: BTreeMap<String, EventTime>,
    /// Bytes of state as saved in the newest checkpoint, by operator: `ids/` a stream, `view/` a view.
    pub state_bytes: Sizes,
    /// How far behind their sources' ends streams are, where sources tell their ends.
    pub lag: BTreeMap<u32, Lag>,
    /// Sources in trouble, by stream.
    pub trouble: BTreeMap<u32, String>,
    /// Bytes of messages whose epoch is not collected.
    pub in_flight_bytes: u64,
    /// Times intake was held back.
    pub intake_paused: u64,
    /// Why nothing is read now, if that is so.
    pub held_back: Option<HeldBack>,
    /// Bytes of ledger in memory.
    pub ledger_bytes: usize,
    /// Bytes of ledger beyond each sink's cursor, at most ([`Ledger::bytes_after`]).
    pub behind_bytes: BTreeMap<String, u64>,
    /// The newest checkpoint's epoch and version.
    pub checkpoint: Option<(Epoch, Version)>,
    /// The next offset of every partition of each source stream.
    pub positions: BTreeMap<u32, Vec<(Partition, Offset)>>,
    /// Whether every partition of every source has ended and is read.
    pub input_finished: bool,
    /// Whether all sources have delivered what there is.
    pub quiet: bool,
}

/// What was finished, each as the running time of its beginning: whoever drives the engine has the clock for the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finished {
    /// Opening times of epochs that are in the ledger now and were read live.
    pub epochs: Vec<i64>,
    /// When the state was handed over for checkpoints that are in the log now.
    pub checkpoints: Vec<i64>,
}

impl Engine {
    /// Figures as of now.
    pub fn status(&self) -> Status {
        let mut status = self.status.clone();
        status.in_flight_bytes = self.gauges.in_flight_bytes.load(Ordering::Relaxed);
        status.intake_paused = self.gauges.intake_paused.load(Ordering::Relaxed);
        status.held_back = self.held_back();
        status.ledger_bytes = self.ledger.resident_bytes();
        status.open_epochs = self.in_flight.len();
        status.lag = self.sources.values().filter_map(|source| Some((source.stream, self.lag(source)?))).collect();
        let cursors = self.cursors.lock().expect(CURSORS);
        let behind = |name: &String| self.ledger.bytes_after(cursors.get(name).map_or(Epoch(0), |cursor| cursor.epoch));
        status.behind_bytes = self.config.sinks.iter().map(|name| (name.clone(), behind(name))).collect();
        status
    }

    fn lag(&self, source: &SourceStream) -> Option<Lag> {
        let unbound = self.in_flight.values().filter(|flight| !flight.durable && flight.bound.is_none());
        let reports = unbound.flat_map(|flight| flight.closed.iter().flatten());
        let unbound = reports.filter(|report| report.stream == source.stream).map(|report| report.count).sum();
        let saved = self.checkpoint.kept.back().and_then(|(_, _, manifest)| manifest.streams.get(&source.stream));
        lag::of(source, unbound, saved)
    }

    /// Why nothing is read now, if that is so.
    pub fn held_back(&self) -> Option<HeldBack> {
        let in_flight = self.gauges.in_flight_bytes.load(Ordering::Relaxed);
        let holds = |reason: &HeldBack| match reason {
            HeldBack::ClockJumped => !self.guard.trusted(),
            HeldBack::DiskFull => self.disk_full || self.checkpoint.no_space,
            HeldBack::InFlight => in_flight > self.config.in_flight_bytes_max,
            HeldBack::SlowCheckpoint => self.ledger.table_bytes() > LEDGER_TABLE_BYTES_HELD,
        };
        HeldBack::ALL.into_iter().find(holds)
    }
}
