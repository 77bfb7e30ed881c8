//! The memory bound of a job: the engine's parts ([`caudal_pipeline::bound`]) and what program and clients take.

use super::figures::{WIDTH, bytes, wrapped};
use crate::jobfile::{Job, SourceSpec, StoreSpec};
use crate::run::{LATEST_GROUPS_MAX, Settings};
use caudal_pipeline::bound::{Part, Setting, bound, in_flight_bytes_max, total};
use caudal_pipeline::time::Span;
use std::cmp::Reverse;
use std::io::{self, Write};
use std::path::PathBuf;

/// The program before it has read anything, and each worker's thread with its buffers.
const PROGRAM_BYTES: u64 = 40 << 20;
const WORKER_BYTES: u64 = 8 << 20;
/// What a Kafka client fetches ahead: up to 2 MiB a partition, of which there are rarely more than 16 with news at once.
const KAFKA_SOURCE_BYTES: u64 = 32 << 20;
const OTHER_SOURCE_BYTES: u64 = 8 << 20;
/// A sink's client, and a batch on its way.
const SINK_BYTES: u64 = 16 << 20;

/// How a job is run, as far as its memory goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    /// Threads that work.
    pub workers: usize,
    /// Time between checkpoints: what changes in it waits in memory.
    pub checkpoint_every: Span,
}

impl Running {
    /// As it is told, else as `caudal run` has it.
    pub fn told(workers: Option<usize>, checkpoint_every: Span) -> Running {
        Running { workers: workers.unwrap_or(Running::default().workers), checkpoint_every }
    }
}

impl Default for Running {
    fn default() -> Running {
        let Settings { workers, checkpoint_every, .. } = Settings::in_folder(PathBuf::new());
        Running { workers, checkpoint_every }
    }
}

/// Everything that the job can need when it runs like this, the largest part first.
pub fn parts(job: &Job, running: Running) -> Vec<Part> {
    let setting = Setting {
        in_flight_bytes_max: in_flight_bytes_max(&job.plan.limits),
        checkpoint_every: running.checkpoint_every,
        boards: boards(job),
    };
    let mut parts = bound(&job.plan, &setting);
    parts.push(program(job, running.workers));
    // What nothing bounds comes first: it is what the reader must do something about.
    parts.sort_by_key(|part| Reverse(part.bytes.unwrap_or(u64::MAX)));
    parts
}

fn boards(job: &Job) -> Vec<(String, usize, u64)> {
    let of = |sink: &crate::jobfile::SinkSpec| {
        let groups_max = match &sink.store {
            StoreSpec::Redis(config) => config.board_groups_max as u64,
            StoreSpec::Cassandra(_) => LATEST_GROUPS_MAX as u64,
            _ => return Vec::new(),
        };
        sink.keep.iter().map(|kept| (sink.name.clone(), kept.view, groups_max)).collect()
    };
    job.sinks.iter().flat_map(of).collect()
}

fn program(job: &Job, workers: usize) -> Part {
    let source = |(_, source): &(usize, SourceSpec)| match source {
        SourceSpec::Kafka(_) => KAFKA_SOURCE_BYTES,
        _ => OTHER_SOURCE_BYTES,
    };
    let (sources, sinks) = (job.sources.iter().map(source).sum::<u64>(), job.sinks.len() as u64 * SINK_BYTES);
    Part {
        what: "program".to_owned(),
        bytes: Some(PROGRAM_BYTES + workers as u64 * WORKER_BYTES + sources + sinks),
        from: format!("workers: {workers}, sources: {}, sinks: {}", job.sources.len(), job.sinks.len()),
    }
}

/// Whether the job's memory fits what it declares; the answer names what takes the most and what would help.
pub fn fits(job: &Job, running: Running) -> Result<(), String> {
    let parts = parts(job, running);
    let (Some(declared), Some(needed)) = (job.plan.limits.memory_bytes, total(&parts)) else { return Ok(()) };
    if needed <= declared {
        return Ok(());
    }
    let largest: Vec<String> =
        parts.iter().take(3).map(|part| format!("{} {}", part.what, bytes(part.bytes.unwrap_or(0)))).collect();
    Err(format!(
        "{} cannot hold the job, which may need {} ({}, …): raise it, or lower `limits.events_per_s`, `limits.groups`, \
         `lateness`, `watermark.max_ahead`, the length of lists or the time between checkpoints",
        bytes(declared),
        bytes(needed),
        largest.join(", ")
    ))
}

/// The parts as a table, with their sum and what was declared.
pub fn write(job: &Job, parts: &[Part], out: &mut dyn Write) -> io::Result<()> {
    let declared = match job.plan.limits.memory_bytes {
        Some(declared) => format!("of {} declared", bytes(declared)),
        None => "limits.memory is not declared".to_owned(),
    };
    match total(parts) {
        Some(needed) => writeln!(out, "memory  {} at most, {declared}", bytes(needed))?,
        None => writeln!(out, "memory  not bounded, {declared}")?,
    }
    let name_width = parts.iter().map(|part| part.what.chars().count()).max().unwrap_or(0);
    let size = |part: &Part| part.bytes.map_or_else(|| "unbounded".to_owned(), bytes);
    let size_width = parts.iter().map(|part| size(part).len()).max().unwrap_or(0);
    let indent = 2 + name_width + 2 + size_width + 2;
    for part in parts {
        let mut lines = wrapped(&part.from, WIDTH.saturating_sub(indent).max(24)).into_iter();
        writeln!(out, "  {:name_width$}  {:>size_width$}  {}", part.what, size(part), lines.next().unwrap_or_default())?;
        for line in lines {
            writeln!(out, "{:indent$}{line}", "")?;
        }
    }
    Ok(())
}
