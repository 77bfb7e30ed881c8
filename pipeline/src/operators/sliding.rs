//! Sliding windows over shared panes: a pane is `every` long, a window is the panes of the last `size`.
//!
//! ```text
//! panes    |--a--|--b--|--c--|--d--|         size = 3 × every
//! windows  [  a     b     c  )
//!                [  b     c     d  )
//! ```
//! An on-time event costs one pane. Rows appear once their window is complete; a late event re-emits the complete
//! windows that share its pane.

use super::Partial;
use super::windows::{Accs, Change, RowChange, ViewRules};
use crate::group::Group;
use crate::state::{Changed, StateRow};
use crate::time::{EventTime, Span};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

pub(super) struct Sliding {
    rules: ViewRules,
    size: Span,
    every: Span,
    /// By pane end, then group.
    panes: BTreeMap<EventTime, BTreeMap<Group, Accs>>,
    touched: BTreeSet<(EventTime, Group)>,
    unsaved: Changed<(EventTime, Group)>,
}

impl Sliding {
    pub fn new(rules: ViewRules, size: Span, every: Span) -> Sliding {
        Sliding { rules, size, every, panes: BTreeMap::new(), touched: BTreeSet::new(), unsaved: Changed::default() }
    }

    pub fn insert(&mut self, partial: Partial) {
        let pane = self.panes.entry(partial.end).or_default();
        match pane.get_mut(&partial.group) {
            Some(accs) => self.rules.merge(accs, &partial.accs),
            None => {
                pane.insert(partial.group.clone(), partial.accs.into());
            }
        }
        self.touched.insert((partial.end, partial.group));
    }

    /// Emits windows that became complete (W passed from `before` to `after`) and complete ones that were corrected;
    /// drops panes that no window needs any more.
    pub fn close(&mut self, before: EventTime, after: EventTime, out: &mut Vec<RowChange>) {
        for (end, group) in self.due(before, after) {
            let change = Change::Value(self.window(end, &group));
            out.push(RowChange { view: self.rules.view, end, start: end.minus(self.size), group, change, was_complete: false });
        }
        while self.panes.first_key_value().is_some_and(|(pane, _)| self.rules.is_final(self.last_window(*pane), after)) {
            self.panes.pop_first();
        }
    }

    /// The last window that holds a pane ends here.
    fn last_window(&self, pane: EventTime) -> EventTime {
        pane.plus(Span(self.size.0 - self.every.0))
    }

    /// Ends of the windows that hold `pane`, from `from` (outside) to `to` (inside).
    fn window_ends(&self, pane: EventTime, from: EventTime, to: EventTime) -> impl Iterator<Item = EventTime> + use<> {
        let (every, last) = (self.every.0, self.last_window(pane).min(to).0);
        let skipped = if from >= pane { (from.0 - pane.0) / every + 1 } else { 0 };
        (0..).map(move |step| pane.0 + (skipped + step) * every).take_while(move |end| *end <= last).map(EventTime)
    }

    fn due(&mut self, before: EventTime, after: EventTime) -> BTreeSet<(EventTime, Group)> {
        let mut due = BTreeSet::new();
        for (pane, group) in std::mem::take(&mut self.touched) {
            due.extend(self.window_ends(pane, EventTime::MIN, after).map(|end| (end, group.clone())));
            self.unsaved.insert((pane, group));
        }
        let oldest = if before == EventTime::MIN { before } else { before.minus(self.size) };
        for (pane, groups) in self.panes.range(oldest..=after) {
            for end in self.window_ends(*pane, before, after) {
                due.extend(groups.keys().map(|group| (end, group.clone())));
            }
        }
        due
    }

    fn window(&self, end: EventTime, group: &Group) -> Accs {
        let mut panes =
            self.panes.range(end.minus(Span(self.size.0 - self.every.0))..=end).filter_map(|(_, pane)| pane.get(group));
        let mut accs = panes.next().expect("a due window has a pane").clone();
        panes.for_each(|pane| self.rules.merge(&mut accs, pane));
        accs
    }

    /// Panes, one for each group: all, and those that some window needs which has not ended at `watermark`.
    pub fn held(&self, watermark: EventTime) -> (u64, u64) {
        let panes = |(_, groups): (&EventTime, &BTreeMap<Group, Accs>)| groups.len() as u64;
        let last = watermark.minus(Span(self.size.0 - self.every.0));
        (self.panes.iter().map(panes).sum(), self.panes.range((Excluded(last), Unbounded)).map(panes).sum())
    }

    /// Panes that changed since the last call and that some window still needs.
    pub fn save(&mut self) -> Vec<StateRow> {
        let mut unsaved = std::mem::take(&mut self.unsaved);
        unsaved.take(|(pane, group)| {
            let accs = self.panes.get(&pane)?.get(&group)?;
            Some(self.saved(pane, &group, accs))
        })
    }

    /// All panes.
    pub fn save_whole(&mut self) -> Vec<StateRow> {
        self.unsaved.clear();
        let of = |(pane, groups): (&EventTime, &BTreeMap<Group, Accs>)| -> Vec<StateRow> {
            groups.iter().map(|(group, accs)| self.saved(*pane, group, accs)).collect()
        };
        self.panes.iter().flat_map(of).collect()
    }

    fn saved(&self, pane: EventTime, group: &Group, accs: &Accs) -> StateRow {
        StateRow::new(group.route(), &(pane, group), accs, self.rules.expiry(self.last_window(pane)))
    }

    pub fn load(&mut self, row: &StateRow) {
        let ((pane, group), accs): ((EventTime, Group), Accs) = row.decode();
        self.panes.entry(pane).or_default().insert(group, accs);
    }
}
