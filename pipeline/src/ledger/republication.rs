//! Republication: a store has lost writes, so every row that it was given and the ledger still keeps is given again, as
//! it was (SEMANTICS 17).
//!
//! ```text
//! Cursor::lost ─▶ a cut that begins: whole boards ─▶ pages of old rows, beside what is newly owed ─▶ a cut that ends
//! ```
//! What was given is a question to the rules of each mode, as of the cursor at the loss. The rows are read from one
//! snapshot that is taken when it begins. A row that changes meanwhile goes out by the cuts that go on, and a store
//! never puts an older version in place of a newer one, so neither waits for the other. Where it stands is a part of the
//! cursor: what is behind it is written, also after a crash.

use super::Ledger;
use super::follower::{Cursor, Emission, Follower, Turns, value};
use super::key::{Key, RowKey, RowValue};
use super::owed::{Effect, Passings, Rule};
use super::scan::{Range, Snapshot};
use super::table::Stored;
use super::{EpochInfo, board};
use crate::ports::sink::{Cut, Place, Republished};
use crate::run::RunError;
use crate::time::{Epoch, EventTime, Version};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A republication and how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Republication {
    /// What was written up to here is written again.
    epoch: Epoch,
    version: Version,
    watermarks: Vec<EventTime>,
    every: Turns,
    /// The cut that began it, and where to go on; `None` before that.
    next: Option<(Place, Vec<u8>)>,
}

impl Republication {
    /// Of everything that was written up to a cursor.
    pub(super) fn of(cursor: &Cursor) -> Republication {
        let (epoch, version, watermarks, every) = (cursor.epoch, cursor.version, cursor.watermarks.clone(), cursor.every.clone());
        Republication { epoch, version, watermarks, every, next: None }
    }

    /// The cut that began it; `None` if the next one does.
    pub fn begun(&self) -> Option<Place> {
        self.next.as_ref().map(|(begun, _)| *begun)
    }

    /// The cursor as it stood.
    fn cursor(&self) -> Cursor {
        Cursor {
            epoch: self.epoch,
            version: self.version,
            watermarks: self.watermarks.clone(),
            every: self.every.clone(),
            ..Cursor::default()
        }
    }
}

/// What a follower reads again.
pub(super) struct Again {
    /// The cut that began it: when that is repeated, it has the same rows.
    begun: Place,
    /// As of which cursor.
    epoch: Epoch,
    rules: Vec<Rule>,
    snapshot: Snapshot,
}

/// A row that was given, and why it was last.
type Given = (RowKey, Stored, RowValue, Effect);

impl Follower {
    /// Adds a page of old rows to a cut, if the store has lost any, and moves the cursor past them.
    pub(super) fn add_old_rows(
        &mut self,
        ledger: &Ledger,
        cursor: &Cursor,
        cut: &mut Cut,
        next: &mut Cursor,
    ) -> Result<(), RunError> {
        let Some(of) = &cursor.republication else { return Ok(()) };
        let mut republished = Republished { begun: of.begun().unwrap_or(cut.place()), ends: false };
        if cut.more {
            // What is newly owed goes first.
            (cut.republished, next.republication) = (Some(republished), Some(of.clone()));
            return Ok(());
        }
        let known = self.again.take().filter(|again| again.begun == republished.begun);
        let Some(again) = known.or_else(|| self.again(ledger, of, republished.begun)) else {
            cut.republished = Some(Republished { ends: true, ..republished });
            return Ok(());
        };
        let first = Key::from_bytes(of.next.clone().map(|(_, key)| key).unwrap_or_default());
        let left = again.page(ledger, cut, &first, self.page_bytes_max)?;
        // Rows that changed between the cut's snapshot and this one go out with the next cut: only then is it over.
        let left = left.or_else(|| (again.snapshot.end > cut.to).then(|| again.after_all()));
        republished.ends = left.is_none();
        cut.republished = Some(republished);
        let goes_on = |key: Key| Republication { next: Some((republished.begun, key.bytes().to_vec())), ..of.clone() };
        next.republication = left.map(goes_on);
        self.again = next.republication.is_some().then_some(again);
        Ok(())
    }

    /// The ledger now, and what of it was given then; `None` if the ledger is empty.
    fn again(&self, ledger: &Ledger, of: &Republication, begun: Place) -> Option<Again> {
        let then = of.cursor();
        let info = EpochInfo { opened: of.version, watermarks: of.watermarks.clone() };
        let rule = |kept: &super::Kept| {
            let rule = Rule::new(&self.plan, kept, &then, &info);
            match kept.emission {
                Emission::Every(_) => rule.since(of.every.get(&kept.view).map_or(of.epoch, |(epoch, _)| *epoch)),
                _ => rule,
            }
        };
        // Nothing was given before the first epoch.
        let kept = self.kept.iter().filter(|_| of.epoch > Epoch(0));
        let rules: Vec<Rule> = kept.map(rule).collect();
        let ranges = rules.iter().flat_map(Rule::whole).collect();
        let ((), snapshot) = ledger.snapshot(|_, _| ((), ranges))?;
        Some(Again { begun, epoch: of.epoch, rules, snapshot })
    }
}

impl Again {
    /// Where nothing is left.
    fn after_all(&self) -> Key {
        Key::rows_after(self.rules.last().map_or(0, |rule| rule.view))
    }

    /// Adds rows from a key on, until they are `bytes_max` or more; returns the key to go on at.
    fn page(&self, ledger: &Ledger, cut: &mut Cut, first: &Key, bytes_max: usize) -> Result<Option<Key>, RunError> {
        let mut passings = Passings::new(ledger, self.epoch, self.epoch);
        let (mut bytes, mut left) = (0, None);
        for rule in &self.rules {
            let mut given: Vec<Given> = Vec::new();
            let whole = board::whole(rule.view);
            let range = Range { from: whole.from.clone().max(first.clone()), ..whole };
            for entry in self.snapshot.scan(&range) {
                let (key, stored) = entry?;
                if bytes >= bytes_max {
                    left = Some(key);
                    break;
                }
                if let Some(found) = rule.given(&key, &stored) {
                    bytes += key.bytes().len() + stored.value.as_ref().map_or(0, |value| value.len());
                    given.push((found.0, stored, found.1, found.2));
                }
            }
            let passed = given.iter().filter(|(.., effect)| *effect == Effect::Passing);
            let ends: BTreeSet<EventTime> = passed.map(|(key, ..)| key.end).collect();
            passings.load(rule, &self.snapshot, &ends)?;
            for (key, stored, value, effect) in given {
                let passing = if effect == Effect::Passing { passings.get(rule, key.end) } else { None };
                cut.rows.push(rule.row(key, &stored, value, passing));
            }
            if left.is_some() {
                break;
            }
        }
        Ok(left)
    }
}

impl Rule {
    /// The row, if the store was given it up to the rule's cursor and it has not changed since; and why it was last.
    fn given(&self, key: &Key, stored: &Stored) -> Option<(RowKey, RowValue, Effect)> {
        if stored.epoch > self.after {
            return None;
        }
        let (key, value) = (key.as_row()?, value(stored)?);
        let effect = self.was_given(key.end, &value)?;
        Some((key, value, effect))
    }
}
