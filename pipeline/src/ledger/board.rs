//! The newest row of each group of a view, for the sinks that show them on a board (SEMANTICS 20).
//!
//! It moves on with each cut by the rows that the cut writes. It is read from a snapshot at a start, after a cut in
//! pages, and when a newest row is gone and no row of the same cut takes its place.

use super::follower::{Kept, value};
use super::key::{Key, RowKey, RowValue};
use super::owed::{Effect, Passings, Rule};
use super::scan::{Range, Snapshot};
use super::table::Stored;
use crate::group::Group;
use crate::ports::sink::{Latest, Row, RowState};
use crate::run::RunError;
use crate::time::{Epoch, EventTime};
use std::collections::{BTreeMap, BTreeSet};

/// See the module.
#[derive(Default)]
pub(super) struct Board {
    rows: BTreeMap<Group, Row>,
    /// The store has been given all of it.
    pub told: bool,
}

/// What a cut does to a board.
pub(super) struct Moved {
    /// Groups whose rows were written.
    pub touched: BTreeSet<Group>,
    /// A newest row is gone, and the next one must be looked for.
    pub lost: bool,
}

impl Board {
    /// Takes the rows of a cut.
    pub fn take(&mut self, written: &[Row], groups_max: usize) -> Moved {
        let mut touched = BTreeSet::new();
        let mut lost: BTreeMap<Group, EventTime> = BTreeMap::new();
        let (gone, there): (Vec<&Row>, Vec<&Row>) = written.iter().partition(|row| row.state == RowState::Gone);
        for row in gone {
            let group = Group::of(&row.group);
            if self.rows.get(&group).is_some_and(|newest| newest.start == row.start) {
                let newest = self.rows.remove(&group).expect("it was just looked up");
                lost.insert(group.clone(), newest.end);
            }
            touched.insert(group);
        }
        for row in there {
            let group = Group::of(&row.group);
            let newest = self.rows.get(&group).map(|row| row.end).or_else(|| lost.get(&group).copied());
            if newest.map_or(self.rows.len() < groups_max, |newest| row.end >= newest) {
                lost.remove(&group);
                self.rows.insert(group.clone(), row.clone());
                touched.insert(group);
            }
        }
        Moved { touched, lost: !lost.is_empty() }
    }

    /// Becomes what a snapshot holds; returns the groups whose newest row is another. A group that the ledger no longer
    /// keeps stays, as it does in the store, unless its row is `gone`.
    pub fn read(
        &mut self,
        kept: &Kept,
        rule: &Rule,
        gone: &BTreeSet<Group>,
        snapshot: &Snapshot,
        passings: &mut Passings<'_>,
    ) -> Result<BTreeSet<Group>, RunError> {
        let before = std::mem::replace(&mut self.rows, newest_rows(kept, rule, snapshot, passings)?);
        let changed = self.rows.iter().filter(|(group, row)| before.get(*group) != Some(*row));
        let changed = changed.map(|(group, _)| group.clone()).collect();
        let free = kept.board_groups_max.saturating_sub(self.rows.len());
        let stays = before.into_iter().filter(|(group, _)| !gone.contains(group) && !self.rows.contains_key(group));
        let stays: Vec<(Group, Row)> = stays.take(free).collect();
        self.rows.extend(stays);
        Ok(changed)
    }

    /// What the store must be told: these groups, or all if it was not told of all before.
    pub fn latest(&self, view: u32, touched: BTreeSet<Group>) -> Vec<Latest> {
        let all = self.rows.keys().filter(|_| !self.told).cloned();
        let groups: BTreeSet<Group> = touched.into_iter().chain(all).collect();
        let latest = |group: Group| Latest { view: view as usize, row: self.rows.get(&group).cloned(), group: group.values() };
        groups.into_iter().map(latest).collect()
    }
}

/// A row that may be its group's newest.
type Candidate = (RowKey, Stored, RowValue, Effect);

/// Of the rows that the mode has written, or is about to write in this cut, the newest of each group. Ends ascend in a
/// scan, so a later row replaces an earlier one; it holds twice as many groups as are wanted at most.
fn newest_rows(
    kept: &Kept,
    rule: &Rule,
    snapshot: &Snapshot,
    passings: &mut Passings<'_>,
) -> Result<BTreeMap<Group, Row>, RunError> {
    let mut newest: BTreeMap<Group, Candidate> = BTreeMap::new();
    for entry in snapshot.scan(&whole(kept.view)) {
        let (key, stored) = entry?;
        let (Some(key), Some(value)) = (key.as_row(), value(&stored)) else { continue };
        let Some(effect) = rule.shows(key.end, &value) else { continue };
        newest.insert(key.group.clone(), (key, stored, value, effect));
        if newest.len() > 2 * kept.board_groups_max {
            keep_newest(&mut newest, kept.board_groups_max);
        }
    }
    keep_newest(&mut newest, kept.board_groups_max);
    let passed = newest.values().filter(|(_, _, _, effect)| *effect == Effect::Passing);
    passings.load(rule, snapshot, &passed.map(|(key, ..)| key.end).collect())?;
    let row = |(group, (key, stored, value, effect)): (Group, Candidate)| {
        let passing = if effect == Effect::Passing { passings.get(rule, key.end) } else { None };
        (group, rule.row(key, &stored, value, passing))
    };
    Ok(newest.into_iter().map(row).collect())
}

fn keep_newest(newest: &mut BTreeMap<Group, Candidate>, groups_max: usize) {
    if newest.len() > groups_max {
        let mut ends: Vec<(EventTime, Group)> = newest.iter().map(|(group, (key, ..))| (key.end, group.clone())).collect();
        ends.sort_unstable();
        ends.drain(ends.len() - groups_max..);
        ends.iter().for_each(|(_, group)| drop(newest.remove(group)));
    }
}

/// All rows of a view.
pub(super) fn whole(view: u32) -> Range {
    Range { from: Key::rows_from(view, EventTime::MIN), to: Key::rows_after(view), after: Epoch(0) }
}
