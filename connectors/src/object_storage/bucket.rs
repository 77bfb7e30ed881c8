//! Opening a job's state in a bucket: is it there, is it ours, can it keep state.

use super::blobs::{ObjectBlobs, Stopped};
use super::config::Config;
use super::error::ObjectStorageError;
use caudal_pipeline::ports::blobs::Created;
use std::sync::Arc;
use std::time::Duration;

/// How long a start waits for a storage that is away: whoever starts the process is told, and it can be started again.
const PATIENCE_AT_START: Duration = Duration::from_secs(20);
/// The object that holds the job's name.
const OWNER: &str = "job";
/// Where the blobs are.
const BLOBS: &str = "blobs";

/// A job's place in a bucket.
pub struct StateBucket {
    blobs: Arc<ObjectBlobs>,
}

impl StateBucket {
    /// Opens the prefix that `config` names for the job `job_name`, and makes it the job's if it is nobody's.
    pub fn open(config: &Config, job_name: &str) -> Result<StateBucket, ObjectStorageError> {
        let place = Opening { config, objects: ObjectBlobs::new(config)?.with_patience(PATIENCE_AT_START) };
        place.claim(job_name)?;
        place.check_condition(job_name)?;
        Ok(StateBucket { blobs: Arc::new(ObjectBlobs::new(&config.below(BLOBS))?) })
    }

    /// The state port.
    pub fn blobs(&self) -> Arc<ObjectBlobs> {
        Arc::clone(&self.blobs)
    }
}

/// The objects of the prefix as whoever opens it sees them.
struct Opening<'a> {
    config: &'a Config,
    objects: ObjectBlobs,
}

impl Opening<'_> {
    fn claim(&self, job_name: &str) -> Result<(), ObjectStorageError> {
        let found = match self.objects.try_read(OWNER) {
            Err(Stopped::Missing) => {
                if self.create(job_name)? == Created::New {
                    self.check_unused()?;
                }
                self.objects.try_read(OWNER)
            }
            found => found,
        };
        let found = String::from_utf8_lossy(&found.map_err(|stopped| self.error(stopped))?).into_owned();
        let place = self.config.to_string();
        let other = || ObjectStorageError::OtherJob { place, found: found.clone(), wanted: job_name.to_owned() };
        if found == job_name { Ok(()) } else { Err(other()) }
    }

    /// What is there may be another's, and only then is it ours to say so.
    fn check_unused(&self) -> Result<(), ObjectStorageError> {
        let names = self.objects.try_list("").map_err(|stopped| self.error(stopped))?;
        // Blobs are those of another process that has found our name there, or were left when it was removed.
        let foreign = |name: &&String| *name != OWNER && name.split('/').next() != Some(BLOBS);
        let Some(found) = names.iter().find(foreign) else { return Ok(()) };
        self.objects.try_delete(OWNER).map_err(|stopped| self.error(stopped))?;
        Err(ObjectStorageError::Foreign { place: self.config.to_string(), found: found.clone() })
    }

    /// The name is there: who is told that it is new has written over it.
    fn check_condition(&self, job_name: &str) -> Result<(), ObjectStorageError> {
        match self.create(job_name)? {
            Created::Exists => Ok(()),
            Created::New => Err(ObjectStorageError::NotConditional { place: self.config.to_string() }),
        }
    }

    fn create(&self, job_name: &str) -> Result<Created, ObjectStorageError> {
        self.objects.try_create(OWNER, job_name.as_bytes()).map_err(|stopped| self.error(stopped))
    }

    fn error(&self, stopped: Stopped) -> ObjectStorageError {
        let place = self.config.to_string();
        match stopped {
            Stopped::Missing => ObjectStorageError::NoBucket { bucket: self.config.bucket().to_owned() },
            Stopped::Refused(cause) => ObjectStorageError::Denied { place, cause },
            Stopped::Away(cause) => ObjectStorageError::Away { place, cause },
        }
    }
}
