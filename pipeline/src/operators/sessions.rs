//! Session windows: from the first event to the last of a run without a pause of `gap`, plus `gap`.
//!
//! A session's identity is (group, start). A later event moves its end; an earlier one, or one that joins two
//! sessions, makes a new start: the rows that lose theirs become `gone`.
//!
//! ```text
//! gap 3    ·a··b·······c·     sessions [a, b+3) [c, c+3)
//! + d      ·a··b··d··  c·     [a, b+3) moves its end to d+3
//! + e      ·a··b··d··e·c·     one session [a, c+3); the row of c is gone
//! ```

use super::Partial;
use super::windows::{Accs, Change, RowChange, ViewRules};
use crate::group::Group;
use crate::state::{Changed, StateRow};
use crate::time::{EventTime, Span};
use std::collections::{BTreeMap, BTreeSet};

struct Session {
    last: EventTime,
    /// It was complete once; a later event may have moved its end since.
    was_complete: bool,
    accs: Accs,
}

/// A session before the epoch.
#[derive(Clone, Copy)]
struct Before {
    end: EventTime,
    was_complete: bool,
}

pub(super) struct Sessions {
    rules: ViewRules,
    gap: Span,
    groups: BTreeMap<Group, BTreeMap<EventTime, Session>>,
    by_end: BTreeSet<(EventTime, Group, EventTime)>,
    /// Sessions touched in this epoch, and those that existed before it as they were then.
    touched: BTreeMap<(Group, EventTime), Option<Before>>,
    unsaved: Changed<(Group, EventTime)>,
    /// Sessions that have ended at W. All others are open; they are not counted anew at each epoch.
    ended: u64,
    watermark: EventTime,
}

fn saved(rules: &ViewRules, gap: Span, key: (&Group, EventTime), session: &Session) -> StateRow {
    let value = (session.last, session.was_complete, &session.accs);
    StateRow::new(key.0.route(), &key, &value, rules.expiry(session.last.plus(gap)))
}

/// The value of a saved session of which `was_given` knows whether it was given as complete: then it stays due to whoever waits
/// for that.
pub fn given_complete(key: &[u8], value: &[u8], was_given: impl FnOnce(Group, EventTime) -> Option<bool>) -> Option<Vec<u8>> {
    let saved = "a saved row is what this operator saved";
    let (group, start) = postcard::from_bytes(key).expect(saved);
    let was_given = was_given(group, start)?;
    let ((last, _), accs): ((EventTime, bool), &[u8]) = postcard::take_from_bytes(value).expect(saved);
    let mut given = postcard::to_stdvec(&(last, was_given)).expect("it is plain data");
    given.extend(accs);
    Some(given)
}

impl Sessions {
    pub fn new(rules: ViewRules, gap: Span) -> Sessions {
        Sessions {
            rules,
            gap,
            groups: BTreeMap::new(),
            by_end: BTreeSet::new(),
            touched: BTreeMap::new(),
            unsaved: Changed::default(),
            ended: 0,
            watermark: EventTime::MIN,
        }
    }

    /// Takes events at `partial.start..=partial.end`, merging every session they touch.
    pub fn insert(&mut self, partial: Partial) {
        let Partial { group, start, end: last, accs, .. } = partial;
        let (mut start, mut last, mut accs): (_, _, Accs) = (start, last, accs.into());
        let reach = start.minus(self.gap);
        let sessions = self.groups.entry(group.clone()).or_default();
        // The only session before `start` that can touch it is the last one that starts there; the others follow it.
        let first = sessions.range(..=start).next_back().filter(|(_, s)| s.last > reach).map_or(start, |(at, _)| *at);
        let merged: Vec<EventTime> =
            sessions.range(first..).map(|(at, _)| *at).take_while(|at| *at < last.plus(self.gap)).collect();
        for at in merged {
            let session = sessions.remove(&at).expect("it was just found");
            let end = session.last.plus(self.gap);
            self.by_end.remove(&(end, group.clone(), at));
            self.ended -= u64::from(end <= self.watermark);
            self.touched.entry((group.clone(), at)).or_insert(Some(Before { end, was_complete: session.was_complete }));
            (start, last) = (start.min(at), last.max(session.last));
            self.rules.merge(&mut accs, &session.accs);
        }
        sessions.insert(start, Session { last, was_complete: false, accs });
        self.by_end.insert((last.plus(self.gap), group.clone(), start));
        self.ended += u64::from(last.plus(self.gap) <= self.watermark);
        self.touched.entry((group, start)).or_insert(None);
    }

    /// Emits what changed since the last call (W passed from `before` to `after`), then drops what is final.
    pub fn close(&mut self, before: EventTime, after: EventTime, out: &mut Vec<RowChange>) {
        for ((group, start), previous) in std::mem::take(&mut self.touched) {
            let now = self.groups.get_mut(&group).and_then(|sessions| sessions.get_mut(&start));
            let was_complete = previous.is_some_and(|previous| previous.was_complete || previous.end <= before);
            let row = |end, change| RowChange { view: self.rules.view, end, group: group.clone(), start, change, was_complete };
            let now = now.map(|session| {
                session.was_complete = was_complete;
                (session.last.plus(self.gap), session.accs.clone())
            });
            if let Some(previous) = previous.filter(|previous| now.as_ref().is_none_or(|(now, _)| *now != previous.end)) {
                out.push(row(previous.end, if now.is_some() { Change::Moved } else { Change::Gone }));
            }
            if let Some((end, accs)) = now {
                out.push(row(end, Change::Value(accs)));
            }
            self.unsaved.insert((group, start));
        }
        self.move_watermark(after);
        while let Some((end, ..)) = self.by_end.first().filter(|(end, ..)| self.rules.is_final(*end, after)) {
            let _ = end;
            let (_, group, start) = self.by_end.pop_first().expect("it was just found");
            self.ended -= 1;
            let sessions = self.groups.get_mut(&group).expect("an indexed session exists");
            sessions.remove(&start);
            if sessions.is_empty() {
                self.groups.remove(&group);
            }
        }
    }

    fn move_watermark(&mut self, to: EventTime) {
        let passed = self.by_end.range((self.watermark.plus(Span(1)), Group::of(&[]), EventTime::MIN)..);
        // An end is an event time, which lies before the end of time: there, nothing is counted twice.
        self.ended += passed.take_while(|(end, ..)| *end <= to).count() as u64;
        self.watermark = to;
    }

    /// Sessions: all, and those that had not ended at the last [`Sessions::close`].
    pub fn held(&self) -> (u64, u64) {
        let all = self.by_end.len() as u64;
        (all, all - self.ended)
    }

    /// Sessions that changed since the last call; those that were merged into others are gone.
    pub fn save(&mut self) -> Vec<StateRow> {
        let (groups, rules, gap) = (&self.groups, &self.rules, self.gap);
        self.unsaved.take(|(group, start)| {
            let session = groups.get(&group).and_then(|sessions| sessions.get(&start));
            let gone = || StateRow::gone(group.route(), &(&group, start));
            Some(session.map_or_else(gone, |session| saved(rules, gap, (&group, start), session)))
        })
    }

    /// All sessions.
    pub fn save_whole(&mut self) -> Vec<StateRow> {
        self.unsaved.clear();
        let of = |(group, sessions): (&Group, &BTreeMap<EventTime, Session>)| -> Vec<StateRow> {
            sessions.iter().map(|(start, session)| saved(&self.rules, self.gap, (group, *start), session)).collect()
        };
        self.groups.iter().flat_map(of).collect()
    }

    pub fn load(&mut self, row: &StateRow) {
        let ((group, start), (last, was_complete, accs)): ((Group, EventTime), (EventTime, bool, Accs)) = row.decode();
        self.by_end.insert((last.plus(self.gap), group.clone(), start));
        self.groups.entry(group).or_default().insert(start, Session { last, was_complete, accs });
    }
}
