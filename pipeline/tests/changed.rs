//! A job that changes again and again on one state: what stays is exact as if it had been the job from the beginning, what
//! is new is exact from the time that it names, what is gone is gone.
//!
//! ```text
//! job A ──✂ drained ─ carried over (✂ anywhere, again) ─▶ job B ──✂ … ─▶ job C ═ recomputed from all that was ever bound
//! ```

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a test is given a seed and has a deadline")]

mod harness;

#[path = "changed/rebuilt.rs"]
mod rebuilt;

use caudal_pipeline::engine::{Described, Engine, EngineConfig, EngineError, Phase, Standing, carry_over};
use caudal_pipeline::ledger::RowKey;
use caudal_pipeline::log::{Bind, Fingerprint};
use caudal_pipeline::plan::{Plan, ViewInput, WindowPlan};
use caudal_pipeline::ports::blobs::Blobs;
use caudal_pipeline::ports::memory::MemorySource;
use caudal_pipeline::ports::source::Source;
use caudal_pipeline::time::{EventTime, Span};
use harness::*;
use std::collections::BTreeMap;
use std::sync::Arc;

const TRIALS: u64 = 20;

/// A job of some of the views, in any order that has lower views first; the derived stream only where a view needs it.
fn some_of(full: &Plan, before: Option<&Plan>, random: &mut Random) -> Plan {
    let had = |name: &str| before.is_none_or(|plan| plan.views.iter().any(|view| view.name == name));
    let mut left: Vec<usize> = (0..full.views.len()).filter(|_| random.chance(70)).collect();
    let mut order: Vec<usize> = Vec::new();
    while !left.is_empty() {
        let at = left.remove(random.below(left.len() as u64) as usize);
        let view = &full.views[at];
        // A view without windows cannot come to a job that has begun.
        let can_come = view.window != WindowPlan::Unwindowed || had(&view.name);
        let is_placed = match &view.from {
            ViewInput::View { view, .. } if order.contains(view) => true,
            ViewInput::View { view, .. } if left.contains(view) => {
                left.push(at);
                continue;
            }
            ViewInput::View { .. } => false,
            ViewInput::Stream { .. } => true,
        };
        if can_come && is_placed {
            order.push(at);
        }
    }
    if order.is_empty() {
        return some_of(full, before, random);
    }
    let place = |old: usize| order.iter().position(|at| *at == old).expect("the lower view is placed");
    let views = order.iter().map(|at| {
        let mut view = full.views[*at].clone();
        if let ViewInput::View { view: lower, .. } = &mut view.from {
            *lower = place(*lower);
        }
        view
    });
    let views: Vec<_> = views.collect();
    let streams = full.streams[..if views.iter().any(|view| view.stream == 1) { 2 } else { 1 }].to_vec();
    Plan { views, streams, ..full.clone() }
}

struct Job {
    plan: Arc<Plan>,
    number: u64,
    sinks: Vec<String>,
}

impl Job {
    fn fingerprint(&self) -> Fingerprint {
        Fingerprint { job: self.number, build: 1 }
    }

    fn described(&self) -> Described<'_> {
        Described { plan: &self.plan, sinks: &self.sinks, fingerprint: self.fingerprint() }
    }

    fn config(&self, source: &MemorySource, disk: &Disk, workers: usize) -> EngineConfig {
        EngineConfig { fingerprint: self.fingerprint(), ..config(&self.plan, source, disk, workers) }
    }
}

/// Rows by name of their view.
fn by_name<T>(rows: BTreeMap<RowKey, T>, plan: &Plan) -> BTreeMap<(String, RowKey), T> {
    let named = |(key, row): (RowKey, T)| ((plan.views[key.view as usize].name.clone(), RowKey { view: 0, ..key }), row);
    rows.into_iter().map(named).collect()
}

#[derive(Debug, Default)]
struct Exercised {
    changes: usize,
    crashes: usize,
    begun: usize,
    shown_of_new: usize,
    hidden_of_new: usize,
    damaged: usize,
}

#[test]
fn a_job_that_changes_goes_on_exactly() {
    let seed = seed(1);
    let mut exercised = Exercised::default();
    let trials = std::env::var("CAUDAL_TRIALS").map_or(TRIALS, |trials| trials.parse().expect("CAUDAL_TRIALS is a number"));
    for n in 0..trials {
        trial(seed + n, &mut exercised);
    }
    println!("figures {exercised:?}");
    let Exercised { changes, crashes, begun, shown_of_new, hidden_of_new, damaged } = exercised;
    assert!(changes > 20 && crashes > 5 && begun > 20 && shown_of_new > 100 && hidden_of_new > 100 && damaged > 2, "too tame");
}

fn trial(seed: u64, exercised: &mut Exercised) {
    let mut random = Random::new(seed);
    let lateness = [Span::seconds(60), Span::seconds(300), Span::seconds(7_200)][random.below(3) as usize];
    let full = plan_of(Shape::new(lateness), Span::seconds(5));
    let partitions = 1 + random.below(3) as usize;
    let (source, disk, mut clock) = (MemorySource::new("events", partitions), Disk::default(), Clock::new());
    let messages = stream(&mut random, 400, partitions, 4 * 3_600);
    let parts: Vec<_> = messages.chunks(messages.len() / 3).collect();
    let mut job = Job { plan: Arc::new(some_of(&full, None, &mut random)), number: 1, sinks: Vec::new() };
    for (n, part) in parts.iter().enumerate() {
        let mut engine = started(job.config(&source, &disk, 1 + random.below(4) as usize));
        for (partition, payload) in *part {
            source.push_payload(*partition, payload.clone());
            if random.chance(20) {
                engine.discovered(0, source.discover().unwrap());
                step(&mut engine, &mut clock, 100);
            }
            if random.chance(3) {
                engine.checkpoint();
            }
        }
        settle(&mut engine, &source, &mut clock);
        compare(&engine, &full, &job.plan, &source, &disk, &format!("seed {seed}, part {n}"), exercised);
        // Killed, or stopped in order.
        if random.chance(50) {
            engine.stop(false);
            until(&mut engine, &mut clock, 10, |engine| engine.phase() == Phase::Done);
        }
        engine.shut_down();
        if n + 1 < parts.len() {
            let next =
                Job { plan: Arc::new(some_of(&full, Some(&job.plan), &mut random)), number: job.number + 1, sinks: Vec::new() };
            change(&job, &next, &source, &disk, &mut clock, &mut random, exercised);
            job = next;
            exercised.changes += 1;
        }
    }
}

/// Drains the old job and carries it over; processes die meanwhile.
fn change(
    old: &Job,
    new: &Job,
    source: &MemorySource,
    disk: &Disk,
    clock: &mut Clock,
    random: &mut Random,
    exercised: &mut Exercised,
) {
    let refused = Engine::start(new.config(source, disk, 1)).err().expect("it is another job's state");
    assert!(matches!(refused, EngineError::OtherJob { job } if job == old.number), "{refused}");
    let mut engine = started(old.config(source, disk, 1 + random.below(4) as usize));
    engine.stop(false);
    until(&mut engine, clock, 10, |engine| engine.phase() == Phase::Done);
    let before = by_name(bytes(&engine, old.plan.views.len()), &old.plan);
    engine.shut_down();
    loop {
        let crash = random.chance(60).then(|| Crash { changes: random.below(8), happens: random.chance(50), forgets: 0 });
        let life = disk.next_life(crash);
        let blobs: Arc<dyn Blobs> = Arc::new(life.clone());
        match carry_over(&blobs, old.described(), new.described(), &|_| ()) {
            Ok(()) => break,
            Err(error) => assert!(error.to_string().contains(CRASH), "{error}"),
        }
        exercised.crashes += 1;
    }
    if random.chance(30) {
        // The new job's only checkpoint is damaged: the old one's is still there, and is carried over once more.
        let newest = disk.list("manifest/").unwrap().pop().unwrap();
        let name = if random.chance(50) { newest.clone() } else { disk.list("ledger/").unwrap().pop().unwrap() };
        disk.flip(&name, random.below(1_000) as usize);
        let blobs: Arc<dyn Blobs> = Arc::new(disk.clone());
        let refused = Engine::start(new.config(source, disk, 1)).err();
        if let Some(refused) = refused {
            assert!(matches!(refused, EngineError::OtherJob { job } if job == old.number), "{refused}");
            assert!(Standing::of(&blobs).unwrap().unfinished.is_none());
            carry_over(&blobs, old.described(), new.described(), &|_| ()).unwrap();
            exercised.damaged += 1;
        }
    }
    let engine = started(new.config(source, disk, 1 + random.below(4) as usize));
    let after = by_name(bytes(&engine, new.plan.views.len()), &new.plan);
    let stays = |name: &str| new.plan.views.iter().any(|view| view.name == name);
    let expected: BTreeMap<_, _> = before.into_iter().filter(|((name, _), _)| stays(name)).collect();
    assert!(after == expected, "rows of what stays have the same versions and values");
    engine.shut_down();
}

/// Everything that is there equals a recomputation by the present job, but for windows of new views that begin too early.
fn compare(
    engine: &Engine,
    full: &Plan,
    plan: &Plan,
    source: &MemorySource,
    disk: &Disk,
    context: &str,
    exercised: &mut Exercised,
) {
    let with_all_streams = Plan { streams: full.streams.clone(), ..plan.clone() };
    let mut oracle = Oracle::new(&Arc::new(with_all_streams), disk);
    let bound: Vec<Bind> = binds(disk).into_iter().filter(|bind| bind.epoch <= engine.ledger().end()).collect();
    for bind in &bound {
        oracle.epoch(bind, source);
    }
    let begins = engine.status().begins;
    let begin = |key: &RowKey| begins.get(&plan.views[key.view as usize].name).copied();
    let mut expected = oracle.rows();
    let all = expected.len();
    expected.retain(|key, _| begin(key).is_none_or(|begin| key.start >= begin));
    exercised.hidden_of_new += all - expected.len();
    exercised.shown_of_new += expected.keys().filter(|key| begin(key).is_some()).count();
    exercised.begun += begins.values().filter(|begin| **begin > EventTime::MIN).count();
    assert_same(context, &visible(engine, plan.views.len()), &expected, plan);
    // The derived stream may have come later; it then counts from there.
    let of_source = |verdicts: Verdicts| -> Verdicts { verdicts.into_iter().filter(|((stream, _), _)| *stream == 0).collect() };
    assert_eq!(of_source(verdicts(engine)), of_source(oracle.counts), "{context}");
}
