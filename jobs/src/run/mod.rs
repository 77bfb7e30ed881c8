//! Runs one job: sources, engine and sinks, each where it may wait without holding up the others.
//!
//! ```text
//! HTTP intake ─▶ local log
//! discovery thread (per source) ─▶ engine thread ◀─▶ workers (timely)
//!                                      │ ledger
//!                                      └─▶ sink thread (per sink): cut ─▶ write ─▶ cursor
//! ```
//! Shutdown is a story: stop reading, drain, wait for the sinks, checkpoint, end. A dead sink delays only itself, and
//! the end by no more than [`PATIENCE`].

mod change;
pub(crate) mod clock;
mod difference;
mod discovery;
mod durations;
mod events;
mod hold;
mod intake;
mod rebuild;
mod settings;
mod sinks;
mod sources;
mod state;

pub use clock::Clock;
pub use clock::wall_us;
pub use durations::Durations;
use hold::Asking;
pub use hold::Hold;
pub use settings::Settings;
pub use sinks::{LATEST_GROUPS_MAX, STORE_FILE, SinkState, SinkStatus, context};
pub use state::Place;

use crate::inspect::memory;
use crate::jobfile::{Job, TableSource, tables};
use crate::serve::Attached;
use caudal_connectors::local_log::LocalLog;
use caudal_pipeline::bound;
use caudal_pipeline::decode::{TableRows, Tables};
use caudal_pipeline::engine::{Claim, Engine, EngineConfig, EngineError, HeldBack, Phase, Status};
use caudal_pipeline::log::{Fence, Fingerprint, LogError};
use caudal_pipeline::plan::Plan;
use caudal_pipeline::ports::sink::Sink;
use caudal_pipeline::ports::source::Source;
use state::State;
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// How long the end of a run waits for sinks that do not catch up.
const PATIENCE: Duration = Duration::from_secs(45);
/// How much longer it waits for what holds the engine itself back.
const GRACE: Duration = Duration::from_secs(5);
/// How long the engine waits for its workers in one turn.
const TURN: Duration = Duration::from_millis(2);
/// How often figures are published.
const PUBLISH: Duration = Duration::from_millis(100);

/// Epochs whose figures are remembered, to compare a store with.
const RECENT: usize = 256;

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
            EngineError::OtherJob { .. } => RunError::Refused(error.to_string()),
        }
    }
}

/// How a run is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    /// The place of its state.
    pub state: Place,
    /// How long its steps take.
    pub durations: Arc<Durations>,
    hold: Hold,
    memory_bound: OnceLock<u64>,
    status: Mutex<Published>,
    sinks: Mutex<BTreeMap<String, SinkStatus>>,
    discovery: Mutex<BTreeMap<u32, String>>,
    alarms: Mutex<Vec<String>>,
    alarm_count: AtomicU64,
    failure: Mutex<Option<String>>,
    recent: Mutex<VecDeque<Status>>,
    began: Mutex<BTreeMap<String, i64>>,
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
    pub fn new(plan: Arc<Plan>, state: impl Into<Place>) -> Arc<Shared> {
        Shared::held_as(Hold::default(), plan, state.into())
    }

    /// For the job that was, in the place of the one that starts on its state.
    fn of_old(&self, plan: Arc<Plan>) -> Arc<Shared> {
        Shared::held_as(self.hold.clone(), plan, self.state.clone())
    }

    fn held_as(hold: Hold, plan: Arc<Plan>, state: Place) -> Arc<Shared> {
        Arc::new(Shared {
            durations: Arc::new(Durations::of(&plan.name)),
            hold,
            memory_bound: OnceLock::new(),
            plan,
            state,
            status: Mutex::default(),
            sinks: Mutex::default(),
            discovery: Mutex::default(),
            alarms: Mutex::default(),
            alarm_count: AtomicU64::new(0),
            failure: Mutex::default(),
            recent: Mutex::default(),
            began: Mutex::default(),
            stop: AtomicU8::new(0),
        })
    }

    /// The newest figures.
    pub fn published(&self) -> Published {
        self.status.lock().expect(LOCK).clone()
    }

    /// This process's hold on the job's state.
    pub fn hold(&self) -> &Hold {
        &self.hold
    }

    /// Memory that the job can need at most, bytes: known once it runs, and if its limits bound it.
    pub fn memory_bound(&self) -> Option<u64> {
        self.memory_bound.get().copied()
    }

    /// The sinks, by name.
    pub fn sinks(&self) -> BTreeMap<String, SinkStatus> {
        self.sinks.lock().expect(LOCK).clone()
    }

    /// Sources that cannot be asked for their partitions, by stream.
    pub fn discovery(&self) -> BTreeMap<u32, String> {
        self.discovery.lock().expect(LOCK).clone()
    }

    /// Tells of what went wrong but was survived.
    fn alarm(&self, what: impl IntoIterator<Item = String>) {
        let mut alarms = self.alarms.lock().expect(LOCK);
        let before = alarms.len();
        alarms.extend(what);
        self.alarm_count.fetch_add((alarms.len() - before) as u64, Ordering::Relaxed);
    }

    /// How often something went wrong but was survived, since the start.
    pub fn alarm_count(&self) -> u64 {
        self.alarm_count.load(Ordering::Relaxed)
    }

    /// What went wrong but was survived, since the last call.
    pub fn take_alarms(&self) -> Vec<String> {
        std::mem::take(&mut self.alarms.lock().expect(LOCK))
    }

    /// Ends the run with this error: whoever calls found that it cannot go on.
    pub fn fail(&self, why: String) {
        self.failure.lock().expect(LOCK).get_or_insert(why);
    }

    /// Figures as of one of the newest epochs, if they are still known.
    pub fn status_at(&self, epoch: u64) -> Option<Status> {
        self.recent.lock().expect(LOCK).iter().find(|status| status.epoch.0 == epoch).cloned()
    }

    /// When a stream's generator was first started, microseconds since 1970.
    pub fn began_us(&self, stream: &str) -> Option<i64> {
        self.began.lock().expect(LOCK).get(stream).copied()
    }

    fn remember(&self, status: Status) {
        let mut recent = self.recent.lock().expect(LOCK);
        if recent.back().is_some_and(|last| last.epoch == status.epoch) {
            return;
        }
        recent.push_back(status);
        if recent.len() > RECENT {
            recent.pop_front();
        }
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
struct Parts<'a> {
    sources: Sources,
    sinks: Vec<sinks::Prepared>,
    intakes: intake::Intakes,
    /// Its lock is held until after the last write of every sink that does not hang.
    state: &'a State,
}

/// A sink that the process adds to those of the job file: complete rows of one view, to a screen.
pub struct Extra {
    /// Its name among the sinks.
    pub name: String,
    /// Position of the view.
    pub view: usize,
    /// Where the rows go.
    pub store: Box<dyn Sink>,
}

/// Runs `job` until it is asked to stop, ends by itself, or cannot go on.
pub fn job(job: &Job, settings: &Settings, shared: &Arc<Shared>, extra: Vec<Extra>) -> Result<(), RunError> {
    let outcome = start(job, settings, shared, extra);
    // Whoever looks sees that the run is over, even if it never began.
    shared.stop(Stop::Force);
    outcome
}

fn start(job: &Job, settings: &Settings, shared: &Arc<Shared>, extra: Vec<Extra>) -> Result<(), RunError> {
    let clock = Clock::start();
    if let Some(bytes) =
        bound::total(&memory::parts(job, memory::Running::told(Some(settings.workers), settings.checkpoint_every)))
    {
        shared.memory_bound.get_or_init(|| bytes);
    }
    let attached = intake::attach(job, settings)?;
    let state = State::open(&settings.state, job, settings.take_over)?;
    change::keep(job, &state)?;
    let mut sinks = sinks::build(job, state.folder())?;
    sinks.extend(extra.into_iter().map(sinks::Prepared::extra));
    let started = change::Started { job, state: &state, settings, shared, clock: &clock };
    if settings.rebuild {
        started.rebuild(&mut sinks)?;
    }
    let attached = attached.filter(|_| !settings.drain);
    let prepare = || prepare(&started, &sinks, attached.as_ref());
    let ready = match prepare() {
        Err(Unready::OtherJob(other)) => {
            change::carry_over(&started, other)?;
            prepare()
        }
        ready => ready,
    };
    let (engine, sources, intakes) = ready?;
    engine.fence().check().map_err(EngineError::from)?;
    rebuild::forget(&state.blobs())?;
    change::tell(&engine, job);
    let behind =
        drive(engine, Parts { sources, sinks, intakes, state: &state }, settings, shared, &clock, &|| shared.stopping())?;
    settings.all_is_written(&behind)
}

/// What a job runs with once it has started.
type Ready = (Engine, Sources, intake::Intakes);

/// Why it has not.
enum Unready {
    /// The state is another job's.
    OtherJob(u64),
    Failed(RunError),
}

impl From<EngineError> for Unready {
    fn from(error: EngineError) -> Unready {
        match error {
            EngineError::OtherJob { job } => Unready::OtherJob(job),
            error => Unready::Failed(error.into()),
        }
    }
}

impl From<RunError> for Unready {
    fn from(error: RunError) -> Unready {
        Unready::Failed(error)
    }
}

impl From<Unready> for RunError {
    fn from(why: Unready) -> RunError {
        match why {
            Unready::OtherJob(job) => EngineError::OtherJob { job }.into(),
            Unready::Failed(error) => error,
        }
    }
}

type Sources = BTreeMap<u32, Arc<dyn Source>>;

/// Opens sources and intakes, and starts the engine. What may be refused is so before the state is taken; the logs of
/// intakes are opened after it, when nobody else can promise what is in them. Without a place on the port, nothing is taken.
fn prepare(started: &change::Started<'_>, sinks: &[sinks::Prepared], attached: Option<&Arc<Attached>>) -> Result<Ready, Unready> {
    let change::Started { job, state, settings, shared, clock } = *started;
    let sources::Built { sources, began } = sources::build(job, state, clock)?;
    *shared.began.lock().expect(LOCK) = began;
    let mut config = EngineConfig {
        plan: shared.plan.clone(),
        fingerprint: fingerprint(job),
        workers: settings.workers,
        blobs: shared.durations.timed(state.blobs()),
        sources,
        tables: tables(job)?,
        checkpoint_every: settings.checkpoint_every,
        in_flight_bytes_max: bound::in_flight_bytes_max(&job.plan.limits),
        retain: sinks::ledger_retention(job),
        sinks: sinks.iter().map(|sink| sink.name.clone()).collect(),
    };
    let tables = Tables::new(&job.plan.tables, &config.tables).map_err(|mistakes| RunError::Refused(mistakes.join("\n")))?;
    let claim = shared.hold.taking(|taken| Claim::take(&config, taken))?;
    let fence = claim.fence().clone();
    let logs = sources::local_logs(job, state, fence.generation(), &mut config.sources)?;
    let folders: Vec<PathBuf> = logs.values().map(|log| log.folder.clone()).collect();
    for (stream, log) in &logs {
        let name = &job.plan.streams[*stream as usize].name;
        shared.alarm(log.torn.iter().map(|torn| intake::torn_words(name, torn)));
    }
    let open = |attached| intake::Intakes::open(started, logs, &tables, &fence, attached);
    let intakes = attached.map(open).unwrap_or_default();
    let sources = config.sources.clone();
    let engine = Engine::start_on(claim, config)?;
    if matches!(fence.newer(), Ok(None)) {
        folders.iter().for_each(|folder| LocalLog::forget_older(folder, fence.generation()));
    }
    Ok((engine, sources, intakes))
}

/// Runs an engine until `asked_to` ends it, or it ends by itself. Returns the sinks that have not got everything.
fn drive(
    mut engine: Engine,
    parts: Parts<'_>,
    settings: &Settings,
    shared: &Arc<Shared>,
    clock: &Clock,
    asked_to: &dyn Fn() -> Stop,
) -> Result<Vec<String>, RunError> {
    let Parts { sources, sinks, intakes, state } = parts;
    let found = discovery::start(&sources, shared);
    let sinks = sinks::start(sinks, &engine, shared);
    let _asking = Asking::start(&shared.hold);
    let (mut published, mut asked, mut seen) = (Instant::now(), None, None);
    // When the last epoch came into the ledger, also one that is repeated.
    let mut moved = Instant::now();
    let mut signalled = None;
    if settings.drain || asked_to() == Stop::Drain {
        // Before anything new is read.
        engine.stop(settings.close);
        asked = Some(Instant::now());
    }
    let outcome = loop {
        for (stream, partitions) in found.new_partitions() {
            match partitions {
                Ok(partitions) => engine.discovered(stream, partitions),
                Err(why) => return end(engine, sinks, intakes, shared, Err(RunError::Refused(why))),
            }
        }
        if let Err(error) = engine.turn(clock.now(), TURN) {
            break Err(error.into());
        }
        shared.durations.finished(&engine.finished(), clock.now().running_us);
        sinks.wake();
        let told = asked_to();
        signalled = signalled.or((told != Stop::No).then(Instant::now));
        let stop = told.max(if settings.drain { Stop::Drain } else { Stop::No });
        intakes.pause(engine.phase(), stop, engine.held_back());
        let end = engine.ledger().end();
        if seen.replace(end) != Some(end) {
            moved = Instant::now();
            let status = engine.status();
            intakes.bind(&status.positions);
            shared.remember(status);
        }
        if let Some(why) = shared.failure.lock().expect(LOCK).take() {
            break Err(RunError::Failed(why));
        }
        if engine.phase() == Phase::Done {
            break match engine.over_limit() {
                Some(why) => Err(RunError::Refused(why.to_owned())),
                None => Ok(engine.sinks_behind()),
            };
        }
        if shared.hold.is_known_lost()
            && let Err(fenced @ LogError::Fenced { .. }) = engine.fence().check()
        {
            break Err(EngineError::from(fenced).into());
        }
        if published.elapsed() >= PUBLISH {
            publish(&mut engine, shared);
            published = Instant::now();
        }
        let finished = settings.until_end && engine.phase() == Phase::Live && engine.status().input_finished;
        match stop {
            Stop::Force => {
                break Err(RunError::Failed("forced to stop; what was not finished is repeated at the next start".into()));
            }
            Stop::Drain if asked.is_none() => {
                engine.stop(settings.close);
                asked = Some(Instant::now());
            }
            Stop::No if finished && asked.is_none() => {
                engine.stop(settings.close);
                asked = Some(Instant::now());
            }
            // The engine has begun to drain by itself.
            Stop::No if engine.over_limit().is_some() && asked.is_none() => asked = Some(Instant::now()),
            _ => {}
        }
        sinks.newly_stopped().for_each(|sink| engine.do_not_wait_for(&sink));
        let draining = asked.map(|asked: Instant| asked.elapsed());
        if draining.is_some() && engine.held_back() == Some(HeldBack::DiskFull) {
            // Space was set aside for this: the last epochs and the last checkpoint.
            if let Err(error) = state.release_reserve() {
                break Err(error);
            }
        }
        if draining.is_some_and(|since| since > PATIENCE) {
            engine.do_not_wait_for_sinks();
        }
        if engine.held_back() == Some(HeldBack::DiskFull) && draining.is_some_and(|since| since > PATIENCE + GRACE) {
            let why = "the disk is full, so the run could not end in order; the next start goes on from what was bound";
            break Err(RunError::Failed(why.into()));
        }
        let stuck = engine.phase() == Phase::Replaying && moved.elapsed() > PATIENCE + GRACE;
        if stuck && signalled.is_some_and(|since: Instant| since.elapsed() > PATIENCE + GRACE) {
            let why = "what was read before this start could not be read again, so the run could not end in order; the next start \
                       goes on from what was bound";
            break Err(RunError::Failed(why.into()));
        }
    };
    end(engine, sinks, intakes, shared, outcome)
}

fn end(
    mut engine: Engine,
    sinks: sinks::Running,
    intakes: intake::Intakes,
    shared: &Arc<Shared>,
    outcome: Result<Vec<String>, RunError>,
) -> Result<Vec<String>, RunError> {
    publish(&mut engine, shared);
    // What a process that takes over does to its predecessor's files is not the reason.
    let mut patience = sinks::LAST_WRITES;
    let outcome = outcome.map_err(|error| match fenced(engine.fence()) {
        Some(fenced) => {
            // Whoever has taken over writes it too.
            patience = Duration::ZERO;
            EngineError::from(fenced).into()
        }
        None => error,
    });
    // Requests that still wait are answered.
    drop(intakes);
    // Threads see that the run is over; sinks finish the write they are in.
    shared.stop(Stop::Force);
    sinks.end(patience);
    engine.shut_down();
    outcome
}

/// Whether another process has the state, if that says so soon: one that does not answer may be the reason for the end.
fn fenced(fence: &Fence) -> Option<LogError> {
    let (send, answer) = channel();
    let fence = fence.clone();
    std::thread::spawn(move || drop(send.send(fence.check())));
    match answer.recv_timeout(sinks::LAST_WRITES) {
        Ok(Err(fenced @ LogError::Fenced { .. })) => Some(fenced),
        _ => None,
    }
}

fn publish(engine: &mut Engine, shared: &Shared) {
    let alarms = engine.alarms();
    let job = shared.plan.name.as_str();
    alarms.iter().for_each(|what| events::Alarm { job, what }.emit());
    shared.alarm(alarms);
    let published = Published { status: engine.status(), phase: Some(engine.phase()), generation: engine.generation() };
    let (phase, generation) = (engine.phase(), engine.generation());
    let before = std::mem::replace(&mut *shared.status.lock().expect(LOCK), published);
    if before.phase != Some(phase) {
        events::PhaseChanged { job, phase, generation }.emit();
    }
}

/// Rows of tables as they were when the job was read.
fn tables(job: &Job) -> Result<Vec<TableRows>, RunError> {
    let rows = |(source, plan): (&TableSource, &caudal_pipeline::plan::TablePlan)| {
        let text = job.files.get(&source.path).ok_or_else(|| RunError::Refused(format!("{} was not read", source.path)))?;
        tables::rows(text, source, plan).map_err(RunError::Refused)
    };
    job.tables.iter().zip(&job.plan.tables).map(rows).collect()
}

/// Of the job's meaning and of this build: what alters results.
fn fingerprint(job: &Job) -> Fingerprint {
    Fingerprint { job: caudal_pipeline::hash::route(job.fingerprint.as_bytes()), build: crate::BUILD }
}

/// What a sink's thread writes to.
type Store = Box<dyn Sink>;
