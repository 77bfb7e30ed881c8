//! `caudal check`: every mistake at once; else the dataflow, the memory bound, and what the stores lack.

use super::error::InspectError;
use super::memory::{self, Running};
use super::picture;
use super::stores::{Condition, Finding, ask, refusals};
use crate::jobfile::node::Place;
use crate::jobfile::{Job, Mistakes, SourceSpec, StoreSpec};
use crate::{load, run};
use caudal_connectors::cassandra;
use caudal_connectors::generate::Profile;
use caudal_pipeline::time::Span;
use std::io::Write;
use std::path::PathBuf;

/// Check a job file: every mistake at once, the dataflow as a picture, the memory bound, what the stores lack.
///
/// Exit codes: 0 it can run; 1 a store is not reachable now; 2 the job file has mistakes; 3 a store would refuse it.
#[derive(Clone, Debug, clap::Args)]
pub struct CheckArgs {
    /// The job file, or a folder that holds `job.yaml`.
    pub job: PathBuf,
    /// Connect to nothing: only what the file says.
    #[arg(long)]
    pub offline: bool,
    /// Print the CQL that makes everything the job keeps in Cassandra, and nothing else. Connects to nothing.
    #[arg(long)]
    pub ddl: bool,
    /// Change a value of the job file, such as `streams.readings.lateness=2h`. May be repeated.
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// Threads that the memory bound counts with [default: as many as `run` would take].
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// Seconds between checkpoints that the memory bound counts with.
    #[arg(long, value_name = "S", default_value_t = 60)]
    pub checkpoint_every: u32,
}

/// Checks a job; nothing is started or made.
pub fn check(args: &CheckArgs, out: &mut dyn Write) -> Result<u8, InspectError> {
    let running = Running::told(args.workers, Span::seconds(args.checkpoint_every.into()));
    let job = load::job_that_runs(&args.job, &args.set, running)?;
    beyond_the_file(&job)?;
    if args.ddl {
        return ddl(&job, out);
    }
    picture::draw(&job, out)?;
    writeln!(out)?;
    memory::write(&job, &memory::parts(&job, running), out)?;
    if args.offline {
        return Ok(0);
    }
    writeln!(out)?;
    let findings = ask(&job);
    write_findings(&findings, out)?;
    Ok(exit_code(&findings))
}

/// Mistakes that only a connector knows of: profiles, and what a store can never keep.
fn beyond_the_file(job: &Job) -> Result<(), Mistakes> {
    let mut mistakes = Mistakes::new(&job.file);
    for (stream, source) in &job.sources {
        let SourceSpec::Generate(spec) = source else { continue };
        let path = format!("streams.{}.from.generate", job.plan.streams[*stream].name);
        let node = &["streams", &job.plan.streams[*stream].name, "from", "generate"];
        let place = node.iter().try_fold(&job.resolved, |node, key| node.get(key)).map(|node| node.place.clone());
        let place = match &spec.path {
            Some(path) => Place::outside(path),
            None => place.unwrap_or_else(|| Place::outside(&job.file)),
        };
        for wrong in Profile::parse(&spec.profile).err().unwrap_or_default() {
            let path = if wrong.path.is_empty() { path.clone() } else { format!("{path}.{}", wrong.path) };
            mistakes.note(place.clone(), &path, wrong.message);
        }
    }
    for (path, why) in refusals(job) {
        let name = path.trim_start_matches("sinks.");
        let entry = job.resolved.get("sinks").and_then(|sinks| sinks.entry(name));
        let place = entry.map_or_else(|| Place::outside(&job.file), |entry| entry.place.clone());
        mistakes.note(place, &path, why);
    }
    if mistakes.is_empty() { Ok(()) } else { Err(mistakes) }
}

fn ddl(job: &Job, out: &mut dyn Write) -> Result<u8, InspectError> {
    let context = run::context(job);
    let configs = job.sinks.iter().filter_map(|sink| match &sink.store {
        StoreSpec::Cassandra(config) => Some((sink, config)),
        _ => None,
    });
    let mut any = false;
    for (sink, config) in configs {
        any = true;
        writeln!(out, "-- sinks.{}", sink.name)?;
        for statement in cassandra::ddl(config, &context) {
            writeln!(out, "{statement};")?;
        }
    }
    if !any {
        return Err(InspectError::Usage(format!("{} has no cassandra sink, and so no tables to print", job.file)));
    }
    Ok(0)
}

fn write_findings(findings: &[Finding], out: &mut dyn Write) -> Result<(), InspectError> {
    writeln!(out, "stores")?;
    let width = findings.iter().map(|finding| finding.place.chars().count()).max().unwrap_or(0);
    for finding in findings {
        let word = match finding.condition {
            Condition::Ready => "ok",
            Condition::Warning => "warning",
            Condition::Away => "not reachable",
            Condition::Refused => "refused",
        };
        for line in &finding.said {
            writeln!(out, "  {:width$}  {word}  {line}", finding.place)?;
        }
    }
    Ok(())
}

fn exit_code(findings: &[Finding]) -> u8 {
    match findings.iter().map(|finding| finding.condition).max() {
        Some(Condition::Refused) => 3,
        Some(Condition::Away) => 1,
        _ => 0,
    }
}
