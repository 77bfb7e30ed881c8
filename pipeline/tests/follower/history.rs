//! The model: every row as of every epoch, and each mode's rule read off it.

use caudal_pipeline::group::Group;
use caudal_pipeline::ledger::{EpochInfo, Ledger, RowKey, RowValue};
use caudal_pipeline::plan::{Plan, WindowPlan};
use caudal_pipeline::ports::sink::{Row, RowState};
use caudal_pipeline::time::{Epoch, EventTime, Span, Version};
use std::collections::BTreeMap;
use std::sync::Arc;

/// When a row is owed, and what was written before.
#[derive(Clone, Copy)]
pub enum Due {
    Changed { after: Epoch },
    Complete { after: Epoch },
    Final { after: Epoch },
}

/// A row's identity in a store.
type Identity = (Group, EventTime);

/// A row as of some epoch.
#[derive(Clone, Debug)]
struct State {
    end: EventTime,
    value: RowValue,
}

pub struct History {
    pub plan: Arc<Plan>,
    epochs: BTreeMap<Epoch, EpochInfo>,
    /// By view and identity: the epochs that changed the row.
    rows: Vec<BTreeMap<Identity, BTreeMap<Epoch, State>>>,
}

impl History {
    pub fn new(plan: &Arc<Plan>) -> History {
        History { plan: plan.clone(), epochs: BTreeMap::new(), rows: vec![BTreeMap::new(); plan.views.len()] }
    }

    pub fn opened(&self, epoch: Epoch) -> Version {
        self.epochs[&epoch].opened
    }

    pub fn watermark(&self, epoch: Epoch) -> EventTime {
        self.epochs[&epoch].watermarks[0]
    }

    pub fn unwindowed(&self, view: usize) -> bool {
        self.plan.views[view].window == WindowPlan::Unwindowed
    }

    /// Takes the newest epoch: rows with its version changed in it.
    pub fn take(&mut self, ledger: &Ledger) {
        let epoch = ledger.end();
        let info = ledger.epoch(epoch).unwrap();
        for (view, rows) in self.rows.iter_mut().enumerate() {
            for (RowKey { end, group, start, .. }, version, value) in ledger.rows(view as u32).unwrap() {
                if version == info.opened {
                    rows.entry((group, start)).or_default().insert(epoch, State { end, value });
                }
            }
        }
        self.epochs.insert(epoch, info);
    }

    /// The rows that are owed as of `to`, with the version of what made them due last.
    pub fn owed(&self, view: usize, due: Due, to: Epoch, retain: Option<Span>) -> Vec<Row> {
        let mut owed = Vec::new();
        for ((group, start), changes) in &self.rows[view] {
            let Some((_, now)) = changes.range(..=to).next_back() else { continue };
            let (effects, after) = match due {
                Due::Changed { after } => (changes.range(..=to).map(|(epoch, _)| *epoch).collect(), after),
                Due::Complete { after } => (self.effects_of_complete(changes, to), after),
                Due::Final { after } => (self.becomes_final(changes, to).into_iter().collect(), after),
            };
            let Some(effect) = effects.last().copied().filter(|effect: &Epoch| *effect > after) else { continue };
            let (version, watermark) = (self.opened(effect), self.watermark(effect));
            let state = match now.value.state {
                RowState::Gone => RowState::Gone,
                _ if now.end <= watermark => RowState::Complete,
                _ => RowState::Open,
            };
            let passed = if watermark == EventTime::MIN { now.end } else { watermark };
            let expires_us = retain.filter(|_| now.end != EventTime::MAX).map(|r| version.0 + now.end.0 + r.0 - passed.0);
            let (group, start, end, cells) = (group.values(), *start, now.end, now.value.cells.clone());
            owed.push(Row { view, group, start, end, cells, state, version, expires_us });
        }
        owed.sort_by(|a, b| (a.end, Group::of(&a.group), a.start).cmp(&(b.end, Group::of(&b.group), b.start)));
        owed
    }

    /// The first completion, every change from then on, and every later passing of the end that the row then has.
    fn effects_of_complete(&self, changes: &BTreeMap<Epoch, State>, to: Epoch) -> Vec<Epoch> {
        let (mut effects, mut was_due, mut was_complete) = (vec![], false, false);
        let (mut coming, mut now) = (changes.iter().peekable(), None);
        for (epoch, info) in self.epochs.range(..=to) {
            let changed = coming.next_if(|(at, _)| *at == epoch);
            now = changed.or(now);
            let Some((_, state)) = now else { continue };
            let complete = state.value.state != RowState::Gone && state.end <= info.watermarks[0];
            if (complete && !was_complete) || (was_due && changed.is_some()) {
                effects.push(*epoch);
            }
            (was_due, was_complete) = (was_due || complete, complete);
        }
        effects
    }

    fn becomes_final(&self, changes: &BTreeMap<Epoch, State>, to: Epoch) -> Option<Epoch> {
        let lateness = self.plan.streams[0].lateness;
        self.epochs.range(..=to).map(|(epoch, _)| *epoch).find(|epoch| {
            let state = changes.range(..=*epoch).next_back().map(|(_, state)| state);
            state.is_some_and(|s| s.value.state != RowState::Gone && s.end.plus(lateness) <= self.watermark(*epoch))
        })
    }

    /// What the ledger still holds is the newest value, never an older one that a merge brought back.
    pub fn compare_newest(&self, ledger: &Ledger, context: &str) {
        for (view, rows) in self.rows.iter().enumerate() {
            for (key, version, value) in ledger.rows(view as u32).unwrap() {
                let (epoch, newest) = rows[&(key.group.clone(), key.start)].last_key_value().unwrap();
                assert_eq!(
                    (key.end, version, &value),
                    (newest.end, self.opened(*epoch), &newest.value),
                    "{context}, view {view}"
                );
            }
        }
    }
}
