//! A worker: polls its readers, decodes, feeds the dataflow, and reports what it read.
//!
//! The coordinator says which epoch is open and, at a replay, exactly how far each partition is read in it. A worker
//! closes an epoch for the dataflow only once its tick, with the bound watermarks, has arrived.
//!
//! ```text
//! Open(e) ─▶ poll, decode, send at e ─▶ Close(e) ─▶ Closed(e) ─▶ … ─▶ Tick(e) ─▶ the dataflow may finish e
//!                └─ may go on with e+1 meanwhile
//! ```

mod error;

pub use error::WorkerError;

use crate::chain::{LastRead, chained};
use crate::dataflow::{Shared, StreamPort, build, partition_route, root_of};
use crate::decode::{Context, Tables};
use crate::log::PartitionBind;
use crate::operators::collect::EpochPart;
use crate::operators::{Tick, Ticks};
use crate::plan::{Plan, StreamInput};
use crate::ports::source::{Reader, SourceError};
use crate::record::{Message, Offset, Partition, PartitionIndex, Reason, Record, Rejection};
use crate::retained::RetainedMessages;
use crate::state::{Saved, StateRows};
use crate::time::{Epoch, EventTime, Version};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::Duration;
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::ActivateCapability;

/// What the coordinator tells every worker.
#[derive(Clone)]
pub enum Command {
    /// A partition is read from `next` on, by the worker it routes to.
    Assign {
        /// Position of the stream.
        stream: u32,
        /// Its bound position.
        index: PartitionIndex,
        /// Its name.
        partition: Partition,
        /// The first offset to read.
        next: Offset,
        /// The message before it, if one was read.
        last: Option<LastRead>,
    },
    /// An epoch begins.
    Open(Opening),
    /// The open live epoch ends.
    Close,
    /// An epoch is bound.
    Tick(Tick),
    /// A partition ran too far ahead, or no longer.
    Pause(u32, PartitionIndex, bool),
    /// Finish what is ticked and return.
    Stop,
}

/// The beginning of an epoch.
#[derive(Clone)]
pub struct Opening {
    /// Which.
    pub epoch: Epoch,
    /// Its version.
    pub opened: Version,
    /// Reference data in force.
    pub tables: Arc<Tables>,
    /// At a replay, what was bound: by stream, each partition that moved. `None`: read what comes until `Close`.
    pub exactly: Option<Arc<Vec<(u32, PartitionBind)>>>,
}

/// What one partition showed in an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionReport {
    /// Position of the stream.
    pub stream: u32,
    /// Its bound position.
    pub index: PartitionIndex,
    /// The next offset to read.
    pub next: Offset,
    /// Messages read in the epoch.
    pub count: u64,
    /// Hash of their offsets and bytes.
    pub hash: u64,
    /// The same without the last one.
    pub before: u64,
    /// Largest event time in the epoch of a record that passed the future test.
    pub newest: Option<EventTime>,
    /// Everything there is was read, confirmed by the source.
    pub quiet: bool,
    /// A finite source has nothing more, ever.
    pub finished: bool,
    /// The offset at which the source will write next, if known.
    pub end: Option<Offset>,
}

/// What workers tell the coordinator.
pub enum Report {
    /// A worker has stopped reading for an epoch.
    Closed(Epoch, Vec<PartitionReport>),
    /// A worker's effects of an epoch.
    Part(Box<EpochPart>),
    /// A source fails but may recover; `None`: it has.
    Trouble(u32, Option<String>),
    /// A worker cannot go on.
    Failed(WorkerError),
}

/// Figures that workers and coordinator share.
#[derive(Default)]
pub struct Gauges {
    /// Messages read in the open epoch, by all workers.
    pub open_records: AtomicU64,
    /// Bytes of messages whose epoch is not collected.
    pub in_flight_bytes: Arc<AtomicU64>,
    /// Times that intake was held back because of them.
    pub intake_paused: AtomicU64,
    /// The last epoch that every worker has finished: where too much is in flight, the one after it goes first.
    pub collected: AtomicU64,
    /// Nothing new is read.
    pub held: AtomicBool,
}

/// Everything a worker starts with.
pub struct WorkerSetup {
    /// The job.
    pub plan: Arc<Plan>,
    /// One reader for each source stream, nothing assigned.
    pub readers: Vec<(u32, Box<dyn Reader>)>,
    /// From the coordinator.
    pub commands: Receiver<Command>,
    /// To the coordinator.
    pub reports: Sender<Report>,
    /// The state to begin with.
    pub loaded: Arc<Saved>,
    /// Its epoch.
    pub loaded_at: Epoch,
    /// For each view: the start of its first whole window.
    pub begins: Arc<[EventTime]>,
    /// Shared figures.
    pub gauges: Arc<Gauges>,
    /// Intake pauses while more than this is in flight.
    pub in_flight_bytes_max: u64,
}

/// Bytes read from one stream between two looks at the commands.
const READ_BYTES: usize = 256 * 1024;
/// A partition with more than this fetched and not read is not fetched from.
const STAGED_BYTES_MAX: usize = 8 << 20;
/// How long an idle worker sleeps at most; timely wakes it for data.
const PARK: Duration = Duration::from_millis(1);

/// Runs a worker until it is told to stop. Called by timely on each of its threads.
pub fn run(timely: &mut timely::worker::Worker, setup: WorkerSetup) {
    let reports = setup.reports.clone();
    let _panics = ReportPanic(reports.clone());
    let loaded = setup.loaded.clone();
    let mut worker = Worker::new(timely, setup);
    if let Some(why) = loaded.failure() {
        let _ = reports.send(Report::Failed(WorkerError::State(why)));
        return;
    }
    drop(loaded);
    while !worker.stopping {
        let outcome = worker.turn();
        match outcome {
            Ok(busy) => drop(timely.step_or_park(Some(if busy { Duration::ZERO } else { PARK }))),
            Err(error) => {
                // The coordinator ends the process; its effects end at the last bound epoch.
                let _ = reports.send(Report::Failed(error));
                break;
            }
        }
        worker.forget();
    }
}

/// A worker that panics says so, so that the process ends instead of waiting for it for ever.
struct ReportPanic(Sender<Report>);

impl Drop for ReportPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.0.send(Report::Failed(WorkerError::Panicked));
        }
    }
}

struct PartitionState {
    partition: Partition,
    staged: VecDeque<Message>,
    next: Offset,
    /// The message before `next`, until it is seen that it is what it was.
    last: Option<LastRead>,
    count: u64,
    hash: u64,
    before: u64,
    newest: Option<EventTime>,
    paused: bool,
    staged_bytes: usize,
    /// Fetching waits until what is staged is read.
    full: bool,
}

struct StreamReader {
    stream: u32,
    reader: Box<dyn Reader>,
    partitions: BTreeMap<PartitionIndex, PartitionState>,
    trouble: Option<String>,
}

struct Worker {
    index: u64,
    peers: u64,
    plan: Arc<Plan>,
    streams: Vec<StreamReader>,
    ports: BTreeMap<usize, StreamPort>,
    /// Rights to send at epochs that are open or closed but not ticked.
    capabilities: BTreeMap<Epoch, BTreeMap<usize, ActivateCapability<u64>>>,
    probe: ProbeHandle<u64>,
    ticks: Ticks,
    retained: RetainedMessages,
    commands: Receiver<Command>,
    reports: Sender<Report>,
    gauges: Arc<Gauges>,
    in_flight_bytes_max: u64,
    current: Option<Opening>,
    waiting: VecDeque<Opening>,
    stopping: bool,
    polled: Vec<(PartitionIndex, Message)>,
    decoded: Vec<Result<Record, (u32, Rejection)>>,
    outgoing: Vec<Record>,
}

impl Worker {
    fn new(timely: &mut timely::worker::Worker, setup: WorkerSetup) -> Worker {
        let WorkerSetup { plan, readers, commands, reports, loaded, loaded_at, begins, gauges, in_flight_bytes_max } = setup;
        let (index, peers) = (timely.index(), timely.peers());
        let ticks = Ticks::default();
        let roots = (0..plan.streams.len()).map(|stream| root_of(&plan, stream) as u32).collect();
        let retained = RetainedMessages::new(roots, gauges.in_flight_bytes.clone());
        let shared = Shared {
            plan: plan.clone(),
            ticks: ticks.clone(),
            loaded: StateRows::new(loaded, index, peers),
            loaded_at,
            begins,
            retained: retained.clone(),
        };
        let parts = reports.clone();
        let send = move |part| drop(parts.send(Report::Part(Box::new(part))));
        let (mut ports, probe) = timely.dataflow(|scope| build(scope, shared, send));
        for port in ports.values_mut() {
            port.capability = port.capability.delayed(&loaded_at.next().0);
        }
        let streams = readers.into_iter().map(|(stream, reader)| StreamReader {
            stream,
            reader,
            partitions: BTreeMap::new(),
            trouble: None,
        });
        Worker {
            index: index as u64,
            peers: peers as u64,
            plan,
            streams: streams.collect(),
            ports,
            capabilities: BTreeMap::new(),
            probe,
            ticks,
            retained,
            commands,
            reports,
            gauges,
            in_flight_bytes_max,
            current: None,
            waiting: VecDeque::new(),
            stopping: false,
            polled: Vec::new(),
            decoded: Vec::new(),
            outgoing: Vec::new(),
        }
    }

    /// Obeys commands, reads a little, closes what is done. Returns whether there was anything to do.
    fn turn(&mut self) -> Result<bool, WorkerError> {
        loop {
            match self.commands.try_recv() {
                Ok(command) => self.obey(command)?,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    self.stopping = true;
                    break;
                }
            }
        }
        if self.current.is_none()
            && let Some(opening) = self.waiting.pop_front()
        {
            self.open(opening);
        }
        let Some(opening) = self.current.clone() else { return Ok(false) };
        let read = match &opening.exactly {
            None => self.read_live(&opening)?,
            Some(bound) => self.read_exactly(&opening, bound)?,
        };
        Ok(read > 0)
    }

    fn obey(&mut self, command: Command) -> Result<(), WorkerError> {
        match command {
            Command::Assign { stream, index, partition, next, last } => self.assign(stream, index, partition, next, last)?,
            Command::Open(opening) => self.waiting.push_back(opening),
            Command::Close => {
                // A live epoch that has not even begun here is opened first: it may only be reported closed once.
                if self.current.is_none()
                    && let Some(opening) = self.waiting.pop_front()
                {
                    self.open(opening);
                }
                self.close_current();
            }
            Command::Tick(tick) => {
                let epoch = tick.epoch;
                self.ticks.insert(tick);
                self.capabilities.remove(&epoch);
            }
            Command::Pause(stream, index, paused) => {
                if let Some(reader) = self.streams.iter_mut().find(|s| s.stream == stream)
                    && let Some(state) = reader.partitions.get_mut(&index)
                {
                    state.paused = paused;
                    reader.reader.pause(index, paused || state.full);
                }
            }
            Command::Stop => self.stopping = true,
        }
        Ok(())
    }

    fn assign(
        &mut self,
        stream: u32,
        index: PartitionIndex,
        partition: Partition,
        next: Offset,
        last: Option<LastRead>,
    ) -> Result<(), WorkerError> {
        self.retained.add_partition(stream, index, partition.clone());
        if partition_route(stream, index.0) % self.peers != self.index {
            return Ok(());
        }
        let reader = self.streams.iter_mut().find(|s| s.stream == stream).expect("partitions belong to source streams");
        let assigned = match last {
            Some(_) => reader.reader.assign_after(index, &partition, Offset(next.0 - 1)),
            None => reader.reader.assign(index, &partition, next),
        };
        assigned.map_err(|error| WorkerError::Source(error.to_string()))?;
        let state = PartitionState {
            partition,
            staged: VecDeque::new(),
            next,
            last,
            count: 0,
            hash: 0,
            before: 0,
            newest: None,
            paused: false,
            staged_bytes: 0,
            full: false,
        };
        reader.partitions.insert(index, state);
        Ok(())
    }

    fn open(&mut self, opening: Opening) {
        let epoch = opening.epoch;
        let mut held = BTreeMap::new();
        for (stream, port) in &mut self.ports {
            let now = port.capability.delayed(&epoch.0);
            port.capability = now.delayed(&epoch.next().0);
            held.insert(*stream, now);
        }
        self.capabilities.insert(epoch, held);
        self.current = Some(opening);
    }

    fn close_current(&mut self) {
        let Some(opening) = self.current.take() else { return };
        let mut partitions = Vec::new();
        for stream in &mut self.streams {
            for (index, state) in &mut stream.partitions {
                let position = stream.reader.position(*index);
                let drained = state.staged.is_empty();
                partitions.push(PartitionReport {
                    stream: stream.stream,
                    index: *index,
                    next: state.next,
                    count: std::mem::take(&mut state.count),
                    hash: std::mem::take(&mut state.hash),
                    before: std::mem::take(&mut state.before),
                    newest: state.newest.take(),
                    quiet: position.at_end && drained && !state.paused && stream.trouble.is_none(),
                    finished: position.finished && drained,
                    end: position.end,
                });
            }
        }
        let _ = self.reports.send(Report::Closed(opening.epoch, partitions));
    }

    /// Reads what is there, unless too much is in flight.
    fn read_live(&mut self, opening: &Opening) -> Result<usize, WorkerError> {
        if self.gauges.held.load(Ordering::Relaxed) || self.too_much_in_flight() {
            self.gauges.intake_paused.fetch_add(1, Ordering::Relaxed);
            return Ok(0);
        }
        let mut read = 0;
        for at in 0..self.streams.len() {
            self.poll(at)?;
            let mut budget = READ_BYTES;
            let ready: Vec<PartitionIndex> = self.streams[at].partitions.keys().copied().collect();
            for index in ready {
                while budget > 0
                    && let Some(message) = self.streams[at].partitions.get_mut(&index).and_then(|p| p.staged.pop_front())
                {
                    budget = budget.saturating_sub(message.len_bytes() + 64);
                    self.ingest(at, index, message, opening);
                    read += 1;
                }
            }
            self.send(at, opening.epoch);
        }
        self.gauges.open_records.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }

    fn too_much_in_flight(&self) -> bool {
        self.gauges.in_flight_bytes.load(Ordering::Relaxed) > self.in_flight_bytes_max
    }

    /// Reads each partition until it has what was bound, and not one message more.
    fn read_exactly(&mut self, opening: &Opening, bound: &[(u32, PartitionBind)]) -> Result<usize, WorkerError> {
        let oldest = self.gauges.collected.load(Ordering::Relaxed) + 1;
        if opening.epoch.0 > oldest && self.too_much_in_flight() {
            return Ok(0);
        }
        let (mut read, mut missing) = (0, false);
        for at in 0..self.streams.len() {
            let stream = self.streams[at].stream;
            let waits = |s: &StreamReader| {
                let bound = bound.iter().filter(|(of, _)| *of == stream);
                bound.into_iter().any(|(_, b)| s.partitions.get(&b.index).is_some_and(|p| p.count < b.count))
            };
            if waits(&self.streams[at]) {
                self.poll(at)?;
            }
            for (_, bind) in bound.iter().filter(|(of, _)| *of == stream) {
                while let Some(state) = self.streams[at].partitions.get_mut(&bind.index)
                    && state.count < bind.count
                {
                    let Some(message) = state.staged.pop_front() else { break };
                    if message.offset >= bind.next {
                        let what = format!("a message before offset {} is missing", bind.next.0);
                        return Err(WorkerError::rewritten(&state.partition, what));
                    }
                    self.ingest(at, bind.index, message, opening);
                    read += 1;
                }
                let Some(state) = self.streams[at].partitions.get_mut(&bind.index) else { continue };
                if state.count < bind.count {
                    missing = true;
                    if self.streams[at].reader.position(bind.index).finished
                        && self.streams[at].partitions[&bind.index].staged.is_empty()
                    {
                        let what = format!("it ends before offset {}", bind.next.0);
                        return Err(WorkerError::rewritten(&self.streams[at].partitions[&bind.index].partition, what));
                    }
                } else if state.hash != bind.hash {
                    return Err(WorkerError::rewritten(
                        &state.partition,
                        format!("the messages before offset {} have changed", bind.next.0),
                    ));
                } else {
                    state.next = bind.next;
                }
            }
            self.send(at, opening.epoch);
        }
        if !missing {
            self.close_current();
        }
        Ok(read)
    }

    fn poll(&mut self, at: usize) -> Result<(), WorkerError> {
        let stream = &mut self.streams[at];
        let staged: usize = stream.partitions.values().map(|p| p.staged.len()).sum();
        if staged > 0 && stream.partitions.values().all(|p| !p.staged.is_empty()) {
            return Ok(());
        }
        let polled = stream.reader.poll(READ_BYTES, &mut self.polled);
        for (index, message) in self.polled.drain(..) {
            let state = stream.partitions.get_mut(&index).expect("only assigned partitions deliver");
            if let Some(last) = state.last.take()
                && message.offset < state.next
            {
                if !last.is(&message) {
                    let what = format!("the message at offset {} is another one", message.offset.0);
                    return Err(WorkerError::rewritten(&state.partition, what));
                }
                continue;
            }
            state.staged_bytes += message.len_bytes() + 64;
            state.staged.push_back(message);
            // Others must go on being fetched: a replayed epoch may wait for exactly one partition.
            if state.staged_bytes > STAGED_BYTES_MAX && !state.full {
                state.full = true;
                stream.reader.pause(index, true);
            }
        }
        let trouble = match polled {
            Ok(()) => None,
            Err(SourceError::Retry(why)) => Some(why),
            Err(SourceError::Stop(why)) => return Err(WorkerError::Source(why)),
        };
        if trouble != stream.trouble {
            stream.trouble.clone_from(&trouble);
            let _ = self.reports.send(Report::Trouble(stream.stream, trouble));
        }
        Ok(())
    }

    /// Decodes a message of the open epoch; its records go out with the next [`Worker::send`].
    fn ingest(&mut self, at: usize, index: PartitionIndex, message: Message, opening: &Opening) {
        let stream = &mut self.streams[at];
        let state = stream.partitions.get_mut(&index).expect("it was just read");
        let plan = &self.plan.streams[stream.stream as usize];
        let StreamInput::Source(decoder) = &plan.from else { panic!("readers belong to source streams") };
        let context = Context { index, partition: &state.partition, opened: opening.opened, tables: &opening.tables };
        decoder.decode(&message, &context, &mut self.decoded);
        let horizon = EventTime(opening.opened.0).plus(plan.watermark.max_future);
        let mut rejections = Vec::new();
        for outcome in self.decoded.drain(..) {
            match outcome {
                Ok(record) if record.event_time > horizon => {
                    let message = format!(
                        "event time {} is more than {} after it was received; check the sender's clock, or raise `watermark.max_future`",
                        record.event_time, plan.watermark.max_future
                    );
                    rejections.push((record.origin.element, Rejection::one(Reason::TooFarInFuture, "", message)));
                }
                Ok(record) => {
                    state.newest = state.newest.max(Some(record.event_time));
                    self.outgoing.push(record);
                }
                Err(rejection) => rejections.push(rejection),
            }
        }
        state.count += 1;
        state.staged_bytes -= message.len_bytes() + 64;
        if state.full && state.staged.is_empty() {
            state.full = false;
            stream.reader.pause(index, state.paused);
        }
        state.before = state.hash;
        state.hash = chained(&message, state.before);
        state.next = Offset(message.offset.0 + 1);
        self.retained.hold(opening.epoch, stream.stream, index, message, rejections);
    }

    /// Sends the decoded records of a stream into the dataflow, as one batch.
    fn send(&mut self, at: usize, epoch: Epoch) {
        if self.outgoing.is_empty() {
            return;
        }
        let stream = self.streams[at].stream as usize;
        let port = self.ports.get_mut(&stream).expect("source streams have ports");
        let capability = &self.capabilities[&epoch][&stream];
        port.handle.activate().session(capability).give_container(&mut self.outgoing);
        self.outgoing.clear();
    }

    /// Forgets ticks that every operator has passed.
    fn forget(&self) {
        let done = self.probe.with_frontier(|frontier| frontier.first().copied());
        if let Some(done) = done {
            self.ticks.forget_before(Epoch(done));
        }
    }
}
