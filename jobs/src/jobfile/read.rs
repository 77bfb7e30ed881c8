//! From the text of a job file to a [`Job`], or to all its mistakes.
//!
//! ```text
//! text ─include─▶ tree ─override─▶ ─substitute─▶ ─conform (shape)─▶ ─fill (defaults)─▶ build and check ─▶ Job
//! ```
//!
//! A step that fails leaves a hole behind, about which a mistake is noted; later steps say nothing more about the hole
//! and go on with the rest. So everything that can be known to be wrong is told at once.

use super::conform::conform;
use super::defaults;
use super::environment;
use super::fingerprint;
use super::grammar::JOB;
use super::include;
use super::job::{Job, SinkSpec, TableSource};
use super::mistakes::Mistakes;
use super::node::Node;
use super::overrides;
use super::reader::At;
use super::sinks::sinks;
use super::streams::{BuiltStream, StreamContext, streams};
use super::surroundings::Surroundings;
use super::tables::table;
use super::views::{BuiltView, views};
use caudal_pipeline::plan::{Limits, Plan, StreamInput, TablePlan};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Reads the job file at this path.
pub fn read(file: &str, around: &Surroundings<'_>) -> Result<Job, Mistakes> {
    let mut mistakes = Mistakes::new(file);
    let Some(mut root) = include::read(file, around, &mut mistakes) else { return Err(mistakes) };
    for given in &around.overrides {
        overrides::apply(&mut root, given, &mut mistakes);
    }
    let secrets = environment::substitute(&mut root, around, &mut mistakes);
    conform(&JOB, &root, "", &mut mistakes);
    mistakes.settle();
    defaults::fill(&JOB, &mut root, &defaults::tree());
    let files: RefCell<BTreeMap<String, String>> = RefCell::default();
    let remembered = |path: &Path| {
        let text = (around.file)(path)?;
        files.borrow_mut().insert(path.display().to_string(), text.clone());
        Ok(text)
    };
    let around = Surroundings { variable: around.variable, file: &remembered, overrides: Vec::new(), fits: around.fits };
    let job = build(file, &root, secrets, &around, &mut mistakes);
    match job {
        Some(job) if mistakes.is_empty() => Ok(Job { files: files.take(), ..job }),
        _ => Err(mistakes),
    }
}

fn build(file: &str, root: &Node, secrets: BTreeSet<String>, around: &Surroundings<'_>, mistakes: &mut Mistakes) -> Option<Job> {
    let at = At::root(root);
    check_names(&at, mistakes);
    let tables = tables(&at, around, file, mistakes);
    let plans: Vec<(String, Option<TablePlan>)> =
        tables.iter().map(|(name, table)| (name.clone(), table.as_ref().map(|(plan, _)| plan.clone()))).collect();
    let context = StreamContext { around, job_file: file, tables: &plans };
    let streams = at.get("streams").map(|all| streams(&all, &context, mistakes)).unwrap_or_default();
    let views = views(at.get("views").as_ref(), &streams, mistakes);
    let sinks = sinks(at.get("sinks").as_ref(), &streams, &views, file, mistakes);
    if at.get("streams").is_some_and(|s| s.node.entries().is_empty()) {
        at.mistake_at("streams", mistakes, "no stream: a job reads at least one");
    }
    if !mistakes.is_empty() {
        return None;
    }
    let job = assemble(file, &at, Parts { tables, streams, views, sinks, secrets })?;
    if let Err(message) = (around.fits)(&job) {
        let limits = at.deepest("limits.memory");
        let place = if limits.path.is_empty() { at.deepest("name") } else { limits };
        mistakes.at(place.node, "limits.memory", message);
    }
    Some(job)
}

/// Names of Kafka's `publish` and of `keep` that are not views.
const RESERVED_VIEWS: [&str; 3] = ["alerts", "events", "dead_letters"];

fn check_names(at: &At<'_>, mistakes: &mut Mistakes) {
    let mut taken: Vec<(&str, &str)> = Vec::new();
    for (section, kind) in [("tables", "table"), ("streams", "stream"), ("views", "view")] {
        let Some(section) = at.get(section) else { continue };
        for entry in section.node.entries() {
            if let Some((_, first)) = taken.iter().find(|(name, _)| *name == entry.key) {
                let message =
                    format!("a {first} is called `{}` already: every table, stream and view needs a name of its own", entry.key);
                section.mistake_key(&entry.key, mistakes, message);
            }
            if kind == "view" && RESERVED_VIEWS.contains(&entry.key.as_str()) {
                section.mistake_key(
                    &entry.key,
                    mistakes,
                    format!("sinks know `{}` as something else: choose another name", entry.key),
                );
            }
            taken.push((&entry.key, kind));
        }
    }
}

type BuiltTable = (String, Option<(TablePlan, TableSource)>);

fn tables(at: &At<'_>, around: &Surroundings<'_>, file: &str, mistakes: &mut Mistakes) -> Vec<BuiltTable> {
    let Some(all) = at.get("tables") else { return Vec::new() };
    all.entries().map(|(entry, at)| (entry.key.clone(), table(&entry.key, &at, around, file, mistakes))).collect()
}

struct Parts<'n> {
    tables: Vec<BuiltTable>,
    streams: Vec<BuiltStream<'n>>,
    views: Vec<BuiltView>,
    sinks: Vec<SinkSpec>,
    secrets: BTreeSet<String>,
}

fn assemble(file: &str, at: &At<'_>, parts: Parts<'_>) -> Option<Job> {
    let fingerprint = fingerprint::of(at, &parts.streams);
    let (tables, table_sources) =
        parts.tables.into_iter().map(|(_, table)| table).collect::<Option<Vec<_>>>()?.into_iter().unzip();
    let sources = parts.streams.iter().enumerate().filter_map(|(i, s)| Some((i, s.source.clone()?))).collect();
    let mut streams = parts.streams.into_iter().map(|s| s.plan).collect::<Option<Vec<_>>>()?;
    let events_are_kept = parts.sinks.iter().any(|sink| sink.events);
    for stream in &mut streams {
        stream.archived = events_are_kept && matches!(stream.from, StreamInput::Source(_));
    }
    let plan = Plan {
        name: at.text_of("name")?,
        limits: limits(at),
        tables,
        streams,
        views: parts.views.into_iter().map(|v| v.plan).collect::<Option<_>>()?,
    };
    Some(Job {
        file: file.into(),
        plan,
        sources,
        tables: table_sources,
        sinks: parts.sinks,
        fingerprint,
        resolved: at.node.clone(),
        files: BTreeMap::new(),
        secrets: parts.secrets,
    })
}

fn limits(at: &At<'_>) -> Limits {
    let Some(limits) = at.get("limits") else { return Limits::default() };
    Limits {
        memory_bytes: limits.bytes_of("memory"),
        events_per_s: limits.integer_of("events_per_s"),
        groups: limits.integer_of("groups"),
    }
}
