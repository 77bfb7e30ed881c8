//! At every epoch the incremental result equals a recomputation from nothing: random streams, shuffled, duplicated and
//! late, every window kind and aggregate, roll-ups under correction, streams from streams, on one to four workers.
//!
//! `CAUDAL_SEED=n cargo test -p caudal-pipeline --test oracle` repeats a run.

mod harness;

use caudal_pipeline::engine::{Engine, Phase};
use caudal_pipeline::ledger::RowKey;
use caudal_pipeline::plan::WindowPlan::Sliding;
use caudal_pipeline::plan::{DeduplicateScope, Plan};
use caudal_pipeline::ports::memory::MemorySource;
use caudal_pipeline::ports::source::Source;
use caudal_pipeline::time::{Epoch, EventTime, Span};
use caudal_pipeline::value::Cell;
use harness::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Compares the ledger with the recomputation whenever it has moved.
struct Comparison {
    plan: Arc<Plan>,
    source: MemorySource,
    disk: Disk,
    oracle: Oracle,
    expected: BTreeMap<RowKey, Vec<Cell>>,
    bound: usize,
    seen: Epoch,
    compared: usize,
    context: String,
}

impl Comparison {
    fn look(&mut self, engine: &Engine) {
        let end = engine.ledger().end();
        if end == self.seen {
            return;
        }
        self.seen = end;
        let mut changed = false;
        for bind in binds(&self.disk).iter().skip(self.bound).take_while(|bind| bind.epoch <= end) {
            changed |= self.oracle.epoch(bind, &self.source);
            self.bound += 1;
        }
        if changed {
            self.expected = self.oracle.rows();
        }
        self.compared += 1;
        let context = format!("{}, epoch {}", self.context, end.0);
        assert_same(&context, &visible(engine, self.plan.views.len()), &self.expected, &self.plan);
        assert_eq!(verdicts(engine), self.oracle.counts, "{context}: the verdicts differ");
        self.count_held(engine, &context);
    }

    /// Sliding windows are counted by the panes they share, which are no rows.
    fn count_held(&self, engine: &Engine, context: &str) {
        let status = engine.status();
        for (index, view) in (0u32..).zip(&self.plan.views).filter(|(_, view)| !matches!(view.window, Sliding { .. })) {
            let watermark = status.watermarks[view.stream];
            let beyond = |w: EventTime| self.expected.keys().filter(|key| key.view == index && key.end > w).count() as u64;
            assert_eq!(status.held.open[&index], beyond(watermark), "{context}: open windows of {}", view.name);
            let (rows, not_final) = (status.held.rows[&index], beyond(watermark.minus(self.plan.streams[view.stream].lateness)));
            assert_eq!(rows, not_final, "{context}: rows of {}", view.name);
        }
    }
}

/// Pushes a few messages, lets the epoch end, compares; only epochs that get into the ledger in one turn are seen together.
fn compare(seed: u64, workers: usize, shape: Shape) {
    let mut random = Random::new(seed);
    let plan = Arc::new(plan_of(shape, Span::seconds(5)));
    let partitions = 1 + random.below(4) as usize;
    let (source, disk, mut clock) = (MemorySource::new("events", partitions), Disk::default(), Clock::new());
    let mut messages = stream(&mut random, 500, partitions, 7_200);
    if shape.explode {
        messages = in_batches(&mut random, messages);
    }
    let mut engine = engine(&plan, &source, &disk, workers);
    engine.discovered(0, source.discover().unwrap());
    let context = format!("seed {seed}, {workers} workers, {shape:?}");
    let (oracle, expected) = (Oracle::new(&plan, &disk), BTreeMap::new());
    let mut comparison = Comparison {
        plan: plan.clone(),
        source: source.clone(),
        disk: disk.clone(),
        oracle,
        expected,
        bound: 0,
        seen: Epoch(0),
        compared: 0,
        context,
    };
    let mut rest = &messages[..];
    while !rest.is_empty() {
        let (now, later) = rest.split_at((random.below(12) as usize).min(rest.len()));
        rest = later;
        let before = comparison.seen;
        now.iter().for_each(|(partition, payload)| source.push_payload(*partition, payload.clone()));
        clock.pass(120);
        // The clock stands until the epoch is in the ledger, or was too young to end.
        for turn in 0.. {
            engine.turn(clock.0, WAIT).unwrap();
            comparison.look(&engine);
            let alone = engine.status().open_epochs <= 1;
            if alone && (comparison.seen != before || turn > 10) {
                break;
            }
        }
    }
    settle_watched(&mut engine, &source, &mut clock, |engine| comparison.look(engine));
    let (compared, epochs) = (comparison.compared, engine.ledger().end().0 as usize);
    println!("{}: {compared} of {epochs} epochs compared", comparison.context);
    assert_eq!(compared, epochs, "every epoch must be seen alone");
    let kinds = comparison.oracle.counts.len();
    assert!(kinds >= if shape.scope.is_some() { 7 } else { 5 }, "every verdict must occur: {:?}", comparison.oracle.counts);
    assert_eq!(engine.phase(), Phase::Live);
    engine.shut_down();
}

#[test]
fn incremental_equals_batch_at_every_epoch() {
    let seed = seed(1);
    for workers in 1..=4 {
        compare(seed + workers as u64, workers, Shape::new(Span::seconds(300)));
    }
    compare(seed + 10, 2, Shape::new(Span::seconds(60)));
    compare(seed + 11, 3, Shape::new(Span::seconds(1_200)));
}

#[test]
fn so_it_does_with_ids_by_partition_without_ids_and_with_arrays() {
    let seed = seed(100);
    for (n, scope) in [Some(DeduplicateScope::Partition), None].into_iter().enumerate() {
        compare(seed + n as u64, 2 + n, Shape { scope, ..Shape::new(Span::seconds(300)) });
        compare(seed + 10 + n as u64, 4 - n, Shape { scope, explode: true, ..Shape::new(Span::seconds(300)) });
    }
    compare(seed + 20, 3, Shape { explode: true, ..Shape::new(Span::seconds(300)) });
}

/// Final values of the visible rows after the input was closed.
fn final_rows(
    plan: &Arc<Plan>,
    messages: &[(usize, Vec<u8>)],
    partitions: usize,
    random: &mut Random,
) -> BTreeMap<RowKey, Vec<Cell>> {
    let (source, disk, mut clock) = (MemorySource::new("events", partitions), Disk::default(), Clock::new());
    let mut engine = engine(plan, &source, &disk, 1 + random.below(4) as usize);
    let mut rest = messages;
    while !rest.is_empty() {
        let (now, later) = rest.split_at((1 + random.below(60) as usize).min(rest.len()));
        rest = later;
        now.iter().for_each(|(partition, payload)| source.push_payload(*partition, payload.clone()));
        engine.discovered(0, source.discover().unwrap());
        clock.pass(100);
        engine.turn(clock.0, WAIT).unwrap();
    }
    settle(&mut engine, &source, &mut clock);
    engine.stop(true);
    until(&mut engine, &mut clock, 10, |engine| engine.phase() == Phase::Done);
    let rows = visible(&engine, plan.views.len());
    engine.shut_down();
    rows
}

#[test]
fn the_same_records_in_any_order_partitions_and_epochs_give_the_same_final_values() {
    let seed = seed(200);
    let plan = Arc::new(plan(Span::seconds(30 * 86_400), Span::seconds(5)));
    for n in 0..3 {
        let mut random = Random::new(seed + n);
        let mut contents: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        let mut messages = stream(&mut random, 300, 3, 7_200);
        // Without conflicts: who is first would depend on the order.
        messages.retain(|(_, payload)| contents.entry(payload[..14].to_vec()).or_insert_with(|| payload.clone()) == payload);
        let expected = final_rows(&plan, &messages, 3, &mut random);
        for again in 0..3 {
            let partitions = 1 + random.below(4) as usize;
            for at in (1..messages.len()).rev() {
                messages.swap(at, random.below(at as u64 + 1) as usize);
            }
            messages.iter_mut().for_each(|(partition, _)| *partition = random.below(partitions as u64) as usize);
            let found = final_rows(&plan, &messages, partitions, &mut random);
            assert_same(&format!("seed {}, shuffle {again}", seed + n), &found, &expected, &plan);
        }
    }
}
