//! A job that nothing arrives at any more: what W has passed leaves the disk.

use super::harness::*;
use caudal_pipeline::engine::Engine;
use caudal_pipeline::ports::blobs::Blobs;
use caudal_pipeline::ports::memory::MemorySource;
use caudal_pipeline::time::{Epoch, Span};
use std::sync::Arc;

/// Asks for a checkpoint and waits until a later epoch than now is saved.
fn save(engine: &mut Engine, clock: &mut Clock) {
    let before = engine.status().checkpoint.map_or(Epoch(0), |(epoch, _)| epoch);
    engine.checkpoint();
    until(engine, clock, 1_000, |engine| engine.status().checkpoint.is_some_and(|(epoch, _)| epoch > before));
}

/// Symptom: runs of ids and windows that were long over stayed until new runs had outgrown them, which in a job that has gone
/// quiet is never. Cause: only a merge left out what is over.
#[test]
fn what_is_over_leaves_the_disk_though_nothing_new_is_saved() {
    let mut plan = plan(Span::seconds(60), Span::seconds(5));
    // Of the views only the first: others keep rows for ever.
    plan.views.truncate(1);
    let plan = Arc::new(plan);
    let (source, disk, mut clock) = (MemorySource::new("events", 2), Disk::default(), Clock::new());
    let mut first = engine(&plan, &source, &disk, 2);
    for part in 0..3 {
        for second in 0..40 - 10 * part {
            let at = START_US / 1000 + second * 1000;
            source.push_payload(0, format!(r#"{{"id":"e{part}-{second}","t":{at},"g":"g","h":1,"x":1}}"#).into_bytes());
        }
        settle(&mut first, &source, &mut clock);
        save(&mut first, &mut clock);
    }
    assert!(!disk.list("state/").unwrap().is_empty() && !first.status().state_bytes.is_empty());
    until(&mut first, &mut clock, 1_000, |engine| engine.status().watermarks[0].0 > START_US + 300_000_000);
    for _ in 0..3 {
        save(&mut first, &mut clock);
    }
    assert_eq!(disk.list("state/").unwrap(), Vec::<String>::new());
    assert!(first.status().state_bytes.is_empty(), "{:?}", first.status().state_bytes);
    first.shut_down();

    let mut second = engine(&plan, &source, &disk, 3);
    let at = START_US / 1000 + 10_000_000;
    source.push_payload(1, format!(r#"{{"id":"new","t":{at},"g":"g","h":1,"x":1}}"#).into_bytes());
    settle(&mut second, &source, &mut clock);
    let mut oracle = Oracle::new(&plan, &disk);
    for bind in binds(&disk) {
        oracle.epoch(&bind, &source);
    }
    assert_same("gone on", &visible(&second, plan.views.len()), &oracle.rows(), &plan);
    second.shut_down();
}
