//! A job as the binary runs it, on a thread of the test.

use crate::load::folder;
use crate::{LIMIT, broker, cql, redis, until};
use caudal_jobs::jobfile::Job;
use caudal_jobs::run::{self, RunError, Settings, Shared, SinkState, SinkStatus, Stop};
use caudal_jobs::{live, load};
use caudal_pipeline::engine::Status;
use caudal_pipeline::time::Span;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

/// A ready-made job with the addresses of the shared services, and with these `path=value` on top.
pub fn job(name: &str, set: &[String]) -> Arc<Job> {
    let mut all = addresses(name);
    all.extend_from_slice(set);
    Arc::new(load::job(&folder(name), &all).unwrap_or_else(|mistakes| panic!("{mistakes}")))
}

/// What makes wind-farm a job of one test's own: its name, its topic and its keyspace.
pub fn own_wind_farm(test: &str) -> (String, Vec<String>) {
    let name = broker::own(test);
    let set = vec![
        format!("name={name}"),
        format!("streams.readings.from.kafka.topics=[{name}]"),
        "sinks.cold.cassandra.keyspace=caudal_tests".to_owned(),
    ];
    (name, set)
}

/// What KAFKA_BROKERS, REDIS_URL and CASSANDRA would say.
pub fn addresses(name: &str) -> Vec<String> {
    let stream = match name {
        "wind-farm" => "readings",
        "event-pipeline" => "events",
        _ => "entries",
    };
    let mut set = vec![
        format!("streams.{stream}.from.kafka.properties.bootstrap.servers={}", broker::shared()),
        format!("sinks.hot.redis.url=redis://{}", redis::shared()),
        format!("sinks.cold.cassandra.contact_points=['{}']", cql::shared()),
    ];
    if name == "event-pipeline" {
        set.push(format!("sinks.bus.kafka.properties.bootstrap.servers={}", broker::shared()));
    }
    set
}

/// An empty folder for a job's state.
pub fn state(test: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("services-{test}"));
    let _ = std::fs::remove_dir_all(&path);
    path
}

/// A job under way.
pub struct Running {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<(), RunError>>>,
}

impl Running {
    /// Starts it.
    pub fn start(job: &Arc<Job>, state: &Path, workers: usize) -> Running {
        let settings = Settings { workers, checkpoint_every: Span::seconds(2), ..Settings::in_folder(state.to_owned()) };
        let shared = Shared::new(Arc::new(job.plan.clone()), settings.state.clone());
        let (job, seen) = (job.clone(), shared.clone());
        let thread = std::thread::spawn(move || run::job(&job, &settings, &seen, Vec::new()));
        Running { shared, thread: Some(thread) }
    }

    /// Its figures and sinks.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Messages read, of all partitions, up to the last epoch in the ledger.
    pub fn read(&self) -> u64 {
        let status = self.shared.published().status;
        status.positions.values().flatten().map(|(_, next)| next.0).sum()
    }

    /// Looks until `look` finds something, or the job has ended, which it should not.
    pub fn until<T>(&self, what: &str, mut look: impl FnMut(&Running) -> Option<T>) -> T {
        let began = Instant::now();
        until(what, || {
            let found = look(self);
            let ended = self.thread.as_ref().is_some_and(JoinHandle::is_finished);
            let over = ended || began.elapsed() > LIMIT;
            assert!(
                found.is_some() || !over,
                "still not: {what}\n{}",
                live::block(&self.shared, began.elapsed(), run::wall_us())
            );
            found
        })
    }

    /// Waits until so many messages are read.
    pub fn until_read(&self, messages: u64) {
        let what = format!("{messages} messages are read");
        self.until(&what, |running| (running.read() >= messages).then_some(()));
    }

    /// Stops it as SIGTERM does, and returns its last figures.
    pub fn drain(self) -> Status {
        self.end(&|_| false)
    }

    /// The same, where one sink is known to be stopped.
    pub fn drain_with_stopped(self, stopped: &str) -> Status {
        self.end(&|name| name == stopped)
    }

    fn end(mut self, stopped: &dyn Fn(&str) -> bool) -> Status {
        self.shared.stop(Stop::Drain);
        let thread = self.thread.take().expect("a job is stopped once");
        thread.join().expect("the job does not panic").unwrap_or_else(|error| panic!("{error}"));
        let sinks = self.shared.sinks();
        let is_wrong = |sink: &SinkStatus| sink.set_aside > 0 || sink.state != SinkState::Ok;
        let wrong: Vec<_> = sinks.iter().filter(|(name, sink)| is_wrong(sink) && !stopped(name)).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        self.shared.published().status
    }
}

impl Drop for Running {
    /// A test that fails leaves no job behind.
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.shared.stop(Stop::Force);
            let _ = thread.join();
        }
    }
}
