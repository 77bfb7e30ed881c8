//! A job that has changed under the same names is recomputed beside its old state: then every row that is recomputed
//! equals a batch recomputation by the new job, in the ledger and in stores that only ever got what they were owed, older
//! rows are as they were, and nothing else is left.

use super::*;
use caudal_pipeline::engine::{HeldKey, Recomputed, adopt};
use caudal_pipeline::group::Group;
use caudal_pipeline::ledger::{Emission, Follower, Kept};
use caudal_pipeline::plan::DeduplicateScope;
use caudal_pipeline::ports::bounded::BoundedSource;
use caudal_pipeline::ports::sink::{Row, RowState};
use caudal_pipeline::record::{Offset, Partition};
use caudal_pipeline::value::Cell;

const TRIALS: u64 = 12;

const MODES: [(&str, Emission); 3] =
    [("on_update", Emission::OnUpdate), ("on_complete", Emission::OnComplete), ("on_final", Emission::OnFinal)];

/// A store as Redis and Cassandra are: the highest version of a row wins. It knows views by name.
#[derive(Default)]
struct Store(BTreeMap<(String, Group, EventTime), Row>);

/// The stores of one job, through all its lives; cursors live in the state.
struct Stores([Store; 3]);

impl Stores {
    /// Writes what each is owed.
    fn follow(&mut self, engine: &Engine, plan: &Arc<Plan>) {
        let (ledger, cursors) = (engine.ledger(), engine.cursors());
        for ((name, emission), store) in MODES.iter().zip(&mut self.0) {
            let kept = |view| Kept { view, emission: *emission, retain: None, board_groups_max: 0 };
            let mut follower = Follower::new(plan.clone(), (0..plan.views.len() as u32).map(kept).collect(), false);
            loop {
                let cursor = cursors.lock().unwrap().get(*name).cloned().unwrap_or_default();
                let Some((cut, next)) = follower.cut(&ledger, &cursor).unwrap() else { break };
                for row in cut.rows {
                    let key = (plan.views[row.view].name.clone(), Group::of(&row.group), row.start);
                    let known = store.0.insert(key, row.clone());
                    assert!(known.is_none_or(|known| known.version <= row.version), "{name}: a version went back: {row:?}");
                }
                cursors.lock().unwrap().insert((*name).to_owned(), next);
            }
        }
    }

    /// What a rebuild reads back of them: rows of windows that it recomputes.
    fn held(&self, plan: &Plan, from: &[EventTime]) -> BTreeMap<HeldKey, EventTime> {
        let mut held = BTreeMap::new();
        for ((name, group, start), row) in self.0.iter().flat_map(|store| &store.0) {
            let Some(view) = plan.views.iter().position(|view| view.name == *name) else { continue };
            if row.state != RowState::Gone && *start >= from[view] {
                held.insert((view as u32, group.clone(), *start), row.end);
            }
        }
        held
    }

    /// What readers see of some rows.
    fn visible(&self, store: usize, wanted: impl Fn(&str, EventTime) -> bool) -> BTreeMap<(String, Group, EventTime), Vec<Cell>> {
        let rows = self.0[store].0.iter().filter(|((name, _, start), row)| row.state != RowState::Gone && wanted(name, *start));
        rows.map(|(key, row)| (key.clone(), row.cells.clone())).collect()
    }
}

#[derive(Debug, Default)]
struct Seen {
    same: u64,
    changed: u64,
    gone: u64,
    crashes: usize,
    only_in_stores: usize,
    older: usize,
    refused: usize,
}

#[test]
fn a_job_recomputed_beside_its_old_state_leaves_nothing_else_in_any_store() {
    let seed = seed(1);
    let mut seen = Seen::default();
    let trials = std::env::var("CAUDAL_TRIALS").map_or(TRIALS, |trials| trials.parse().expect("CAUDAL_TRIALS is a number"));
    for n in 0..trials {
        trial(seed + n, &mut seen);
    }
    println!("figures {seen:?}");
    let Seen { same, changed, gone, crashes, only_in_stores, older, refused } = seen;
    assert!(same > 100 && changed > 100 && gone > 100 && crashes > 3 && only_in_stores > 100 && older > 100, "too tame");
    assert!(refused < trials as usize / 2, "of {trials} trials {refused} had a session over the edge");
}

/// An engine whose ledger forgets what the stores have.
fn forgetful(job: &Job, source: &MemorySource, disk: &Disk, workers: usize) -> EngineConfig {
    let retain = (0..job.plan.views.len()).map(|view| (view, Some(Span(0)))).collect();
    let sinks = MODES.iter().map(|(name, _)| (*name).to_owned()).collect();
    EngineConfig { retain, sinks, ..job.config(source, disk, workers) }
}

fn trial(seed: u64, seen: &mut Seen) {
    let mut random = Random::new(seed);
    let lateness = [Span::seconds(60), Span::seconds(300)][random.below(2) as usize];
    let shape = Shape { scope: Some(DeduplicateScope::Stream), ..Shape::new(lateness) };
    let full = plan_of(shape, Span::seconds(5));
    let partitions = 1 + random.below(3) as usize;
    let (source, disk, mut clock) = (MemorySource::new("events", partitions), Disk::default(), Clock::new());
    let messages = stream(&mut random, 300, partitions, 4 * 3_600);
    let (first, second) = messages.split_at(200);
    let mut stores = Stores(Default::default());
    // 1. The old job, whose stores follow, and whose ledger forgets.
    let old = Job { plan: Arc::new(some_of(&full, None, &mut random)), number: 1, sinks: Vec::new() };
    let mut engine = started(forgetful(&old, &source, &disk, 1 + random.below(4) as usize));
    for (partition, payload) in first {
        source.push_payload(*partition, payload.clone());
        if random.chance(20) {
            engine.discovered(0, source.discover().unwrap());
            step(&mut engine, &mut clock, 100);
            stores.follow(&engine, &old.plan);
        }
        if random.chance(5) {
            engine.checkpoint();
        }
    }
    settle(&mut engine, &source, &mut clock);
    if random.chance(70) {
        stores.follow(&engine, &old.plan);
    }
    engine.stop(false);
    until(&mut engine, &mut clock, 10, |engine| engine.phase() == Phase::Done);
    let (ledger_before, was) = (bytes(&engine, old.plan.views.len()).len(), engine.status());
    let old_watermark = was.watermarks[0];
    let ends: BTreeMap<Partition, Offset> = was.positions[&0].iter().cloned().collect();
    engine.shut_down();
    // 2. The new one: other events count, other views are there.
    let filter = ["x > -9.0", "x > 2.0", "x < 4.0 && g != \"g1\""][random.below(3) as usize];
    let refiltered = plan_of(Shape { filter, ..shape }, Span::seconds(5));
    // As if the source had lost what lies before; then there is nothing without windows.
    let lost = (!seed.is_multiple_of(3)).then(|| EventTime(START_US + random.below(3 * 3_600) as i64 * 1_000_000));
    let nothing = Plan { views: Vec::new(), ..full.clone() };
    let new = Job { plan: Arc::new(some_of(&refiltered, lost.map(|_| &nothing), &mut random)), number: 2, sinks: Vec::new() };
    let from = vec![lost.unwrap_or(EventTime::MIN); new.plan.views.len()];
    let beside = Disk::default();
    let bounded: Arc<dyn Source> = Arc::new(BoundedSource::new(Arc::new(source.clone()), ends.clone()));
    // Records that come meanwhile are not the recomputation's.
    second[..20].iter().for_each(|(partition, payload)| source.push_payload(*partition, payload.clone()));
    loop {
        let crash = random.chance(40).then(|| Crash { changes: random.below(30), happens: random.chance(50), forgets: 0 });
        let life = beside.next_life(crash);
        let config = EngineConfig {
            sources: BTreeMap::from([(0, bounded.clone())]),
            ..forgetful(&new, &source, &life, 1 + random.below(4) as usize)
        };
        if recomputed(config, &*bounded, &ends, old_watermark, &mut clock) {
            break;
        }
        seen.crashes += 1;
    }
    let held = stores.held(&new.plan, &from);
    let at = was.epoch.max(was.checkpoint.expect("it is drained").0);
    let recomputed = Recomputed { at, from: &from, held: &held, tables: &table_rows(0) };
    let newest = || disk.list("gen/").unwrap().len() as u64;
    let parts = (old.described(), Arc::new(beside.clone()) as Arc<dyn Blobs>, new.described());
    let fenced =
        adopt(&(Arc::new(disk.clone()) as Arc<dyn Blobs>), newest() - 1, parts.0, &parts.1, parts.2, &recomputed, &|_| ());
    assert!(fenced.is_err_and(|error| error.to_string().contains("has taken over")), "seed {seed}");
    let rebuilt = loop {
        let crash = random.chance(60).then(|| Crash { changes: random.below(8), happens: random.chance(50), forgets: 0 });
        let life: Arc<dyn Blobs> = Arc::new(disk.next_life(crash));
        match adopt(&life, newest(), parts.0, &parts.1, parts.2, &recomputed, &|_| ()) {
            Ok(rebuilt) => break rebuilt,
            // It was taken over, and nobody lived to hear it.
            Err(EngineError::OtherJob { job: 2 }) => break Default::default(),
            Err(EngineError::Refused(why)) if why.contains("may still grow") => {
                assert!(lost.is_some(), "seed {seed}: nothing was lost");
                seen.refused += 1;
                return;
            }
            Err(error) => assert!(error.to_string().contains(CRASH), "{error}"),
        }
        seen.crashes += 1;
    };
    (seen.same, seen.changed, seen.gone) = (seen.same + rebuilt.same, seen.changed + rebuilt.changed, seen.gone + rebuilt.gone);
    seen.only_in_stores += held.len().saturating_sub(ledger_before);
    let is_new = |name: &str, start: EventTime| {
        let view = new.plan.views.iter().position(|view| view.name == name);
        view.is_some_and(|view| start >= from[view])
    };
    // 3. It goes on, to the end of all input.
    let mut engine = started(forgetful(&new, &source, &disk, 1 + random.below(4) as usize));
    stores.follow(&engine, &new.plan);
    for store in 0..3 {
        compare_stores(&stores, &engine, &new, &source, &[&beside, &disk], &from, (store, false), seed);
    }
    let older = stores.visible(0, |name, start| !is_new(name, start));
    seen.older += older.len();
    second[20..].iter().for_each(|(partition, payload)| source.push_payload(*partition, payload.clone()));
    settle(&mut engine, &source, &mut clock);
    engine.stop(true);
    until(&mut engine, &mut clock, 10, |engine| engine.phase() == Phase::Done);
    stores.follow(&engine, &new.plan);
    for store in 0..3 {
        compare_stores(&stores, &engine, &new, &source, &[&beside, &disk], &from, (store, true), seed);
    }
    assert!(stores.visible(0, |name, start| !is_new(name, start)) == older, "seed {seed}: older rows stay as they were");
    engine.shut_down();
}

/// Symptom: a row stayed in stores that wait for complete ones. Cause: a session that was given as complete had grown since, so
/// that the recomputation, which never saw it complete, did not say that it is gone once it was merged away.
#[test]
fn a_session_that_was_complete_once_is_gone_from_every_store_when_it_is_merged_away_after_a_rebuild() {
    let sessions = |filter| {
        let full = plan_of(Shape { filter, ..Shape::new(Span::seconds(300)) }, Span::seconds(5));
        let views = full.views.iter().filter(|view| view.name == "session").cloned().collect();
        Arc::new(Plan { views, streams: full.streams[..1].to_vec(), ..full })
    };
    let (source, disk, mut clock) = (MemorySource::new("events", 1), Disk::default(), Clock::new());
    let push = |group: &str, at_s: i64| {
        let at_ms = START_US / 1_000 + at_s * 1_000;
        source.push_payload(0, format!(r#"{{"id":"{group}{at_s}","t":{at_ms},"g":"{group}","h":0,"x":3.00}}"#).into_bytes());
    };
    let mut stores = Stores(Default::default());
    let old = Job { plan: sessions("x > -9.0"), number: 1, sinks: Vec::new() };
    let mut engine = started(forgetful(&old, &source, &disk, 1));
    // [100, 120) is complete; then it grows to [100, 130), which W, 121, has not reached.
    for events in [&[("one", 100), ("other", 126)][..], &[("one", 110)]] {
        events.iter().for_each(|(group, at)| push(group, *at));
        settle(&mut engine, &source, &mut clock);
        stores.follow(&engine, &old.plan);
    }
    engine.stop(false);
    until(&mut engine, &mut clock, 10, |engine| engine.phase() == Phase::Done);
    let was = engine.status();
    let ends: BTreeMap<Partition, Offset> = was.positions[&0].iter().cloned().collect();
    engine.shut_down();

    let new = Job { plan: sessions("x > 2.0"), number: 2, sinks: Vec::new() };
    let (beside, from) = (Disk::default(), [EventTime::MIN]);
    let bounded: Arc<dyn Source> = Arc::new(BoundedSource::new(Arc::new(source.clone()), ends.clone()));
    let sources = BTreeMap::from([(0, bounded.clone())]);
    let config = EngineConfig { sources, ..forgetful(&new, &source, &beside, 1) };
    assert!(recomputed(config, &*bounded, &ends, was.watermarks[0], &mut clock));
    let held = stores.held(&new.plan, &from);
    let recomputed =
        Recomputed { at: was.checkpoint.expect("it is drained").0, from: &from, held: &held, tables: &table_rows(0) };
    let blobs = [&disk, &beside].map(|disk| Arc::new(disk.clone()) as Arc<dyn Blobs>);
    let adopted = |recomputed: &Recomputed<'_>| {
        let newest = disk.list("gen/").unwrap().len() as u64;
        adopt(&blobs[0], newest, old.described(), &blobs[1], new.described(), recomputed, &|_| ())
    };
    // If its first records were no longer there, what comes later could not be counted with them.
    let edge = [EventTime(START_US + 105_000_000)];
    let refused = adopted(&Recomputed { from: &edge, ..recomputed });
    assert!(
        matches!(&refused, Err(EngineError::Refused(why)) if why.contains("views.session: has a session that may still grow"))
    );
    adopted(&recomputed).unwrap();

    // If the checkpoint that took it over is damaged, the one before is not what stores are owed by.
    let newest = disk.list("manifest/").unwrap().pop().unwrap();
    let whole = disk.flip(&newest, 9);
    let refused = Engine::start(forgetful(&old, &source, &disk, 1)).err();
    assert!(matches!(&refused, Some(EngineError::Refused(why)) if why.contains("nothing in the log leads there")), "{refused:?}");
    disk.replace(&newest, &whole);

    // Merged into [95, 130), and all is complete.
    let mut engine = started(forgetful(&new, &source, &disk, 1));
    for (group, at) in [("one", 95), ("other", 400)] {
        push(group, at);
        settle(&mut engine, &source, &mut clock);
        stores.follow(&engine, &new.plan);
    }
    for store in 0..2 {
        compare_stores(&stores, &engine, &new, &source, &[&beside, &disk], &from, (store, false), 0);
        let starts: Vec<EventTime> = stores.visible(store, |_, _| true).into_keys().map(|(_, _, start)| start).collect();
        assert!(starts.contains(&EventTime(START_US + 95_000_000)), "{starts:?}");
    }
    engine.shut_down();
}

/// Recomputes up to the ends; false if the process crashed.
fn recomputed(
    config: EngineConfig,
    source: &dyn Source,
    ends: &BTreeMap<Partition, Offset>,
    watermark: EventTime,
    clock: &mut Clock,
) -> bool {
    let outcome = (|| {
        let mut engine = started_or(config)?;
        engine.discovered(0, source.discover().unwrap());
        engine.at_least(BTreeMap::from([(0, watermark)]));
        while engine.phase() != Phase::Done {
            clock.pass(20);
            engine.turn(clock.0, WAIT)?;
            let reached = engine.status().positions.get(&0).is_some_and(|read| {
                ends.iter().all(|(partition, end)| read.iter().any(|(of, next)| of == partition && next >= end))
            });
            if reached && engine.phase() == Phase::Live {
                engine.stop(false);
            }
        }
        engine.shut_down();
        Ok(())
    })();
    match outcome {
        Ok(()) => true,
        Err(EngineError::Failed(why)) if why.contains(CRASH) => false,
        Err(error) => panic!("{error}"),
    }
}

fn started_or(config: EngineConfig) -> Result<Engine, EngineError> {
    let mut engine = Engine::start(config)?;
    engine.do_not_wait_for_sinks();
    Ok(engine)
}

/// What a store shows of what was recomputed equals a batch recomputation of everything that was bound.
#[allow(clippy::too_many_arguments, reason = "all that a comparison is about")]
fn compare_stores(
    stores: &Stores,
    engine: &Engine,
    job: &Job,
    source: &MemorySource,
    disks: &[&Disk],
    from: &[EventTime],
    (store, closed): (usize, bool),
    seed: u64,
) {
    let plan = &job.plan;
    let all_streams = plan_of(Shape::new(plan.streams[0].lateness), Span::seconds(5)).streams;
    let mut streams = plan.streams.clone();
    streams.extend(all_streams.into_iter().skip(streams.len()));
    let mut oracle = Oracle::new(&Arc::new(Plan { streams, ..(**plan).clone() }), disks[1]);
    let bound = disks.iter().flat_map(|disk| binds(disk)).filter(|bind| bind.by.job == job.number);
    bound.for_each(|bind| {
        oracle.epoch(&bind, source);
    });
    let expected: BTreeMap<_, _> = oracle
        .rows()
        .into_iter()
        .filter(|(key, _)| key.start >= from[key.view as usize])
        .map(|(key, cells)| ((plan.views[key.view as usize].name.clone(), key.group, key.start), cells))
        .collect();
    let waits = store > 0 && !closed;
    let is_new = |name: &str, start: EventTime| {
        let view = plan.views.iter().position(|view| view.name == name);
        view.is_some_and(|view| start >= from[view])
    };
    // What waits is not given before it is due; a session may have been due with an earlier end.
    if waits {
        for ((name, group, start), row) in &stores.0[store].0 {
            let Some(view) = plan.views.iter().find(|view| view.name == *name) else { continue };
            let delay = if store == 2 { plan.streams[view.stream].lateness } else { Span(0) };
            let fixed = !matches!(view.window, WindowPlan::Session { .. } | WindowPlan::Unwindowed);
            let due = row.end.plus(delay) <= engine.status().watermarks[view.stream];
            assert!(!fixed || due, "seed {seed}, {}: {name} {group:?} {start} was given too early: {row:?}", MODES[store].0);
        }
    }
    let found = stores.visible(store, is_new);
    // A store that waits may not have everything yet, but nothing else: what was due stays due.
    let missing = expected.keys().filter(|_| !waits);
    let differs = found.keys().chain(missing).find(|key| found.get(*key) != expected.get(*key));
    if let Some(key) = differs {
        panic!(
            "seed {seed}, {}, closed {closed}, {:?}:\n{key:?}\n  found    {:?}\n  expected {:?}\n  stored {:?}",
            MODES[store].0,
            engine.status().watermarks,
            found.get(key),
            expected.get(key),
            stores.0[store].0.get(key)
        );
    }
}
