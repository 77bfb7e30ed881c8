//! Stops that are asked for: drained, closed, fenced, refused.

use super::harness::*;
use caudal_pipeline::engine::{Engine, EngineConfig, EngineError, Manifest, Phase, newest_manifest};
use caudal_pipeline::group::Group;
use caudal_pipeline::ledger::{Cursor, Emission, Follower, Kept};
use caudal_pipeline::log::Fingerprint;
use caudal_pipeline::ports::blobs::Blobs;
use caudal_pipeline::ports::memory::MemorySource;
use caudal_pipeline::ports::sink::{Row, RowState};
use caudal_pipeline::ports::source::Source;
use caudal_pipeline::time::{EventTime, Span, Version};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A job with some events read.
struct Job {
    plan: Arc<caudal_pipeline::plan::Plan>,
    source: MemorySource,
    disk: Disk,
    clock: Clock,
    later: Vec<(usize, Vec<u8>)>,
}

fn job(seed: u64) -> Job {
    let mut random = Random::new(seed);
    let plan = Arc::new(plan(Span::seconds(300), Span::seconds(5)));
    let source = MemorySource::new("events", 2);
    let mut messages = stream(&mut random, 300, 2, 3_600);
    let later = messages.split_off(200);
    messages.into_iter().for_each(|(partition, payload)| source.push_payload(partition, payload));
    Job { plan, source, disk: Disk::default(), clock: Clock::new(), later }
}

impl Job {
    fn start(&self, workers: usize) -> Engine {
        engine(&self.plan, &self.source, &self.disk, workers)
    }

    fn start_as(&self, fingerprint: Fingerprint) -> Result<Engine, EngineError> {
        let mut engine = Engine::start(EngineConfig { fingerprint, ..config(&self.plan, &self.source, &self.disk, 2) })?;
        engine.do_not_wait_for_sinks();
        Ok(engine)
    }

    fn oracle(&self) -> Oracle {
        let mut oracle = Oracle::new(&self.plan, &self.disk);
        for bind in binds(&self.disk) {
            oracle.epoch(&bind, &self.source);
        }
        oracle
    }

    fn compare(&self, engine: &Engine, context: &str) {
        let oracle = self.oracle();
        assert_same(context, &visible(engine, self.plan.views.len()), &oracle.rows(), &self.plan);
        assert_eq!(verdicts(engine), oracle.counts, "{context}");
    }
}

fn done(engine: &Engine) -> bool {
    engine.phase() == Phase::Done
}

#[test]
fn a_drained_run_goes_on_where_it_stopped() {
    let mut job = job(3);
    let mut first = job.start(3);
    settle(&mut first, &job.source, &mut job.clock);
    first.stop(false);
    until(&mut first, &mut job.clock, 10, done);
    job.compare(&first, "drained");
    assert_eq!(first.status().checkpoint.map(|(epoch, _)| epoch), Some(first.ledger().end()), "all of it is in a checkpoint");
    let before = bytes(&first, job.plan.views.len());
    first.shut_down();

    let mut second = job.start(2);
    assert_eq!(second.phase(), Phase::Live, "there is nothing to repeat");
    assert_eq!(bytes(&second, job.plan.views.len()), before);
    job.later.drain(..).for_each(|(partition, payload)| job.source.push_payload(partition, payload));
    settle(&mut second, &job.source, &mut job.clock);
    second.stop(false);
    until(&mut second, &mut job.clock, 10, done);
    job.compare(&second, "drained again");
    second.shut_down();
}

/// Each row's newest value in a store: by view, group and start.
type Stored = BTreeMap<(usize, Group, EventTime), (Version, RowState)>;

/// A store whose views are written every so often.
struct Hourly {
    follower: Follower,
    cursor: Cursor,
    store: Stored,
}

impl Hourly {
    fn write(&mut self, engine: &Engine) {
        while let Some((cut, next)) = self.follower.cut(&engine.ledger(), &self.cursor).unwrap() {
            let row = |row: &Row| ((row.view, Group::of(&row.group), row.start), (row.version, row.state));
            self.store.extend(cut.rows.iter().map(row));
            self.cursor = next;
            engine.cursors().lock().unwrap().insert("hourly".to_owned(), self.cursor.clone());
        }
    }
}

/// Symptom: after a run to the end a store lacked up to the last hour of a view that is written every hour. Cause: its
/// turn had not come, and the end waited for no turn. Here only the first rows are written before.
#[test]
fn a_drain_waits_for_views_that_wait_for_their_turn() {
    let mut job = job(10);
    let sinks = vec!["hourly".to_owned()];
    let config = caudal_pipeline::engine::EngineConfig { sinks, ..config(&job.plan, &job.source, &job.disk, 2) };
    let mut engine = Engine::start(config).unwrap();
    let emission = Emission::Every(Span::seconds(1_000_000));
    let views = 0..job.plan.views.len() as u32;
    let kept = views.clone().map(|view| Kept { view, emission, retain: None, board_groups_max: 0 }).collect();
    let follower = Follower::new(job.plan.clone(), kept, false);
    let mut sink = Hourly { follower, cursor: Cursor::default(), store: Stored::new() };
    settle(&mut engine, &job.source, &mut job.clock);
    sink.write(&engine);
    let early = sink.store.clone();
    job.later.drain(..).for_each(|(partition, payload)| job.source.push_payload(partition, payload));
    settle(&mut engine, &job.source, &mut job.clock);
    sink.write(&engine);
    assert!(!early.is_empty() && sink.store == early, "the turn comes once");
    engine.stop(false);
    until_watched(&mut engine, &mut job.clock, 10, done, |engine| sink.write(engine));
    let rows = views.flat_map(|view| engine.ledger().rows(view).unwrap());
    let newest: Stored =
        rows.map(|(key, version, value)| ((key.view as usize, key.group, key.start), (version, value.state))).collect();
    assert!(newest != early && sink.store == newest, "the store has every row's newest value");
    engine.shut_down();
}

/// Symptom: a rebuild was refused, as a sink had not got everything, though its drain had waited for the sink. Cause: the
/// newest checkpoint held every epoch already, so none was written that knew of it.
#[test]
fn a_drain_saves_what_sinks_have_caught_up_with() {
    let mut job = job(4);
    let start = |job: &Job| {
        Engine::start(EngineConfig { sinks: vec!["hourly".to_owned()], ..config(&job.plan, &job.source, &job.disk, 2) }).unwrap()
    };
    let mut first = start(&job);
    settle(&mut first, &job.source, &mut job.clock);
    first.do_not_wait_for_sinks();
    first.stop(false);
    until(&mut first, &mut job.clock, 10, done);
    let end = first.ledger().end();
    first.shut_down();
    let emission = Emission::Every(Span::seconds(1));
    let views = 0..job.plan.views.len() as u32;
    let kept = views.map(|view| Kept { view, emission, retain: None, board_groups_max: 0 }).collect();
    let follower = Follower::new(job.plan.clone(), kept, false);
    let mut sink = Hourly { follower, cursor: Cursor::default(), store: Stored::new() };
    let mut second = start(&job);
    second.stop(false);
    until_watched(&mut second, &mut job.clock, 10, done, |engine| sink.write(engine));
    second.shut_down();
    let blobs: Arc<dyn Blobs> = Arc::new(job.disk.clone());
    let saved = newest_manifest(&blobs).unwrap().unwrap();
    assert!(saved.cursors.get("hourly").is_some_and(|cursor| cursor.has_passed(end)), "{:?}", saved.cursors);
}

#[test]
fn a_stop_while_replaying_repeats_everything_first() {
    let mut job = job(4);
    let mut first = job.start(2);
    settle(&mut first, &job.source, &mut job.clock);
    let (end, before) = (first.ledger().end(), bytes(&first, job.plan.views.len()));
    first.shut_down();
    let mut second = job.start(4);
    assert_eq!(second.phase(), Phase::Replaying);
    second.stop(false);
    until(&mut second, &mut job.clock, 10, done);
    assert!(second.ledger().end() > end);
    assert_eq!(bytes(&second, job.plan.views.len()), before, "what comes after the replay is empty");
    second.shut_down();
}

#[test]
fn a_closed_input_completes_everything_and_reads_nothing_more() {
    let mut job = job(5);
    let mut first = job.start(2);
    settle(&mut first, &job.source, &mut job.clock);
    first.stop(true);
    until(&mut first, &mut job.clock, 10, done);
    assert!(first.ended());
    job.compare(&first, "closed");
    // Everything with an end is complete: a sink that waits for that is owed every row.
    let views = 0..job.plan.views.len() as u32;
    let kept = views.map(|view| Kept { view, emission: Emission::OnComplete, retain: None, board_groups_max: 0 }).collect();
    let cut = Follower::new(job.plan.clone(), kept, false).cut(&first.ledger(), &Cursor::default()).unwrap().unwrap().0;
    assert_eq!(cut.rows.len(), visible(&first, job.plan.views.len()).len());
    assert!(cut.rows.iter().all(|row| row.state == RowState::Complete || row.end == EventTime::MAX));
    let (before, counts) = (bytes(&first, job.plan.views.len()), first.status().counts);
    first.shut_down();

    job.later.drain(..).for_each(|(partition, payload)| job.source.push_payload(partition, payload));
    for workers in [3, 1] {
        let mut again = job.start(workers);
        again.discovered(0, job.source.discover().unwrap());
        job.clock.pass(60_000);
        until(&mut again, &mut job.clock, 10, done);
        assert!(again.ended());
        assert_eq!(bytes(&again, job.plan.views.len()), before);
        assert_eq!(again.status().counts, counts, "nothing more was read");
        again.shut_down();
    }
}

#[test]
fn a_close_that_is_cut_before_its_checkpoint_is_finished_by_the_next_start() {
    let mut job = job(6);
    let mut first = job.start(2);
    settle(&mut first, &job.source, &mut job.clock);
    first.stop(true);
    until(&mut first, &mut job.clock, 10, Engine::ended);
    first.shut_down();
    job.later.drain(..).for_each(|(partition, payload)| job.source.push_payload(partition, payload));
    let mut second = job.start(3);
    second.stop(true);
    until(&mut second, &mut job.clock, 10, done);
    assert!(second.ended());
    job.compare(&second, "closed at last");
    let open = bytes(&second, job.plan.views.len()).into_iter().filter(|(key, (_, value))| {
        key.end > second.status().watermarks[0] && key.end < EventTime::MAX && value.state == RowState::Open
    });
    assert_eq!(open.count(), 0);
    second.shut_down();
}

#[test]
fn an_engine_is_fenced_by_the_next_on_the_same_state() {
    let mut job = job(7);
    let mut old = job.start(2);
    settle(&mut old, &job.source, &mut job.clock);
    let mut new = job.start(1);
    let refusal = loop {
        job.clock.pass(500);
        if let Err(error) = old.turn(job.clock.0, WAIT) {
            break error;
        }
    };
    assert!(matches!(&refusal, EngineError::Refused(why) if why.starts_with("fenced: generation 2")), "{refusal}");
    old.shut_down();
    job.later.drain(..).for_each(|(partition, payload)| job.source.push_payload(partition, payload));
    settle(&mut new, &job.source, &mut job.clock);
    new.stop(false);
    until(&mut new, &mut job.clock, 10, done);
    job.compare(&new, "the new one goes on");
    new.shut_down();
}

/// Symptom: state of another job was taken after a while. Cause: the records that say who wrote it were pruned with
/// the rest of the log. Two checkpoints after the start prune the start's own record.
#[test]
fn state_of_another_job_is_refused_however_old() {
    let mut job = job(8);
    for checkpoints in [1, 3] {
        let mut engine = job.start(2);
        for _ in 0..checkpoints {
            let before = engine.status().checkpoint;
            engine.checkpoint();
            until(&mut engine, &mut job.clock, 100, |engine| engine.status().checkpoint != before);
        }
        engine.shut_down();
        let foreign = Fingerprint { job: 8, build: 1 };
        let refusal = job.start_as(foreign).err().unwrap_or_else(|| panic!("it was taken after {checkpoints} checkpoints"));
        assert!(matches!(&refusal, EngineError::OtherJob { job: 7 }), "{refusal}");
    }
}

/// Where both checkpoints list a run there is nothing to fall back on once it is damaged.
#[test]
fn a_damaged_run_that_both_checkpoints_list_is_told_and_a_start_goes_on_once_it_is_healed() {
    let mut job = job(11);
    let mut first = job.start(2);
    let mut rest = job.later.split_off(10);
    for later in [Vec::new(), std::mem::take(&mut job.later)] {
        later.into_iter().for_each(|(partition, payload)| job.source.push_payload(partition, payload));
        settle(&mut first, &job.source, &mut job.clock);
        let before = first.status().checkpoint;
        first.checkpoint();
        until(&mut first, &mut job.clock, 100, |engine| engine.status().checkpoint != before);
    }
    first.shut_down();
    let manifests = job.disk.list("manifest/").unwrap();
    let listed = |name: &String| -> Vec<String> {
        let manifest = Manifest::decode(&job.disk.read(name).unwrap()).unwrap();
        manifest.state.into_iter().map(|file| file.name).collect()
    };
    let [older, newer] = &manifests.iter().map(listed).collect::<Vec<_>>()[..] else { panic!("two are kept: {manifests:?}") };
    assert!(older.len() == 1 && newer.contains(&older[0]), "{older:?}, {newer:?}");
    let whole = job.disk.flip(&older[0], 5_000);
    let refusal = Engine::start(config(&job.plan, &job.source, &job.disk, 3)).err().expect("nothing is left to start from");
    let says = ["no checkpoint can be used", "restore the state folder from a backup, or start with a new one and replay"];
    assert!(matches!(&refusal, EngineError::Refused(why) if says.iter().all(|part| why.contains(part))), "{refusal}");

    job.disk.replace(&older[0], &whole);
    let mut second = job.start(3);
    assert!(second.alarms().is_empty());
    rest.drain(..).for_each(|(partition, payload)| job.source.push_payload(partition, payload));
    settle(&mut second, &job.source, &mut job.clock);
    job.compare(&second, "healed");
    second.shut_down();
}

/// Another build goes on from a checkpoint, but does not form what was bound: it might form it otherwise.
#[test]
fn another_build_goes_on_where_nothing_is_left_to_repeat() {
    let mut job = job(10);
    let newer = Fingerprint { job: 7, build: 2 };
    let mut cut = job.start(2);
    settle(&mut cut, &job.source, &mut job.clock);
    cut.shut_down();
    let refusal = job.start_as(newer).err().expect("epochs are in no checkpoint");
    assert!(matches!(&refusal, EngineError::Refused(why) if why.contains("run that build with --drain")), "{refusal}");
    let mut drained = job.start(1);
    drained.stop(false);
    until(&mut drained, &mut job.clock, 10, |engine| engine.phase() == Phase::Done);
    let before = bytes(&drained, job.plan.views.len());
    drained.shut_down();
    let mut engine = job.start_as(newer).unwrap();
    assert!(bytes(&engine, job.plan.views.len()) == before);
    job.later.drain(..).for_each(|(partition, payload)| job.source.push_payload(partition, payload));
    settle(&mut engine, &job.source, &mut job.clock);
    job.compare(&engine, "the newer build");
    engine.shut_down();
}

/// Symptom: with its newest checkpoint damaged, a run refused to start («the topic was rewritten») or lost epochs.
/// Cause: the log was pruned up to the older checkpoint's record, but epochs are bound while a checkpoint is being
/// written, and so their records lie before its own. A slow disk makes many of them.
#[test]
fn what_was_bound_while_the_older_checkpoint_was_written_is_kept_for_its_replay() {
    let mut job = job(9);
    let mut first = job.start(2);
    settle(&mut first, &job.source, &mut job.clock);
    job.disk.slow(true);
    first.checkpoint();
    for (partition, payload) in job.later.drain(..) {
        job.source.push_payload(partition, payload);
        job.clock.pass(100);
        first.turn(job.clock.0, WAIT).unwrap();
    }
    settle(&mut first, &job.source, &mut job.clock);
    job.disk.slow(false);
    until(&mut first, &mut job.clock, 100, |engine| engine.status().checkpoint.is_some());
    let older = first.status().checkpoint;
    first.checkpoint();
    until(&mut first, &mut job.clock, 100, |engine| engine.status().checkpoint != older);
    let before = bytes(&first, job.plan.views.len());
    first.shut_down();
    let newest = job.disk.list("manifest/").unwrap().pop().unwrap();
    job.disk.flip(&newest, 9);
    let mut second = job.start(1);
    assert_eq!(second.alarms().len(), 1);
    settle(&mut second, &job.source, &mut job.clock);
    assert!(bytes(&second, job.plan.views.len()) == before, "the same rows with the same versions");
    job.compare(&second, "from the older checkpoint");
    second.shut_down();
}

/// Symptom: a start while storage was away said that no checkpoint can be used, or that caudal has a defect. Cause: what could not
/// be read was taken for damaged.
#[test]
fn storage_that_does_not_answer_at_the_start_is_not_taken_for_damaged() {
    let plan = Arc::new(plan(Span::seconds(60), Span::seconds(5)));
    let (source, disk, mut clock) = (MemorySource::new("events", 1), Disk::default(), Clock::new());
    let mut first = engine(&plan, &source, &disk, 2);
    for n in 0..3 {
        for m in 0..20 {
            let at = START_US / 1000 + (n * 20 + m) * 1000;
            source.push_payload(0, format!(r#"{{"id":"e{n} {m}","t":{at},"g":"g","h":1,"x":1}}"#).into_bytes());
        }
        settle(&mut first, &source, &mut clock);
        let before = first.status().checkpoint;
        first.checkpoint();
        until(&mut first, &mut clock, 100, |engine| engine.status().checkpoint > before);
    }
    let saved = first.status().checkpoint;
    first.shut_down();
    let mut failed = 0;
    for reads in 0.. {
        disk.answers(Some(reads));
        let outcome = Engine::start(config(&plan, &source, &disk, 2)).and_then(|mut engine| {
            // The workers load while the engine turns.
            (0..50).try_for_each(|_| engine.turn(clock.0, WAIT)).map(|()| engine)
        });
        disk.answers(None);
        match outcome {
            Err(EngineError::Failed(why)) => assert!(why.contains(AWAY), "after {reads} reads: {why}"),
            Err(error) => panic!("after {reads} reads: {error}"),
            Ok(engine) => {
                assert_eq!(engine.status().checkpoint, saved);
                engine.shut_down();
                break;
            }
        }
        failed += 1;
    }
    assert!(failed > 10, "{failed} reads");
}
