//! Events over HTTP, from the request to the row, and through a restart.

use crate::harness::{Answer, Folder, POSTED, Run, loopback, request, until};
use caudal_jobs::run::Stop;
use caudal_jobs::serve::PublicPort;
use serde_json::{Value as Json, json};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

const EVENTS: &str = "/v1/jobs/posted/streams/readings/events";
const JSON: &str = "content-type: application/json";

fn event(id: u32, unit: &str, kw: f64) -> Json {
    json!({"id": id.to_string(), "at": format!("2026-01-01T00:00:{:02}Z", id % 60), "unit": unit, "kw": kw})
}

/// Posts once the job takes events.
fn post(address: SocketAddr, headers: &[&str], body: &str) -> Answer {
    until("the job takes events", || {
        let answer = request(address, "POST", EVENTS, headers, body.as_bytes());
        let starting = answer.status == 503 && answer.body.contains("starting");
        assert!(!starting || answer.head.contains("retry-after"), "{answer:?}");
        // Another job of the process may have opened the port.
        let unknown = answer.status == 404 && answer.body.contains("no job");
        (!starting && !unknown).then_some(answer)
    })
}

/// Rows by unit as `(events, most)`, once the store holds so many events.
fn rows(run: &Run, events: u64) -> Vec<(String, u64, String)> {
    until("the events are in the store", || {
        let mut rows: Vec<(String, u64, String)> = run.store().all_rows("per_minute").ok()?.iter().map(row).collect();
        rows.sort();
        (rows.iter().map(|(_, events, _)| events).sum::<u64>() == events).then_some(rows)
    })
}

fn row(row: &serde_json::Map<String, Json>) -> (String, u64, String) {
    (row["unit"].as_str().unwrap().to_owned(), row["events"].as_u64().unwrap(), row["most"].to_string())
}

#[test]
fn an_event_that_was_answered_counts_for_ever() {
    let folder = Folder::new("posted");
    let mut run = Run::start(&folder.0, POSTED);
    let address = run.public();
    let three = json!([event(1, "gen-01", 5.5), event(2, "gen-01", 7.0), event(3, "gen-02", 1.0)]).to_string();
    let answer = post(address, &[JSON, "caudal-key: a"], &three);
    assert_eq!(answer.status, 200, "{answer:?}");
    let offsets = answer.json();
    let partition = offsets[0]["partition"].clone();
    let expected = |from: u64| (from..from + 3).map(|at| json!({"partition": partition, "offset": at})).collect::<Json>();
    assert_eq!(offsets, expected(0));
    let at = |unit: &str, events, most: &str| (unit.to_owned(), events, most.to_owned());
    // What was answered is bound, so even a stop without any grace loses none of it.
    let forced = run.stop(Stop::Force).unwrap_err();
    assert_eq!(forced.exit_code(), 1);
    drop(run);

    let mut run = Run::start(&folder.0, POSTED);
    let address = run.public();
    let lines = format!("{}\n{}\n{}\n", event(4, "gen-02", 9.0), event(1, "gen-01", 5.5), r#"{"no": "id"}"#);
    let answer = post(address, &["content-type: application/x-ndjson", "caudal-key: a"], &lines);
    // A repeat is told later, where it counts as one; what is refused for what it is, at once.
    let mut answered = expected(3);
    answered[2]["dead_letter"] = json!({"reason": "field", "path": "/id"});
    assert_eq!((answer.status, answer.json()), (200, answered));
    assert_eq!(rows(&run, 4), [at("gen-01", 2, "7.0"), at("gen-02", 2, "9.0")]);
    run.stop(Stop::Drain).unwrap();
    assert_eq!(rows(&run, 4).len(), 2);
    let letters = run.store().dead_letter_counts().unwrap();
    assert_eq!(letters, [("readings".to_owned(), "field".to_owned(), 1)]);
    let answer = request(address, "POST", EVENTS, &[JSON], b"{}");
    assert_eq!(answer.status, 503, "the job has ended: {answer:?}");
}

#[test]
fn what_is_wrong_with_a_request_is_told_as_problem_json() {
    let folder = Folder::new("problems");
    let mut run = Run::start(&folder.0, POSTED);
    let address = run.public();
    assert_eq!(post(address, &[JSON], &event(1, "gen-01", 1.0).to_string()).status, 200);
    for (path, headers, body, status, words) in [
        (EVENTS, &[JSON][..], "[{\"id\": \"2\"},, {}]", 400, "element 1"),
        (EVENTS, &[JSON], "[{\"id\": \"2\"}", 400, "not closed"),
        (EVENTS, &[JSON], " ", 400, "no record"),
        (EVENTS, &["content-type: text/html"], "<p>", 415, "application/json"),
        ("/v1/jobs/posted/streams/reading/events", &[JSON], "{}", 404, "posted/readings"),
        ("/v1/jobs/postal/streams/readings/events", &[JSON], "{}", 404, "these do: posted"),
        ("/v1/jobs/posted/views", &[JSON], "{}", 404, "post events to"),
        ("/", &[], "", 404, "/v1/jobs/{job}/"),
    ] {
        let answer = request(address, "POST", path, headers, body.as_bytes());
        assert_eq!(answer.status, status, "{path} {body}: {answer:?}");
        assert!(answer.head.contains("content-type: application/problem+json"), "{answer:?}");
        let problem = answer.json();
        assert_eq!(problem["status"], status);
        assert!(problem["detail"].as_str().unwrap().contains(words), "{problem}");
    }
    let answer = request(address, "GET", EVENTS, &[], b"");
    assert_eq!((answer.status, answer.json()["status"].as_u64()), (405, Some(405)));
    assert_eq!(rows(&run, 1).len(), 1, "nothing else was taken");
}

/// A client that got no answer sends again: without an id in the events, its key tells.
#[test]
fn a_request_that_is_repeated_under_its_key_counts_once() {
    let folder = Folder::new("repeated");
    let mut run = Run::start(&folder.0, &POSTED.replace("    id: /id\n", ""));
    let address = run.public();
    let both = json!([event(1, "gen-01", 1.0), event(2, "gen-01", 2.0)]).to_string();
    for (headers, body) in [
        (&[JSON, "idempotency-key: a"][..], both.clone()),
        (&[JSON, "idempotency-key: a"], both.clone()),
        (&[JSON, "idempotency-key: b"], both.clone()),
        (&[JSON, "idempotency-key: b"], json!([event(9, "gen-02", 9.0)]).to_string()),
        (&[JSON], both),
    ] {
        assert_eq!(post(address, headers, &body).status, 200);
    }
    assert_eq!(rows(&run, 6), [("gen-01".to_owned(), 6, "2.0".to_owned())]);
    let letters = run.store().dead_letter_counts().unwrap();
    assert_eq!(letters, [("readings".to_owned(), "conflict".to_owned(), 1)]);
    let duplicates = r#"caudal_events_duplicate_total{caudal_job="posted",stream="readings"} 2"#;
    until("two events are counted as duplicates", || run.get("/metrics").1.contains(duplicates).then_some(()));
}

/// Two jobs of a process take events on one port.
#[test]
fn jobs_share_the_port() {
    let (first, second) = (Folder::new("first"), Folder::new("second"));
    let port = PublicPort::at(loopback());
    let mut posted = Run::start_with(&first.0, POSTED, port.clone(), |_| {});
    let mut other = Run::start_with(&second.0, &POSTED.replace("name: posted", "name: other"), port.clone(), |_| {});
    let address = posted.public();
    let body = event(1, "gen-01", 1.0).to_string();
    let to_other = || request(address, "POST", "/v1/jobs/other/streams/readings/events", &[JSON], body.as_bytes());
    until("the other job takes events", || (to_other().status == 200).then_some(()));
    assert_eq!(post(address, &[JSON], &body).status, 200);
    posted.stop(Stop::Drain).unwrap();
    assert!(request(address, "POST", EVENTS, &[JSON], body.as_bytes()).body.contains("has ended"));
    assert_eq!(to_other().status, 200);
    other.stop(Stop::Drain).unwrap();
    drop((posted, other, port));
    std::net::TcpListener::bind(address).expect("the port is free again");
}

#[test]
fn a_port_that_is_taken_is_told_before_anything_runs() {
    let folder = Folder::new("taken");
    let taken = std::net::TcpListener::bind(loopback()).unwrap();
    let address = taken.local_addr().unwrap();
    let mut run = Run::start_with(&folder.0, POSTED, PublicPort::at(address), |_| {});
    let error = run.join().unwrap_err();
    assert_eq!(error.exit_code(), 1);
    assert!(error.to_string().contains(&format!("cannot listen on {address}")), "{error}");
}

/// Posts events until told to end and the newer process has answered too; those answered by the older and by the newer one.
fn client(first: u32, at: &Mutex<Vec<SocketAddr>>, ended: &AtomicBool, taken: &AtomicU32) -> [u32; 2] {
    let (mut by, mut id) = ([0, 0], first);
    while by[1] == 0 || !ended.load(Ordering::Relaxed) {
        let addresses = at.lock().unwrap().clone();
        let Some(address) = addresses.last() else { break };
        let body = event(id, &format!("gen-{:02}", id % 7), 1.0).to_string();
        let answer = request(*address, "POST", EVENTS, &[JSON], body.as_bytes());
        match answer.status {
            200 | 202 => {
                by[addresses.len() - 1] += 1;
                id += CLIENTS;
                taken.fetch_add(1, Ordering::Relaxed);
            }
            // It is sent again.
            _ => assert!([404, 503].contains(&answer.status), "{answer:?}"),
        }
    }
    by
}

const CLIENTS: u32 = 4;

/// Clients send on while another process takes over, and send again what was not answered with 2xx.
#[test]
fn events_that_are_posted_while_another_process_takes_over_count_once() {
    let folder = Folder::new("take-over");
    let mut older = Run::start(&folder.0, POSTED);
    let from = older.public();
    assert_eq!(post(from, &[JSON], &event(0, "gen-00", 1.0).to_string()).status, 200);
    let at = Arc::new(Mutex::new(vec![from]));
    let (ended, taken) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let start = |n: u32| {
        let (at, ended, taken) = (at.clone(), ended.clone(), taken.clone());
        std::thread::spawn(move || client(n + 1, &at, &ended, &taken))
    };
    let clients: Vec<_> = (0..CLIENTS).map(start).collect();
    until("clients have answers", || (taken.load(Ordering::Relaxed) > 4 * CLIENTS).then_some(()));
    let mut newer = Run::start_with(&folder.0, POSTED, PublicPort::at(loopback()), |settings| settings.take_over = true);
    let error = older.join().unwrap_err();
    assert_eq!(error.exit_code(), 3);
    assert!(error.to_string().contains("generation 2 has taken over"), "{error}");
    let refused = request(from, "POST", EVENTS, &[JSON], b"{}");
    assert_eq!(refused.status, 503, "{refused:?}");
    at.lock().unwrap().push(newer.public());
    ended.store(true, Ordering::Relaxed);
    let answered: Vec<[u32; 2]> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    println!("answered by the older and by the newer process, of each client: {answered:?}");
    let all = u64::from(answered.iter().flatten().sum::<u32>()) + 1;
    assert_eq!(rows(&newer, all).iter().map(|(_, events, _)| events).sum::<u64>(), all);
    newer.stop(Stop::Drain).unwrap();
    assert_eq!(rows(&newer, all).iter().map(|(_, events, _)| events).sum::<u64>(), all);
}

#[test]
fn a_rebuild_counts_events_that_were_posted_before_it() {
    let folder = Folder::new("rebuilt");
    let mut run = Run::start(&folder.0, POSTED);
    let three = json!([event(1, "gen-01", 5.5), event(2, "gen-01", 7.0), event(3, "gen-02", 1.0)]).to_string();
    assert_eq!(post(run.public(), &[JSON], &three).status, 200);
    run.stop(Stop::Drain).unwrap();
    let least = POSTED.replace("most: max(kw)", "most: min(kw)");
    let mut run = Run::start_with(&folder.0, &least, PublicPort::at(loopback()), |settings| settings.rebuild = true);
    assert_eq!(post(run.public(), &[JSON], &event(4, "gen-02", 0.5).to_string()).status, 200);
    let at = |unit: &str, least: &str| (unit.to_owned(), 2, least.to_owned());
    assert_eq!(rows(&run, 4), [at("gen-01", "5.5"), at("gen-02", "0.5")]);
    run.stop(Stop::Drain).unwrap();
    let left: Vec<_> = std::fs::read_dir(folder.0.join("state/intake/readings")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(left.len(), 1, "older logs are gone: {left:?}");
}
