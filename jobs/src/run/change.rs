//! A changed job on the state of the one before: what may go on, what may not and why, and the way over.
//!
//! ```text
//! start ─▶ the state is another job's ─▶ read that job from the state ─▶ differences that alter a promise? refused, each told
//!                                             └─▶ drain it: what it bound is finished ─▶ carry its state over ─▶ start
//! ```
//! Each start keeps its job in the state, resolved, without secrets, with the files that it names, so that the next one can
//! finish what it bound even if its own file is gone. How a source or store of the same name is reached is taken from the
//! new job.

use super::clock::Clock;
use super::events::{Changed, KeptInVain, SinkBegins, SinkKeepsOtherwise, ViewBegins};
use super::{Parts, RunError, Settings, Shared, State, difference, drive, fingerprint, prepare, sinks};
use crate::jobfile::resolved::resolved;
use crate::jobfile::{Job, SourceSpec, Surroundings, read};
use caudal_pipeline::engine::{self, Described, Engine, Standing};
use caudal_pipeline::log::{Fence, Fingerprint};
use caudal_pipeline::ports::blobs::{BlobError, Blobs, Created};
use caudal_pipeline::time::EventTime;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// A job as the state keeps it.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// The path of the job file, against which others were resolved.
    file: String,
    /// The job, resolved.
    text: String,
    /// Schemas, profiles and tables, by path.
    files: BTreeMap<String, String>,
}

impl Kept {
    /// The text of a file. What an included file named lies beside that one, and is asked for beside the job: it is known by
    /// the end of its path, if one alone ends so.
    fn file(&self, path: &Path) -> Option<&String> {
        let beside = Path::new(&self.file).parent().and_then(|folder| path.strip_prefix(folder).ok()).unwrap_or(path);
        let mut ending = self.files.iter().filter(|(name, _)| Path::new(name).ends_with(beside));
        let found = self.files.get(&path.display().to_string());
        found.or_else(|| ending.next().map(|(_, text)| text).filter(|_| ending.next().is_none()))
    }
}

fn name_of(job: u64) -> String {
    format!("jobs/{job:016x}")
}

pub fn failed(error: BlobError) -> RunError {
    RunError::Failed(error.to_string())
}

/// Keeps the job in its state, in the place of what an earlier start kept of it, and says what its sinks now keep otherwise.
pub fn keep(job: &Job, state: &State) -> Result<(), RunError> {
    let kept = Kept { file: job.file.clone(), text: resolved(job), files: job.files.clone() };
    let bytes = serde_json::to_vec(&kept).expect("texts are plain data");
    let (blobs, name) = (state.blobs(), name_of(fingerprint(job).job));
    if blobs.create(&name, &bytes).map_err(failed)? == Created::Exists && blobs.read(&name).map_err(failed)? != bytes {
        // One that cannot be read is replaced too.
        if let Ok(old) = self::kept(state, fingerprint(job).job) {
            tell_kept_otherwise(&old, job);
        }
        blobs.delete(&name).map_err(failed)?;
        blobs.create(&name, &bytes).map_err(failed)?;
    }
    if let Err(why) = self::kept(state, fingerprint(job).job) {
        KeptInVain { job: &job.plan.name, why: &why.to_string() }.emit();
    }
    Ok(())
}

/// The job that the state is of.
pub fn kept(state: &State, id: u64) -> Result<Job, RunError> {
    let unreadable = |why: String| {
        RunError::Refused(format!(
            "the state is another job's, which cannot be read from it ({why}): run that job, or start with a new state folder"
        ))
    };
    let bytes = match state.blobs().read(&name_of(id)) {
        Err(BlobError::Missing(name)) => return Err(unreadable(format!("{name} is missing"))),
        bytes => bytes.map_err(failed)?,
    };
    let kept: Kept = serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
    let text = |path: &Path| {
        let name = path.display().to_string();
        let file = if name == kept.file { Some(&kept.text) } else { kept.file(path) };
        file.cloned().ok_or_else(|| "it is not kept".to_owned())
    };
    let around = Surroundings { variable: &|_| None, file: &text, overrides: Vec::new(), fits: &|_| Ok(()) };
    let job = read(&kept.file, &around).map_err(|mistakes| unreadable(mistakes.to_string()))?;
    if fingerprint(&job).job == id { Ok(job) } else { Err(unreadable("its text has another meaning in this build".into())) }
}

/// A start under way: what it has before there is an engine.
pub struct Started<'a> {
    pub job: &'a Job,
    pub state: &'a State,
    pub settings: &'a Settings,
    pub shared: &'a Arc<Shared>,
    pub clock: &'a Clock,
}

/// Makes the state of the job `other` that of the one that starts, where that alters nothing that was promised.
pub fn carry_over(started: &Started<'_>, other: u64) -> Result<(), RunError> {
    let Started { job, state, shared, .. } = *started;
    let old = kept(state, other)?;
    let differences = difference::between(&old, job);
    if !differences.is_empty() {
        return Err(RunError::Refused(format!(
            "the job differs from the one that wrote this state in what was promised already:\n  {}\n\
             give what has changed another name, so that it begins as something new, or recompute it with --rebuild",
            differences.join("\n  ")
        )));
    }
    let removed = difference::removed(&old, job);
    let blobs: Arc<dyn Blobs> = state.blobs();
    let Standing { checkpoint, unfinished } = Standing::of(&blobs)?;
    let is_of = |by: Option<Fingerprint>| by.is_some_and(|by| by.job == other);
    // What a sink has not got of what is removed, it must get now.
    if is_of(unfinished) || is_of(checkpoint) && unfinished.is_none() && !removed.is_empty() {
        started.drain(&reached_as(old.clone(), job), !removed.is_empty())?;
    }
    let new = fingerprint(job);
    let (old_sinks, new_sinks) = (sinks_of(&old), sinks_of(job));
    let was = Described { plan: &old.plan, sinks: &old_sinks, fingerprint: Fingerprint { job: other, ..new } };
    let is = Described { plan: &job.plan, sinks: &new_sinks, fingerprint: new };
    shared.hold.taking(|taken| engine::carry_over(&blobs, was, is, taken))?;
    Changed { job: &job.plan.name, removed: &removed }.emit();
    tell_kept_otherwise(&old, job);
    Ok(())
}

/// Says which of the views that both have a sink of both keeps now, and did not, or not in this way.
fn tell_kept_otherwise(old: &Job, job: &Job) {
    for (sink, view) in difference::kept_otherwise(old, job) {
        SinkKeepsOtherwise { job: &job.plan.name, sink, view }.emit();
    }
}

impl Started<'_> {
    /// Finishes what the old job bound, and saves it. Its sinks catch up where `with_sinks` says so.
    /// Returns the hold on the state that this takes.
    pub fn drain(&self, old: &Job, with_sinks: bool) -> Result<Fence, RunError> {
        let Started { state, settings, shared, clock, .. } = *self;
        let of_old = shared.of_old(Arc::new(old.plan.clone()));
        let settings = Settings { until_end: false, close: false, drain: true, ..settings.clone() };
        let sinks = sinks::build(old, state.folder())?;
        let started = Started { job: old, state, settings: &settings, shared: &of_old, clock };
        let (mut engine, sources, intakes) = prepare(&started, &sinks, None)?;
        let fence = engine.fence().clone();
        if !with_sinks {
            engine.do_not_wait_for_sinks();
        }
        let asked = || shared.stopping();
        let sinks = if with_sinks { sinks } else { Vec::new() };
        let outcome = drive(engine, Parts { sources, sinks, intakes, state }, &settings, &of_old, clock, &asked);
        shared.alarm(of_old.take_alarms());
        // What a sink lacks is asked where it matters.
        outcome.map(|_| fence)
    }
}

/// The names of a job's sinks.
pub fn sinks_of(job: &Job) -> Vec<String> {
    job.sinks.iter().map(|sink| sink.name.clone()).collect()
}

/// The old job, with sources and stores reached as the new one says, where it has them: logins are not kept.
pub fn reached_as(old: Job, new: &Job) -> Job {
    let source_of = |name: &str| {
        let (_, spec) = new.sources.iter().find(|(stream, _)| new.plan.streams[*stream].name == name)?;
        Some(spec.clone())
    };
    let store_of = |name: &str| Some(new.sinks.iter().find(|sink| sink.name == name)?.store.clone());
    let mut old = old;
    for (stream, spec) in &mut old.sources {
        // Only logins are taken: what the old job has bound lies where it read.
        if let (SourceSpec::Kafka(old), Some(SourceSpec::Kafka(new))) = (&mut *spec, source_of(&old.plan.streams[*stream].name)) {
            old.properties = new.properties;
        }
    }
    for sink in &mut old.sinks {
        sink.store = store_of(&sink.name).unwrap_or_else(|| sink.store.clone());
    }
    old
}

/// Says what came to a job that had begun, and from when it is complete.
pub fn tell(engine: &Engine, job: &Job) {
    let name = &job.plan.name;
    for (view, begin) in engine.status().begins {
        ViewBegins { job: name, view: &view, begin }.emit();
    }
    for (sink, forgotten) in engine.new_sinks() {
        let kept = job.sinks.iter().filter(|spec| spec.name == *sink).flat_map(|spec| &spec.keep);
        for view in kept.map(|kept| kept.view).filter(|view| forgotten[*view] > EventTime::MIN) {
            SinkBegins { job: name, sink, view: &job.plan.views[view].name, after: forgotten[view] }.emit();
        }
    }
}
