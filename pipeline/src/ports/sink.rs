//! Where results go. A sink is given *cuts*: the newest value of every row that became due between two epochs.
//!
//! A sink thread asks the ledger for the next cut, hands it to [`Sink::write`], and moves its cursor once that
//! returns. After a crash the same cut may come again with the same versions and bytes: writing is idempotent by
//! version ([`Guarantee::VersionedRows`]) or repeats are marked as such ([`Guarantee::AtLeastOnce`]).

use crate::record::{DeadLetter, Event};
use crate::time::{Epoch, EventTime, Version};
use crate::value::{Cell, Value};
use serde::{Deserialize, Serialize};

/// What a reader of a store may rely on, after any number of repeats. Each connector states its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    /// The highest version of a row wins, whatever is repeated or delayed.
    VersionedRows,
    /// Repeats are possible after a crash and carry the same id and version.
    AtLeastOnce,
}

impl std::fmt::Display for Guarantee {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Guarantee::VersionedRows => "each version once",
            Guarantee::AtLeastOnce => "at least once",
        })
    }
}

/// A row as of its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowState {
    /// The watermark has not passed its end.
    Open,
    /// The watermark has passed its end; corrections may follow.
    Complete,
    /// The row no longer exists: a merged session. Written, never deleted.
    Gone,
}

impl RowState {
    /// The name in stores.
    pub fn name(self) -> &'static str {
        match self {
            RowState::Open => "open",
            RowState::Complete => "complete",
            RowState::Gone => "gone",
        }
    }
}

/// One row of a view, to be written. Its identity in a store is (view, group, start).
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Position of the view in the plan.
    pub view: usize,
    /// The group's values, in the plan's order.
    pub group: Vec<Value>,
    /// First microsecond of the window; `EventTime::MIN` when unwindowed.
    pub start: EventTime,
    /// First microsecond after the window; `EventTime::MAX` when unwindowed.
    pub end: EventTime,
    /// One cell for each column of the view; nulls when gone.
    pub cells: Vec<Cell>,
    /// As of `version`.
    pub state: RowState,
    /// The version of this value.
    pub version: Version,
    /// When the store may forget it, microseconds since 1970; `None` for never.
    pub expires_us: Option<i64>,
}

/// The newest row of one group, for boards: the largest window end that is not gone.
#[derive(Clone, Debug, PartialEq)]
pub struct Latest {
    /// Position of the view in the plan.
    pub view: usize,
    /// The group's values.
    pub group: Vec<Value>,
    /// Its newest row; `None` when every row of the group is gone or expired.
    pub row: Option<Row>,
}

/// A view's frontiers, read off the watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViewProgress {
    /// Windows that end here or earlier are complete.
    pub complete_until: EventTime,
    /// Windows that end here or earlier are final.
    pub final_until: EventTime,
}

/// A refused record with its version, as sinks keep it.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetterRow {
    /// The version of the epoch that refused it.
    pub version: Version,
    /// The record and why.
    pub dead_letter: DeadLetter,
}

/// An accepted record with its version, as sinks keep it.
#[derive(Clone, Debug, PartialEq)]
pub struct EventRow {
    /// The version of the epoch that accepted it.
    pub version: Version,
    /// When the store may forget it, microseconds since 1970; `None` for never.
    pub expires_us: Option<i64>,
    /// The record.
    pub event: Event,
}

/// Which of all cuts that a store was ever given. Those of one process follow each other; the next process may begin
/// behind where the one before had come to, and writes the same again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The process that writes: each takes a higher one than those before it on the same state.
    pub generation: u64,
    /// The cut's version.
    pub version: Version,
    /// Higher than that of every other cut before it that had this version too.
    pub step: u32,
}

/// What a sink writes in one go: everything due after `from` up to and including `to`. Reading all of it, a reader
/// sees the job exactly as of `to`. A sink that was away gets it in pages, one cut each: all but the last say `more`,
/// and hold rows and dead letters alone; the store's frontier and board move with the last.
#[derive(Clone, Debug, Default)]
pub struct Cut {
    /// The sink's cursor before this cut.
    pub from: Epoch,
    /// The sink's cursor after it.
    pub to: Epoch,
    /// `to`'s opening time.
    pub version: Version,
    /// The version of `from`, which the board in the store must hold.
    pub previous_version: Version,
    /// Which process gives it.
    pub generation: u64,
    /// Which process gave the cut before this one, with `previous_version`.
    pub previous_generation: u64,
    /// Higher than that of cuts before this one that ended at `to` too: a cut may begin where it ends, to give old rows
    /// again, or those of views that had waited for their turn.
    pub step: u32,
    /// The step of the cut before this one.
    pub previous_step: u32,
    /// Rows due, each with its newest value, ordered by (view, end, group, start); then, in the same order, rows that are
    /// written again.
    pub rows: Vec<Row>,
    /// The newest row of every group that rows due have touched, where a board is kept.
    pub latest: Vec<Latest>,
    /// For each view of the plan.
    pub progress: Vec<ViewProgress>,
    /// Dead letters of these epochs, in the order of (epoch, stream, partition, offset, element).
    pub dead_letters: Vec<DeadLetterRow>,
    /// Accepted events, in the same order. A sink that was away gets them in pieces of whole epochs: they may end
    /// before `to`, and the next cut goes on there.
    pub events: Vec<EventRow>,
    /// Another page of the same cut follows: `to` is not reached yet.
    pub more: bool,
    /// How many pages of the same cut were before this one.
    pub page: u32,
    /// The store has lost writes, and is given again what it was given before.
    pub republished: Option<Republished>,
}

impl Cut {
    /// Which of all cuts this is.
    pub fn place(&self) -> Place {
        Place { generation: self.generation, version: self.version, step: self.step }
    }

    /// Which was written before it; the least if none was.
    pub fn previous(&self) -> Place {
        Place { generation: self.previous_generation, version: self.previous_version, step: self.previous_step }
    }

    /// Whether a republication begins here.
    pub fn begins(&self) -> bool {
        self.republished.is_some_and(|republished| republished.begun == self.place())
    }
}

/// How far it is with giving everything again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Republished {
    /// The first cut of this republication: its `latest` is the newest row of every group.
    pub begun: Place,
    /// With this cut the store holds everything again.
    pub ends: bool,
}

impl Default for ViewProgress {
    fn default() -> Self {
        ViewProgress { complete_until: EventTime::MIN, final_until: EventTime::MIN }
    }
}

/// A row as a store holds it, as far as a rebuild must know it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeldRow {
    /// The group's values, exactly as they were written.
    pub group: Vec<Value>,
    /// As it was written; with view and group this is what the row is known by.
    pub start: EventTime,
    /// As it was written, cut to what the store can hold: a session in Cassandra ends at a whole millisecond.
    pub end: EventTime,
    /// The version that the store has.
    pub version: Version,
}

/// A row that the store will never take, set aside and listed; the sink goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct SetAside {
    /// Which row, in words: view, group, window.
    pub row: String,
    /// What the store said.
    pub cause: String,
}

/// Why a cut was not written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SinkError {
    /// The store is away or busy: back off and try the same cut again, for ever.
    #[error("{0}")]
    Retry(String),
    /// The store refuses the table or the login: stop this sink, keep its rows in the ledger, say why.
    #[error("{0}")]
    Stop(String),
    /// The store no longer holds what earlier cuts wrote: a fail-over, a restart from nothing. Write all of it again, by
    /// cuts that say `republished`.
    #[error("{0}")]
    Lost(String),
}

/// One outside store.
pub trait Sink: Send {
    /// Connects and makes or checks tables and functions. Called before the first cut and again after an error.
    fn prepare(&mut self) -> Result<(), SinkError>;
    /// Writes the whole cut, or fails having perhaps written a part, which is then repeated. A store that can lose writes
    /// looks whether it has, and says so by [`SinkError::Lost`] until a cut comes that begins a republication.
    fn write(&mut self, cut: &Cut) -> Result<Vec<SetAside>, SinkError>;
    /// Gives every row of `view` that is not gone and whose window starts at `from` or later to `take`; false if this store
    /// cannot be read back (it keeps a history, not rows). May be called from any place before the first `write`; connects
    /// if need be.
    ///
    /// Rows without a window start before all time, so they come for `EventTime::MIN` alone. A row may come more than once,
    /// and what has expired comes as long as readers can see it. After [`SinkError::Retry`] all come again from the
    /// beginning. A row that this job could not have written so, since a field of the group has changed, is
    /// [`SinkError::Stop`]: nothing that is written could reach it.
    fn held(&mut self, view: usize, from: EventTime, take: &mut dyn FnMut(HeldRow)) -> Result<bool, SinkError> {
        let _ = (view, from, take);
        Ok(false)
    }
}
