//! A job's results from nothing: every message decoded again, every row made by the plainest loops.
//!
//! The incremental engine is not involved. Verdicts that depend on arrival (too late, too far in the future, conflict)
//! are taken from the dead letters, where they are kept with their origin (SEMANTICS 8); all others are decided anew.
//! Costs time and memory in proportion to all messages: for demonstrations and tests.

use caudal_pipeline::aggregate::{Acc, Aggregate};
use caudal_pipeline::decode::{Context, Tables};
use caudal_pipeline::operators::WindowAssigner;
use caudal_pipeline::plan::{Plan, StreamInput, ViewInput, ViewPlan, WindowPlan};
use caudal_pipeline::ports::sink::{Row, RowState};
use caudal_pipeline::record::{Message, Partition, PartitionIndex, Reason, Record, Verdict};
use caudal_pipeline::time::{EventTime, Version};
use caudal_pipeline::value::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A record's place by names: stream, partition, offset, element.
pub type Place = (u32, Partition, u64, u32);

/// Everything a recomputation starts from.
pub struct Input<'a> {
    /// The job.
    pub plan: &'a Plan,
    /// Reference data.
    pub tables: &'a Tables,
    /// Of each source stream, each partition's messages.
    pub messages: BTreeMap<u32, Vec<(Partition, Vec<Message>)>>,
    /// Refusals that depended on arrival.
    pub decided: BTreeMap<Place, Reason>,
    /// W of each stream: sliding rows exist once they are complete.
    pub watermarks: Vec<EventTime>,
}

/// What comes out.
#[derive(Default)]
pub struct Output {
    /// Records by stream and verdict.
    pub counts: BTreeMap<(u32, Verdict), u64>,
    /// Every row, its version 0.
    pub rows: Vec<Row>,
}

/// Recomputes everything.
pub fn recompute(input: &Input<'_>) -> Output {
    let mut output = Output::default();
    let mut accepted: Vec<Vec<Record>> = Vec::new();
    for (index, stream) in input.plan.streams.iter().enumerate() {
        let records = match &stream.from {
            StreamInput::Source(_) => source_stream(input, index as u32, &mut output),
            StreamInput::Stream(parent, derivation) => {
                let mut records = Vec::new();
                for parent in &accepted[*parent] {
                    let verdict = match derivation.derive(parent) {
                        Ok((values, true)) => {
                            records.push(Record { values, ..parent.clone() });
                            Verdict::Accepted
                        }
                        Ok((_, false)) => Verdict::Filtered,
                        Err(rejection) => Verdict::Rejected(rejection.reason),
                    };
                    *output.counts.entry((index as u32, verdict)).or_default() += 1;
                }
                records
            }
        };
        accepted.push(records);
    }
    for (index, view) in input.plan.views.iter().enumerate() {
        output.rows.extend(rows(input.plan, index, view, &accepted[view.stream], input.watermarks[view.stream]));
    }
    output
}

fn source_stream(input: &Input<'_>, stream: u32, output: &mut Output) -> Vec<Record> {
    let plan = &input.plan.streams[stream as usize];
    let StreamInput::Source(decoder) = &plan.from else { return Vec::new() };
    let (mut known, mut accepted, mut decoded) = (BTreeSet::new(), Vec::new(), Vec::new());
    for (at, (partition, messages)) in input.messages.get(&stream).into_iter().flatten().enumerate() {
        for message in messages {
            let context = Context { index: PartitionIndex(at as u32), partition, opened: Version(0), tables: input.tables };
            decoder.decode(message, &context, &mut decoded);
            for outcome in decoded.drain(..) {
                let verdict = match outcome {
                    Err((_, rejection)) => Verdict::Rejected(rejection.reason),
                    Ok(record) => {
                        let place = (stream, partition.clone(), record.origin.offset.0, record.origin.element);
                        match input.decided.get(&place) {
                            Some(reason) => Verdict::Rejected(*reason),
                            None if plan.deduplicate.is_some() && !known.insert(record.id.clone()) => Verdict::Duplicate,
                            None if !record.passes => Verdict::Filtered,
                            None => {
                                accepted.push(record);
                                Verdict::Accepted
                            }
                        }
                    }
                };
                *output.counts.entry((stream, verdict)).or_default() += 1;
            }
        }
    }
    accepted
}

type Windows<'a> = BTreeMap<(Vec<Value>, EventTime, EventTime), Vec<&'a Record>>;

fn rows(plan: &Plan, index: usize, view: &ViewPlan, records: &[Record], watermark: EventTime) -> Vec<Row> {
    let slots = group_slots(plan, index);
    let row = |((group, start, end), records): ((Vec<Value>, EventTime, EventTime), Vec<&Record>)| {
        let mut cells = Vec::new();
        for aggregate in &view.aggregates {
            aggregate.finish(&accumulate(aggregate, &records), &mut cells);
        }
        Row { view: index, group, start, end, cells, state: RowState::Complete, version: Version(0), expires_us: None }
    };
    windows(view, &slots, records, watermark).into_iter().map(row).collect()
}

fn accumulate(aggregate: &Aggregate, records: &[&Record]) -> Acc {
    let mut acc = aggregate.empty();
    records.iter().for_each(|record| aggregate.insert(&mut acc, record));
    acc
}

/// A roll-up is what it would be over the records themselves: every lower window lies in one upper window.
fn windows<'a>(view: &ViewPlan, slots: &[usize], records: &'a [Record], watermark: EventTime) -> Windows<'a> {
    let group_of = |record: &Record| slots.iter().map(|slot| record.values[*slot].clone()).collect::<Vec<_>>();
    let mut windows: Windows<'a> = BTreeMap::new();
    match &view.window {
        WindowPlan::Sliding { size, every } => {
            for record in records {
                let mut end = (record.event_time.0.div_euclid(every.0) + 1) * every.0;
                while end - size.0 <= record.event_time.0 {
                    if end <= watermark.0 {
                        windows.entry((group_of(record), EventTime(end - size.0), EventTime(end))).or_default().push(record);
                    }
                    end += every.0;
                }
            }
        }
        WindowPlan::Session { gap } => {
            let mut by_group: BTreeMap<Vec<Value>, Vec<&Record>> = BTreeMap::new();
            records.iter().for_each(|record| by_group.entry(group_of(record)).or_default().push(record));
            for (group, mut records) in by_group {
                records.sort_by_key(|record| record.event_time);
                for run in records.chunk_by(|a, b| b.event_time < a.event_time.plus(*gap)) {
                    let (first, last) = (run[0].event_time, run[run.len() - 1].event_time);
                    windows.insert((group.clone(), first, last.plus(*gap)), run.to_vec());
                }
            }
        }
        fixed => {
            let mut assigner = WindowAssigner::new(fixed);
            for record in records {
                let (start, end) = assigner.assign(record.event_time);
                windows.entry((group_of(record), start, end)).or_default().push(record);
            }
        }
    }
    windows
}

/// Positions in the stream's fields that a view groups by, through roll-ups.
fn group_slots(plan: &Plan, view: usize) -> Vec<usize> {
    match &plan.views[view].from {
        ViewInput::Stream { group_by, .. } => group_by.clone(),
        ViewInput::View { view: lower, group_by, .. } => {
            let slots = group_slots(plan, *lower);
            group_by.iter().map(|at| slots[*at]).collect()
        }
    }
}
