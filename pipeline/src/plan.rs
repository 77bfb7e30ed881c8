//! A job as the engine obeys it: resolved, typed and checked, names turned into positions.
//!
//! The text of a job file is read elsewhere; by the time a [`Plan`] exists, nothing in it can be wrong. All
//! positions are indices into the plan's own lists: a stream is `plan.streams[i]`, a field is `fields[i]`.

use crate::aggregate::Aggregate;
use crate::decode::{Decoder, Derivation};
use crate::time::Span;
use crate::value::{Column, Field};
use std::sync::Arc;

/// One job.
#[derive(Clone, Debug)]
pub struct Plan {
    /// `[a-z0-9-]+`: the prefix of keys, tables and topics.
    pub name: String,
    /// What the memory bound is computed from.
    pub limits: Limits,
    /// Reference data, looked up by decoders.
    pub tables: Vec<TablePlan>,
    /// Parents before children.
    pub streams: Vec<StreamPlan>,
    /// Lower views before the roll-ups made from them.
    pub views: Vec<ViewPlan>,
}

/// Declared limits (SEMANTICS 27); what is not declared is not bounded, and `check` says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Resident memory, bytes.
    pub memory_bytes: Option<u64>,
    /// Records per second of event time.
    pub events_per_s: Option<u64>,
    /// Groups of any one view.
    pub groups: Option<u64>,
}

/// Reference data by key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TablePlan {
    /// Its name in the job file.
    pub name: String,
    /// Key columns, in order.
    pub key: Vec<String>,
    /// All columns, key columns included; text unless the schema says otherwise.
    pub columns: Vec<Field>,
}

/// One kind of record.
#[derive(Clone, Debug)]
pub struct StreamPlan {
    /// Its name in the job file.
    pub name: String,
    /// Where its records come from.
    pub from: StreamInput,
    /// What views may use, in the order of `Record::values`.
    pub fields: Vec<Field>,
    /// How duplicates are found; `None` when the id is the origin, which cannot repeat.
    pub deduplicate: Option<Deduplicate>,
    /// How the watermark follows the records. A child has its parent's.
    pub watermark: WatermarkPlan,
    /// How long corrections are accepted, in event time. A child has its parent's.
    pub lateness: Span,
    /// Whether accepted events go to the ledger with their bytes: some sink keeps them. Only of a source stream; it
    /// alters no result.
    pub archived: bool,
}

/// Where a stream's records come from.
#[derive(Clone, Debug)]
pub enum StreamInput {
    /// Messages of a source, decoded.
    Source(Arc<Decoder>),
    /// The accepted records of another stream, by position.
    Stream(usize, Arc<Derivation>),
}

/// How ids are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deduplicate {
    /// How long an id is remembered after its event time: at least the lateness.
    pub within: Span,
    /// Who may send the same id.
    pub scope: DeduplicateScope,
}

/// Where a duplicate can come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeduplicateScope {
    /// Any partition: ids are exchanged between workers by hash.
    Stream,
    /// The same partition only, as when producers key by id: no exchange.
    Partition,
}

/// How a stream's watermark follows its records (SEMANTICS 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatermarkPlan {
    /// How far a partition's records may lie behind its newest.
    pub max_delay: Span,
    /// Quiet running time after which a partition no longer holds the watermark back.
    pub idle_after: Span,
    /// How far beyond the epoch's opening time a record may claim to be.
    pub max_future: Span,
    /// How far a partition may run ahead of the slowest before it is paused.
    pub max_ahead: Span,
    /// Whether the watermark goes on with time when every partition is idle.
    pub advance_when_all_idle: bool,
}

/// An aggregate kept up to date: rows of (window, group) → values.
#[derive(Clone, Debug)]
pub struct ViewPlan {
    /// Its name in the job file and in every store.
    pub name: String,
    /// What it aggregates.
    pub from: ViewInput,
    /// The stream at the bottom of it: whose watermark and lateness hold.
    pub stream: usize,
    /// How event time is cut.
    pub window: WindowPlan,
    /// The group's fields, named and typed.
    pub group: Vec<Field>,
    /// One accumulator each.
    pub aggregates: Vec<Aggregate>,
    /// What readers see: the aggregates' columns in order.
    pub columns: Vec<Column>,
}

/// What a view aggregates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ViewInput {
    /// A stream's accepted records, and the field positions to group by.
    Stream {
        /// Position in `plan.streams`.
        stream: usize,
        /// Positions in the stream's fields, one for each group field.
        group_by: Vec<usize>,
    },
    /// Another view's rows: a roll-up merges accumulators, never values.
    View {
        /// Position in `plan.views`, lower than this view's own.
        view: usize,
        /// Positions in the lower view's group, one for each group field.
        group_by: Vec<usize>,
        /// Positions in the lower view's aggregates, one for each aggregate here.
        merge: Vec<usize>,
    },
}

/// How event time is cut into windows; `window_start` is inside, `window_end` outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WindowPlan {
    /// Adjoining spans, aligned to 1970-01-01T00:00:00Z.
    Tumbling {
        /// Their length.
        size: Span,
    },
    /// Whole days, weeks (from Monday) or months in a time zone, daylight saving included.
    Calendar {
        /// The unit.
        unit: CalendarUnit,
        /// An IANA time-zone name.
        zone: String,
    },
    /// Overlapping spans of `size`, one ending at each multiple of `every`.
    Sliding {
        /// Their length, a multiple of `every`.
        size: Span,
        /// The distance between their ends.
        every: Span,
    },
    /// From the first event to the last of a run without a pause of `gap`, plus `gap`.
    Session {
        /// The pause that ends a session.
        gap: Span,
    },
    /// One row a group, for ever.
    Unwindowed,
}

impl WindowPlan {
    /// No window is longer; of a session, none but through its events. `None` if there is no end.
    pub fn longest(&self) -> Option<Span> {
        match self {
            WindowPlan::Tumbling { size } | WindowPlan::Sliding { size, .. } => Some(*size),
            WindowPlan::Session { gap } => Some(*gap),
            WindowPlan::Calendar { .. } => Some(Span::seconds(32 * 86_400)),
            WindowPlan::Unwindowed => None,
        }
    }

    /// How far an event reaches beyond itself into what a later one belongs to.
    pub fn gap(&self) -> Span {
        if let WindowPlan::Session { gap } = self { *gap } else { Span(0) }
    }
}

/// A calendar window's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CalendarUnit {
    /// Midnight to midnight, local time.
    Day,
    /// Monday to Monday, local time.
    Week,
    /// First to first, local time.
    Month,
}
