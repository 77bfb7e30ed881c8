//! At every epoch the incremental result equals a recomputation from nothing: random streams, shuffled, duplicated and
//! late, every window kind and aggregate, roll-ups under correction, on one to four workers.
//!
//! `CAUDAL_SEED=n cargo test -p caudal-pipeline --test oracle` repeats a run.

mod harness;

use caudal_pipeline::engine::Phase;
use caudal_pipeline::ports::memory::MemorySource;
use caudal_pipeline::time::Span;
use harness::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Pushes messages in random chunks and compares after each chunk has settled.
fn compare(seed: u64, workers: usize, lateness: Span) {
    let mut random = Random::new(seed);
    let plan = Arc::new(plan(lateness, Span::seconds(5)));
    let partitions = 1 + random.below(4) as usize;
    let (source, disk, mut clock) = (MemorySource::new("events", partitions), Disk::default(), Clock::new());
    let messages = stream(&mut random, 700, partitions, 7_200);
    let mut engine = engine(&plan, &source, &disk, workers);
    let (mut oracle, mut bound) = (Oracle::new(&plan), 0);
    let mut rest = &messages[..];
    while !rest.is_empty() {
        let chunk = (1 + random.below(120) as usize).min(rest.len());
        for (partition, payload) in &rest[..chunk] {
            source.push_payload(*partition, payload.clone());
        }
        rest = &rest[chunk..];
        settle(&mut engine, &source, &mut clock);
        // Only epochs in the ledger: later empty ones may be bound already.
        let end = engine.ledger().end();
        let binds = binds(&disk);
        for bind in binds.iter().skip(bound).take_while(|bind| bind.epoch <= end) {
            oracle.epoch(bind, &source);
            bound += 1;
        }
        let context = format!("seed {seed}, {workers} workers, lateness {lateness}, {} messages left", rest.len());
        assert_same(&context, &visible(&engine, plan.views.len()), &oracle.rows(), &plan);
        let counts: BTreeMap<_, u64> = engine.status().counts.iter().map(|((_, verdict), (n, _))| (*verdict, *n)).collect();
        assert_eq!(counts, oracle.counts, "{context}: the verdicts differ");
    }
    assert!(oracle.counts.len() >= 5, "the stream must exercise every verdict: {:?}", oracle.counts);
    assert_eq!(engine.phase(), Phase::Live);
    engine.shut_down();
}

#[test]
fn incremental_equals_batch_at_every_epoch() {
    let seed = seed(1);
    for workers in 1..=4 {
        compare(seed + workers as u64, workers, Span::seconds(300));
    }
    compare(seed + 10, 2, Span::seconds(60));
    compare(seed + 11, 3, Span::seconds(7_200));
}
