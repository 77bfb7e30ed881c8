//! Crashes that are not left to chance: each step of the crash table and of the ledger, before and after it happens, crossed with
//! the workers of the process that crashes, those of the next one, and whether the newest checkpoint is damaged in between.
//!
//! ```text
//! two checkpoints ── run on `workers` ✂ in the step ── (newest checkpoint damaged) run on `next_workers` ── …
//! ```

use super::Trial;
use super::harness::*;
use caudal_pipeline::engine::Engine;
use caudal_pipeline::ports::source::Source;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// As the disk names them. Both kinds of ledger run are deleted alike.
const STEPS: [&str; 15] = [
    "create gen",
    "create generation record",
    "create tables",
    "create bind",
    "create ledger",
    "create merged ledger",
    "create state",
    "create manifest",
    "create checkpoint record",
    "delete state",
    "delete manifest",
    "delete ledger",
    "delete log",
    "create merged state",
    "delete merged state",
];

/// So many checkpoints a process makes at most, until it crashes. All steps come within a few dozen.
const SAVES_MAX: usize = 100;

/// One crash, and the start after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    step: &'static str,
    happens: bool,
    workers: usize,
    next_workers: usize,
    damaged: bool,
}

impl Cell {
    /// How many there are.
    pub const COUNT: u64 = STEPS.len() as u64 * 2 * 2 * 4 * 4;

    /// A seed's. As many seeds in a row as there are cells have each of them, and a few have most of the steps: neighbours
    /// are apart by a number that is coprime to the count.
    pub fn of(seed: u64) -> Cell {
        let mut rest = seed % Cell::COUNT * 593 % Cell::COUNT;
        let mut digit = |base: usize| {
            let digit = rest % base as u64;
            rest /= base as u64;
            digit as usize
        };
        let (happens, damaged) = (digit(2) == 1, digit(2) == 1);
        let (workers, next_workers) = (1 + digit(4), 1 + digit(4));
        Cell { step: STEPS[digit(STEPS.len())], happens, workers, next_workers, damaged }
    }

    /// As the disk tells of it.
    fn crash(self) -> String {
        format!("{}, {}", self.step, if self.happens { "after" } else { "before" })
    }
}

/// The cells that are not among these.
pub fn missing(cells: &BTreeSet<Cell>) -> Vec<Cell> {
    (0..Cell::COUNT).map(Cell::of).filter(|cell| !cells.contains(cell)).collect()
}

impl Trial<'_> {
    /// Has a process crash in a cell and the next one start as it says. What is drawn is drawn by itself.
    pub fn crash_in(&mut self, cell: Cell, seed: u64) {
        let mut random = Random::new(seed.rotate_left(16));
        let table = random.below(3);
        // 1. Two checkpoints, so that one may be damaged.
        let life = self.disk.next_life(None);
        let mut engine = self.start(1 + random.below(4) as usize, table, &life).expect("it does not crash");
        for messages in [20, 10] {
            self.push(messages);
            assert!(self.save(&mut engine, &life));
        }
        self.cut(engine);
        // 2. Checkpoints until it crashes in the first, second or third such change; those of a start come once.
        let once = matches!(cell.step, "create gen" | "create generation record" | "create tables");
        let changes = if once { 0 } else { random.below(3) };
        let life = self.disk.next_life_in(cell.step, Crash { changes, happens: cell.happens, forgets: 0 });
        if let Some(mut engine) = self.start(cell.workers, (table + 1) % 3, &life) {
            let mut saves = 0;
            while saves < SAVES_MAX && self.save(&mut engine, &life) {
                saves += 1;
                self.push(1);
            }
            self.cut(engine);
        }
        self.clock.pass(random.below(60_000) as i64);
        // 3. The next start, and some epochs.
        if cell.damaged {
            self.spoiled.newest(&mut random, &self.disk);
        }
        let next = self.disk.next_life(None);
        let mut engine = self.start(cell.next_workers, (table + 2) % 3, &next).expect("it does not crash");
        self.push(10);
        assert!(self.save(&mut engine, &next));
        self.cut(engine);
        if life.crashed_at() == Some(cell.crash()) {
            self.exercised.cells.insert(cell);
        }
    }

    /// Makes a checkpoint; false if the process crashed meanwhile.
    fn save(&mut self, engine: &mut Engine, life: &Disk) -> bool {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut alive = self.replay(engine, life);
        let before = engine.status().checkpoint;
        engine.checkpoint();
        while alive && engine.status().checkpoint == before {
            assert!(Instant::now() < deadline, "{}: no checkpoint: {:?}", self.context, engine.status());
            engine.discovered(0, self.source.discover().unwrap());
            alive = self.turn(engine, 100, life);
        }
        alive
    }
}
