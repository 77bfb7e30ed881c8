//! A job recomputed beside its old state, and what of the old state that replaces.
//!
//! ```text
//! old state, drained at E ─────────────────────────────────────┐ rows before `from` as they are
//! sources up to the old offsets ─▶ an engine of its own ─▶ rows ┴─▶ compare ─▶ epoch E+1: changed, new, gone ─▶ sinks
//! ```
//! Rows whose windows start at `from` or later are the recomputation's; of those that come out the same the ledger keeps
//! what it has, so that no store is written for nothing. Rows that only stores know are given from outside. A record that
//! is refused now is a dead letter of that epoch, unless its own bytes had made it one before.

use super::carry::{Described, check_delivered, commit, moved};
use super::checkpoint::{self, Manifest};
use super::{Engine, EngineError};
use crate::decode::{Context, TableRows, Tables};
use crate::group::Group;
use crate::ledger::{Batch, Keep, Ledger, RowKey, RowValue, RunEntry};
use crate::log::{CommitLog, Taken};
use crate::operators::given_complete;
use crate::plan::{Plan, StreamInput, WindowPlan};
use crate::ports::blobs::Blobs;
use crate::ports::sink::RowState;
use crate::ports::source::{Discovered, Source, SourceError};
use crate::positions::Positions;
use crate::record::{DeadLetter, Message, Offset, PartitionIndex, Reason, Record};
use crate::run::RunError;
use crate::time::{Epoch, EventTime, Version};
use crate::value::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Bytes that are read at a time while the first record of a partition is looked for.
const POLL_BYTES: usize = 64 << 10;
/// A row while it is compared, besides its cells: key and value in a map, its place among the others in sets.
const COMPARED_ROW_BYTES: u64 = 400;
/// Records that are looked at: one alone may be an old one that came too late.
const FIRST_RECORDS: usize = 32;

/// A row's identity in a store: view of the new plan, group and start.
pub type HeldKey = (u32, Group, EventTime);

/// What a recomputation changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Rows that came out as they were.
    pub same: u64,
    /// Rows with another value, and new ones.
    pub changed: u64,
    /// Rows that are no longer there.
    pub gone: u64,
    /// Records that are refused now, and were not before as far as is known.
    pub refused: u64,
}

/// The newest checkpoint's manifest, if its bytes are what was written.
pub fn newest_manifest(blobs: &Arc<dyn Blobs>) -> Result<Option<Manifest>, EngineError> {
    Ok(super::Standing::read(&**blobs, &CommitLog::peek(blobs.clone())?)?.1)
}

/// What a partition still has of the records that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retained {
    /// All of them.
    All,
    /// Not the earliest ones. This is the largest event time among the first that are left.
    From(EventTime),
    /// None that has a time.
    Nothing,
}

/// Looks at the first records of a partition. One beyond `newest`, the largest event time that was ever read of it, never
/// passed the future test. Waits for the source between two looks with `wait`, which says whether to go on.
pub fn first_retained(
    plan: &Plan,
    tables: &[TableRows],
    (stream, source): (u32, &dyn Source),
    found: &Discovered,
    newest: Option<EventTime>,
    mut wait: impl FnMut(Option<&str>) -> bool,
) -> Result<Retained, SourceError> {
    let StreamInput::Source(decoder) = &plan.streams[stream as usize].from else { return Ok(Retained::All) };
    let end = found.end.unwrap_or(Offset(u64::MAX));
    if found.start == Offset(0) {
        return Ok(Retained::All);
    }
    let tables = Tables::new(&plan.tables, tables).map_err(|mistakes| SourceError::Stop(mistakes.join("\n")))?;
    let (index, mut reader) = (PartitionIndex(0), source.reader()?);
    reader.assign(index, &found.partition, found.start)?;
    // When it was received decides nothing of an event time.
    let context = Context { index, partition: &found.partition, opened: Version(0), tables: &tables };
    let (mut polled, mut decoded, mut first) = (Vec::new(), Vec::new(), Vec::new());
    while first.len() < FIRST_RECORDS && found.start < end {
        let trouble = match reader.poll(POLL_BYTES, &mut polled) {
            Ok(()) => None,
            Err(SourceError::Retry(why)) => Some(why),
            Err(stop) => return Err(stop),
        };
        let read = polled.len();
        for (_, message) in polled.drain(..).filter(|(_, message)| message.offset < end) {
            decoder.decode(&message, &context, &mut decoded);
            let times = decoded.drain(..).filter_map(Result::ok).map(|record| record.event_time);
            first.extend(times.filter(|time| newest.is_none_or(|newest| *time <= newest)));
        }
        if reader.position(index).at_end {
            break;
        }
        if read == 0 && !wait(trouble.as_deref()) {
            return Err(SourceError::Retry("it was asked to stop".into()));
        }
    }
    Ok(first.into_iter().take(FIRST_RECORDS).max().map_or(Retained::Nothing, Retained::From))
}

/// Memory that [`adopt`] needs to compare rows, bytes at most: those of the ledgers that these checkpoints of plans list, a copy of
/// what changes, and the keys of rows that stores hold.
pub fn comparing_bytes(ledgers: [(&Manifest, &Plan); 2], held: usize) -> u64 {
    let views = ledgers.iter().flat_map(|(_, plan)| &plan.views);
    let columns = views.map(|view| view.columns.len()).max().unwrap_or(0) as u64;
    let row_bytes = COMPARED_ROW_BYTES + columns * size_of::<Cell>() as u64;
    let rows = |run: &RunEntry| run.entries * row_bytes + run.bytes;
    let [old, new] = ledgers.map(|(manifest, _)| manifest.ledger.iter().filter(|run| !run.events).map(rows).sum::<u64>());
    // Each row may be another one, or gone. And the state is written once more, as one run.
    2 * (old + new + held as u64 * row_bytes) + ledgers[1].0.state.iter().map(|file| file.bytes).sum::<u64>()
}

/// What is known of a recomputation, beside its state.
#[derive(Clone, Copy)]
pub struct Recomputed<'a> {
    /// The old job's checkpoint up to whose offsets it went.
    pub at: Epoch,
    /// For each view of the new plan, where the first window starts that was recomputed whole.
    pub from: &'a [EventTime],
    /// Rows of such windows that stores hold, with their ends.
    pub held: &'a BTreeMap<HeldKey, EventTime>,
    /// Tables of the old job.
    pub tables: &'a [TableRows],
}

/// Puts what was recomputed in `beside`, whose engine is done, in the place of the state that `old` left, which must be
/// drained too, by generation `drained`: if that was taken over since, nothing happens. Takes the next one. The checkpoint
/// in the log is the commit point.
pub fn adopt(
    blobs: &Arc<dyn Blobs>,
    drained: u64,
    old: Described<'_>,
    beside: &Arc<dyn Blobs>,
    new: Described<'_>,
    recomputed: &Recomputed<'_>,
    taken: Taken<'_>,
) -> Result<Rebuilt, EngineError> {
    let Recomputed { at, from, held, tables } = *recomputed;
    let failed = |error: RunError| EngineError::Failed(format!("what was recomputed could not be taken over: {error}"));
    let refused = |why: &str| EngineError::Refused(why.into());
    let (log, records) = CommitLog::open_after(drained, blobs.clone(), taken)?;
    let generation = log.generation();
    let was = checkpoint::newest(blobs, generation, &records, |_| ())?;
    let (_, was, _, old_ledger) = was.ok_or_else(|| refused("the old job has left no checkpoint: run it with --drain"))?;
    if super::start::binds_after(&records, was.epoch).next().is_some() {
        return Err(refused("the old job has bound epochs that are in no checkpoint: run it with --drain"));
    }
    if was.fingerprint.job != old.fingerprint.job {
        return Err(EngineError::OtherJob { job: was.fingerprint.job });
    }
    if was.epoch != at {
        return Err(EngineError::Failed("the process before has gone on meanwhile: start again".into()));
    }
    let slots = CommitLog::peek(beside.clone())?;
    let found = checkpoint::newest(beside, generation, &slots, |_| ())?;
    let (_, is, state, new_ledger) = found.ok_or_else(|| refused("what was recomputed is in no checkpoint"))?;
    if is.fingerprint != new.fingerprint {
        return Err(refused("what was recomputed is another job's: start again"));
    }
    let to = Positions::between(old.plan, new.plan);
    let epoch = was.epoch.next();
    let opened = Version(was.opened.0.max(is.opened.0) + 1_000);
    let carried = old_ledger.carry(&to).map_err(failed)?;
    check_delivered(&was, carried.left_out, old, new)?;
    let ledger = Ledger::open(blobs.clone(), generation, was.epoch, &carried.runs).map_err(failed)?;
    let (plans, watermarks) = ((old.plan, new.plan), (&to.watermarks(&was.watermarks)[..], &is.watermarks[..]));
    let comparison = Comparison { plans, old: &ledger, new: &new_ledger, watermarks, from, held };
    if let Some(view) = comparison.grows_over_the_edge().map_err(failed)? {
        return Err(EngineError::Refused(format!(
            "views.{view}: has a session that may still grow, of which the sources no longer have all records: wait until it has \
             ended, or let its topic keep records longer"
        )));
    }
    let (rows, mut rebuilt, given) = comparison.rows().map_err(failed)?;
    let tables = Tables::new(&old.plan.tables, tables).map_err(|mistakes| EngineError::Refused(mistakes.join("\n")))?;
    let dead_letters = newly_refused((old.plan, new.plan), &tables, new_ledger.dead_letters().map_err(failed)?);
    rebuilt.refused = dead_letters.len() as u64;
    ledger.append(Batch { epoch, opened, watermarks: is.watermarks.clone(), rows, dead_letters, events: Vec::new() });
    ledger.freeze();
    let everything = Keep { passed: Epoch(0), rows_until: vec![EventTime::MIN; new.plan.views.len()] };
    let runs = ledger.seal(&everything).map_err(failed)?;
    let name = format!("state/{generation:010}-{:020}", epoch.0);
    let same = Positions::between(new.plan, new.plan);
    let instead = |operator: &str, key: &[u8], value: &[u8]| {
        let view = new.plan.views.iter().position(|view| operator.strip_prefix("view/") == Some(&view.name));
        let view = view.filter(|view| matches!(new.plan.views[*view].window, WindowPlan::Session { .. }))?;
        let was_given = |group, start| (start >= from[view]).then(|| given.contains(&(view as u32, group, start)));
        given_complete(key, value, was_given)
    };
    let file = state.carry(&**blobs, &name, |_| true, instead, &same).map_err(failed)?;
    let was = moved(was, new, &to);
    let begins = new.plan.views.iter().zip(from).filter(|(_, from)| **from > EventTime::MIN);
    let manifest = Manifest {
        epoch,
        opened,
        state: file.into_iter().collect(),
        ledger: runs,
        begins: begins.map(|(view, from)| (view.name.clone(), *from)).collect(),
        cursors: was.cursors,
        forgotten: was.forgotten,
        ended: false,
        ..is
    };
    commit(&**blobs, log, &manifest, failed)?;
    Ok(rebuilt)
}

/// What the old job had not refused, in the order of a batch. What it refused for its bytes alone, those bytes still tell;
/// what depended on arrival is nowhere kept, so such a record is told of again.
fn newly_refused((old, new): (&Plan, &Plan), tables: &Tables, refused: Vec<DeadLetter>) -> Vec<DeadLetter> {
    let was_refused = |letter: &DeadLetter| {
        let of_arrival = matches!(letter.rejection.reason, Reason::TooFarInFuture | Reason::TooLate | Reason::Conflict);
        let stream = old.streams.iter().position(|stream| stream.name == new.streams[letter.stream as usize].name);
        stream.is_some_and(|stream| !of_arrival && matches!(decoded(old, stream, tables, letter), Some(Err(()))))
    };
    let mut newly: Vec<DeadLetter> = refused.into_iter().filter(|letter| !was_refused(letter)).collect();
    newly.sort_unstable_by(|a, b| {
        (a.stream, &a.partition, a.offset, a.element).cmp(&(b.stream, &b.partition, b.offset, b.element))
    });
    newly
}

/// What a plan makes of a refused record's bytes in a stream; `None` if they do not come so far.
fn decoded(plan: &Plan, stream: usize, tables: &Tables, letter: &DeadLetter) -> Option<Result<Record, ()>> {
    match &plan.streams[stream].from {
        StreamInput::Source(decoder) => {
            let message = Message {
                offset: letter.offset,
                key: letter.key.clone(),
                headers: letter.headers.clone().into(),
                payload: letter.payload.clone(),
                broker_time_us: letter.broker_time_us,
            };
            // When it was received is nowhere kept.
            let context = Context { index: PartitionIndex(0), partition: &letter.partition, opened: Version(0), tables };
            let mut outcomes = Vec::new();
            decoder.decode(&message, &context, &mut outcomes);
            outcomes.into_iter().find_map(|outcome| match outcome {
                Ok(record) => (record.origin.element == letter.element).then_some(Ok(record)),
                Err((element, _)) => (element == letter.element).then_some(Err(())),
            })
        }
        StreamInput::Stream(parent, derivation) => {
            let record = decoded(plan, *parent, tables, letter)?.ok()?;
            Some(derivation.derive(&record).map(|(values, _)| Record { values, ..record }).map_err(|_| ()))
        }
    }
}

/// The rows of both ledgers, from where both are whole.
struct Comparison<'a> {
    /// Old and new.
    plans: (&'a Plan, &'a Plan),
    old: &'a Ledger,
    new: &'a Ledger,
    /// Where the old job stopped, and after the recomputation.
    watermarks: (&'a [EventTime], &'a [EventTime]),
    from: &'a [EventTime],
    held: &'a BTreeMap<HeldKey, EventTime>,
}

type Changes = Vec<(RowKey, Option<RowValue>)>;
/// Whether a row was complete, and final, with whatever end it had.
type Given = BTreeMap<HeldKey, (bool, bool)>;

impl Comparison<'_> {
    /// What changes, in the order of keys; and which sessions that came out were given as complete, with whatever end.
    fn rows(&self) -> Result<(Changes, Rebuilt, BTreeSet<HeldKey>), RunError> {
        let (mut changes, mut rebuilt, mut complete) = (Changes::new(), Rebuilt::default(), BTreeSet::new());
        for view in 0..self.plans.1.views.len() as u32 {
            self.view(view, &mut changes, &mut rebuilt, &mut complete)?;
        }
        changes.sort_by(|a, b| a.0.cmp(&b.0));
        Ok((changes, rebuilt, complete))
    }

    /// A view whose session from before the edge is not final: its next event would make a row of what is left.
    fn grows_over_the_edge(&self) -> Result<Option<&str>, RunError> {
        for (at, view) in self.plans.1.views.iter().enumerate() {
            if matches!(view.window, WindowPlan::Session { .. }) {
                let (watermark, lateness) = (self.before(view.stream), self.plans.1.streams[view.stream].lateness);
                let grows = |(key, _, value): &(RowKey, Version, RowValue)| {
                    key.start < self.from[at] && value.state != RowState::Gone && key.end.plus(lateness) > watermark
                };
                if self.old.rows(at as u32)?.iter().any(grows) {
                    return Ok(Some(&view.name));
                }
            }
        }
        Ok(None)
    }

    /// W where the old job stopped.
    fn before(&self, stream: usize) -> EventTime {
        self.watermarks.0.get(stream).copied().unwrap_or(EventTime::MIN)
    }

    /// A changed row's value as of W: whoever waits for complete or final rows has passed this one, if W had, and was given
    /// it, if it was due before.
    fn value(&self, key: &RowKey, cells: Vec<Cell>, given: &Given) -> RowValue {
        let stream = self.plans.1.views[key.view as usize].stream;
        let (before, watermark) = (self.before(stream), self.watermarks.1[stream]);
        let (complete, last) = given.get(&(key.view, key.group.clone(), key.start)).copied().unwrap_or_default();
        let was_complete = complete || key.end <= before;
        let was_final = last || key.end.plus(self.plans.1.streams[stream].lateness) <= before;
        let state = if key.end <= watermark { RowState::Complete } else { RowState::Open };
        RowValue { state, was_complete, was_final, watermark, cells }
    }

    /// Which rows of a view were complete, and final, with the ends that they had: what was due stays due. What the ledger
    /// has forgotten is as the stores have it.
    fn given(&self, view: u32, old: &BTreeMap<RowKey, RowValue>) -> Given {
        let stream = self.plans.1.views[view as usize].stream;
        let (before, lateness) = (self.before(stream), self.plans.1.streams[stream].lateness);
        let mut given = Given::new();
        for (key, value) in old {
            let there = value.state != RowState::Gone;
            let was = given.entry((view, key.group.clone(), key.start)).or_default();
            let complete = value.was_complete || there && key.end <= before;
            let last = value.was_final || there && key.end.plus(lateness) <= before;
            *was = (was.0 || complete, was.1 || last);
        }
        for (key, end) in self.held.iter().filter(|(key, _)| key.0 == view) {
            given.entry(key.clone()).or_insert((*end <= before, end.plus(lateness) <= before));
        }
        given
    }

    /// A row that is no longer there, for whoever was given it.
    fn gone(&self, key: RowKey, given: &Given) -> (RowKey, Option<RowValue>) {
        let view = &self.plans.1.views[key.view as usize];
        let (cells, watermark) = (vec![Cell::Null; view.columns.len()], self.watermarks.1[view.stream]);
        let (was_complete, was_final) = given.get(&(key.view, key.group.clone(), key.start)).copied().unwrap_or_default();
        (key, Some(RowValue { state: RowState::Gone, was_complete, was_final, watermark, cells }))
    }

    fn view(
        &self,
        view: u32,
        changes: &mut Changes,
        rebuilt: &mut Rebuilt,
        complete: &mut BTreeSet<HeldKey>,
    ) -> Result<(), RunError> {
        let (plan, from) = (&self.plans.1.views[view as usize], self.from[view as usize]);
        // Stores know cells by their columns' names.
        let was = self.plans.0.views.iter().find(|was| was.name == plan.name);
        let comparable = was.is_some_and(|was| was.columns == plan.columns);
        let in_range = |(key, _, value): (RowKey, Version, RowValue)| (key.start >= from).then_some((key, value));
        let old: BTreeMap<RowKey, RowValue> = self.old.rows(view)?.into_iter().filter_map(in_range).collect();
        let is_there = |(_, value): &(RowKey, RowValue)| value.state != RowState::Gone;
        let new: BTreeMap<RowKey, RowValue> = self.new.rows(view)?.into_iter().filter_map(in_range).filter(is_there).collect();
        let key_of = |key: &RowKey| (view, key.group.clone(), key.start);
        // A store finds a row by its start, whatever its end: a row that ends later now was given with its earlier end.
        let given = self.given(view, &old);
        let starts: BTreeSet<HeldKey> = new.keys().map(key_of).collect();
        let known: BTreeSet<HeldKey> = old.keys().map(key_of).collect();
        if matches!(plan.window, WindowPlan::Session { .. }) {
            // Other windows end where they end.
            complete.extend(starts.iter().filter(|key| given.get(key).is_some_and(|given| given.0)).cloned());
        }
        for (key, value) in &new {
            let was = old.get(key);
            if comparable && was.is_some_and(|was| was.state != RowState::Gone && was.cells == value.cells) {
                rebuilt.same += 1;
                continue;
            }
            rebuilt.changed += 1;
            changes.push((key.clone(), Some(self.value(key, value.cells.clone(), &given))));
        }
        for (key, value) in old.into_iter().filter(|(key, _)| !new.contains_key(key)) {
            if starts.contains(&key_of(&key)) {
                // It ends elsewhere now.
                changes.push((key, None));
            } else if value.state != RowState::Gone {
                rebuilt.gone += 1;
                changes.push(self.gone(key, &given));
            }
        }
        let only_held = self.held.iter().filter(|(key, _)| key.0 == view && key.2 >= from);
        for ((_, group, start), end) in only_held.filter(|(key, _)| !starts.contains(*key) && !known.contains(*key)) {
            rebuilt.gone += 1;
            changes.push(self.gone(RowKey { view, end: *end, group: group.clone(), start: *start }, &given));
        }
        Ok(())
    }
}

impl Engine {
    /// The last epoch of the run will have at least these watermarks, by source stream.
    pub fn at_least(&mut self, watermarks: BTreeMap<u32, EventTime>) {
        self.at_least = watermarks;
    }
}
