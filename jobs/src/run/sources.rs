//! From what a job file says of sources to sources.

use super::RunError;
use super::clock::Clock;
use super::state::{HAS_FOLDER, State};
use crate::jobfile::{GenerateSpec, Job, SourceSpec};
use caudal_connectors::generate::{Generator, Pace, Profile};
use caudal_connectors::kafka::config::{SourceConfig, Start};
use caudal_connectors::kafka::source::KafkaSource;
use caudal_connectors::local_log::{self, LocalLog, Options, TornTail};
use caudal_connectors::{file, generate};
use caudal_pipeline::log::{LogError, streams_begun};
use caudal_pipeline::ports::blobs::Blobs;
use caudal_pipeline::ports::source::{Source, SourceError};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// What a job reads.
#[derive(Default)]
pub struct Built {
    /// The sources, by stream.
    pub sources: BTreeMap<u32, Arc<dyn Source>>,
    /// When each stream's generator was first started.
    pub began: BTreeMap<String, i64>,
}

/// The local log of a stream that takes events over HTTP, and what a crash had left at its ends.
pub struct Log {
    /// The log.
    pub log: LocalLog,
    /// Batches that were cut off: nobody was promised them.
    pub torn: Vec<TornTail>,
    /// Where the logs of all generations lie.
    pub folder: PathBuf,
}

/// The sources of a job, but for its local logs.
pub fn build(job: &Job, state: &State, clock: &Clock) -> Result<Built, RunError> {
    let mut built = Built::default();
    for (stream, spec) in &job.sources {
        let (name, position) = (&job.plan.streams[*stream].name, *stream as u32);
        let source: Arc<dyn Source> = match spec {
            SourceSpec::Kafka(config) => Arc::new(kafka_source(config, position, state)?),
            SourceSpec::File(config) => Arc::new(file::Source::new(config.clone())),
            SourceSpec::Generate(spec) => {
                let (source, began_us) = generator(name, spec, state, clock)?;
                built.began.insert(name.clone(), began_us);
                Arc::new(source)
            }
            SourceSpec::Http(_) => continue,
        };
        built.sources.insert(position, source);
    }
    Ok(built)
}

/// The job's local logs, by stream, of the process that has taken the state as this generation; each becomes a source too.
pub fn local_logs(
    job: &Job,
    state: &State,
    generation: u64,
    sources: &mut BTreeMap<u32, Arc<dyn Source>>,
) -> Result<BTreeMap<u32, Log>, RunError> {
    let mut logs = BTreeMap::new();
    for (stream, spec) in &job.sources {
        let SourceSpec::Http(spec) = spec else { continue };
        let (name, position) = (&job.plan.streams[*stream].name, *stream as u32);
        let options = Options { partitions: u16::try_from(spec.partitions).unwrap_or(u16::MAX), ..Options::default() };
        let folder = state.folder().expect(HAS_FOLDER).join("intake").join(name);
        let opened = LocalLog::open_generation(&folder, generation, options);
        let (log, torn) = opened.map_err(|error| RunError::Failed(error.to_string()))?;
        sources.insert(position, Arc::new(local_log::Source::new(log.clone(), name)));
        logs.insert(position, Log { log, torn, folder });
    }
    Ok(logs)
}

fn kafka_source(config: &SourceConfig, stream: u32, state: &State) -> Result<KafkaSource, RunError> {
    let source = KafkaSource::new(config.clone()).map_err(refused)?;
    // Only a job that would begin at the end has to know whether it has begun.
    let resumed = config.start == Start::Latest && has_begun(stream, state)?;
    Ok(if resumed { source.resumed() } else { source })
}

/// Whether an earlier run has seen a partition of the stream; one that never reached its broker has not, and `start`
/// still holds.
fn has_begun(stream: u32, state: &State) -> Result<bool, RunError> {
    match streams_begun(&*state.blobs()) {
        Ok(begun) => Ok(begun.contains(&stream)),
        Err(LogError::Blob(error)) => Err(RunError::Failed(error.to_string())),
        Err(error) => Err(RunError::Refused(error.to_string())),
    }
}

fn refused(error: SourceError) -> RunError {
    match error {
        SourceError::Retry(why) => RunError::Failed(why),
        SourceError::Stop(why) => RunError::Refused(why),
    }
}

/// A generator that, after a restart, goes on as the one it was: the time of its first start is kept with the state.
fn generator(stream: &str, spec: &GenerateSpec, state: &State, clock: &Clock) -> Result<(generate::Source, i64), RunError> {
    let profile = Profile::parse(&spec.profile).map_err(|mistakes| RunError::Refused(profile_mistakes(spec, &mistakes)))?;
    let blobs = state.blobs();
    let name = format!("began/{stream}");
    let failed = |error: caudal_pipeline::ports::blobs::BlobError| RunError::Failed(error.to_string());
    blobs.create(&name, &clock.now().wall_us.to_le_bytes()).map_err(failed)?;
    let bytes = blobs.read(&name).map_err(failed)?;
    let damaged = |_| RunError::Refused(format!("{name} in the state is damaged: start with a new one"));
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

#[cfg(test)]
mod tests {
    use super::*;
    use caudal_connectors::state_folder::StateFolder;
    use caudal_pipeline::log::{Bind, CommitLog, Fingerprint, Generation, LogRecord, StreamBind};
    use caudal_pipeline::record::{Offset, Partition};
    use caudal_pipeline::time::{Epoch, Version};

    /// A first run that never reached its broker left `log/` and no position: the next one began at the first record of
    /// the topic instead of at its end, and counted years.
    #[test]
    fn a_stream_begins_when_its_broker_is_first_reached() {
        let path = std::env::temp_dir().join(format!("caudal-begun-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        let state = State::Folder(StateFolder::open(&path, "late", false).unwrap());
        let (mut log, _) = CommitLog::open(state.blobs()).unwrap();
        log.append(&LogRecord::Generation(Generation { generation: 1, workers: 1 })).unwrap();
        assert!(!has_begun(0, &state).unwrap());
        let added = vec![(Partition { topic: "t".into(), number: 0 }, Offset(5))];
        let streams = vec![StreamBind { added, ..StreamBind::default() }];
        let (epoch, opened, by) = (Epoch(1), Version(1), Fingerprint::default());
        log.append(&LogRecord::Bind(Bind { epoch, opened, by, tables: 0, streams, closes: false })).unwrap();
        assert!(has_begun(0, &state).unwrap() && !has_begun(1, &state).unwrap());
        drop(state);
        std::fs::remove_dir_all(path).unwrap();
    }
}
