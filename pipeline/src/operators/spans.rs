//! Windows that do not overlap: tumbling, calendar, and none at all (one row a group that ends at ∞).

use super::Partial;
use super::windows::{Accs, Change, RowChange, ViewRules};
use crate::group::Group;
use crate::hash::{Map, Set};
use crate::planted::{self, Bug};
use crate::state::{Changed, StateRow};
use crate::time::EventTime;
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

struct Window {
    start: EventTime,
    rows: Map<Group, Accs>,
}

/// Rows by window end, so that what is final is a prefix.
pub(super) struct Spans {
    rules: ViewRules,
    windows: BTreeMap<EventTime, Window>,
    touched: Set<(EventTime, Group)>,
    unsaved: Changed<(EventTime, Group)>,
}

fn saved(rules: &ViewRules, end: EventTime, window: &Window, group: &Group, accs: &Accs) -> StateRow {
    StateRow::new(group.route(), &((end, window.start), group), accs, rules.expiry(end))
}

impl Spans {
    pub fn new(rules: ViewRules) -> Spans {
        Spans { rules, windows: BTreeMap::new(), touched: Set::default(), unsaved: Changed::default() }
    }

    pub fn insert(&mut self, partial: Partial) {
        let window = self.windows.entry(partial.end).or_insert_with(|| Window { start: partial.start, rows: Map::default() });
        match window.rows.get_mut(&partial.group) {
            Some(accs) => self.rules.merge(accs, &partial.accs),
            None => {
                window.rows.insert(partial.group.clone(), partial.accs.into());
            }
        }
        self.touched.insert((partial.end, partial.group));
    }

    /// Emits the rows touched since the last call, then drops what is final.
    #[expect(clippy::disallowed_methods, reason = "who takes the changes orders them by group and window")]
    pub fn close(&mut self, after: EventTime, out: &mut Vec<RowChange>) {
        for (end, group) in self.touched.drain() {
            let window = &self.windows[&end];
            let change = Change::Value(window.rows[&group].clone());
            let (view, start) = (self.rules.view, window.start);
            out.push(RowChange { view, end, group: group.clone(), start, change, was_complete: false });
            self.unsaved.insert((end, group));
        }
        while self.windows.first_key_value().is_some_and(|(end, _)| self.rules.is_final(*end, after)) {
            self.windows.pop_first();
        }
    }

    /// Rows, one for each window and group: all, and those whose window has not ended at `watermark`.
    pub fn held(&self, watermark: EventTime) -> (u64, u64) {
        let rows = |(_, window): (&EventTime, &Window)| window.rows.len() as u64;
        (self.windows.iter().map(rows).sum(), self.windows.range((Excluded(watermark), Unbounded)).map(rows).sum())
    }

    /// Rows that changed since the last call and are not final.
    pub fn save(&mut self) -> Vec<StateRow> {
        let (windows, rules) = (&self.windows, &self.rules);
        self.unsaved.take(|(end, group)| {
            let window = windows.get(&end)?;
            let accs = window.rows.get(&group)?;
            Some(saved(rules, end, window, &group, accs))
        })
    }

    /// All rows, in no order.
    pub fn save_whole(&mut self) -> Vec<StateRow> {
        self.unsaved.clear();
        let rules = &self.rules;
        let mut rows = Vec::new();
        for (end, window) in &self.windows {
            rows.extend((&window.rows).into_iter().map(|(group, accs)| saved(rules, *end, window, group, accs)));
        }
        rows
    }

    pub fn load(&mut self, row: &StateRow) {
        let (((end, start), group), accs): (((EventTime, EventTime), Group), Accs) = row.decode();
        if planted::is(Bug::LoadingEmits) {
            self.touched.insert((end, group.clone()));
        }
        self.windows.entry(end).or_insert_with(|| Window { start, rows: Map::default() }).rows.insert(group, accs);
    }
}
