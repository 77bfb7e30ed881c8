//! `--rebuild`: a job recomputed from what its sources still have, beside the state of the one before.
//!
//! ```text
//! drain the old job ─▶ recompute up to its offsets ─▶ ask the stores what they hold ─▶ compare, take over ─▶ run
//! ```
//! The old job does not run meanwhile: its rows stand still in the stores. Cut off anywhere, it goes on at the next start
//! with `--rebuild`; a start without it forgets it, and the old state is as it was.

use super::change::{self, Started};
use super::discovery::pause;
use super::events::{RebuildBegins, RebuildCompares, RebuildEnds, RebuildProgress, RebuildWaits};
use super::sinks::{self, Prepared};
use super::{RunError, Sources, Stop, TURN, difference, fingerprint, sources, tables};
use crate::jobfile::{Job, SourceSpec};
use caudal_connectors::kafka::config::Start;
use caudal_pipeline::bound;
use caudal_pipeline::dataflow::root_of;
use caudal_pipeline::decode::TableRows;
use caudal_pipeline::engine::{
    self, Described, Engine, EngineConfig, EngineError, Manifest, OPEN_EPOCHS_MAX, Phase, Recomputed, Retained, Standing, Status,
};
use caudal_pipeline::log::{Fence, Fingerprint};
use caudal_pipeline::plan::{StreamInput, ViewPlan, WindowPlan};
use caudal_pipeline::ports::below::Below;
use caudal_pipeline::ports::blobs::Blobs;
use caudal_pipeline::ports::bounded::BoundedSource;
use caudal_pipeline::ports::source::{Discovered, Source, SourceError};
use caudal_pipeline::record::{Offset, Partition};
use caudal_pipeline::time::{EventTime, Span};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where, in the state, what is recomputed lies until it is taken over.
const BESIDE: &str = "rebuild";
/// Between two words on how far it is.
const TELL: Duration = Duration::from_secs(5);
/// Between two attempts at a source or store that does not answer.
const WAIT: Duration = Duration::from_secs(1);
/// After so many epochs in which nothing was left to read, nothing comes that was read before: only marks of transactions
/// lie there. One without records lasts a second; a broker that has just become leader knows its end sooner.
const QUIET_EPOCHS: u64 = 10;

impl Started<'_> {
    /// Does it. A new state needs none.
    pub fn rebuild(&self, sinks: &mut [Prepared]) -> Result<(), RunError> {
        let blobs: Arc<dyn Blobs> = self.state.blobs();
        let Standing { checkpoint, unfinished } = Standing::of(&blobs)?;
        let Some(by) = checkpoint.or(unfinished) else { return Ok(()) };
        let new = fingerprint(self.job);
        let old = if by.job == new.job { self.job.clone() } else { change::kept(self.state, by.job)? };
        self.check_groups(&old)?;
        let removed = difference::removed(&old, self.job);
        for sink in &mut *sinks {
            // What a store would refuse is told before the work is done.
            self.asked_of(sink, Prepared::prepare)?;
        }
        // Also if nothing is left to drain: whoever still runs is fenced.
        let fence = self.drain(&change::reached_as(old.clone(), self.job), !removed.is_empty())?;
        let was = engine::newest_manifest(&blobs)?
            .ok_or_else(|| RunError::Refused("the newest checkpoint is damaged: start without --rebuild first".into()))?;
        if was.ended {
            return Err(RunError::Refused("the input was closed for ever, so nothing is recomputed any more".into()));
        }
        let port: Arc<dyn Blobs> = Arc::new(Below::new(blobs.clone(), BESIDE));
        let of_ours = |standing: &Standing| [standing.checkpoint, standing.unfinished].iter().flatten().all(|by| *by == new);
        match Standing::of(&port) {
            Err(error @ EngineError::Failed(_)) => return Err(error.into()),
            Ok(standing) if of_ours(&standing) => {}
            _ => forget(&blobs)?,
        }
        let was = Was { job: &old, manifest: &was };
        let input = self.input(was, fence.generation())?;
        let from = self.from(was, &input)?;
        let recomputed = self.recompute(was, port.clone(), input, &fence);
        check_held(&fence)?;
        recomputed?;
        let mut held = BTreeMap::new();
        for sink in sinks {
            self.asked_of(sink, |sink| sink.held(&from, &mut held))?;
        }
        if let Some(is) = engine::newest_manifest(&port)? {
            let bytes = engine::comparing_bytes([(was.manifest, &old.plan), (&is, &self.job.plan)], held.len());
            RebuildCompares { job: &self.job.plan.name, bytes }.emit();
            self.check_memory(bytes)?;
        }
        let (old_sinks, new_sinks) = (change::sinks_of(&old), change::sinks_of(self.job));
        let is_of_old = Fingerprint { job: by.job, ..new };
        let was_job = Described { plan: &old.plan, sinks: &old_sinks, fingerprint: is_of_old };
        let is_job = Described { plan: &self.job.plan, sinks: &new_sinks, fingerprint: new };
        let old_tables = tables(&old)?;
        let recomputed = Recomputed { at: was.manifest.epoch, from: &from, held: &held, tables: &old_tables };
        let rebuilt = self
            .shared
            .hold
            .taking(|taken| engine::adopt(&blobs, fence.generation(), was_job, &port, is_job, &recomputed, taken))?;
        RebuildEnds { job: &self.job.plan.name, rebuilt, removed: &removed }.emit();
        forget(&blobs)
    }

    /// A store finds a row by its group: rows of other groups cannot take its place.
    fn check_groups(&self, old: &Job) -> Result<(), RunError> {
        let changed = self.job.plan.views.iter().filter(|view| {
            let was = old.plan.views.iter().find(|was| was.name == view.name);
            was.is_some_and(|was| {
                was.group != view.group || (was.window == WindowPlan::Unwindowed) != (view.window == WindowPlan::Unwindowed)
            })
        });
        let told: Vec<String> = changed.map(|view| format!("views.{}.group_by", view.name)).collect();
        if told.is_empty() {
            return Ok(());
        }
        Err(RunError::Refused(format!(
            "{}: rows that are grouped otherwise cannot take the place of those that stores hold: give the view another name",
            told.join(", ")
        )))
    }

    /// What the sources still have of what the old job has read.
    fn input(&self, was: Was<'_>, generation: u64) -> Result<Input, RunError> {
        let mut from_the_beginning = self.job.clone();
        for (_, spec) in &mut from_the_beginning.sources {
            if let SourceSpec::Kafka(config) = spec
                && config.start == Start::Latest
            {
                config.start = Start::Earliest;
            }
        }
        let mut built = sources::build(&from_the_beginning, self.state, self.clock)?;
        sources::local_logs(self.job, self.state, generation, &mut built.sources)?;
        let mut input = Input { tables: tables(self.job)?, ..Input::default() };
        for (stream, source) in built.sources {
            let name = &self.job.plan.streams[stream as usize].name;
            let read = was.read(name);
            let ends: BTreeMap<Partition, Offset> = read.iter().map(|(partition, next, _)| (partition.clone(), *next)).collect();
            let source: Arc<dyn Source> = Arc::new(BoundedSource::new(source, ends.clone()));
            let partitions = self.answered(name, || source.discover())?;
            check_partitions(&ends, &partitions)?;
            input.sources.insert(stream, source);
            input.found.insert(stream, partitions);
            input.ends.insert(stream, ends);
        }
        Ok(input)
    }

    /// Asks until there is an answer.
    fn answered<T>(&self, whom: &str, mut ask: impl FnMut() -> Result<T, SourceError>) -> Result<T, RunError> {
        loop {
            match ask() {
                Ok(answer) => return Ok(answer),
                Err(SourceError::Stop(why)) => return Err(RunError::Refused(why)),
                Err(SourceError::Retry(why)) => self.wait(whom, &why)?,
            }
        }
    }

    fn wait(&self, whom: &str, why: &str) -> Result<(), RunError> {
        RebuildWaits { job: &self.job.plan.name, whom, why }.emit();
        pause(WAIT, self.shared, Stop::Drain);
        self.go_on()
    }

    fn go_on(&self) -> Result<(), RunError> {
        match self.shared.stopping() {
            Stop::No => Ok(()),
            _ => Err(RunError::Failed("stopped while recomputing: the old state is as it was; go on with --rebuild".into())),
        }
    }

    /// For each view, where the first window starts of which the sources still have every record.
    ///
    /// With R the latest event time where a partition that has lost records begins: a record that was removed came before one
    /// at R that was not too late, so it lies before R + lateness + `max_delay`, and with several partitions `max_ahead`
    /// further. What a partition had of which nothing is left lies at or before the newest of it. And an event of an earlier
    /// session reaches a gap further.
    fn from(&self, was: Was<'_>, input: &Input) -> Result<Vec<EventTime>, RunError> {
        let plan = &self.job.plan;
        let mut of_stream: BTreeMap<u32, EventTime> = BTreeMap::new();
        for (stream, partitions) in &input.found {
            let of = &plan.streams[*stream as usize];
            let (mut from, read) = (EventTime::MIN, was.read(&of.name));
            let ahead = if partitions.len() > 1 { of.watermark.max_ahead } else { Span(0) };
            for found in partitions {
                let newest = read.iter().find(|(partition, ..)| *partition == found.partition).and_then(|(.., newest)| *newest);
                let wait = |trouble: Option<&str>| match trouble {
                    Some(why) => self.wait(&of.name, why).is_ok(),
                    None => {
                        pause(Duration::from_millis(1), self.shared, Stop::Drain);
                        self.go_on().is_ok()
                    }
                };
                let source = (*stream, &*input.sources[stream]);
                let first = engine::first_retained(plan, &input.tables, source, found, newest, wait);
                let first = first.map_err(|error| self.go_on().err().unwrap_or_else(|| RunError::Refused(error.to_string())))?;
                from = from.max(match first {
                    Retained::All => EventTime::MIN,
                    Retained::From(first) => first.plus(of.lateness).plus(of.watermark.max_delay).plus(ahead),
                    Retained::Nothing => newest.map_or(EventTime::MIN, |newest| newest.plus(Span(1))),
                });
            }
            of_stream.insert(*stream, from);
        }
        let from = |view: &ViewPlan| of_stream[&(root_of(plan, view.stream) as u32)].plus(view.window.gap());
        let from: Vec<EventTime> = plan.views.iter().map(from).collect();
        self.check_final(was, &from)?;
        Ok(from)
    }

    /// A row that lacks records that were removed, and may still change, can neither be recomputed nor go on.
    fn check_final(&self, was: Was<'_>, from: &[EventTime]) -> Result<(), RunError> {
        let plan = &self.job.plan;
        let can_change = |(view, from): &(&ViewPlan, &EventTime)| {
            let name = &plan.streams[root_of(plan, view.stream)].name;
            let lateness = plan.streams[view.stream].lateness;
            let is_final = |longest: Span| from.plus(longest).plus(lateness) <= was.watermark(name);
            **from > EventTime::MIN && !view.window.longest().is_some_and(is_final)
        };
        let told: Vec<String> =
            plan.views.iter().zip(from).filter(can_change).map(|(view, _)| format!("views.{}", view.name)).collect();
        if told.is_empty() {
            return Ok(());
        }
        Err(RunError::Refused(format!(
            "{}: has rows that may still change, of which the sources no longer have all records: give it another name, so that \
             it begins as something new, or let its topic keep records longer (what comes over HTTP is kept until it is saved)",
            told.join(", ")
        )))
    }

    /// What is recomputed stays for a start with a higher limit.
    fn check_memory(&self, comparing: u64) -> Result<(), RunError> {
        match self.job.plan.limits.memory_bytes.filter(|limit| comparing > *limit) {
            None => Ok(()),
            Some(limit) => Err(RunError::Refused(format!(
                "limits.memory: comparing the rows of both states needs up to {} MiB, and {} MiB are allowed: raise it for the \
                 rebuild, and start again with --rebuild",
                comparing.div_ceil(1 << 20),
                limit >> 20
            ))),
        }
    }

    /// Runs the job on what is left, in a state of its own, until it is where the old one is.
    fn recompute(&self, was: Was<'_>, blobs: Arc<dyn Blobs>, input: Input, fence: &Fence) -> Result<(), RunError> {
        let mut plan = self.job.plan.clone();
        // Events that were given are not given again.
        plan.streams.iter_mut().for_each(|stream| stream.archived = false);
        let plan = Arc::new(plan);
        let Input { sources, tables, found, ends } = input;
        let comparing = engine::comparing_bytes([(was.manifest, &was.job.plan); 2], 0);
        RebuildBegins { job: &plan.name, memory_bound: self.shared.memory_bound(), comparing }.emit();
        let mut engine = Engine::start(EngineConfig {
            plan: plan.clone(),
            fingerprint: fingerprint(self.job),
            workers: self.settings.workers,
            blobs,
            sources,
            tables,
            checkpoint_every: self.settings.checkpoint_every,
            in_flight_bytes_max: bound::in_flight_bytes_max(&plan.limits),
            retain: sinks::ledger_retention(self.job),
            // Nobody follows, so the ledger keeps everything.
            sinks: change::sinks_of(self.job),
        })?;
        engine.do_not_wait_for_sinks();
        found.iter().for_each(|(stream, partitions)| engine.discovered(*stream, partitions.clone()));
        let is_source = |stream: &u32| matches!(plan.streams[*stream as usize].from, StreamInput::Source(_));
        let watermark = |stream: u32| (stream, was.watermark(&plan.streams[stream as usize].name));
        engine.at_least((0..plan.streams.len() as u32).filter(is_source).map(watermark).collect());
        let (mut finished, mut quiet, mut told, mut seen) = (None, None, Instant::now(), None);
        let outcome = loop {
            if let Err(error) = engine.turn(self.clock.now(), TURN) {
                break Err(error.into());
            }
            self.shared.alarm(engine.alarms());
            if engine.phase() == Phase::Done {
                break engine.over_limit().map_or(Ok(()), |why| Err(RunError::Refused(why.to_owned())));
            }
            if let Err(stopped) = self.go_on() {
                break Err(stopped);
            }
            // The status reads every epoch, and changes with them.
            let now = (engine.phase(), engine.ledger().end());
            if seen.replace(now) == Some(now) {
                continue;
            }
            if let Err(fenced) = check_held(fence) {
                break Err(fenced);
            }
            let status = engine.status();
            quiet = status.quiet.then(|| *quiet.get_or_insert(status.epoch.0));
            let reached = has_reached(&status, &ends) || quiet.is_some_and(|since| status.epoch.0 > since + QUIET_EPOCHS);
            if told.elapsed() >= TELL {
                told = Instant::now();
                let (read, all) = progress(&status, &found);
                RebuildProgress { job: &plan.name, read, all }.emit();
            }
            if engine.phase() == Phase::Live && reached {
                engine.stop(false);
            }
            if status.input_finished && !reached {
                let since = *finished.get_or_insert(status.epoch.0);
                // What was read then is in the ledger by now.
                if status.epoch.0 > since + OPEN_EPOCHS_MAX {
                    break Err(RunError::Refused("a source ends before the offset up to which the job had read it".into()));
                }
            }
        };
        engine.shut_down();
        outcome
    }

    /// Asks a store until there is an answer.
    fn asked_of(
        &self,
        sink: &mut Prepared,
        mut ask: impl FnMut(&mut Prepared) -> Result<(), sinks::Unread>,
    ) -> Result<(), RunError> {
        loop {
            match ask(sink) {
                Ok(()) => return Ok(()),
                Err(sinks::Unread::Stop(why)) => return Err(RunError::Refused(format!("sinks.{}: {why}", sink.name))),
                Err(sinks::Unread::Retry(why)) => self.wait(&sink.name, &why)?,
            }
        }
    }
}

/// What the old job has read must still be there, or at least what comes after it.
fn check_partitions(ends: &BTreeMap<Partition, Offset>, found: &[Discovered]) -> Result<(), RunError> {
    for (partition, end) in ends {
        let place = || format!("topic {}, partition {}", partition.topic, partition.number);
        match found.iter().find(|found| found.partition == *partition) {
            None => return Err(RunError::Refused(format!("{}, which the job has read, is no longer there", place()))),
            Some(found) if found.end.is_some_and(|of_all| of_all < *end) => {
                return Err(RunError::Refused(format!(
                    "{} was read up to offset {} and now ends at {}: it is not what it was",
                    place(),
                    end.0,
                    found.end.unwrap_or_default().0
                )));
            }
            Some(found) if found.start > *end => {
                return Err(RunError::Refused(format!(
                    "{} was read up to offset {} and now begins at {}: what lay between was removed unread",
                    place(),
                    end.0,
                    found.start.0
                )));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Offsets that are read, and that are to be.
fn progress(status: &Status, found: &BTreeMap<u32, Vec<Discovered>>) -> (u64, u64) {
    let (mut read, mut all) = (0, 0);
    for (stream, partitions) in found {
        let positions = status.positions.get(stream);
        for Discovered { partition, start, end } in partitions {
            let next = positions.and_then(|positions| positions.iter().find(|(of, _)| of == partition));
            read += next.map_or(0, |(_, next)| next.0.saturating_sub(start.0));
            all += end.map_or(0, |end| end.0.saturating_sub(start.0));
        }
    }
    (read, all)
}

/// Whether everything up to the old job's offsets is in the ledger.
fn has_reached(status: &Status, ends: &BTreeMap<u32, BTreeMap<Partition, Offset>>) -> bool {
    ends.iter().all(|(stream, ends)| {
        let read = status.positions.get(stream);
        let next = |partition| read.and_then(|read| read.iter().find(|(of, _)| of == partition)).map(|(_, next)| *next);
        ends.iter().all(|(partition, end)| next(partition) >= Some(*end))
    })
}

/// The old job, and what it left.
#[derive(Clone, Copy)]
struct Was<'a> {
    job: &'a Job,
    manifest: &'a Manifest,
}

impl<'a> Was<'a> {
    fn position(self, stream: &str) -> Option<usize> {
        self.job.plan.streams.iter().position(|of| of.name == stream)
    }

    /// Partitions of a stream: how far each was read, and its newest event time.
    fn read(self, stream: &str) -> &'a [(Partition, Offset, Option<EventTime>)] {
        let state = self.position(stream).and_then(|position| self.manifest.streams.get(&(position as u32)));
        state.map_or(&[], |state| &state.partitions)
    }

    fn watermark(self, stream: &str) -> EventTime {
        self.position(stream).and_then(|position| self.manifest.watermarks.get(position)).copied().unwrap_or(EventTime::MIN)
    }
}

/// What is recomputed from.
#[derive(Default)]
struct Input {
    sources: Sources,
    tables: Vec<TableRows>,
    found: BTreeMap<u32, Vec<Discovered>>,
    ends: BTreeMap<u32, BTreeMap<Partition, Offset>>,
}

/// Whoever takes over removes what is recomputed.
fn check_held(fence: &Fence) -> Result<(), RunError> {
    Ok(fence.check().map_err(EngineError::from)?)
}

/// Removes what a rebuild has left. The log first: without it, nothing else that is there counts.
pub fn forget(blobs: &Arc<dyn Blobs>) -> Result<(), RunError> {
    for folder in [format!("{BESIDE}/log"), BESIDE.to_owned()] {
        Below::new(blobs.clone(), &folder).clear().map_err(change::failed)?;
    }
    Ok(())
}
