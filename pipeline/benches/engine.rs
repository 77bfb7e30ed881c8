//! How many JSON events a second become exact windowed results, and what share of the unavoidable work is that?
//!
//! `cargo bench -p caudal-pipeline --bench engine`
//!
//! The events lie in memory; a result is a row in the ledger. The job: remember ids for ten minutes, count and mean by
//! minute and group. In the same run, on the same bytes:
//!
//! - *poll and parse, nothing else*, with `serde_json::Value` and with the decoder's own parser: the floors,
//! - *decode*: the stream's whole decoder, on one thread,
//! - *plain loop*: `serde_json::Value`, a hash set of ids, a hash map of sums; no time, lateness, state, log or ledger.
//!
//! `cargo bench -p caudal-pipeline --bench engine -- engine2` runs one of them: for a profiler.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark has a clock, and its baseline the standard's maps"
)]

use caudal_pipeline::aggregate::Aggregate;
use caudal_pipeline::decode::*;
use caudal_pipeline::engine::{Engine, EngineConfig, Now};
use caudal_pipeline::hash::HashedMap;
use caudal_pipeline::log::Fingerprint;
use caudal_pipeline::plan::*;
use caudal_pipeline::ports::blobs::MemoryBlobs;
use caudal_pipeline::ports::memory::MemorySource;
use caudal_pipeline::ports::source::{Reader, Source};
use caudal_pipeline::record::{Id, Message, Offset, PartitionIndex};
use caudal_pipeline::time::{Epoch, Span};
use caudal_pipeline::value::{Field, FieldType};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

const SEED: u64 = 1;
const EVENTS: usize = 600_000;
const PARTITIONS: usize = 4;
/// Events for each second of event time.
const RATE: usize = 2_000;
const GROUPS: u64 = 100;
/// Repeats among a hundred events.
const REPEATS: u64 = 3;
const START_MS: i64 = 1_774_656_000_000;
const LATENESS: Span = Span::seconds(600);
/// Ids for the figure of bytes an id.
const IDS: usize = 2_000_000;

fn main() {
    let only = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    let source = source();
    println!("{EVENTS} events of {} bytes, {PARTITIONS} partitions, {GROUPS} groups, seed {SEED}", event_bytes(&source));
    let floor = wanted("value").then(|| report("poll and parse, serde_json::Value", None, timed(|| parse_values(&source))));
    if wanted("parser") {
        report("poll and parse, the decoder's parser", floor, timed(|| decode(&source, &decoder(false))));
    }
    if wanted("decode") {
        report("poll and decode, one thread", floor, timed(|| decode(&source, &decoder(true))));
    }
    if wanted("plain") {
        report("plain loop with hash maps, one thread", floor, timed(|| plain_loop(&source)));
    }
    for workers in [1, 2] {
        if wanted(&format!("engine{workers}")) {
            let mut latencies = Vec::new();
            report(&format!("engine, {workers} worker(s)"), floor, timed(|| engine(&source, workers, &mut latencies)));
            latencies.sort_unstable();
            let at = |percent: usize| latencies[latencies.len() * percent / 100] / 1_000;
            println!("    opening of an epoch to its rows in the ledger: p50 {} ms, p99 {} ms", at(50), at(99));
        }
    }
    if wanted("ids") {
        println!("{:.1} bytes a remembered id; {} MB resident in all", bytes_per_id(), resident_mb());
    }
}

fn timed(run: impl FnOnce() -> usize) -> f64 {
    let began = Instant::now();
    let events = run();
    events as f64 / began.elapsed().as_secs_f64()
}

fn report(what: &str, floor: Option<f64>, per_second: f64) -> f64 {
    let ratio = floor.map_or(String::new(), |floor| format!("{:.2} of the floor", per_second / floor));
    println!("{what:<40} {:>10.0} events/s   {ratio}", per_second);
    per_second
}

/// xorshift64*: seeded, so that every run reads the same bytes.
fn random(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11
}

fn source() -> MemorySource {
    let (source, mut state) = (MemorySource::new("events", PARTITIONS), SEED.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut payload = String::new();
    for n in 0..EVENTS {
        if n == 0 || random(&mut state) % 100 >= REPEATS {
            let at = START_MS + (n * 1000 / RATE) as i64 - (random(&mut state) % 2_000) as i64;
            let (group, x) = (random(&mut state) % GROUPS, random(&mut state) % 100_000);
            payload = format!(
                r#"{{"id":"{n:08x}-0000-4000-8000-{:012x}","t":{at},"station":"station-{group}","reading":{}.{:03},"unit":"kW","ok":true}}"#,
                random(&mut state) & 0xffff_ffff_ffff,
                x / 1000,
                x % 1000
            );
        }
        source.push_payload(n % PARTITIONS, payload.clone());
    }
    source.finish();
    source
}

fn event_bytes(source: &MemorySource) -> usize {
    source.messages(0)[0].len_bytes()
}

/// Every message through a reader, as a worker gets them.
fn poll(source: &MemorySource, mut each: impl FnMut(PartitionIndex, Message)) -> usize {
    let mut reader = source.reader().expect("memory can be read");
    for (at, found) in source.discover().expect("memory can be listed").into_iter().enumerate() {
        reader.assign(PartitionIndex(at as u32), &found.partition, Offset(0)).expect("it exists");
    }
    let (mut polled, mut count) = (Vec::new(), 0);
    loop {
        Reader::poll(&mut *reader, 256 * 1024, &mut polled).expect("memory can be read");
        if polled.is_empty() {
            return count;
        }
        count += polled.len();
        polled.drain(..).for_each(|(index, message)| each(index, message));
    }
}

fn value(message: &Message) -> serde_json::Value {
    serde_json::from_slice(message.payload.as_deref().expect("it has a body")).expect("it is JSON")
}

fn parse_values(source: &MemorySource) -> usize {
    poll(source, |_, message| drop(std::hint::black_box(value(&message))))
}

fn decode(source: &MemorySource, decoder: &Decoder) -> usize {
    let found = source.discover().expect("memory can be listed");
    let (mut out, tables) = (Vec::new(), Tables::default());
    poll(source, |index, message| {
        let partition = &found[index.0 as usize].partition;
        let context = Context { index, partition, opened: caudal_pipeline::time::Version(0), tables: &tables };
        decoder.decode(&message, &context, &mut out);
        std::hint::black_box(&out);
        out.clear();
    })
}

fn plain_loop(source: &MemorySource) -> usize {
    let (mut ids, mut rows) = (HashSet::new(), HashMap::<(i64, String), (u64, f64)>::new());
    let count = poll(source, |_, message| {
        let event = value(&message);
        if ids.insert(event["id"].as_str().expect("a text").to_owned()) {
            let minute = event["t"].as_i64().expect("a time") / 60_000;
            let row = rows.entry((minute, event["station"].as_str().expect("a text").to_owned())).or_default();
            *row = (row.0 + 1, row.1 + event["reading"].as_f64().expect("a number"));
        }
    });
    std::hint::black_box(rows);
    count
}

/// The stream's decoder, or one that only parses.
fn decoder(whole: bool) -> Decoder {
    let at = |text: &str| Reference(text.into());
    let field = |name: &str, field_type| FieldSpec {
        name: name.into(),
        from: FieldFrom::Reference(at(&format!("/{name}"))),
        field_type: Some(field_type),
        excess_digits: ExcessDigits::Round,
        default: None,
    };
    let fields = if whole { vec![field("station", FieldType::Text), field("reading", FieldType::Decimal(3))] } else { vec![] };
    let spec = DecoderSpec {
        format: Format::Json,
        max_bytes: 1 << 20,
        schema: None,
        schema_resources: BTreeMap::new(),
        explode: None,
        id: whole.then(|| vec![at("/id")]),
        event_time: EventTimeSpec { at: whole.then(|| at("/t")), format: TimeFormat::UnixMs, missing: Missing::Received },
        tables: vec![],
        lookups: vec![],
        fields: Some(fields),
        filter: None,
    };
    Decoder::new(&spec).expect("the spec is right")
}

fn plan() -> Plan {
    let decoder = decoder(true);
    let fields: Vec<Field> = decoder.fields().to_vec();
    let aggregates: Vec<Aggregate> =
        ["count()", "mean(reading)"].iter().map(|text| Aggregate::parse(text, &fields).expect("it is right")).collect();
    let view = ViewPlan {
        name: "minute".into(),
        from: ViewInput::Stream { stream: 0, group_by: vec![0] },
        stream: 0,
        window: WindowPlan::Tumbling { size: Span::seconds(60) },
        group: vec![fields[0].clone()],
        columns: aggregates.iter().zip(["n", "mean"]).flat_map(|(aggregate, name)| aggregate.columns(name)).collect(),
        aggregates,
    };
    let stream = StreamPlan {
        name: "events".into(),
        from: StreamInput::Source(Arc::new(decoder)),
        fields,
        deduplicate: Some(Deduplicate { within: LATENESS, scope: DeduplicateScope::Stream }),
        watermark: WatermarkPlan {
            max_delay: Span::seconds(5),
            idle_after: Span::seconds(30),
            max_future: Span::seconds(1 << 40),
            max_ahead: LATENESS,
            advance_when_all_idle: true,
        },
        lateness: LATENESS,
        archived: false,
    };
    Plan { name: "bench".into(), limits: Limits::default(), tables: vec![], streams: vec![stream], views: vec![view] }
}

/// From the first poll to the last row in the ledger. The microseconds from each epoch's opening to its rows go to
/// `latencies`.
fn engine(source: &MemorySource, workers: usize, latencies: &mut Vec<i64>) -> usize {
    let config = EngineConfig {
        plan: Arc::new(plan()),
        fingerprint: Fingerprint::default(),
        workers,
        blobs: Arc::new(MemoryBlobs::default()),
        sources: BTreeMap::from([(0, Arc::new(source.clone()) as Arc<dyn Source>)]),
        tables: vec![],
        checkpoint_every: Span::seconds(3_600),
        in_flight_bytes_max: 256 << 20,
        retain: BTreeMap::new(),
        sinks: vec![],
    };
    let (began, wall) = (Instant::now(), START_MS * 1000);
    let now = || {
        let running_us = began.elapsed().as_micros() as i64;
        Now { wall_us: wall + running_us, running_us }
    };
    let mut engine = Engine::start(config).expect("it starts");
    engine.discovered(0, source.discover().expect("memory can be listed"));
    let (mut end, mut done) = (Epoch(0), 0);
    while done < EVENTS as u64 {
        engine.turn(now(), Duration::from_millis(5)).expect("it goes on");
        let status = engine.status();
        if status.epoch > end {
            end = status.epoch;
            latencies.push(now().wall_us - status.opened.0);
            done = status.counts.values().map(|(records, _)| records).sum();
        }
    }
    engine.shut_down();
    done as usize
}

/// Of the table that remembers ids, filled one by one.
fn bytes_per_id() -> f64 {
    let mut ids: HashedMap<u64> = HashedMap::default();
    for n in 0..IDS {
        let hash = Id::Given(format!("{n}").into()).hash();
        ids.insert([hash as u64, (hash >> 64) as u64], 0);
    }
    ids.allocation_size() as f64 / IDS as f64
}

/// Resident memory of this process, where the system tells.
fn resident_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) / 1024
}
