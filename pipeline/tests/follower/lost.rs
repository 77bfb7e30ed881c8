//! A store that goes back: what it was given is given again, as it was, beside what is newly owed, and nothing old stays.
//!
//! The store keeps the newest version of each row, as Redis does, and now and then becomes what it was some cuts before,
//! or nothing. Once the cursor says that a republication is over, it holds what the model says that it was given.

use super::history::{Due, History};
use super::job::Job;
use caudal_pipeline::group::Group;
use caudal_pipeline::ledger::{Cursor, Emission, Follower, Keep, Kept};
use caudal_pipeline::ports::sink::{Cut, Row, RowState};
use caudal_pipeline::time::{Epoch, EventTime, Span, Version};
use std::collections::BTreeMap;

use super::harness::{Random, seed};

const TRIALS: u64 = 10;
const EPOCHS: u64 = 60;
const PAGE_BYTES: usize = 300;

/// Version and step of a cut.
type Place = (Version, u32);

#[derive(Clone, Default)]
struct Store {
    rows: BTreeMap<(usize, Group, EventTime), Row>,
    board: BTreeMap<(usize, Group), Row>,
    /// Written whole up to this cut.
    mark: Place,
    /// Of the cut after that one, this page.
    page: Option<(Place, u32)>,
}

impl Store {
    /// Whether it lacks what was written before this cut, by its mark alone.
    fn lacks(&self, cut: &Cut) -> bool {
        let this = (cut.version, cut.step);
        let follows = cut.republished.is_some_and(|republished| republished.begins)
            || self.mark >= (cut.previous_version, cut.previous_step);
        let before = cut.page.checked_sub(1).map(|page| (this, page));
        let page_follows = before.is_none() || self.mark >= this || self.page == before || self.page == Some((this, cut.page));
        !follows || !page_follows
    }

    fn write(&mut self, cut: &Cut) {
        let this = (cut.version, cut.step);
        if cut.more {
            self.page = Some((this, cut.page));
        } else {
            (self.mark, self.page) = (self.mark.max(this), None);
        }
        for row in &cut.rows {
            let known = self.rows.entry((row.view, Group::of(&row.group), row.start)).or_insert_with(|| row.clone());
            if row.version >= known.version {
                *known = row.clone();
            }
        }
        if cut.republished.is_some_and(|republished| republished.begins) && !cut.more {
            self.board.clear();
        }
        for latest in &cut.latest {
            let key = (latest.view, Group::of(&latest.group));
            match &latest.row {
                Some(row) => drop(self.board.insert(key, row.clone())),
                None => drop(self.board.remove(&key)),
            }
        }
    }
}

struct Sink {
    emission: Emission,
    follower: Follower,
    cursor: Cursor,
    store: Store,
    /// What the store was, some cuts ago.
    earlier: Vec<Store>,
    losses: usize,
    /// What was written and counted is gone, and no cut has come since.
    lost: bool,
    /// Losses that a cut has found.
    found: usize,
    repeated: usize,
}

impl Sink {
    fn new(job: &Job, emission: Emission) -> Sink {
        let (cursor, store, earlier) = (Cursor::default(), Store::default(), vec![Store::default()]);
        Sink {
            emission,
            follower: follower(job, emission),
            cursor,
            store,
            earlier,
            losses: 0,
            lost: false,
            found: 0,
            repeated: 0,
        }
    }

    /// Writes a cut, or a page of one, if anything is owed.
    fn step(&mut self, job: &Job, random: &mut Random) -> bool {
        let Some((cut, next)) = self.follower.cut(&job.ledger, &self.cursor).unwrap() else { return false };
        let begins = cut.republished.is_some_and(|republished| republished.begins);
        let lacks = self.store.lacks(&cut);
        assert!(lacks == self.lost || begins, "lost: {}, and the mark says {lacks}", self.lost);
        self.lost = false;
        if lacks {
            self.cursor = self.cursor.lost();
            self.found += 1;
            return true;
        }
        self.store.write(&cut);
        if random.chance(10) {
            // The store took it, and we were not told.
            return true;
        }
        self.repeated += cut.rows.iter().filter(|row| row.version <= cut.previous_version).count();
        self.cursor = next;
        self.earlier.push(self.store.clone());
        true
    }

    /// Nobody says so: the next cut must find it, whatever it is.
    fn lose(&mut self, random: &mut Random) {
        let from = if random.chance(50) { self.earlier.len().saturating_sub(4) } else { 0 };
        let kept = from + random.below((self.earlier.len() - from) as u64) as usize;
        self.lost |= kept + 1 < self.earlier.len();
        self.earlier.truncate(kept + 1);
        self.store = self.earlier[kept].clone();
        self.losses += 1;
    }

    fn restart(&mut self, job: &Job) {
        self.follower = follower(job, self.emission);
        self.cursor = postcard::from_bytes(&postcard::to_stdvec(&self.cursor).unwrap()).unwrap();
        // Pages come again from the first.
        self.lost &= self.store.mark < (self.cursor.version, self.cursor.step);
    }

    fn compare(&self, history: &History, context: &str) {
        for view in 0..history.plan.views.len() {
            let to = self.cursor.every.get(&(view as u32)).map_or(self.cursor.epoch, |(epoch, _)| *epoch);
            let due = match (self.emission, history.unwindowed(view)) {
                (Emission::OnComplete, false) => Due::Complete { after: Epoch(0) },
                (Emission::OnFinal, false) => Due::Final { after: Epoch(0) },
                _ => Due::Changed { after: Epoch(0) },
            };
            let given = history.owed(view, due, to, None);
            let mut newest: BTreeMap<Group, &Row> = BTreeMap::new();
            for row in &given {
                let key = (view, Group::of(&row.group), row.start);
                assert_eq!(self.store.rows.get(&key), Some(row), "{context}, view {view}, as of {}", to.0);
                if row.state != RowState::Gone {
                    newest.insert(Group::of(&row.group), row);
                }
            }
            assert_eq!(self.store.rows.keys().filter(|key| key.0 == view).count(), given.len(), "{context}, view {view}");
            let shown = self.store.board.iter().filter(|((of, _), _)| *of == view);
            let shown: BTreeMap<Group, &Row> = shown.map(|((_, group), row)| (group.clone(), row)).collect();
            assert_eq!(shown, newest, "{context}, view {view}: the board as of {}", to.0);
        }
    }
}

fn follower(job: &Job, emission: Emission) -> Follower {
    let kept = |view| Kept { view, emission, retain: None, board_groups_max: 100 };
    let kept = (0..job.plan.views.len() as u32).map(kept).collect();
    Follower::new(job.plan.clone(), kept, true).with_pages_of(PAGE_BYTES)
}

/// How often a store was compared after a loss, how many rows were written again, and how many losses a cut has found.
fn trial(seed: u64) -> [usize; 3] {
    let mut random = Random::new(seed);
    let (mut job, mut compared) = (Job::new(), 0);
    let mut history = History::new(&job.plan);
    let every = Emission::Every(Span::seconds(3));
    let modes = [Emission::OnUpdate, every, Emission::OnComplete, Emission::OnFinal];
    let mut sinks: Vec<Sink> = modes.into_iter().map(|emission| Sink::new(&job, emission)).collect();
    for n in 0..EPOCHS {
        job.epoch(&mut random);
        history.take(&job.ledger);
        for sink in &mut sinks {
            for _ in 0..random.below(4) {
                sink.step(&job, &mut random);
            }
            if n < EPOCHS - 10 && random.chance(4) {
                sink.lose(&mut random);
            }
            if random.chance(4) {
                sink.restart(&job);
            }
            if sink.cursor.republication.is_none() && !sink.lost {
                // Rows of a page that nobody counted may be newer than the cursor.
                while sink.cursor.epoch < job.ledger.end() {
                    sink.step(&job, &mut random);
                }
                sink.compare(&history, &format!("seed {seed}, {:?}, epoch {n}", sink.emission));
                compared += usize::from(sink.losses > 0);
            }
        }
        if random.chance(15) {
            job.ledger.freeze();
            job.ledger.seal(&Keep::default()).unwrap();
        }
    }
    for sink in &mut sinks {
        while sink.step(&job, &mut random) {}
        assert!(sink.cursor.republication.is_none() && sink.cursor.epoch == job.ledger.end());
        sink.compare(&history, &format!("seed {seed}, {:?}, at the end", sink.emission));
    }
    [compared, sinks.iter().map(|sink| sink.repeated).sum(), sinks.iter().map(|sink| sink.found).sum()]
}

#[test]
fn a_store_that_goes_back_holds_everything_again() {
    let seed = seed(9_000);
    let trials: Vec<[usize; 3]> = (seed..seed + TRIALS).map(trial).collect();
    let [compared, repeated, found] = [0, 1, 2].map(|at| trials.iter().map(|trial| trial[at]).sum::<usize>());
    println!(
        "{TRIALS} runs of {EPOCHS} epochs: {found} losses found, compared {compared} times after, {repeated} rows written again"
    );
    assert!(compared > 100 && repeated > 1_000 && found > 20);
}
