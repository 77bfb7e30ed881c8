//! A follower: what one sink is owed between its cursor and the ledger's end.
//!
//! Each kept view has a mode (SEMANTICS 14). *On update*: every changed row. *On complete*: rows whose window ended
//! since the cursor, and later changes of complete ones. *On final*: rows that became final. Once due in a mode, a row
//! stays due. What is due, and under which version, depends on the ledger and the cursor alone, so a repeated cut is
//! the same cut.

use super::key::{Key, RowKey, RowValue};
use super::table::Stored;
use super::{EpochInfo, Ledger};
use crate::group::Group;
use crate::plan::{Plan, ViewPlan, WindowPlan};
use crate::ports::sink::{Cut, DeadLetterRow, EventRow, Latest, Row, RowState, ViewProgress};
use crate::record::Event;
use crate::run::RunError;
use crate::time::{Epoch, EventTime, Span, Version};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
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
    fn watermark(&self, stream: usize) -> EventTime {
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
        let span = Between { ledger, cursor, end, info };
        for kept in self.kept.clone() {
            let first = cut.rows.len();
            let mut owed = self.owed(&kept, &span, &changed, &mut next)?;
            owed.sort_by(|a, b| (a.end, &a.group, a.start).cmp(&(b.end, &b.group, b.start)));
            cut.rows.append(&mut owed);
            if kept.board_groups_max > 0 {
                self.board(&kept, &span, &cut.rows[first..], &mut cut.latest)?;
            }
        }
        if let Some(kept) = self.events {
            (next.events, cut.events) = events(kept, &span)?;
        }
        if self.dead_letters {
            cut.dead_letters = changed.iter().filter_map(|(key, stored)| dead_letter(ledger, cursor, key, stored)).collect();
        }
        Ok(Some((cut, next)))
    }

    /// Complete and final frontiers of every view.
    fn progress(&self, info: &EpochInfo) -> Vec<ViewProgress> {
        let of = |view: &ViewPlan| {
            let watermark = info.watermarks[view.stream];
            ViewProgress { complete_until: watermark, final_until: watermark.minus(self.plan.streams[view.stream].lateness) }
        };
        self.plan.views.iter().map(of).collect()
    }

    fn owed(
        &self,
        kept: &Kept,
        span: &Between<'_>,
        changed: &BTreeMap<Key, Stored>,
        next: &mut Cursor,
    ) -> Result<Vec<Row>, RunError> {
        let view = &self.plan.views[kept.view as usize];
        let rows = changed.range(Key::rows_from(kept.view, EventTime::MIN)..Key::rows_after(kept.view));
        let after = |from: Epoch| rows.clone().filter(move |(_, stored)| stored.epoch > from);
        let mut owed = Vec::new();
        match emission(kept, view) {
            Emission::OnUpdate => {
                owed.extend(after(span.cursor.epoch).filter_map(|(key, stored)| self.row(kept, span, key, stored, None)));
            }
            Emission::Every(every) => {
                let last = span.cursor.every.get(&kept.view).copied().unwrap_or((span.cursor.epoch, span.cursor.version));
                let due = span.info.opened.0 - last.1.0 >= every.0;
                next.every.insert(kept.view, if due { (span.end, span.info.opened) } else { last });
                if due {
                    owed.extend(after(last.0).filter_map(|(key, stored)| self.row(kept, span, key, stored, None)));
                }
            }
            Emission::OnComplete => self.passed(kept, span, Span(0), true, after(span.cursor.epoch), &mut owed)?,
            Emission::OnFinal => {
                let lateness = self.plan.streams[view.stream].lateness;
                self.passed(kept, span, lateness, false, after(span.cursor.epoch), &mut owed)?;
            }
        }
        Ok(owed)
    }

    /// Rows whose end + `delay` the watermark has passed since the cursor, and changes of those it had passed before.
    fn passed<'c>(
        &self,
        kept: &Kept,
        span: &Between<'_>,
        delay: Span,
        corrections: bool,
        changed: impl Iterator<Item = (&'c Key, &'c Stored)>,
        owed: &mut Vec<Row>,
    ) -> Result<(), RunError> {
        let stream = self.plan.views[kept.view as usize].stream;
        let (before, now) = (span.cursor.watermark(stream).minus(delay), span.info.watermarks[stream].minus(delay));
        if corrections {
            // What was due stays due: also a session that moved its end beyond the watermark, or is gone.
            let again = changed.filter(|(key, stored)| {
                let (Some(row), Some(value)) = (key.as_row(), value(stored)) else { return false };
                let comes_below = before < row.end && row.end <= now && value.state != RowState::Gone;
                value.was_complete && !comes_below
            });
            owed.extend(again.filter_map(|(key, stored)| self.row(kept, span, key, stored, None)));
        }
        if now > before {
            let from = if before == EventTime::MIN { before } else { EventTime(before.0 + 1) };
            let range = span.ledger.range(&Key::rows_from(kept.view, from), &Key::rows_from(kept.view, EventTime(now.0 + 1)))?;
            for (key, stored) in &range {
                let end = key.as_row().expect("a range of rows").end;
                let due = span.first_passed(stream, end.plus(delay));
                owed.extend(self.row(kept, span, key, stored, Some(due)).filter(|row| row.state != RowState::Gone));
            }
        }
        Ok(())
    }

    /// The row to write; `due` is the epoch that made it due, if that was not its own change.
    fn row(&self, kept: &Kept, span: &Between<'_>, key: &Key, stored: &Stored, due: Option<Epoch>) -> Option<Row> {
        let RowKey { view, end, group, start } = key.as_row()?;
        let value = value(stored)?;
        // The effect is its own change, or the later epoch that made it due.
        let due = due.filter(|due| *due > stored.epoch);
        let watermarks = span.watermarks(due.unwrap_or(stored.epoch));
        let version = due.and_then(|due| span.ledger.epoch(due)).map_or(stored.version, |info| info.opened);
        let watermark = watermarks[self.plan.views[view as usize].stream];
        let state = if value.state == RowState::Open && due.is_some() { RowState::Complete } else { value.state };
        let expires_us = kept.retain.filter(|_| end != EventTime::MAX).map(|retain| expiry(version, end, retain, watermark));
        let group = group.values();
        Some(Row { view: view as usize, group, start, end, cells: value.cells, state, version, expires_us })
    }

    /// Whether a row that ends at `end` is written at all, in this mode, as of the end of `span`.
    fn is_due(&self, kept: &Kept, span: &Between<'_>, end: EventTime, value: Option<&RowValue>) -> bool {
        let view = &self.plan.views[kept.view as usize];
        let watermark = span.info.watermarks[view.stream];
        match emission(kept, view) {
            Emission::OnUpdate | Emission::Every(_) => true,
            Emission::OnComplete => end <= watermark || value.is_some_and(|value| value.was_complete),
            Emission::OnFinal => end.plus(self.plan.streams[view.stream].lateness) <= watermark,
        }
    }

    /// Moves the board's newest rows on by `written`, and lists those that changed.
    fn board(&mut self, kept: &Kept, span: &Between<'_>, written: &[Row], latest: &mut Vec<Latest>) -> Result<(), RunError> {
        if !self.boards.contains_key(&kept.view) {
            let board = self.newest_rows(kept, span)?;
            latest.extend(board.values().map(|row| Latest { view: row.view, group: row.group.clone(), row: Some(row.clone()) }));
            self.boards.insert(kept.view, board);
            return Ok(());
        }
        let board = self.boards.get_mut(&kept.view).expect("it was just looked up");
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
            let all = self.newest_rows(kept, span)?;
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

    /// The newest row of each group that is not gone, read from the whole ledger: at a start, and after a newest row is gone.
    fn newest_rows(&self, kept: &Kept, span: &Between<'_>) -> Result<BTreeMap<Group, Row>, RunError> {
        let mut board: BTreeMap<Group, Row> = BTreeMap::new();
        let all = span.ledger.range(&Key::rows_from(kept.view, EventTime::MIN), &Key::rows_after(kept.view))?;
        // Only what the mode has written, or is about to write in this cut, belongs on the board.
        for (key, stored) in all.iter().rev().filter(|(_, stored)| stored.epoch <= span.end) {
            let group = key.as_row().expect("a range of rows").group;
            if board.len() < kept.board_groups_max && !board.contains_key(&group) {
                let is_due = |row: &Row| row.state != RowState::Gone && self.is_due(kept, span, row.end, value(stored).as_ref());
                let row = self.row(kept, span, key, stored, None).filter(is_due);
                board.extend(row.map(|row| (group, row)));
            }
        }
        Ok(board)
    }
}

/// The mode that holds: unwindowed rows never complete, they are written as they change.
fn emission(kept: &Kept, view: &ViewPlan) -> Emission {
    match kept.emission {
        Emission::OnComplete | Emission::OnFinal if view.window == WindowPlan::Unwindowed => Emission::OnUpdate,
        emission => emission,
    }
}

/// A row's value; `None` if its key was taken away.
fn value(stored: &Stored) -> Option<RowValue> {
    Some(postcard::from_bytes(stored.value.as_deref()?).expect("the ledger holds what it was given"))
}

/// Event time as it passes; before any watermark, what ends at `end` has just ended (SEMANTICS 19).
fn expiry(version: Version, end: EventTime, retain: Span, watermark: EventTime) -> i64 {
    let passed = if watermark == EventTime::MIN { end } else { watermark };
    version.0.saturating_add(end.plus(retain).0.saturating_sub(passed.0))
}

/// Events after the cursor, and the epoch up to which they are.
fn events(kept: KeptEvents, span: &Between<'_>) -> Result<(Epoch, Vec<EventRow>), RunError> {
    let (reached, found) = span.ledger.events(span.cursor.events, span.end, EVENTS_BYTES_MAX)?;
    let mut of_epoch: Option<(Epoch, Vec<EventTime>)> = None;
    let row = |stored: Stored| {
        let event: Event = postcard::from_bytes(stored.value.as_deref()?).expect("the ledger holds what it was given");
        let known = of_epoch.take().filter(|(epoch, _)| *epoch == stored.epoch);
        let (_, watermarks) = of_epoch.insert(known.unwrap_or_else(|| (stored.epoch, span.watermarks(stored.epoch))));
        let watermark = watermarks[event.stream as usize];
        let expires_us = kept.retain.map(|retain| expiry(stored.version, event.event_time, retain, watermark));
        Some(EventRow { version: stored.version, expires_us, event })
    };
    Ok((reached, found.into_iter().filter_map(row).collect()))
}

fn dead_letter(ledger: &Ledger, cursor: &Cursor, key: &Key, stored: &Stored) -> Option<DeadLetterRow> {
    let epoch = key.as_dead_letter().filter(|epoch| *epoch > cursor.epoch)?;
    let dead_letter = postcard::from_bytes(stored.value.as_deref()?).expect("the ledger holds what it was given");
    Some(DeadLetterRow { version: ledger.epoch(epoch)?.opened, dead_letter })
}

/// The ledger from a cursor to its end.
struct Between<'a> {
    ledger: &'a Ledger,
    cursor: &'a Cursor,
    end: Epoch,
    info: EpochInfo,
}

impl Between<'_> {
    /// The first epoch after the cursor whose W has reached `time`.
    fn first_passed(&self, stream: usize, time: EventTime) -> Epoch {
        let (mut low, mut high) = (self.cursor.epoch.0, self.end.0);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            let reached = self.ledger.epoch(Epoch(middle)).is_some_and(|info| info.watermarks[stream] >= time);
            if reached { high = middle } else { low = middle }
        }
        Epoch(high)
    }

    /// W(epoch); of an epoch before the cursor, which only a board still shows, W at the cursor.
    fn watermarks(&self, epoch: Epoch) -> Vec<EventTime> {
        let known = self.ledger.epoch(epoch).map(|info| info.watermarks);
        known
            .or_else(|| Some(self.cursor.watermarks.clone()).filter(|w| !w.is_empty()))
            .unwrap_or_else(|| self.info.watermarks.clone())
    }
}
