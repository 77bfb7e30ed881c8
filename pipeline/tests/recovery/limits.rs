//! State at its declared limits (SEMANTICS 27): reading stops, the limit is named, nothing is lost, and a start with a
//! higher one goes on exactly.

use super::harness::*;
use caudal_pipeline::engine::{Engine, EngineConfig, EngineError, Phase};
use caudal_pipeline::plan::{Limits, Plan};
use caudal_pipeline::ports::memory::MemorySource;
use caudal_pipeline::ports::source::Source;
use caudal_pipeline::time::Span;
use std::sync::Arc;

/// So few bytes in flight that an epoch is short: the bound counts with its longest.
const IN_FLIGHT_BYTES_MAX: u64 = 64 << 10;

fn plan_with(limits: Limits) -> Arc<Plan> {
    let shape = Shape::new(Span::seconds(600));
    let mut plan = plan_of(shape, Span::seconds(5));
    plan.streams.iter_mut().for_each(|stream| stream.watermark.max_ahead = Span::seconds(10));
    plan.limits = limits;
    Arc::new(plan)
}

/// An event each second, of `groups` groups in turn.
fn push(source: &MemorySource, seconds: std::ops::Range<i64>, groups: i64) {
    for second in seconds {
        let (at, g) = (START_US / 1000 + second * 1000, second % groups);
        let event = format!(r#"{{"id":"e{second}","t":{at},"g":"g{g}","h":1,"x":1}}"#);
        source.push_payload(usize::from(second % 2 == 0), event.into_bytes());
    }
}

fn start(plan: &Arc<Plan>, source: &MemorySource, disk: &Disk, workers: usize) -> Result<Engine, EngineError> {
    let mut engine =
        Engine::start(EngineConfig { in_flight_bytes_max: IN_FLIGHT_BYTES_MAX, ..config(plan, source, disk, workers) })?;
    engine.do_not_wait_for_sinks();
    Ok(engine)
}

/// What a start is refused with. W may have taken away what was too much since the stop: then it reads on, to the same end.
fn refusal(plan: &Arc<Plan>, source: &MemorySource, disk: &Disk, clock: &mut Clock) -> String {
    for _ in 0..20 {
        let mut engine = match start(plan, source, disk, 2) {
            Err(EngineError::Refused(why)) => return why,
            started => started.unwrap(),
        };
        engine.discovered(0, source.discover().unwrap());
        until(&mut engine, clock, 100, |engine| engine.phase() == Phase::Done);
        assert!(engine.over_limit().is_some());
        engine.shut_down();
    }
    panic!("it starts again and again");
}

/// Runs into `low`, is refused, goes on under `high` on other workers, and ends equal to a recomputation.
fn raise(low: Limits, high: Limits, says: &str, helps: &str) {
    let (source, disk, mut clock) = (MemorySource::new("events", 2), Disk::default(), Clock::new());
    let low = plan_with(low);
    push(&source, 0..900, 2);
    let mut first = start(&low, &source, &disk, 3).unwrap();
    settle(&mut first, &source, &mut clock);
    assert_eq!(first.over_limit(), None, "at the density that is declared nothing stops");
    push(&source, 900..4_000, 12);
    for n in 0..20_000 {
        let at = START_US / 1000 + 4_000_000 + n / 20;
        source.push_payload(0, format!(r#"{{"id":"d{n}","t":{at},"g":"g1","h":1,"x":1}}"#).into_bytes());
    }
    first.discovered(0, source.discover().unwrap());
    until(&mut first, &mut clock, 100, |engine| engine.phase() == Phase::Done);
    let why = first.over_limit().expect("a limit").to_owned();
    assert!(why.contains(says) && why.contains(helps), "{why}");
    let read: u64 = verdicts(&first).values().sum();
    assert!(read < 24_000, "reading has stopped: {read}");
    assert_eq!(first.status().checkpoint.map(|(epoch, _)| epoch), Some(first.ledger().end()), "nothing is left to repeat");
    first.shut_down();

    assert!(refusal(&low, &source, &disk, &mut clock).contains(helps), "a start under the same limit reads nothing more");

    let high = plan_with(high);
    let mut second = start(&high, &source, &disk, 1).unwrap();
    settle(&mut second, &source, &mut clock);
    assert_eq!(second.over_limit(), None);
    let mut oracle = Oracle::new(&high, &disk);
    for bind in binds(&disk) {
        oracle.epoch(&bind, &source);
    }
    assert_same("under the higher limit", &visible(&second, high.views.len()), &oracle.rows(), &high);
    assert_eq!(verdicts(&second), oracle.counts);
    second.shut_down();
}

#[test]
fn more_groups_than_declared_stop_the_reading() {
    let limits = |groups| Limits { memory_bytes: None, events_per_s: None, groups: Some(groups) };
    raise(limits(4), limits(40), "× 4 groups)", "raise limits.groups and start again");
}

#[test]
fn more_ids_than_declared_stop_the_reading() {
    let limits = |events_per_s| Limits { memory_bytes: None, events_per_s: Some(events_per_s), groups: None };
    raise(limits(2), limits(40), "stream events remembers", "raise limits.events_per_s and start again");
}
