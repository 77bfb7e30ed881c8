//! Combines an epoch's accepted records into partial accumulators, before they are exchanged by group.
//!
//! A record touches one accumulator for each view of its stream; what crosses to another worker is one partial for
//! each (view, window, group) of the epoch, never a payload. Keeps nothing from epoch to epoch.

use super::{EpochOperator, Tick, WindowAssigner};
use crate::aggregate::{Acc, Aggregate};
use crate::group::Group;
use crate::hash::Map;
use crate::plan::{Plan, ViewInput, WindowPlan};
use crate::record::Record;
use crate::time::{Epoch, EventTime};
use serde::{Deserialize, Serialize};

/// What an epoch's records on one worker add to one row. `start..end` is the window; of a session, it is the one
/// event's time and itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Partial {
    /// Position of the view in the plan.
    pub view: u32,
    /// First microsecond after the window.
    pub end: EventTime,
    /// First microsecond of the window.
    pub start: EventTime,
    /// The group.
    pub group: Group,
    /// One accumulator for each aggregate.
    pub accs: Vec<Acc>,
}

/// One view, as far as combining goes.
struct View {
    index: u32,
    group_by: Vec<usize>,
    aggregates: Vec<Aggregate>,
    /// `None` for sessions: each event time is a window of its own until sessions are formed.
    assigner: Option<WindowAssigner>,
}

type Rows = Map<(EventTime, EventTime, Group), Vec<Acc>>;

/// See the module.
pub struct Combine {
    views: Vec<View>,
    epochs: Map<u64, Vec<Rows>>,
}

impl Combine {
    /// For the root views of stream `stream`.
    pub fn new(plan: &Plan, stream: usize) -> Combine {
        let views = plan.views.iter().enumerate().filter_map(|(index, view)| match &view.from {
            ViewInput::Stream { stream: from, group_by } if *from == stream => Some(View {
                index: index as u32,
                group_by: group_by.clone(),
                aggregates: view.aggregates.clone(),
                assigner: (!matches!(view.window, WindowPlan::Session { .. })).then(|| WindowAssigner::new(&view.window)),
            }),
            _ => None,
        });
        Combine { views: views.collect(), epochs: Map::default() }
    }
}

impl View {
    fn insert(&mut self, record: &Record, rows: &mut Rows) {
        let (start, end) = match &mut self.assigner {
            Some(assigner) => assigner.assign(record.event_time),
            None => (record.event_time, record.event_time),
        };
        let group = Group::of(self.group_by.iter().map(|&slot| &record.values[slot]));
        let accs = rows.entry((end, start, group)).or_insert_with(|| self.aggregates.iter().map(Aggregate::empty).collect());
        for (aggregate, acc) in self.aggregates.iter().zip(accs) {
            aggregate.insert(acc, record);
        }
    }
}

impl EpochOperator for Combine {
    type In = Record;
    type Out = Partial;

    fn take(&mut self, epoch: Epoch, batch: &mut Vec<Record>) {
        let views = &mut self.views;
        let rows = self.epochs.entry(epoch.0).or_insert_with(|| views.iter().map(|_| Rows::default()).collect());
        for (view, rows) in views.iter_mut().zip(rows) {
            batch.iter().for_each(|record| view.insert(record, rows));
        }
    }

    fn close(&mut self, tick: &Tick, out: &mut Vec<Partial>) {
        for (view, rows) in self.views.iter().zip(self.epochs.remove(&tick.epoch.0).unwrap_or_default()) {
            out.extend(rows.into_iter().map(|((end, start, group), accs)| Partial { view: view.index, end, start, group, accs }));
        }
    }
}
