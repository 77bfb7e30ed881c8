//! How long does a job with many keys take to go on after a kill, how much memory, and what do its checkpoints cost?
//!
//! `cargo bench -p caudal --bench restart`
//!
//! ```text
//! steady:  load N keys ─▶ a share of full speed, a checkpoint every 10 s ─▶ kill, just before the next one would come
//! restart: open the folder ─▶ newest checkpoint, each worker its rows ─▶ repeat what was bound since ─▶ live
//! ```
//! Each is a process of its own on a folder on the disk, so that memory is its own. The time runs from the start of the
//! process to live. The last line, `figures {…}`, is for `cargo xtask crash --row restart`. That no record is missing or doubled is
//! asserted; whether the aims for two cores are held is told, and decides the exit code.
//!
//! | variable `CAUDAL_BENCH_…` | | default |
//! |---|---|---|
//! | `KEYS` | rows of the view, of each run | 1000000,10000000 |
//! | `SECONDS` | of steady load | `CAUDAL_TRIALS`, or 35 |
//! | `LOAD` | percent of the speed at which the keys were loaded, of each run | 20,80 |
//! | `WORKERS` | threads | 2 |

use caudal_connectors::state_folder::FolderBlobs;
use caudal_jobs::load;
use caudal_pipeline::engine::{Engine, EngineConfig, Now, Phase, Status};
use caudal_pipeline::log::Fingerprint;
use caudal_pipeline::plan::Plan;
use caudal_pipeline::ports::made::MadeSource;
use caudal_pipeline::ports::source::Source;
use caudal_pipeline::record::{Message, Offset};
use caudal_pipeline::time::Span;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use xtask::services::folder::Folder;

const JOB: &str = "\
caudal: 1
name: restart
streams:
  events:
    from: {file: nothing.ndjson}
    event_time: {at: /t, format: unix_ms}
    lateness: 1m
    fields: {k: {at: /k, type: text}, x: {at: /x, type: integer}}
views:
  by_key: {from: events, window: none, group_by: [k], select: {n: count(), total: sum(x), most: max(x)}}
";
const PARTITIONS: u64 = 4;
const START_MS: u64 = 1_774_656_000_000;
const CHECKPOINT_EVERY: Span = Span::seconds(10);
/// The most is to be repeated after a kill at this part of the time from one checkpoint to the next, as the last two were
/// apart. That is 10 s, and less where the ledger grows beyond what it may hold in memory before.
const JUST_BEFORE: f64 = 0.95;

/// At up to `AIMED_LOAD` percent, with so many keys: so many milliseconds to live. Of others it is told.
const AIMS_MS: [(u64, u64); 2] = [(1_000_000, 3_000), (10_000_000, 10_000)];
const AIMED_LOAD: u64 = 20;
/// And the most memory while it starts, as a part of that before.
const AIMED_MEMORY: f64 = 1.3;

/// Of steady load.
fn seconds() -> u64 {
    let trials = std::env::var("CAUDAL_TRIALS").ok().and_then(|text| text.parse().ok());
    number("SECONDS", trials.unwrap_or(35))
}

fn list(name: &str, default: &str) -> Vec<String> {
    let text = std::env::var(format!("CAUDAL_BENCH_{name}")).unwrap_or_else(|_| default.to_owned());
    text.split(',').map(str::to_owned).collect()
}

fn number(name: &str, default: u64) -> u64 {
    let text = std::env::var(format!("CAUDAL_BENCH_{name}"));
    text.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["steady", folder, keys, load] => steady(Path::new(folder), written(keys), written(load)),
        ["restart", folder, keys, _] => restart(Path::new(folder), written(keys)),
        _ => compare(),
    }
}

/// A number on the command line of one step.
fn written(number: &str) -> u64 {
    number.parse().expect("written by the process that asks")
}

/// Each number of keys at each load in turn, and what came out.
fn compare() {
    let (mut figures, mut missed) = (BTreeMap::new(), Vec::new());
    let loads = list("LOAD", "20,80");
    for (keys, load) in list("KEYS", "1000000,10000000").iter().flat_map(|keys| loads.iter().map(move |load| (keys, load))) {
        let folder = Folder::new("restart").expect("a folder can be made");
        let path = folder.path().display().to_string();
        let (steady, restart) = (process("steady", &path, keys, load), process("restart", &path, keys, load));
        let ratio = restart["peak MB"].as_f64().unwrap_or(0.0) / steady["resident MB"].as_f64().unwrap_or(1.0);
        println!("{keys} keys, {load} %: {steady}\n  restart: {restart}, peak {ratio:.2} × steady");
        let name = format!("{keys} keys at {load} % load");
        let (of, ms) = (written(keys), restart["ms to live"].as_u64().unwrap_or(u64::MAX));
        let aim = AIMS_MS.into_iter().find(|(keys, _)| of == *keys && written(load) <= AIMED_LOAD);
        if let Some((_, most)) = aim.filter(|(_, most)| ms > *most || ratio > AIMED_MEMORY) {
            missed.push(format!("{name}: {ms} ms of {most}, {ratio:.2} of {AIMED_MEMORY} times the memory"));
        }
        let ratio = format!("{ratio:.2}");
        figures.insert(name, json!({"steady": steady, "restart": restart, "peak to steady": ratio}));
    }
    println!("figures {}", json!(figures));
    if !missed.is_empty() {
        eprintln!("missed: {}", missed.join("; "));
        std::process::exit(1);
    }
}

/// Runs one step in a process of its own; its last line.
fn process(step: &str, folder: &str, keys: &str, load: &str) -> Json {
    eprintln!("{step}, {keys} keys, {load} % load");
    let own = std::env::current_exe().expect("this process has a file");
    let mut command = Command::new(own);
    let output = command.args([step, folder, keys, load]).stderr(Stdio::inherit()).output().expect("it can be run again");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    printed.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_else(|| panic!("{step}: {printed}"))
}

/// The key of the nth record, and what else in it is random: the first ones hold each key once, those after them any.
fn key(keys: u64, n: u64) -> (u64, u64) {
    // SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
    let mut mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    (if n < keys { n } else { mixed % keys }, mixed)
}

/// How many keys these records have, each of which is one changed row.
fn distinct(keys: u64, records: Range<u64>) -> u64 {
    records.map(|n| key(keys, n).0).collect::<HashSet<u64>>().len() as u64
}

fn message(keys: u64, partition: u64, offset: u64) -> Message {
    let n = offset * PARTITIONS + partition;
    let (key, mixed) = key(keys, n);
    let payload = format!(r#"{{"k":"key-{key:09}","t":{},"x":{}}}"#, START_MS + n / 1_000, mixed % 1_000);
    Message { offset: Offset(offset), payload: Some(payload.into_bytes()), ..Message::default() }
}

/// An engine, its clock, and its source.
struct Run {
    engine: Engine,
    source: MadeSource,
    began: Instant,
    folder: std::path::PathBuf,
}

impl Run {
    fn start(folder: &Path, keys: u64) -> Run {
        let began = Instant::now();
        let file = folder.join("job.yaml");
        std::fs::write(&file, JOB).expect("the folder is ours");
        let job = load::job(&file, &[]).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let plan: Arc<Plan> = Arc::new(job.plan);
        let source = MadeSource::new(PARTITIONS, Arc::new(move |partition, offset| message(keys, partition, offset)));
        let blobs = FolderBlobs::open(folder.join("blobs")).expect("the folder is ours");
        let engine = Engine::start(EngineConfig {
            plan,
            fingerprint: Fingerprint::default(),
            workers: number("WORKERS", 2) as usize,
            blobs: Arc::new(blobs),
            sources: BTreeMap::from([(0, Arc::new(source.clone()) as Arc<dyn Source>)]),
            tables: vec![],
            checkpoint_every: CHECKPOINT_EVERY,
            in_flight_bytes_max: 64 << 20,
            retain: BTreeMap::new(),
            sinks: vec![],
        });
        Run { engine: engine.expect("it starts"), source, began, folder: folder.to_owned() }
    }

    fn turn(&mut self) -> Status {
        let running_us = self.began.elapsed().as_micros() as i64;
        let now = Now { wall_us: START_MS as i64 * 1_000 + running_us, running_us };
        self.engine.turn(now, Duration::from_millis(2)).expect("it goes on");
        self.engine.status()
    }

    fn until(&mut self, mut reached: impl FnMut(&Status) -> bool) -> Status {
        loop {
            let status = self.turn();
            if reached(&status) {
                return status;
            }
        }
    }

    /// Bytes of all files of state and ledger that were written since the last call.
    fn written(&self, seen: &mut BTreeMap<String, u64>) -> u64 {
        let mut new = 0;
        for prefix in ["state", "ledger", "manifest"] {
            let Ok(entries) = std::fs::read_dir(self.folder.join("blobs").join(prefix)) else { continue };
            for entry in entries.flatten() {
                let bytes = entry.metadata().map_or(0, |metadata| metadata.len());
                let name = format!("{prefix}/{}", entry.file_name().to_string_lossy());
                new += if seen.insert(name, bytes).is_none() { bytes } else { 0 };
            }
        }
        new
    }
}

fn counted(status: &Status) -> u64 {
    status.counts.values().map(|(records, _)| records).sum()
}

/// Loads the keys, goes on at a share of that speed, and ends without any order.
fn steady(folder: &Path, keys: u64, load: u64) {
    let mut run = Run::start(folder, keys);
    run.engine.discovered(0, run.source.discover().expect("it can be listed"));
    run.source.release(keys / PARTITIONS);
    let keys = keys / PARTITIONS * PARTITIONS;
    run.until(|status| counted(status) >= keys);
    let full = keys as f64 / run.began.elapsed().as_secs_f64();
    let loaded = run.turn().checkpoint;
    run.engine.checkpoint();
    run.until(|status| status.checkpoint != loaded);

    let rate = full * load as f64 / 100.0;
    let (began, lasts) = (Instant::now(), Duration::from_secs(seconds()));
    let mut files = BTreeMap::new();
    run.written(&mut files);
    let (mut bytes, mut slowest, mut last, mut saved) = (0, 0u64, Instant::now(), vec![keys]);
    let (mut newest, mut apart) = (run.turn().checkpoint, Duration::from_micros(CHECKPOINT_EVERY.0 as u64));
    // What each second has counted: a checkpoint shows in the least of them.
    let (mut second, mut least) = ((0.0, keys), f64::MAX);
    while began.elapsed() < lasts || saved.len() < 3 || last.elapsed() < apart.mul_f64(JUST_BEFORE) {
        let due = keys + (rate * began.elapsed().as_secs_f64()) as u64;
        run.source.release(due / PARTITIONS);
        let status = run.turn();
        // How far behind the load the ledger is, at most.
        slowest = slowest.max(due.saturating_sub(counted(&status)));
        let (now, all) = (began.elapsed().as_secs_f64(), counted(&status));
        if now - second.0 >= 1.0 {
            least = least.min((all - second.1) as f64 / (now - second.0));
            second = (now, all);
        }
        if status.checkpoint != newest {
            newest = status.checkpoint;
            bytes += run.written(&mut files);
            (apart, last) = (last.elapsed(), Instant::now());
            saved.push(counted(&status));
        }
    }
    let status = run.turn();
    let resident = memory_mb("VmRSS:");
    let changed: u64 = saved.windows(2).map(|records| distinct(keys, records[0]..records[1])).sum();
    let saved_records = saved.last().copied().unwrap_or(keys);
    println!(
        "{}",
        json!({
            "loaded records/s": full as u64,
            "load records/s": rate as u64,
            "resident MB": resident,
            "checkpoints": saved.len() - 1,
            "bytes written a changed row": bytes.checked_div(changed),
            "records a changed row": (saved_records - keys) as f64 / changed.max(1) as f64,
            "slowest second, % of the load": (least / rate * 100.0) as u64,
            "most ms behind": (slowest as f64 / rate * 1e3) as u64,
            "records since the last checkpoint": counted(&status) - saved_records,
        })
    );
    // As a kill would: nothing is finished.
    std::process::exit(0);
}

/// Starts on what is there, to live.
fn restart(folder: &Path, keys: u64) {
    let mut run = Run::start(folder, keys);
    let opened_ms = run.began.elapsed().as_millis() as u64;
    // More than it can read, and no more than a sum over the partitions can hold.
    run.source.release(u64::MAX / (2 * PARTITIONS));
    let mut phase = run.engine.phase();
    let bound = run.engine.status().counts;
    while phase != Phase::Live {
        run.turn();
        phase = run.engine.phase();
    }
    let live_ms = run.began.elapsed().as_millis() as u64;
    let status = run.engine.status();
    let rows = status.held.rows.get(&0).copied().unwrap_or(0);
    assert_eq!(rows, keys / PARTITIONS * PARTITIONS, "a key is missing or doubled");
    let repeated = counted(&status) - bound.values().map(|(records, _)| records).sum::<u64>();
    println!(
        "{}",
        json!({"ms to workers": opened_ms, "ms to live": live_ms, "records repeated": repeated, "peak MB": memory_mb("VmHWM:")})
    );
    std::process::exit(0);
}

/// A figure of this process's memory, where the system tells.
fn memory_mb(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) / 1024
}
