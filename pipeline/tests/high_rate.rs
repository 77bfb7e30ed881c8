//! Memory at a high rate: over an hour of event time with a thousand records a second, what is held stays as large as
//! the horizons make it, and below the bound that is told before the start.
//!
//! Messages are made when they are read, from their place alone, so that the input takes no memory. Beside what the
//! engine says of itself the process is asked for its resident memory; the blobs, which would lie on a disk, are in it.

mod harness;

use caudal_pipeline::bound::{Setting, bound, in_flight_bytes_max, total};
use caudal_pipeline::engine::{Engine, EngineConfig, Status};
use caudal_pipeline::ledger::{Cursor, Emission, Follower, Kept};
use caudal_pipeline::log::Fingerprint;
use caudal_pipeline::plan::{Limits, Plan, ViewInput};
use caudal_pipeline::ports::blobs::MemoryBlobs;
use caudal_pipeline::ports::made::MadeSource;
use caudal_pipeline::ports::source::Source;
use caudal_pipeline::record::{Message, Offset, Reason, Verdict};
use caudal_pipeline::time::Span;
use harness::{Clock, Random, START_US, plan, seed, table_rows};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Records for each second of event time. Tests run the engine without optimisation: with more it would take minutes.
const RATE: u64 = 1_000;
const MINUTES: u64 = 60;
const PARTITIONS: u64 = 4;
const GROUPS: u64 = 8;
/// Of the four quarters the first one fills the horizons.
const QUARTER: usize = MINUTES as usize / 4;
const LATENESS: Span = Span::seconds(30);
const MAX_DELAY: Span = Span::seconds(5);
const MEBIBYTE: u64 = 1 << 20;

/// Messages by place.
struct Firehose {
    seed: u64,
}

impl Firehose {
    /// One in ten is up to 30 s late and corrects, one in five hundred too late, one in twenty repeats an earlier one.
    fn message(&self, partition: u64, mut offset: u64) -> Message {
        let wanted = offset;
        let mut random = self.random(partition, offset);
        while random.chance(5) && offset > 0 {
            offset -= 1 + random.below(offset.min(100));
            random = self.random(partition, offset);
        }
        let n = offset * PARTITIONS + partition;
        let late = match random.below(1_000) {
            0..2 => 60_000,
            2..100 => random.below(30_000),
            _ => random.below(2_000),
        };
        let at = START_US / 1000 + (n * 1000 / RATE) as i64 - late as i64;
        let (group, x) = (random.below(GROUPS), random.below(2_000) as i64 - 1_000);
        let payload = format!(r#"{{"id":"{n:012}","t":{at},"g":"g{group}","h":{},"x":{x}e-2}}"#, group % 2);
        Message { offset: Offset(wanted), payload: Some(payload.into_bytes()), ..Message::default() }
    }

    fn random(&self, partition: u64, offset: u64) -> Random {
        let mut random = Random::new(self.seed ^ (offset * PARTITIONS + partition + 1));
        random.next();
        random
    }
}

/// Minutes and hours of each group, and a row for ever: a few of the aggregates, and everything that a bound needs.
fn limited_plan() -> Plan {
    const TAKEN: [usize; 4] = [0, 2, 8, 15];
    let mut plan = plan(LATENESS, MAX_DELAY);
    plan.streams.truncate(1);
    plan.streams[0].watermark.max_ahead = LATENESS;
    plan.views.retain(|view| ["minute", "hour", "ever"].contains(&view.name.as_str()));
    for view in &mut plan.views {
        view.aggregates = TAKEN.iter().map(|at| view.aggregates[*at].clone()).collect();
        view.columns = view.aggregates.iter().enumerate().flat_map(|(n, a)| a.columns(&format!("c{n}"))).collect();
        if let ViewInput::View { merge, .. } = &mut view.from {
            *merge = (0..TAKEN.len()).collect();
        }
    }
    plan.limits = Limits { memory_bytes: Some(512 * MEBIBYTE), events_per_s: Some(RATE), groups: Some(2 * GROUPS) };
    plan
}

/// What is held at one moment, in bytes.
#[derive(Clone, Debug, Default)]
struct Held {
    /// As saved in the newest checkpoint, by operator.
    state: BTreeMap<String, u64>,
    windows: u64,
    ledger: u64,
    resident: u64,
}

impl Held {
    fn most(mut self, other: &Held) -> Held {
        for (operator, bytes) in &other.state {
            let most = self.state.entry(operator.clone()).or_default();
            *most = (*most).max(*bytes);
        }
        self.windows = self.windows.max(other.windows);
        self.ledger = self.ledger.max(other.ledger);
        self.resident = self.resident.max(other.resident);
        self
    }
}

/// Resident memory of this process.
#[allow(clippy::disallowed_methods, reason = "the system knows what the process holds")]
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process has memory");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

fn records(status: &Status) -> u64 {
    status.counts.values().map(|(records, _)| records).sum()
}

#[test]
fn memory_is_flat_over_an_hour_at_a_thousand_records_a_second() {
    let firehose = Firehose { seed: seed(1) };
    let source = MadeSource::new(PARTITIONS, Arc::new(move |partition, offset| firehose.message(partition, offset)));
    let plan = Arc::new(limited_plan());
    let in_flight = in_flight_bytes_max(&plan.limits);
    let setting = Setting { in_flight_bytes_max: in_flight, checkpoint_every: Span::seconds(60), boards: vec![] };
    let bound = total(&bound(&plan, &setting)).expect("everything is limited");
    let before = resident_bytes();

    let retain = (0..plan.views.len()).map(|view| (view, Some(LATENESS))).collect();
    let sources: BTreeMap<u32, Arc<dyn Source>> = BTreeMap::from([(0, Arc::new(source.clone()) as Arc<dyn Source>)]);
    let mut engine = Engine::start(EngineConfig {
        plan: plan.clone(),
        fingerprint: Fingerprint { job: 7, build: 1 },
        workers: 2,
        blobs: Arc::new(MemoryBlobs::default()),
        sources,
        tables: table_rows(1),
        checkpoint_every: Span::seconds(3600),
        in_flight_bytes_max: in_flight,
        retain,
        sinks: vec!["store".into()],
    })
    .unwrap();
    let kept = |view| Kept { view, emission: Emission::OnUpdate, retain: Some(LATENESS), board_groups_max: 0 };
    let mut sink = Follower::new(plan.clone(), (0..plan.views.len() as u32).map(kept).collect(), true);
    let (mut cursor, mut clock, mut minutes) = (Cursor::default(), Clock::new(), Vec::new());
    engine.discovered(0, source.discover().unwrap());
    for minute in 1..=MINUTES {
        let of_each = minute * RATE * 60 / PARTITIONS;
        source.release(of_each);
        let expected = of_each * PARTITIONS;
        let mut held = Held::default();
        harness::until_watched(
            &mut engine,
            &mut clock,
            100,
            |engine| records(&engine.status()) >= expected,
            |engine| {
                let status = engine.status();
                let windows = status.held.open.values().sum();
                let ledger = engine.ledger().resident_bytes() as u64;
                let now = Held { state: BTreeMap::new(), windows, ledger, resident: resident_bytes() };
                held = std::mem::take(&mut held).most(&now);
            },
        );
        if let Some((_, next)) = sink.cut(&engine.ledger(), &cursor).unwrap() {
            cursor = next;
            engine.cursors().lock().unwrap().insert("store".into(), cursor.clone());
        }
        let newest = engine.status().checkpoint;
        engine.checkpoint();
        harness::until(&mut engine, &mut clock, 100, |engine| engine.status().checkpoint != newest);
        let saved = Held { state: engine.status().state_bytes, resident: resident_bytes(), ..Held::default() };
        minutes.push(held.most(&saved));
    }
    let status = engine.status();
    engine.shut_down();

    let quarters: Vec<Held> =
        minutes.chunks(QUARTER).map(|quarter| quarter.iter().fold(Held::default(), |most, held| most.most(held))).collect();
    quarters.iter().for_each(|quarter| println!("{quarter:?}"));
    println!("resident before {before}, bound {bound}");
    for verdict in [Verdict::Accepted, Verdict::Duplicate, Verdict::Filtered, Verdict::Rejected(Reason::TooLate)] {
        let counted = status.counts[&(0, verdict)].0;
        assert!(counted > RATE, "the load has {verdict:?}: {counted}");
    }
    let (early, late) = (&quarters[1], &quarters[3]);
    for (operator, bytes) in &late.state {
        assert!(*bytes <= early.state[operator] * 5 / 4 + 4096, "{operator} grows: {} then {bytes}", early.state[operator]);
    }
    // An hour and its groups are begun now and then: few beside the minutes.
    assert!(late.windows <= early.windows + 2 * GROUPS, "windows: {} then {}", early.windows, late.windows);
    // A machine that stalls forms more epochs of the same records, and each has an entry until it is sealed.
    assert!(late.ledger <= early.ledger * 5 / 4 + MEBIBYTE / 4, "the ledger grows: {} then {}", early.ledger, late.ledger);
    assert!(late.resident <= early.resident * 9 / 8 + 8 * MEBIBYTE, "{} then {}", early.resident, late.resident);
    let taken = quarters.iter().map(|quarter| quarter.resident).max().expect("there are quarters") - before;
    assert!(taken <= bound, "{taken} bytes were taken, and {bound} were said to be enough");
}
