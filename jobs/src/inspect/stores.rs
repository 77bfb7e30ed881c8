//! What the places that a job reads and writes lack: each asked, none changed, a line for each.

use crate::inspect::picture::store_text;
use crate::jobfile::resolved::masked;
use crate::jobfile::{Job, SinkSpec, SourceSpec, StoreSpec};
use crate::run::context;
use caudal_connectors::cassandra::config::Create;
use caudal_connectors::context::SinkContext;
use caudal_connectors::{cassandra, file, kafka, redis};
use caudal_pipeline::ports::sink::SinkError;
use caudal_pipeline::ports::source::{Discovered, Source, SourceError};
use std::collections::BTreeMap;

/// How a place is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// The job can start.
    Ready,
    /// It answers, but something should be looked at.
    Warning,
    /// It does not answer now; a job waits for it.
    Away,
    /// It answers, and the job would be refused.
    Refused,
}

/// What was found at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which stream or sink.
    pub place: String,
    /// How it is.
    pub condition: Condition,
    /// In words, each a line of its own.
    pub said: Vec<String>,
}

/// Asks every source and every sink, all at the same time: one that is away does not hold up the others.
pub fn ask(job: &Job) -> Vec<Finding> {
    let context = context(job);
    std::thread::scope(|scope| {
        let context = &context;
        let sources = job.sources.iter().map(|(stream, spec)| scope.spawn(move || of_source(job, *stream, spec)));
        let sources: Vec<_> = sources.collect();
        let sinks: Vec<_> = job.sinks.iter().map(|sink| scope.spawn(move || of_sink(job, sink, context))).collect();
        let ended = "asking a place does not panic";
        sources.into_iter().chain(sinks).map(|thread| thread.join().expect(ended)).collect()
    })
}

/// What a job's sinks will never keep, whatever state they are in: `(path, why)`.
pub fn refusals(job: &Job) -> Vec<(String, String)> {
    let context = context(job);
    let of = |sink: &SinkSpec| {
        let said = match &sink.store {
            StoreSpec::Redis(_) => redis::RedisSink::refusals(&context),
            StoreSpec::Cassandra(config) => cassandra::refusals(config, &context),
            _ => Vec::new(),
        };
        said.into_iter().map(|why| (format!("sinks.{}", sink.name), why)).collect::<Vec<_>>()
    };
    job.sinks.iter().flat_map(of).collect()
}

fn of_source(job: &Job, stream: usize, spec: &SourceSpec) -> Finding {
    let place = format!("streams.{}", job.plan.streams[stream].name);
    let found = match spec {
        SourceSpec::Kafka(config) => {
            kafka::source::KafkaSource::new(config.clone()).and_then(|source| source.discover()).map(partitions)
        }
        SourceSpec::File(config) => {
            file::Source::new(config.clone()).discover().map(|found| format!("readable, files: {}", found.len()))
        }
        SourceSpec::Http(_) => Ok("taken by the job itself".to_owned()),
        SourceSpec::Generate(_) => Ok("made by the job itself".to_owned()),
    };
    let (condition, said) = match found {
        Ok(said) => (Condition::Ready, said),
        Err(SourceError::Retry(why)) => (Condition::Away, why),
        Err(SourceError::Stop(why)) => (Condition::Refused, why),
    };
    Finding { place, condition, said: vec![masked(&said, job)] }
}

fn partitions(found: Vec<Discovered>) -> String {
    let mut topics: BTreeMap<String, usize> = BTreeMap::new();
    for partition in found {
        *topics.entry(partition.partition.topic.to_string()).or_default() += 1;
    }
    let topics: Vec<String> = topics.into_iter().map(|(topic, partitions)| format!("{topic} × {partitions}")).collect();
    if topics.is_empty() {
        "reachable, no topic matches yet".to_owned()
    } else {
        format!("reachable, partitions: {}", topics.join(", "))
    }
}

fn of_sink(job: &Job, sink: &SinkSpec, context: &SinkContext) -> Finding {
    let found = match &sink.store {
        StoreSpec::Redis(config) => redis::RedisSink::warnings(config).map(warned),
        StoreSpec::Cassandra(config) => cassandra::survey(config, context).map(|survey| surveyed(config.create, survey)),
        StoreSpec::Kafka(config) => topics_of(config),
        StoreSpec::File(_) | StoreSpec::Embedded => {
            Ok((Condition::Ready, vec![format!("{}, made if missing", store_text(sink))]))
        }
    };
    let (condition, said) = found.unwrap_or_else(|error| match error {
        SinkError::Retry(why) | SinkError::Lost(why) => (Condition::Away, vec![why]),
        SinkError::Stop(why) => (Condition::Refused, vec![why]),
    });
    let said = said.iter().map(|line| masked(line, job)).collect();
    Finding { place: format!("sinks.{}", sink.name), condition, said }
}

type Found = (Condition, Vec<String>);

fn warned(warnings: Vec<String>) -> Found {
    match warnings.is_empty() {
        true => (Condition::Ready, vec!["reachable".to_owned()]),
        false => (Condition::Warning, warnings),
    }
}

fn surveyed(create: Create, survey: cassandra::Survey) -> Found {
    let missing: Vec<&str> = survey.missing.iter().map(|(what, _)| what.as_str()).collect();
    if !survey.differing.is_empty() {
        return (Condition::Refused, survey.differing);
    }
    match (missing.is_empty(), create) {
        (true, _) => (Condition::Ready, vec!["reachable, every table is there".to_owned()]),
        (false, Create::Missing) => (Condition::Ready, vec![format!("reachable, will make {}", missing.join(", "))]),
        (false, Create::Check) => {
            let lacks = survey.missing.iter().map(|(what, ddl)| format!("{what} does not exist: {ddl}"));
            (Condition::Refused, lacks.collect())
        }
    }
}

fn topics_of(config: &kafka::config::SinkConfig) -> Result<Found, SinkError> {
    let mut names: Vec<&str> = config.publish.iter().map(|publication| publication.topic.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let missing = kafka::missing_topics(&config.properties, &names)?;
    if missing.is_empty() {
        return Ok((Condition::Ready, vec![format!("reachable, topics: {}", names.join(", "))]));
    }
    let lacks = missing.iter().map(|name| format!("topic {name} does not exist: create it, or name another under publish"));
    Ok((Condition::Refused, lacks.collect()))
}
