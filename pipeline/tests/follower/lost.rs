//! A store that goes back: what it was given is given again, as it was, beside what is newly owed, and nothing old stays.
//!
//! A store is two servers, each with some of the groups, as in a cluster. Each keeps the newest version of a row, and now and
//! then one becomes what it was some cuts before, or nothing. Now and then the job goes back too, to what was saved, and
//! repeats what it had written beyond. Once the cursor says that a republication is over, the store holds what the model says
//! that it was given.

use super::history::{Due, History};
use super::job::Job;
use caudal_pipeline::group::Group;
use caudal_pipeline::ledger::{Cursor, Emission, Follower, Keep, Kept, Republication, RunEntry};
use caudal_pipeline::ports::sink::{Cut, Place, Row, RowState};
use caudal_pipeline::time::{Epoch, EventTime, Span};
use caudal_pipeline::value::Value;
use std::collections::BTreeMap;

use super::harness::{Random, seed};

const TRIALS: u64 = 20;
const EPOCHS: u64 = 60;
const PAGE_BYTES: usize = 300;

/// What one server holds.
#[derive(Clone, Default)]
struct Store {
    rows: BTreeMap<(usize, Group, EventTime), Row>,
    board: BTreeMap<(usize, Group), Row>,
    /// What the board is as of.
    shown: Epoch,
    /// Written whole up to this cut.
    mark: Place,
    /// Of the cut after that one, this page.
    page: Option<(Place, u32)>,
    /// A republication is under way that began with this cut.
    again: Option<Place>,
}

impl Store {
    /// Whether it lacks what was written before this cut, by its mark alone.
    fn lacks(&self, cut: &Cut) -> bool {
        let this = cut.place();
        let follows = match cut.republished {
            _ if cut.begins() => true,
            Some(of) => self.again.is_none_or(|again| again == of.begun) && self.mark >= cut.previous(),
            None => self.again.is_none() && self.mark >= cut.previous(),
        };
        let before = cut.page.checked_sub(1).map(|page| (this, page));
        let is_done = self.mark == this || self.mark > this && !takes_over(cut);
        let page_follows = before.is_none() || is_done || self.page == before || self.page == Some((this, cut.page));
        !follows || !page_follows
    }

    fn take(&mut self, row: &Row) {
        let known = self.rows.entry((row.view, Group::of(&row.group), row.start)).or_insert_with(|| row.clone());
        if row.version >= known.version {
            *known = row.clone();
        }
    }

    fn mark(&mut self, cut: &Cut) {
        let this = cut.place();
        if cut.more {
            self.page = Some((this, cut.page));
            return;
        }
        (self.mark, self.page) = (if takes_over(cut) { this } else { self.mark.max(this) }, None);
        self.again = self.again.filter(|_| !cut.republished.is_some_and(|republished| republished.ends));
    }

    fn show(&mut self, cut: &Cut) {
        if cut.more || self.shown > cut.to {
            return;
        }
        self.shown = cut.to;
        if cut.begins() {
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

/// Whether it is a process's first.
fn takes_over(cut: &Cut) -> bool {
    cut.previous_generation != cut.generation
}

/// A server that now and then goes back, alone.
struct Server {
    store: Store,
    /// What the store was, some cuts ago.
    earlier: Vec<Store>,
    /// So many of them are from before this process, or this start.
    others: usize,
    /// What was written and counted is gone, and no cut has come since.
    lost: bool,
}

impl Server {
    fn new() -> Server {
        Server { store: Store::default(), earlier: vec![Store::default()], others: 1, lost: false }
    }

    /// Nobody says so: the next cut must find it, whatever it is.
    fn lose(&mut self, cursor: &Cursor, random: &mut Random) {
        if self.earlier.is_empty() {
            return;
        }
        let from = if random.chance(50) { self.earlier.len().saturating_sub(4) } else { 0 };
        let kept = from + random.below((self.earlier.len() - from) as u64) as usize;
        let ours = self.earlier.len() - self.others;
        self.lost = ours > 0 && (self.lost || kept + 1 < self.earlier.len());
        self.earlier.truncate(kept + 1);
        self.others = self.others.min(kept + 1);
        self.store = self.earlier[kept].clone();
        self.lost |= self.lacks_before_the_first_cut(cursor);
    }

    /// What a process that begins with this cursor writes first says so, whatever it is.
    fn lacks_before_the_first_cut(&self, cursor: &Cursor) -> bool {
        let place = Place { generation: cursor.generation, version: cursor.version, step: cursor.step };
        let goes_on = cursor.republication.as_ref().map(Republication::begun);
        let other = self.store.again.is_some_and(|again| goes_on.is_none_or(|begun| begun != Some(again)));
        goes_on != Some(None) && (self.store.mark < place || other)
    }
}

/// A sink, and the servers that it writes to: each has some of the groups, the first one the board.
struct Sink {
    emission: Emission,
    follower: Follower,
    cursor: Cursor,
    servers: [Server; 2],
    /// Up to here processes before this one may have written.
    reached: Epoch,
    losses: usize,
    /// Losses that a cut has found.
    found: usize,
    repeated: usize,
}

impl Sink {
    fn new(job: &Job, emission: Emission) -> Sink {
        let (follower, cursor, servers) = (follower(job, emission), Cursor::default(), [Server::new(), Server::new()]);
        Sink { emission, follower, cursor, servers, reached: Epoch(0), losses: 0, found: 0, repeated: 0 }
    }

    fn lost(&self) -> bool {
        self.servers.iter().any(|server| server.lost)
    }

    /// Writes a cut, or a page of one, if anything is owed.
    fn step(&mut self, job: &Job, random: &mut Random) -> bool {
        let Some((cut, next)) = self.follower.cut(&job.ledger, &self.cursor).unwrap() else { return false };
        let (lacks, lost) = (self.servers.iter().any(|server| server.store.lacks(&cut)), self.lost());
        assert!(lacks == lost || cut.begins(), "lost: {lost}, and the marks say {lacks}");
        self.servers.iter_mut().for_each(|server| server.lost = false);
        if lacks {
            self.cursor = self.cursor.lost();
            self.found += 1;
            return true;
        }
        if !self.write(&cut, random) {
            // Some of it, or all, was taken, and we were not told.
            return true;
        }
        self.repeated += cut.rows.iter().filter(|row| row.version <= cut.previous_version).count();
        self.cursor = next;
        for server in self.servers.iter_mut().filter(|server| server.store.mark.generation <= cut.generation) {
            server.earlier.push(server.store.clone());
        }
        true
    }

    /// Whether all of it was written, and we were told.
    fn write(&mut self, cut: &Cut, random: &mut Random) -> bool {
        let steps = if random.chance(10) { random.below(5) } else { 5 };
        for server in self.servers.iter_mut().filter(|_| cut.begins()) {
            server.store.again = Some(cut.place());
        }
        for row in cut.rows.iter().take(if steps > 0 { usize::MAX } else { cut.rows.len() / 2 }) {
            let at = usize::from(row.group.first() == Some(&Value::Decimal(1)));
            self.servers[at].store.take(row);
        }
        let first = random.below(2) as usize;
        for (_, at) in [first, 1 - first].into_iter().enumerate().filter(|(n, _)| steps > *n as u64 + 1) {
            self.servers[at].store.mark(cut);
        }
        if steps > 3 {
            self.servers[0].store.show(cut);
        }
        steps > 4
    }

    /// One server goes back, or both do.
    fn lose(&mut self, random: &mut Random) {
        let which = random.below(3) as usize;
        for (_, server) in self.servers.iter_mut().enumerate().filter(|(at, _)| *at != which) {
            server.lose(&self.cursor, random);
        }
        self.losses += 1;
    }

    /// The cursor as a checkpoint holds it.
    fn saved(&self) -> Cursor {
        postcard::from_bytes(&postcard::to_stdvec(&self.cursor).unwrap()).unwrap()
    }

    fn restart(&mut self, job: &Job) {
        self.follower = follower(job, self.emission);
        self.cursor = self.saved();
        // Pages come again from the first.
        for server in &mut self.servers {
            server.others = server.earlier.len();
            server.lost &= server.lacks_before_the_first_cut(&self.cursor);
        }
    }

    /// Another process goes on from what was saved.
    fn crash(&mut self, job: &Job, saved: &Cursor, reached: Epoch, put_back: bool) {
        (self.follower, self.cursor) = (follower(job, self.emission), saved.clone());
        self.reached = self.reached.max(reached);
        for server in &mut self.servers {
            if put_back {
                // A server that goes back beyond this, to a process that came later, is not noticed.
                server.earlier.clear();
            }
            let is_there = !server.earlier.is_empty();
            server.earlier.extend(is_there.then(|| server.store.clone()));
            server.others = server.earlier.len();
            server.lost = server.lacks_before_the_first_cut(&self.cursor);
        }
    }

    fn compare(&self, history: &History, context: &str) {
        for view in 0..history.plan.views.len() {
            let to = self.cursor.every.get(&(view as u32)).map_or(self.cursor.epoch, |(epoch, _)| *epoch);
            if to < self.reached {
                // It may hold newer rows, of the process before.
                continue;
            }
            let due = match (self.emission, history.unwindowed(view)) {
                (Emission::OnComplete, false) => Due::Complete { after: Epoch(0) },
                (Emission::OnFinal, false) => Due::Final { after: Epoch(0) },
                _ => Due::Changed { after: Epoch(0) },
            };
            let given = history.owed(view, due, to, None);
            let mut newest: BTreeMap<Group, &Row> = BTreeMap::new();
            for row in &given {
                let key = (view, Group::of(&row.group), row.start);
                let stored = self.servers.iter().find_map(|server| server.store.rows.get(&key));
                assert_eq!(stored, Some(row), "{context}, view {view}, as of {}", to.0);
                if row.state != RowState::Gone {
                    newest.insert(Group::of(&row.group), row);
                }
            }
            let rows = self.servers.iter().flat_map(|server| server.store.rows.keys());
            assert_eq!(rows.filter(|key| key.0 == view).count(), given.len(), "{context}, view {view}");
            let shown = self.servers[0].store.board.iter().filter(|((of, _), _)| *of == view);
            let shown: BTreeMap<Group, &Row> = shown.map(|((_, group), row)| (group.clone(), row)).collect();
            assert_eq!(shown, newest, "{context}, view {view}: the board as of {}", to.0);
        }
    }
}

/// A checkpoint: its epoch, what of the ledger and of the sinks it holds, and who made it.
type Saved = (Epoch, Vec<RunEntry>, Vec<Cursor>, u64);

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
    let mut saved: Vec<Saved> = vec![(Epoch(0), vec![], vec![Cursor::default(); sinks.len()], 0)];
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
            if sink.cursor.republication.is_none() && !sink.lost() {
                // Rows of a page that nobody counted may be newer than the cursor.
                while sink.cursor.epoch < job.ledger.end() {
                    sink.step(&job, &mut random);
                }
                sink.compare(&history, &format!("seed {seed}, {:?}, epoch {n}", sink.emission));
                compared += usize::from(sink.losses > 0);
            }
        }
        if random.chance(15) {
            let cursors = sinks.iter().map(Sink::saved).collect();
            job.ledger.freeze();
            saved.push((job.ledger.end(), job.ledger.seal(&Keep::default()).unwrap(), cursors, job.generation));
        }
        if random.chance(5) {
            saved.truncate(saved.len() - usize::from(saved.len() > 1 && random.chance(30)));
            let (epoch, runs, cursors, generation) = saved.last().expect("the beginning is");
            let reached = job.ledger.end();
            // A folder that was put back from a copy knows of no process since. (That two have the same is not tried.)
            let put_back = random.chance(20);
            let last = if put_back { *generation } else { job.generation };
            job.crash(*epoch, runs, last + 1 + random.below(1_000_000));
            sinks.iter_mut().zip(cursors).for_each(|(sink, cursor)| sink.crash(&job, cursor, reached, put_back));
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

#[test]
fn the_first_cut_past_what_is_repeated_has_the_whole_board() {
    let mut random = Random::new(seed(9_100));
    let (mut job, mut cursor) = (Job::new(), Cursor::default());
    let mut before = follower(&job, Emission::OnUpdate);
    // Until an epoch changes nothing: its cut has nothing for the board either.
    let runs = loop {
        job.ledger.freeze();
        let runs = job.ledger.seal(&Keep::default()).unwrap();
        job.epoch(&mut random);
        let Some((cut, next)) = whole_cut(&mut before, &job, &cursor) else { continue };
        cursor = next;
        if cut.rows.is_empty() && job.ledger.end() > Epoch(20) {
            assert_eq!(cut.latest, vec![]);
            break runs;
        }
    };
    let quiet = job.ledger.end();
    job.crash(Epoch(quiet.0 - 1), &runs, 2);
    let mut after = follower(&job, Emission::OnUpdate);
    let (first, cursor) = whole_cut(&mut after, &job, &Cursor::default()).unwrap();
    // What a process before has written of the board may stand in its way.
    job.epoch(&mut random);
    let (crossing, cursor) = whole_cut(&mut after, &job, &cursor).unwrap();
    assert_eq!((crossing.to, crossing.rows.len()), (quiet, 0));
    assert!(!crossing.latest.is_empty());
    assert_eq!(crossing.latest, first.latest);
    job.epoch(&mut random);
    let (beyond, _) = whole_cut(&mut after, &job, &cursor).unwrap();
    assert!(beyond.latest.len() <= beyond.rows.len());
}

#[test]
fn a_republication_ends_once_what_changed_under_it_is_given() {
    let seed = seed(9_200);
    for seed in seed..seed + 50 {
        let mut random = Random::new(seed);
        let mut job = Job::new();
        let mut follower = follower(&job, Emission::Every(Span::seconds(3))).with_pages_of(800);
        let mut up_to = |job: &mut Job, end: u64| (job.ledger.end().0..end).for_each(|_| job.epoch(&mut random));
        up_to(&mut job, 4);
        let Some((given, cursor)) = whole_cut(&mut follower, &job, &Cursor::default()) else { continue };
        up_to(&mut job, 6);
        let Some((mut cut, mut cursor)) = follower.cut(&job.ledger, &cursor.lost()).unwrap() else { continue };
        // While the pages of what is newly owed go out, some of what was given changes.
        up_to(&mut job, 8);
        let mut rows = std::mem::take(&mut cut.rows);
        while !cut.republished.is_some_and(|republished| republished.ends) {
            (cut, cursor) = whole_cut(&mut follower, &job, &cursor).unwrap();
            rows.append(&mut cut.rows);
        }
        let key = |row: &Row| (row.view, row.group.clone(), row.start);
        let lacks = given.rows.iter().filter(|old| !rows.iter().any(|row| key(row) == key(old)));
        assert_eq!(lacks.collect::<Vec<_>>(), Vec::<&Row>::new(), "seed {seed}");
    }
}

#[test]
fn a_cut_that_gives_more_as_the_job_ends_is_another() {
    let mut random = Random::new(seed(9_300));
    let mut job = Job::new();
    let mut follower = follower(&job, Emission::Every(Span::seconds(3_600)));
    job.epoch(&mut random);
    let (_, cursor) = whole_cut(&mut follower, &job, &Cursor::default()).unwrap();
    (0..4).for_each(|_| job.epoch(&mut random));
    // The store may have taken it, though it did not say so: what it has then is told apart from what comes instead.
    let (unconfirmed, _) = whole_cut(&mut follower, &job, &cursor).unwrap();
    job.ledger.finish();
    let (again, next) = whole_cut(&mut follower, &job, &cursor).unwrap();
    assert_eq!((unconfirmed.to, unconfirmed.previous()), (again.to, again.previous()));
    assert!(again.rows.len() > unconfirmed.rows.len() && again.place() > unconfirmed.place());
    assert_eq!(whole_cut(&mut follower, &job, &next).map(|(cut, _)| cut.rows), None);
}

/// A cut with the rows of all its pages, and the cursor after it.
fn whole_cut(follower: &mut Follower, job: &Job, cursor: &Cursor) -> Option<(Cut, Cursor)> {
    let (mut rows, mut cursor) = (Vec::new(), cursor.clone());
    loop {
        let (mut cut, next) = follower.cut(&job.ledger, &cursor).unwrap()?;
        cursor = next;
        rows.append(&mut cut.rows);
        if !cut.more {
            return Some((Cut { rows, ..cut }, cursor));
        }
    }
}
