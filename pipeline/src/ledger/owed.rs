//! What a sink is owed of one view, row by row (SEMANTICS 14), and under which version.
//!
//! A row is written because it changed, or because the watermark passed its end. Which of the two it was last can be
//! read off the row for ever: it knows W at its change, and [`Passing`]s that a follower has found are kept in the
//! ledger, once for each end. So a row that is written again, after a restart or for a board, has the same bytes.

use super::follower::{Cursor, Emission, Kept};
use super::key::{Key, RowKey, RowValue};
use super::scan::{Range, Snapshot};
use super::table::Stored;
use super::{EpochInfo, Ledger, board};
use crate::plan::{Plan, WindowPlan};
use crate::ports::sink::{Row, RowState};
use crate::run::RunError;
use crate::time::{Epoch, EventTime, Span, Version};
use std::collections::{BTreeMap, BTreeSet};

/// What gives a written row its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// It changed.
    Change,
    /// The watermark passed what the view's mode waits for.
    Passing,
}

/// The first epoch whose W had passed a row's end, or its finality.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Passing {
    pub epoch: Epoch,
    pub version: Version,
    /// W of the view's stream at the end of the epoch.
    pub watermark: EventTime,
}

impl Passing {
    pub fn stored(&self) -> Stored {
        let value = postcard::to_stdvec(&self.watermark).expect("a time is plain data");
        Stored { epoch: self.epoch, version: self.version, value: Some(value.into()) }
    }

    pub fn of(stored: &Stored) -> Option<Passing> {
        let watermark = postcard::from_bytes(stored.value.as_deref()?).expect("the ledger holds what it was given");
        Some(Passing { epoch: stored.epoch, version: stored.version, watermark })
    }
}

/// A kept view between a cursor and the end of a cut.
pub(super) struct Rule {
    pub view: u32,
    pub emission: Emission,
    stream: usize,
    retain: Option<Span>,
    /// What the mode waits for comes this long after a row's end.
    delay: Span,
    /// Ends after the first and up to the second pass in this cut.
    before: EventTime,
    now: EventTime,
    /// Changes after this epoch are owed.
    pub after: Epoch,
}

impl Rule {
    pub fn new(plan: &Plan, kept: &Kept, cursor: &Cursor, info: &EpochInfo) -> Rule {
        let view = &plan.views[kept.view as usize];
        let emission = match kept.emission {
            // Unwindowed rows never complete: they are written as they change.
            Emission::OnComplete | Emission::OnFinal if view.window == WindowPlan::Unwindowed => Emission::OnUpdate,
            emission => emission,
        };
        let delay = if emission == Emission::OnFinal { plan.streams[view.stream].lateness } else { Span(0) };
        Rule {
            view: kept.view,
            emission,
            stream: view.stream,
            retain: kept.retain,
            delay,
            before: cursor.watermark(view.stream).minus(delay),
            now: info.watermarks[view.stream].minus(delay),
            after: cursor.epoch,
        }
    }

    /// The same, of changes after an earlier epoch.
    pub fn since(self, after: Epoch) -> Rule {
        Rule { after, ..self }
    }

    /// Whether the row is owed by this cut, and why.
    pub fn owes(&self, end: EventTime, changed: Epoch, value: &RowValue) -> Option<Effect> {
        let passes = self.before < end && end <= self.now && value.state != RowState::Gone;
        match self.emission {
            Emission::OnUpdate | Emission::Every(_) => (changed > self.after).then_some(Effect::Change),
            Emission::OnComplete | Emission::OnFinal if passes => Some(self.later(end, value)),
            // What was due stays due: also a session that moved its end beyond the watermark, or is gone.
            Emission::OnComplete => (changed > self.after && value.was_complete).then_some(Effect::Change),
            // Once given, so are changes: only a rebuild makes any.
            Emission::OnFinal => (changed > self.after && value.was_final).then_some(Effect::Change),
        }
    }

    /// Whether the store shows the row once this cut is written, and why it was written last.
    pub fn shows(&self, end: EventTime, value: &RowValue) -> Option<Effect> {
        match value.state {
            RowState::Gone => None,
            _ if self.waits() && end <= self.now => Some(self.later(end, value)),
            _ if self.emission == Emission::OnComplete => value.was_complete.then_some(Effect::Change),
            _ => (!self.waits()).then_some(Effect::Change),
        }
    }

    /// Whether the row was ever given to the store, and why it was last.
    pub fn was_given(&self, end: EventTime, value: &RowValue) -> Option<Effect> {
        let gone_too = match self.emission {
            Emission::OnUpdate | Emission::Every(_) => true,
            Emission::OnComplete => value.was_complete,
            Emission::OnFinal => value.was_final,
        };
        match value.state {
            RowState::Gone => gone_too.then_some(Effect::Change),
            _ => self.shows(end, value),
        }
    }

    /// Of a row that changed and then passed, or passed as it changed.
    fn later(&self, end: EventTime, value: &RowValue) -> Effect {
        if value.watermark >= end.plus(self.delay) { Effect::Change } else { Effect::Passing }
    }

    /// Where in the ledger there may be rows that are owed, in order.
    pub fn ranges(&self) -> Vec<Range> {
        let (first, end) = (Key::rows_from(self.view, EventTime::MIN), Key::rows_after(self.view));
        let changed = |from: Key, to: Key| Range { from, to, after: self.after };
        if !self.waits() {
            return vec![changed(first, end)];
        }
        let after = |time: EventTime| match time {
            EventTime::MIN => first.clone(),
            time => Key::rows_from(self.view, EventTime(time.0.saturating_add(1))),
        };
        let (from, to) = (after(self.before), after(self.now));
        let passing = Range { from: from.clone(), to: to.clone(), after: Epoch(0) };
        match self.emission {
            Emission::OnFinal => vec![changed(first, from), passing],
            _ => vec![changed(first, from), passing, changed(to, end)],
        }
    }

    /// Every row and passing of the view, for its board.
    pub fn whole(&self) -> [Range; 2] {
        [board::whole(self.view), self.passings()]
    }

    /// Every passing of the view.
    pub fn passings(&self) -> Range {
        Range { from: self.passing_key(EventTime::MIN), to: self.passing_key(EventTime::MAX), after: Epoch(0) }
    }

    /// Whether rows wait for the watermark.
    pub fn waits(&self) -> bool {
        matches!(self.emission, Emission::OnComplete | Emission::OnFinal)
    }

    /// The key under which a passing of rows that end at `end` is kept.
    fn passing_key(&self, end: EventTime) -> Key {
        Key::passing(self.view, self.emission == Emission::OnFinal, end)
    }

    /// The row as it is written; `passing` is what made it due, if that was not its change.
    pub fn row(&self, key: RowKey, stored: &Stored, value: RowValue, passing: Option<Passing>) -> Row {
        let (version, watermark) = passing.map_or((stored.version, value.watermark), |p| (p.version, p.watermark));
        let state = if value.state == RowState::Open && passing.is_some() { RowState::Complete } else { value.state };
        let retain = self.retain.filter(|_| key.end != EventTime::MAX);
        let expires_us = retain.map(|retain| expiry(version, key.end, retain, watermark));
        let (view, group) = (key.view as usize, key.group.values());
        Row { view, group, start: key.start, end: key.end, cells: value.cells, state, version, expires_us }
    }
}

/// Event time as it passes; before any watermark, what ends at `end` has just ended (SEMANTICS 19).
pub(super) fn expiry(version: Version, end: EventTime, retain: Span, watermark: EventTime) -> i64 {
    let passed = if watermark == EventTime::MIN { end } else { watermark };
    version.0.saturating_add(end.plus(retain).0.saturating_sub(passed.0))
}

/// Passings that a cut has looked up: those after its cursor in what epochs said, earlier ones in the ledger.
pub(super) struct Passings<'a> {
    ledger: &'a Ledger,
    after: Epoch,
    end: Epoch,
    known: BTreeMap<Key, Passing>,
    /// Those of them that nobody has written down.
    found: BTreeMap<Key, Passing>,
}

impl<'a> Passings<'a> {
    pub fn new(ledger: &'a Ledger, after: Epoch, end: Epoch) -> Passings<'a> {
        Passings { ledger, after, end, known: BTreeMap::new(), found: BTreeMap::new() }
    }

    /// Of rows that end at `end`, which passed after the cursor.
    pub fn find(&mut self, rule: &Rule, end: EventTime) -> Passing {
        let key = rule.passing_key(end);
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        let found = self.ledger.first_passed(rule.stream, end.plus(rule.delay), self.after, self.end);
        self.known.insert(key.clone(), found);
        self.found.insert(key, found);
        found
    }

    /// The same for a cursor that may have passed nothing: what early epochs said is forgotten once all other cursors have
    /// passed them, and what they found then is written down. Not what was due by another rule, before a rebuild.
    pub fn find_kept(&mut self, rule: &Rule, end: EventTime, changed: Epoch, snapshot: &Snapshot) -> Result<Passing, RunError> {
        let key = rule.passing_key(end);
        if self.after == Epoch(0) && !self.known.contains_key(&key) {
            self.load(rule, snapshot, &BTreeSet::from([end]))?;
            let is_of_now = |kept: &Passing| kept.watermark >= end.plus(rule.delay) && kept.epoch >= changed;
            if self.known.get(&key).is_some_and(|kept| !is_of_now(kept)) {
                self.known.remove(&key);
            }
        }
        Ok(self.find(rule, end))
    }

    /// Of rows that may have passed earlier; `None` if nobody has written it down.
    pub fn get(&mut self, rule: &Rule, end: EventTime) -> Option<Passing> {
        if end > rule.before {
            return Some(self.find(rule, end));
        }
        self.known.get(&rule.passing_key(end)).copied()
    }

    /// Makes earlier passings of these ends known.
    pub fn load(&mut self, rule: &Rule, snapshot: &Snapshot, ends: &BTreeSet<EventTime>) -> Result<(), RunError> {
        let (Some(first), Some(last)) = (ends.first(), ends.last()) else { return Ok(()) };
        let (from, to) = (rule.passing_key(*first), rule.passing_key(EventTime(last.0.saturating_add(1))));
        let wanted: BTreeSet<Key> = ends.iter().map(|end| rule.passing_key(*end)).collect();
        for entry in snapshot.scan(&Range { from, to, after: Epoch(0) }) {
            let (key, stored) = entry?;
            if wanted.contains(&key) {
                self.known.extend(Passing::of(&stored).map(|passing| (key, passing)));
            }
        }
        Ok(())
    }

    /// What was found, to be kept.
    pub fn into_found(self) -> BTreeMap<Key, Passing> {
        self.found
    }
}
