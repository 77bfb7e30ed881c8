//! How long a job's steps take: histograms in seconds, of what this process has finished.
//!
//! ```text
//! opened ── reading, binding, working ──▶ in the ledger ── cut, write ──▶ readable in the store
//!    ├─────────────── epoch ─────────────────┤                                   │
//!    └─────────────────────────── readable, for each row of a sink ──────────────┘
//! ```
//! The engine has no clock: it says when something began, and whoever drives it looks at the clock once it is over.

use caudal_pipeline::engine::Finished;
use caudal_pipeline::ports::blobs::{BlobError, Blobs, Created};
use prometheus::core::Collector;
use prometheus::{Histogram, HistogramOpts, HistogramVec};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Upper bounds, seconds: from a write to a fast disk to a store that was away for minutes.
const BUCKETS: [f64; 17] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0];
const VALID: &str = "names and buckets are written out here, and valid";

/// See the module.
pub struct Durations {
    epoch: Histogram,
    log_append: Histogram,
    checkpoint: Histogram,
    write: HistogramVec,
    readable: HistogramVec,
}

impl Durations {
    /// Of a job that has done nothing yet.
    pub fn of(job: &str) -> Durations {
        let options =
            |name: &str, help: &str| HistogramOpts::new(name, help).const_label("caudal_job", job).buckets(BUCKETS.to_vec());
        let one = |name: &str, help: &str| Histogram::with_opts(options(name, help)).expect(VALID);
        let by_sink = |name: &str, help: &str| HistogramVec::new(options(name, help), &["sink"]).expect(VALID);
        Durations {
            epoch: one("caudal_epoch_duration_seconds", "Time from the opening of an epoch until its rows are in the ledger."),
            log_append: one("caudal_log_append_duration_seconds", "Time to make a record of the commit log durable."),
            checkpoint: one(
                "caudal_checkpoint_duration_seconds",
                "Time from the end of a checkpoint's epoch until the checkpoint is in the commit log.",
            ),
            write: by_sink("caudal_sink_write_duration_seconds", "Time of a write that the store took."),
            readable: by_sink(
                "caudal_sink_readable_seconds",
                "Rows by the time from their version, the opening of their epoch, until they are written; \
                 without those of epochs opened before the start.",
            ),
        }
    }

    /// Takes what the engine has finished by `now_us` of running time.
    pub fn finished(&self, finished: &Finished, now_us: i64) {
        finished.epochs.iter().for_each(|began| self.epoch.observe(seconds(now_us - began)));
        finished.checkpoints.iter().for_each(|began| self.checkpoint.observe(seconds(now_us - began)));
    }

    /// Takes a write of a sink.
    pub fn written(&self, sink: &str, took: Duration) {
        self.write.with_label_values(&[sink]).observe(took.as_secs_f64());
    }

    /// Takes rows of a sink that are written at `now_us` since 1970, by the versions that made them due.
    pub fn readable(&self, sink: &str, versions_us: impl Iterator<Item = i64>, now_us: i64) {
        let readable = self.readable.with_label_values(&[sink]);
        versions_us.for_each(|version| readable.observe(seconds(now_us - version)));
    }

    /// `blobs`, whose writes to the commit log are timed.
    pub fn timed(&self, blobs: Arc<dyn Blobs>) -> Arc<dyn Blobs> {
        Arc::new(TimedLog { blobs, append: self.log_append.clone() })
    }

    /// Everything, for a scrape.
    pub fn collectors(&self) -> Vec<Box<dyn Collector>> {
        let one = [&self.epoch, &self.log_append, &self.checkpoint].map(|one| Box::new(one.clone()) as Box<dyn Collector>);
        let by_sink = [&self.write, &self.readable].map(|by_sink| Box::new(by_sink.clone()) as Box<dyn Collector>);
        one.into_iter().chain(by_sink).collect()
    }
}

/// A clock that was set back in between has taken no time.
fn seconds(us: i64) -> f64 {
    us.max(0) as f64 / 1e6
}

struct TimedLog {
    blobs: Arc<dyn Blobs>,
    append: Histogram,
}

impl Blobs for TimedLog {
    fn create(&self, name: &str, bytes: &[u8]) -> Result<Created, BlobError> {
        let began = Instant::now();
        let created = self.blobs.create(name, bytes);
        if name.starts_with("log/") && created.is_ok() {
            self.append.observe(began.elapsed().as_secs_f64());
        }
        created
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, BlobError> {
        self.blobs.read(name)
    }

    fn read_each(&self, names: &[String]) -> Vec<Result<Vec<u8>, BlobError>> {
        self.blobs.read_each(names)
    }

    fn read_range(&self, name: &str, offset: u64, len: usize) -> Result<Vec<u8>, BlobError> {
        self.blobs.read_range(name, offset, len)
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, BlobError> {
        self.blobs.list(prefix)
    }

    fn delete(&self, name: &str) -> Result<(), BlobError> {
        self.blobs.delete(name)
    }
}
