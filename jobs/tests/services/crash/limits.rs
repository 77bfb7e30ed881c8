//! The row `load`: at the limits that a job declares its memory stays below what `check` printed; at twice that it
//! stops, names the limit, and goes on exactly under a higher one.
//!
//! `CAUDAL_TRIALS` are the events in a second that are declared. A tenth of them is late by most of the lateness, and
//! one in twenty comes twice. What the rows must be is counted here from the records themselves. What is in flight may
//! come on top of a limit, so it takes some hundred thousand ids to be beyond theirs: without `CAUDAL_TRIALS` that is
//! left out.

use super::process::add;
use crate::binary::{Binary, Launch};
use crate::broker::{self, Writer};
use crate::running::state;
use caudal_connectors::embedded::read::Store;
use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;

const START_MS: u64 = 1_774_656_000_000;
const LATENESS_MS: u64 = 300_000;
const SPAN_MS: u64 = 5_000;
/// Of event time, in each load: more than the lateness.
const SECONDS: u64 = 390;
const GROUPS: u64 = 100;

/// By group and start of the span; without one for ever: events, their total, and the greatest.
type Rows = BTreeMap<(String, Option<u64>), (u64, u64, u64)>;

/// What is sent, and what it comes to.
struct Load {
    writer: Writer,
    topic: String,
    sent: u64,
    /// Where event time is.
    now_ms: u64,
    ids: HashSet<u64>,
    rows: Rows,
}

impl Load {
    /// Sends what so many seconds hold at a density.
    fn send(&mut self, per_s: u64, groups: u64) {
        for n in 0..SECONDS * per_s {
            let (id, late) = (self.sent, if n % 10 == 3 { LATENESS_MS * 3 / 4 } else { 0 });
            let at = (self.now_ms + n * 1_000 / per_s).saturating_sub(late).max(START_MS);
            let (k, x) = (format!("k{:04}", (n * 7) % groups), id % 1_000);
            let body = format!(r#"{{"id":"{id:012}","at":{at},"k":"{k}","x":{x}}}"#).into_bytes();
            for _ in 0..if n % 20 == 11 { 2 } else { 1 } {
                self.writer.send(&self.topic, k.as_bytes(), &body);
                self.sent += 1;
            }
            if self.ids.insert(id) {
                self.count(k, at, x);
            }
        }
        self.now_ms += SECONDS * 1_000;
        self.writer.flush();
    }

    fn count(&mut self, k: String, at: u64, x: u64) {
        for start in [Some(at / SPAN_MS * SPAN_MS), None] {
            let (events, total, most) = self.rows.entry((k.clone(), start)).or_default();
            (*events, *total, *most) = (*events + 1, *total + x, x.max(*most));
        }
    }
}

/// The job with its limits.
struct Job {
    file: PathBuf,
    state: PathBuf,
    set: Vec<String>,
}

impl Job {
    fn with(&self, events_per_s: u64, groups: u64) -> Vec<String> {
        [&self.set[..], &[format!("limits.events_per_s={events_per_s}"), format!("limits.groups={groups}")]].concat()
    }

    fn start(&self, set: &[String]) -> Binary {
        let jobs = std::slice::from_ref(&self.file);
        // As often as `check` counts with.
        Launch { checkpoint_every_s: 60, ..Launch::of(&self.state, 2, jobs, set) }.start()
    }

    /// The bound that `check` prints, in bytes, and in its words.
    fn bound(&self, set: &[String]) -> (f64, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_caudal"));
        command.arg("check").arg(&self.file).args(["--offline", "--workers", "2"]);
        command.args(set.iter().flat_map(|value| ["--set", value]));
        let output = command.output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        let line = printed.lines().find_map(|line| line.strip_prefix("memory  ")).unwrap_or_else(|| panic!("{output:?}"));
        let words: Vec<&str> = line.split_whitespace().take(2).collect();
        let unit = ["B", "KiB", "MiB", "GiB"].iter().position(|unit| *unit == words[1]).expect("a unit");
        (words[0].parse::<f64>().unwrap() * 1024f64.powi(unit as i32), words.join(" "))
    }

    fn rows(&self) -> Rows {
        let store = Store::open(&self.state.join("state/limits/store.sqlite")).unwrap();
        let of = |row: Map<String, Json>| {
            let number = |name: &str| row[name].as_u64().unwrap();
            let start = row.get("window_start").and_then(Json::as_str).map(|start| start.parse::<jiff::Timestamp>().unwrap());
            let key = (row["k"].as_str().unwrap().to_owned(), start.map(|start| start.as_millisecond() as u64));
            (key, (number("events"), number("total"), number("most")))
        };
        ["spans", "all"].iter().flat_map(|view| store.all_rows(view).unwrap()).map(of).collect()
    }
}

#[test]
fn at_the_limits_memory_is_bounded_and_beyond_them_the_job_stops() {
    let asked = std::env::var("CAUDAL_TRIALS").ok().map(|text| text.parse::<u64>().expect("a number"));
    let mut events_per_s = asked.unwrap_or(50);
    let topic = broker::own("limits");
    broker::make_topic(&topic, 2);
    let job = Job {
        file: Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/crash/limits/job.yaml"),
        state: state("limits"),
        set: vec![
            format!("streams.readings.from.kafka.topics=[{topic}]"),
            format!("streams.readings.from.kafka.properties.bootstrap.servers={}", broker::shared()),
        ],
    };
    let (writer, ids) = (Writer::new(), HashSet::new());
    let mut load = Load { writer, topic, sent: 0, now_ms: START_MS, ids, rows: Rows::new() };
    let mut figures = json!({"declared events/s": events_per_s, "declared groups": GROUPS});

    let mut set = job.with(events_per_s, GROUPS);
    let mut binary = job.start(&set);
    load.send(events_per_s, GROUPS);
    binary.until_received(load.sent);
    add(&mut figures, bounded(&job, &set, &binary, "at the limits"));
    if asked.is_some() {
        events_per_s *= 2;
        load.send(events_per_s, GROUPS);
        add(&mut figures, stopped(&job, &set, binary, "at twice the events", "limits.events_per_s"));
        set = job.with(events_per_s, GROUPS);
        binary = job.start(&set);
        binary.until_received(load.sent);
        add(&mut figures, bounded(&job, &set, &binary, "at twice the events, declared"));
    }
    load.send(events_per_s, 2 * GROUPS);
    add(&mut figures, stopped(&job, &set, binary, "at twice the groups", "limits.groups"));
    set = job.with(events_per_s, 2 * GROUPS);
    binary = job.start(&set);
    binary.until_received(load.sent);
    add(&mut figures, bounded(&job, &set, &binary, "at twice the groups, declared"));
    let duplicate = binary.metric("caudal_events_duplicate_total", "").unwrap() as u64;
    let (status, printed) = binary.terminate();
    assert_eq!(status.code(), Some(0), "{printed}");
    assert_eq!(duplicate, load.sent - load.ids.len() as u64);
    let rows = job.rows();
    assert!(rows == load.rows, "{} rows, expected {}", rows.len(), load.rows.len());
    let compared = json!({"records": load.sent, "rows compared": rows.len(), "lost": 0, "duplicated": 0, "divergent": 0});
    add(&mut figures, compared);
    println!("figures {figures}");
}

/// What the process took at most is below what was printed before.
fn bounded(job: &Job, set: &[String], binary: &Binary, when: &str) -> Json {
    let (bound, printed) = job.bound(set);
    let peak = binary.memory("VmHWM").expect("it runs") as f64;
    assert!(peak <= bound, "{when}: {peak} B, and {printed} were told");
    json!({when: {"peak MiB": (peak / f64::from(1 << 20)) as u64, "check": printed}})
}

/// The run ends by itself and names the limit; another start under it ends at once.
fn stopped(job: &Job, set: &[String], mut binary: Binary, when: &str, limit: &str) -> Json {
    let bound = job.bound(set).0;
    // As long as it can be asked: it may have ended while the load was sent.
    let mut peak = None;
    crate::until("the run ends", || {
        peak = binary.memory("VmHWM").max(peak);
        (!binary.is_running()).then_some(())
    });
    assert!(peak.is_none_or(|peak| peak as f64 <= bound), "{when}: {peak:?} B");
    let peak = peak.map_or("ended meanwhile".to_owned(), |peak| (peak >> 20).to_string());
    let mut said = String::new();
    for mut ended in [binary, job.start(set)] {
        let status = ended.ended();
        let printed = ended.printed();
        assert_eq!(status.code(), Some(3), "{printed}");
        let line = printed.lines().find(|line| line.contains(&format!("raise {limit} and start again")));
        said = line.unwrap_or_else(|| panic!("it does not name {limit}:\n{printed}")).to_owned();
    }
    json!({when: {"exit code": 3, "peak MiB": peak, "said": said}})
}
