//! State as this release writes it is kept, so that later ones show that they can open it (SEMANTICS 26).
//!
//! `fixtures/state-VERSION` is what a drained job left, `rows` what it had, and `owed` what its sink had not got yet.
//! `UPDATE_EXPECTED=1` writes those of the present version anew, until it is released.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a test reads files and has a deadline")]

mod harness;

use caudal_pipeline::engine::{Engine, EngineConfig, Phase};
use caudal_pipeline::ledger::{Cursor, Emission, Follower, Kept, KeptEvents};
use caudal_pipeline::log::Fingerprint;
use caudal_pipeline::plan::Plan;
use caudal_pipeline::ports::blobs::Blobs;
use caudal_pipeline::ports::memory::MemorySource;
use caudal_pipeline::ports::sink::{DeadLetterRow, EventRow};
use caudal_pipeline::time::Span;
use harness::*;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const VERSION: &str = env!("CARGO_PKG_VERSION");
const SEED: u64 = 26;
const READ: usize = 150;
/// Messages that come once the sink has stopped, and as many when the state is opened again.
const LATER: usize = 200;

struct Job {
    plan: Arc<Plan>,
    source: MemorySource,
    later: Vec<(usize, Vec<u8>)>,
}

impl Job {
    fn push(&mut self, messages: usize) {
        self.later.drain(..messages).for_each(|(partition, payload)| self.source.push_payload(partition, payload));
    }
}

/// The job of every fixture, and its input.
fn job() -> Job {
    let mut random = Random::new(SEED);
    let mut plan = plan(Span::seconds(300), Span::seconds(5));
    plan.streams[0].archived = true;
    let plan = Arc::new(plan);
    let source = MemorySource::new("events", 2);
    let mut messages = stream(&mut random, READ + LATER, 2, 3_600);
    let later = messages.split_off(READ);
    messages.into_iter().for_each(|(partition, payload)| source.push_payload(partition, payload));
    Job { plan, source, later }
}

fn config_of(job: &Job, disk: &Disk, build: u64) -> EngineConfig {
    EngineConfig { fingerprint: Fingerprint { job: 7, build }, ..config(&job.plan, &job.source, disk, 2) }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Rows with their versions, a line each.
fn shown(engine: &Engine, plan: &Plan) -> String {
    let line = |(key, (version, value)): (_, (caudal_pipeline::time::Version, _))| {
        let key: caudal_pipeline::ledger::RowKey = key;
        let value: caudal_pipeline::ledger::RowValue = value;
        let name = &plan.views[key.view as usize].name;
        format!("{name} {:?} {} {} {} {:?} {:?}\n", key.group.values(), key.start, key.end, version.0, value.state, value.cells)
    };
    bytes(engine, plan.views.len()).into_iter().map(line).collect()
}

/// What the sink is given from its cursor on, and the cursor after it.
fn owed(engine: &Engine, plan: &Arc<Plan>) -> (String, Cursor) {
    let cursor = engine.cursors().lock().unwrap().get("history").cloned().unwrap_or_default();
    let kept = |view| Kept { view, emission: Emission::OnComplete, retain: None, board_groups_max: 0 };
    let kept = (0..plan.views.len() as u32).map(kept).collect();
    let mut sink = Follower::new(plan.clone(), kept, true).with_events(Some(KeptEvents { retain: None }));
    let (mut text, mut cursor) = (String::new(), cursor);
    while let Some((cut, next)) = sink.cut(&engine.ledger(), &cursor).unwrap() {
        for row in cut.rows {
            let name = &plan.views[row.view].name;
            text += &format!("row {name} {:?} {} {} {} {:?}\n", row.group, row.start, row.end, row.version.0, row.cells);
        }
        for DeadLetterRow { version, dead_letter: of } in cut.dead_letters {
            text += &format!("dead letter {} {} {} {:?}\n", version.0, of.partition.number, of.offset.0, of.rejection.reason);
        }
        for EventRow { version, event: of, .. } in cut.events {
            text += &format!("event {} {} {} {} {}\n", version.0, of.partition.number, of.offset.0, of.event_time, of.id);
        }
        cursor = next;
    }
    (text, cursor)
}

fn write(folder: &Path) {
    let mut job = job();
    let (disk, mut clock) = (Disk::default(), Clock::new());
    let mut engine = started(config_of(&job, &disk, 1));
    settle(&mut engine, &job.source, &mut clock);
    let (given, cursor) = owed(&engine, &job.plan);
    engine.cursors().lock().unwrap().insert("history".into(), cursor);
    // The sink gets nothing more.
    job.push(LATER / 2);
    settle(&mut engine, &job.source, &mut clock);
    let (missing, _) = owed(&engine, &job.plan);
    assert!(
        given.len() > missing.len() && ["row ", "\ndead letter ", "\nevent "].iter().all(|of| missing.contains(of)),
        "{missing}"
    );
    engine.stop(false);
    until(&mut engine, &mut clock, 10, |engine| engine.phase() == Phase::Done);
    let rows = shown(&engine, &job.plan);
    engine.shut_down();
    let _ = fs::remove_dir_all(folder);
    for name in disk.list("").unwrap() {
        let path = folder.join("blobs").join(&name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, disk.read(&name).unwrap()).unwrap();
    }
    fs::write(folder.join("rows"), rows).unwrap();
    fs::write(folder.join("owed"), missing).unwrap();
}

fn copy(from: &Path, below: &str, disk: &Disk) {
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{below}{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            copy(&path, &format!("{name}/"), disk);
        } else {
            disk.create(&name, &fs::read(&path).unwrap()).unwrap();
        }
    }
}

#[test]
fn state_of_every_release_opens_with_the_same_rows_and_goes_on_exactly() {
    let present = fixtures().join(format!("state-{VERSION}"));
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        write(&present);
    }
    assert!(present.exists(), "there is no fixture of {VERSION}: UPDATE_EXPECTED=1 writes it");
    for entry in fs::read_dir(fixtures()).unwrap() {
        let folder = entry.unwrap().path();
        println!("{}", folder.display());
        let (mut job, disk, mut clock) = (job(), Disk::default(), Clock::new());
        copy(&folder.join("blobs"), "", &disk);
        job.push(LATER / 2);
        // As another build than the one that left it: what is bound is finished.
        let mut engine = started(config_of(&job, &disk, 2));
        assert!(engine.alarms().is_empty());
        assert_eq!(shown(&engine, &job.plan), fs::read_to_string(folder.join("rows")).unwrap());
        assert_eq!(owed(&engine, &job.plan).0, fs::read_to_string(folder.join("owed")).unwrap());
        job.push(LATER / 2);
        settle(&mut engine, &job.source, &mut clock);
        let mut oracle = Oracle::new(&job.plan, &disk);
        let bound = binds(&disk);
        assert!(!bound.is_empty());
        bound.iter().for_each(|bind| {
            oracle.epoch(bind, &job.source);
        });
        assert_same("opened", &visible(&engine, job.plan.views.len()), &oracle.rows(), &job.plan);
        engine.shut_down();
    }
}
