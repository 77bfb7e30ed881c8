//! What holds reading back, and what must not: partitions far apart, a full disk, too much in flight, a successor.

use super::harness::*;
use caudal_pipeline::engine::{Engine, EngineConfig, EngineError, HeldBack, Phase};
use caudal_pipeline::plan::Plan;
use caudal_pipeline::ports::blobs::{BlobError, Blobs, Created};
use caudal_pipeline::ports::memory::MemorySource;
use caudal_pipeline::ports::source::Source;
use caudal_pipeline::record::Verdict;
use caudal_pipeline::time::{Epoch, Span};
use std::sync::{Arc, Mutex};

/// An event of about this many bytes, beyond what a reader stages at once.
const LARGE: usize = 100 << 10;

fn event(id: usize, second: i64) -> Vec<u8> {
    let (at, pad) = (START_US / 1000 + second * 1000, "p".repeat(LARGE));
    format!(r#"{{"id":"e{id}","t":{at},"g":"g","h":1,"x":1,"pad":"{pad}"}}"#).into_bytes()
}

fn accepted(engine: &Engine) -> u64 {
    verdicts(engine).get(&(0, Verdict::Accepted)).copied().unwrap_or_default()
}

fn plan_with(max_ahead: Span) -> Arc<Plan> {
    let mut plan = plan(Span::seconds(60), Span::seconds(5));
    plan.streams.iter_mut().for_each(|stream| stream.watermark.max_ahead = max_ahead);
    Arc::new(plan)
}

/// Epochs of ten large events of partition 0, a minute apart; partition 1 has one at the beginning and is silent then.
fn uneven(plan: &Arc<Plan>, source: &MemorySource, disk: &Disk, clock: &mut Clock, epochs: usize) {
    let mut engine = engine(plan, source, disk, 2);
    source.push_payload(1, event(0, 0));
    settle(&mut engine, source, clock);
    until(&mut engine, clock, 1_000, |engine| engine.status().watermarks[0].0 > START_US);
    for epoch in 0..epochs {
        (0..10).for_each(|n| source.push_payload(0, event(1 + epoch * 10 + n, 60 * epoch as i64)));
        until(&mut engine, clock, 100, |engine| accepted(engine) == 1 + 10 * (epoch as u64 + 1));
    }
    engine.shut_down();
}

#[test]
fn a_replay_does_not_pause_what_ran_ahead() {
    let plan = plan_with(Span::seconds(60));
    let (source, disk, mut clock) = (MemorySource::new("events", 2), Disk::default(), Clock::new());
    uneven(&plan, &source, &disk, &mut clock, 20);
    let mut again = engine(&plan, &source, &disk, 2);
    assert_eq!(again.phase(), Phase::Replaying);
    until(&mut again, &mut clock, 10, |engine| engine.phase() == Phase::Live);
    assert_eq!(accepted(&again), 201);
    again.shut_down();
}

#[test]
fn a_replay_keeps_no_more_in_flight_than_reading_does() {
    let plan = plan_with(Span::seconds(60));
    let (source, disk, mut clock) = (MemorySource::new("events", 2), Disk::default(), Clock::new());
    uneven(&plan, &source, &disk, &mut clock, 20);
    // The silent partition's only event does not come: nothing finishes, and partition 0 is not read to its end for it.
    let cut = MemorySource::new("events", 2);
    source.messages(0).into_iter().for_each(|message| cut.push(0, message));
    let config = EngineConfig { in_flight_bytes_max: 1 << 20, ..config(&plan, &cut, &disk, 2) };
    let mut again = Engine::start(config).unwrap();
    until(&mut again, &mut clock, 0, |engine| engine.status().in_flight_bytes >= 1 << 20);
    let mut most = 0;
    for _ in 0..200 {
        again.turn(clock.0, WAIT).unwrap();
        most = most.max(again.status().in_flight_bytes);
    }
    assert_eq!((again.phase(), accepted(&again)), (Phase::Replaying, 0));
    assert!((1 << 20..4 << 20).contains(&most), "{most} B of 20 MB: the limit and a little more");
    cut.push(1, source.messages(1).remove(0));
    until(&mut again, &mut clock, 10, |engine| engine.phase() == Phase::Live);
    assert_eq!(accepted(&again), 201);
    again.shut_down();
}

#[test]
fn a_full_disk_stops_the_reading_and_loses_nothing() {
    for all in [true, false] {
        let (plan, mut clock) = (plan_with(Span::seconds(3_600)), Clock::new());
        let (source, disk) = (MemorySource::new("events", 2), Disk::default());
        let mut engine = engine(&plan, &source, &disk, 2);
        source.push_payload(0, event(0, 0));
        settle(&mut engine, &source, &mut clock);
        disk.full(if all { Fullness::All } else { Fullness::AllButLog });
        engine.checkpoint();
        // Epochs that wait for the log are opened until as many wait as may.
        until_ticking(&mut engine, &mut clock, |engine| engine.held_back() == Some(HeldBack::DiskFull));
        assert!(engine.alarms().iter().any(|alarm| alarm.contains("no space left") && alarm.contains("reading stops")));
        for n in 1..200 {
            source.push_payload(n % 2, event(n, n as i64));
        }
        for _ in 0..300 {
            clock.pass(100);
            engine.turn(clock.0, WAIT).unwrap();
        }
        assert_eq!(accepted(&engine), 1, "nothing is counted that is not bound");
        assert!(engine.status().in_flight_bytes < 20 << 20, "and not everything is read: {:?}", engine.status());
        disk.full(Fullness::No);
        until_ticking(&mut engine, &mut clock, |engine| accepted(engine) == 200 && engine.status().checkpoint.is_some());
        assert_eq!(engine.held_back(), None);
        assert!(engine.alarms().iter().any(|alarm| alarm.contains("reading goes on")));
        let mut oracle = Oracle::new(&plan, &disk);
        for bind in binds(&disk).iter().take_while(|bind| bind.epoch <= engine.ledger().end()) {
            oracle.epoch(bind, &source);
        }
        assert_same("after there was space again", &visible(&engine, plan.views.len()), &oracle.rows(), &plan);
        engine.shut_down();
    }
}

/// Symptom: a disk on which a checkpoint did not fit was filled by the attempts, one each second. Cause: rows of the ledger are
/// written before its events, and what no checkpoint lists was removed after the next one that succeeded.
#[test]
fn checkpoints_that_find_no_space_do_not_take_what_is_left() {
    let mut plan = plan(Span::seconds(3_600), Span::seconds(5));
    plan.streams[0].archived = true;
    let (plan, mut clock) = (Arc::new(plan), Clock::new());
    let (source, disk) = (MemorySource::new("events", 2), Disk::default());
    let mut engine = engine(&plan, &source, &disk, 2);
    (0..20).for_each(|n| source.push_payload(n % 2, event(n, n as i64)));
    settle(&mut engine, &source, &mut clock);
    disk.full(Fullness::Beyond(1 << 20));
    engine.checkpoint();
    let (last, mut most) = (Epoch(engine.status().epoch.0 + 60), 0);
    let reached = |engine: &Engine| engine.status().epoch >= last;
    until_watched(&mut engine, &mut clock, 1_000, reached, |_| {
        most = most.max(disk.list("").unwrap().iter().filter(|name| !name.starts_with("log/")).count());
    });
    assert!(engine.alarms().iter().any(|alarm| alarm.contains("no checkpoint")));
    assert!(most < 8, "{most} blobs lie there");
    disk.full(Fullness::No);
    until(&mut engine, &mut clock, 1_000, |engine| engine.status().checkpoint.is_some());
    let first = engine.status().checkpoint;
    engine.checkpoint();
    until(&mut engine, &mut clock, 1_000, |engine| engine.status().checkpoint != first);
    engine.shut_down();

    // A process that finds no space has two checkpoints to fall back to, as before.
    let files = || disk.list("").unwrap().into_iter().filter(|name| !name.starts_with("log/")).collect::<Vec<_>>();
    let mut again = self::engine(&plan, &source, &disk, 2);
    until(&mut again, &mut clock, 100, |engine| engine.phase() == Phase::Live);
    let before = files();
    assert_eq!(before.iter().filter(|name| name.starts_with("manifest/")).count(), 2);
    disk.full(Fullness::AllButLog);
    again.checkpoint();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    // The alarm comes once the attempt is over and what it wrote is gone.
    while !again.alarms().iter().any(|alarm| alarm.contains("no checkpoint")) {
        assert!(std::time::Instant::now() < deadline, "{:?}", again.status());
        step(&mut again, &mut clock, 1_000);
    }
    let left = files();
    assert!(before.iter().all(|name| left.contains(name)), "{before:?} are no longer all there: {left:?}");
    again.shut_down();
}

/// Symptom: reading stopped on a disk that had space for every checkpoint. Cause: a run of the ledger that was made of others
/// did not fit, and that failed the checkpoint which made it.
#[test]
fn a_merge_that_finds_no_space_fails_no_checkpoint() {
    let (plan, mut clock) = (plan_with(Span::seconds(3_600)), Clock::new());
    let (source, disk) = (MemorySource::new("events", 2), Disk::default());
    let mut engine = engine(&plan, &source, &disk, 2);
    disk.full(Fullness::MergedLedgers);
    let mut alarms = Vec::new();
    for n in 0..12 {
        source.push_payload(n % 2, event(n, n as i64 * 60));
        settle(&mut engine, &source, &mut clock);
        let before = engine.status().checkpoint;
        engine.checkpoint();
        until(&mut engine, &mut clock, 100, |engine| engine.status().checkpoint > before);
        alarms.extend(engine.alarms());
    }
    assert_eq!(engine.held_back(), None);
    assert_eq!(alarms.len(), 1, "{alarms:?}");
    assert!(alarms[0].starts_with("runs of the ledger are not merged, the job goes on: no space left"), "{alarms:?}");
    let runs = || disk.list("ledger/").unwrap().len();
    assert!(runs() >= 10, "{} runs", runs());
    disk.full(Fullness::No);
    let many = runs();
    while runs() >= many {
        let before = engine.status().checkpoint;
        engine.checkpoint();
        until(&mut engine, &mut clock, 1_000, |engine| engine.status().checkpoint > before);
    }
    assert_eq!(accepted(&engine), 12);
    engine.shut_down();
}

/// Turns the engine while time passes, whatever is open.
fn until_ticking(engine: &mut Engine, clock: &mut Clock, reached: impl Fn(&Engine) -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while !reached(engine) {
        assert!(std::time::Instant::now() < deadline, "it is not reached: {:?}", engine.status());
        clock.pass(100);
        engine.turn(clock.0, WAIT).unwrap();
    }
}

/// A disk on which, while a successor starts, the older process goes on until it sees that it is fenced.
struct Contended {
    disk: Disk,
    older: Mutex<Option<(Engine, Clock)>>,
    fenced: Mutex<Option<EngineError>>,
}

impl Contended {
    fn let_the_older_go_on(&self) {
        let Some((mut engine, mut clock)) = self.older.lock().unwrap().take() else { return };
        let error = loop {
            clock.pass(1_000);
            if let Err(error) = engine.turn(clock.0, WAIT) {
                break error;
            }
        };
        engine.shut_down();
        *self.fenced.lock().unwrap() = Some(error);
    }
}

impl Blobs for Contended {
    fn create(&self, name: &str, bytes: &[u8]) -> Result<Created, BlobError> {
        if name.starts_with("log/") {
            // The successor has read the log and not written to it yet.
            self.let_the_older_go_on();
        }
        self.disk.create(name, bytes)
    }
    fn read(&self, name: &str) -> Result<Vec<u8>, BlobError> {
        self.disk.read(name)
    }
    fn read_range(&self, name: &str, offset: u64, len: usize) -> Result<Vec<u8>, BlobError> {
        self.disk.read_range(name, offset, len)
    }
    fn list(&self, prefix: &str) -> Result<Vec<String>, BlobError> {
        self.disk.list(prefix)
    }
    fn delete(&self, name: &str) -> Result<(), BlobError> {
        self.disk.delete(name)
    }
}

#[test]
fn a_successor_obeys_what_the_older_process_bound_meanwhile() {
    let (plan, mut clock) = (plan_with(Span::seconds(3_600)), Clock::new());
    let (source, disk) = (MemorySource::new("events", 2), Disk::default());
    let mut older = engine(&plan, &source, &disk, 2);
    source.push_payload(0, event(0, 0));
    settle(&mut older, &source, &mut clock);
    source.push_payload(1, event(1, 1));
    let bound = binds(&disk).len();
    let contended =
        Arc::new(Contended { disk: disk.clone(), older: Mutex::new(Some((older, Clock(clock.0)))), fenced: Mutex::default() });
    let blobs: Arc<dyn Blobs> = contended.clone();
    let mut newer = started(EngineConfig { blobs, ..config(&plan, &source, &disk, 3) });
    let fenced = contended.fenced.lock().unwrap().take().expect("the older one went on");
    assert!(matches!(&fenced, EngineError::Refused(why) if why.contains("fenced")), "{fenced}");
    assert_eq!(binds(&disk).len(), bound + 1, "it bound one more epoch before it saw that");
    newer.discovered(0, source.discover().unwrap());
    until(&mut newer, &mut clock, 100, |engine| accepted(engine) == 2);
    newer.shut_down();
}
