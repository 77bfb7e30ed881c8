//! Where a job's state is kept: in a folder, or in object storage. A folder also holds what is no blob: the embedded store,
//! the local logs of HTTP intakes, and space that is set aside.

use super::RunError;
use crate::jobfile::{Job, SourceSpec, StoreSpec};
use caudal_connectors::object_storage::config::{Config, SCHEME};
use caudal_connectors::object_storage::{ObjectStorageError, StateBucket};
use caudal_connectors::state_folder::{StateFolder, StateFolderError};
use caudal_pipeline::ports::blobs::Blobs;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

/// Why whoever needs a folder has one: a job that does is refused without.
pub const HAS_FOLDER: &str = "what needs a folder is refused where there is none";

/// A place for state, as `--state` names it.
#[derive(Clone, Debug)]
pub enum Place {
    /// A folder.
    Folder(PathBuf),
    /// `s3://BUCKET/PREFIX`.
    Objects(Config),
}

impl Place {
    /// The place of one job below this one.
    pub fn of_job(&self, name: &str) -> Place {
        match self {
            Place::Folder(path) => Place::Folder(path.join(name)),
            Place::Objects(config) => Place::Objects(config.below(name)),
        }
    }

    /// The folder, if it is one.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Place::Folder(path) => Some(path),
            Place::Objects(_) => None,
        }
    }
}

impl From<PathBuf> for Place {
    fn from(path: PathBuf) -> Place {
        Place::Folder(path)
    }
}

/// Object storage is reached as the process's variables `AWS_…` say.
impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        if text.starts_with(SCHEME) {
            let variables = std::env::vars_os().filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()));
            return Config::parse(text, variables).map(Place::Objects).map_err(|error| error.to_string());
        }
        match text.split_once("://") {
            Some((scheme, _)) => Err(format!("state is kept in a folder or in {SCHEME}BUCKET/PREFIX, not in {scheme}://")),
            None => Ok(Place::Folder(PathBuf::from(text))),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Folder(path) => path.display().fmt(f),
            Place::Objects(config) => config.fmt(f),
        }
    }
}

/// A job's state, held by this process: in a folder until it ends, in object storage until another one takes over.
pub enum State {
    /// In a folder.
    Folder(StateFolder),
    /// In object storage.
    Objects(StateBucket),
}

impl State {
    /// Opens the place for the job. Object storage has no lock: who opens it takes over.
    pub fn open(place: &Place, job: &Job, take_over: bool) -> Result<State, RunError> {
        match place {
            Place::Folder(path) => Ok(State::Folder(StateFolder::open(path, &job.plan.name, take_over)?)),
            Place::Objects(config) => {
                check_needs_no_folder(job, place)?;
                Ok(State::Objects(StateBucket::open(config, &job.plan.name)?))
            }
        }
    }

    /// The state port.
    pub fn blobs(&self) -> Arc<dyn Blobs> {
        match self {
            State::Folder(folder) => folder.blobs(),
            State::Objects(bucket) => bucket.blobs(),
        }
    }

    /// The folder, if it is one.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            State::Folder(folder) => Some(folder.path()),
            State::Objects(_) => None,
        }
    }

    /// Gives back the space that was set aside, if any was.
    pub fn release_reserve(&self) -> Result<(), RunError> {
        match self {
            State::Folder(folder) => Ok(folder.release_reserve().map(|_| ())?),
            State::Objects(_) => Ok(()),
        }
    }
}

/// Refuses what lies in the state folder beside the blobs, where there is no such folder.
fn check_needs_no_folder(job: &Job, place: &Place) -> Result<(), RunError> {
    let mut needs = Vec::new();
    for sink in job.sinks.iter().filter(|sink| matches!(sink.store, StoreSpec::Embedded)) {
        let name = &sink.name;
        needs.push(format!("sinks.{name} is the embedded store, a file in the state folder: name another store in the job file"));
    }
    for (stream, _) in job.sources.iter().filter(|(_, source)| matches!(source, SourceSpec::Http(_))) {
        let name = &job.plan.streams[*stream].name;
        needs.push(format!(
            "streams.{name} takes events over HTTP and writes them down in the state folder: let it read them from Kafka"
        ));
    }
    if needs.is_empty() {
        return Ok(());
    }
    let needs = needs.join("\n  ");
    Err(RunError::Refused(format!(
        "{place} is object storage, but the job needs a folder (or name one with --state):\n  {needs}"
    )))
}

impl From<StateFolderError> for RunError {
    fn from(error: StateFolderError) -> RunError {
        if error.restart_may_help() { RunError::Failed(error.to_string()) } else { RunError::Refused(error.to_string()) }
    }
}

impl From<ObjectStorageError> for RunError {
    fn from(error: ObjectStorageError) -> RunError {
        if error.restart_may_help() { RunError::Failed(error.to_string()) } else { RunError::Refused(error.to_string()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_folder_or_a_bucket() {
        let shown = |text: &str| text.parse::<Place>().map(|place| (place.folder().is_some(), place.of_job("wind").to_string()));
        assert_eq!(shown(".caudal"), Ok((true, ".caudal/wind".to_owned())));
        assert_eq!(shown("s3://state/a/"), Ok((false, "s3://state/a/wind".to_owned())));
        assert!(shown("s3://S").unwrap_err().contains("3 to 63"));
        assert!(shown("gs://state").unwrap_err().contains("s3://BUCKET/PREFIX, not in gs://"));
    }
}
