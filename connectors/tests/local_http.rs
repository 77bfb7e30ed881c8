//! Events over HTTP, spoken over a real socket: what is answered, and what is in the log then.

use caudal_connectors::http::{IDEMPOTENCY_HEADER, Intake, Limits, serve};
use caudal_connectors::local_log::{LocalLog, Options, Source};
use caudal_pipeline::ports::source::Source as _;
use caudal_pipeline::record::{Message, PartitionIndex, Reason, Rejection};
use serde_json::{Value as Json, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;

struct Server {
    folder: PathBuf,
    log: LocalLog,
    address: SocketAddr,
    bound: watch::Sender<Vec<u64>>,
    paused: watch::Sender<Option<String>>,
    taken_over: Arc<AtomicBool>,
    _runtime: tokio::runtime::Runtime,
}

impl Server {
    fn start(name: &str, limits: Limits) -> Server {
        let folder = std::env::temp_dir().join(format!("caudal-http-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let (log, _) = LocalLog::open(&folder, Options { partitions: 2, ..Options::default() }).unwrap();
        let (bound, bound_seen) = watch::channel(vec![u64::MAX; 2]);
        let (paused, paused_seen) = watch::channel(None);
        let taken_over = Arc::new(AtomicBool::new(false));
        let asked = taken_over.clone();
        let intake = Intake {
            job: "wind".to_owned(),
            stream: "readings".to_owned(),
            log: log.clone(),
            bound: bound_seen,
            paused: paused_seen,
            will_be_read: Arc::new(move || !asked.load(Ordering::Relaxed)),
            examine: Arc::new(|_, message| {
                let refused = message.payload.as_deref().is_some_and(|payload| payload.starts_with(b"refused"));
                refused.then(|| Rejection::one(Reason::Schema, "/power", "for this test"))
            }),
            now: Arc::new(|| 1_000_000),
            failed: Arc::new(|words| panic!("{words}")),
            limits,
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(serve(listener, vec![intake], std::future::pending()));
        Server { folder, log, address, bound, paused, taken_over, _runtime: runtime }
    }

    /// Status, head and body of the answer.
    fn send(&self, path: &str, headers: &[&str], body: &[u8]) -> (u16, String, Json) {
        let mut stream = self.open(path, headers, body);
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head[9..12].parse().unwrap();
        (status, head.to_lowercase(), serde_json::from_str(body).unwrap_or(Json::Null))
    }

    fn open(&self, path: &str, headers: &[&str], body: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let headers: String = headers.iter().map(|h| format!("{h}\r\n")).collect();
        let head =
            format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).unwrap();
        // A server that refuses by the length alone may close before the body is sent.
        let _ = stream.write_all(body);
        stream
    }

    /// A request that sends only the first part of a body.
    fn stalled(&self, part: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        write!(stream, "POST {EVENTS} HTTP/1.1\r\nhost: x\r\n{JSON}\r\ncontent-length: 100\r\n\r\n{part}").unwrap();
        stream
    }

    fn messages(&self) -> Vec<Message> {
        let source = Source::new(self.log.clone(), "readings");
        let mut reader = source.reader().unwrap();
        let (mut out, mut expected) = (Vec::new(), 0);
        for (i, found) in source.discover().unwrap().iter().enumerate() {
            reader.assign(PartitionIndex(i as u32), &found.partition, found.start).unwrap();
            expected += self.log.bounds(i as i32).unwrap().end as usize;
        }
        while out.len() < expected {
            reader.poll(usize::MAX, &mut out).unwrap();
            std::thread::yield_now();
        }
        out.sort_by_key(|(partition, message)| (*partition, message.offset));
        out.into_iter().map(|(_, message)| message).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

const EVENTS: &str = "/v1/jobs/wind/streams/readings/events";
const JSON: &str = "content-type: application/json";

#[test]
fn one_record_an_array_and_lines_arrive_as_they_were_sent() {
    let server = Server::start("forms", Limits::default());
    let (status, _, body) = server.send(EVENTS, &[JSON, "caudal-key: gen-1"], b" {\"a\":  1}\n");
    assert_eq!(status, 200);
    let partition = &body[0]["partition"];
    assert_eq!(body, json!([{"partition": partition, "offset": 0}]));
    let (status, _, body) = server.send(EVENTS, &[JSON, "caudal-key: gen-1", "idempotency-key: k 1"], b"[{\"b\":1}, not json]");
    assert_eq!((status, body), (200, json!([{"partition": partition, "offset": 1}, {"partition": partition, "offset": 2}])));
    let (status, _, _) =
        server.send(EVENTS, &["content-type: application/x-ndjson", "caudal-key: gen-1"], b"{\"c\":1}\r\n\n\xff\n");
    assert_eq!(status, 200);
    let messages = server.messages();
    let payloads: Vec<&[u8]> = messages.iter().map(|m| m.payload.as_deref().unwrap()).collect();
    assert_eq!(payloads, [&b"{\"a\":  1}"[..], b"{\"b\":1}", b"not json", b"{\"c\":1}", b"\xff"]);
    assert_eq!(messages[2].headers[..], [(IDEMPOTENCY_HEADER.to_owned(), b"k 1/1".to_vec())]);
    assert!(
        messages[0].headers.is_empty()
            && messages.iter().all(|m| m.key.as_deref() == Some(b"gen-1") && m.broker_time_us == Some(1_000_000))
    );
}

#[test]
fn a_record_that_is_refused_for_what_it_is_is_answered_as_a_dead_letter() {
    let server = Server::start("refused", Limits::default());
    let (status, _, body) = server.send(EVENTS, &["content-type: application/x-ndjson"], b"{\"a\":1}\nrefused\n{\"b\":1}");
    let dead_letter = json!({"reason": "schema", "path": "/power"});
    let at = |offset| json!({"partition": 0, "offset": offset});
    let refused = json!({"partition": 0, "offset": 1, "dead_letter": dead_letter});
    assert_eq!((status, body), (200, json!([at(0), refused, at(2)])));
    assert_eq!(server.messages().len(), 3, "it is taken, for the job to keep");
}

#[test]
fn without_a_key_partitions_take_turns() {
    let server = Server::start("turns", Limits::default());
    let partitions: Vec<Json> = (0..4).map(|_| server.send(EVENTS, &[], b"{}").2[0]["partition"].clone()).collect();
    assert_eq!(partitions, [0, 1, 0, 1]);
}

#[test]
fn the_answer_waits_for_the_binding_and_says_when_it_did_not_come() {
    let server = Server::start("bound", Limits::default());
    server.bound.send_replace(vec![0, 0]);
    let mut stream = server.open(EVENTS, &[JSON], b"[1,2]");
    while server.log.bounds(0).unwrap().end < 2 {
        std::thread::yield_now();
    }
    server.bound.send_replace(vec![1, 0]);
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert!(stream.read(&mut [0; 1]).is_err(), "answered before the second record was bound");
    server.bound.send_replace(vec![2, 0]);
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    let hasty = Server::start("late", Limits { wait_max: Duration::from_millis(1), ..Limits::default() });
    hasty.bound.send_replace(vec![0, 0]);
    assert_eq!(hasty.send(EVENTS, &[JSON], b"{}").0, 202);
    assert_eq!(hasty.messages().len(), 1);
    hasty.taken_over.store(true, Ordering::Relaxed);
    let (status, _, body) = hasty.send(EVENTS, &[JSON], b"{}");
    let detail = body["detail"].as_str().unwrap_or_default();
    assert!(status == 503 && detail.contains("taken over") && detail.contains("send them again"), "{status} {body}");
}

#[test]
fn what_is_refused_is_told_and_leaves_nothing() {
    let server = Server::start("refused", Limits { body_bytes_max: 100, ..Limits::default() });
    let long = vec![b'x'; 101];
    let key = format!("idempotency-key: {}", "k".repeat(256));
    for (path, headers, body, status, words) in [
        (EVENTS, &[JSON][..], &b"[1,,2]"[..], 400, "byte 3"),
        (EVENTS, &[JSON], b"", 400, "no record"),
        (EVENTS, &[JSON, &key], b"1", 400, "Idempotency-Key"),
        (EVENTS, &["content-type: text/plain"], b"1", 415, "application/x-ndjson"),
        (EVENTS, &[JSON, "content-encoding: gzip"], b"1", 415, "compressed"),
        (EVENTS, &[JSON], &long, 413, "100 bytes"),
        ("/v1/jobs/wind/streams/reading/events", &[JSON], b"1", 404, "wind/readings"),
    ] {
        let (found, head, problem) = server.send(path, headers, body);
        assert_eq!(found, status, "{problem}");
        assert!(head.contains("application/problem+json"), "{head}");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{problem}");
        assert_eq!(problem["status"], status);
    }
    assert_eq!(server.messages(), []);
}

#[test]
fn while_intake_is_paused_clients_are_asked_to_come_back() {
    let server = Server::start("paused", Limits::default());
    server.paused.send_replace(Some("the disk is full".to_owned()));
    let (status, head, problem) = server.send(EVENTS, &[JSON], b"{}");
    assert_eq!((status, problem["detail"].as_str()), (503, Some("intake is paused: the disk is full")));
    assert!(head.contains("retry-after: 2"), "{head}");
    server.paused.send_replace(None);
    assert_eq!(server.send(EVENTS, &[JSON], b"{}").0, 200);
}

/// A body without a declared length is counted as it comes.
#[test]
fn a_body_in_chunks_is_bounded_too() {
    let server = Server::start("chunks", Limits { body_bytes_max: 100, ..Limits::default() });
    let mut stream = TcpStream::connect(server.address).unwrap();
    let chunk = format!("40\r\n{}\r\n", "x".repeat(64));
    let request = format!(
        "POST {EVENTS} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

/// Thirty-two clients that announced a body and sent none of it blocked the intake for everybody, for ever.
#[test]
fn clients_that_stall_keep_nobody_out() {
    let server = Server::start("stalled", Limits { requests_max: 2, ..Limits::default() });
    let stalled: Vec<TcpStream> = (0..8).map(|_| server.stalled("[1,")).collect();
    // One worker takes the requests in the order in which they came, but bodies when they come.
    for _ in 0..8 {
        assert_eq!(server.send(EVENTS, &[JSON], b"{}").0, 200);
    }
    drop(stalled);
    assert_eq!(server.messages().len(), 8);
}

#[test]
fn a_body_that_does_not_come_is_told_so() {
    let server = Server::start("overdue", Limits { body_time_max: Duration::from_millis(1), ..Limits::default() });
    let mut answer = String::new();
    let _ = server.stalled("[1,").read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("application/problem+json") && answer.contains("did not arrive within 0.001 s"), "{answer}");
    assert_eq!(server.messages(), []);
}

#[test]
fn bodies_together_are_bounded_by_what_has_arrived() {
    let server = Server::start("room", Limits { bodies_bytes_max: 50, ..Limits::default() });
    let (status, head, problem) = server.send(EVENTS, &[JSON], &[b'1'; 51]);
    assert_eq!((status, problem["detail"].as_str()), (503, Some("too much is arriving at once")));
    assert!(head.contains("retry-after: 2"), "{head}");
    for _ in 0..3 {
        assert_eq!(server.send(EVENTS, &[JSON], &[b'1'; 50]).0, 200, "what is written makes room");
    }
}
