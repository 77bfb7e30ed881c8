//! Case files into cases: every name resolved against the job, every mistake told with its line.

use super::event::{self, Sent};
use super::expectation::{self, Expectation};
use super::grammar::FILE;
use super::moment;
use crate::jobfile::Job;
use crate::jobfile::conform::conform;
use crate::jobfile::mistakes::Mistakes;
use crate::jobfile::node::{Content, Place};
use crate::jobfile::reader::At;
use crate::jobfile::yaml;
use caudal_pipeline::plan::StreamInput;
use caudal_pipeline::suggest::suggest;
use caudal_pipeline::time::{EventTime, Span};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Why no case was run.
#[derive(Debug, thiserror::Error)]
pub enum CasesError {
    /// The folder of cases cannot be read or has none.
    #[error("{0}")]
    Folder(String),
    /// Case files with mistakes, all of them.
    #[error("{}", .0.iter().map(Mistakes::to_string).collect::<Vec<_>>().join("\n"))]
    Mistakes(Vec<Mistakes>),
}

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// Where it is written.
    pub place: Place,
    pub(super) setting: Setting,
    pub(super) steps: Vec<Step>,
}

/// How a case begins.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub start_us: i64,
    pub workers: usize,
    /// By stream; one where nothing is said.
    pub partitions: BTreeMap<usize, usize>,
}

/// One step and its line.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub line: usize,
    pub action: Action,
}

/// What a step does.
#[derive(Clone, Debug)]
pub(super) enum Action {
    Send(Vec<Sent>),
    Advance(Span),
    Watermark(Vec<(usize, EventTime)>),
    Idle(usize),
    Restart { workers: Option<usize>, how: Ending },
    Expect(Expectation),
}

/// How a run of the engine ends before a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Nothing but the state is left.
    Kill,
    /// Drained, with a last checkpoint.
    Stop,
}

/// What steps refer to.
pub(super) struct Scope<'a> {
    pub job: &'a Job,
    pub start_us: i64,
    pub events: &'a BTreeMap<String, Json>,
}

/// The clock of cases that say nothing.
const START: &str = "2026-01-01T12:00:00Z";

/// The cases of a job's folder, in the order of their files' names.
pub(super) fn cases(job: &Job, folder: &Path) -> Result<Vec<Case>, CasesError> {
    let (mut all, mut wrong) = (Vec::new(), Vec::new());
    for path in files(&folder.join("cases"))? {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(&path).map_err(|error| CasesError::Folder(format!("cannot read {shown}: {error}")))?;
        match file(job, &shown, &text) {
            Ok(cases) => all.extend(cases),
            Err(mistakes) => wrong.push(mistakes),
        }
    }
    if wrong.is_empty() { Ok(all) } else { Err(CasesError::Mistakes(wrong)) }
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, CasesError> {
    let failed = |what: String| CasesError::Folder(format!("{}: {what}", folder.display()));
    let entries = std::fs::read_dir(folder).map_err(|error| failed(format!("the cases cannot be read: {error}")))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml"));
    files.sort();
    if files.is_empty() { Err(failed("there is no case: write one into a file such as `first.yaml`".into())) } else { Ok(files) }
}

/// The cases of one file.
pub(super) fn file(job: &Job, name: &str, text: &str) -> Result<Vec<Case>, Mistakes> {
    let mut mistakes = Mistakes::new(name);
    let mut errors = Vec::new();
    let root = yaml::parse(name, text, &mut errors);
    errors.into_iter().for_each(|error| mistakes.note(error.place, "", error.message));
    let Some(root) = root else { return Err(mistakes) };
    // What has not the right shape is noted here; whoever reads on below passes over it in silence.
    conform(&FILE, &root, "", &mut mistakes);
    let root = At::root(&root);
    let defaults = Setting { start_us: moment::parse(START, 0).expect("a time"), workers: 1, partitions: BTreeMap::new() };
    let defaults = setting(job, &root, &defaults, &mut mistakes);
    let events = events(&root, &mut mistakes);
    let cases = root.get("cases").iter().flat_map(At::entries).collect::<Vec<_>>();
    let cases = cases.into_iter().map(|(entry, at)| {
        let setting = setting(job, &at, &defaults, &mut mistakes);
        let steps = if matches!(at.node.content, Content::List(_)) { Some(at) } else { at.get("steps") };
        let scope = Scope { job, start_us: setting.start_us, events: &events };
        let steps = steps.iter().flat_map(At::items).filter_map(|at| step(&at, &scope, &mut mistakes)).collect();
        Case { name: entry.key.clone(), place: entry.place.clone(), setting, steps }
    });
    let cases = cases.collect();
    if mistakes.is_empty() { Ok(cases) } else { Err(mistakes) }
}

fn setting(job: &Job, at: &At<'_>, defaults: &Setting, mistakes: &mut Mistakes) -> Setting {
    let mut setting = defaults.clone();
    if let Some(start) = at.get("start") {
        setting.start_us = time(&start, defaults.start_us, mistakes).unwrap_or(defaults.start_us);
    }
    setting.workers = at.integer_of("workers").map_or(setting.workers, |n| n as usize);
    for (entry, at) in at.get("partitions").iter().flat_map(At::entries) {
        let stream = source(job, &entry.key, &at, mistakes);
        setting.partitions.extend(stream.zip(at.text().and_then(|text| text.parse().ok())));
    }
    setting
}

fn events(root: &At<'_>, mistakes: &mut Mistakes) -> BTreeMap<String, Json> {
    let mut events = BTreeMap::new();
    for (entry, at) in root.get("events").iter().flat_map(At::entries) {
        match at.node.to_json() {
            event @ Json::Object(_) => drop(events.insert(entry.key.clone(), event)),
            _ => at.mistake(mistakes, "an event to start from is a map"),
        }
    }
    events
}

fn step(at: &At<'_>, scope: &Scope<'_>, mistakes: &mut Mistakes) -> Option<Step> {
    let action = match at.node.entries().first()?.key.as_str() {
        "send" => Action::Send(send(&at.get("send")?, scope, mistakes)),
        "advance" => Action::Advance(at.duration_of("advance")?),
        "watermark" => Action::Watermark(watermarks(&at.get("watermark")?, scope, mistakes)),
        "idle" => {
            let stream = at.get("idle")?;
            Action::Idle(source(scope.job, stream.text()?, &stream, mistakes)?)
        }
        "restart" => {
            let restart = at.get("restart")?;
            let how = restart.text().map(str::to_owned).or_else(|| restart.text_of("how"));
            let how = if how.as_deref() == Some("stop") { Ending::Stop } else { Ending::Kill };
            Action::Restart { workers: restart.integer_of("workers").map(|n| n as usize), how }
        }
        _ => Action::Expect(expectation::read(&at.get("expect")?, scope, mistakes)),
    };
    Some(Step { line: at.node.place.line, action })
}

fn send(at: &At<'_>, scope: &Scope<'_>, mistakes: &mut Mistakes) -> Vec<Sent> {
    let mut all = Vec::new();
    for (entry, events) in at.entries() {
        if let Some(stream) = source(scope.job, &entry.key, &events, mistakes) {
            all.extend(event::sent(stream, &events, scope, mistakes));
        }
    }
    all
}

/// Times by stream.
pub(super) fn watermarks(at: &At<'_>, scope: &Scope<'_>, mistakes: &mut Mistakes) -> Vec<(usize, EventTime)> {
    let mut all = Vec::new();
    for (entry, at) in at.entries() {
        let stream = stream(scope.job, &entry.key, &at, mistakes);
        all.extend(stream.zip(time(&at, scope.start_us, mistakes).map(EventTime)));
    }
    all
}

fn time(at: &At<'_>, start_us: i64, mistakes: &mut Mistakes) -> Option<i64> {
    moment::parse(at.text()?, start_us).map_err(|message| at.mistake(mistakes, message)).ok()
}

/// The position of the stream of this name.
pub(super) fn stream(job: &Job, name: &str, at: &At<'_>, mistakes: &mut Mistakes) -> Option<usize> {
    let names = || job.plan.streams.iter().map(|stream| stream.name.as_str());
    let found = names().position(|known| known == name);
    if found.is_none() {
        at.mistake(mistakes, unknown("stream", name, names()));
    }
    found
}

/// The position of the stream of this name, if it has a source.
fn source(job: &Job, name: &str, at: &At<'_>, mistakes: &mut Mistakes) -> Option<usize> {
    let stream = stream(job, name, at, mistakes)?;
    if let StreamInput::Stream(parent, _) = &job.plan.streams[stream].from {
        let parent = &job.plan.streams[*parent].name;
        at.mistake(mistakes, format!("`{name}` is made from `{parent}` and has no source of its own: name `{parent}`"));
        return None;
    }
    Some(stream)
}

/// What is said of a name that the job does not have.
pub(super) fn unknown<'a>(kind: &str, name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    match suggest(name, known.clone()) {
        Some(near) => format!("no {kind} `{name}`; did you mean `{near}`?"),
        None => format!("no {kind} `{name}`; there is {}", known.collect::<Vec<_>>().join(", ")),
    }
}
