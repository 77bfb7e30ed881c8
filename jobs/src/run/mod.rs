//! Runs one job: sources, engine and sinks, each where it may wait without holding up the others.
//!
//! ```text
//! discovery thread (per source) ─▶ engine thread ◀─▶ workers (timely)
//!                                      │ ledger
//!                                      └─▶ sink thread (per sink): cut ─▶ write ─▶ cursor
//! ```
//! Shutdown is a story: stop reading, drain, wait for the sinks, checkpoint, end. A dead sink delays only itself, and
//! the end by no more than [`PATIENCE`].

mod clock;
mod discovery;
mod sinks;
mod sources;

pub use clock::Clock;
pub use sinks::{LATEST_GROUPS_MAX, STORE_FILE, SinkState, SinkStatus, context};

use crate::jobfile::{Job, TableSource, tables};
use caudal_connectors::state_folder::{StateFolder, StateFolderError};
use caudal_pipeline::engine::{Engine, EngineConfig, EngineError, Phase, Status};
use caudal_pipeline::plan::Plan;
use caudal_pipeline::ports::sink::Sink;
use caudal_pipeline::ports::source::Source;
use caudal_pipeline::time::Span;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long the end of a run waits for sinks that do not catch up.
const PATIENCE: Duration = Duration::from_secs(45);
/// How long the engine waits for its workers in one turn.
const TURN: Duration = Duration::from_millis(2);
/// How often figures are published.
const PUBLISH: Duration = Duration::from_millis(100);

/// What belongs to the process and not to the job.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder of the job's state.
    pub state: PathBuf,
    /// Threads that work.
    pub workers: usize,
    /// Whether a process that holds the state is taken over from.
    pub take_over: bool,
    /// Whether the run ends once finite sources are read.
    pub until_end: bool,
    /// Whether the input is closed for ever at the end.
    pub close: bool,
    /// Time between checkpoints.
    pub checkpoint_every: Span,
}

impl Settings {
    /// The defaults, with state under `state`.
    pub fn in_folder(state: PathBuf) -> Settings {
        let workers = std::thread::available_parallelism().map_or(1, |n| n.get().min(4));
        Settings { state, workers, take_over: false, until_end: false, close: false, checkpoint_every: Span::seconds(60) }
    }
}

/// Why a job did not start or did not go on. The exit code says whether a restart may help.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A restart may help.
    #[error("{0}")]
    Failed(String),
    /// It will not.
    #[error("{0}")]
    Refused(String),
}

impl RunError {
    /// 1 or 3.
    pub fn exit_code(&self) -> u8 {
        match self {
            RunError::Failed(_) => 1,
            RunError::Refused(_) => 3,
        }
    }
}

impl From<EngineError> for RunError {
    fn from(error: EngineError) -> RunError {
        match error {
            EngineError::Failed(why) => RunError::Failed(why),
            EngineError::Refused(why) => RunError::Refused(why),
        }
    }
}

impl From<StateFolderError> for RunError {
    fn from(error: StateFolderError) -> RunError {
        if error.restart_may_help() { RunError::Failed(error.to_string()) } else { RunError::Refused(error.to_string()) }
    }
}

/// How a run is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Go on.
    No,
    /// Finish what was read.
    Drain,
    /// Now.
    Force,
}

/// A running job as others see it: figures out, the wish to stop in.
pub struct Shared {
    /// The job's plan.
    pub plan: Arc<Plan>,
    /// The folder of its state.
    pub state: PathBuf,
    status: Mutex<Published>,
    sinks: Mutex<BTreeMap<String, SinkStatus>>,
    discovery: Mutex<BTreeMap<u32, String>>,
    alarms: Mutex<Vec<String>>,
    stop: AtomicU8,
}

/// Figures as last published.
#[derive(Clone, Debug, Default)]
pub struct Published {
    /// The engine's.
    pub status: Status,
    /// What it is doing; `None` before it has started.
    pub phase: Option<Phase>,
    /// This process's generation.
    pub generation: u64,
}

const LOCK: &str = "no thread panics while it holds shared figures";

impl Shared {
    /// For a job whose state is in `state`.
    pub fn new(plan: Arc<Plan>, state: PathBuf) -> Arc<Shared> {
        Arc::new(Shared {
            plan,
            state,
            status: Mutex::default(),
            sinks: Mutex::default(),
            discovery: Mutex::default(),
            alarms: Mutex::default(),
            stop: AtomicU8::new(0),
        })
    }

    /// The newest figures.
    pub fn published(&self) -> Published {
        self.status.lock().expect(LOCK).clone()
    }

    /// The sinks, by name.
    pub fn sinks(&self) -> BTreeMap<String, SinkStatus> {
        self.sinks.lock().expect(LOCK).clone()
    }

    /// Sources that cannot be asked for their partitions, by stream.
    pub fn discovery(&self) -> BTreeMap<u32, String> {
        self.discovery.lock().expect(LOCK).clone()
    }

    /// What went wrong but was survived, since the last call.
    pub fn take_alarms(&self) -> Vec<String> {
        std::mem::take(&mut self.alarms.lock().expect(LOCK))
    }

    /// Asks the run to end.
    pub fn stop(&self, how: Stop) {
        self.stop.fetch_max(how as u8, Ordering::SeqCst);
    }

    /// How it was asked to end.
    pub fn stopping(&self) -> Stop {
        match self.stop.load(Ordering::SeqCst) {
            0 => Stop::No,
            1 => Stop::Drain,
            _ => Stop::Force,
        }
    }
}

/// What a job is run with, once everything outside is known.
struct Parts {
    sources: BTreeMap<u32, Arc<dyn Source>>,
    sinks: Vec<sinks::Prepared>,
    folder: StateFolder,
}

/// Runs `job` until it is asked to stop, ends by itself, or cannot go on.
pub fn job(job: &Job, settings: &Settings, shared: &Arc<Shared>) -> Result<(), RunError> {
    let clock = Clock::start();
    let folder = StateFolder::open(&settings.state, &job.plan.name, settings.take_over)?;
    let sources = sources::build(job, &folder, &clock)?;
    let sinks = sinks::build(job, &settings.state)?;
    let tables = job.tables.iter().zip(&job.plan.tables).map(|(source, plan)| table_rows(source, plan));
    let tables = tables.collect::<Result<Vec<_>, RunError>>()?;
    let config = EngineConfig {
        plan: shared.plan.clone(),
        fingerprint: fingerprint(job),
        workers: settings.workers,
        blobs: folder.blobs(),
        sources: sources.clone(),
        tables,
        checkpoint_every: settings.checkpoint_every,
        in_flight_bytes_max: caudal_pipeline::bound::in_flight_bytes_max(&job.plan.limits),
        retain: sinks::ledger_retention(job),
        sinks: sinks.iter().map(|sink| sink.name.clone()).collect(),
    };
    let engine = Engine::start(config)?;
    drive(engine, Parts { sources, sinks, folder }, settings, shared, clock)
}

fn drive(mut engine: Engine, parts: Parts, settings: &Settings, shared: &Arc<Shared>, clock: Clock) -> Result<(), RunError> {
    let found = discovery::start(&parts.sources, shared);
    let sinks = sinks::start(parts.sinks, &engine, shared);
    let (mut published, mut asked) = (Instant::now(), None);
    let outcome = loop {
        for (stream, partitions) in found.new_partitions() {
            match partitions {
                Ok(partitions) => engine.discovered(stream, partitions),
                Err(why) => return end(engine, sinks, shared, &parts.folder, Err(RunError::Refused(why))),
            }
        }
        if let Err(error) = engine.turn(clock.now(), TURN) {
            break Err(error.into());
        }
        sinks.wake();
        if engine.phase() == Phase::Done {
            break Ok(());
        }
        if published.elapsed() >= PUBLISH {
            publish(&mut engine, shared);
            published = Instant::now();
        }
        let finished = settings.until_end && engine.phase() == Phase::Live && engine.status().input_finished;
        match shared.stopping() {
            Stop::Force => break Err(RunError::Failed("forced to stop; what was not finished is repeated at the next start".into())),
            Stop::Drain if asked.is_none() => {
                engine.stop(settings.close);
                asked = Some(Instant::now());
            }
            Stop::No if finished && asked.is_none() => {
                engine.stop(settings.close);
                asked = Some(Instant::now());
            }
            _ => {}
        }
        if asked.is_some_and(|asked| asked.elapsed() > PATIENCE) || sinks.all_stopped() {
            engine.do_not_wait_for_sinks();
        }
    };
    end(engine, sinks, shared, &parts.folder, outcome)
}

fn end(
    mut engine: Engine,
    sinks: sinks::Running,
    shared: &Arc<Shared>,
    folder: &StateFolder,
    outcome: Result<(), RunError>,
) -> Result<(), RunError> {
    publish(&mut engine, shared);
    // Threads see that the run is over; sinks finish the write they are in.
    shared.stop(Stop::Force);
    sinks.join();
    engine.shut_down();
    // The lock goes with the folder, after the last write.
    let _ = folder.path();
    outcome
}

fn publish(engine: &mut Engine, shared: &Shared) {
    shared.alarms.lock().expect(LOCK).extend(engine.alarms());
    let published = Published { status: engine.status(), phase: Some(engine.phase()), generation: engine.generation() };
    *shared.status.lock().expect(LOCK) = published;
}

fn table_rows(source: &TableSource, plan: &caudal_pipeline::plan::TablePlan) -> Result<Vec<Vec<Option<String>>>, RunError> {
    let text = std::fs::read_to_string(&source.path).map_err(|error| RunError::Refused(format!("cannot read {}: {error}", source.path)))?;
    tables::rows(&text, source, plan).map_err(RunError::Refused)
}

/// Of the job's meaning and of this build: what alters results.
fn fingerprint(job: &Job) -> u64 {
    caudal_pipeline::hash::route(format!("{}\n{}", env!("CARGO_PKG_VERSION"), job.fingerprint).as_bytes())
}

/// What a sink's thread writes to.
type Store = Box<dyn Sink>;
