//! What topics do to a run: rewritten, truncated, growing, silent.

use super::harness::*;
use caudal_pipeline::engine::{Engine, EngineError, Phase};
use caudal_pipeline::ports::memory::MemorySource;
use caudal_pipeline::ports::sink::RowState;
use caudal_pipeline::ports::source::Source;
use caudal_pipeline::time::{EventTime, Span};
use std::sync::Arc;

fn event(id: &str, second: i64) -> Vec<u8> {
    format!(r#"{{"id":"{id}","t":{},"g":"g","h":1,"x":1}}"#, START_US / 1000 + second * 1000).into_bytes()
}

/// Turns until the engine stops by itself; why.
fn stopped(mut engine: Engine, clock: &mut Clock) -> EngineError {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let error = loop {
        assert!(std::time::Instant::now() < deadline, "it goes on: {:?}", engine.status());
        clock.pass(10);
        if let Err(error) = engine.turn(clock.0, WAIT) {
            break error;
        }
    };
    engine.shut_down();
    error
}

#[test]
fn a_topic_that_is_not_what_was_read_stops_the_replay() {
    let (first, second, other) = (event("a", 1), event("b", 2), event("c", 2));
    for (now, finished, what) in [
        (vec![first.clone(), other], false, "the messages before offset 2 have changed"),
        (vec![first.clone()], true, "it ends before offset 2"),
        (vec![], true, "it ends before offset 2"),
        (vec![first.clone()], false, "it ends at offset 1, and was read up to 2"),
    ] {
        let plan = Arc::new(plan(Span::seconds(60), Span::seconds(5)));
        let (source, disk, mut clock) = (MemorySource::new("events", 1), Disk::default(), Clock::new());
        [&first, &second].into_iter().for_each(|payload| source.push_payload(0, payload.clone()));
        let mut engine = engine(&plan, &source, &disk, 2);
        settle(&mut engine, &source, &mut clock);
        engine.shut_down();
        let rewritten = MemorySource::new("events", 1);
        now.into_iter().for_each(|payload| rewritten.push_payload(0, payload));
        if finished {
            rewritten.finish();
        }
        let mut again = super::engine(&plan, &rewritten, &disk, 3);
        if !finished {
            again.discovered(0, rewritten.discover().unwrap());
        }
        let error = stopped(again, &mut clock);
        let EngineError::Refused(why) = &error else { panic!("{error}") };
        assert!(
            why.starts_with("events/0 is not what was read before") && why.contains(what) && why.contains("restore the topic"),
            "{why}"
        );
    }
}

#[test]
fn a_topic_that_is_made_anew_while_nothing_is_to_be_repeated_is_not_taken_for_the_old_one() {
    let plan = Arc::new(plan(Span::seconds(60), Span::seconds(5)));
    let (source, disk, mut clock) = (MemorySource::new("events", 1), Disk::default(), Clock::new());
    (1..=3).for_each(|n| source.push_payload(0, event(&format!("e{n}"), n)));
    let mut first = engine(&plan, &source, &disk, 2);
    settle(&mut first, &source, &mut clock);
    // The last message has no epoch after it, then many: it is known either way.
    for seconds in [0, 10] {
        until(&mut first, &mut clock, 100, |engine| engine.status().opened.0 >= START_US + seconds * 1_000_000);
        first.stop(false);
        until(&mut first, &mut clock, 10, |engine| engine.phase() == Phase::Done);
        assert_eq!(binds(&disk).last().map(|bind| bind.epoch), first.status().checkpoint.map(|(epoch, _)| epoch));
        first.shut_down();
        let anew = MemorySource::new("events", 1);
        (1..=9).for_each(|n| anew.push_payload(0, event(&format!("other{n}"), n)));
        let error = stopped(engine(&plan, &anew, &disk, 3), &mut clock);
        let EngineError::Refused(why) = &error else { panic!("{error}") };
        assert!(why.contains("events/0 is not what was read before: the message at offset 2 is another one"), "{why}");
        first = engine(&plan, &source, &disk, 1);
        until(&mut first, &mut clock, 100, |engine| engine.phase() == Phase::Live);
    }
    // The right one goes on, and nothing of it counts twice.
    source.push_payload(0, event("e4", 4));
    settle(&mut first, &source, &mut clock);
    assert_eq!(verdicts(&first).iter().filter(|((stream, _), _)| *stream == 0).map(|(_, n)| n).sum::<u64>(), 4);
    first.shut_down();
}

#[test]
fn partitions_may_be_added_while_it_runs_and_survive_a_restart() {
    let plan = Arc::new(plan(Span::seconds(7_200), Span::seconds(5)));
    let (source, disk, mut clock) = (MemorySource::new("events", 1), Disk::default(), Clock::new());
    let mut random = Random::new(11);
    let messages = stream(&mut random, 300, 4, 3_600);
    for (n, chunk) in messages.chunks(messages.len() / 4 + 1).enumerate() {
        let mut engine = engine(&plan, &source, &disk, 4 - n);
        if n % 2 == 1 {
            engine.checkpoint();
        }
        // The chunk's second half lies in the new partition as well.
        for (at, (partition, payload)) in chunk.iter().enumerate() {
            if at == chunk.len() / 2 && n > 0 {
                settle(&mut engine, &source, &mut clock);
                source.add_partition();
            }
            let partitions = source.discover().unwrap().len();
            source.push_payload(partition % partitions, payload.clone());
        }
        settle(&mut engine, &source, &mut clock);
        let mut oracle = Oracle::new(&plan, &disk);
        let bound = binds(&disk);
        for bind in bound.iter().take_while(|bind| bind.epoch <= engine.ledger().end()) {
            oracle.epoch(bind, &source);
        }
        assert_same(
            &format!("{} partitions", source.discover().unwrap().len()),
            &visible(&engine, plan.views.len()),
            &oracle.rows(),
            &plan,
        );
        assert_eq!(verdicts(&engine), oracle.counts);
        engine.shut_down();
    }
    assert_eq!(source.discover().unwrap().len(), 4);
}

#[test]
fn a_new_partition_that_stays_empty_does_not_hold_windows_open_for_ever() {
    let plan = Arc::new(plan(Span::seconds(60), Span::seconds(5)));
    let (source, disk, mut clock) = (MemorySource::new("events", 1), Disk::default(), Clock::new());
    source.push_payload(0, event("a", 0));
    let mut engine = engine(&plan, &source, &disk, 2);
    settle(&mut engine, &source, &mut clock);
    source.add_partition();
    settle(&mut engine, &source, &mut clock);
    source.push_payload(0, event("b", 600));
    settle(&mut engine, &source, &mut clock);
    assert!(engine.status().watermarks[0] < EventTime(START_US + 60 * 1_000_000), "the unseen partition holds it");
    until(&mut engine, &mut clock, 1_000, |engine| engine.status().watermarks[0] >= EventTime(START_US + 60 * 1_000_000));
    engine.shut_down();
}

#[test]
fn the_last_window_of_silent_producers_completes_by_running_time() {
    let plan = Arc::new(plan(Span::seconds(60), Span::seconds(5)));
    let (source, disk, mut clock) = (MemorySource::new("events", 2), Disk::default(), Clock::new());
    [(0, event("a", 0)), (1, event("b", 30))]
        .into_iter()
        .for_each(|(partition, payload)| source.push_payload(partition, payload));
    let mut first = engine(&plan, &source, &disk, 2);
    settle(&mut first, &source, &mut clock);
    let minute = |engine: &Engine| {
        let rows = engine.ledger().rows(0).unwrap();
        assert_eq!(rows.len(), 1);
        (rows[0].0.end, rows[0].2.state)
    };
    let (end, state) = minute(&first);
    assert_eq!((end, state), (EventTime(START_US + 60_000_000), RowState::Open));
    // W stands at 30 s − 5 s; the window ends 35 s later, after 30 s of idleness. A restart begins to wait anew.
    let since = clock.0.running_us;
    first.shut_down();
    let mut second = engine(&plan, &source, &disk, 1);
    until(&mut second, &mut clock, 100, |engine| engine.status().watermarks[0] >= end);
    let waited = (clock.0.running_us - since) / 1_000_000;
    assert!((65..120).contains(&waited), "{waited} s");
    assert_eq!(second.phase(), Phase::Live);
    second.shut_down();
}
