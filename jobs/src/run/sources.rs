//! From what a job file says of sources to sources.

use super::RunError;
use super::clock::Clock;
use crate::jobfile::{GenerateSpec, Job, SourceSpec};
use caudal_connectors::generate::{Generator, Pace, Profile};
use caudal_connectors::local_log::{self, LocalLog, Options};
use caudal_connectors::state_folder::StateFolder;
use caudal_connectors::{file, generate, kafka};
use caudal_pipeline::ports::blobs::Blobs;
use caudal_pipeline::ports::source::{Source, SourceError};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Sources by stream, and when each stream's generator was first started.
type Built = (BTreeMap<u32, Arc<dyn Source>>, BTreeMap<String, i64>);

/// The sources of a job.
pub fn build(job: &Job, folder: &StateFolder, clock: &Clock) -> Result<Built, RunError> {
    let (mut sources, mut began) = (BTreeMap::new(), BTreeMap::new());
    for (stream, spec) in &job.sources {
        let name = &job.plan.streams[*stream].name;
        sources.insert(*stream as u32, source(name, spec, folder, clock, &mut began)?);
    }
    Ok((sources, began))
}

fn source(
    stream: &str,
    spec: &SourceSpec,
    folder: &StateFolder,
    clock: &Clock,
    began: &mut BTreeMap<String, i64>,
) -> Result<Arc<dyn Source>, RunError> {
    Ok(match spec {
        SourceSpec::Kafka(config) => {
            let source = kafka::source::KafkaSource::new(config.clone()).map_err(refused)?;
            let known = folder.blobs().list("log/").map_err(|error| RunError::Failed(error.to_string()))?;
            Arc::new(if known.is_empty() { source } else { source.resumed() })
        }
        SourceSpec::File(config) => Arc::new(file::Source::new(config.clone())),
        SourceSpec::Generate(spec) => {
            let (source, began_us) = generator(stream, spec, folder, clock)?;
            began.insert(stream.to_owned(), began_us);
            Arc::new(source)
        }
        SourceSpec::Http(spec) => {
            let options = Options { partitions: u16::try_from(spec.partitions).unwrap_or(u16::MAX), ..Options::default() };
            let path = folder.path().join("intake").join(stream);
            let (log, _torn) = LocalLog::open(&path, options).map_err(|error| RunError::Failed(error.to_string()))?;
            Arc::new(local_log::Source::new(log, stream))
        }
    })
}

fn refused(error: SourceError) -> RunError {
    match error {
        SourceError::Retry(why) => RunError::Failed(why),
        SourceError::Stop(why) => RunError::Refused(why),
    }
}

/// A generator that, after a restart, goes on as the one it was: the time of its first start is kept with the state.
fn generator(
    stream: &str,
    spec: &GenerateSpec,
    folder: &StateFolder,
    clock: &Clock,
) -> Result<(generate::Source, i64), RunError> {
    let profile = Profile::parse(&spec.profile).map_err(|mistakes| RunError::Refused(profile_mistakes(spec, &mistakes)))?;
    let blobs = folder.blobs();
    let name = format!("began/{stream}");
    let failed = |error: caudal_pipeline::ports::blobs::BlobError| RunError::Failed(error.to_string());
    blobs.create(&name, &clock.now().wall_us.to_le_bytes()).map_err(failed)?;
    let bytes = blobs.read(&name).map_err(failed)?;
    let damaged = |_| RunError::Refused(format!("{name} in the state folder is damaged: start with a new folder"));
    let began_us = i64::from_le_bytes(bytes.try_into().map_err(damaged)?);
    let pace = Pace::Clock { now: Clock::wall(), began_us };
    Ok((generate::Source::new(Generator::new(profile, began_us), pace), began_us))
}

/// All mistakes of a profile, a line each.
pub fn profile_mistakes(spec: &GenerateSpec, mistakes: &[generate::Mistake]) -> String {
    let place = spec.path.as_deref().unwrap_or("generate");
    let lines = mistakes.iter().map(|mistake| format!("{place}  {}   {}", mistake.path, mistake.message));
    lines.collect::<Vec<_>>().join("\n")
}
