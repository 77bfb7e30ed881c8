//! Events of a job's own generator profile, so many of them, from a fixed time on.

use caudal_connectors::generate::{Event, Generator, Profile};
use caudal_jobs::jobfile::yaml;
use serde_json::Value as Json;
use std::path::{Path, PathBuf};

/// The folder of a ready-made job.
pub fn folder(job: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(job)
}

/// All events of the job's profile with these keys changed, in the order in which they are sent.
pub fn events(job: &str, changes: &Json) -> Vec<Event> {
    let generator = generator(job, changes);
    assert!(generator.profile().is_finite(), "a test's load ends");
    generator.events().collect()
}

/// The job's profile with these keys changed.
pub fn generator(job: &str, changes: &Json) -> Generator {
    let file = folder(job).join("profile.yaml").display().to_string();
    let text = std::fs::read_to_string(&file).unwrap();
    let mut errors = Vec::new();
    let mut profile = yaml::parse(&file, &text, &mut errors).expect("a profile").to_json();
    for (key, value) in changes.as_object().expect("changes are a map") {
        profile[key] = value.clone();
    }
    let profile = Profile::parse(&profile).unwrap_or_else(|mistakes| panic!("{file}: {mistakes:?}"));
    Generator::new(profile, 0)
}
