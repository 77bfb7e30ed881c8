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

mod carry;
mod checkpoint;
mod clock_guard;
mod drain;
mod epochs;
mod lag;
mod partitions;
mod rebuild;
mod saving;
mod start;
mod status;
mod tables;

pub use carry::{Described, Standing, carry_over};
pub use checkpoint::{Manifest, SourceState};
pub use epochs::{Now, OPEN_EPOCHS_MAX, TICK};
pub use lag::Lag;
pub use rebuild::{HeldKey, Rebuilt, Recomputed, Retained, adopt, comparing_bytes, first_retained, newest_manifest};
pub use start::Claim;
pub use status::{Finished, HeldBack, Phase, Status};

use crate::bound::Ceilings;
use crate::decode::TableRows;
use crate::ledger::{Batch, Cursor, Ledger};
use crate::log::{Bind, CommitLog, Fence, Fingerprint, LogError, LogRecord};
use crate::operators::Tick;
use crate::operators::collect::EpochPart;
use crate::plan::Plan;
use crate::planted::{self, Bug};
use crate::ports::blobs::{BlobError, Blobs};
use crate::ports::source::{Discovered, Source};
use crate::record::{Offset, Partition, PartitionIndex};
use crate::state::{Held, Save, State};
use crate::time::{Epoch, EventTime, Span, Version};
use crate::worker::{Command, Gauges, Opening, PartitionReport, Report, WorkerError};
use clock_guard::{Belief, ClockGuard};
use epochs::SourceStream;
use partitions::Positions;
use saving::Checkpointing;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tables::TableVersions;

/// Why the engine stopped.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A restart will not help: fenced, foreign state, rewritten topic, unknown topic.
    #[error("{0}")]
    Refused(String),
    /// The state is another job's; [`carry_over`] makes it this one's where it can be.
    #[error("the state was written by a different job: going on would change what was promised")]
    OtherJob {
        /// [`Fingerprint::job`] of that job.
        job: u64,
    },
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
            WorkerError::Panicked | WorkerError::State(_) => EngineError::Failed(error.to_string()),
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
    pub fingerprint: Fingerprint,
    /// Workers: threads of timely.
    pub workers: usize,
    /// Where state lives.
    pub blobs: Arc<dyn Blobs>,
    /// The sources, by stream.
    pub sources: BTreeMap<u32, Arc<dyn Source>>,
    /// Reference data as it is now, for each table of the plan.
    pub tables: Vec<TableRows>,
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
    /// Partitions whose first answer is not compared with this yet.
    bound_at_start: Positions,
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
    ceilings: Ceilings,
    over_limit: Option<String>,
    /// For each view, up to which window end the ledger may have forgotten rows.
    forgotten: Vec<EventTime>,
    new_sinks: BTreeMap<String, Vec<EventTime>>,
    /// Watermarks that the last epoch reaches, by source stream.
    at_least: BTreeMap<u32, EventTime>,
}

impl Engine {
    /// The ledger that sinks follow.
    pub fn ledger(&self) -> Arc<Ledger> {
        self.ledger.clone()
    }

    /// The sinks' cursors: each sink's thread moves its own.
    pub fn cursors(&self) -> Arc<Mutex<BTreeMap<String, Cursor>>> {
        self.cursors.clone()
    }

    /// What it is doing.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// This process's generation.
    pub fn generation(&self) -> u64 {
        self.log.generation()
    }

    /// This process's hold on the state.
    pub fn fence(&self) -> &Fence {
        self.log.fence()
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

    /// Once state is larger than the limits allow, nothing more is read, and the run ends in order. What is repeated was
    /// read under other limits, so it is weighed at its end.
    fn mind_the_limits(&mut self) {
        if self.phase == Phase::Live
            && let Some(why) = self.ceilings.exceeded(&self.config.plan, &self.status.held)
        {
            self.alarms.push(format!("{why}: reading stops"));
            self.over_limit = Some(why);
            self.stop(false);
        }
    }

    /// Which limit ended the run, if one did.
    pub fn over_limit(&self) -> Option<&str> {
        self.over_limit.as_deref()
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
        self.check_ends()?;
        self.add_discovered();
        self.end_epoch(now);
        self.bind_closed(now)?;
        self.open_epoch(now);
        self.append_finished(now)?;
        self.finish_checkpoint()?;
        let held = self.checkpoint.no_space || self.ledger.table_bytes() > LEDGER_TABLE_BYTES_HELD;
        self.gauges.held.store(held, Ordering::Relaxed);
        self.drain(now)
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
            for (at, ((partition, next), last)) in source.partitions.iter().zip(&source.last).enumerate() {
                let (stream, index, partition) = (source.stream, PartitionIndex(at as u32), partition.clone());
                self.tell(&Command::Assign { stream, index, partition, next: *next, last: *last });
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
                    let (index, partition) = (PartitionIndex((known + n) as u32), partition.clone());
                    self.tell(&Command::Assign { stream: stream.stream, index, partition, next: *start, last: None });
                }
                self.sources.get_mut(&stream.stream).expect("a bound stream is a source").restore(stream);
            }
            let exactly = bind.streams.iter().flat_map(|s| s.partitions.iter().map(|p| (s.stream, *p))).collect();
            let mut opening = self.opening(bind.epoch, bind.opened, Some(Arc::new(exactly)));
            opening.tables = self.tables.bound(&*self.config.blobs, &self.config.plan, bind.tables)?;
            if planted::is(Bug::VersionAnew) {
                opening.opened = Version(bind.opened.0 + 1);
            }
            self.last_opened = (bind.epoch, bind.opened);
            self.effects_end = bind.epoch;
            let watermarks = epochs::watermarks(&self.config.plan, &self.sources);
            let entry = InFlight { opened: opening.opened, bound: Some(bind), watermarks, ..InFlight::default() };
            self.in_flight.insert(opening.epoch, entry);
            self.tell(&Command::Open(opening));
        }
        if self.phase == Phase::Replaying && self.replay.is_empty() && self.in_flight.is_empty() {
            self.phase = if self.ended || self.stopping { Phase::Draining } else { Phase::Live };
            self.merge_loaded();
        }
        Ok(())
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
        for report in &reports {
            self.sources.get_mut(&report.stream).expect("partitions belong to source streams").note_last(report);
        }
        if flight.bound.is_none() {
            let streams = epochs::bind(&mut self.sources, &reports, now);
            let (by, tables) = (self.config.fingerprint, self.tables.hash);
            let bind = Bind { epoch, opened: flight.opened, by, tables, streams, closes: flight.closes };
            flight.watermarks = epochs::watermarks(&self.config.plan, &self.sources);
            flight.positions = states(&self.sources);
            flight.to_append = Some(LogRecord::Bind(bind));
        }
        flight.ticked = true;
        flight.save = save;
        let what = if save { self.checkpoint.saves(epoch) } else { Save::Nothing };
        let after: Arc<[EventTime]> = flight.watermarks.clone().into();
        let tick = Tick { epoch, opened: flight.opened, before: self.last_watermarks.clone(), after: after.clone(), save: what };
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
    fn append_finished(&mut self, now: Now) -> Result<(), EngineError> {
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
            self.status.held = Held::default();
            flight.parts.iter().for_each(|part| self.status.held.add(&part.held));
            self.mind_the_limits();
            self.finished.epochs.extend(flight.opened_at_us);
            let parts: Vec<State> = flight.parts.iter_mut().filter_map(|part| part.state.take()).collect();
            self.ledger.append(Batch::of(flight.opened, flight.watermarks, epoch, &mut flight.parts));
            self.status.positions = names_and_offsets(&flight.positions);
            if flight.save {
                self.begin_checkpoint(epoch, flight.opened, parts, flight.positions, now)?;
            }
        }
        Ok(())
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

impl Drop for Engine {
    /// Where a worker has panicked, whoever joins it does too. While something else panics already nobody joins: the workers
    /// see that nobody commands them any more, and end.
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::mem::forget(self.threads.take());
        }
    }
}

fn states(sources: &BTreeMap<u32, SourceStream>) -> BTreeMap<u32, SourceState> {
    let of = |source: &SourceStream| {
        let partition =
            |(at, (partition, next)): (usize, &(Partition, Offset))| (partition.clone(), *next, source.clock.newest(at));
        let partitions = source.partitions.iter().enumerate().map(partition).collect();
        SourceState { watermark: source.clock.watermark(), partitions, last: source.last.clone() }
    };
    sources.iter().map(|(stream, source)| (*stream, of(source))).collect()
}

fn names_and_offsets(streams: &BTreeMap<u32, SourceState>) -> BTreeMap<u32, Vec<(Partition, Offset)>> {
    let of = |state: &SourceState| state.partitions.iter().map(|(partition, next, _)| (partition.clone(), *next)).collect();
    streams.iter().map(|(stream, state)| (*stream, of(state))).collect()
}
