//! A job's dataflow as a drawing: sources, streams, views, roll-ups, and the sinks that keep them.
//!
//! ```text
//! kafka wind.readings, earliest, json
//! └─ readings  lateness 1h; max_delay 10s; id /event_id; where power_kw >= 0
//!    └─ per_minute  every 1m by farm: mean_power, events
//!       ├─ per_hour  every 1h by farm, rolled up: mean_power, events
//!       │  └▶ cold  cassandra, on_complete, for 5y, each version once
//!       └▶ hot  redis, on_update, for 3d, each version once
//! ```

use super::figures::{WIDTH, counted, wrapped};
use crate::jobfile::node::Node;
use crate::jobfile::{Emission, Job, SinkSpec, SourceSpec, StoreSpec};
use caudal_connectors::kafka::config::{Published, Start, Topics};
use caudal_connectors::{cassandra, embedded, file, kafka, redis};
use caudal_pipeline::plan::{CalendarUnit, StreamInput, ViewInput, ViewPlan, WindowPlan};
use caudal_pipeline::ports::sink::Guarantee;
use std::io::{self, Write};

/// A place in the drawing, and what flows out of it.
struct Branch {
    name: String,
    facts: String,
    /// Whether it is a store: drawn with an arrow.
    store: bool,
    below: Vec<Branch>,
}

/// Draws the job.
pub fn draw(job: &Job, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", job.plan.name)?;
    for root in roots(job) {
        writeln!(out)?;
        for (n, line) in wrapped(&root.name, WIDTH - 2).into_iter().enumerate() {
            writeln!(out, "{}{line}", if n == 0 { "" } else { "  " })?;
        }
        below(&root.below, "", out)?;
    }
    Ok(())
}

fn below(branches: &[Branch], guide: &str, out: &mut dyn Write) -> io::Result<()> {
    for (n, branch) in branches.iter().enumerate() {
        let last = n + 1 == branches.len();
        let (corner, next) = if last { ("└", format!("{guide}   ")) } else { ("├", format!("{guide}│  ")) };
        let head = format!("{guide}{corner}{} {}", if branch.store { "▶" } else { "─" }, branch.name);
        // Facts go on under the name, beside the line to what is below.
        let hanging = format!("{next}{}", if branch.below.is_empty() { "  " } else { "│ " });
        let room = WIDTH.saturating_sub(head.chars().count() + 2);
        let mut facts = wrapped(&branch.facts, room.max(20)).into_iter();
        writeln!(out, "{}", format!("{head}  {}", facts.next().unwrap_or_default()).trim_end())?;
        let rest = facts.collect::<Vec<_>>().join(" ");
        if !rest.is_empty() {
            for line in wrapped(&rest, WIDTH.saturating_sub(hanging.chars().count())) {
                writeln!(out, "{hanging}{line}")?;
            }
        }
        below(&branch.below, &next, out)?;
    }
    Ok(())
}

fn roots(job: &Job) -> Vec<Branch> {
    let root = |name: String, below| Branch { name, facts: String::new(), store: false, below };
    let of_source =
        |(stream, source): &(usize, SourceSpec)| root(source_text(job, *stream, source), vec![of_stream(job, *stream)]);
    let mut roots: Vec<Branch> = job.sources.iter().map(of_source).collect();
    let dead_letters: Vec<Branch> =
        job.sinks.iter().filter(|sink| sink.dead_letters).map(|sink| dead_letters(job, sink)).collect();
    if !dead_letters.is_empty() {
        roots.push(root("dead letters of every stream".to_owned(), dead_letters));
    }
    let events: Vec<Branch> = job
        .sinks
        .iter()
        .filter(|sink| sink.events)
        .map(|sink| store(sink, &[store_text(sink), retain_text(job, sink)]))
        .collect();
    if !events.is_empty() {
        roots.push(root("accepted events of every stream".to_owned(), events));
    }
    roots
}

/// What is written in the job file, as it was written, secrets aside.
fn written<'j>(job: &'j Job, path: &[&str]) -> Option<&'j Node> {
    path.iter().try_fold(&job.resolved, |node, key| node.get(key))
}

fn text(node: &Node) -> String {
    match node.scalar() {
        Some(scalar) => scalar.text.clone(),
        None => node.items().iter().map(text).collect::<Vec<_>>().join(", "),
    }
}

fn source_text(job: &Job, stream: usize, source: &SourceSpec) -> String {
    let from = match source {
        SourceSpec::Kafka(config) => {
            let topics = match &config.topics {
                Topics::Named(names) => names.join(", "),
                Topics::Pattern(pattern) => pattern.clone(),
            };
            let start = match config.start {
                Start::Earliest => "earliest".to_owned(),
                Start::Latest => "latest".to_owned(),
                Start::Timestamp(us) => caudal_pipeline::time::EventTime(us).to_string(),
            };
            format!("kafka {topics}, from {start}")
        }
        SourceSpec::File(config) => format!("file {}", config.paths.join(", ")),
        SourceSpec::Http(spec) => {
            format!("http, {} of the local log", counted(spec.partitions.into(), "partition", "partitions"))
        }
        SourceSpec::Generate(spec) => format!("generate {}", spec.path.as_deref().unwrap_or("as written in the job file")),
    };
    let format = written(job, &["streams", &job.plan.streams[stream].name, "format"]);
    let format = format.map(|node| node.scalar().map_or_else(|| "csv".to_owned(), |scalar| scalar.text.clone()));
    format!("{from}, {}", format.unwrap_or_else(|| "json".to_owned()))
}

fn of_stream(job: &Job, stream: usize) -> Branch {
    let plan = &job.plan.streams[stream];
    let child = |(at, other): (usize, &caudal_pipeline::plan::StreamPlan)| match other.from {
        StreamInput::Stream(parent, _) if parent == stream => Some(of_stream(job, at)),
        _ => None,
    };
    let mut below: Vec<Branch> = job.plan.streams.iter().enumerate().filter_map(child).collect();
    let is_root = |view: &ViewPlan| matches!(view.from, ViewInput::Stream { stream: from, .. } if from == stream);
    below.extend((0..job.plan.views.len()).filter(|view| is_root(&job.plan.views[*view])).map(|view| of_view(job, view)));
    Branch { name: plan.name.clone(), facts: stream_facts(job, stream), store: false, below }
}

fn stream_facts(job: &Job, stream: usize) -> String {
    let plan = &job.plan.streams[stream];
    let mut facts = Vec::new();
    if matches!(plan.from, StreamInput::Source(_)) {
        facts.push(format!("lateness {}", plan.lateness));
        facts.push(format!("max_delay {}", plan.watermark.max_delay));
    }
    for key in ["explode", "id", "where"] {
        if let Some(node) = written(job, &["streams", &plan.name, key]) {
            let node = node.get("at").unwrap_or(node);
            facts.push(format!("{key} {}", text(node)));
        }
    }
    let tables: Vec<String> = written(job, &["streams", &plan.name, "lookup"])
        .map(|lookups| lookups.entries().iter().filter_map(|entry| entry.node.get("table")).map(text).collect())
        .unwrap_or_default();
    if !tables.is_empty() {
        facts.push(format!("looks up {}", tables.join(", ")));
    }
    facts.join("; ")
}

fn of_view(job: &Job, view: usize) -> Branch {
    let plan = &job.plan.views[view];
    let group = plan.group.iter().map(|field| field.name.as_str()).collect::<Vec<_>>().join(", ");
    let group = if group.is_empty() { String::new() } else { format!(" by {group}") };
    let rolled = if matches!(plan.from, ViewInput::View { .. }) { ", rolled up" } else { "" };
    let columns = plan.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
    let made_from = |other: &ViewPlan| matches!(other.from, ViewInput::View { view: from, .. } if from == view);
    let upper = (0..job.plan.views.len()).filter(|other| made_from(&job.plan.views[*other]));
    let mut below: Vec<Branch> = upper.map(|other| of_view(job, other)).collect();
    below.extend(job.sinks.iter().filter_map(|sink| keeping(job, sink, view)));
    Branch {
        name: plan.name.clone(),
        facts: format!("{}{group}{rolled}: {columns}", window_text(&plan.window)),
        store: false,
        below,
    }
}

fn window_text(window: &WindowPlan) -> String {
    match window {
        WindowPlan::Tumbling { size } => format!("every {size}"),
        WindowPlan::Calendar { unit, zone } => {
            let unit = match unit {
                CalendarUnit::Day => "day",
                CalendarUnit::Week => "week",
                CalendarUnit::Month => "month",
            };
            format!("every {unit} in {zone}")
        }
        WindowPlan::Sliding { size, every } => format!("the last {size}, every {every}"),
        WindowPlan::Session { gap } => format!("sessions {gap} apart"),
        WindowPlan::Unwindowed => "for ever".to_owned(),
    }
}

/// The sink, if it keeps the view.
fn keeping(job: &Job, sink: &SinkSpec, view: usize) -> Option<Branch> {
    let kept = sink.keep.iter().find(|kept| kept.view == view)?;
    let emission = match kept.emission {
        Emission::OnUpdate => "on_update".to_owned(),
        Emission::Every(span) => format!("every {span}"),
        Emission::OnComplete => "on_complete".to_owned(),
        Emission::OnFinal => "on_final".to_owned(),
    };
    let StoreSpec::Kafka(config) = &sink.store else {
        return Some(store(sink, &[store_text(sink), emission, retain_text(job, sink)]));
    };
    let group = &job.plan.views[view].group;
    let published = config.publish.iter().find_map(|publication| match &publication.what {
        Published::View { view: of, key } if *of == view => {
            let key: Vec<&str> = key.iter().map(|at| group[*at].name.as_str()).collect();
            let key = if key.is_empty() { String::new() } else { format!(" keyed by {}", key.join(", ")) };
            Some(format!("{} {}{key}", store_text(sink), publication.topic))
        }
        _ => None,
    });
    Some(store(sink, &[published?, emission]))
}

fn dead_letters(job: &Job, sink: &SinkSpec) -> Branch {
    let topic = match &sink.store {
        StoreSpec::Kafka(config) => {
            config.publish.iter().find(|p| p.what == Published::DeadLetters).map(|p| format!(" {}", p.topic))
        }
        _ => None,
    };
    store(sink, &[format!("{}{}", store_text(sink), topic.unwrap_or_default()), retain_text(job, sink)])
}

fn store(sink: &SinkSpec, facts: &[String]) -> Branch {
    let guarantee = guarantee(sink).to_string();
    let facts: Vec<&str> = facts.iter().chain([&guarantee]).map(String::as_str).filter(|fact| !fact.is_empty()).collect();
    Branch { name: sink.name.clone(), facts: facts.join(", "), store: true, below: Vec::new() }
}

/// The store's kind in a word.
pub fn store_text(sink: &SinkSpec) -> String {
    match &sink.store {
        StoreSpec::Redis(_) => "redis".to_owned(),
        StoreSpec::Cassandra(_) => "cassandra".to_owned(),
        StoreSpec::Kafka(_) => "kafka".to_owned(),
        StoreSpec::File(config) => format!("file {}", config.folder),
        StoreSpec::Embedded => "embedded store".to_owned(),
    }
}

/// What a reader of it may rely on.
fn guarantee(sink: &SinkSpec) -> Guarantee {
    match &sink.store {
        StoreSpec::Redis(_) => redis::GUARANTEE,
        StoreSpec::Cassandra(_) => cassandra::GUARANTEE,
        StoreSpec::Kafka(_) => kafka::GUARANTEE,
        StoreSpec::File(_) => file::GUARANTEE,
        StoreSpec::Embedded => embedded::GUARANTEE,
    }
}

/// How long rows are kept, as it was written; empty for stores that keep everything themselves.
fn retain_text(job: &Job, sink: &SinkSpec) -> String {
    let written = written(job, &["sinks", &sink.name, "retain"]).map(text);
    match (&sink.store, sink.retain) {
        (StoreSpec::Kafka(_) | StoreSpec::File(_), _) => String::new(),
        (_, Some(span)) => format!("for {}", written.unwrap_or_else(|| span.to_string())),
        (_, None) => "for ever".to_owned(),
    }
}
