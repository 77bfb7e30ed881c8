//! Everything that any incarnation ever showed: one value for each (row, version), one version for each epoch; and a store that
//! a sink wrote through all of them. It goes on from the cursor that the checkpoint kept, and lags, where the ledger may forget:
//! not what it has not passed. Else it begins anew each time.

use super::harness::*;
use caudal_pipeline::engine::Engine;
use caudal_pipeline::group::Group;
use caudal_pipeline::ledger::{Cursor, Emission, EpochInfo, Follower, Kept, RowKey};
use caudal_pipeline::plan::Plan;
use caudal_pipeline::ports::sink::{Row, RowState};
use caudal_pipeline::record::{Offset, Partition, Verdict};
use caudal_pipeline::time::{Epoch, EventTime, Version};
use caudal_pipeline::value::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The sink of these tests.
const SINK: &str = "history";

/// After so many turns in a hundred a sink that lags looks.
const LOOKS_PERCENT: u64 = 10;
/// And after so many it is cut off while it writes.
const PARTS_PERCENT: u64 = 4;

/// A row in a store, at one of its versions.
type Seen = (usize, Group, EventTime, Version);

pub struct History {
    plan: Arc<Plan>,
    /// The ledger may forget what the sink has written.
    forgets: bool,
    lag: Random,
    parts: Random,
    follower: Follower,
    cursor: Cursor,
    rows: BTreeMap<Seen, Row>,
    /// By what a store finds a row by: view, group and start.
    store: BTreeMap<(usize, Group, EventTime), Row>,
    epochs: BTreeMap<Epoch, EpochInfo>,
    dead_letters: BTreeMap<(u32, Partition, Offset, u32), (Version, Verdict)>,
}

impl History {
    pub fn new(plan: &Arc<Plan>, forgets: bool, seed: u64) -> History {
        History {
            plan: plan.clone(),
            forgets,
            lag: Random::new(seed.rotate_left(32)),
            parts: Random::new(seed.rotate_left(16)),
            follower: follower(plan),
            cursor: Cursor::default(),
            rows: BTreeMap::new(),
            store: BTreeMap::new(),
            epochs: BTreeMap::new(),
            dead_letters: BTreeMap::new(),
        }
    }

    /// The sink follows the new incarnation.
    pub fn next_incarnation(&mut self, engine: &Engine) {
        let kept = engine.cursors().lock().unwrap().get(SINK).cloned().filter(|_| self.forgets);
        (self.follower, self.cursor) = (follower(&self.plan), kept.unwrap_or_default());
    }

    /// [`History::look`], seldom where the ledger forgets.
    pub fn look_now_and_then(&mut self, engine: &Engine) {
        if !self.forgets || self.lag.chance(LOOKS_PERCENT) {
            self.look(engine);
        } else if self.parts.chance(PARTS_PERCENT) {
            self.write_a_part(engine);
        }
    }

    /// Some rows of a cut reach the store, in any order, and nobody is told.
    fn write_a_part(&mut self, engine: &Engine) {
        let Some((cut, _)) = self.follower.cut(&engine.ledger(), &self.cursor).unwrap() else { return };
        for row in cut.rows {
            if self.parts.chance(50) {
                self.write(row);
            }
        }
    }

    fn write(&mut self, row: Row) {
        let key = (row.view, Group::of(&row.group), row.start, row.version);
        if let Some(known) = self.rows.insert(key, row.clone()) {
            assert_eq!(known, row, "one version of a row has two values");
        }
        let at = (row.view, Group::of(&row.group), row.start);
        if self.store.get(&at).is_none_or(|held| held.version <= row.version) {
            self.store.insert(at, row);
        }
    }

    /// Takes what is new in the ledger; fails where it contradicts what was seen before.
    pub fn look(&mut self, engine: &Engine) {
        let ledger = engine.ledger();
        let Some((cut, next)) = self.follower.cut(&ledger, &self.cursor).unwrap() else { return };
        cut.rows.into_iter().for_each(|row| self.write(row));
        for letter in cut.dead_letters {
            let dead = letter.dead_letter;
            let found = (letter.version, Verdict::Rejected(dead.rejection.reason));
            if let Some(known) = self.dead_letters.insert((dead.stream, dead.partition, dead.offset, dead.element), found) {
                assert_eq!(known, found, "a dead letter has two stories");
            }
        }
        for epoch in cut.from.0 + 1..=cut.to.0 {
            let info = ledger.epoch(Epoch(epoch)).expect("no sink has passed it");
            if let Some(known) = self.epochs.insert(Epoch(epoch), info.clone()) {
                assert_eq!(known, info, "epoch {epoch} was formed anew");
            }
        }
        if self.forgets {
            engine.cursors().lock().unwrap().insert(SINK.into(), next.clone());
        }
        self.cursor = next;
    }

    /// W of each stream at an epoch that was seen.
    pub fn watermarks(&self, epoch: Epoch) -> &[EventTime] {
        &self.epochs[&epoch].watermarks
    }

    /// What a reader of the store sees.
    pub fn stored(&self) -> BTreeMap<RowKey, Vec<Cell>> {
        let there = self.store.iter().filter(|(_, row)| row.state != RowState::Gone);
        let row = |((view, group, start), row): (&(usize, Group, EventTime), &Row)| {
            (RowKey { view: *view as u32, end: row.end, group: group.clone(), start: *start }, row.cells.clone())
        };
        there.map(row).collect()
    }

    /// Every refused record is one dead letter, and nothing else is.
    pub fn compare_dead_letters(&self, oracle: &Oracle, context: &str) {
        let mut found: BTreeMap<Verdict, u64> = BTreeMap::new();
        self.dead_letters.values().for_each(|(_, verdict)| *found.entry(*verdict).or_default() += 1);
        let refused = oracle.counts.iter().filter(|((_, verdict), _)| matches!(verdict, Verdict::Rejected(_)));
        let expected: BTreeMap<Verdict, u64> = refused.map(|((_, verdict), n)| (*verdict, *n)).collect();
        assert_eq!(found, expected, "{context}: the dead letters differ");
    }
}

fn follower(plan: &Arc<Plan>) -> Follower {
    let kept = |view| Kept { view, emission: Emission::OnUpdate, retain: None, board_groups_max: 0 };
    Follower::new(plan.clone(), (0..plan.views.len() as u32).map(kept).collect(), true)
}
