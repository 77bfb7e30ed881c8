//! One run of one thing that is measured, in a process of its own: its memory and its CPU time are nobody else's.

use super::{Parameters, caudal, latency, plain};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Something that is measured.
pub struct Stage {
    /// On the command line.
    pub name: &'static str,
    /// In the report.
    pub words: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Floor { threads: usize },
    Plain,
    Caudal { workers: usize },
    Latency,
}

/// A second, as Linux counts for programs.
const TICKS: f64 = 100.0;

/// Those that read the whole topic.
pub const STAGES: [Stage; 5] = [
    Stage { name: "floor1", words: "poll and parse, 1 thread", kind: Kind::Floor { threads: 1 } },
    Stage { name: "floor2", words: "poll and parse, 2 threads", kind: Kind::Floor { threads: 2 } },
    Stage { name: "plain", words: "plain loop with hash maps, 1 thread", kind: Kind::Plain },
    Stage { name: "caudal1", words: "caudal, 1 worker", kind: Kind::Caudal { workers: 1 } },
    Stage { name: "caudal2", words: "caudal, 2 workers", kind: Kind::Caudal { workers: 2 } },
];

/// The one that reads events as they come.
pub const LATENCY: Stage = Stage { name: "latency", words: "latency", kind: Kind::Latency };

impl Stage {
    /// The stage of this name.
    pub fn named(name: &str) -> &'static Stage {
        STAGES.iter().chain([&LATENCY]).find(|stage| stage.name == name).unwrap_or_else(|| panic!("{name} is no stage"))
    }
}

/// Rows in the order of their keys: window start and station; count, sum and maximum, the latter in thousandths.
pub type Rows = Vec<((String, String), [i64; 3])>;

/// What came out of a run.
#[derive(Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Until everything was read and where it belongs.
    pub seconds: f64,
    /// CPU time of this process until then.
    pub cpu_seconds: f64,
    /// CPU time that all others had meanwhile: the broker, and whatever else disturbs the measurement.
    pub others_seconds: f64,
    /// Memory that was resident at most until then.
    pub peak_mb: u64,
    /// What was counted, if anything was.
    pub rows: Rows,
    /// Milliseconds from sending to reading in the store, sorted.
    pub latencies: Vec<f64>,
}

impl Outcome {
    /// As of now, for what began then.
    pub fn since(began: &Began) -> Outcome {
        let cpu_seconds = cpu_seconds();
        Outcome {
            seconds: began.at.elapsed().as_secs_f64(),
            cpu_seconds,
            others_seconds: (machine_seconds() - began.machine_seconds - cpu_seconds).max(0.0),
            peak_mb: peak_mb(),
            ..Outcome::default()
        }
    }

    /// So many events, by the second.
    pub fn per_second(&self, events: usize) -> f64 {
        events as f64 / self.seconds
    }
}

/// The beginning of a measurement, in a process that has done nothing yet.
pub struct Began {
    /// When.
    pub at: Instant,
    machine_seconds: f64,
}

impl Began {
    /// Now.
    pub fn now() -> Began {
        Began { machine_seconds: machine_seconds(), at: Instant::now() }
    }
}

/// Runs a stage in a new process.
pub fn run(stage: &Stage, folder: &Path, distinct: usize) -> Outcome {
    let this = std::env::current_exe().expect("this program has a file");
    let mut command = Command::new(this);
    command.args(["measure", stage.name]).arg(folder).arg(distinct.to_string()).stderr(Stdio::inherit());
    let output = command.output().expect("this program can be run");
    assert!(output.status.success(), "{}: {}", stage.words, output.status);
    serde_json::from_slice(&output.stdout).expect("a stage prints its outcome")
}

/// Runs it here, and prints the outcome for the process that asked.
pub fn measure(stage: &Stage, folder: &Path, distinct: usize, parameters: &Parameters) {
    let job = caudal::load(folder);
    let outcome = match stage.kind {
        Kind::Floor { threads } => plain::floor(&job, threads, parameters),
        Kind::Plain => plain::plain_loop(&job, parameters),
        Kind::Caudal { workers } => caudal::measure(&job, folder, workers, distinct, parameters),
        Kind::Latency => latency::measure(&job, folder, parameters),
    };
    println!("{}", serde_json::to_string(&outcome).expect("an outcome is plain data"));
}

/// What all processes have had, where the system tells: user, nice and system time.
fn machine_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let all = text.lines().next().and_then(|line| line.strip_prefix("cpu ")).unwrap_or_default();
    all.split_whitespace().take(3).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS
}

/// Of this process, where the system tells.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name, in brackets, may hold spaces; user and system time are the 12th and 13th word after it.
    let after = text.rsplit_once(") ").map_or("", |(_, after)| after);
    after.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS
}

/// Of this process, where the system tells.
fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) / 1024
}
