//! Everything that any incarnation ever showed: one value for each (row, version), one version for each epoch.

use super::harness::*;
use caudal_pipeline::engine::Engine;
use caudal_pipeline::group::Group;
use caudal_pipeline::ledger::{Cursor, Emission, EpochInfo, Follower, Kept};
use caudal_pipeline::plan::Plan;
use caudal_pipeline::ports::sink::Row;
use caudal_pipeline::record::{Offset, Partition, Verdict};
use caudal_pipeline::time::{Epoch, EventTime, Version};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A row in a store, at one of its versions.
type Seen = (usize, Group, EventTime, Version);

pub struct History {
    plan: Arc<Plan>,
    follower: Follower,
    cursor: Cursor,
    rows: BTreeMap<Seen, Row>,
    epochs: BTreeMap<Epoch, EpochInfo>,
    dead_letters: BTreeMap<(u32, Partition, Offset, u32), (Version, Verdict)>,
}

impl History {
    pub fn new(plan: &Arc<Plan>) -> History {
        History {
            plan: plan.clone(),
            follower: follower(plan),
            cursor: Cursor::default(),
            rows: BTreeMap::new(),
            epochs: BTreeMap::new(),
            dead_letters: BTreeMap::new(),
        }
    }

    /// A new sink follows the new incarnation from the beginning.
    pub fn next_incarnation(&mut self) {
        (self.follower, self.cursor) = (follower(&self.plan), Cursor::default());
    }

    /// Takes what is new in the ledger; fails where it contradicts what was seen before.
    pub fn look(&mut self, engine: &Engine) {
        let ledger = engine.ledger();
        let Some((cut, next)) = self.follower.cut(&ledger, &self.cursor).unwrap() else { return };
        for row in cut.rows {
            let key = (row.view, Group::of(&row.group), row.start, row.version);
            if let Some(known) = self.rows.insert(key, row.clone()) {
                assert_eq!(known, row, "one version of a row has two values");
            }
        }
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
        self.cursor = next;
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
