//! Roll-ups: a view over another view's rows, exact under correction.
//!
//! ```text
//! lower row changes ═(upper group)═▶ fold ─▶ differential: reduce by bucket, reduce by row ─▶ upper row changes
//! ```
//! Differential does the retracting: a corrected lower row leaves and comes back with its new accumulators, and only
//! the upper rows it belongs to are merged again; a bucket level keeps that cheap when an upper window has many lower
//! rows. *Fold* keeps what must be saved. When a lower row is final it leaves and the upper row's base takes it, in
//! one epoch, so that the upper row does not change. An upper row that was final at W(e−1) is taken out in silence.
//!
//! Fold and the differential operators are one region as far as state goes: fold saves its parts and bases, loading
//! feeds them in at the checkpoint's epoch, and what differential derives at that epoch never leaves.

use super::windows::{Accs, Change, RowChange, ViewRules, WindowAssigner};
use super::{EpochOperator, Tick, Ticks, epochs};
use crate::group::Group;
use crate::plan::{Plan, ViewInput};
use crate::state::{Changed, Expiry, Save, SaveState, StateRow, StateRows};
use crate::time::{Epoch, EventTime, Span};
use differential_dataflow::VecCollection;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Operator;
use timely::dataflow::operators::core::Concat;
use timely::dataflow::operators::vec::Filter;

/// An upper row's identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Upper {
    end: EventTime,
    start: EventTime,
    group: Group,
}

/// A lower row's identity within its upper row; `None` is the base of all that were folded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Lower {
    end: EventTime,
    group: Group,
}

/// What an upper row is merged from: by bucket, then by part.
type Part = ((Upper, u8), (Option<Lower>, Accs));

/// A differential update.
type Update<D> = (D, u64, isize);

/// Parts of an upper row are merged in this many buckets.
const BUCKETS: u64 = 16;

/// Keeps lower rows that can still change, and the base of those that cannot.
struct Fold {
    name: String,
    lower_view: u32,
    stream: usize,
    rules: ViewRules,
    lower_lateness: Span,
    group_by: Vec<usize>,
    merge: Vec<usize>,
    assigner: WindowAssigner,
    parts: BTreeMap<Lower, (Upper, Accs)>,
    bases: BTreeMap<Upper, Accs>,
    pending: BTreeMap<Epoch, Vec<RowChange>>,
    unsaved: Changed<SavedKey>,
    save: SaveState,
}

/// A row of the saved fold.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum SavedKey {
    Part(Lower),
    Base(Upper),
}

fn bucket(lower: &Option<Lower>) -> u8 {
    lower.as_ref().map_or(0, |lower| ((lower.group.route() ^ (lower.end.0 as u64 / 1_000_000)) % BUCKETS) as u8)
}

fn part(upper: &Upper, lower: Option<Lower>, accs: &Accs) -> Part {
    ((upper.clone(), bucket(&lower)), (lower, accs.clone()))
}

impl Fold {
    fn new(plan: &Plan, view: usize, save: SaveState) -> Fold {
        let upper = &plan.views[view];
        let ViewInput::View { view: lower, group_by, merge } = &upper.from else {
            panic!("a roll-up is made from a view");
        };
        let lateness = plan.streams[upper.stream].lateness;
        Fold {
            name: format!("view/{}", upper.name),
            lower_view: *lower as u32,
            stream: upper.stream,
            rules: ViewRules { view: view as u32, stream: upper.stream, aggregates: upper.aggregates.clone(), lateness },
            lower_lateness: lateness,
            group_by: group_by.clone(),
            merge: merge.clone(),
            assigner: WindowAssigner::new(&upper.window),
            parts: BTreeMap::new(),
            bases: BTreeMap::new(),
            pending: BTreeMap::new(),
            unsaved: Changed::default(),
            save,
        }
    }

    /// Loads the saved rows and returns what the differential region starts with.
    fn load(&mut self, loaded: &StateRows) -> Vec<Part> {
        let mut start = Vec::new();
        for row in loaded.rows(&self.name) {
            match row.decode() {
                (SavedKey::Part(lower), (Some(upper), accs)) => {
                    start.push(part(&upper, Some(lower.clone()), &accs));
                    self.parts.insert(lower, (upper, accs));
                }
                (SavedKey::Base(upper), (None::<Upper>, accs)) => {
                    start.push(part(&upper, None, &accs));
                    self.bases.insert(upper, accs);
                }
                _ => panic!("a part is saved with its upper row, a base without"),
            }
        }
        start
    }

    /// The upper row that a lower row belongs to: by its last microsecond.
    fn upper_of(&mut self, change: &RowChange) -> Upper {
        let (start, end) = self.assigner.assign(change.end.minus(Span(1)));
        Upper { end, start, group: upper_group(&change.group, &self.group_by) }
    }

    fn apply(&mut self, change: RowChange, out: &mut Vec<(Part, isize)>) {
        let upper = self.upper_of(&change);
        let lower = Lower { end: change.end, group: change.group };
        self.unsaved.insert(SavedKey::Part(lower.clone()));
        if let Some((_, old)) = self.parts.remove(&lower) {
            out.push((part(&upper, Some(lower.clone()), &old), -1));
        }
        if let Change::Value(accs) = change.change {
            let accs: Accs = self.merge.iter().map(|&at| accs[at].clone()).collect();
            out.push((part(&upper, Some(lower.clone()), &accs), 1));
            self.parts.insert(lower, (upper, accs));
        }
    }

    /// Lower rows that are final at `after` move into the bases of their upper rows.
    fn fold(&mut self, after: EventTime, out: &mut Vec<(Part, isize)>) {
        let mut before: BTreeMap<Upper, Option<Accs>> = BTreeMap::new();
        while self.parts.first_key_value().is_some_and(|(lower, _)| lower.end.plus(self.lower_lateness) <= after) {
            let (lower, (upper, accs)) = self.parts.pop_first().expect("it was just found");
            out.push((part(&upper, Some(lower), &accs), -1));
            before.entry(upper.clone()).or_insert_with(|| self.bases.get(&upper).cloned());
            self.unsaved.insert(SavedKey::Base(upper.clone()));
            match self.bases.get_mut(&upper) {
                Some(base) => self.rules.merge(base, &accs),
                None => drop(self.bases.insert(upper, accs)),
            }
        }
        for (upper, old) in before {
            out.extend(old.map(|old| (part(&upper, None, &old), -1)));
            out.push((part(&upper, None, &self.bases[&upper]), 1));
        }
    }

    /// Bases of rows that were final at `before` leave; the region's output drops the change.
    fn expire(&mut self, before: EventTime, out: &mut Vec<(Part, isize)>) {
        while self.bases.first_key_value().is_some_and(|(upper, _)| self.rules.is_final(upper.end, before)) {
            let (upper, accs) = self.bases.pop_first().expect("it was just found");
            out.push((part(&upper, None, &accs), -1));
        }
    }

    /// Parts and bases that changed since the last call. A part that is not there was folded, which W says by itself: rows
    /// of windows that nest never go before.
    fn unsaved(&mut self) -> Vec<StateRow> {
        let mut unsaved = std::mem::take(&mut self.unsaved);
        unsaved.take(|key| self.saved(key))
    }

    /// All parts and bases.
    fn whole(&mut self) -> Vec<StateRow> {
        self.unsaved.clear();
        let keys = self.parts.keys().cloned().map(SavedKey::Part).chain(self.bases.keys().cloned().map(SavedKey::Base));
        keys.filter_map(|key| self.saved(key)).collect()
    }

    fn saved(&self, key: SavedKey) -> Option<StateRow> {
        match &key {
            SavedKey::Part(lower) => {
                let expiry = Expiry { stream: self.stream as u32, until: lower.end.plus(self.lower_lateness) };
                let (upper, accs) = self.parts.get(lower)?;
                Some(StateRow::new(upper.group.route(), &key, &(Some(upper), accs), expiry))
            }
            SavedKey::Base(upper) => {
                let accs = self.bases.get(upper)?;
                Some(StateRow::new(upper.group.route(), &key, &(None::<Upper>, accs), self.rules.expiry(upper.end)))
            }
        }
    }
}

fn upper_group(lower: &Group, group_by: &[usize]) -> Group {
    let values = lower.values();
    Group::of(group_by.iter().map(|&at| &values[at]))
}

impl EpochOperator for Fold {
    type In = RowChange;
    type Out = (Part, isize);

    fn take(&mut self, epoch: Epoch, batch: &mut Vec<RowChange>) {
        self.pending.entry(epoch).or_default().append(batch);
    }

    fn close(&mut self, tick: &Tick, out: &mut Vec<(Part, isize)>) {
        for change in self.pending.remove(&tick.epoch).unwrap_or_default() {
            self.apply(change, out);
        }
        self.fold(tick.after[self.stream], out);
        self.expire(tick.before[self.stream], out);
        let rows = match tick.save {
            Save::Nothing => return,
            Save::Changed => self.unsaved(),
            Save::Whole => self.whole(),
        };
        self.save.put(&self.name, rows);
    }
}

/// Turns the region's updates into row changes, dropping those of rows that were final at W(e−1).
struct Rows {
    rules: ViewRules,
    stream: usize,
    first: Epoch,
    pending: BTreeMap<Epoch, Vec<Update<(Upper, Accs)>>>,
    /// How many rows there are, by their end.
    ends: BTreeMap<EventTime, isize>,
    save: SaveState,
}

impl Rows {
    /// Each row there is has one value: the updates' differences add up to the number of rows.
    fn count(&mut self, end: EventTime, diff: isize) {
        let rows = self.ends.entry(end).or_default();
        *rows += diff;
        if *rows == 0 {
            self.ends.remove(&end);
        }
    }

    /// Rows: those that are not final at `watermark`, though they leave an epoch later, and those whose window has not ended.
    fn held(&self, watermark: EventTime) -> (u64, u64) {
        let rows = |(_, rows): (&EventTime, &isize)| rows.unsigned_abs() as u64;
        let not_final = self.ends.iter().filter(|(end, _)| !self.rules.is_final(**end, watermark));
        (not_final.map(rows).sum(), self.ends.range((Excluded(watermark), Unbounded)).map(rows).sum())
    }
}

impl EpochOperator for Rows {
    type In = Update<(Upper, Accs)>;
    type Out = RowChange;

    /// A differential batch may span epochs: each update counts at its own time, not at the batch's. What loading
    /// derived lies before the first epoch: it is counted, and dropped.
    fn take(&mut self, _epoch: Epoch, batch: &mut Vec<Self::In>) {
        for update in batch.drain(..) {
            if update.1 >= self.first.0 {
                self.pending.entry(Epoch(update.1)).or_default().push(update);
            } else {
                self.count(update.0.0.end, update.2);
            }
        }
    }

    fn close(&mut self, tick: &Tick, out: &mut Vec<RowChange>) {
        let updates = self.pending.remove(&tick.epoch).unwrap_or_default();
        let mut gone: BTreeSet<Upper> = BTreeSet::new();
        let mut now: BTreeMap<Upper, Accs> = BTreeMap::new();
        for ((upper, accs), _, diff) in updates {
            self.count(upper.end, diff);
            if self.rules.is_final(upper.end, tick.before[self.stream]) {
                continue;
            }
            if diff > 0 {
                now.insert(upper, accs);
            } else {
                gone.insert(upper);
            }
        }
        let (rows, open) = self.held(tick.after[self.stream]);
        self.save.hold_rows(tick.epoch, self.rules.view, rows, open);
        let row = |upper: Upper, change| RowChange {
            view: self.rules.view,
            end: upper.end,
            group: upper.group,
            start: upper.start,
            change,
            was_complete: false,
        };
        out.extend(gone.into_iter().filter(|upper| !now.contains_key(upper)).map(|upper| row(upper, Change::Gone)));
        out.extend(now.into_iter().map(|(upper, accs)| row(upper, Change::Value(accs))));
    }
}

/// Adds the roll-up `plan.views[view]` over the row changes of its lower view (others on the stream are passed over).
/// `loaded_at` is the checkpoint's epoch; effects begin with the next.
pub fn rollup<'scope>(
    lower: StreamVec<'scope, u64, RowChange>,
    plan: &Plan,
    view: usize,
    loaded: &StateRows,
    loaded_at: Epoch,
    ticks: &Ticks,
    save: SaveState,
) -> StreamVec<'scope, u64, RowChange> {
    let mut fold = Fold::new(plan, view, save.clone());
    let start = fold.load(loaded);
    let (rules, stream, group_by) = (fold.rules.clone(), fold.stream, fold.group_by.clone());
    let scope = lower.scope();
    // The stream's root views come in one stream of changes; only one of them is rolled up here.
    let lower_view = fold.lower_view;
    let lower = lower.filter(move |change: &RowChange| change.view == lower_view);
    let exchange = Exchange::new(move |change: &RowChange| upper_group(&change.group, &group_by).route());
    let first = loaded_at.next();
    let changes = epochs(lower, exchange, "fold", first, ticks.clone(), fold);
    let updates = stamp(changes).concat(loading(scope, start, loaded_at));
    let (by_bucket, by_row) = (rules.clone(), rules.clone());
    let rows = VecCollection::new(updates)
        .reduce_named("merge parts", move |_, parts, out| {
            out.push((merged(&by_bucket, parts.iter().map(|((_, accs), _)| accs)), 1))
        })
        .map(|((upper, bucket), accs)| (upper, (bucket, accs)))
        .reduce_named("merge buckets", move |_, buckets, out| {
            out.push((merged(&by_row, buckets.iter().map(|((_, accs), _)| accs)), 1));
        });
    let rows_of = Rows { rules, stream, first, pending: BTreeMap::new(), ends: BTreeMap::new(), save };
    epochs(rows.inner, Pipeline, "rows", first, ticks.clone(), rows_of)
}

fn merged<'a>(rules: &ViewRules, mut accs: impl Iterator<Item = &'a Accs>) -> Accs {
    let mut into = accs.next().expect("differential asks only for what has input").clone();
    accs.for_each(|from| rules.merge(&mut into, from));
    into
}

/// Fold's output as differential updates at their epochs.
fn stamp(changes: StreamVec<'_, u64, (Part, isize)>) -> StreamVec<'_, u64, Update<Part>> {
    changes.unary(Pipeline, "stamp", |_, _| {
        move |input, output| {
            input.for_each(|time, batch| {
                let epoch = *time.time();
                output.session(&time).give_iterator(batch.drain(..).map(|(part, diff)| (part, epoch, diff)));
            });
        }
    })
}

/// What was loaded, at the checkpoint's epoch.
fn loading<'scope>(
    scope: timely::dataflow::Scope<'scope, u64>,
    start: Vec<Part>,
    at: Epoch,
) -> StreamVec<'scope, u64, Update<Part>> {
    timely::dataflow::operators::generic::operator::source(scope, "load", move |capability, _info| {
        // Released at once: everything is given on the first call.
        let mut held = Some((capability.delayed(&at.0), start));
        move |output| {
            if let Some((capability, start)) = held.take() {
                output.session(&capability).give_iterator(start.into_iter().map(|part| (part, at.0, 1)));
            }
        }
    })
}
