//! The one-liners of a job's README, run as they stand there; only the server's port is put in.

use crate::cql::Cql;
use crate::load::folder;
use crate::redis;
use serde_json::{Map, Value as Json};
use std::process::Command;

/// Lines of the job's README that begin with `command`.
fn lines(job: &str, command: &str) -> Vec<String> {
    let text = std::fs::read_to_string(folder(job).join("README.md")).unwrap();
    let lines: Vec<String> = text.lines().map(str::trim).filter(|line| line.starts_with(command)).map(str::to_owned).collect();
    assert!(!lines.is_empty(), "the README of {job} has lines for {command}");
    lines
}

/// What each redis-cli line prints; none prints nothing.
pub fn redis_lines(job: &str) -> Vec<(String, Vec<String>)> {
    let run = |line: String| {
        let command = line.replacen("redis-cli ", &format!("redis-cli {} ", redis::options()), 1);
        let output = Command::new("sh").args(["-c", &command]).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        let printed: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
        assert!(printed.iter().any(|text| !text.is_empty()), "{line} prints something");
        (line, printed)
    };
    lines(job, "redis-cli ").into_iter().map(run).collect()
}

/// What each line with CQL answers; none answers nothing. A day of refusal is the day on which the test runs.
pub fn cql_lines(job: &str, cql: &Cql) -> Vec<(String, Vec<Map<String, Json>>)> {
    let today = jiff::Timestamp::now().to_string()[..10].to_owned();
    let run = |line: String| {
        let statement = line.strip_prefix("cqlsh -e \"").and_then(|rest| rest.strip_suffix('"')).expect("cqlsh -e \"…\"");
        // As the shell hands it over.
        let statement = statement.replace("\\\"", "\"");
        let statement = match statement.split_once("day = '") {
            Some((before, rest)) => format!("{before}day = '{today}{}", &rest[10..]),
            None => statement,
        };
        let rows = cql.rows(&statement);
        assert!(!rows.is_empty(), "{line} answers something");
        (line, rows)
    };
    lines(job, "cqlsh ").into_iter().map(run).collect()
}
