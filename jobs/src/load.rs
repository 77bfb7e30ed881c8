//! Reads a job file with this process's environment, files and overrides.

use crate::inspect::memory::{self, Running};
use crate::jobfile::{Job, Mistakes, Override, Surroundings, read};
use std::path::Path;

/// Reads and checks the job at `path`, a file or a folder that holds `job.yaml`. `set` are `path=value` overrides.
pub fn job(path: &Path, set: &[String]) -> Result<Job, Mistakes> {
    job_that_runs(path, set, Running::default())
}

/// The same, with its memory weighed as it will be run.
pub fn job_that_runs(path: &Path, set: &[String], running: Running) -> Result<Job, Mistakes> {
    let mut overrides = Override::of_variables(std::env::vars());
    overrides.extend(set.iter().cloned().map(Override::Set));
    let around = Surroundings {
        variable: &|name| std::env::var(name).ok(),
        file: &|path| std::fs::read_to_string(path).map_err(|error| error.to_string()),
        overrides,
        fits: &|job| memory::fits(job, running),
    };
    read(&file_of(path).display().to_string(), &around)
}

/// A job's folder stands for its `job.yaml`.
pub fn file_of(path: &Path) -> std::path::PathBuf {
    if path.is_dir() { path.join("job.yaml") } else { path.to_owned() }
}
