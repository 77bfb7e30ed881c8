//! A job file's text.
//!
//! Promises: no panic; what is wrong has words and a place within the file; what is right prints as a file that is
//! right again and means the same.

use caudal_jobs::jobfile::resolved::resolved;
use caudal_jobs::jobfile::{self, Job, Mistakes, Surroundings};
use std::path::Path;

/// The job file's name as the reader is told it.
const NAME: &str = "good/job.yaml";

/// Reads the text, and what it resolves to.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match read(text) {
        Ok(job) => check_job(&job),
        Err(mistakes) => check_mistakes(&mistakes, text),
    }
}

/// Reads a job file that may name the tests' schemas, tables and profiles.
pub fn read(text: &str) -> Result<Job, Mistakes> {
    let around = Surroundings {
        variable: &|name| (name == "HOME_BROKER").then(|| "home:9092".to_owned()),
        file: &|path| file(path, text),
        overrides: vec![],
        fits: &|_| Ok(()),
    };
    jobfile::read(NAME, &around)
}

fn file(path: &Path, job: &str) -> Result<String, String> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
    let text = match name {
        "job.yaml" => job,
        "secret" => "hunter2\n",
        "envelope.json" => include_str!("../../jobs/tests/jobfile/shared/envelope.json"),
        "reading.json" => include_str!("../../jobs/tests/jobfile/shared/reading.json"),
        "types.json" => include_str!("../../jobs/tests/jobfile/shared/types.json"),
        "generators.csv" => include_str!("../../jobs/tests/jobfile/shared/generators.csv"),
        "limits.yaml" => include_str!("../../jobs/tests/jobfile/shared/limits.yaml"),
        _ => return Err("no such file".to_owned()),
    };
    Ok(text.to_owned())
}

fn check_mistakes(mistakes: &Mistakes, text: &str) {
    assert!(!mistakes.is_empty(), "a file that is refused has a mistake");
    let lines = text.split(['\n', '\r']).count();
    for mistake in mistakes.sorted() {
        assert!(!mistake.message.is_empty(), "a mistake has words: {mistake:?}");
        let is_inside = *mistake.place.file != *NAME || mistake.place.line <= lines + 1;
        assert!(is_inside, "a mistake lies within the {lines} lines of the file: {mistake:?}");
    }
    assert!(mistakes.to_string().lines().count() > mistakes.len(), "each mistake has a line: {mistakes}");
}

fn check_job(job: &Job) {
    let printed = resolved(job);
    let again = read(&printed).unwrap_or_else(|mistakes| panic!("what was printed is refused: {mistakes}\n{printed}"));
    assert_eq!(again.fingerprint, job.fingerprint, "what was printed means something else:\n{printed}");
}
