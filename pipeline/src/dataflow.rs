//! The dataflow of a job, put together from top to bottom as the picture in `operators` shows it.

use crate::aggregate::id_text;
use crate::operators::collect::{Accepted, Collect, Effect, EpochPart};
use crate::operators::{Combine, Derive, Judge, Judged, RowChange, Ticks, Windows, epochs, rollup};
use crate::plan::{Plan, StreamInput, ViewInput};
use crate::record::{Origin, Record};
use crate::retained::RetainedMessages;
use crate::state::{SaveState, StateRows};
use crate::time::{Epoch, EventTime};
use compact_str::CompactString;
use std::collections::BTreeMap;
use std::sync::Arc;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::core::{Concatenate, OkErr, Probe};
use timely::dataflow::operators::vec::unordered_input::{UnorderedHandle, UnorderedInput};
use timely::dataflow::operators::vec::{Filter, Map};
use timely::dataflow::operators::{ActivateCapability, Exchange as _};
use timely::dataflow::{ProbeHandle, Scope, StreamVec};

/// Where a worker's reading side puts a stream's decoded records.
pub struct StreamPort {
    /// The records' way in.
    pub handle: UnorderedHandle<u64, Record>,
    /// The right to send at the oldest epoch that is not over.
    pub capability: ActivateCapability<u64>,
}

/// What a worker shares with its dataflow.
pub struct Shared {
    /// The job.
    pub plan: Arc<Plan>,
    /// What was bound for each epoch.
    pub ticks: Ticks,
    /// This worker's share of the loaded state.
    pub loaded: StateRows,
    /// The epoch of that state; effects begin with the next.
    pub loaded_at: Epoch,
    /// For each view: the start of its first whole window.
    pub begins: Arc<[EventTime]>,
    /// Messages whose epoch is not collected yet.
    pub retained: RetainedMessages,
}

/// The worker that reads a partition, modulo their number.
pub fn partition_route(stream: u32, partition: u32) -> u64 {
    u64::from(stream) + u64::from(partition)
}

/// The source stream at the bottom of `stream`.
pub fn root_of(plan: &Plan, stream: usize) -> usize {
    match &plan.streams[stream].from {
        StreamInput::Source(_) => stream,
        StreamInput::Stream(parent, _) => root_of(plan, *parent),
    }
}

/// Builds the job. Returns a port for each source stream, by stream, and a probe of what is collected.
pub fn build(
    scope: Scope<'_, u64>,
    shared: Shared,
    send: impl FnMut(EpochPart) + 'static,
) -> (BTreeMap<usize, StreamPort>, ProbeHandle<u64>) {
    let Shared { plan, ticks, loaded, loaded_at, begins, retained } = shared;
    let (save, first) = (SaveState::default(), loaded_at.next());
    let mut ports = BTreeMap::new();
    let mut accepted: Vec<StreamVec<'_, u64, Record>> = Vec::new();
    let mut effects = Vec::new();
    let mut changes: BTreeMap<usize, StreamVec<'_, u64, RowChange>> = BTreeMap::new();
    for (index, stream) in plan.streams.iter().enumerate() {
        let judged = match &stream.from {
            StreamInput::Source(_) => {
                let ((handle, capability), records) = scope.new_unordered_input();
                ports.insert(index, StreamPort { handle, capability });
                let judge = Judge::new(index, stream, &loaded, save.clone());
                judged(records, judge, stream.deduplicate.is_some(), first, &ticks)
            }
            StreamInput::Stream(parent, derivation) => {
                let derive = Derive::new(index, derivation.clone());
                epochs(accepted[*parent].clone(), Pipeline, "derive", first, ticks.clone(), derive)
            }
        };
        let (records, other) = split(judged, index as u32, root_of(&plan, index) as u32);
        effects.push(other);
        if stream.archived && matches!(stream.from, StreamInput::Source(_)) {
            effects.push(archived(records.clone(), index as u32));
        }
        if plan.views.iter().any(|view| matches!(view.from, ViewInput::Stream { stream, .. } if stream == index)) {
            let partials = epochs(records.clone(), Pipeline, "combine", first, ticks.clone(), Combine::new(&plan, index));
            let by_group = Exchange::new(|partial: &crate::operators::Partial| partial.group.route());
            let windows = Windows::new(&plan, index, &loaded, save.clone());
            let rows = shown(epochs(partials, by_group, "windows", first, ticks.clone(), windows), &begins);
            effects.push(rows.clone().map(Effect::Row));
            changes.insert(index, rows);
        }
        accepted.push(records);
    }
    // A roll-up reads the changes of the stream's root views, or of the roll-up below it.
    let mut upper: BTreeMap<usize, StreamVec<'_, u64, RowChange>> = BTreeMap::new();
    for (index, view) in plan.views.iter().enumerate() {
        if let ViewInput::View { view: lower, .. } = &view.from {
            let below = upper.get(lower).unwrap_or_else(|| &changes[&view.stream]).clone();
            // Of a lower row that starts before the view begins, nobody knows what it was.
            let begin = begins[index];
            let below = below.filter(move |row: &RowChange| row.start >= begin);
            let rows = shown(rollup(below, &plan, index, &loaded, loaded_at, &ticks, save.clone()), &begins);
            effects.push(rows.clone().map(Effect::Row));
            upper.insert(index, rows);
        }
    }
    let collect = Collect::new(plan, retained, save, send);
    let done = epochs(scope.concatenate(effects), Pipeline, "collect", first, ticks, collect);
    let (probe, _) = done.probe();
    (ports, probe)
}

fn judged<'scope>(
    records: StreamVec<'scope, u64, Record>,
    judge: Judge,
    remembers: bool,
    first: Epoch,
    ticks: &Ticks,
) -> StreamVec<'scope, u64, Judged> {
    if !remembers {
        return epochs(records, Pipeline, "judge", first, ticks.clone(), judge);
    }
    let by_partition = judge.routes_by_partition();
    let by_id = Exchange::new(move |record: &Record| Judge::route(by_partition, record));
    epochs(records, by_id, "judge", first, ticks.clone(), judge)
}

/// Rows whose window starts before their view begins lack what was read before the view was there: they are kept, as later
/// windows may grow out of them, and not shown.
fn shown<'scope>(rows: StreamVec<'scope, u64, RowChange>, begins: &Arc<[EventTime]>) -> StreamVec<'scope, u64, RowChange> {
    let begins = begins.clone();
    rows.filter(move |row: &RowChange| row.start >= begins[row.view as usize])
}

/// Accepted records, and the rest as effects, refusals where their messages are.
fn split<'scope>(
    judged: StreamVec<'scope, u64, Judged>,
    stream: u32,
    root: u32,
) -> (StreamVec<'scope, u64, Record>, StreamVec<'scope, u64, Effect>) {
    let (records, other): (StreamVec<'scope, u64, Record>, StreamVec<'scope, u64, Other>) =
        judged.ok_err(|judged| match judged {
            Judged::Accepted(record) => Ok(record),
            Judged::Refused { origin, rejection } => Err(Err((origin, rejection))),
            Judged::Count { verdict, records, late } => Err(Ok((verdict, records, late))),
        });
    let (counts, refused): (StreamVec<'scope, u64, _>, StreamVec<'scope, u64, _>) = other.ok_err(|other| other);
    let refused = refused
        .exchange(move |(origin, _): &(Origin, _)| partition_route(root, origin.partition.0))
        .map(move |(origin, rejection)| Effect::Refused { stream, origin, rejection });
    let counts = counts.map(move |(verdict, records, late)| Effect::Count { stream, verdict, records, late });
    let scope = counts.scope();
    (records, scope.concatenate([counts, refused]))
}

/// Accepted records by name, where their messages are.
fn archived<'scope>(records: StreamVec<'scope, u64, Record>, stream: u32) -> StreamVec<'scope, u64, Effect> {
    records
        .map(|record| (record.origin, record.event_time, id_text(&record.id)))
        .exchange(move |(origin, ..): &(Origin, EventTime, CompactString)| partition_route(stream, origin.partition.0))
        .map(move |(origin, event_time, id)| Effect::Accepted(Accepted { stream, origin, event_time, id }))
}

type Other = Result<(crate::record::Verdict, u64, u64), (Origin, crate::record::Rejection)>;
