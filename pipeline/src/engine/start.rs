//! The start: generation, newest checkpoint that verifies, workers, and what is to be repeated.

use super::carry::Standing;
use super::checkpoint::{self, Manifest};
use super::clock_guard::ClockGuard;
use super::epochs::{self, SourceStream};
use super::partitions;
use super::saving::Checkpointing;
use super::status::{Finished, Phase, Status};
use super::tables::TableVersions;
use super::{Engine, EngineConfig, EngineError};
use crate::bound::Ceilings;
use crate::ledger::Ledger;
use crate::log::{Bind, CommitLog, Fence, Generation, LogRecord, Slot, Taken};
use crate::state::Saved;
use crate::time::{Epoch, EventTime, Version};
use crate::worker::{Command, Gauges, Report, WorkerSetup};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

/// A state, taken for the job that is to run on it: nothing counts any more that an older process appends from now on, so
/// what that process bound is known, and with it what it promised.
pub struct Claim {
    log: CommitLog,
    records: Vec<Slot>,
}

impl Claim {
    /// Takes the next generation of the state. What is refused for the state is refused before that: the process that holds
    /// it goes on. Needs no sources yet.
    pub fn take(config: &EngineConfig, taken: Taken<'_>) -> Result<Claim, EngineError> {
        refuse_early(config, &CommitLog::peek(config.blobs.clone())?)?;
        let (mut log, mut records) = CommitLog::open_telling(config.blobs.clone(), taken)?;
        let generation = Generation { generation: log.generation(), workers: config.workers as u32 };
        records.extend(log.begin(&LogRecord::Generation(generation))?);
        Ok(Claim { log, records })
    }

    /// The hold on the state.
    pub fn fence(&self) -> &Fence {
        self.log.fence()
    }
}

impl Engine {
    /// Takes the state and starts on it.
    pub fn start(config: EngineConfig) -> Result<Engine, EngineError> {
        let claim = Claim::take(&config, &|_| ())?;
        Engine::start_on(claim, config)
    }

    /// Loads the newest checkpoint of the state that was taken for this configuration, and starts the workers. Replay and
    /// everything else happens in [`Engine::turn`].
    pub fn start_on(claim: Claim, config: EngineConfig) -> Result<Engine, EngineError> {
        let Claim { log, records } = claim;
        let mut alarms = Vec::new();
        let found = checkpoint::newest(&config.blobs, log.generation(), &records, |alarm| alarms.push(alarm.to_owned()))?;
        let source = |stream: &u32| SourceStream::new(*stream, config.plan.streams[*stream as usize].watermark);
        let mut sources: BTreeMap<u32, SourceStream> = config.sources.keys().map(|stream| (*stream, source(stream))).collect();
        let (manifest, state, ledger, checkpoint_slot) = match found {
            Some((slot, manifest, state, ledger)) => (Some(manifest), state, ledger, slot),
            None => (None, Saved::nothing(config.blobs.clone()), open_new_ledger(&config, log.generation())?, 0),
        };
        let tables = TableVersions::store(&config)?;
        let loaded_at = manifest.as_ref().map_or(Epoch(0), |m| m.epoch);
        let replay: VecDeque<Bind> = binds_after(&records, loaded_at).cloned().collect();
        check_leads_on(&records, loaded_at, &replay)?;
        let checkpoint = manifest.as_ref().map(|manifest| manifest.fingerprint);
        for bind in &replay {
            Standing { checkpoint, unfinished: Some(bind.by) }.check(config.fingerprint)?;
        }
        Standing { checkpoint, unfinished: None }.check(config.fingerprint)?;
        let ended = manifest.as_ref().is_some_and(|m| m.ended) || replay.iter().any(|bind| bind.closes);
        let mut status = Status::default();
        let mut cursors = BTreeMap::new();
        let mut forgotten = vec![EventTime::MIN; config.plan.views.len()];
        if let Some(manifest) = &manifest {
            restore_sources(&mut sources, manifest);
            status.counts = manifest.counts.iter().copied().collect();
            status.row_counts = manifest.row_counts.clone();
            (status.epoch, status.opened) = (manifest.epoch, manifest.opened);
            status.checkpoint = Some((manifest.epoch, manifest.opened));
            // A sink that is taken away and comes back begins anew.
            cursors.extend(manifest.cursors.clone().into_iter().filter(|(name, _)| config.sinks.contains(name)));
            status.begins.clone_from(&manifest.begins);
            forgotten.clone_from(&manifest.forgotten);
            status.state_bytes = checkpoint::sizes(&manifest.state);
            status.held = manifest.held.clone();
        }
        let ceilings = Ceilings::of(&config.plan, config.in_flight_bytes_max);
        let bound_at_start = partitions::bound_positions(&sources, &replay);
        let gauges = Arc::new(Gauges { collected: loaded_at.0.into(), ..Gauges::default() });
        let has_begun = |name: &&String| manifest.is_some() && !cursors.contains_key(*name);
        let new_sinks = config.sinks.iter().filter(has_begun).map(|name| (name.clone(), forgotten.clone())).collect();
        let (commands, reports, threads) = start_workers(&config, state, loaded_at, &status.begins, &gauges)?;
        let opened = manifest.as_ref().map_or(Version(0), |m| m.opened);
        let mut checkpointing = Checkpointing::default();
        if let Some(manifest) = manifest {
            let record = records.iter().find_map(|(at, record)| match record {
                LogRecord::Checkpoint(checkpoint) if *at == checkpoint_slot => Some(checkpoint.clone()),
                _ => None,
            });
            let slot = bound_slot(&records, loaded_at, checkpoint_slot);
            checkpointing.files.clone_from(&manifest.state);
            checkpointing.kept.push_back((slot, record.expect("the checkpoint that was opened"), manifest));
        }
        let watermarks: Arc<[EventTime]> = epochs::watermarks(&config.plan, &sources).into();
        status.watermarks = watermarks.to_vec();
        let mut engine = Engine {
            phase: if replay.is_empty() { Phase::Live } else { Phase::Replaying },
            config,
            log,
            ledger: Arc::new(ledger.repeating(replay.back().map_or(loaded_at, |bind| bind.epoch))),
            commands,
            reports,
            threads: Some(threads),
            gauges,
            sources,
            discovered: BTreeMap::new(),
            bound_at_start,
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
            ceilings,
            over_limit: None,
            forgotten,
            new_sinks,
            at_least: BTreeMap::new(),
        };
        engine.assign_all();
        engine.merge_loaded();
        if ended && engine.phase == Phase::Live {
            engine.phase = Phase::Draining;
        }
        Ok(engine)
    }
}

/// What was bound after an epoch.
pub(super) fn binds_after(records: &[Slot], epoch: Epoch) -> impl Iterator<Item = &Bind> {
    records.iter().filter_map(move |(_, record)| match record {
        LogRecord::Bind(bind) if bind.epoch > epoch => Some(bind),
        _ => None,
    })
}

/// From the checkpoint that was opened, bound epochs must lead to every later one, and on. They do not to one that took over
/// what was recomputed.
fn check_leads_on(records: &[Slot], loaded_at: Epoch, replay: &VecDeque<Bind>) -> Result<(), EngineError> {
    let gap = (loaded_at.0 + 1..).zip(replay).find(|(next, bind)| bind.epoch.0 != *next).map(|(missing, _)| missing);
    let reached = Epoch(loaded_at.0 + replay.len() as u64);
    let checkpoints = records.iter().filter_map(|(_, record)| match record {
        LogRecord::Checkpoint(checkpoint) => Some(checkpoint.epoch),
        _ => None,
    });
    let beyond = checkpoints.max().filter(|newest| *newest > reached).map(|_| reached.0 + 1);
    match gap.or(beyond) {
        None => Ok(()),
        Some(missing) => Err(EngineError::Refused(format!(
            "epoch {missing} is in no checkpoint that can be used, and nothing in the log leads there: restore the state folder from a \
             backup, or start with a new one and replay"
        ))),
    }
}

fn refuse_early(config: &EngineConfig, records: &[Slot]) -> Result<(), EngineError> {
    let (standing, manifest) = Standing::read(&*config.blobs, records)?;
    standing.check(config.fingerprint)?;
    let Some(manifest) = manifest else { return Ok(()) };
    let exceeded = Ceilings::of(&config.plan, config.in_flight_bytes_max).exceeded(&config.plan, &manifest.held);
    match exceeded.filter(|_| !manifest.ended && standing.unfinished.is_none()) {
        Some(why) => Err(EngineError::Refused(why)),
        None => Ok(()),
    }
}

/// The slot in which `epoch` was bound; if that is pruned, the first slot that is left, and never above `checkpoint`.
fn bound_slot(records: &[Slot], epoch: Epoch, checkpoint: u64) -> u64 {
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
        source.last.clone_from(&state.last);
        source.added = 0;
    }
}

fn open_new_ledger(config: &EngineConfig, generation: u64) -> Result<Ledger, EngineError> {
    let ledger = Ledger::open(config.blobs.clone(), generation, Epoch(0), &[]);
    ledger.map_err(|error| EngineError::Failed(error.to_string()))
}

type Started = (Vec<Sender<Command>>, Receiver<Report>, timely::communication::WorkerGuards<()>);

fn start_workers(
    config: &EngineConfig,
    state: Saved,
    loaded_at: Epoch,
    begins: &BTreeMap<String, EventTime>,
    gauges: &Arc<Gauges>,
) -> Result<Started, EngineError> {
    let (to_engine, reports) = channel();
    let begin = |view: &crate::plan::ViewPlan| begins.get(&view.name).copied().unwrap_or(EventTime::MIN);
    let begins: Arc<[EventTime]> = config.plan.views.iter().map(begin).collect();
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
            begins: begins.clone(),
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
