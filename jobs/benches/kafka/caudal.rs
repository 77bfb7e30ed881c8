//! The job as a user writes it, through the run path of the binary, into the embedded store.

use super::Parameters;
use super::plain::thousandths;
use super::stage::{Began, Outcome, Rows};
use caudal_connectors::embedded::read::Store;
use caudal_jobs::jobfile::Job;
use caudal_jobs::run::{self, RunError, STORE_FILE, Settings, Shared, Stop};
use caudal_jobs::{live, load};
use caudal_pipeline::record::Verdict;
use serde_json::{Map, Value as Json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// How often the store is looked at.
const LOOK: Duration = Duration::from_millis(5);
const VIEW: &str = "per_minute";

/// What every event must be.
const SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "required": ["id", "t", "station", "reading"],
  "properties": {
    "id": {"type": "string", "format": "uuid"},
    "t": {"type": "integer"},
    "station": {"type": "string", "pattern": "^station-[0-9]+$"},
    "reading": {"type": "number", "minimum": 0, "maximum": 100},
    "unit": {"enum": ["kW"]},
    "ok": {"type": "boolean"}
  }
}"#;

/// Writes the job that reads `topic` into a folder.
pub fn write_job(folder: &Path, parameters: &Parameters, topic: &str) {
    let more = parameters.properties.split(',').filter_map(|pair| pair.split_once('='));
    let more: String = more.map(|(name, value)| format!(", {name}: '{value}'")).collect();
    let job = format!(
        "\
caudal: 1
name: kafka-bench
streams:
  readings:
    from: {{kafka: {{topics: [{topic}], properties: {{bootstrap.servers: '{}'{more}}}}}}}
    schema: reading.json
    id: /id
    event_time: {{at: /t, format: unix_ms}}
    lateness: 10m
    fields:
      station: /station
      reading: {{at: /reading, type: decimal(3)}}
views:
  {VIEW}:
    from: readings
    window: {{tumbling: 1m}}
    group_by: [station]
    select: {{n: count(), total: sum(reading), highest: max(reading)}}
sinks:
  store: {{embedded: {{}}}}
",
        parameters.broker
    );
    for (name, text) in [("job.yaml", job.as_str()), ("reading.json", SCHEMA)] {
        std::fs::write(folder.join(name), text).expect("the temporary folder can be written");
    }
}

/// The job of a folder.
pub fn load(folder: &Path) -> Job {
    load::job(folder, &[]).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

/// From the start of the run until `distinct` events are in the rows of the store.
pub fn measure(job: &Job, folder: &Path, workers: usize, distinct: usize, parameters: &Parameters) -> Outcome {
    let began = Began::now();
    let running = Running::start(job, folder, Some(workers));
    // A run spends no time on being looked at before its last tenth.
    running.until(|running| (running.received() * 10 >= parameters.events as u64 * 9).then_some(()));
    let store = running.store();
    running.until(|_| (rows(&store).iter().map(|(_, [n, ..])| *n).sum::<i64>() >= distinct as i64).then_some(()));
    let outcome = Outcome::since(&began);
    let rows = rows(&store);
    drop(store);
    let counts = running.drain();
    let expected = [(Verdict::Accepted, distinct), (Verdict::Duplicate, parameters.events - distinct)];
    let expected: Vec<_> = expected.into_iter().map(|(verdict, n)| (verdict, n as u64)).filter(|(_, n)| *n > 0).collect();
    assert_eq!(counts, expected, "events by what became of them");
    Outcome { rows, ..outcome }
}

/// The rows of a store.
pub fn rows(store: &Store) -> Rows {
    // The table is there after the first look of the sink.
    let mut rows: Rows = store.all_rows(VIEW).unwrap_or_default().iter().map(row).collect();
    rows.sort_unstable();
    rows
}

fn row(row: &Map<String, Json>) -> ((String, String), [i64; 3]) {
    let text = |name: &str| match &row[name] {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    let number = |name: &str| text(name).parse::<f64>().unwrap_or_else(|_| panic!("{name} of {row:?} is no number"));
    let n = text("n").parse().unwrap_or_else(|_| panic!("n of {row:?} is no number"));
    ((text("window_start"), text("station")), [n, thousandths(number("total")), thousandths(number("highest"))])
}

/// A job under way, on a state of its own that is gone afterwards.
pub struct Running {
    shared: Arc<Shared>,
    state: PathBuf,
    thread: Option<JoinHandle<Result<(), RunError>>>,
}

impl Running {
    /// Starts it, on so many workers or as many as the binary would take.
    pub fn start(job: &Job, folder: &Path, workers: Option<usize>) -> Running {
        let state = folder.join(format!("state-{}", std::process::id()));
        let defaults = Settings::in_folder(state.clone());
        let settings = Settings { workers: workers.unwrap_or(defaults.workers), ..defaults };
        let shared = Shared::new(Arc::new(job.plan.clone()), settings.state.clone());
        let (job, seen) = (job.clone(), shared.clone());
        let thread = std::thread::spawn(move || run::job(&job, &settings, &seen, Vec::new()));
        Running { shared, state, thread: Some(thread) }
    }

    /// Messages that became something.
    pub fn received(&self) -> u64 {
        self.shared.published().status.counts.values().map(|(records, _)| records).sum()
    }

    /// Its store, as soon as there is one.
    pub fn store(&self) -> Store {
        self.until(|running| Store::open(&running.state.join(STORE_FILE)).ok())
    }

    /// Looks until `look` finds something; a job that ends before has failed.
    pub fn until<T>(&self, mut look: impl FnMut(&Running) -> Option<T>) -> T {
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            let ended = self.thread.as_ref().is_some_and(JoinHandle::is_finished);
            assert!(!ended, "the job has ended\n{}", live::block(&self.shared, Duration::ZERO, run::wall_us()));
            std::thread::sleep(LOOK);
        }
    }

    /// Stops it as SIGTERM does; returns how many records became what.
    pub fn drain(mut self) -> Vec<(Verdict, u64)> {
        self.shared.stop(Stop::Drain);
        let thread = self.thread.take().expect("a job is stopped once");
        thread.join().expect("the job does not panic").unwrap_or_else(|error| panic!("{error}"));
        let counts = self.shared.published().status.counts;
        counts.iter().map(|((_, verdict), (records, _))| (*verdict, *records)).filter(|(_, n)| *n > 0).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.shared.stop(Stop::Force);
            let _ = thread.join();
        }
        let _ = std::fs::remove_dir_all(&self.state);
    }
}
