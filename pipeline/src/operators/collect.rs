//! Gathers what a worker contributes to an epoch: finished rows, dead letters, archived events, counts, and at a checkpoint its state.
//!
//! The collector is downstream of every operator, so when it closes an epoch all of them have. The parts of all
//! workers together are the epoch's batch for the ledger; sorted there, they are the same bytes on any number of workers.

use super::{Change, EpochOperator, RowChange, Tick};
use crate::ledger::{RowKey, RowValue};
use crate::plan::Plan;
use crate::ports::sink::RowState;
use crate::record::{DeadLetter, Event, Origin, Rejection, Verdict};
use crate::state::{Held, Save, SaveState, State};
use crate::time::{Epoch, EventTime};
use crate::value::Cell;
use compact_str::CompactString;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What reaches the collector.
#[derive(Clone, Debug)]
pub enum Effect {
    /// A row of some view changed.
    Row(RowChange),
    /// A record was refused after decoding; the message is still held where it was read.
    Refused {
        /// Position of the stream that refused it.
        stream: u32,
        /// Where it came from.
        origin: Origin,
        /// Why.
        rejection: Rejection,
    },
    /// A record of an archived stream was accepted; the message is still held where it was read.
    Accepted(Accepted),
    /// Verdicts of a stream.
    Count {
        /// Position of the stream.
        stream: u32,
        /// Which verdict.
        verdict: Verdict,
        /// How many records.
        records: u64,
        /// How many of them were late.
        late: u64,
    },
}

/// An accepted record without its bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Accepted {
    /// Position of its source stream.
    pub stream: u32,
    /// Where it came from.
    pub origin: Origin,
    /// When it happened.
    pub event_time: EventTime,
    /// What it is called.
    pub id: CompactString,
}

/// Records by stream and verdict: `(records, late)`.
pub type Counts = BTreeMap<(u32, Verdict), (u64, u64)>;

/// Rows by view: `(new or changed, of those corrections of a complete row, gone)`.
pub type RowCounts = BTreeMap<u32, (u64, u64, u64)>;

/// One worker's contribution to one epoch.
#[derive(Debug, Default)]
pub struct EpochPart {
    /// Which epoch.
    pub epoch: Epoch,
    /// Changed rows: `None` takes the key away without a trace for readers (its row ends elsewhere now).
    pub rows: Vec<(RowKey, Option<RowValue>)>,
    /// Refused records with their bytes.
    pub dead_letters: Vec<DeadLetter>,
    /// Accepted records of archived streams with their bytes.
    pub events: Vec<Event>,
    /// Verdicts.
    pub counts: Counts,
    /// Row changes.
    pub row_counts: RowCounts,
    /// How much the worker's operators hold at its end.
    pub held: Held,
    /// The worker's state, if this is a checkpoint's epoch.
    pub state: Option<State>,
}

/// What the worker's reading side holds until an epoch is collected.
pub trait Retained: 'static {
    /// The refused record's message with all that a dead letter keeps.
    fn dead_letter(&mut self, epoch: Epoch, stream: u32, origin: Origin, rejection: Rejection) -> DeadLetter;
    /// The accepted record's message as an event, with or without the message's body.
    fn event(&mut self, epoch: Epoch, accepted: Accepted, with_payload: bool) -> Event;
    /// Dead letters and counts that reading itself made, and the end of holding on to `epoch`.
    fn release(&mut self, epoch: Epoch) -> (Vec<DeadLetter>, Counts);
}

/// See the module.
pub struct Collect<R, F> {
    plan: Arc<Plan>,
    retained: R,
    send: F,
    pending: BTreeMap<Epoch, Vec<Effect>>,
    save: SaveState,
}

impl<R: Retained, F: FnMut(EpochPart) + 'static> Collect<R, F> {
    /// Sends each epoch's part to `send`.
    pub fn new(plan: Arc<Plan>, retained: R, save: SaveState, send: F) -> Collect<R, F> {
        Collect { plan, retained, send, pending: BTreeMap::new(), save }
    }

    fn row(&self, change: RowChange, tick: &Tick, part: &mut EpochPart) {
        let view = &self.plan.views[change.view as usize];
        let count = part.row_counts.entry(change.view).or_default();
        let key = RowKey { view: change.view, end: change.end, group: change.group, start: change.start };
        let was_complete = change.was_complete || change.end <= tick.before[view.stream];
        let (cells, state) = match change.change {
            Change::Moved => return part.rows.push((key, None)),
            Change::Gone => {
                count.2 += 1;
                (vec![Cell::Null; view.columns.len()], RowState::Gone)
            }
            Change::Value(accs) => {
                count.0 += 1;
                count.1 += u64::from(was_complete);
                let mut cells = Vec::with_capacity(view.columns.len());
                for (aggregate, acc) in view.aggregates.iter().zip(accs.iter()) {
                    aggregate.finish(acc, &mut cells);
                }
                (cells, if change.end <= tick.after[view.stream] { RowState::Complete } else { RowState::Open })
            }
        };
        part.rows
            .push((key, Some(RowValue { state, was_complete, was_final: false, watermark: tick.after[view.stream], cells })));
    }

    /// A message's body goes with its first accepted element: an array of a thousand is not kept a thousand times.
    fn events(&mut self, epoch: Epoch, mut accepted: Vec<Accepted>) -> Vec<Event> {
        accepted.sort_unstable();
        let mut last = None;
        let event = |record: Accepted| {
            let message = (record.stream, record.origin.partition, record.origin.offset);
            let first = last.replace(message) != Some(message);
            self.retained.event(epoch, record, first)
        };
        accepted.into_iter().map(event).collect()
    }
}

impl<R: Retained, F: FnMut(EpochPart) + 'static> EpochOperator for Collect<R, F> {
    type In = Effect;
    type Out = ();

    fn take(&mut self, epoch: Epoch, batch: &mut Vec<Effect>) {
        self.pending.entry(epoch).or_default().append(batch);
    }

    fn close(&mut self, tick: &Tick, _out: &mut Vec<()>) {
        let mut part = EpochPart { epoch: tick.epoch, ..EpochPart::default() };
        let mut accepted = Vec::new();
        for effect in self.pending.remove(&tick.epoch).unwrap_or_default() {
            match effect {
                Effect::Row(change) => self.row(change, tick, &mut part),
                Effect::Refused { stream, origin, rejection } => {
                    part.dead_letters.push(self.retained.dead_letter(tick.epoch, stream, origin, rejection));
                }
                Effect::Accepted(record) => accepted.push(record),
                Effect::Count { stream, verdict, records, late } => {
                    let count = part.counts.entry((stream, verdict)).or_default();
                    *count = (count.0 + records, count.1 + late);
                }
            }
        }
        part.events = self.events(tick.epoch, accepted);
        let (dead_letters, counts) = self.retained.release(tick.epoch);
        part.dead_letters.extend(dead_letters);
        for (key, (records, late)) in counts {
            let count = part.counts.entry(key).or_default();
            *count = (count.0 + records, count.1 + late);
        }
        part.held = self.save.take_held(tick.epoch);
        part.state = (tick.save != Save::Nothing).then(|| self.save.take());
        (self.send)(part);
    }
}
