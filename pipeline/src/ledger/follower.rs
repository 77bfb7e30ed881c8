//! A follower: what one sink is owed between its cursor and the ledger's end.
//!
//! Each kept view has a mode (SEMANTICS 14). *On update*: every changed row. *On complete*: rows whose window ended
//! since the cursor, and later changes of complete ones. *On final*: rows that became final. Once due in a mode, a row
//! stays due. What is due, and under which version, depends on the ledger and the cursor alone, so a repeated cut is
//! the same cut.

use super::key::{Key, RowKey, RowValue};
use super::owed::{Effect, Passings, Rule, expiry};
use super::table::Stored;
use super::{EpochInfo, Ledger};
use crate::group::Group;
use crate::plan::{Plan, ViewPlan};
use crate::ports::sink::{Cut, DeadLetterRow, EventRow, Latest, Row, RowState, ViewProgress};
use crate::record::Event;
use crate::run::RunError;
use crate::time::{Epoch, EventTime, Span, Version};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// When rows of a view are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Emission {
    /// At each change.
    OnUpdate,
    /// Changed rows, at most once in this span.
    Every(Span),
    /// Once complete, then corrections.
    OnComplete,
    /// Once final, never again.
    OnFinal,
}

/// A view that a sink keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Position of the view in the plan.
    pub view: u32,
    /// When its rows are written.
    pub emission: Emission,
    /// How long the store keeps them, in event time; `None` for ever.
    pub retain: Option<Span>,
    /// The newest row of each group is kept for a board, up to this many groups.
    pub board_groups_max: usize,
}

/// Accepted events, if a sink keeps them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptEvents {
    /// How long the store keeps them, in event time; `None` for ever.
    pub retain: Option<Span>,
}

/// Bytes of events in one cut, about: a sink that was away takes them in pieces.
const EVENTS_BYTES_MAX: usize = 16 << 20;

/// How far a sink has written. Durable in checkpoints; a sink repeats what lies beyond with the same versions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Everything due up to here is written.
    pub epoch: Epoch,
    /// The epoch's version.
    pub version: Version,
    /// The epoch's W, for each stream; empty before the first.
    pub watermarks: Vec<EventTime>,
    /// Views written only every so often: how far each is.
    pub every: BTreeMap<u32, (Epoch, Version)>,
    /// Events are written up to here: behind `epoch` while the sink catches up.
    pub events: Epoch,
}

impl Cursor {
    /// W at the cursor.
    pub(super) fn watermark(&self, stream: usize) -> EventTime {
        self.watermarks.get(stream).copied().unwrap_or(EventTime::MIN)
    }

    /// The oldest epoch after which anything may still be owed.
    pub fn oldest(&self) -> Epoch {
        self.oldest_change().min(self.events)
    }

    /// Whether everything up to `epoch` is written, but for views that wait for their turn.
    pub fn has_passed(&self, epoch: Epoch) -> bool {
        self.epoch.min(self.events) >= epoch
    }

    /// The oldest epoch after which changes of rows may still be owed.
    fn oldest_change(&self) -> Epoch {
        self.every.values().map(|(epoch, _)| *epoch).min().unwrap_or(self.epoch).min(self.epoch)
    }
}

/// See the module.
pub struct Follower {
    plan: Arc<Plan>,
    kept: Vec<Kept>,
    dead_letters: bool,
    events: Option<KeptEvents>,
    boards: BTreeMap<u32, BTreeMap<Group, Row>>,
}

impl Follower {
    /// A follower of these views, and of dead letters if wanted.
    pub fn new(plan: Arc<Plan>, kept: Vec<Kept>, dead_letters: bool) -> Follower {
        Follower { plan, kept, dead_letters, events: None, boards: BTreeMap::new() }
    }

    /// The same, of accepted events too.
    pub fn with_events(self, events: Option<KeptEvents>) -> Follower {
        Follower { events, ..self }
    }

    /// Everything owed after `cursor`, and the cursor once it is written; `None` if there is nothing new.
    pub fn cut(&mut self, ledger: &Ledger, cursor: &Cursor) -> Result<Option<(Cut, Cursor)>, RunError> {
        let (end, changed) = ledger.changed(cursor.oldest_change())?;
        let owes = end > cursor.epoch || (self.events.is_some() && end > cursor.events);
        let Some(info) = ledger.epoch(end).filter(|_| owes) else { return Ok(None) };
        let (version, watermarks) = (info.opened, info.watermarks.clone());
        let mut next = Cursor { epoch: end, version, watermarks, every: BTreeMap::new(), events: end };
        let mut cut = Cut {
            from: cursor.epoch,
            to: end,
            version: info.opened,
            previous_version: cursor.version,
            progress: self.progress(&info),
            ..Cut::default()
        };
        let mut passings = Passings::new(ledger, cursor.epoch, end);
        for kept in self.kept.clone() {
            let Some(rule) = self.rule(&kept, cursor, end, &info, &mut next) else { continue };
            let first = cut.rows.len();
            cut.rows.append(&mut owed(ledger, &rule, &changed, &mut passings)?);
            if kept.board_groups_max > 0 {
                self.board(&kept, &rule, &mut passings, &cut.rows[first..], &mut cut.latest)?;
            }
        }
        ledger.keep_passings(passings.into_found());
        if let Some(kept) = self.events {
            (next.events, cut.events) = events(kept, ledger, cursor.events, (end, &info))?;
        }
        if self.dead_letters {
            cut.dead_letters = changed.iter().filter_map(|(key, stored)| dead_letter(cursor, key, stored)).collect();
        }
        Ok(Some((cut, next)))
    }

    /// What a view is owed; `None` if it waits for its turn.
    fn rule(&self, kept: &Kept, cursor: &Cursor, end: Epoch, info: &EpochInfo, next: &mut Cursor) -> Option<Rule> {
        let rule = Rule::new(&self.plan, kept, cursor, info);
        let Emission::Every(every) = rule.emission else { return Some(rule) };
        let last = cursor.every.get(&kept.view).copied().unwrap_or((cursor.epoch, cursor.version));
        let due = info.opened.0 - last.1.0 >= every.0;
        next.every.insert(kept.view, if due { (end, info.opened) } else { last });
        due.then(|| rule.since(last.0))
    }

    /// Complete and final frontiers of every view.
    fn progress(&self, info: &EpochInfo) -> Vec<ViewProgress> {
        let of = |view: &ViewPlan| {
            let watermark = info.watermarks[view.stream];
            ViewProgress { complete_until: watermark, final_until: watermark.minus(self.plan.streams[view.stream].lateness) }
        };
        self.plan.views.iter().map(of).collect()
    }

    /// Moves the board's newest rows on by `written`, and lists those that changed.
    fn board(
        &mut self,
        kept: &Kept,
        rule: &Rule,
        passings: &mut Passings<'_>,
        written: &[Row],
        latest: &mut Vec<Latest>,
    ) -> Result<(), RunError> {
        let Some(board) = self.boards.get_mut(&kept.view) else {
            let board = newest_rows(kept, rule, passings)?;
            latest.extend(board.values().map(|row| Latest { view: row.view, group: row.group.clone(), row: Some(row.clone()) }));
            self.boards.insert(kept.view, board);
            return Ok(());
        };
        let mut touched: BTreeMap<Group, bool> = BTreeMap::new();
        for row in written {
            let group = Group::of(&row.group);
            let newest = board.get(&group);
            if row.state == RowState::Gone {
                let lost = newest.is_some_and(|newest| newest.start == row.start);
                touched.entry(group).and_modify(|l| *l |= lost).or_insert(lost);
            } else if newest.map_or(board.len() < kept.board_groups_max, |newest| row.end >= newest.end) {
                board.insert(group.clone(), row.clone());
                touched.entry(group).or_insert(false);
            }
        }
        if touched.values().any(|lost| *lost) {
            let all = newest_rows(kept, rule, passings)?;
            self.boards.insert(kept.view, all);
        }
        let board = &self.boards[&kept.view];
        latest.extend(touched.into_keys().map(|group| Latest {
            view: kept.view as usize,
            row: board.get(&group).cloned(),
            group: group.values(),
        }));
        Ok(())
    }
}

/// A view's rows that are due, in the order of (end, group, start).
fn owed(
    ledger: &Ledger,
    rule: &Rule,
    changed: &BTreeMap<Key, Stored>,
    passings: &mut Passings<'_>,
) -> Result<Vec<Row>, RunError> {
    let rows = changed.range(Key::rows_from(rule.view, EventTime::MIN)..Key::rows_after(rule.view));
    let mut found: BTreeMap<Key, Stored> = rows.map(|(key, stored)| (key.clone(), stored.clone())).collect();
    if let Some((from, to)) = rule.passing() {
        found.extend(ledger.range(&from, &to)?);
    }
    let row = |(key, stored): (Key, Stored)| {
        let (key, value) = (key.as_row()?, value(&stored)?);
        let passing = match rule.owes(key.end, stored.epoch, &value)? {
            Effect::Change => None,
            Effect::Passing => Some(passings.find(rule, key.end)),
        };
        Some(rule.row(key, &stored, value, passing))
    };
    Ok(found.into_iter().filter_map(row).collect())
}

/// The newest row of each group that is not gone, read from the whole ledger: at a start, and after a newest row is
/// gone. Only what the mode has written, or is about to write in this cut, belongs on the board.
fn newest_rows(kept: &Kept, rule: &Rule, passings: &mut Passings<'_>) -> Result<BTreeMap<Group, Row>, RunError> {
    let mut newest = BTreeMap::new();
    let mut earlier = BTreeSet::new();
    let all = passings.ledger().range(&Key::rows_from(kept.view, EventTime::MIN), &Key::rows_after(kept.view))?;
    for (key, stored) in all.iter().rev() {
        let key = key.as_row().expect("a range of rows");
        if newest.len() >= kept.board_groups_max || newest.contains_key(&key.group) {
            continue;
        }
        let Some(value) = value(stored) else { continue };
        let Some(effect) = rule.shows(key.end, &value) else { continue };
        if effect == Effect::Passing {
            earlier.insert(key.end);
        }
        newest.insert(key.group.clone(), (key, stored, value, effect));
    }
    passings.load(rule, &earlier)?;
    let row = |(group, (key, stored, value, effect)): (Group, (RowKey, &Stored, RowValue, Effect))| {
        let passing = if effect == Effect::Passing { passings.get(rule, key.end) } else { None };
        (group, rule.row(key, stored, value, passing))
    };
    Ok(newest.into_iter().map(row).collect())
}

/// A row's value; `None` if its key was taken away.
fn value(stored: &Stored) -> Option<RowValue> {
    Some(postcard::from_bytes(stored.value.as_deref()?).expect("the ledger holds what it was given"))
}

/// Events after the cursor, and the epoch up to which they are.
fn events(
    kept: KeptEvents,
    ledger: &Ledger,
    from: Epoch,
    (to, info): (Epoch, &EpochInfo),
) -> Result<(Epoch, Vec<EventRow>), RunError> {
    let (reached, found) = ledger.events(from, to, EVENTS_BYTES_MAX)?;
    let mut of_epoch: Option<(Epoch, Vec<EventTime>)> = None;
    let row = |stored: Stored| {
        let event: Event = postcard::from_bytes(stored.value.as_deref()?).expect("the ledger holds what it was given");
        let known = of_epoch.take().filter(|(epoch, _)| *epoch == stored.epoch);
        let watermarks = || ledger.epoch(stored.epoch).map_or_else(|| info.watermarks.clone(), |info| info.watermarks);
        let (_, watermarks) = of_epoch.insert(known.unwrap_or_else(|| (stored.epoch, watermarks())));
        let watermark = watermarks[event.stream as usize];
        let expires_us = kept.retain.map(|retain| expiry(stored.version, event.event_time, retain, watermark));
        Some(EventRow { version: stored.version, expires_us, event })
    };
    Ok((reached, found.into_iter().filter_map(row).collect()))
}

fn dead_letter(cursor: &Cursor, key: &Key, stored: &Stored) -> Option<DeadLetterRow> {
    key.as_dead_letter().filter(|epoch| *epoch > cursor.epoch)?;
    let dead_letter = postcard::from_bytes(stored.value.as_deref()?).expect("the ledger holds what it was given");
    Some(DeadLetterRow { version: stored.version, dead_letter })
}
