//! The one-liners of a job's README, run as they stand there; only the servers' addresses are put in.

use crate::cql::Cql;
use crate::load::folder;
use crate::{LIMIT, broker, redis};
use serde_json::{Map, Value as Json};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use xtask::services::kafka;

/// Lines of the job's README that begin with `command`.
fn lines(job: &str, command: &str) -> Vec<String> {
    let text = std::fs::read_to_string(folder(job).join("README.md")).unwrap();
    let lines: Vec<String> = text.lines().map(str::trim).filter(|line| line.starts_with(command)).map(str::to_owned).collect();
    assert!(!lines.is_empty(), "the README of {job} has lines for {command}");
    lines
}

/// The `path=value` that the job's README gives to `--set`, for this path.
pub fn setting(job: &str, path: &str) -> String {
    let set = format!("--set '{path}=");
    let found = lines(job, "caudal run ").into_iter().find(|line| line.contains(&set)).expect("the README sets it");
    let (_, value) = found.split_once(&set).expect("just found");
    let (value, _) = value.split_once('\'').expect("the quote ends");
    format!("{path}={value}")
}

/// What each redis-cli line prints; none prints nothing.
pub fn redis_lines(job: &str) -> Vec<(String, Vec<String>)> {
    let run = |line: String| {
        let command = line.replacen("redis-cli ", &format!("redis-cli {} ", redis::options()), 1);
        let printed = shell(&command);
        assert!(printed.iter().any(|text| !text.is_empty()), "{line} prints something");
        (line, printed)
    };
    lines(job, "redis-cli ").into_iter().map(run).collect()
}

/// What each line with CQL answers; none answers nothing. Neither Debian nor Maven has cqlsh, so that the statement goes
/// through a driver, as the shell hands it over.
pub fn cql_lines(job: &str, cql: &Cql) -> Vec<(String, Vec<Map<String, Json>>)> {
    let run = |line: String| {
        let statement = shell(&line.replacen("cqlsh -e ", "printf %s ", 1)).join("\n");
        assert!(!statement.contains('$'), "{statement}");
        let rows = cql.rows(&statement);
        assert!(!rows.is_empty(), "{line} answers something");
        (line, rows)
    };
    lines(job, "cqlsh -e ").into_iter().map(run).collect()
}

/// What a shell prints for a command.
fn shell(command: &str) -> Vec<String> {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// What the line with Kafka's console consumer prints until it has shown so many records; it never ends by itself.
pub fn consumer_lines(job: &str, records: usize) -> Vec<String> {
    let found = lines(job, "kafka-console-consumer.sh ");
    let [line] = &found[..] else { panic!("one line for one topic: {found:?}") };
    let command = kafka::console_consumer().unwrap_or_else(|error| panic!("{error}"));
    let command = line.replacen("kafka-console-consumer.sh", &command, 1).replacen("localhost:9092", &broker::shared(), 1);
    let mut consumer = Command::new("sh").args(["-c", &command]).stdout(Stdio::piped()).spawn().unwrap();
    let (send, printed) = channel();
    let stdout = BufReader::new(consumer.stdout.take().expect("a pipe"));
    std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
    let read: Vec<String> = (0..records).map_while(|_| printed.recv_timeout(LIMIT).ok()).collect();
    consumer.kill().unwrap();
    consumer.wait().unwrap();
    assert_eq!(read.len(), records, "{line} prints every record");
    read
}
