//! What is final leaves: state and ledger stay as large as the horizons make them, however long a stream runs.
//!
//! An hour of event time with late data, duplicates and conflicts; at every minute a checkpoint. The measure is what
//! the checkpoints save (rows by operator) and what the ledger holds, not the process's memory, so that it is exact.

mod harness;

use caudal_pipeline::engine::{Engine, EngineConfig, Manifest};
use caudal_pipeline::ledger::{Cursor, Emission, Follower, Kept};
use caudal_pipeline::ports::blobs::Blobs;
use caudal_pipeline::ports::memory::MemorySource;
use caudal_pipeline::ports::source::Source;
use caudal_pipeline::state::Saved;
use caudal_pipeline::time::Span;
use harness::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Records for each second of event time.
const RATE: usize = 8;
/// Seconds of event time between checkpoints.
const STEP: u64 = 60;
const MINUTES: u64 = 60;
/// From here on nothing may grow: the horizons (lateness, the longest fixed window below a day) are full.
const WARM: usize = 15;

/// What one checkpoint holds.
#[derive(Debug, Default)]
struct Size {
    /// Saved rows that are alive, by operator.
    rows: BTreeMap<String, usize>,
    /// Of all files, in which a row may lie more than once.
    state_bytes: u64,
    ledger_bytes: u64,
    resident_bytes: usize,
}

#[test]
fn state_and_ledger_are_flat_over_an_hour() {
    let seed = seed(1);
    let plan = Arc::new(plan(Span::seconds(120), Span::seconds(5)));
    let (source, disk, mut clock) = (MemorySource::new("events", 2), Disk::default(), Clock::new());
    let retain = (0..plan.views.len()).map(|view| (view, Some(Span::seconds(60)))).collect();
    let mut engine =
        Engine::start(EngineConfig { retain, sinks: vec!["store".into()], ..config(&plan, &source, &disk, 2) }).unwrap();
    let kept = |view| Kept { view, emission: Emission::OnUpdate, retain: Some(Span::seconds(60)), board_groups_max: 0 };
    let mut sink = Follower::new(plan.clone(), (0..plan.views.len() as u32).map(kept).collect(), true);
    let mut cursor = Cursor::default();
    let mut random = Random::new(seed);
    let mut sizes: Vec<Size> = vec![];
    for minute in 0..MINUTES {
        push(&mut random, &source, minute);
        settle(&mut engine, &source, &mut clock);
        // The store is up to date before the checkpoint, so that the ledger may let go.
        if let Some((_, next)) = sink.cut(&engine.ledger(), &cursor).unwrap() {
            cursor = next;
            engine.cursors().lock().unwrap().insert("store".into(), cursor.clone());
        }
        // What the ledger holds in memory is most just before it is sealed.
        let resident_bytes = engine.ledger().resident_bytes();
        let before = engine.status().checkpoint;
        engine.checkpoint();
        until(&mut engine, &mut clock, 100, |engine| engine.status().checkpoint != before);
        sizes.push(Size { resident_bytes, ..size(&disk) });
    }
    engine.shut_down();
    let quarters: Vec<Size> = sizes.chunks(WARM).map(largest).collect();
    quarters.iter().for_each(|quarter| println!("{quarter:?}"));
    let (early, late) = (&quarters[1], &quarters[3]);
    for (operator, rows) in &late.rows {
        // Days and rows without a window stay; there are few of them.
        assert!(*rows <= early.rows[operator] * 5 / 4 + 10, "{operator} grows: {} then {rows} rows", early.rows[operator]);
    }
    assert!(
        late.ledger_bytes <= early.ledger_bytes * 5 / 4,
        "the ledger grows: {} then {}",
        early.ledger_bytes,
        late.ledger_bytes
    );
    assert!(late.resident_bytes <= early.resident_bytes * 5 / 4, "{} then {}", early.resident_bytes, late.resident_bytes);
    assert!(late.state_bytes <= early.state_bytes * 5 / 4, "{} then {}", early.state_bytes, late.state_bytes);
    let ids = late.rows["ids/events"];
    // The lateness, a quarter of it for the bucket that is not over, max_delay, and the minute that is being read.
    let bound = RATE * (120 + 30 + 5 + 60 + 60);
    assert!(ids <= bound, "{ids} ids are remembered, {bound} at most by the horizons");
    assert!(disk.list("").unwrap().len() < 400, "old blobs are deleted: {} are left", disk.list("").unwrap().len());
}

/// A minute of readings, one in ten up to four minutes late, one in twenty a repeat.
fn push(random: &mut Random, source: &MemorySource, minute: u64) {
    for n in 0..RATE as u64 * STEP {
        let at = START_US / 1000 + (minute * STEP * 1000 + n * 1000 / RATE as u64) as i64;
        let late = if random.chance(10) { random.below(240_000) } else { random.below(2_000) } as i64;
        let (group, x) = (random.below(4), random.below(2_000) as i64 - 1_000);
        let id = format!("{minute}-{n}");
        let payload = format!(r#"{{"id":"{id}","t":{},"g":"g{group}","h":{},"x":{x}e-2}}"#, at - late, group % 2);
        let partition = random.below(source.discover().unwrap().len() as u64) as usize;
        source.push_payload(partition, payload.clone());
        if random.chance(5) {
            source.push_payload(partition, payload);
        }
    }
}

fn size(disk: &Disk) -> Size {
    let newest = disk.list("manifest/").unwrap().pop().expect("a checkpoint was made");
    let manifest = Manifest::decode(&disk.read(&newest).unwrap()).unwrap();
    let mut size = Size::default();
    let saved = Saved::open(Arc::new(disk.clone()), &manifest.state, &manifest.watermarks).unwrap();
    for operator in manifest.state.iter().flat_map(|file| file.sizes.keys()) {
        size.rows.insert(operator.clone(), saved.rows(operator, |_| true).count());
    }
    size.state_bytes = manifest.state.iter().map(|file| file.bytes).sum();
    size.ledger_bytes = manifest.ledger.iter().map(|run| run.bytes).sum();
    size
}

/// The largest of each figure.
fn largest(sizes: &[Size]) -> Size {
    let mut largest = Size::default();
    for size in sizes {
        for (operator, rows) in &size.rows {
            let most = largest.rows.entry(operator.clone()).or_default();
            *most = (*most).max(*rows);
        }
        largest.state_bytes = largest.state_bytes.max(size.state_bytes);
        largest.ledger_bytes = largest.ledger_bytes.max(size.ledger_bytes);
        largest.resident_bytes = largest.resident_bytes.max(size.resident_bytes);
    }
    largest
}
