//! A thread for each sink: asks the ledger what is owed, writes it, moves the cursor. A dead store delays only itself.

use super::discovery::pause;
use super::events::{SinkFailing, SinkLost, SinkRecovered, SinkRestored, SinkStopped};
use super::state::HAS_FOLDER;
use super::{LOCK, RunError, Shared, Stop, Store};
use crate::jobfile::{Emission, Job, SinkSpec, StoreSpec};
use caudal_connectors::context::{SinkContext, ViewDescription};
use caudal_connectors::{cassandra, embedded, file, kafka, redis};
use caudal_pipeline::engine::{Engine, HeldKey};
use caudal_pipeline::group::Group;
use caudal_pipeline::ledger::{self, Cursor, Follower, Kept, KeptEvents, Ledger};
use caudal_pipeline::ports::sink::{Cut, HeldRow, SinkError};
use caudal_pipeline::time::{EventTime, Span, Version};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The name of the embedded store's file in the state folder.
pub const STORE_FILE: &str = "store.sqlite";
/// The first wait after a failed write; it doubles up to [`BACK_OFF_MAX`].
const BACK_OFF: Duration = Duration::from_millis(100);
/// The newest row of each group is kept in a table of its own up to this many groups.
pub const LATEST_GROUPS_MAX: usize = 100_000;
const BACK_OFF_MAX: Duration = Duration::from_secs(5);
/// A sink looks for something new at least this often; the engine wakes it sooner.
const LOOK: Duration = Duration::from_millis(100);
/// How long the end of a run waits for writes under way.
pub const LAST_WRITES: Duration = Duration::from_secs(5);

/// How a sink is doing.
#[derive(Clone, Debug, Default)]
pub struct SinkStatus {
    /// In a word.
    pub state: SinkState,
    /// The version up to which everything is written.
    pub written: Version,
    /// Rows written since the start.
    pub rows: u64,
    /// Dead letters written since the start.
    pub dead_letters: u64,
    /// Failed attempts since the start.
    pub retries: u64,
    /// Times the store was found to have lost writes, since the start.
    pub losses: u64,
    /// Rows that the store will never take, since the start.
    pub set_aside: u64,
    /// When it began to fail, microseconds since 1970.
    pub failing_since: Option<i64>,
    /// The newest row end written, for people.
    pub newest: Option<EventTime>,
}

/// A sink in a word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SinkState {
    /// Connecting for the first time.
    #[default]
    Starting,
    /// Writing.
    Ok,
    /// Failing, and trying again.
    Retrying(String),
    /// Refused for good; its rows stay in the ledger.
    Stopped(String),
}

/// A sink, not yet running.
pub struct Prepared {
    /// Its name in the job file.
    pub name: String,
    store: Store,
    kept: Vec<Kept>,
    dead_letters: bool,
    events: Option<KeptEvents>,
}

impl Prepared {
    /// A sink that the job file does not name.
    pub fn extra(extra: super::Extra) -> Prepared {
        let kept = Kept { view: extra.view as u32, emission: ledger::Emission::OnComplete, retain: None, board_groups_max: 0 };
        Prepared { name: extra.name, store: extra.store, kept: vec![kept], dead_letters: false, events: None }
    }
}

/// Why a store could not be read back.
pub enum Unread {
    /// Worth trying again.
    Retry(String),
    /// It will not help.
    Stop(String),
}

impl From<SinkError> for Unread {
    fn from(error: SinkError) -> Unread {
        match error {
            SinkError::Stop(why) => Unread::Stop(why),
            SinkError::Retry(why) | SinkError::Lost(why) => Unread::Retry(why),
        }
    }
}

impl Prepared {
    /// Connects to the store, and makes or checks what the job needs there.
    pub fn prepare(&mut self) -> Result<(), Unread> {
        Ok(self.store.prepare()?)
    }

    /// Adds the rows that the store holds of windows that start at `from` or later, by view, with their ends. A store that
    /// keeps a history holds none.
    pub fn held(&mut self, from: &[EventTime], held: &mut BTreeMap<HeldKey, EventTime>) -> Result<(), Unread> {
        for kept in &self.kept {
            let mut take = |row: HeldRow| {
                held.insert((kept.view, Group::of(&row.group), row.start), row.end);
            };
            self.store.held(kept.view as usize, from[kept.view as usize], &mut take)?;
        }
        Ok(())
    }
}

/// Running sinks.
pub struct Running {
    threads: Vec<JoinHandle<()>>,
    stopped: Receiver<String>,
    /// Closed when the last thread is over.
    ended: Receiver<()>,
    ledger: Arc<Ledger>,
    seen: Mutex<caudal_pipeline::time::Epoch>,
}

impl Running {
    /// Tells the threads of a longer ledger.
    pub fn wake(&self) {
        let (end, mut seen) = (self.ledger.end(), self.seen.lock().expect(LOCK));
        if end > *seen {
            *seen = end;
            self.threads.iter().for_each(|thread| thread.thread().unpark());
        }
    }

    /// Sinks that have been refused for good since the last call.
    pub fn newly_stopped(&self) -> impl Iterator<Item = String> {
        self.stopped.try_iter()
    }

    /// Waits for the writes under way, so long at most, and not for a store that hangs: what it may still take is written again, with the
    /// same versions, at the next start.
    pub fn end(self, patience: Duration) {
        let limit = Instant::now() + patience;
        self.threads.iter().for_each(|thread| thread.thread().unpark());
        while self.ended.recv_timeout(limit.saturating_duration_since(Instant::now())).is_ok() {}
    }
}

/// The sinks of a job; the embedded store lies in the state folder, and there is one if the job has such a store.
pub fn build(job: &Job, folder: Option<&Path>) -> Result<Vec<Prepared>, RunError> {
    let context = context(job);
    job.sinks.iter().map(|spec| prepare(spec, &context, folder)).collect()
}

/// The job as sinks see it.
pub fn context(job: &Job) -> SinkContext {
    let view = |view: &caudal_pipeline::plan::ViewPlan| ViewDescription {
        name: view.name.clone(),
        window: view.window.clone(),
        group: view.group.clone(),
        columns: view.columns.clone(),
    };
    SinkContext {
        job: job.plan.name.clone(),
        views: job.plan.views.iter().map(view).collect(),
        streams: job.plan.streams.iter().map(|stream| stream.name.clone()).collect(),
    }
}

fn prepare(spec: &SinkSpec, context: &SinkContext, folder: Option<&Path>) -> Result<Prepared, RunError> {
    let refused = |error: SinkError| RunError::Refused(format!("sinks.{}: {error}", spec.name));
    let (store, board): (Store, usize) = match &spec.store {
        StoreSpec::Redis(config) => (Box::new(redis::RedisSink::new(config.clone(), context.clone())), config.board_groups_max),
        StoreSpec::Cassandra(config) => {
            (Box::new(cassandra::CassandraSink::new(config.clone(), context.clone())), LATEST_GROUPS_MAX)
        }
        StoreSpec::Kafka(config) => (Box::new(kafka::sink::KafkaSink::new(config.clone(), context.clone()).map_err(refused)?), 0),
        StoreSpec::File(config) => (Box::new(file::Sink::new(config.clone(), context.clone())), 0),
        StoreSpec::Embedded => {
            let folder = folder.expect(HAS_FOLDER);
            let config = embedded::config::Config { path: folder.join(STORE_FILE) };
            (Box::new(embedded::Sink::new(config, context.clone())), 0)
        }
    };
    let kept = |kept: &crate::jobfile::KeptView| Kept {
        view: kept.view as u32,
        emission: emission(kept.emission),
        retain: spec.retain,
        board_groups_max: board,
    };
    Ok(Prepared {
        name: spec.name.clone(),
        store,
        kept: spec.keep.iter().map(kept).collect(),
        dead_letters: spec.dead_letters,
        events: spec.events.then_some(KeptEvents { retain: spec.retain }),
    })
}

fn emission(emission: Emission) -> ledger::Emission {
    match emission {
        Emission::OnUpdate => ledger::Emission::OnUpdate,
        Emission::Every(span) => ledger::Emission::Every(span),
        Emission::OnComplete => ledger::Emission::OnComplete,
        Emission::OnFinal => ledger::Emission::OnFinal,
    }
}

/// How long the ledger keeps each view's rows beyond their being served: as long as a Redis may lose them.
pub fn ledger_retention(job: &Job) -> BTreeMap<usize, Option<Span>> {
    let mut retention: BTreeMap<usize, Option<Span>> = BTreeMap::new();
    for spec in job.sinks.iter().filter(|spec| matches!(spec.store, StoreSpec::Redis(_))) {
        for kept in &spec.keep {
            let longest = retention.entry(kept.view).or_insert(Some(Span(0)));
            *longest = longest.zip(spec.retain).map(|(a, b)| a.max(b));
        }
    }
    retention
}

/// Starts a thread for each sink.
pub fn start(prepared: Vec<Prepared>, engine: &Engine, shared: &Arc<Shared>) -> Running {
    let (ledger, cursors) = (engine.ledger(), engine.cursors());
    let (tell, stopped) = channel();
    let (alive, ended) = channel();
    let thread = |prepared: Prepared| {
        let cursor = cursors.lock().expect(LOCK).get(&prepared.name).cloned().unwrap_or_default();
        let follower = Follower::new(shared.plan.clone(), prepared.kept, prepared.dead_letters).with_events(prepared.events);
        let mut thread = SinkThread {
            name: prepared.name,
            store: prepared.store,
            follower,
            cursor,
            cursors: cursors.clone(),
            ledger: ledger.clone(),
            shared: shared.clone(),
            status: SinkStatus::default(),
            ready: false,
            started_us: super::clock::wall_us(),
        };
        let (tell, alive) = (tell.clone(), alive.clone());
        std::thread::spawn(move || {
            let _alive = alive;
            if catch_unwind(AssertUnwindSafe(|| thread.run())).is_err() {
                thread.shared.fail(format!("the thread of the sink {} has panicked", thread.name));
            }
            if matches!(thread.status.state, SinkState::Stopped(_)) {
                // Nobody listens once the run is over.
                let _ = tell.send(thread.name);
            }
        })
    };
    let threads = prepared.into_iter().map(thread).collect();
    Running { threads, stopped, ended, ledger: ledger.clone(), seen: Mutex::default() }
}

struct SinkThread {
    name: String,
    store: Store,
    follower: Follower,
    cursor: Cursor,
    cursors: Arc<Mutex<BTreeMap<String, Cursor>>>,
    ledger: Arc<Ledger>,
    shared: Arc<Shared>,
    status: SinkStatus,
    ready: bool,
    /// Since 1970. What was due before may have been written before.
    started_us: i64,
}

impl SinkThread {
    fn run(&mut self) {
        let mut back_off = BACK_OFF;
        self.publish();
        while self.shared.stopping() != Stop::Force {
            match self.attempt() {
                Ok(true) => back_off = BACK_OFF,
                Ok(false) => std::thread::park_timeout(LOOK),
                Err(SinkError::Stop(why)) => {
                    SinkStopped { job: &self.shared.plan.name, sink: &self.name, why: &why }.emit();
                    self.status.state = SinkState::Stopped(why);
                    self.publish();
                    return;
                }
                Err(SinkError::Lost(why)) => {
                    SinkLost { job: &self.shared.plan.name, sink: &self.name, why: &why }.emit();
                    self.status.losses += 1;
                    self.move_to(self.cursor.lost());
                    self.publish();
                    // At once, unless it goes on losing.
                    pause(back_off.saturating_sub(BACK_OFF), &self.shared, Stop::Force);
                    back_off = (back_off * 2).min(BACK_OFF_MAX);
                }
                Err(SinkError::Retry(why)) => {
                    self.ready = false;
                    self.status.retries += 1;
                    if self.status.failing_since.is_none() {
                        SinkFailing { job: &self.shared.plan.name, sink: &self.name, why: &why }.emit();
                    }
                    self.status.failing_since.get_or_insert_with(super::clock::wall_us);
                    self.status.state = SinkState::Retrying(why);
                    self.publish();
                    // Also while the job drains: a store that is away is not asked all the time.
                    pause(back_off, &self.shared, Stop::Force);
                    back_off = (back_off * 2).min(BACK_OFF_MAX);
                }
            }
        }
    }

    /// Connects if need be and writes what is owed; whether there was anything. After a failure the cut is taken anew:
    /// it then holds the newest values.
    fn attempt(&mut self) -> Result<bool, SinkError> {
        if !self.ready {
            self.store.prepare()?;
            self.ready = true;
            // A store that failed is only there again once a write succeeds.
            if self.status.failing_since.is_none() {
                self.status.state = SinkState::Ok;
            }
            self.publish();
        }
        let cut = self.follower.cut(&self.ledger, &self.cursor).map_err(|error| SinkError::Retry(error.to_string()))?;
        let Some((cut, next)) = cut else { return Ok(false) };
        let began = Instant::now();
        let set_aside = self.store.write(&cut)?;
        self.measure(&cut, began.elapsed());
        self.move_to(next);
        self.status.state = SinkState::Ok;
        if cut.republished.is_some_and(|republished| republished.ends) {
            SinkRestored { job: &self.shared.plan.name, sink: &self.name }.emit();
        }
        if self.status.failing_since.take().is_some() {
            SinkRecovered { job: &self.shared.plan.name, sink: &self.name, retries: self.status.retries }.emit();
        }
        self.status.written = if cut.more { self.status.written } else { cut.version };
        self.status.rows += cut.rows.len() as u64;
        self.status.dead_letters += cut.dead_letters.len() as u64;
        self.status.set_aside += set_aside.len() as u64;
        let alarms = set_aside.iter().map(|row| format!("sink {}: set aside {}: {}", self.name, row.row, row.cause));
        self.shared.alarm(alarms);
        self.publish();
        Ok(true)
    }

    /// The cursor is durable with the next checkpoint.
    fn move_to(&mut self, cursor: Cursor) {
        self.cursor = cursor;
        self.cursors.lock().expect(LOCK).insert(self.name.clone(), self.cursor.clone());
    }

    fn measure(&self, cut: &Cut, took: Duration) {
        // What is written again was readable before.
        let since = cut.republished.map_or(self.started_us, |_| self.started_us.max(cut.previous_version.0 + 1));
        let versions = cut.rows.iter().map(|row| row.version.0).filter(|version| *version >= since);
        self.shared.durations.written(&self.name, took);
        self.shared.durations.readable(&self.name, versions, super::clock::wall_us());
    }

    fn publish(&self) {
        self.shared.sinks.lock().expect(LOCK).insert(self.name.clone(), self.status.clone());
    }
}
