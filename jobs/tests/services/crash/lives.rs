//! Processes on one state, one after another: started on another number of workers, ended at a random moment.

use super::metrics::Counts;
use super::trials::{Random, Trials};
use crate::binary::Binary;
use crate::load::folder;
use crate::running::addresses;
use crate::until;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A process that comes back and finds another one in its place ends in this time.
const FENCED: Duration = Duration::from_secs(10);

/// Which process readers look at, and what they have found out.
pub struct Stage {
    now: Mutex<Now>,
    board: Mutex<u64>,
    board_moves: AtomicU64,
    alarm: AtomicBool,
}

#[derive(Clone, Copy)]
pub struct Now {
    pub life: u64,
    pub operators: Option<SocketAddr>,
    pub began: Instant,
    /// How long it took until it read.
    pub live: Option<Duration>,
    pub counts: Counts,
}

impl Stage {
    pub fn new() -> Arc<Stage> {
        let now = Now { life: 0, operators: None, began: Instant::now(), live: None, counts: Counts::default() };
        let (board, board_moves) = (Mutex::new(0), AtomicU64::new(0));
        Arc::new(Stage { now: Mutex::new(now), board, board_moves, alarm: AtomicBool::new(false) })
    }

    pub fn now(&self) -> Now {
        *self.now.lock().expect("no reader has seen what must not be")
    }

    pub fn change<T>(&self, change: impl FnOnce(&mut Now) -> T) -> T {
        change(&mut self.now.lock().expect("no reader has seen what must not be"))
    }

    pub fn enters(&self, binary: &Binary) {
        let (operators, began) = (Some(binary.operators()), Instant::now());
        self.change(|now| *now = Now { life: now.life + 1, operators, began, live: None, counts: now.counts });
    }

    /// The board was found at this version.
    pub fn board(&self, version: u64) {
        let before = std::mem::replace(&mut *self.board.lock().expect("one thread looks"), version);
        self.board_moves.fetch_add(u64::from(before != version), Ordering::SeqCst);
    }

    pub fn alarm(&self) {
        self.alarm.store(true, Ordering::SeqCst);
    }

    pub fn assert_well(&self) {
        assert!(!self.alarm.load(Ordering::SeqCst), "a reader has seen what must not be");
    }
}

/// A job with a name of its own, on one state.
pub struct Subject {
    /// The ready-made job.
    pub job: &'static str,
    /// What makes it the test's own.
    pub set: Vec<String>,
    pub state: PathBuf,
}

/// What happened.
#[derive(Default)]
pub struct Told {
    kills: u64,
    not_live_yet: u64,
    starts: BTreeMap<usize, u64>,
    to_live: Vec<Duration>,
    /// How long those that came back took to end.
    fenced: Vec<Duration>,
    /// Came back, and the one that had taken over ended: it had been stopped before it held the state.
    came_first: u64,
}

/// See the module.
pub struct Lives {
    subject: Subject,
    trials: Trials,
    stage: Arc<Stage>,
    random: Random,
    told: Told,
}

impl Lives {
    pub fn new(subject: Subject, trials: Trials, stage: &Arc<Stage>) -> Lives {
        Lives { subject, trials, stage: stage.clone(), random: Random::new(trials.seed), told: Told::default() }
    }

    /// All lives; the last one goes on.
    pub fn run(mut self) -> (Binary, Told) {
        let mut binary = self.start();
        for n in 0..self.trials.kills {
            self.moment(&mut binary);
            if self.trials.is_takeover(n) {
                binary = self.taken_over(binary);
                continue;
            }
            binary.kill();
            self.ends();
            binary = self.start();
        }
        self.live(&mut binary);
        self.ends();
        self.told.kills = self.trials.kills;
        (binary, self.told)
    }

    fn workers(&mut self) -> usize {
        let workers = 1 + self.random.below(4) as usize;
        *self.told.starts.entry(workers).or_default() += 1;
        workers
    }

    fn start(&mut self) -> Binary {
        let (workers, set) = (self.workers(), self.set());
        let binary = Binary::run(&self.subject.state, workers, &[folder(self.subject.job).join("job.yaml")], &set);
        self.stage.enters(&binary);
        binary
    }

    fn set(&self) -> Vec<String> {
        [&addresses(self.subject.job)[..], &self.subject.set].concat()
    }

    /// Goes on to a moment that the seed chooses: some time after the start, often in the middle of it, or once
    /// so many more records are counted, or once the board has moved so many times.
    fn moment(&mut self, binary: &mut Binary) {
        let stage = self.stage.clone();
        match self.random.below(3) {
            0 => {
                let longest = [150, 3_000][self.random.below(2) as usize];
                pause(Duration::from_millis(self.random.below(longest)));
            }
            1 => {
                let goal = stage.now().counts.received + 1 + self.random.below(400);
                self.until(binary, "more records are counted", |_| stage.now().counts.received >= goal);
            }
            _ => {
                let goal = stage.board_moves.load(Ordering::SeqCst) + 1 + self.random.below(12);
                self.until(binary, "the board moves", |_| stage.board_moves.load(Ordering::SeqCst) >= goal);
            }
        }
        assert!(binary.is_running(), "it ended by itself:\n{}", binary.printed());
    }

    fn live(&self, binary: &mut Binary) {
        self.until(binary, "it reads", |stage| stage.now().live.is_some());
    }

    fn until(&self, binary: &mut Binary, what: &str, is: impl Fn(&Stage) -> bool) {
        binary.until(what, |_| {
            self.stage.assert_well();
            is(&self.stage).then_some(())
        });
    }

    /// The process on the stage has come to its end.
    fn ends(&mut self) {
        match self.stage.now().live {
            Some(took) => self.told.to_live.push(took),
            None => self.told.not_live_yet += 1,
        }
    }

    /// The process is stopped where it is, another one takes over and goes on; then the first one goes on too.
    fn taken_over(&mut self, mut older: Binary) -> Binary {
        let had_state = self.stage.now().live.is_some();
        older.send("-STOP");
        let stopped = Instant::now();
        self.ends();
        let (workers, set) = (self.workers(), self.set());
        let job = folder(self.subject.job).join("job.yaml");
        let mut newer = Binary::take_over(&self.subject.state, workers, &[job], &set);
        let before = self.stage.now().counts.received;
        self.stage.enters(&newer);
        self.until(&mut newer, "it reads", |stage| stage.now().live.is_some());
        self.until(&mut newer, "it goes on", |stage| stage.now().counts.received > before);
        pause(self.trials.pause.saturating_sub(stopped.elapsed()));
        older.send("-CONT");
        let goes_on = Instant::now();
        let is_older = until("one of the two ends", || match (older.is_running(), newer.is_running()) {
            (true, true) => {
                // One that was stopped while it started may yet take the state in its turn.
                let answer = had_state.then(|| older.get("/livez")).flatten();
                assert!(answer.is_none_or(|(code, _)| code == 503), "it answers for a state that it no longer has");
                None
            }
            (is_running, _) => Some(!is_running),
        });
        self.told.fenced.push(goes_on.elapsed());
        let (mut ended, stays) = if is_older { (older, newer) } else { (newer, older) };
        assert_eq!(ended.ended().code(), Some(3), "{}", ended.printed());
        if !is_older {
            self.told.came_first += 1;
            self.ends();
            self.stage.enters(&stays);
        }
        stays
    }
}

/// Time passes, which is what is tried here.
pub fn pause(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}

impl Told {
    /// Figures for people, and what must hold of all lives.
    pub fn figures(&self) -> Json {
        let most = |times: &[Duration]| times.iter().max().map_or(0, Duration::as_millis) as u64;
        assert!(self.fenced.iter().all(|time| *time < FENCED), "{:?}", self.fenced);
        let mut to_live = self.to_live.clone();
        to_live.sort();
        let median = to_live.get(to_live.len() / 2).map_or(0, Duration::as_millis) as u64;
        let each = |times: &[Duration]| times.iter().map(|time| time.as_millis() as u64).collect::<Vec<u64>>();
        let starts: BTreeMap<String, u64> = self.starts.iter().map(|(workers, n)| (format!("{workers}"), *n)).collect();
        json!({
            "lives ended at a random moment": self.kills,
            "lives ended at a random moment, stopped, taken over, and gone on": self.fenced.len(),
            "lives ended at a random moment, before they read": self.not_live_yet,
            "starts by workers": starts,
            "from start to reading, median (ms)": median,
            "from start to reading, longest (ms)": most(&to_live),
            "from SIGCONT to exit code 3, longest (ms)": most(&self.fenced),
            "stopped before it held the state, so that the other one ended": self.came_first,
            "raw": {"from start to reading (ms)": each(&self.to_live), "from SIGCONT to exit code 3 (ms)": each(&self.fenced)},
        })
    }
}
