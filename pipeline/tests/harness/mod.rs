//! What the oracle tests share: a random stream, a job with every kind of window, and a recomputation from nothing.
//!
//! The recomputation takes only the messages and what the commit log bound (which messages form an epoch, and W). From
//! those it decides every verdict and every row anew, by the plainest loops.
//!
//! The file stays whole because job, run and recomputation state the same rules and are read side by side.

#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a test is given a seed and has a deadline")]

mod disk;

pub use disk::*;

use caudal_pipeline::aggregate::{Acc, Aggregate};
use caudal_pipeline::decode::*;
use caudal_pipeline::engine::{Engine, EngineConfig, Now, Phase};
use caudal_pipeline::ledger::{RowKey, RowValue};
use caudal_pipeline::log::{Bind, Fingerprint, LogRecord};
use caudal_pipeline::operators::WindowAssigner;
use caudal_pipeline::plan::*;
use caudal_pipeline::ports::blobs::Blobs;
use caudal_pipeline::ports::memory::MemorySource;
use caudal_pipeline::ports::sink::RowState;
use caudal_pipeline::ports::source::Source;
use caudal_pipeline::record::*;
use caudal_pipeline::time::*;
use caudal_pipeline::value::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// xorshift64*: small, seeded, ours.
pub struct Random(pub u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// The seed of this run: `CAUDAL_SEED`, else the default; printed, so that a failure can be repeated.
pub fn seed(default: u64) -> u64 {
    let seed = std::env::var("CAUDAL_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(default);
    println!("seed {seed}");
    seed
}

pub const START_US: i64 = 1_774_656_000_000_000; // 2026-03-28T00:00:00Z, the day before the clocks change in Madrid

/// Messages of `count` events over `partitions`: shuffled by up to a minute, late, duplicated, in conflict, malformed.
pub fn stream(random: &mut Random, count: usize, partitions: usize, span_s: u64) -> Vec<(usize, Vec<u8>)> {
    let mut messages: Vec<(usize, Vec<u8>)> = Vec::new();
    for n in 0..count {
        let clock = START_US / 1000 + (n as i64 * span_s as i64 * 1000) / count as i64;
        let delay = match random.below(100) {
            0..70 => random.below(2_000),
            70..95 => random.below(60_000),
            _ => random.below(900_000),
        } as i64;
        let (id, group, x) = (n, random.below(4), random.below(2_000) as i64 - 1_000);
        let body = |x: i64| {
            format!(
                r#"{{"id":"e{id:06}","t":{},"g":"g{group}","h":{},"x":{}.{:02}}}"#,
                clock - delay,
                group % 2,
                x / 100,
                x.abs() % 100
            )
        };
        let partition = random.below(partitions as u64) as usize;
        messages.push((partition, body(x).into_bytes()));
        match random.below(100) {
            0..8 => messages.push((random.below(partitions as u64) as usize, body(x).into_bytes())),
            8..10 => messages.push((random.below(partitions as u64) as usize, body(x + 1).into_bytes())),
            10..12 => messages.push((partition, b"{\"id\": \"broken".to_vec())),
            12..14 if messages.len() > 20 => {
                let back = messages[messages.len() - 1 - random.below(20) as usize].clone();
                messages.push((random.below(partitions as u64) as usize, back.1));
            }
            _ => {}
        }
    }
    messages
}

/// The same events, several to a message.
pub fn in_batches(random: &mut Random, messages: Vec<(usize, Vec<u8>)>) -> Vec<(usize, Vec<u8>)> {
    let mut batches = Vec::new();
    let mut rest = &messages[..];
    while !rest.is_empty() {
        let (batch, left) = rest.split_at((1 + random.below(4) as usize).min(rest.len()));
        rest = left;
        let events: Vec<&str> = batch.iter().map(|(_, payload)| std::str::from_utf8(payload).unwrap()).collect();
        batches.push((batch[0].0, format!(r#"{{"site":"s","events":[{}]}}"#, events.join(",")).into_bytes()));
    }
    batches
}

/// What varies from job to job.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub lateness: Span,
    /// `None`: the id is the origin.
    pub scope: Option<DeduplicateScope>,
    /// Events come in arrays.
    pub explode: bool,
    /// What is counted.
    pub filter: &'static str,
}

impl Shape {
    pub fn new(lateness: Span) -> Shape {
        Shape { lateness, scope: Some(DeduplicateScope::Stream), explode: false, filter: "x > -9.0" }
    }
}

fn units() -> TablePlan {
    let text = |name: &str| Field { name: name.into(), field_type: FieldType::Text };
    TablePlan { name: "units".into(), key: vec!["g".into()], columns: vec![text("g"), text("site")] }
}

/// The table's rows; `g3` is in none, and where `g0` stands changes with the version.
pub fn table_rows(version: u64) -> Vec<Vec<Vec<Option<String>>>> {
    let row = |g: &str, site: String| vec![Some(g.to_owned()), Some(site)];
    vec![vec![row("g0", format!("north{version}")), row("g1", "south".into()), row("g2", "south".into())]]
}

pub fn decoder(shape: Shape) -> Decoder {
    let at = |name: &str| Reference(format!("{}/{name}", if shape.explode { "." } else { "" }));
    let plain = |name: &str, from, field_type| FieldSpec {
        name: name.into(),
        from,
        field_type,
        excess_digits: ExcessDigits::Round,
        default: None,
    };
    let field = |name: &str, field_type| plain(name, FieldFrom::Reference(at(name)), Some(field_type));
    let spec = DecoderSpec {
        format: Format::Json,
        max_bytes: 1 << 20,
        schema: None,
        schema_resources: BTreeMap::new(),
        explode: shape.explode.then(|| "/events".into()),
        id: shape.scope.map(|_| vec![at("id")]),
        event_time: EventTimeSpec { at: Some(at("t")), format: TimeFormat::UnixMs, missing: Missing::DeadLetter },
        tables: vec![units()],
        lookups: vec![LookupSpec { alias: "unit".into(), table: 0, key: vec![at("g")] }],
        fields: Some(vec![
            field("g", FieldType::Text),
            field("h", FieldType::Decimal(0)),
            field("x", FieldType::Decimal(2)),
            plain("site", FieldFrom::Expr("unit.site".into()), None),
        ]),
        filter: Some(shape.filter.into()),
    };
    Decoder::new(&spec).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
}

/// The child stream: negative readings, twice as large.
fn derivation(parent: &[Field]) -> Derivation {
    let field = |name: &str, from| FieldSpec {
        name: name.into(),
        from,
        field_type: None,
        excess_digits: ExcessDigits::Round,
        default: None,
    };
    let spec = DerivationSpec {
        parent: parent.to_vec(),
        fields: Some(vec![
            field("site", FieldFrom::Reference(Reference("site".into()))),
            field("x", FieldFrom::Expr("x * 2".into())),
            field("g", FieldFrom::Reference(Reference("g".into()))),
        ]),
        filter: Some("x < 0.0".into()),
    };
    Derivation::new(&spec).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
}

pub const AGGREGATES: [&str; 16] = [
    "count()",
    "sum(x)",
    "mean(x)",
    "variance(x)",
    "stddev(x)",
    "min(x)",
    "max(x)",
    "arg_min(x, g)",
    "arg_max(x, g)",
    "first(x)",
    "last(x)",
    "distinct(x, max: 5)",
    "approx_distinct(x)",
    "approx_quantile(x, 0.9)",
    "top_k(x, 3)",
    "ids(4)",
];

fn view(name: &str, stream: usize, from: ViewInput, window: WindowPlan, group: &[&Field], aggregates: &[Aggregate]) -> ViewPlan {
    let columns = aggregates.iter().enumerate().flat_map(|(n, a)| a.columns(&format!("c{n}"))).collect();
    let group = group.iter().map(|field| (*field).clone()).collect();
    ViewPlan { name: name.into(), from, stream, window, group, aggregates: aggregates.to_vec(), columns }
}

/// [`plan_of`] with ids of the stream and one event a message.
pub fn plan(lateness: Span, max_delay: Span) -> Plan {
    plan_of(Shape::new(lateness), max_delay)
}

/// A stream with a look-up, a stream made from it, and views of every kind; every aggregate in each view.
pub fn plan_of(shape: Shape, max_delay: Span) -> Plan {
    let decoder = decoder(shape);
    let fields = decoder.fields().to_vec();
    let derivation = derivation(&fields);
    let child = derivation.fields().to_vec();
    let compile =
        |fields: &[Field]| -> Vec<Aggregate> { AGGREGATES.iter().map(|text| Aggregate::parse(text, fields).unwrap()).collect() };
    let (aggregates, of_child) = (compile(&fields), compile(&child));
    let (g, h, site) = (&fields[0], &fields[1], &fields[3]);
    let on = |stream, group_by: &[usize]| ViewInput::Stream { stream, group_by: group_by.to_vec() };
    let all: Vec<usize> = (0..aggregates.len()).collect();
    let up = |view, group_by: &[usize]| ViewInput::View { view, group_by: group_by.to_vec(), merge: all.clone() };
    let madrid = || WindowPlan::Calendar { unit: CalendarUnit::Day, zone: "Europe/Madrid".into() };
    let tumbling = |seconds| WindowPlan::Tumbling { size: Span::seconds(seconds) };
    let session = || WindowPlan::Session { gap: Span::seconds(20) };
    let sliding = WindowPlan::Sliding { size: Span::seconds(300), every: Span::seconds(60) };
    let views = vec![
        view("minute", 0, on(0, &[0, 1]), tumbling(60), &[g, h], &aggregates),
        view("hour", 0, up(0, &[1]), tumbling(3600), &[h], &aggregates),
        view("day", 0, up(1, &[]), madrid(), &[], &aggregates),
        view("sliding", 0, on(0, &[1]), sliding, &[h], &aggregates),
        view("session", 0, on(0, &[0]), session(), &[g], &aggregates),
        view("local_day", 0, on(0, &[]), madrid(), &[], &aggregates),
        view("ever", 0, on(0, &[0]), WindowPlan::Unwindowed, &[g], &aggregates),
        view("ever_of_minutes", 0, up(0, &[0]), WindowPlan::Unwindowed, &[g], &aggregates),
        view("site_minute", 0, on(0, &[3]), tumbling(60), &[site], &aggregates),
        view("cold_session", 1, on(1, &[2]), session(), &[&child[2]], &of_child),
        view("cold_minute", 1, on(1, &[0, 2]), tumbling(60), &[&child[0], &child[2]], &of_child),
        view("cold_hour", 1, up(10, &[0]), tumbling(3600), &[&child[0]], &of_child),
    ];
    let watermark = WatermarkPlan {
        max_delay,
        idle_after: Span::seconds(30),
        max_future: Span::seconds(1 << 30),
        max_ahead: Span::seconds(1 << 30),
        advance_when_all_idle: true,
    };
    let deduplicate = shape.scope.map(|scope| Deduplicate { within: shape.lateness, scope });
    let stream = |name: &str, from, fields, deduplicate| StreamPlan {
        name: name.into(),
        from,
        fields,
        deduplicate,
        watermark,
        lateness: shape.lateness,
        archived: false,
    };
    Plan {
        name: "oracle".into(),
        limits: Limits::default(),
        tables: vec![units()],
        streams: vec![
            stream("events", StreamInput::Source(Arc::new(decoder)), fields, deduplicate),
            stream("cold", StreamInput::Stream(0, Arc::new(derivation)), child, None),
        ],
        views,
    }
}

/// What an engine of these tests runs with. The sink `history` never moves, so that the ledger keeps everything.
pub fn config(plan: &Arc<Plan>, source: &MemorySource, disk: &Disk, workers: usize) -> EngineConfig {
    let sources: BTreeMap<u32, Arc<dyn Source>> = BTreeMap::from([(0, Arc::new(source.clone()) as Arc<dyn Source>)]);
    EngineConfig {
        plan: plan.clone(),
        fingerprint: Fingerprint { job: 7, build: 1 },
        workers,
        blobs: Arc::new(disk.clone()),
        sources,
        tables: table_rows(1),
        checkpoint_every: Span::seconds(3600),
        in_flight_bytes_max: 1 << 30,
        retain: (0..plan.views.len()).map(|view| (view, None)).collect(),
        sinks: vec!["history".into()],
    }
}

pub fn engine(plan: &Arc<Plan>, source: &MemorySource, disk: &Disk, workers: usize) -> Engine {
    started(config(plan, source, disk, workers))
}

/// Starts an engine whose end does not wait for its sink, which these tests have only by name.
pub fn started(config: EngineConfig) -> Engine {
    let mut engine = Engine::start(config).unwrap();
    engine.do_not_wait_for_sinks();
    engine
}

/// A clock that the test moves.
#[derive(Clone, Copy)]
pub struct Clock(pub Now);

impl Clock {
    pub fn new() -> Clock {
        Clock(Now { wall_us: START_US, running_us: 0 })
    }
    pub fn pass(&mut self, ms: i64) {
        self.0.wall_us += ms * 1000;
        self.0.running_us += ms * 1000;
    }
}

pub const WAIT: Duration = Duration::from_millis(1);

/// One turn. Time passes only while a single epoch is open, so that however slow the machine is, an epoch gets into the
/// ledger before the next one can end.
pub fn step(engine: &mut Engine, clock: &mut Clock, ms: i64) {
    if engine.status().open_epochs <= 1 {
        clock.pass(ms);
    }
    engine.turn(clock.0, WAIT).unwrap();
}

/// Turns the engine, `ms` at a time, until `reached`.
pub fn until(engine: &mut Engine, clock: &mut Clock, ms: i64, reached: impl Fn(&Engine) -> bool) {
    until_watched(engine, clock, ms, reached, |_| {});
}

/// [`until`], with a look at the engine after every turn.
pub fn until_watched(
    engine: &mut Engine,
    clock: &mut Clock,
    ms: i64,
    reached: impl Fn(&Engine) -> bool,
    mut look: impl FnMut(&Engine),
) {
    let deadline = std::time::Instant::now() + Duration::from_secs(300);
    while !reached(engine) {
        assert!(std::time::Instant::now() < deadline, "it is not reached: {:?}", engine.status());
        step(engine, clock, ms);
        look(engine);
    }
}

/// Turns the engine until the ledger holds everything that was pushed and bound.
pub fn settle(engine: &mut Engine, source: &MemorySource, clock: &mut Clock) {
    settle_watched(engine, source, clock, |_| {});
}

/// [`settle`], with a look at the engine after every turn.
pub fn settle_watched(engine: &mut Engine, source: &MemorySource, clock: &mut Clock, mut look: impl FnMut(&Engine)) {
    engine.discovered(0, source.discover().unwrap());
    let (deadline, expected) = (std::time::Instant::now() + Duration::from_secs(300), received(source));
    let mut quiet_epochs = BTreeSet::new();
    // Two epochs that saw nothing new: the second began after everything was read.
    while quiet_epochs.len() < 2 {
        assert!(std::time::Instant::now() < deadline, "the engine does not settle: {:?}", engine.status());
        step(engine, clock, 100);
        look(engine);
        engine.discovered(0, source.discover().unwrap());
        let status = engine.status();
        if engine.phase() == Phase::Live && status.quiet && total(&status.counts) == expected {
            quiet_epochs.insert(status.epoch);
        }
    }
}

/// Records of the source stream that have their verdict.
fn total(counts: &caudal_pipeline::operators::collect::Counts) -> u64 {
    counts.iter().filter(|((stream, _), _)| *stream == 0).map(|(_, (records, _))| records).sum()
}

/// Records that will have one: each has an id, and a message that is broken as a whole counts once.
fn received(source: &MemorySource) -> u64 {
    let records = |message: Message| {
        let payload = message.payload.unwrap();
        let broken = payload.windows(7).any(|at| at == b"\"broken");
        if broken { 1 } else { payload.windows(5).filter(|at| at == b"\"id\":").count() as u64 }
    };
    (0..source.discover().unwrap().len()).flat_map(|p| source.messages(p)).map(records).sum()
}

/// Verdicts by stream.
pub type Verdicts = BTreeMap<(u32, Verdict), u64>;

/// Verdicts so far, as the engine counts them.
pub fn verdicts(engine: &Engine) -> Verdicts {
    engine.status().counts.iter().map(|(key, (records, _))| (*key, *records)).collect()
}

/// The accepted records so far, by the plainest reading of the rules.
pub struct Oracle {
    plan: Arc<Plan>,
    disk: Disk,
    /// By id and, where ids belong to partitions, by partition.
    known: BTreeMap<(u32, String), u64>,
    /// By stream.
    pub accepted: Vec<Vec<Record>>,
    pub counts: Verdicts,
    watermark: EventTime,
    next: Vec<u64>,
    names: Vec<Partition>,
}

impl Oracle {
    /// `disk` is where the versions of the table are.
    pub fn new(plan: &Arc<Plan>, disk: &Disk) -> Oracle {
        Oracle {
            plan: plan.clone(),
            disk: disk.clone(),
            known: BTreeMap::new(),
            accepted: vec![vec![]; plan.streams.len()],
            counts: BTreeMap::new(),
            watermark: EventTime::MIN,
            next: vec![],
            names: vec![],
        }
    }

    /// Takes one bound epoch. Returns whether anything that rows depend on has changed.
    pub fn epoch(&mut self, bind: &Bind, source: &MemorySource) -> bool {
        let stream = &bind.streams[0];
        for (partition, start) in &stream.added {
            self.names.push(partition.clone());
            self.next.push(start.0);
        }
        let mut records = self.decode(bind, source);
        records.sort_by_key(|record| record.as_ref().map_or(Origin::default(), |r| r.origin));
        let changed = !records.is_empty() || stream.watermark != self.watermark;
        for record in records {
            let verdict = match record {
                Err((_, rejection)) => Verdict::Rejected(rejection.reason),
                Ok(record) => self.judge(record),
            };
            *self.counts.entry((0, verdict)).or_default() += 1;
        }
        self.watermark = stream.watermark;
        changed
    }

    fn decode(&mut self, bind: &Bind, source: &MemorySource) -> Vec<Result<Record, (u32, caudal_pipeline::record::Rejection)>> {
        let StreamInput::Source(decoder) = &self.plan.streams[0].from else { panic!("the first stream has a source") };
        let rows: Vec<_> = postcard::from_bytes(&self.disk.read(&format!("tables/{:016x}", bind.tables)).unwrap()).unwrap();
        let tables = Tables::new(&self.plan.tables, &rows).unwrap();
        let mut records = Vec::new();
        for bound in &bind.streams[0].partitions {
            let at = bound.index.0 as usize;
            let messages = source.messages(self.names[at].number as usize);
            for message in &messages[self.next[at] as usize..][..bound.count as usize] {
                let partition = &self.names[at];
                let context =
                    caudal_pipeline::decode::Context { index: bound.index, partition, opened: bind.opened, tables: &tables };
                decoder.decode(message, &context, &mut records);
            }
            self.next[at] += bound.count;
        }
        records
    }

    fn judge(&mut self, record: Record) -> Verdict {
        if record.event_time.0 + self.plan.streams[0].lateness.0 <= self.watermark.0 {
            return Verdict::Rejected(Reason::TooLate);
        }
        if let (Some(deduplicate), Id::Given(id)) = (self.plan.streams[0].deduplicate, &record.id) {
            let table = if deduplicate.scope == DeduplicateScope::Partition { record.origin.partition.0 } else { 0 };
            match self.known.get(&(table, id.to_string())) {
                Some(content) if *content == record.content => return Verdict::Duplicate,
                Some(_) => return Verdict::Rejected(Reason::Conflict),
                None => drop(self.known.insert((table, id.to_string()), record.content)),
            }
        }
        if !record.passes {
            return Verdict::Filtered;
        }
        self.derive(&record);
        self.accepted[0].push(record);
        Verdict::Accepted
    }

    fn derive(&mut self, parent: &Record) {
        let StreamInput::Stream(0, derivation) = &self.plan.streams[1].from else { panic!("the second stream is its child") };
        let (values, passes) = derivation.derive(parent).unwrap();
        let verdict = if passes { Verdict::Accepted } else { Verdict::Filtered };
        *self.counts.entry((1, verdict)).or_default() += 1;
        if passes {
            self.accepted[1].push(Record { values, ..parent.clone() });
        }
    }

    /// Every row of every view, from nothing.
    pub fn rows(&self) -> BTreeMap<RowKey, Vec<Cell>> {
        let mut rows = BTreeMap::new();
        for index in 0..self.plan.views.len() {
            for ((start, end, group), records) in self.windows(index) {
                let view = &self.plan.views[index];
                let mut cells = vec![];
                for aggregate in &view.aggregates {
                    let mut acc: Acc = aggregate.empty();
                    records.iter().for_each(|record| aggregate.insert(&mut acc, record));
                    aggregate.finish(&acc, &mut cells);
                }
                let group = caudal_pipeline::group::Group::of(&group);
                rows.insert(RowKey { view: index as u32, end, group, start }, cells);
            }
        }
        rows
    }

    /// The records of each window and group of a view. A roll-up is what it would be over the records themselves.
    fn windows(&self, index: usize) -> BTreeMap<(EventTime, EventTime, Vec<Value>), Vec<&Record>> {
        let view = &self.plan.views[index];
        let (group_by, accepted) = (self.group_by(index), &self.accepted[view.stream]);
        let group_of = |r: &Record| group_by.iter().map(|slot| r.values[*slot].clone()).collect::<Vec<_>>();
        let mut windows: BTreeMap<_, Vec<&Record>> = BTreeMap::new();
        match &view.window {
            WindowPlan::Sliding { size, every } => {
                for record in accepted {
                    let mut end = (record.event_time.0.div_euclid(every.0) + 1) * every.0;
                    while end - size.0 <= record.event_time.0 {
                        if end <= self.watermark.0 {
                            windows.entry((EventTime(end - size.0), EventTime(end), group_of(record))).or_default().push(record);
                        }
                        end += every.0;
                    }
                }
            }
            WindowPlan::Session { gap } => {
                let mut by_group: BTreeMap<Vec<Value>, Vec<&Record>> = BTreeMap::new();
                accepted.iter().for_each(|r| by_group.entry(group_of(r)).or_default().push(r));
                for (group, mut records) in by_group {
                    records.sort_by_key(|r| r.event_time);
                    for run in records.chunk_by(|a, b| b.event_time.0 < a.event_time.0 + gap.0) {
                        let (start, last) = (run[0].event_time, run[run.len() - 1].event_time);
                        windows.insert((start, EventTime(last.0 + gap.0), group.clone()), run.to_vec());
                    }
                }
            }
            fixed => {
                let mut assigner = WindowAssigner::new(fixed);
                for record in accepted {
                    let (start, end) = assigner.assign(record.event_time);
                    windows.entry((start, end, group_of(record))).or_default().push(record);
                }
            }
        }
        windows
    }

    /// Positions in the stream's fields that a view groups by, through roll-ups.
    fn group_by(&self, index: usize) -> Vec<usize> {
        match &self.plan.views[index].from {
            ViewInput::Stream { group_by, .. } => group_by.clone(),
            ViewInput::View { view, group_by, .. } => {
                let lower = self.group_by(*view);
                group_by.iter().map(|at| lower[*at]).collect()
            }
        }
    }
}

/// Everything that was ever bound.
pub fn binds(disk: &Disk) -> Vec<Bind> {
    disk.history().into_iter().filter_map(|(_, r)| if let LogRecord::Bind(bind) = r { Some(bind) } else { None }).collect()
}

/// The rows that a reader sees: gone ones left out.
pub fn visible(engine: &Engine, views: usize) -> BTreeMap<RowKey, Vec<Cell>> {
    let rows = (0..views as u32).flat_map(|view| engine.ledger().rows(view).unwrap());
    rows.filter(|(_, _, value)| value.state != RowState::Gone).map(|(key, _, value)| (key, value.cells)).collect()
}

/// Every row with its version and value, gone ones too: what must be the same in every incarnation.
pub fn bytes(engine: &Engine, views: usize) -> BTreeMap<RowKey, (Version, RowValue)> {
    let rows = (0..views as u32).flat_map(|view| engine.ledger().rows(view).unwrap());
    rows.map(|(key, version, value)| (key, (version, value))).collect()
}

/// Fails with the first rows that differ, in words.
pub fn assert_same(context: &str, found: &BTreeMap<RowKey, Vec<Cell>>, expected: &BTreeMap<RowKey, Vec<Cell>>, plan: &Plan) {
    let keys: BTreeSet<&RowKey> = found.keys().chain(expected.keys()).collect();
    let differs: Vec<String> = keys
        .into_iter()
        .filter(|key| found.get(key) != expected.get(key))
        .take(3)
        .map(|key| {
            let name = &plan.views[key.view as usize].name;
            let at = format!("{name} {:?} [{}, {})", key.group.values(), key.start, key.end);
            format!("{at}\n  found    {:?}\n  expected {:?}", found.get(key), expected.get(key))
        })
        .collect();
    assert!(differs.is_empty(), "{context}:\n{}", differs.join("\n"));
}
