//! Archived events: each epoch's are exactly the records that a recomputation accepts, with their bytes; a sink that
//! follows them misses none and gets none twice, on one to four workers, after a stop, a kill and a load.
//!
//! `CAUDAL_SEED=n cargo test -p caudal-pipeline --test events` repeats a run.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a test has a deadline")]

mod harness;

use caudal_pipeline::aggregate::id_text;
use caudal_pipeline::decode::{
    Decoder, DecoderSpec, EventTimeSpec, ExcessDigits, FieldFrom, FieldSpec, Format, Missing, Reference, TimeFormat,
};
use caudal_pipeline::engine::{Engine, Phase};
use caudal_pipeline::ledger::{Cursor, Follower, KeptEvents};
use caudal_pipeline::plan::{Plan, StreamInput};
use caudal_pipeline::ports::memory::MemorySource;
use caudal_pipeline::ports::sink::EventRow;
use caudal_pipeline::record::{Event, Message, Offset, Partition, Verdict};
use caudal_pipeline::time::{Epoch, EventTime, Span};
use caudal_pipeline::value::FieldType;
use harness::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The one sink that the harness's engine knows.
const SINK: &str = "history";

const RETAIN: Span = Span::seconds(86_400);

fn archived(lateness: Span) -> Plan {
    let mut plan = plan(lateness, Span::seconds(5));
    plan.streams[0].archived = true;
    plan
}

fn follower(plan: &Arc<Plan>) -> Follower {
    Follower::new(plan.clone(), vec![], false).with_events(Some(KeptEvents { retain: Some(RETAIN) }))
}

type Place = (Partition, Offset, u32);

/// A store that keeps events, and how often one came that was there.
#[derive(Default)]
struct Archive {
    rows: BTreeMap<Place, EventRow>,
    repeated: usize,
}

impl Archive {
    /// Writes all that is owed and moves the sink's cursor. Returns how many events came.
    fn follow(&mut self, engine: &Engine, plan: &Arc<Plan>) -> usize {
        let (cursors, ledger, mut follower, mut came) = (engine.cursors(), engine.ledger(), follower(plan), 0);
        let mut cursor = cursors.lock().unwrap().get(SINK).cloned().unwrap_or_default();
        while let Some((cut, next)) = follower.cut(&ledger, &cursor).unwrap() {
            let order = |row: &EventRow| (row.version, row.event.partition.clone(), row.event.offset, row.event.element);
            assert!(cut.events.is_sorted_by_key(order), "events come in the order of epoch and origin");
            came += cut.events.len();
            for row in cut.events {
                let place = (row.event.partition.clone(), row.event.offset, row.event.element);
                if let Some(known) = self.rows.insert(place, row.clone()) {
                    assert_eq!(known, row, "a repeat is the same event with the same version and expiry");
                    self.repeated += 1;
                }
            }
            cursor = next;
        }
        cursors.lock().unwrap().insert(SINK.into(), cursor);
        came
    }
}

/// What the recomputation accepts in each bound epoch up to `end`.
fn expected(plan: &Arc<Plan>, disk: &Disk, source: &MemorySource, end: Epoch) -> BTreeMap<Place, EventRow> {
    let (mut oracle, mut events, mut seen) = (Oracle::new(plan, disk), BTreeMap::new(), 0);
    for bind in binds(disk).iter().take_while(|bind| bind.epoch <= end) {
        oracle.epoch(bind, source);
        let mut last = None;
        for record in &oracle.accepted[0][seen..] {
            // The harness names partitions in the order of their numbers.
            let number = record.origin.partition.0 as i32;
            let partition = Partition { topic: "events".into(), number };
            let message = &source.messages(number as usize)[record.origin.offset.0 as usize];
            // The bytes of an array stand once, at its first accepted element.
            let with_bytes = last != Some((record.origin.partition, record.origin.offset));
            last = Some((record.origin.partition, record.origin.offset));
            let event = Event {
                stream: 0,
                partition: partition.clone(),
                offset: record.origin.offset,
                element: record.origin.element,
                event_time: record.event_time,
                id: id_text(&record.id),
                key: message.key.clone(),
                payload: if with_bytes { message.payload.clone() } else { None },
            };
            let watermark = bind.streams[0].watermark;
            let passed = if watermark == EventTime::MIN { record.event_time } else { watermark };
            let expires_us = Some(bind.opened.0 + record.event_time.0 + RETAIN.0 - passed.0);
            let row = EventRow { version: bind.opened, expires_us, event };
            events.insert((partition, record.origin.offset, record.origin.element), row);
        }
        seen = oracle.accepted[0].len();
    }
    events
}

fn assert_archived(context: &str, archive: &Archive, expected: &BTreeMap<Place, EventRow>) {
    let found = &archive.rows;
    let differs = expected.keys().chain(found.keys()).find(|place| expected.get(place) != found.get(place));
    if let Some(place) = differs {
        panic!("{context}: {place:?}\n  found    {:?}\n  expected {:?}", found.get(place), expected.get(place));
    }
}

fn push(source: &MemorySource, messages: &[(usize, Vec<u8>)]) {
    for (partition, payload) in messages {
        let key = Some(payload[..payload.len().min(3)].to_vec());
        source.push(*partition, Message { key, payload: Some(payload.clone()), ..Message::default() });
    }
}

/// Stops with a checkpoint that does not wait for the sink.
fn stop(mut engine: Engine, clock: &mut Clock) {
    engine.stop(false);
    engine.do_not_wait_for_sinks();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while engine.phase() != Phase::Done {
        assert!(std::time::Instant::now() < deadline, "the engine does not stop: {:?}", engine.status());
        clock.pass(100);
        engine.turn(clock.0, WAIT).unwrap();
    }
    engine.shut_down();
}

fn check(seed: u64, workers: usize) {
    let mut random = Random::new(seed);
    let plan = Arc::new(archived(Span::seconds(60)));
    let partitions = 1 + random.below(4) as usize;
    let (source, disk, mut clock) = (MemorySource::new("events", partitions), Disk::default(), Clock::new());
    let messages = stream(&mut random, 400, partitions, 7_200);
    let (mut archive, mut chunks) = (Archive::default(), messages.chunks(messages.len() / 8 + 1));
    let context = format!("seed {seed}, {workers} workers");

    let mut engine = engine(&plan, &source, &disk, workers);
    for chunk in chunks.by_ref().take(3) {
        push(&source, chunk);
        settle(&mut engine, &source, &mut clock);
        archive.follow(&engine, &plan);
        assert_archived(&context, &archive, &expected(&plan, &disk, &source, engine.ledger().end()));
    }
    let (accepted, counts) = (archive.rows.len() as u64, engine.status().counts);
    let counted = |key: &(u32, Verdict)| *key == (0, Verdict::Accepted);
    assert_eq!(
        accepted,
        counts.iter().filter(|(key, _)| counted(key)).map(|(_, (records, _))| records).sum::<u64>(),
        "{context}"
    );

    // The sink lags, the engine stops with a checkpoint and goes on with other workers: events come out of sealed runs.
    for chunk in chunks.by_ref().take(2) {
        push(&source, chunk);
        settle(&mut engine, &source, &mut clock);
    }
    let total = expected(&plan, &disk, &source, engine.ledger().end()).len();
    stop(engine, &mut clock);
    let mut engine = harness::engine(&plan, &source, &disk, 1 + workers % 4);
    assert_eq!(archive.follow(&engine, &plan), total - accepted as usize, "{context}: exactly what was owed");
    for chunk in chunks {
        push(&source, chunk);
        settle(&mut engine, &source, &mut clock);
        archive.follow(&engine, &plan);
    }
    assert_eq!(archive.repeated, 0, "{context}: without a crash nothing comes twice");

    // A kill: the cursor is the checkpoint's again, so some come again, all as they were.
    engine.shut_down();
    let mut engine = harness::engine(&plan, &source, &disk, workers);
    settle(&mut engine, &source, &mut clock);
    archive.follow(&engine, &plan);
    assert_eq!(archive.repeated, archive.rows.len() - accepted as usize, "{context}: what the cursor had not passed");
    assert_archived(&context, &archive, &expected(&plan, &disk, &source, engine.ledger().end()));

    // Once the sink has all, a checkpoint leaves none behind, neither in memory nor in sealed runs.
    stop(engine, &mut clock);
    let engine = harness::engine(&plan, &source, &disk, 2);
    let (cut, _) = follower(&plan).cut(&engine.ledger(), &Cursor::default()).unwrap().unwrap();
    let left: Vec<_> = cut.events.iter().map(|row| row.version).collect();
    assert_eq!(left, [], "{context}: {} events are still in the ledger", left.len());
    engine.shut_down();
}

#[test]
fn a_sink_gets_every_accepted_event_once() {
    let seed = seed(1);
    for workers in 1..=4 {
        check(seed + workers as u64, workers);
    }
}

#[test]
fn a_stream_that_no_sink_archives_costs_nothing() {
    let plan = Arc::new(plan(Span::seconds(60), Span::seconds(5)));
    let (source, disk, mut clock) = (MemorySource::new("events", 1), Disk::default(), Clock::new());
    let mut engine = engine(&plan, &source, &disk, 1);
    push(&source, &stream(&mut Random::new(1), 50, 1, 60));
    settle(&mut engine, &source, &mut clock);
    assert_eq!(Archive::default().follow(&engine, &plan), 0);
    engine.shut_down();
}

/// A stream of arrays, or of padded events of its own, without views.
fn unviewed(explode: Option<&str>) -> Arc<Plan> {
    let at = |name: &str| Reference(format!("{}/{name}", if explode.is_some() { "." } else { "" }));
    let spec = DecoderSpec {
        format: Format::Json,
        max_bytes: 4 << 20,
        schema: None,
        schema_resources: BTreeMap::new(),
        explode: explode.map(Into::into),
        id: None,
        event_time: EventTimeSpec { at: Some(at("t")), format: TimeFormat::UnixMs, missing: Missing::DeadLetter },
        tables: vec![],
        lookups: vec![],
        fields: Some(vec![FieldSpec {
            name: "x".into(),
            from: FieldFrom::Reference(at("x")),
            field_type: Some(FieldType::Decimal(0)),
            excess_digits: ExcessDigits::Round,
            default: None,
        }]),
        filter: Some("x > 0.0".into()),
    };
    let decoder = Decoder::new(&spec).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    let mut plan = archived(Span::seconds(60));
    plan.views.clear();
    plan.streams.truncate(1);
    plan.streams[0].fields = decoder.fields().to_vec();
    plan.streams[0].deduplicate = None;
    plan.streams[0].from = StreamInput::Source(Arc::new(decoder));
    Arc::new(plan)
}

#[test]
fn the_bytes_of_an_array_are_kept_once() {
    let plan = unviewed(Some("/all"));
    let (source, disk, mut clock) = (MemorySource::new("events", 2), Disk::default(), Clock::new());
    let mut engine = engine(&plan, &source, &disk, 3);
    let element = |x: i64| format!(r#"{{"t":{},"x":{x}}}"#, START_US / 1000 + x);
    // Element 0 of the second is filtered: its first accepted one has the bytes.
    let bodies = [vec![1, 2, 3], vec![-1, 5, 6]]
        .map(|xs| format!(r#"{{"all":[{}]}}"#, xs.into_iter().map(element).collect::<Vec<_>>().join(",")));
    source.push_payload(0, bodies[0].clone());
    source.push_payload(1, bodies[1].clone());
    let settled = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let mut archive = Archive::default();
    while archive.rows.len() < 5 {
        assert!(std::time::Instant::now() < settled, "the events do not come");
        engine.discovered(0, caudal_pipeline::ports::source::Source::discover(&source).unwrap());
        clock.pass(100);
        engine.turn(clock.0, WAIT).unwrap();
        archive.follow(&engine, &plan);
    }
    let found: Vec<_> = archive
        .rows
        .values()
        .map(|row| (row.event.id.as_str(), row.event.payload.as_deref().map(|bytes| std::str::from_utf8(bytes).unwrap())))
        .collect();
    let (first, second) = (Some(bodies[0].as_str()), Some(bodies[1].as_str()));
    assert_eq!(found, [("0:0", first), ("0:0:1", None), ("0:0:2", None), ("1:0:1", second), ("1:0:2", None)]);
    engine.shut_down();
}

#[test]
fn a_sink_that_was_away_gets_events_in_pieces() {
    let plan = unviewed(None);
    let (source, disk, mut clock) = (MemorySource::new("events", 1), Disk::default(), Clock::new());
    let mut engine = engine(&plan, &source, &disk, 2);
    let pad = "p".repeat(3 << 20);
    for n in 0..14_u64 {
        source.push_payload(0, format!(r#"{{"t":{},"x":1,"pad":"{pad}"}}"#, START_US / 1000 + n as i64));
        if n % 2 == 1 {
            engine.discovered(0, caudal_pipeline::ports::source::Source::discover(&source).unwrap());
            until(&mut engine, &mut clock, 100, |engine| verdicts(engine).get(&(0, Verdict::Accepted)) == Some(&(n + 1)));
        }
        if n == 7 {
            engine.checkpoint();
        }
    }
    let (ledger, mut follower, mut cursor) = (engine.ledger(), follower(&plan), Cursor::default());
    let (mut offsets, mut pieces) = (vec![], vec![]);
    while let Some((cut, next)) = follower.cut(&ledger, &cursor).unwrap() {
        assert_eq!((cut.to, next.epoch), (ledger.end(), ledger.end()), "rows are not held back by events");
        assert!(!next.has_passed(cut.to) || next.events == cut.to);
        offsets.extend(cut.events.iter().map(|row| row.event.offset.0));
        pieces.push(cut.events.len());
        cursor = next;
    }
    assert_eq!(offsets, (0..14).collect::<Vec<_>>());
    assert_eq!(pieces, [6, 6, 2], "16 MiB and the rest of an epoch");
    assert!(cursor.has_passed(ledger.end()));
    engine.shut_down();
}
