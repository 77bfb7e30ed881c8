//! `--rebuild`: a job recomputed from what its sources still have, beside the state of the one before.
//!
//! ```text
//! drain the old job ─▶ recompute up to its offsets ─▶ ask the stores what they hold ─▶ compare, take over ─▶ run
//! ```
//! The old job does not run meanwhile: its rows stand still in the stores. Cut off anywhere, it goes on at the next start
//! with `--rebuild`; a start without it forgets it, and the old state is as it was.

use super::change::{self, Started};
use super::discovery::pause;
use super::events::{RebuildBegins, RebuildEnds, RebuildWaits};
use super::sinks::{self, Prepared};
use super::{RunError, Sources, State, Stop, TURN, difference, fingerprint, publish, sources, tables};
use crate::jobfile::{Job, SourceSpec};
use caudal_connectors::kafka::config::Start;
use caudal_pipeline::bound;
use caudal_pipeline::dataflow::root_of;
use caudal_pipeline::decode::TableRows;
use caudal_pipeline::engine::{self, Described, Engine, EngineConfig, HeldKey, Manifest, Phase, Retained, Standing};
use caudal_pipeline::log::Fingerprint;
use caudal_pipeline::plan::{StreamInput, ViewPlan, WindowPlan};
use caudal_pipeline::ports::below::Below;
use caudal_pipeline::ports::blobs::Blobs;
use caudal_pipeline::ports::bounded::BoundedSource;
use caudal_pipeline::ports::source::{Discovered, Source, SourceError};
use caudal_pipeline::record::{Offset, Partition};
use caudal_pipeline::time::{EventTime, Span};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Where, in the state, what is recomputed lies until it is taken over.
const BESIDE: &str = "rebuild";
/// Between two attempts at a source or store that does not answer.
const WAIT: Duration = Duration::from_secs(1);

type Found = BTreeMap<u32, Vec<Discovered>>;

/// Does it. A new state needs none.
pub fn run(started: &Started<'_>, sinks: &mut [Prepared]) -> Result<(), RunError> {
    started.rebuild(sinks)
}

/// Removes what a rebuild that was cut off has left.
pub fn forget(state: &State) -> Result<(), RunError> {
    Below::new(state.blobs(), BESIDE).clear().map_err(change::failed)
}

impl Started<'_> {
    fn rebuild(&self, sinks: &mut [Prepared]) -> Result<(), RunError> {
        let blobs: Arc<dyn Blobs> = self.state.blobs();
        let Standing { checkpoint, unfinished } = Standing::of(&blobs)?;
        let Some(by) = unfinished.or(checkpoint) else { return Ok(()) };
        let new = fingerprint(self.job);
        let old = if by.job == new.job { self.job.clone() } else { change::kept(self.state, by.job)? };
        self.check_groups(&old)?;
        let removed = difference::removed(&old, self.job);
        if unfinished.is_some() || !removed.is_empty() {
            self.drain(&change::reached_as(old.clone(), self.job), !removed.is_empty())?;
        }
        let was = engine::newest_manifest(&blobs)?
            .ok_or_else(|| RunError::Refused("the newest checkpoint is damaged: start without --rebuild first".into()))?;
        if was.ended {
            return Err(RunError::Refused("the input was closed for ever, so nothing is recomputed any more".into()));
        }
        let beside = Arc::new(Below::new(blobs.clone(), BESIDE));
        let port: Arc<dyn Blobs> = beside.clone();
        let of_ours = |standing: Standing| [standing.checkpoint, standing.unfinished].iter().flatten().all(|by| *by == new);
        if !Standing::of(&port).is_ok_and(of_ours) {
            beside.clear().map_err(change::failed)?;
        }
        let rows = tables(self.job)?;
        let (sources, found) = self.sources(&old, &was)?;
        let from = self.from(&rows, &sources, &found, &newest(&old, &was))?;
        self.recompute(&old, &was, port.clone(), rows, sources, found)?;
        let held = self.held(sinks, &from)?;
        let was_job = Described { plan: &old.plan, fingerprint: Fingerprint { job: by.job, ..new } };
        let is_job = Described { plan: &self.job.plan, fingerprint: new };
        let rebuilt = engine::adopt(&blobs, was_job, &port, is_job, &from, &held)?;
        RebuildEnds { job: &self.job.plan.name, rebuilt, removed: &removed }.emit();
        beside.clear().map_err(change::failed)
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

    /// The sources up to where the old job had read, and their partitions.
    fn sources(&self, old: &Job, was: &Manifest) -> Result<(Sources, Found), RunError> {
        let mut from_the_beginning = self.job.clone();
        for (_, spec) in &mut from_the_beginning.sources {
            if let SourceSpec::Kafka(config) = spec
                && config.start == Start::Latest
            {
                config.start = Start::Earliest;
            }
        }
        let built = sources::build(&from_the_beginning, self.state, self.clock)?;
        let (mut bounded, mut found) = (Sources::new(), Found::new());
        for (stream, source) in built.sources {
            let ends = self.ends(stream, old, was);
            let source: Arc<dyn Source> = Arc::new(BoundedSource::new(source, ends.clone()));
            let partitions = self.answered(&self.job.plan.streams[stream as usize].name, || source.discover())?;
            check_partitions(&ends, &partitions)?;
            bounded.insert(stream, source);
            found.insert(stream, partitions);
        }
        Ok((bounded, found))
    }

    fn ends(&self, stream: u32, old: &Job, was: &Manifest) -> BTreeMap<Partition, Offset> {
        let name = &self.job.plan.streams[stream as usize].name;
        let position = old.plan.streams.iter().position(|stream| stream.name == *name);
        let state = position.and_then(|position| was.streams.get(&(position as u32)));
        let ends = state.into_iter().flat_map(|state| &state.partitions);
        ends.map(|(partition, next, _)| (partition.clone(), *next)).collect()
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
    fn from(&self, rows: &[TableRows], sources: &Sources, found: &Found, newest: &Newest) -> Result<Vec<EventTime>, RunError> {
        let plan = &self.job.plan;
        let mut of_stream: BTreeMap<u32, EventTime> = BTreeMap::new();
        for (stream, partitions) in found {
            let name = &plan.streams[*stream as usize].name;
            let (mut latest, lateness) = (EventTime::MIN, plan.streams[*stream as usize].lateness);
            for partition in partitions {
                let retained = self.answered(name, || {
                    let wait = || {
                        pause(Duration::from_millis(1), self.shared, Stop::Drain);
                        self.shared.stopping() == Stop::No
                    };
                    engine::first_retained(plan, rows, *stream, &*sources[stream], partition, wait)
                })?;
                latest = latest.max(match retained {
                    Retained::All => EventTime::MIN,
                    Retained::From(first) => first.plus(lateness),
                    // All that it had lies at or before the newest of it.
                    Retained::Nothing => newest.get(&(name.clone(), partition.partition.clone())).map_or(EventTime::MIN, after),
                });
            }
            of_stream.insert(*stream, latest);
        }
        let from = |view: &ViewPlan| {
            // What was lost may reach into a session that begins within a gap of it.
            let gap = if let WindowPlan::Session { gap } = view.window { gap } else { Span(0) };
            of_stream[&(root_of(plan, view.stream) as u32)].plus(gap)
        };
        let from: Vec<EventTime> = plan.views.iter().map(from).collect();
        let partial =
            plan.views.iter().zip(&from).filter(|(view, from)| view.window == WindowPlan::Unwindowed && **from > EventTime::MIN);
        let partial: Vec<String> = partial.map(|(view, _)| format!("views.{}", view.name)).collect();
        if !partial.is_empty() {
            return Err(RunError::Refused(format!(
                "{}: without windows, so it would lack the records that the source no longer has: give it windows, or keep records longer",
                partial.join(", ")
            )));
        }
        Ok(from)
    }

    /// Runs the job on what is left, in a state of its own, until it is where the old one is.
    fn recompute(
        &self,
        old: &Job,
        was: &Manifest,
        blobs: Arc<dyn Blobs>,
        tables: Vec<TableRows>,
        sources: Sources,
        found: Found,
    ) -> Result<(), RunError> {
        let plan = &self.job.plan;
        RebuildBegins { job: &plan.name, memory_bound: self.shared.memory_bound() }.emit();
        let mut engine = Engine::start(EngineConfig {
            plan: self.shared.plan.clone(),
            fingerprint: fingerprint(self.job),
            workers: self.settings.workers,
            blobs,
            sources,
            tables,
            checkpoint_every: self.settings.checkpoint_every,
            in_flight_bytes_max: bound::in_flight_bytes_max(&plan.limits),
            retain: sinks::ledger_retention(self.job),
            // Nobody follows, so the ledger keeps everything.
            sinks: self.job.sinks.iter().map(|sink| sink.name.clone()).collect(),
        })?;
        engine.do_not_wait_for_sinks();
        found.iter().for_each(|(stream, partitions)| engine.discovered(*stream, partitions.clone()));
        let watermark = |stream: u32| {
            let position = old.plan.streams.iter().position(|was| was.name == plan.streams[stream as usize].name)?;
            was.watermarks.get(position).copied()
        };
        let source_streams =
            (0..plan.streams.len() as u32).filter(|stream| matches!(plan.streams[*stream as usize].from, StreamInput::Source(_)));
        engine.at_least(source_streams.filter_map(|stream| Some((stream, watermark(stream)?))).collect());
        let outcome = loop {
            if let Err(error) = engine.turn(self.clock.now(), TURN) {
                break Err(error.into());
            }
            publish(&mut engine, self.shared);
            if engine.phase() == Phase::Done {
                break engine.over_limit().map_or(Ok(()), |why| Err(RunError::Refused(why.to_owned())));
            }
            if let Err(stopped) = self.go_on() {
                break Err(stopped);
            }
            if engine.phase() == Phase::Live && has_reached(&engine, &found) {
                engine.stop(false);
            }
        };
        engine.shut_down();
        outcome
    }

    /// The rows that stores hold from where they are recomputed.
    fn held(&self, sinks: &mut [Prepared], from: &[EventTime]) -> Result<BTreeMap<HeldKey, EventTime>, RunError> {
        let mut held = BTreeMap::new();
        for sink in sinks {
            loop {
                match sink.held(from, &mut held) {
                    Ok(()) => break,
                    Err(sinks::Unread::Stop(why)) => return Err(RunError::Refused(format!("sinks.{}: {why}", sink.name))),
                    Err(sinks::Unread::Retry(why)) => self.wait(&sink.name, &why)?,
                }
            }
        }
        Ok(held)
    }
}

/// The newest event time that the old job has read, by stream and partition.
type Newest = BTreeMap<(String, Partition), EventTime>;

fn newest(old: &Job, was: &Manifest) -> Newest {
    let of = |stream: &u32| old.plan.streams[*stream as usize].name.clone();
    let all = was.streams.iter().flat_map(|(stream, state)| state.partitions.iter().map(move |read| (of(stream), read)));
    all.filter_map(|(stream, (partition, _, newest))| Some(((stream, partition.clone()), (*newest)?))).collect()
}

fn after(time: &EventTime) -> EventTime {
    time.plus(Span(1))
}

/// What the old job has read must still be there, or at least what comes after it.
fn check_partitions(ends: &BTreeMap<Partition, Offset>, found: &[Discovered]) -> Result<(), RunError> {
    for (partition, end) in ends {
        let place = || format!("topic {}, partition {}", partition.topic, partition.number);
        match found.iter().find(|found| found.partition == *partition) {
            None => return Err(RunError::Refused(format!("{}, which the job has read, is no longer there", place()))),
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

/// Whether everything up to the old job's offsets is in the ledger.
fn has_reached(engine: &Engine, found: &Found) -> bool {
    let positions = engine.status().positions;
    found.iter().all(|(stream, partitions)| {
        let read = positions.get(stream);
        partitions.iter().all(|found| {
            let next = read.and_then(|read| read.iter().find(|(partition, _)| *partition == found.partition));
            next.is_some_and(|(_, next)| Some(*next) >= found.end)
        })
    })
}
