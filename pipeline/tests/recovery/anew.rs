//! Saved state that is damaged while the process runs: memory has everything, so it is saved anew.

use super::harness::*;
use caudal_pipeline::engine::{Engine, Phase};
use caudal_pipeline::ports::blobs::Blobs;
use caudal_pipeline::ports::memory::MemorySource;
use caudal_pipeline::time::{Epoch, Span};
use std::ops::Range;
use std::sync::Arc;

/// An event each second, some of them late, of a few groups; some ids come twice.
fn push(source: &MemorySource, seconds: Range<i64>) {
    for second in seconds {
        let at = START_US / 1000 + (second - second % 7 * 20) * 1000;
        let (id, g, h, x) = (second - second % 50 / 49, second % 3, second % 5, second % 11);
        let event = format!(r#"{{"id":"e{id}","t":{at},"g":"g{g}","h":{h},"x":{x}}}"#);
        source.push_payload(usize::from(second % 2 == 0), event.into_bytes());
    }
}

/// Asks for a checkpoint and waits until a later epoch than now is saved; what alarmed meanwhile.
fn save(engine: &mut Engine, clock: &mut Clock) -> String {
    let before = engine.status().checkpoint.map_or(Epoch(0), |(epoch, _)| epoch);
    engine.checkpoint();
    let mut alarms = Vec::new();
    let saved = |engine: &Engine| engine.status().checkpoint.is_some_and(|(epoch, _)| epoch > before);
    while !saved(engine) {
        step(engine, clock, 1_000);
        alarms.extend(engine.alarms());
    }
    alarms.join("; ")
}

/// When the process ends.
#[derive(PartialEq)]
enum End {
    /// Once the damage is known.
    AtOnce,
    /// After further checkpoints.
    Later,
}

/// Symptom: a bad block in a run that both checkpoints list ended the process when a merge came upon it, and it could not be
/// started again. Cause: only what changed was ever saved.
fn damaged(spoil: impl Fn(&Disk, &str), end: End) {
    let shape = Shape::new(Span::seconds(600));
    let plan = Arc::new(plan_of(shape, Span::seconds(5)));
    let (source, disk, mut clock) = (MemorySource::new("events", 2), Disk::default(), Clock::new());
    let mut first = engine(&plan, &source, &disk, 3);
    first.do_not_wait_for_sinks();
    push(&source, 0..200);
    settle(&mut first, &source, &mut clock);
    save(&mut first, &mut clock);
    push(&source, 200..205);
    settle(&mut first, &source, &mut clock);
    save(&mut first, &mut clock);
    let runs = disk.list("state/").unwrap();
    assert_eq!(runs.len(), 2, "the first is far larger");
    spoil(&disk, &runs[0]);

    // Large enough to be merged with it.
    push(&source, 205..2_500);
    settle(&mut first, &source, &mut clock);
    assert_eq!(save(&mut first, &mut clock), "");
    // The merge is over when it is; the checkpoint after the one that comes to know is whole.
    let mut attempts = 0;
    while !save(&mut first, &mut clock).contains("saved anew") {
        attempts += 1;
        assert!(attempts < 100, "they are not merged");
    }
    if end == End::AtOnce {
        first.stop(false);
        until(&mut first, &mut clock, 100, |engine| engine.phase() == Phase::Done);
    } else {
        (0..2).for_each(|_| assert_eq!(save(&mut first, &mut clock), ""));
        assert!(!disk.list("state/").unwrap().contains(&runs[0]));
        push(&source, 2_500..2_600);
        settle(&mut first, &source, &mut clock);
    }
    first.shut_down();

    let mut second = engine(&plan, &source, &disk, 2);
    push(&source, 2_600..2_900);
    settle(&mut second, &source, &mut clock);
    let mut oracle = Oracle::new(&plan, &disk);
    for bind in binds(&disk) {
        oracle.epoch(&bind, &source);
    }
    assert_same("saved anew", &visible(&second, plan.views.len()), &oracle.rows(), &plan);
    assert_eq!(verdicts(&second), oracle.counts);
    second.shut_down();
}

#[test]
fn a_bad_block_is_left_behind_by_saving_everything() {
    damaged(|disk, name| drop(disk.flip(name, 5_000)), End::Later);
}

#[test]
fn so_is_a_run_that_is_missing() {
    damaged(|disk, name| disk.delete(name).unwrap(), End::Later);
}

#[test]
fn a_stop_waits_until_everything_is_saved() {
    damaged(|disk, name| drop(disk.flip(name, 5_000)), End::AtOnce);
}
