//! A process that is stopped, taken over, and goes on: what it answers to those who had already asked.

use super::{Running, Scratch, until};
use caudal_connectors::embedded::read::Store;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

const POSTED: &str = "\
caudal: 1
name: posted
streams:
  readings:
    from: {http: {partitions: 2}}
    id: /id
    event_time: {at: /at, format: rfc3339}
    lateness: 1h
    fields: {unit: {at: /unit, type: text}}
views:
  all: {from: readings, window: none, group_by: [unit], select: {events: count()}}
";

pub fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn send(to: SocketAddr, id: u32) -> Option<TcpStream> {
    let body = format!(r#"{{"id": "{id}", "at": "2026-01-01T00:00:00Z", "unit": "one"}}"#);
    let mut stream = TcpStream::connect(to).ok()?;
    let head = "POST /v1/jobs/posted/streams/readings/events HTTP/1.0\r\nhost: x\r\ncontent-type: application/json";
    write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).ok()?;
    Some(stream)
}

/// All that is answered until the connection is closed.
pub fn answer(mut stream: TcpStream) -> String {
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    text
}

fn is_taken(to: SocketAddr, id: u32) -> Option<()> {
    answer(send(to, id)?).starts_with("HTTP/1.0 200").then_some(())
}

fn ask(to: SocketAddr, path: &str) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(to).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nhost: x\r\n\r\n").ok()?;
    Some(stream)
}

fn counted(state: &Path) -> u64 {
    let rows = Store::open(&state.join("posted/store.sqlite")).unwrap().all_rows("all").unwrap();
    rows.first().map_or(0, |row| row["events"].as_u64().unwrap())
}

#[test]
fn a_process_that_was_stopped_and_taken_over_promises_nothing_more() {
    let scratch = Scratch::new("zombie");
    std::fs::write(scratch.0.join("job.yaml"), POSTED).unwrap();
    let (state, older_at, newer_at, operators) = (scratch.0.join("state"), free(), free(), free());
    let mut command = scratch.command(&state);
    let ports = ["--listen", &older_at.to_string(), "--operators", &operators.to_string()];
    let mut older = Running::start(command.args(ports), scratch.0.join("older"));
    older.until("it takes events", || is_taken(older_at, 1));
    older.until("it is ready", || answer(ask(operators, "/readyz")?).starts_with("HTTP/1.0 200").then_some(()));
    older.signal("-STOP");
    // The system takes them in; the process reads them when it goes on.
    let mut waiting: Vec<TcpStream> = (2..6).map(|id| send(older_at, id).unwrap()).collect();
    waiting.extend(["/metrics", "/livez", "/readyz", "/version"].map(|path| ask(operators, path).unwrap()));

    let mut command = scratch.command(&state);
    let newer = command.arg("--take-over").arg("--listen").arg(newer_at.to_string());
    let mut newer = Running::start(newer, scratch.0.join("newer"));
    newer.until("the newer one takes events", || is_taken(newer_at, 6));
    older.signal("-CONT");
    for stream in waiting {
        let text = answer(stream);
        assert!(text.is_empty() || text.starts_with("HTTP/1.0 503"), "{text}");
    }
    assert_eq!(older.ended().code(), Some(3), "{}", older.printed());
    assert!(older.printed().contains("has taken over this state"), "{}", older.printed());
    // Whoever was not answered with 2xx sends again.
    (2..6).for_each(|id| until("it is taken", || is_taken(newer_at, id)));
    assert_eq!(newer.terminate().code(), Some(0), "{}", newer.printed());
    assert_eq!(counted(&state), 6);
}

#[test]
fn a_process_that_cannot_serve_its_operators_takes_nothing_over() {
    let scratch = Scratch::new("port");
    std::fs::write(scratch.0.join("job.yaml"), POSTED).unwrap();
    let (state, operators) = (scratch.0.join("state"), free().to_string());
    let is_ready = || answer(ask(operators.parse().unwrap(), "/readyz")?).starts_with("HTTP/1.0 200").then_some(());
    let begin = |more: &[&str], printed| {
        let mut command = scratch.command(&state);
        command.args(["--listen", &free().to_string(), "--operators", &operators]).args(more);
        Running::start(&mut command, scratch.0.join(printed))
    };
    let mut older = begin(&[], "older");
    older.until("it is ready", is_ready);
    let mut newer = begin(&["--take-over"], "newer");
    assert_eq!(newer.ended().code(), Some(1), "{}", newer.printed());
    assert!(newer.printed().contains("choose another with --operators"), "{}", newer.printed());
    // Its last checkpoint would find that it was fenced.
    assert_eq!(older.terminate().code(), Some(0), "{}", older.printed());
    assert!(!older.printed().contains("taken over"), "{}", older.printed());
}

/// A store that takes connections and never says a word. No real one does that on demand.
fn silent() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Ends with the tests; until then all connections stay open.
    std::thread::spawn(move || listener.incoming().collect::<Vec<_>>());
    address
}

/// Who waits for a store appends nothing to the log, which is where it would find that it was taken over.
#[test]
fn a_process_that_waits_for_a_store_at_its_end_is_told_that_it_was_taken_over() {
    let scratch = Scratch::new("waits");
    let sink = format!("sinks:\n  hot: {{redis: {{url: 'redis://{}'}}, keep: [all]}}\n", silent());
    std::fs::write(scratch.0.join("job.yaml"), format!("{}{sink}", super::NUMBERED)).unwrap();
    let state = scratch.0.join("state");
    let mut older = Running::start(&mut scratch.command(&state), scratch.0.join("older"));
    let live = |running: &Running| running.printed().contains("the job is live").then_some(());
    until("the older one is live", || live(&older));
    older.signal("-TERM");
    until("it drains", || older.printed().contains("the job is draining").then_some(()));
    let newer = Running::start(scratch.command(&state).arg("--take-over"), scratch.0.join("newer"));
    let began = Instant::now();
    assert_eq!(older.ended().code(), Some(3), "{}", older.printed());
    assert!(older.printed().contains("has taken over this state"), "{}", older.printed());
    // It would have waited for 45 s.
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    until("the newer one is live", || live(&newer));
}
