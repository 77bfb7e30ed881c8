//! What sinks are owed, against a naive model: it remembers every row as of every epoch and reads each mode's rule off
//! that history (SEMANTICS 14). The follower sees only the ledger's newest values, at random moments, after seals and
//! merges that drop what nobody needs.
//!
//! `CAUDAL_SEED=n cargo test -p caudal-pipeline --test follower` repeats a run.

#[path = "harness/mod.rs"]
mod harness;

#[path = "follower/history.rs"]
mod history;
#[path = "follower/job.rs"]
mod job;
#[path = "follower/lost.rs"]
mod lost;
#[path = "follower/reads.rs"]
mod reads;

use caudal_pipeline::group::Group;
use caudal_pipeline::ledger::{Cursor, Emission, Follower, Keep, Kept};
use caudal_pipeline::ports::sink::{Cut, Row, RowState};
use caudal_pipeline::time::{Epoch, EventTime, Span};
use harness::{Random, seed};
use history::{Due, History};
use job::Job;
use std::collections::BTreeMap;

const TRIALS: u64 = 10;
const EPOCHS: u64 = 80;
/// Rows in a page; a cut after an epoch or two has fewer.
const PAGE_ROWS_MAX: usize = 12;
/// Key and value of the smallest row.
const ROW_BYTES_MIN: usize = 30;

/// One sink with one mode for all views: its follower, and its board as a store would hold it.
struct Sink {
    emission: Emission,
    retain: Option<Span>,
    follower: Follower,
    cursor: Cursor,
    board: BTreeMap<(usize, Group), Row>,
    /// What the model knows of `Emission::Every`, by view: the last time it was due.
    every: BTreeMap<usize, Epoch>,
    written: usize,
    page_rows_max: usize,
    pages: usize,
    /// The ledger has been finished.
    finished: bool,
}

impl Sink {
    fn new(job: &Job, emission: Emission, retain: Option<Span>) -> Sink {
        let mut sink = Sink {
            emission,
            retain,
            follower: Follower::new(job.plan.clone(), vec![], false),
            cursor: Cursor::default(),
            board: BTreeMap::new(),
            every: BTreeMap::new(),
            written: 0,
            page_rows_max: PAGE_ROWS_MAX,
            pages: 0,
            finished: false,
        };
        sink.restart(job, 100);
        sink
    }

    /// A new process: the cursor and the store are all that is left.
    fn restart(&mut self, job: &Job, board_groups_max: usize) {
        // Sinks for comparison, which have no boards, take everything at once.
        self.page_rows_max = if board_groups_max > 0 { PAGE_ROWS_MAX } else { usize::MAX };
        let kept = |view| Kept { view, emission: self.emission, retain: self.retain, board_groups_max };
        self.follower = Follower::new(job.plan.clone(), (0..job.plan.views.len() as u32).map(kept).collect(), true)
            .with_pages_of(self.page_rows_max.saturating_mul(ROW_BYTES_MIN));
    }

    /// Takes a cut: perhaps in pages, of which some are repeated, and between which the ledger goes on.
    fn cut(&mut self, job: &mut Job, history: &mut History, random: &mut Random, context: &str) {
        let mut again = Sink::new(job, self.emission, self.retain);
        again.restart(job, 0);
        let again = again.follower.cut(&job.ledger, &self.cursor).unwrap();
        let to = job.ledger.end();
        let Some((mut cut, mut next)) = self.follower.cut(&job.ledger, &self.cursor).unwrap() else {
            assert_eq!(self.cursor.epoch, to, "{context}: only what is up to date owes nothing");
            assert!(!self.finished || self.cursor.has_passed(to), "{context}: nothing waits any more");
            return;
        };
        let again = again.expect("the same cursor, the same ledger").0;
        let mut rows = std::mem::take(&mut cut.rows);
        while cut.more {
            assert!(cut.latest.is_empty() && cut.progress.is_empty() && next.epoch == self.cursor.epoch, "{context}: a page");
            self.cursor = next;
            if random.chance(5) {
                job.epoch(random);
                history.take(&job.ledger);
                job.ledger.freeze();
                job.ledger.seal(&Keep::default()).unwrap();
            }
            if random.chance(1) {
                // A new process does not know the page: the next cut begins anew.
                return self.restart(job, 100);
            }
            if random.chance(10) {
                let failed = self.follower.cut(&job.ledger, &self.cursor).unwrap().expect("a page was owed").0;
                let repeated = self.follower.cut(&job.ledger, &self.cursor).unwrap().expect("and still is").0;
                let of = |cut: &Cut| (cut.rows.clone(), cut.more, cut.to, cut.progress.clone(), cut.latest.clone());
                assert_eq!(of(&failed), of(&repeated), "{context}: a repeated page is the same");
            }
            (cut, next) = self.follower.cut(&job.ledger, &self.cursor).unwrap().expect("another page was promised");
            assert!(cut.rows.len() <= self.page_rows_max, "{context}: {} rows in a page", cut.rows.len());
            self.pages += 1;
            rows.append(&mut cut.rows);
        }
        cut.rows = rows;
        assert_eq!((&again.rows, &again.dead_letters), (&cut.rows, &cut.dead_letters), "{context}: a repeated cut is the same");
        assert_eq!((cut.from, cut.to, cut.version), (self.cursor.epoch, to, next.version), "{context}");
        self.compare_rows(&cut, history, context);
        self.written += cut.rows.len();
        for latest in &cut.latest {
            let key = (latest.view, Group::of(&latest.group));
            match &latest.row {
                Some(row) => drop(self.board.insert(key, row.clone())),
                None => drop(self.board.remove(&key)),
            }
        }
        self.cursor = next;
        self.compare_board(job, history, context);
    }

    fn compare_rows(&mut self, cut: &Cut, history: &History, context: &str) {
        let mut expected = Vec::new();
        for view in 0..history.plan.views.len() {
            let emission = match (self.emission, history.unwindowed(view)) {
                (Emission::OnComplete | Emission::OnFinal, true) => Emission::OnUpdate,
                (emission, _) => emission,
            };
            let due = match emission {
                Emission::OnUpdate => Due::Changed { after: cut.from },
                Emission::OnComplete => Due::Complete { after: cut.from },
                Emission::OnFinal => Due::Final { after: cut.from },
                Emission::Every(span) => {
                    let last = *self.every.entry(view).or_default();
                    let opened = |epoch: Epoch| if epoch == Epoch(0) { 0 } else { history.opened(epoch).0 };
                    if !self.finished && opened(cut.to) - opened(last) < span.0 {
                        continue;
                    }
                    self.every.insert(view, cut.to);
                    Due::Changed { after: last }
                }
            };
            expected.extend(history.owed(view, due, cut.to, self.retain));
        }
        for (found, expected) in cut.rows.iter().zip(&expected) {
            assert_eq!(found, expected, "{context}, {}..={}", cut.from.0, cut.to.0);
        }
        let keys =
            |rows: &[Row]| rows.iter().map(|r| (r.view, Group::of(&r.group), r.start, r.state, r.version)).collect::<Vec<_>>();
        assert_eq!(keys(&cut.rows), keys(&expected), "{context}, {}..={}", cut.from.0, cut.to.0);
    }

    /// The newest row of each group that this sink has been owed and that is not gone, as it was written.
    fn compare_board(&self, job: &Job, history: &History, context: &str) {
        for view in 0..job.plan.views.len() {
            let (due, to) = match (self.emission, history.unwindowed(view)) {
                (Emission::OnComplete, false) => (Due::Complete { after: Epoch(0) }, self.cursor.epoch),
                (Emission::OnFinal, false) => (Due::Final { after: Epoch(0) }, self.cursor.epoch),
                (Emission::Every(_), _) => (Due::Changed { after: Epoch(0) }, self.every.get(&view).copied().unwrap_or_default()),
                _ => (Due::Changed { after: Epoch(0) }, self.cursor.epoch),
            };
            let mut newest: BTreeMap<Group, Row> = BTreeMap::new();
            for row in history.owed(view, due, to, self.retain).into_iter().filter(|row| row.state != RowState::Gone) {
                let group = Group::of(&row.group);
                if newest.get(&group).is_none_or(|known| (known.end, known.start) < (row.end, row.start)) {
                    newest.insert(group, row);
                }
            }
            let shown = self.board.iter().filter(|((of, _), _)| *of == view);
            let shown: BTreeMap<Group, Row> = shown.map(|((_, group), row)| (group.clone(), row.clone())).collect();
            for (group, row) in &newest {
                assert_eq!(shown.get(group), Some(row), "{context}, view {view}: the board as of {}", self.cursor.epoch.0);
            }
            assert_eq!(shown.len(), newest.len(), "{context}, view {view}: the board as of {}", self.cursor.epoch.0);
        }
    }
}

fn sinks(job: &Job) -> Vec<Sink> {
    let second = Span::seconds(1);
    vec![
        Sink::new(job, Emission::OnUpdate, None),
        Sink::new(job, Emission::Every(Span(second.0 * 3)), Some(Span::seconds(300))),
        Sink::new(job, Emission::OnComplete, Some(Span::seconds(120))),
        Sink::new(job, Emission::OnFinal, None),
    ]
}

/// As the engine computes it: the slowest sink, and the longest of lateness and retention.
fn keep(job: &Job, history: &History, sinks: &[Sink], retain: Option<Span>) -> Keep {
    let passed = sinks.iter().map(|sink| sink.cursor.oldest()).min().expect("there are sinks");
    let until = |_| match (retain, passed) {
        (Some(retain), passed) if passed > Epoch(0) => history.watermark(passed).minus(retain.max(job.lateness)),
        _ => EventTime::MIN,
    };
    Keep { passed, rows_until: (0..job.plan.views.len()).map(until).collect() }
}

fn trial(seed: u64, retain: Option<Span>) -> usize {
    let mut random = Random::new(seed);
    let mut job = Job::new();
    let mut history = History::new(&job.plan);
    let mut sinks = sinks(&job);
    for _ in 0..EPOCHS {
        job.epoch(&mut random);
        history.take(&job.ledger);
        for (n, sink) in sinks.iter_mut().enumerate() {
            // Each lags in its own way.
            if random.chance([70, 30, 20, 10][n]) {
                sink.cut(&mut job, &mut history, &mut random, &format!("seed {seed}, {:?}", sink.emission));
            }
            if random.chance(5) {
                sink.restart(&job, 100);
            }
        }
        if random.chance(15) {
            let keep = keep(&job, &history, &sinks, retain);
            job.ledger.forget_epochs_before(keep.passed);
            job.ledger.freeze();
            job.ledger.seal(&keep).unwrap();
            history.compare_newest(&job.ledger, &format!("seed {seed}, epoch {}", job.ledger.end().0));
        }
    }
    job.ledger.finish();
    for sink in &mut sinks {
        sink.finished = true;
        while !sink.cursor.has_passed(job.ledger.end()) {
            sink.cut(&mut job, &mut history, &mut random, &format!("seed {seed}, {:?}, at the end", sink.emission));
        }
    }
    let written: Vec<usize> = sinks.iter().map(|sink| sink.written).collect();
    assert!(written.iter().all(|rows| *rows > 0), "every mode has something to write: {written:?}");
    assert!(sinks.iter().map(|sink| sink.pages).sum::<usize>() > 10, "those that lag take pages");
    sinks.iter().map(|sink| sink.written).sum()
}

#[test]
fn every_mode_is_what_its_rule_says() {
    let seed = seed(1);
    let written: usize = (seed..seed + TRIALS).map(|seed| trial(seed, None)).sum();
    println!("{TRIALS} runs of {EPOCHS} epochs, {written} rows written");
}

/// Seeds whose trial has failed once. 1507: a merge that did not reach down to the oldest run dropped the newest value of an
/// expired row, and the older run still had an older one.
#[test]
fn trials_that_failed_once() {
    trial(1_507, Some(Span::seconds(200)));
}

#[test]
fn retention_takes_nothing_that_is_still_owed() {
    let seed = seed(500);
    for n in 0..TRIALS {
        trial(seed + n, Some(Span::seconds(0)));
        trial(seed + 1_000 + n, Some(Span::seconds(200)));
    }
}
