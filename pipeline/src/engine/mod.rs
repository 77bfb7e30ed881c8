//! The engine: workers, coordinator, ledger and checkpoints of one job, driven by [`Engine::turn`].
//!
//! It reads no clock: whoever drives it passes [`Now`]. One turn takes what workers report, opens, closes and binds
//! epochs, appends finished ones to the ledger, and starts or ends checkpoints.
//!
//! ```text
//! start: take generation ─ newest checkpoint ─ load ─ replay the bound epochs since ─┐
//! live:  Open(e) … Close(e) ─ all Closed(e) ─ Bind(e): Tick to workers, log append ──┴─ all parts ─ ledger
//! ```
//! The tick goes out before the append: only effects wait for durability. If the process stops in between, nothing of
//! the epoch has left and it is formed anew.
//!
//! The file stays whole because its methods are the steps of one turn, over the state that the turn shares.

mod checkpoint;
mod clock_guard;
mod epochs;
mod lag;

pub use checkpoint::{Manifest, SourceState};
pub use epochs::{Now, OPEN_EPOCHS_MAX, TICK};
pub use lag::Lag;

use crate::decode::Tables;
use crate::ledger::{Batch, Cursor, Keep, Ledger};
use crate::log::{Bind, Checkpoint, CommitLog, Generation, LogError, LogRecord};
use crate::operators::Tick;
use crate::operators::collect::{Counts, EpochPart, RowCounts};
use crate::plan::{Plan, StreamInput, WindowPlan};
use crate::ports::blobs::{BlobError, Blobs};
use crate::ports::source::{Discovered, Source};
use crate::record::Offset;
use crate::run::RunError;
use crate::state::{Sizes, State, WindowCounts};
use crate::time::{Epoch, EventTime, Span, Version};
use crate::worker::{Command, Gauges, Opening, PartitionReport, Report, WorkerError, WorkerSetup};
use checkpoint::Written;
use clock_guard::{Belief, ClockGuard};
use epochs::SourceStream;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Why the engine stopped.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A restart will not help: fenced, foreign state, rewritten topic, unknown topic.
    #[error("{0}")]
    Refused(String),
    /// A restart may help.
    #[error("{0}")]
    Failed(String),
}

impl From<LogError> for EngineError {
    fn from(error: LogError) -> EngineError {
        match error {
            LogError::Blob(error) => EngineError::Failed(error.to_string()),
            other => EngineError::Refused(other.to_string()),
        }
    }
}

impl From<WorkerError> for EngineError {
    fn from(error: WorkerError) -> EngineError {
        match error {
            WorkerError::Panicked => EngineError::Failed(error.to_string()),
            WorkerError::Source(_) | WorkerError::Rewritten { .. } => EngineError::Refused(error.to_string()),
        }
    }
}

/// A checkpoint, which empties the ledger's table, is made early when the table holds more than this.
const LEDGER_TABLE_BYTES_MAX: usize = 64 << 20;
/// Nothing new is read while it holds more than this: the checkpoint under way is slower than what comes in.
const LEDGER_TABLE_BYTES_HELD: usize = 2 * LEDGER_TABLE_BYTES_MAX;

const CURSORS: &str = "no thread panics while it holds the cursors";

/// By stream, each partition that moved in a bound epoch.
type Bound = Arc<Vec<(u32, crate::log::PartitionBind)>>;

/// Everything that a job runs with.
pub struct EngineConfig {
    /// The job.
    pub plan: Arc<Plan>,
    /// Of all that alters results.
    pub fingerprint: u64,
    /// Workers: threads of timely.
    pub workers: usize,
    /// Where state lives.
    pub blobs: Arc<dyn Blobs>,
    /// The sources, by stream.
    pub sources: BTreeMap<u32, Arc<dyn Source>>,
    /// Reference data as it is now: for each table of the plan its rows, one text or none for each column.
    pub tables: Vec<Vec<Vec<Option<String>>>>,
    /// Time between checkpoints.
    pub checkpoint_every: Span,
    /// Intake pauses while more than this is in flight.
    pub in_flight_bytes_max: u64,
    /// Sinks by name, and how long the ledger keeps rows of each view for them after they are served.
    pub retain: BTreeMap<usize, Option<Span>>,
    /// Names of the sinks: what no sink has passed is kept.
    pub sinks: Vec<String>,
}

/// An epoch on its way from its opening to the ledger.
#[derive(Default)]
struct InFlight {
    opened: Version,
    /// When this process opened it, running time; `None` if it repeats what was bound.
    opened_at_us: Option<i64>,
    closed: Vec<Vec<PartitionReport>>,
    /// Known from the log at a replay.
    bound: Option<Bind>,
    ticked: bool,
    /// Its `Bind`, until it is in the log.
    to_append: Option<LogRecord>,
    durable: bool,
    watermarks: Vec<EventTime>,
    /// Positions as of the end of the epoch; unknown while bound epochs are repeated, where there is no checkpoint.
    positions: BTreeMap<u32, SourceState>,
    save: bool,
    /// The input ends with it.
    closes: bool,
    parts: Vec<EpochPart>,
}

/// What the engine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Repeating epochs that were bound before the start.
    Replaying,
    /// Reading what comes.
    Live,
    /// No epoch opens any more; those that are open finish.
    Draining,
    /// Everything is in the ledger and in a checkpoint.
    Done,
}

/// Why nothing is read now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HeldBack {
    /// The wall clock has jumped and is not believed yet.
    ClockJumped,
    /// What was read cannot be bound.
    DiskFull,
    /// As much is in flight as may be.
    InFlight,
    /// The ledger grows faster than a checkpoint can be written.
    SlowCheckpoint,
}

impl HeldBack {
    /// All reasons.
    pub const ALL: [HeldBack; 4] = [HeldBack::ClockJumped, HeldBack::DiskFull, HeldBack::InFlight, HeldBack::SlowCheckpoint];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            HeldBack::ClockJumped => "clock_jumped",
            HeldBack::DiskFull => "disk_full",
            HeldBack::InFlight => "in_flight",
            HeldBack::SlowCheckpoint => "slow_checkpoint",
        }
    }
}

impl std::fmt::Display for HeldBack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            HeldBack::ClockJumped => "the wall clock has jumped and is not believed yet",
            HeldBack::DiskFull => "the disk is full",
            HeldBack::InFlight => "as much is in flight as may be",
            HeldBack::SlowCheckpoint => "the ledger grows faster than a checkpoint can be written",
        })
    }
}

/// Figures for people, metrics and tests; all counts are as of `epoch`.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// The last epoch in the ledger.
    pub epoch: Epoch,
    /// Its version.
    pub opened: Version,
    /// W for each stream of the plan.
    pub watermarks: Vec<EventTime>,
    /// Verdicts since the job began.
    pub counts: Counts,
    /// Row changes since the job began.
    pub row_counts: RowCounts,
    /// Epochs that are opened and not in the ledger, the one being read included.
    pub open_epochs: usize,
    /// Windows that are open as of `epoch`, by view: one for each group, and of sliding ones the panes they share.
    pub windows: WindowCounts,
    /// Bytes of state as saved in the newest checkpoint, by operator: `ids/` a stream, `view/` a view.
    pub state_bytes: Sizes,
    /// How far behind their sources' ends streams are, where sources tell their ends.
    pub lag: BTreeMap<u32, Lag>,
    /// Sources in trouble, by stream.
    pub trouble: BTreeMap<u32, String>,
    /// Bytes of messages whose epoch is not collected.
    pub in_flight_bytes: u64,
    /// Times intake was held back.
    pub intake_paused: u64,
    /// Why nothing is read now, if that is so.
    pub held_back: Option<HeldBack>,
    /// Bytes of ledger in memory.
    pub ledger_bytes: usize,
    /// Bytes of ledger beyond each sink's cursor, at most ([`Ledger::bytes_after`]).
    pub behind_bytes: BTreeMap<String, u64>,
    /// The newest checkpoint's epoch and version.
    pub checkpoint: Option<(Epoch, Version)>,
    /// The next offset of every partition of each source stream.
    pub positions: BTreeMap<u32, Vec<(crate::record::Partition, Offset)>>,
    /// Whether every partition of every source has ended and is read.
    pub input_finished: bool,
    /// Whether all sources have delivered what there is.
    pub quiet: bool,
}

/// What was finished, each as the running time of its beginning: whoever drives the engine has the clock for the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finished {
    /// Opening times of epochs that are in the ledger now and were read live.
    pub epochs: Vec<i64>,
    /// When the state was handed over for checkpoints that are in the log now.
    pub checkpoints: Vec<i64>,
}

/// See the module.
pub struct Engine {
    config: EngineConfig,
    log: CommitLog,
    ledger: Arc<Ledger>,
    commands: Vec<Sender<Command>>,
    reports: Receiver<Report>,
    threads: Option<timely::communication::WorkerGuards<()>>,
    gauges: Arc<Gauges>,
    phase: Phase,
    sources: BTreeMap<u32, SourceStream>,
    /// By source stream that has answered since the start: partitions that are not looked at yet.
    discovered: BTreeMap<u32, Vec<Discovered>>,
    replay: VecDeque<Bind>,
    in_flight: BTreeMap<Epoch, InFlight>,
    /// The live epoch being read, and when it was opened.
    open: Option<(Epoch, i64)>,
    last_opened: (Epoch, Version),
    last_watermarks: Arc<[EventTime]>,
    paused: BTreeMap<(u32, u32), bool>,
    cursors: Arc<Mutex<BTreeMap<String, Cursor>>>,
    status: Status,
    checkpoint: Checkpointing,
    disk_full: bool,
    guard: ClockGuard,
    alarms: Vec<String>,
    finished: Finished,
    stopping: bool,
    patient: bool,
    /// Sinks that are not waited for at the end.
    given_up: BTreeSet<String>,
    /// The last epoch that may hold effects; those after it are only saved at.
    effects_end: Epoch,
    close: bool,
    ended: bool,
    tables: TableVersions,
}

/// Checkpoints under way and kept.
#[derive(Default)]
struct Checkpointing {
    last_us: Option<i64>,
    /// The epoch that is being saved, until its files are written.
    epoch: Option<Epoch>,
    result: Option<Receiver<Result<Written, RunError>>>,
    /// The log's slot in which the epoch that is being saved was bound: what is needed beside it lies above.
    slot: u64,
    /// The last two, each with its slot as above.
    kept: VecDeque<(u64, Checkpoint, Manifest)>,
    wanted: bool,
    /// The last attempt found the disk full.
    no_space: bool,
}

impl Engine {
    /// Takes the next generation of the state, loads the newest checkpoint, and starts the workers. Replay and
    /// everything else happens in [`Engine::turn`].
    pub fn start(config: EngineConfig) -> Result<Engine, EngineError> {
        let (mut log, mut records) = CommitLog::open(config.blobs.clone())?;
        check_fingerprint(last_fingerprint(&records), config.fingerprint)?;
        let mut alarms = Vec::new();
        let found = checkpoint::newest(&config.blobs, log.generation(), &records, |alarm| alarms.push(alarm.to_owned()))
            .map_err(EngineError::Refused)?;
        let source = |stream: &u32| SourceStream::new(*stream, config.plan.streams[*stream as usize].watermark);
        let mut sources: BTreeMap<u32, SourceStream> = config.sources.keys().map(|stream| (*stream, source(stream))).collect();
        let (manifest, state, ledger, checkpoint_slot) = match found {
            Some((slot, manifest, state, ledger)) => (Some(manifest), state, ledger, slot),
            None => (None, State::default(), open_new_ledger(&config, log.generation())?, 0),
        };
        // Of a log that was pruned since the last start, only the checkpoint knows who wrote it, and that it ended.
        check_fingerprint(manifest.as_ref().map(|manifest| manifest.fingerprint), config.fingerprint)?;
        let tables = TableVersions::store(&config)?;
        let generation =
            Generation { generation: log.generation(), fingerprint: config.fingerprint, workers: config.workers as u32 };
        records.extend(log.begin(&LogRecord::Generation(generation))?);
        let loaded_at = manifest.as_ref().map_or(Epoch(0), |m| m.epoch);
        let replay: VecDeque<Bind> = records
            .iter()
            .filter_map(|(_, record)| match record {
                LogRecord::Bind(bind) if bind.epoch > loaded_at => Some(bind.clone()),
                _ => None,
            })
            .collect();
        let ended = manifest.as_ref().is_some_and(|m| m.ended) || replay.iter().any(|bind| bind.closes);
        let mut status = Status::default();
        let mut cursors = BTreeMap::new();
        if let Some(manifest) = &manifest {
            restore_sources(&mut sources, manifest);
            status.counts = manifest.counts.iter().copied().collect();
            status.row_counts = manifest.row_counts.clone();
            (status.epoch, status.opened) = (manifest.epoch, manifest.opened);
            status.checkpoint = Some((manifest.epoch, manifest.opened));
            cursors = manifest.cursors.clone();
            state.measure(&mut status.state_bytes);
        }
        let gauges = Arc::new(Gauges { collected: loaded_at.0.into(), ..Gauges::default() });
        let (commands, reports, threads) = start_workers(&config, state, loaded_at, &gauges)?;
        let opened = manifest.as_ref().map_or(Version(0), |m| m.opened);
        let mut checkpointing = Checkpointing::default();
        if let Some(manifest) = manifest {
            let record = records.iter().find_map(|(at, record)| match record {
                LogRecord::Checkpoint(checkpoint) if *at == checkpoint_slot => Some(checkpoint.clone()),
                _ => None,
            });
            let slot = bound_slot(&records, loaded_at, checkpoint_slot);
            checkpointing.kept.push_back((slot, record.expect("the checkpoint that was opened"), manifest));
        }
        let watermarks: Arc<[EventTime]> = epochs::watermarks(&config.plan, &sources).into();
        status.watermarks = watermarks.to_vec();
        let mut engine = Engine {
            phase: if replay.is_empty() { Phase::Live } else { Phase::Replaying },
            config,
            log,
            ledger: Arc::new(ledger),
            commands,
            reports,
            threads: Some(threads),
            gauges,
            sources,
            discovered: BTreeMap::new(),
            replay,
            in_flight: BTreeMap::new(),
            open: None,
            last_opened: (loaded_at, opened),
            last_watermarks: watermarks,
            paused: BTreeMap::new(),
            cursors: Arc::new(Mutex::new(cursors)),
            status,
            checkpoint: checkpointing,
            disk_full: false,
            guard: ClockGuard::default(),
            alarms,
            finished: Finished::default(),
            stopping: false,
            patient: true,
            given_up: BTreeSet::new(),
            effects_end: loaded_at,
            close: false,
            ended,
            tables,
        };
        engine.assign_all();
        if ended && engine.phase == Phase::Live {
            engine.phase = Phase::Draining;
        }
        Ok(engine)
    }

    /// The ledger that sinks follow.
    pub fn ledger(&self) -> Arc<Ledger> {
        self.ledger.clone()
    }

    /// The sinks' cursors: each sink's thread moves its own.
    pub fn cursors(&self) -> Arc<Mutex<BTreeMap<String, Cursor>>> {
        self.cursors.clone()
    }

    /// Figures as of now.
    pub fn status(&self) -> Status {
        let mut status = self.status.clone();
        status.in_flight_bytes = self.gauges.in_flight_bytes.load(Ordering::Relaxed);
        status.intake_paused = self.gauges.intake_paused.load(Ordering::Relaxed);
        status.held_back = self.held_back();
        status.ledger_bytes = self.ledger.resident_bytes();
        status.open_epochs = self.in_flight.len();
        status.lag = self.sources.values().filter_map(|source| Some((source.stream, self.lag(source)?))).collect();
        let cursors = self.cursors.lock().expect(CURSORS);
        let behind = |name: &String| self.ledger.bytes_after(cursors.get(name).map_or(Epoch(0), |cursor| cursor.epoch));
        status.behind_bytes = self.config.sinks.iter().map(|name| (name.clone(), behind(name))).collect();
        status
    }

    fn lag(&self, source: &SourceStream) -> Option<Lag> {
        let unbound = self.in_flight.values().filter(|flight| !flight.durable && flight.bound.is_none());
        let reports = unbound.flat_map(|flight| flight.closed.iter().flatten());
        let unbound = reports.filter(|report| report.stream == source.stream).map(|report| report.count).sum();
        let saved = self.checkpoint.kept.back().and_then(|(_, _, manifest)| manifest.streams.get(&source.stream));
        lag::of(source, unbound, saved)
    }

    /// Why nothing is read now, if that is so.
    pub fn held_back(&self) -> Option<HeldBack> {
        let in_flight = self.gauges.in_flight_bytes.load(Ordering::Relaxed);
        let holds = |reason: &HeldBack| match reason {
            HeldBack::ClockJumped => !self.guard.trusted(),
            HeldBack::DiskFull => self.disk_full || self.checkpoint.no_space,
            HeldBack::InFlight => in_flight > self.config.in_flight_bytes_max,
            HeldBack::SlowCheckpoint => self.ledger.table_bytes() > LEDGER_TABLE_BYTES_HELD,
        };
        HeldBack::ALL.into_iter().find(holds)
    }

    /// What it is doing.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// This process's generation.
    pub fn generation(&self) -> u64 {
        self.log.generation()
    }

    /// Whether the job's input was closed for ever, by this process or an earlier one.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// What went wrong but was survived, since the last call.
    pub fn alarms(&mut self) -> Vec<String> {
        std::mem::take(&mut self.alarms)
    }

    /// What was finished since the last call.
    pub fn finished(&mut self) -> Finished {
        std::mem::take(&mut self.finished)
    }

    /// Tells of the partitions that exist; new ones are read from the next turn on, or once the replay is over.
    pub fn discovered(&mut self, stream: u32, partitions: Vec<Discovered>) {
        self.discovered.insert(stream, partitions);
    }

    fn add_discovered(&mut self) {
        if self.phase != Phase::Live {
            return;
        }
        let mut added = Vec::new();
        for (stream, partitions) in &mut self.discovered {
            let (stream, source) = (*stream, self.sources.get_mut(stream).expect("a source stream"));
            for found in partitions.drain(..) {
                if let Some(index) = source.add(found.partition.clone(), found.start) {
                    added.push(Command::Assign { stream, index, partition: found.partition, next: found.start });
                }
            }
        }
        added.iter().for_each(|command| self.tell(command));
    }

    /// Ends the run: nothing more is read, what was read is finished and checkpointed. With `close`, everything
    /// completes and the state is read-only from then on.
    pub fn stop(&mut self, close: bool) {
        self.close |= close && !self.ended;
        self.stopping = true;
        if self.phase == Phase::Live {
            self.phase = Phase::Draining;
        }
    }

    /// Whether every sink has written everything up to `epoch`.
    fn sinks_have_passed(&self, epoch: Epoch) -> bool {
        let cursors = self.cursors.lock().expect(CURSORS);
        let has_passed = |name: &String| cursors.get(name).is_some_and(|cursor| cursor.has_passed(epoch));
        self.config.sinks.iter().all(|name| self.given_up.contains(name) || has_passed(name))
    }

    /// While draining, the last checkpoint waits for the sinks; a dead store would hold it for ever, so whoever drives
    /// the engine ends the wait. What a sink has not written stays in the ledger.
    pub fn do_not_wait_for_sinks(&mut self) {
        self.patient = false;
    }

    /// The same for one sink: its store has refused it for good.
    pub fn do_not_wait_for(&mut self, sink: &str) {
        self.given_up.insert(sink.to_owned());
    }

    /// Asks for a checkpoint soon.
    pub fn checkpoint(&mut self) {
        self.checkpoint.wanted = true;
    }

    /// Does whatever is due; waits up to `wait` for workers to report.
    pub fn turn(&mut self, now: Now, wait: Duration) -> Result<(), EngineError> {
        let mut report = self.reports.recv_timeout(wait).ok();
        while let Some(taken) = report {
            self.take(taken)?;
            report = self.reports.try_recv().ok();
        }
        match self.guard.look(now) {
            Belief::Jumped(by) => {
                let seconds = by.0 / 1_000_000;
                self.alarms
                    .push(format!("the wall clock has jumped by {seconds} s: reading stops until it has stood for a minute"));
            }
            Belief::Believed => self.alarms.push("the wall clock is believed again: reading goes on".into()),
            Belief::Steady | Belief::Waiting => {}
        }
        self.feed_replay()?;
        self.add_discovered();
        self.end_epoch(now);
        self.bind_closed(now)?;
        self.open_epoch(now);
        self.append_finished(now);
        self.finish_checkpoint()?;
        let held = self.checkpoint.no_space || self.ledger.table_bytes() > LEDGER_TABLE_BYTES_HELD;
        self.gauges.held.store(held, Ordering::Relaxed);
        self.drain(now);
        Ok(())
    }

    fn take(&mut self, report: Report) -> Result<(), EngineError> {
        match report {
            Report::Closed(epoch, partitions) => {
                for report in &partitions {
                    let source = self.sources.get_mut(&report.stream).expect("partitions belong to source streams");
                    source.reports.insert(report.index, *report);
                }
                self.in_flight.get_mut(&epoch).expect("workers close what was opened").closed.push(partitions);
            }
            Report::Part(part) => {
                self.in_flight.get_mut(&part.epoch).expect("parts belong to ticked epochs").parts.push(*part);
            }
            Report::Trouble(stream, Some(why)) => drop(self.status.trouble.insert(stream, why)),
            Report::Trouble(stream, None) => drop(self.status.trouble.remove(&stream)),
            Report::Failed(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn tell(&self, command: &Command) {
        for worker in &self.commands {
            // A worker that is gone has reported why.
            let _ = worker.send(command.clone());
        }
    }

    /// Reads every known partition on from where it was bound.
    fn assign_all(&self) {
        for source in self.sources.values() {
            for (at, (partition, next)) in source.partitions.iter().enumerate() {
                let index = crate::record::PartitionIndex(at as u32);
                self.tell(&Command::Assign { stream: source.stream, index, partition: partition.clone(), next: *next });
            }
        }
    }

    /// Has the workers repeat bound epochs, as many at a time as may be open.
    fn feed_replay(&mut self) -> Result<(), EngineError> {
        while (self.in_flight.len() as u64) < OPEN_EPOCHS_MAX
            && let Some(bind) = self.replay.pop_front()
        {
            for stream in &bind.streams {
                let known = self.sources[&stream.stream].partitions.len();
                for (n, (partition, start)) in stream.added.iter().enumerate() {
                    let index = crate::record::PartitionIndex((known + n) as u32);
                    self.tell(&Command::Assign { stream: stream.stream, index, partition: partition.clone(), next: *start });
                }
                self.sources.get_mut(&stream.stream).expect("a bound stream is a source").restore(stream);
            }
            let exactly = bind.streams.iter().flat_map(|s| s.partitions.iter().map(|p| (s.stream, *p))).collect();
            let mut opening = self.opening(bind.epoch, bind.opened, Some(Arc::new(exactly)));
            opening.tables = self.tables.bound(&*self.config.blobs, &self.config.plan, bind.tables)?;
            self.last_opened = (bind.epoch, bind.opened);
            self.effects_end = bind.epoch;
            let watermarks = self.watermarks_of(&bind);
            let entry = InFlight { opened: bind.opened, bound: Some(bind), watermarks, ..InFlight::default() };
            self.in_flight.insert(opening.epoch, entry);
            self.tell(&Command::Open(opening));
        }
        if self.phase == Phase::Replaying && self.replay.is_empty() && self.in_flight.is_empty() {
            self.phase = if self.ended || self.stopping { Phase::Draining } else { Phase::Live };
        }
        Ok(())
    }

    /// W(e) as it was bound.
    fn watermarks_of(&self, bind: &Bind) -> Vec<EventTime> {
        let mut watermarks: Vec<EventTime> = Vec::new();
        for (index, stream) in self.config.plan.streams.iter().enumerate() {
            watermarks.push(match &stream.from {
                StreamInput::Stream(parent, _) => watermarks[*parent],
                StreamInput::Source(_) => {
                    bind.streams.iter().find(|s| s.stream as usize == index).map_or(EventTime::MIN, |s| s.watermark)
                }
            });
        }
        watermarks
    }

    fn opening(&self, epoch: Epoch, opened: Version, exactly: Option<Bound>) -> Opening {
        Opening { epoch, opened, tables: self.tables.tables.clone(), exactly }
    }

    fn open_epoch(&mut self, now: Now) {
        let live = self.phase == Phase::Live && self.open.is_none() && self.guard.trusted();
        if live && (self.in_flight.len() as u64) < OPEN_EPOCHS_MAX {
            let epoch = self.last_opened.0.next();
            let opened = epochs::opening_time(now, self.last_opened.1);
            self.last_opened = (epoch, opened);
            self.open = Some((epoch, now.running_us));
            self.effects_end = epoch;
            self.gauges.open_records.store(0, Ordering::Relaxed);
            let opened_at_us = Some(now.running_us);
            self.in_flight.insert(epoch, InFlight { opened, opened_at_us, ..InFlight::default() });
            self.tell(&Command::Open(self.opening(epoch, opened, None)));
        }
    }

    fn end_epoch(&mut self, now: Now) {
        let Some((_, opened_at_us)) = self.open else { return };
        let records = self.gauges.open_records.load(Ordering::Relaxed);
        if epochs::ends(now, opened_at_us, records) || self.phase == Phase::Draining {
            self.open = None;
            self.tell(&Command::Close);
            self.open_epoch(now);
        }
    }

    /// Binds epochs that every worker has stopped reading for, in order: watermarks out, then the log.
    fn bind_closed(&mut self, now: Now) -> Result<(), EngineError> {
        loop {
            let workers = self.config.workers;
            let next = self.in_flight.iter().find(|(_, flight)| !flight.durable);
            let Some((epoch, ticked, closed)) = next.map(|(epoch, flight)| (*epoch, flight.ticked, flight.closed.len())) else {
                return Ok(());
            };
            if !ticked {
                if closed < workers {
                    return Ok(());
                }
                self.tick(epoch, now);
            }
            if !self.append_bind(epoch)? {
                return Ok(());
            }
        }
    }

    /// Decides what is bound for an epoch and tells the workers.
    fn tick(&mut self, epoch: Epoch, now: Now) {
        let save = self.checkpoint_due(now);
        let flight = self.in_flight.get_mut(&epoch).expect("a closed epoch is in flight");
        let reports: Vec<PartitionReport> = flight.closed.iter().flatten().copied().collect();
        if flight.bound.is_none() {
            let streams = epochs::bind(&mut self.sources, &reports, now);
            let bind = Bind { epoch, opened: flight.opened, tables: self.tables.hash, streams, closes: flight.closes };
            flight.watermarks = epochs::watermarks(&self.config.plan, &self.sources);
            flight.positions = states(&self.sources);
            flight.to_append = Some(LogRecord::Bind(bind));
        }
        flight.ticked = true;
        flight.save = save;
        let after: Arc<[EventTime]> = flight.watermarks.clone().into();
        let tick = Tick { epoch, opened: flight.opened, before: self.last_watermarks.clone(), after: after.clone(), save };
        self.last_watermarks = after;
        self.checkpoint.epoch = if save { Some(epoch) } else { self.checkpoint.epoch };
        self.tell(&Command::Tick(tick));
        self.look_at(&reports);
    }

    /// Makes a ticked epoch durable; false if the disk is full. Then nothing of it leaves, and once [`OPEN_EPOCHS_MAX`]
    /// epochs wait, reading stops. Each turn tries again.
    fn append_bind(&mut self, epoch: Epoch) -> Result<bool, EngineError> {
        let flight = self.in_flight.get_mut(&epoch).expect("a ticked epoch is in flight");
        if let Some(bind) = &flight.to_append {
            match self.log.append(bind) {
                Ok(slot) => {
                    flight.to_append = None;
                    self.checkpoint.slot = if flight.save { slot } else { self.checkpoint.slot };
                }
                Err(LogError::Blob(error @ BlobError::Full { .. })) => {
                    if !std::mem::replace(&mut self.disk_full, true) {
                        self.alarms.push(format!("{error}: reading stops until there is space"));
                    }
                    return Ok(false);
                }
                Err(error) => return Err(error.into()),
            }
        }
        if std::mem::replace(&mut self.disk_full, false) {
            self.alarms.push("there is space again: reading goes on".into());
        }
        flight.durable = true;
        Ok(true)
    }

    /// Finished inputs, and partitions that run too far ahead.
    fn look_at(&mut self, reports: &[PartitionReport]) {
        let all = |source: &SourceStream, is: fn(&PartitionReport) -> bool| {
            let mut of_stream = reports.iter().filter(|report| report.stream == source.stream).peekable();
            let known = of_stream.clone().count() == source.partitions.len() && of_stream.peek().is_some();
            known && self.discovered.get(&source.stream).is_some_and(Vec::is_empty) && of_stream.all(is)
        };
        self.status.input_finished = self.sources.values().all(|source| all(source, |report| report.finished));
        self.status.quiet = self.sources.values().all(|source| all(source, |report| report.quiet));
        // What is repeated is what was bound, however far apart: a partition paused now would be waited for in vain.
        let live = if self.phase == Phase::Live { reports } else { &[] };
        for report in live {
            let clock = &self.sources[&report.stream].clock;
            let ahead = clock.too_far_ahead(report.index.0 as usize);
            if self.paused.insert((report.stream, report.index.0), ahead).unwrap_or(false) != ahead {
                self.tell(&Command::Pause(report.stream, report.index, ahead));
            }
        }
    }

    /// Appends epochs that are durable and complete, in order.
    fn append_finished(&mut self, now: Now) {
        let workers = self.config.workers;
        while let Some(entry) = self.in_flight.first_entry() {
            if !entry.get().durable || entry.get().parts.len() < workers {
                break;
            }
            let (epoch, mut flight) = entry.remove_entry();
            for part in &mut flight.parts {
                for (key, (records, late)) in std::mem::take(&mut part.counts) {
                    let count = self.status.counts.entry(key).or_default();
                    *count = (count.0 + records, count.1 + late);
                }
                for (view, (new, corrected, gone)) in std::mem::take(&mut part.row_counts) {
                    let count = self.status.row_counts.entry(view).or_default();
                    *count = (count.0 + new, count.1 + corrected, count.2 + gone);
                }
            }
            self.gauges.collected.store(epoch.0, Ordering::Relaxed);
            self.status.epoch = epoch;
            self.status.opened = flight.opened;
            self.status.watermarks.clone_from(&flight.watermarks);
            self.status.windows = open_windows(&mut flight.parts);
            self.finished.epochs.extend(flight.opened_at_us);
            let parts: Vec<State> = flight.parts.iter_mut().filter_map(|part| part.state.take()).collect();
            self.ledger.append(Batch::of(flight.opened, flight.watermarks, epoch, &mut flight.parts));
            self.status.positions = names_and_offsets(&flight.positions);
            if flight.save {
                self.begin_checkpoint(epoch, flight.opened, parts, flight.positions, now);
            }
        }
    }

    fn checkpoint_due(&self, now: Now) -> bool {
        let under_way = self.checkpoint.epoch.is_some() || self.phase == Phase::Replaying;
        let due = self.checkpoint.last_us.is_some_and(|last| now.running_us - last >= self.config.checkpoint_every.0);
        !under_way && (due || self.checkpoint.wanted || self.ledger.table_bytes() > LEDGER_TABLE_BYTES_MAX)
    }

    /// Starts writing the checkpoint of `epoch` on a thread of its own.
    fn begin_checkpoint(
        &mut self,
        epoch: Epoch,
        opened: Version,
        parts: Vec<State>,
        positions: BTreeMap<u32, SourceState>,
        now: Now,
    ) {
        // Before the freeze: what a sink adds to the ledger as it moves its cursor must lie in what is sealed.
        let cursors = self.cursors.lock().expect(CURSORS).clone();
        self.ledger.freeze();
        let manifest = Manifest {
            epoch,
            opened,
            fingerprint: self.config.fingerprint,
            streams: positions,
            counts: checkpoint::flat(&self.status.counts),
            row_counts: self.status.row_counts.clone(),
            state: Vec::new(),
            ledger: Vec::new(),
            cursors: cursors.clone(),
            ended: self.ended,
        };
        let keep = self.keep(&cursors);
        self.ledger.forget_epochs_before(keep.passed);
        let (blobs, ledger) = (self.config.blobs.clone(), self.ledger.clone());
        let job = checkpoint::Job { blobs, generation: self.log.generation(), ledger, keep, parts, manifest };
        let (send, receive) = channel();
        std::thread::spawn(move || drop(send.send(job.write())));
        self.checkpoint.result = Some(receive);
        self.checkpoint.wanted = false;
        self.checkpoint.last_us = Some(now.running_us);
    }

    /// What the ledger must keep: for the sink that lags most, for corrections, and for re-publication.
    fn keep(&self, cursors: &BTreeMap<String, Cursor>) -> Keep {
        let of = |name: &String| cursors.get(name).map_or(Epoch(0), Cursor::oldest);
        let passed = self.config.sinks.iter().map(of).min().unwrap_or(self.status.epoch).min(self.status.epoch);
        let watermarks = self.ledger.epoch(passed).map(|info| info.watermarks);
        let until = |(index, view): (usize, &crate::plan::ViewPlan)| {
            let lateness = self.config.plan.streams[view.stream].lateness;
            let (Some(watermarks), Some(retain)) =
                (&watermarks, self.config.retain.get(&index).copied().unwrap_or(Some(Span(0))))
            else {
                return EventTime::MIN;
            };
            watermarks[view.stream].minus(lateness.max(retain))
        };
        Keep { passed, rows_until: self.config.plan.views.iter().enumerate().map(until).collect() }
    }

    /// Appends a written checkpoint to the log: the commit point. Then what is older than the last two goes.
    fn finish_checkpoint(&mut self) -> Result<(), EngineError> {
        let Some(receiver) = &self.checkpoint.result else { return Ok(()) };
        let result = match receiver.try_recv() {
            Ok(result) => result,
            Err(TryRecvError::Empty) => return Ok(()),
            Err(TryRecvError::Disconnected) => {
                return Err(EngineError::Failed("the thread that wrote the checkpoint has panicked".into()));
            }
        };
        self.checkpoint.epoch = None;
        self.checkpoint.result = None;
        let Written { checkpoint, manifest, sizes } = match result {
            Ok(written) => written,
            // What was frozen stays frozen and is sealed by the next attempt.
            Err(RunError::Blob(error @ BlobError::Full { .. })) => {
                self.checkpoint_found_no_space(&error);
                return Ok(());
            }
            Err(error) => return Err(EngineError::Failed(format!("the checkpoint failed: {error}"))),
        };
        match self.log.append(&LogRecord::Checkpoint(checkpoint.clone())) {
            Ok(_) => {}
            Err(LogError::Blob(error @ BlobError::Full { .. })) => {
                self.checkpoint_found_no_space(&error);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
        if std::mem::replace(&mut self.checkpoint.no_space, false) {
            self.alarms.push("there is space for checkpoints again: reading goes on".into());
        }
        self.status.checkpoint = Some((manifest.epoch, manifest.opened));
        self.status.state_bytes = sizes;
        self.finished.checkpoints.extend(self.checkpoint.last_us);
        self.tell_sources(&manifest);
        self.checkpoint.kept.push_back((self.checkpoint.slot, checkpoint, manifest));
        while self.checkpoint.kept.len() > 2 {
            self.checkpoint.kept.pop_front();
        }
        let kept: Vec<_> = self.checkpoint.kept.iter().map(|(_, c, m)| (c.clone(), m.clone())).collect();
        let failed = |error: crate::ports::blobs::BlobError| EngineError::Failed(error.to_string());
        checkpoint::clean_up(&*self.config.blobs, self.log.generation(), &self.ledger, &kept).map_err(failed)?;
        if self.checkpoint.kept.len() == 2 {
            // What was bound while the older one was being written lies before its record, and belongs to its replay.
            self.log.prune(self.checkpoint.kept[0].0)?;
        }
        Ok(())
    }

    /// Without checkpoints the ledger's table grows, so nothing is read until one is written: each epoch, empty now,
    /// tries again.
    fn checkpoint_found_no_space(&mut self, error: &BlobError) {
        self.checkpoint.wanted = true;
        if !std::mem::replace(&mut self.checkpoint.no_space, true) {
            self.alarms.push(format!("no checkpoint: {error}: reading stops until there is space"));
        }
    }

    /// Local logs may be pruned below what both kept checkpoints have passed.
    fn tell_sources(&self, manifest: &Manifest) {
        let older = self.checkpoint.kept.back().map(|(_, _, m)| m);
        for (stream, state) in &manifest.streams {
            for (at, (partition, next, _)) in state.partitions.iter().enumerate() {
                let durable = older.and_then(|m| m.streams.get(stream)?.partitions.get(at)).map_or(Offset(0), |p| p.1);
                self.config.sources[stream].bound(partition, *next, durable);
            }
        }
    }

    /// After the last epoch: one more that completes everything if asked, then a last checkpoint, then done.
    fn drain(&mut self, now: Now) {
        if self.phase == Phase::Live && self.checkpoint.last_us.is_none() {
            self.checkpoint.last_us = Some(now.running_us);
        }
        if self.phase != Phase::Draining || !self.in_flight.is_empty() || self.checkpoint.epoch.is_some() {
            return;
        }
        self.ledger.finish();
        let to_complete = self.close && !self.ended;
        if self.patient && !to_complete && !self.sinks_have_passed(self.effects_end) {
            return;
        }
        let saved = self.status.checkpoint.map(|(epoch, _)| epoch);
        if to_complete {
            self.ended = true;
            self.last_epoch(now, true);
        } else if saved == Some(self.last_opened.0) || self.last_opened.0 == Epoch(0) {
            self.phase = Phase::Done;
        } else {
            self.checkpoint.wanted = true;
            self.last_epoch(now, false);
        }
    }

    /// An empty epoch: to save at, and to complete everything if the input is closed.
    fn last_epoch(&mut self, now: Now, close: bool) {
        let epoch = self.last_opened.0.next();
        // A clock that is not believed must not get into the log by the last epoch either.
        let now = if self.guard.trusted() { now } else { Now { wall_us: 0, ..now } };
        let opened = epochs::opening_time(now, self.last_opened.1);
        self.last_opened = (epoch, opened);
        if close {
            self.effects_end = epoch;
            let longest = self.longest_wait();
            self.sources.values_mut().for_each(|source| source.clock.close(longest));
        }
        let opened_at_us = Some(now.running_us);
        self.in_flight.insert(epoch, InFlight { opened, opened_at_us, closes: close, ..InFlight::default() });
        let nothing = Some(Arc::new(Vec::new()));
        self.tell(&Command::Open(self.opening(epoch, opened, nothing)));
    }

    /// No window of this job becomes final later than this after an event in it.
    fn longest_wait(&self) -> Span {
        let of = |view: &crate::plan::ViewPlan| {
            let longest = match view.window {
                WindowPlan::Tumbling { size } | WindowPlan::Sliding { size, .. } => size,
                WindowPlan::Session { gap } => gap,
                WindowPlan::Calendar { .. } => Span::seconds(32 * 86_400),
                WindowPlan::Unwindowed => Span(0),
            };
            Span(longest.0.saturating_add(self.config.plan.streams[view.stream].lateness.0))
        };
        self.config.plan.views.iter().map(of).max().unwrap_or_default()
    }

    /// Stops the workers and waits for them. Nothing is lost if this is not called.
    pub fn shut_down(mut self) {
        self.tell(&Command::Stop);
        self.commands.clear();
        if let Some(threads) = self.threads.take() {
            threads.join().into_iter().for_each(drop);
        }
    }
}

/// Reference data, each version under the hash of its rows; the log says which version an epoch looked up in.
struct TableVersions {
    hash: u64,
    tables: Arc<Tables>,
    older: BTreeMap<u64, Arc<Tables>>,
}

impl TableVersions {
    /// Keeps the rows as they are now, durably, before any epoch is bound to them.
    fn store(config: &EngineConfig) -> Result<TableVersions, EngineError> {
        let tables =
            Tables::new(&config.plan.tables, &config.tables).map_err(|mistakes| EngineError::Refused(mistakes.join("\n")))?;
        let tables = Arc::new(tables);
        if config.tables.is_empty() {
            return Ok(TableVersions { hash: 0, tables, older: BTreeMap::new() });
        }
        let bytes = postcard::to_stdvec(&config.tables).expect("rows are plain data");
        let hash = xxhash_rust::xxh3::xxh3_64(&bytes);
        config.blobs.create(&table_blob(hash), &bytes).map_err(|error| EngineError::Failed(error.to_string()))?;
        Ok(TableVersions { hash, tables, older: BTreeMap::new() })
    }

    /// The version that an epoch was bound to.
    fn bound(&mut self, blobs: &dyn Blobs, plan: &Plan, hash: u64) -> Result<Arc<Tables>, EngineError> {
        if hash == self.hash {
            return Ok(self.tables.clone());
        }
        if let Some(tables) = self.older.get(&hash) {
            return Ok(tables.clone());
        }
        let bytes = blobs.read(&table_blob(hash)).map_err(|error| EngineError::Refused(error.to_string()))?;
        let damaged = |why: String| EngineError::Refused(format!("{} is damaged: {why}", table_blob(hash)));
        if xxhash_rust::xxh3::xxh3_64(&bytes) != hash {
            return Err(damaged("its hash does not fit".into()));
        }
        let rows: Vec<Vec<Vec<Option<String>>>> = postcard::from_bytes(&bytes).map_err(|error| damaged(error.to_string()))?;
        let tables = Arc::new(Tables::new(&plan.tables, &rows).map_err(|mistakes| damaged(mistakes.join(", ")))?);
        self.older.insert(hash, tables.clone());
        Ok(tables)
    }
}

fn table_blob(hash: u64) -> String {
    format!("tables/{hash:016x}")
}

fn last_fingerprint(records: &[crate::log::Slot]) -> Option<u64> {
    records.iter().rev().find_map(|(_, record)| match record {
        LogRecord::Generation(generation) => Some(generation.fingerprint),
        _ => None,
    })
}

/// State of another job or build is refused, not misread.
fn check_fingerprint(found: Option<u64>, own: u64) -> Result<(), EngineError> {
    match found {
        Some(other) if other != own => Err(EngineError::Refused(
            "the state was written by a different job file or build, so going on would change what was promised: \
             run with the old ones, or start with a new state folder"
                .into(),
        )),
        _ => Ok(()),
    }
}

/// The slot in which `epoch` was bound; if that is pruned, the first slot that is left, and never above `checkpoint`.
fn bound_slot(records: &[crate::log::Slot], epoch: Epoch, checkpoint: u64) -> u64 {
    let after = records.iter().find(|(_, record)| matches!(record, LogRecord::Bind(bind) if bind.epoch >= epoch));
    after.map_or(checkpoint, |(slot, _)| *slot).min(checkpoint)
}

fn restore_sources(sources: &mut BTreeMap<u32, SourceStream>, manifest: &Manifest) {
    for (stream, state) in &manifest.streams {
        let Some(source) = sources.get_mut(stream) else { continue };
        source.clock.restore(state.watermark, None);
        for (at, (partition, next, newest)) in state.partitions.iter().enumerate() {
            source.add(partition.clone(), *next);
            source.clock.restore(state.watermark, Some((at, *newest)));
        }
        source.added = 0;
    }
}

fn states(sources: &BTreeMap<u32, SourceStream>) -> BTreeMap<u32, SourceState> {
    let of = |source: &SourceStream| {
        let partition = |(at, (partition, next)): (usize, &(crate::record::Partition, Offset))| {
            (partition.clone(), *next, source.clock.newest(at))
        };
        let partitions = source.partitions.iter().enumerate().map(partition).collect();
        SourceState { watermark: source.clock.watermark(), partitions }
    };
    sources.iter().map(|(stream, source)| (*stream, of(source))).collect()
}

fn open_windows(parts: &mut [EpochPart]) -> WindowCounts {
    let mut windows = WindowCounts::new();
    for (view, open) in parts.iter_mut().flat_map(|part| std::mem::take(&mut part.windows)) {
        *windows.entry(view).or_default() += open;
    }
    windows
}

fn names_and_offsets(streams: &BTreeMap<u32, SourceState>) -> BTreeMap<u32, Vec<(crate::record::Partition, Offset)>> {
    let of = |state: &SourceState| state.partitions.iter().map(|(partition, next, _)| (partition.clone(), *next)).collect();
    streams.iter().map(|(stream, state)| (*stream, of(state))).collect()
}

fn open_new_ledger(config: &EngineConfig, generation: u64) -> Result<Ledger, EngineError> {
    let ledger = Ledger::open(config.blobs.clone(), generation, Epoch(0), &[]);
    ledger.map_err(|error| EngineError::Failed(error.to_string()))
}

type Started = (Vec<Sender<Command>>, Receiver<Report>, timely::communication::WorkerGuards<()>);

fn start_workers(config: &EngineConfig, state: State, loaded_at: Epoch, gauges: &Arc<Gauges>) -> Result<Started, EngineError> {
    let (to_engine, reports) = channel();
    let state = Arc::new(state);
    let mut commands = Vec::new();
    let mut setups = Vec::new();
    for _ in 0..config.workers {
        let (to_worker, from_engine) = channel();
        commands.push(to_worker);
        let mut readers = Vec::new();
        for (stream, source) in &config.sources {
            readers.push((*stream, source.reader().map_err(|error| EngineError::Refused(error.to_string()))?));
        }
        setups.push(Some(WorkerSetup {
            plan: config.plan.clone(),
            readers,
            commands: from_engine,
            reports: to_engine.clone(),
            loaded: state.clone(),
            loaded_at,
            gauges: gauges.clone(),
            in_flight_bytes_max: config.in_flight_bytes_max,
        }));
    }
    let setups = Mutex::new(setups);
    let threads = timely::execute(timely::Config::process(config.workers), move |worker| {
        let setup = setups.lock().expect("no worker panics while it takes its setup")[worker.index()].take();
        crate::worker::run(worker, setup.expect("each worker starts once"));
    });
    Ok((commands, reports, threads.map_err(EngineError::Failed)?))
}
