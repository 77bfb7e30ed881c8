//! The memory that a job can need at most, and where it comes from (SEMANTICS 27): a pure function of its plan.
//!
//! ```text
//! events_per_s × (lateness + max_delay + max_ahead + window)  ─▶ records and ids that state may still hold
//! groups × windows alive in that span                         ─▶ rows
//! rows × what their accumulators can hold                     ─▶ bytes, in memory and once more while they are saved
//! ```
//! A partition may run `max_ahead` beyond the slowest one, which holds W back by `max_delay`: that much event time lies
//! before W, a lateness behind it. Records spread over rows take the most where they are spread evenly, because an
//! accumulator grows with each record until it is full ([`crate::aggregate`]). What no declared limit bounds has no
//! bytes and says which limit would. What is counted here as ids and rows is what state may hold at run time: beyond it
//! reading stops ([`Ceilings`]).
//!
//! Texts and ids are taken to be 64 bytes long, messages 192 and dead letters 1 KiB; hash tables as they are right
//! after growing. What the outside world's clients hold is added by whoever knows them.

mod ceilings;
mod rows;

pub use ceilings::Ceilings;

use crate::operators::Partial;
use crate::plan::{Limits, Plan, StreamInput, StreamPlan, ViewInput, ViewPlan};
use crate::record::Record;
use crate::time::{SECOND_US, Span};
use crate::value::{FieldType, Value};
use rows::{GROUP_TEXT_BYTES, Rows, group_bytes};

/// How a job is run, as far as memory goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Intake pauses while messages of so many bytes are in flight.
    pub in_flight_bytes_max: u64,
    /// Time between checkpoints.
    pub checkpoint_every: Span,
    /// For each board of a sink: its name, the view's position, and the groups up to which it is kept.
    pub boards: Vec<(String, usize, u64)>,
}

/// A part of the memory that a job can need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What lies there.
    pub what: String,
    /// How much at most; `None` where nothing that is declared bounds it.
    pub bytes: Option<u64>,
    /// What it is computed from, or which limit is missing.
    pub from: String,
}

/// A remembered id: an entry of 24 bytes and a control byte, in a table that is between 7/16 and 7/8 full.
const ID_BYTES: u64 = 58;
/// The same while it is saved: a state row, and its bytes in the file.
const SAVED_ID_BYTES: u64 = 200;
/// An id's bucket is dropped whole: a quarter of the horizon may lie beyond it.
const ID_BUCKETS: i64 = 4;
/// A message in flight is counted with so many bytes besides its own.
const MESSAGE_BYTES: u64 = 64 + 192;
/// Records of one epoch at most: W moves at its end only.
const EPOCH_RECORDS: u64 = 100_000;
/// A refused record in the ledger.
const DEAD_LETTER_BYTES: u64 = 1024;
/// A row in the ledger's table besides key and value, and as it is saved.
const LEDGER_ROW_BYTES: u64 = 200;
/// A row on a sink's board besides its cells.
const BOARD_ROW_BYTES: u64 = 320;
/// What is in flight at most where no memory is declared, and at most at all.
const IN_FLIGHT_BYTES_MAX: u64 = 256 << 20;
const IN_FLIGHT_BYTES_MIN: u64 = 8 << 20;

/// How much of the declared memory messages in flight may take: a part that leaves the most to the state.
pub fn in_flight_bytes_max(limits: &Limits) -> u64 {
    let share = limits.memory_bytes.map_or(IN_FLIGHT_BYTES_MAX, |bytes| bytes / 64);
    share.clamp(IN_FLIGHT_BYTES_MIN, IN_FLIGHT_BYTES_MAX)
}

/// Everything that the engine can hold, each part with its bytes; nothing that is always there.
pub fn bound(plan: &Plan, setting: &Setting) -> Vec<Part> {
    let rows: Vec<Rows> =
        (0..plan.views.len()).map(|view| Rows::of(plan, view, ahead(plan, view, setting.in_flight_bytes_max))).collect();
    let mut parts: Vec<Part> = plan.streams.iter().filter_map(|stream| ids(stream, &plan.limits, setting)).collect();
    let mut saved: Option<u64> =
        plan.streams.iter().try_fold(0, |sum, stream| Some(saved_ids(stream, &plan.limits, setting)?.saturating_add(sum)));
    for (view, of) in plan.views.iter().zip(&rows) {
        parts.push(match &view.from {
            ViewInput::Stream { .. } => of.root(view),
            ViewInput::View { view: lower, .. } => of.rollup(view, &plan.views[*lower].name, &rows[*lower]),
        });
        let lower = if let ViewInput::View { view: lower, .. } = &view.from { Some(&rows[*lower]) } else { None };
        saved = saved.zip(of.saved_bytes(view, lower)).map(|(sum, bytes)| sum.saturating_add(bytes));
    }
    parts.push(ledger(plan, &rows, setting));
    parts.extend(setting.boards.iter().map(|(sink, view, groups)| board(sink, &plan.views[*view], &rows[*view], *groups)));
    let every = setting.checkpoint_every;
    parts.push(Part {
        what: "checkpoint".to_owned(),
        bytes: saved,
        from: format!("a copy of ids, rows and roll-ups while it is written, every {every}"),
    });
    parts.push(in_flight(plan, setting));
    parts
}

/// The sum, or `None` if a part is not bounded.
pub fn total(parts: &[Part]) -> Option<u64> {
    parts.iter().try_fold(0u64, |sum, part| Some(sum.saturating_add(part.bytes?)))
}

/// Event time that may lie before W.
fn before_watermark(stream: &StreamPlan, limits: &Limits, in_flight_bytes_max: u64) -> Span {
    let epoch = EPOCH_RECORDS.min(in_flight_bytes_max / MESSAGE_BYTES);
    let epoch_us = limits.events_per_s.map_or(0, |rate| (u128::from(epoch) * SECOND_US as u128 / u128::from(rate.max(1))) as i64);
    let watermark = &stream.watermark;
    Span(watermark.max_delay.0.saturating_add(watermark.max_ahead.0).saturating_add(epoch_us))
}

fn ahead(plan: &Plan, view: usize, in_flight_bytes_max: u64) -> Span {
    before_watermark(&plan.streams[plan.views[view].stream], &plan.limits, in_flight_bytes_max)
}

/// Records in so much event time, at the declared rate.
fn records(limits: &Limits, span: Span) -> Option<u64> {
    let exact = u128::from(limits.events_per_s?) * u128::from(span.0.unsigned_abs());
    Some(u64::try_from(exact.div_ceil(SECOND_US as u128)).unwrap_or(u64::MAX))
}

/// How many ids a stream remembers at once; `Some(0)` if it needs none.
fn id_count(stream: &StreamPlan, limits: &Limits, in_flight_bytes_max: u64) -> Option<u64> {
    let (Some(deduplicate), StreamInput::Source(_)) = (stream.deduplicate, &stream.from) else { return Some(0) };
    let within = deduplicate.within.0.saturating_add(deduplicate.within.0 / ID_BUCKETS);
    records(limits, Span(within.saturating_add(before_watermark(stream, limits, in_flight_bytes_max).0)))
}

fn ids(stream: &StreamPlan, limits: &Limits, setting: &Setting) -> Option<Part> {
    let (Some(deduplicate), StreamInput::Source(_)) = (stream.deduplicate, &stream.from) else { return None };
    let count = id_count(stream, limits, setting.in_flight_bytes_max);
    let from = match (count, limits.events_per_s) {
        (Some(count), Some(rate)) => format!(
            "{} ids: {rate}/s over {} and a quarter, max_delay {}, max_ahead {}",
            spaced(count),
            deduplicate.within,
            stream.watermark.max_delay,
            stream.watermark.max_ahead
        ),
        _ => "one for each record within the horizon: declare limits.events_per_s".to_owned(),
    };
    Some(Part { what: format!("ids of {}", stream.name), bytes: count.map(|count| count.saturating_mul(ID_BYTES)), from })
}

fn saved_ids(stream: &StreamPlan, limits: &Limits, setting: &Setting) -> Option<u64> {
    id_count(stream, limits, setting.in_flight_bytes_max).map(|count| count.saturating_mul(SAVED_ID_BYTES))
}

/// Rows that changed since the last checkpoint, those that are being written out, and refused records.
fn ledger(plan: &Plan, rows: &[Rows], setting: &Setting) -> Part {
    let of_rows = plan.views.iter().zip(rows).try_fold(0u64, |sum, (view, rows)| {
        let row = LEDGER_ROW_BYTES + 3 * group_bytes(view);
        Some(sum.saturating_add(rows.bytes(row, |n| rows::saved(view, n))?))
    });
    let refused = records(&plan.limits, setting.checkpoint_every).unwrap_or(0).saturating_mul(DEAD_LETTER_BYTES);
    Part {
        what: "ledger".to_owned(),
        bytes: of_rows.map(|bytes| bytes.saturating_mul(2).saturating_add(refused)),
        from: match of_rows {
            Some(_) => {
                format!("what changed in the {} since a checkpoint, and what one is writing out", setting.checkpoint_every)
            }
            None => "every row may change: declare limits.groups".to_owned(),
        },
    }
}

fn board(sink: &str, view: &ViewPlan, rows: &Rows, groups_max: u64) -> Part {
    let groups = rows.groups.map_or(groups_max, |groups| groups.min(groups_max));
    let row = BOARD_ROW_BYTES + 4 * group_bytes(view) + rows.fullest(|n| rows::live(view, n));
    Part {
        what: format!("board of {sink}"),
        bytes: Some(groups.saturating_mul(row)),
        from: format!("the newest row of {} in each of {} groups", view.name, spaced(groups)),
    }
}

/// Messages, their records and what these add to each view before they are exchanged.
fn in_flight(plan: &Plan, setting: &Setting) -> Part {
    let messages = setting.in_flight_bytes_max / MESSAGE_BYTES;
    let record = (0..plan.streams.len()).map(|stream| record_bytes(plan, stream)).max().unwrap_or(0);
    Part {
        what: "in flight".to_owned(),
        bytes: Some(setting.in_flight_bytes_max.saturating_add(messages.saturating_mul(record))),
        from: format!("{} of messages, at which intake pauses, and their records", mebibytes(setting.in_flight_bytes_max)),
    }
}

fn record_bytes(plan: &Plan, stream: usize) -> u64 {
    let texts = plan.streams[stream].fields.iter().filter(|field| field.field_type == FieldType::Text).count() as u64;
    let values = plan.streams[stream].fields.len() as u64 * size_of::<Value>() as u64 + texts * GROUP_TEXT_BYTES / 2;
    let of_view = |view: &ViewPlan| match &view.from {
        ViewInput::Stream { stream: from, .. } if *from == stream => {
            size_of::<Partial>() as u64 + group_bytes(view) + rows::live(view, 1)
        }
        _ => 0,
    };
    size_of::<Record>() as u64 + GROUP_TEXT_BYTES + values + plan.views.iter().map(of_view).sum::<u64>()
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

/// A number in groups of three digits.
pub fn spaced(number: u64) -> String {
    let digits = number.to_string();
    let (head, tail) = digits.split_at(digits.len() % 3);
    let threes = tail.as_bytes().chunks(3).map(|three| String::from_utf8_lossy(three).into_owned());
    Some(head.to_owned()).filter(|head| !head.is_empty()).into_iter().chain(threes).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
