//! A follower: what one sink is owed between its cursor and the ledger's end.
//!
//! Each kept view has a mode (SEMANTICS 14). *On update*: every changed row. *On complete*: rows whose window ended
//! since the cursor, and later changes of complete ones. *On final*: rows that became final. Once due in a mode, a row
//! stays due. What is due, and under which version, depends on the ledger and the cursor alone, so a repeated cut is
//! the same cut.
//!
//! A cut reads one snapshot. If it would be large, because the sink was away, it comes in pages of that snapshot, in key
//! order, and the cursor moves with the last one; the durable cursor knows no pages, as rows may be written again.

use super::board::Board;
use super::key::{Key, RowValue};
use super::owed::{Effect, Passings, Rule, expiry};
use super::republication::{Again, Republication};
use super::scan::{End, Range, Snapshot};
use super::table::Stored;
use super::{EpochInfo, Ledger};
use crate::group::Group;
use crate::plan::{Plan, ViewPlan};
use crate::ports::sink::{Cut, DeadLetterRow, EventRow, Row, RowState, ViewProgress};
use crate::positions::Positions;
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
    /// Changed rows, at most once in this span, and when the run ends.
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

/// Bytes of rows and dead letters in one cut, about, as the ledger holds them: a sink that was away takes pages.
const PAGE_BYTES_MAX: usize = 8 << 20;

/// By view: when it was last written.
pub(super) type Turns = BTreeMap<u32, (Epoch, Version)>;

/// How far a sink has written. Durable in checkpoints; a sink repeats what lies beyond with the same versions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Everything due up to here is written.
    pub epoch: Epoch,
    /// The epoch's version.
    pub version: Version,
    /// Grows with each cut since then that ended there too.
    pub step: u32,
    /// The process that wrote there last.
    pub generation: u64,
    /// The epoch's W, for each stream; empty before the first.
    pub watermarks: Vec<EventTime>,
    /// Views written only every so often: how far each is.
    pub every: Turns,
    /// Events are written up to here: behind `epoch` while the sink catches up.
    pub events: Epoch,
    /// The store has lost writes: what was written is written again.
    pub republication: Option<Republication>,
    /// Within a cut in pages. Not durable: after a restart its pages come again, as of a later epoch.
    #[serde(skip)]
    pub(super) page: Option<Page>,
}

/// Pages of the cut up to `to` are written, up to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    to: Epoch,
    next: Key,
    number: u32,
}

impl Cursor {
    /// W at the cursor.
    pub(super) fn watermark(&self, stream: usize) -> EventTime {
        self.watermarks.get(stream).copied().unwrap_or(EventTime::MIN)
    }

    /// The same for another plan. What is written again after a loss begins anew: repeats do no harm.
    pub fn carry(&self, to: &Positions) -> Cursor {
        let turn = |(view, at): (&u32, &(Epoch, Version))| Some((to.view(*view)?, *at));
        let cursor = Cursor {
            watermarks: to.watermarks(&self.watermarks),
            every: self.every.iter().filter_map(turn).collect(),
            republication: None,
            page: None,
            ..self.clone()
        };
        if self.republication.is_some() { cursor.lost() } else { cursor }
    }

    /// The oldest epoch after which anything may still be owed.
    pub fn oldest(&self) -> Epoch {
        let every = self.every.values().map(|(epoch, _)| *epoch);
        every.chain([self.epoch, self.events]).min().expect("it is not empty")
    }

    /// Whether everything up to `epoch` is written, also of views that waited for their turn.
    pub fn has_passed(&self, epoch: Epoch) -> bool {
        self.oldest() >= epoch && self.republication.is_none()
    }

    /// The same, after the store has lost writes: all that the ledger keeps goes there again, once.
    pub fn lost(&self) -> Cursor {
        Cursor { republication: Some(Republication::of(self)), page: None, ..self.clone() }
    }

    /// Whether the next cut begins a republication.
    fn begins(&self) -> bool {
        self.republication.as_ref().is_some_and(|of| of.begun().is_none())
    }

    /// Whether a view waits for its turn.
    fn waits(&self) -> bool {
        self.every.values().any(|(epoch, _)| *epoch < self.epoch)
    }
}

/// See the module.
pub struct Follower {
    pub(super) plan: Arc<Plan>,
    /// In the order of their rows' keys.
    pub(super) kept: Vec<Kept>,
    dead_letters: bool,
    events: Option<KeptEvents>,
    pub(super) page_bytes_max: usize,
    boards: BTreeMap<u32, Board>,
    /// The cut that is being taken in pages.
    paged: Option<Between>,
    /// The republication under way.
    pub(super) again: Option<Again>,
    /// The cursor of the last cut: whoever comes with it has written that cut.
    offered: Option<Cursor>,
    /// What a process before had written is repeated.
    repeated: bool,
}

impl Follower {
    /// A follower of these views, and of dead letters if wanted.
    pub fn new(plan: Arc<Plan>, mut kept: Vec<Kept>, dead_letters: bool) -> Follower {
        kept.sort_by_key(|kept| kept.view);
        Follower {
            plan,
            kept,
            dead_letters,
            events: None,
            page_bytes_max: PAGE_BYTES_MAX,
            boards: BTreeMap::new(),
            paged: None,
            again: None,
            offered: None,
            repeated: false,
        }
    }

    /// The same, of accepted events too.
    pub fn with_events(self, events: Option<KeptEvents>) -> Follower {
        Follower { events, ..self }
    }

    /// The same, with other pages: rows and dead letters of about so many bytes.
    pub fn with_pages_of(self, page_bytes_max: usize) -> Follower {
        Follower { page_bytes_max, ..self }
    }

    /// What is owed after `cursor`, and the cursor once it is written; `None` if there is nothing new. A cut that would
    /// be too large comes in pages, all of them as of the same epoch; only with the last does the cursor's epoch move.
    /// After a loss old rows come with each cut, until there are no more.
    pub fn cut(&mut self, ledger: &Ledger, cursor: &Cursor) -> Result<Option<(Cut, Cursor)>, RunError> {
        let written = self.offered.take().is_some_and(|offered| offered == *cursor);
        let told = |board: &mut Board| board.told = (board.told || written && cursor.page.is_none()) && !cursor.begins();
        self.boards.values_mut().for_each(told);
        let Some((mut cut, mut next)) = self.newly_owed(ledger, cursor)? else { return Ok(None) };
        self.add_old_rows(ledger, cursor, &mut cut, &mut next)?;
        self.offered = (!cut.more).then(|| next.clone());
        Ok(Some((cut, next)))
    }

    /// The cut without what is given again.
    fn newly_owed(&mut self, ledger: &Ledger, cursor: &Cursor) -> Result<Option<(Cut, Cursor)>, RunError> {
        let paged = self.paged.take();
        if let Some(page) = &cursor.page
            && let Some(between) = paged.filter(|between| between.is_at(cursor, page))
        {
            return self.page(ledger, between, &page.next, page.number).map(Some);
        }
        let Some(between) = self.between(ledger, cursor, false) else { return Ok(None) };
        if !self.repeated && ledger.repeated_until <= between.next.epoch {
            // Up to here the board may have stayed as the process before wrote it, who gave views at other turns.
            self.boards.clear();
            self.repeated = true;
        }
        let first = Key::from_bytes(Vec::new());
        if let Some(found) = self.only_page(ledger, &between, &first)? {
            return Ok(Some(found));
        }
        let between = self.between(ledger, cursor, true).expect("what is owed does not become less");
        self.page(ledger, between, &first, 0).map(Some)
    }

    /// What lies between the cursor and the ledger's end; `None` if nothing does. With `boards`, all that boards need too.
    fn between(&self, ledger: &Ledger, cursor: &Cursor, boards: bool) -> Option<Between> {
        let end = ledger.read().end();
        let events_reach = self.events.is_none() || end.epoch == cursor.events;
        let nothing_to_repeat = cursor.republication.is_none();
        if end.epoch == cursor.epoch && events_reach && !(end.finished && cursor.waits()) && nothing_to_repeat {
            return None;
        }
        let wanted = |end: End, info: &EpochInfo| {
            let (rules, every) = self.rules(cursor, end, info);
            let mut ranges: Vec<Range> = rules.iter().flat_map(|(_, rule)| rule.ranges()).collect();
            let dead_letters = self.dead_letters.then(|| dead_letters(cursor.epoch, end.epoch));
            ranges.extend(dead_letters.clone());
            let begins = rules.iter().filter(|(_, rule)| cursor.epoch == Epoch(0) && rule.waits());
            ranges.extend(begins.map(|(_, rule)| rule.passings()));
            let with_board = rules.iter().filter(|(kept, _)| boards && kept.board_groups_max > 0);
            ranges.extend(with_board.flat_map(|(_, rule)| rule.whole()));
            ((rules, every, dead_letters, end.finished), ranges)
        };
        let ((rules, every, dead_letters, finished), snapshot) = ledger.snapshot(wanted)?;
        let (epoch, version, watermarks) = (snapshot.end, snapshot.info.opened, snapshot.info.watermarks.clone());
        let steps_here = if epoch == cursor.epoch { cursor.step + 1 } else { 0 };
        // Once the job ends views do not wait for their turn: if a store failed the same cut without them, this is another.
        let step = steps_here + u32::from(finished);
        let (generation, events) = (ledger.generation(), epoch);
        let next = Cursor { epoch, version, step, generation, watermarks, every, events, republication: None, page: None };
        let from = Cursor { page: None, ..cursor.clone() };
        Some(Between { from, next, rules, dead_letters, snapshot, gone: BTreeMap::new() })
    }

    /// What each view is owed; those that wait for their turn are owed nothing. And how far the latter then are.
    fn rules(&self, cursor: &Cursor, end: End, info: &EpochInfo) -> (Vec<(Kept, Rule)>, Turns) {
        let (mut rules, mut next) = (Vec::new(), BTreeMap::new());
        for kept in &self.kept {
            let rule = Rule::new(&self.plan, kept, cursor, info);
            let Emission::Every(every) = rule.emission else {
                rules.push((kept.clone(), rule));
                continue;
            };
            let last = cursor.every.get(&kept.view).copied().unwrap_or((cursor.epoch, cursor.version));
            // A republication begins with whole boards: all of them as of this cut. And old rows that change while it lasts
            // come with what is newly owed, or the store would lack them until the view's next turn.
            let due = end.finished || info.opened.0 - last.1.0 >= every.0 || cursor.republication.is_some();
            next.insert(kept.view, if due { (end.epoch, info.opened) } else { last });
            rules.extend(due.then(|| (kept.clone(), rule.since(last.0))));
        }
        (rules, next)
    }

    /// The whole cut, if it is small and boards can go on from where they are.
    fn only_page(&mut self, ledger: &Ledger, between: &Between, first: &Key) -> Result<Option<(Cut, Cursor)>, RunError> {
        let mut passings = Passings::new(ledger, between.from.epoch, between.next.epoch);
        let mut cut = self.new_cut(between);
        if between.fill(&mut cut, first, self.page_bytes_max, &mut passings)?.is_some() {
            return Ok(None);
        }
        for (kept, _) in between.rules.iter().filter(|(kept, _)| kept.board_groups_max > 0) {
            let Some(board) = self.boards.get_mut(&kept.view) else { return Ok(None) };
            let rows = cut.rows.partition_point(|row| row.view < kept.view as usize);
            let after = cut.rows.partition_point(|row| row.view <= kept.view as usize);
            let moved = board.take(&cut.rows[rows..after], kept.board_groups_max);
            if moved.lost {
                // The rows that are left are still right, and will be compared with those that the snapshot has.
                return Ok(None);
            }
            cut.latest.extend(board.latest(kept.view, moved.touched));
        }
        ledger.keep_passings(passings.into_found());
        self.last_page(ledger, between, cut).map(Some)
    }

    /// A page of a cut; the last one has the boards, read from the snapshot.
    fn page(&mut self, ledger: &Ledger, mut between: Between, first: &Key, number: u32) -> Result<(Cut, Cursor), RunError> {
        let mut passings = Passings::new(ledger, between.from.epoch, between.next.epoch);
        let mut cut = Cut { page: number, ..self.new_cut(&between) };
        let next = between.fill(&mut cut, first, self.page_bytes_max, &mut passings)?;
        between.note_gone(&cut.rows);
        let found = if let Some(next) = next {
            (cut.more, cut.progress) = (true, Vec::new());
            let page = Page { to: between.next.epoch, next, number: number + 1 };
            (cut, Cursor { page: Some(page), ..between.from.clone() })
        } else {
            let in_pages = !first.bytes().is_empty();
            for (kept, rule) in between.rules.iter().filter(|(kept, _)| kept.board_groups_max > 0) {
                let board = self.boards.entry(kept.view).or_default();
                board.told &= !in_pages;
                let gone = between.gone.get(&kept.view).cloned().unwrap_or_default();
                let mut touched = board.read(kept, rule, &gone, &between.snapshot, &mut passings)?;
                let rows = cut.rows.iter().filter(|row| row.view == kept.view as usize);
                touched.extend(rows.map(|row| Group::of(&row.group)).chain(gone));
                cut.latest.extend(board.latest(kept.view, touched));
            }
            self.last_page(ledger, &between, cut)?
        };
        ledger.keep_passings(passings.into_found());
        self.paged = Some(between);
        Ok(found)
    }

    fn new_cut(&self, between: &Between) -> Cut {
        Cut {
            from: between.from.epoch,
            to: between.next.epoch,
            version: between.next.version,
            previous_version: between.from.version,
            generation: between.next.generation,
            previous_generation: between.from.generation,
            step: between.next.step,
            previous_step: between.from.step,
            progress: self.progress(&between.snapshot.info),
            ..Cut::default()
        }
    }

    /// Events come with what moves the cursor.
    fn last_page(&mut self, ledger: &Ledger, between: &Between, mut cut: Cut) -> Result<(Cut, Cursor), RunError> {
        let mut next = between.next.clone();
        if let Some(kept) = self.events {
            (next.events, cut.events) = events(kept, ledger, between)?;
        }
        Ok((cut, next))
    }

    /// Complete and final frontiers of every view.
    fn progress(&self, info: &EpochInfo) -> Vec<ViewProgress> {
        let of = |view: &ViewPlan| {
            let watermark = info.watermarks[view.stream];
            ViewProgress { complete_until: watermark, final_until: watermark.minus(self.plan.streams[view.stream].lateness) }
        };
        self.plan.views.iter().map(of).collect()
    }
}

/// The ledger from a cursor to its end, and the cursor there.
struct Between {
    from: Cursor,
    next: Cursor,
    rules: Vec<(Kept, Rule)>,
    dead_letters: Option<Range>,
    snapshot: Snapshot,
    /// By view, groups of which the pages so far say that a row is gone, where a board must know.
    gone: BTreeMap<u32, BTreeSet<Group>>,
}

impl Between {
    /// Whether a page of a cursor is one of this cut.
    fn is_at(&self, cursor: &Cursor, page: &Page) -> bool {
        page.to == self.next.epoch && (cursor.epoch, cursor.step) == (self.from.epoch, self.from.step)
    }

    fn note_gone(&mut self, rows: &[Row]) {
        for (kept, _) in self.rules.iter().filter(|(kept, _)| kept.board_groups_max > 0) {
            let gone = rows.iter().filter(|row| row.view == kept.view as usize && row.state == RowState::Gone);
            self.gone.entry(kept.view).or_default().extend(gone.map(|row| Group::of(&row.group)));
        }
    }

    /// Adds rows and dead letters from a key on, until they are `bytes_max` or more; returns the key to go on at.
    fn fill(&self, cut: &mut Cut, first: &Key, bytes_max: usize, passings: &mut Passings<'_>) -> Result<Option<Key>, RunError> {
        let mut bytes = 0;
        let from_first = |range: Range| Range { from: range.from.max(first.clone()), ..range };
        let rows = self.rules.iter().flat_map(|(_, rule)| rule.ranges().into_iter().map(move |range| (Some(rule), range)));
        for (rule, range) in rows.chain(self.dead_letters.iter().map(|range| (None, range.clone()))) {
            for entry in self.snapshot.scan(&from_first(range)) {
                let (key, stored) = entry?;
                if bytes >= bytes_max {
                    return Ok(Some(key));
                }
                let added = match rule {
                    Some(rule) => owed(rule, &key, &stored, passings, &self.snapshot)?.map(|row| cut.rows.push(row)),
                    None => dead_letter(&stored).map(|row| cut.dead_letters.push(row)),
                };
                if added.is_some() {
                    bytes += key.bytes().len() + stored.value.as_ref().map_or(0, |value| value.len());
                }
            }
        }
        Ok(None)
    }
}

/// The row, if it is due.
fn owed(
    rule: &Rule,
    key: &Key,
    stored: &Stored,
    passings: &mut Passings<'_>,
    snapshot: &Snapshot,
) -> Result<Option<Row>, RunError> {
    let Some((key, value)) = key.as_row().zip(value(stored)) else { return Ok(None) };
    let passing = match rule.owes(key.end, stored.epoch, &value) {
        None => return Ok(None),
        Some(Effect::Change) => None,
        Some(Effect::Passing) => Some(passings.find_kept(rule, key.end, stored.epoch, snapshot)?),
    };
    Ok(Some(rule.row(key, stored, value, passing)))
}

/// A row's value; `None` if its key was taken away.
pub(super) fn value(stored: &Stored) -> Option<RowValue> {
    Some(postcard::from_bytes(stored.value.as_deref()?).expect("the ledger holds what it was given"))
}

/// Events after the cursor, and the epoch up to which they are.
fn events(kept: KeptEvents, ledger: &Ledger, between: &Between) -> Result<(Epoch, Vec<EventRow>), RunError> {
    let (reached, found) = ledger.events(between.from.events, between.next.epoch, EVENTS_BYTES_MAX)?;
    let mut of_epoch: Option<(Epoch, Vec<EventTime>)> = None;
    let row = |stored: Stored| {
        let event: Event = postcard::from_bytes(stored.value.as_deref()?).expect("the ledger holds what it was given");
        let known = of_epoch.take().filter(|(epoch, _)| *epoch == stored.epoch);
        let at_end = || between.next.watermarks.clone();
        let watermarks = || ledger.epoch(stored.epoch).map_or_else(at_end, |info| info.watermarks);
        let (_, watermarks) = of_epoch.insert(known.unwrap_or_else(|| (stored.epoch, watermarks())));
        let watermark = watermarks[event.stream as usize];
        let expires_us = kept.retain.map(|retain| expiry(stored.version, event.event_time, retain, watermark));
        Some(EventRow { version: stored.version, expires_us, event })
    };
    Ok((reached, found.into_iter().filter_map(row).collect()))
}

/// Dead letters of the epochs after one and up to another.
fn dead_letters(after: Epoch, to: Epoch) -> Range {
    Range { from: Key::dead_letter(after.next(), 0), to: Key::dead_letter(to.next(), 0), after }
}

pub(super) fn dead_letter(stored: &Stored) -> Option<DeadLetterRow> {
    let dead_letter = postcard::from_bytes(stored.value.as_deref()?).expect("the ledger holds what it was given");
    Some(DeadLetterRow { version: stored.version, dead_letter })
}
