//! `/livez`, `/readyz` and `/version` through a job's life.

use crate::harness::{FAULTY, Folder, POSTED, Run, loopback, request, until};
use caudal_jobs::run::{Shared, Stop};
use caudal_jobs::serve::{PublicPort, operators};
use std::net::TcpListener;
use std::sync::Arc;

#[test]
fn a_process_is_ready_once_its_job_is_live_and_not_while_it_drains() {
    let folder = Folder::new("ready");
    let mut run = Run::start(&folder.0, FAULTY);
    let mut refusals = Vec::new();
    until("the job is ready", || match run.get("/readyz") {
        (200, body) => {
            assert_eq!(body, "ready\n");
            Some(())
        }
        (status, reasons) => {
            assert_eq!(status, 503);
            refusals.push(reasons);
            None
        }
    });
    assert!(refusals.iter().all(|reasons| reasons.starts_with("faulty: ")), "{refusals:?}");
    assert_eq!(run.get("/livez"), (200, "alive\n".to_owned()));
    run.shared.stop(Stop::Drain);
    let (status, reasons) = run.get("/readyz");
    assert!(status == 503 && (reasons.contains("draining") || reasons.contains("ended")), "{reasons}");
    run.join().unwrap();
    assert_eq!(run.get("/readyz"), (503, "faulty: the run has ended\n".to_owned()));
    assert_eq!(run.get("/livez").0, 200);
}

#[test]
fn a_source_that_does_not_answer_is_named() {
    let folder = Folder::new("away");
    let nobody = "from: {kafka: {topics: [wind], properties: {bootstrap.servers: '127.0.0.1:1'}}}";
    let mut run = Run::start(&folder.0, &POSTED.replace("from: {http: {partitions: 2}}", nobody));
    let reasons = until("the job is live without its source", || {
        let (status, reasons) = run.get("/readyz");
        assert_eq!(status, 503, "ready without a source");
        reasons.starts_with("posted: source of stream readings: ").then_some(reasons)
    });
    assert_eq!(reasons.lines().count(), 1, "{reasons}");
    let text = run.get("/metrics").1;
    assert!(text.contains(r#"caudal_source_up{caudal_job="posted",stream="readings"} 0"#), "{text}");
    let _ = run.stop(Stop::Force);
}

#[test]
fn nothing_is_told_of_a_job_that_another_process_has_taken() {
    let (folder, others) = (Folder::new("taken"), Folder::new("beside"));
    let (mut older, beside) = (Run::start(&folder.0, FAULTY), Run::start(&others.0, POSTED));
    let both = operators(TcpListener::bind(loopback()).unwrap(), vec![older.shared.clone(), beside.shared.clone()]).unwrap();
    let get = |path: &str| request(both.address(), "GET", path, &[], b"");
    until("both are ready", || (get("/readyz").status == 200).then_some(()));
    assert!(get("/metrics").body.contains(r#"caudal_job="faulty""#));

    let mut newer = Run::start_with(&folder.0, FAULTY, PublicPort::at(loopback()), |settings| settings.take_over = true);
    assert_eq!(older.join().unwrap_err().exit_code(), 3);
    for path in ["/metrics", "/livez", "/readyz", "/version"] {
        let (status, body) = older.get(path);
        assert_eq!((status, body.contains("another process has taken over")), (503, true), "{path}: {body}");
    }
    // The process lives on for the other one.
    let text = get("/metrics").body;
    assert!(text.contains(r#"caudal_job="posted""#) && !text.contains(r#"caudal_job="faulty""#), "{text}");
    assert_eq!((get("/readyz").status, get("/livez").status), (200, 200));
    until("the newer one is ready", || (newer.get("/readyz").0 == 200).then_some(()));
    newer.stop(Stop::Drain).unwrap();
}

#[test]
fn a_job_that_could_not_start_is_not_starting_for_ever() {
    let folder = Folder::new("refused");
    std::fs::create_dir_all(folder.0.join("state")).unwrap();
    std::fs::write(folder.0.join("state/thesis.tex"), "someone's").unwrap();
    let mut run = Run::start(&folder.0, FAULTY);
    assert_eq!(run.join().unwrap_err().exit_code(), 3);
    assert_eq!(run.get("/readyz"), (503, "faulty: the run has ended\n".to_owned()));
}

#[test]
fn the_version_is_told_before_anything_runs_and_the_port_is_free_afterwards() {
    let plan = caudal_pipeline::plan::Plan {
        name: "idle".into(),
        limits: Default::default(),
        tables: vec![],
        streams: vec![],
        views: vec![],
    };
    let shared = Shared::new(Arc::new(plan), std::path::PathBuf::new());
    let server = operators(TcpListener::bind(loopback()).unwrap(), vec![shared]).unwrap();
    let address = server.address();
    let answer = request(address, "GET", "/version", &[], b"");
    assert_eq!(answer.json()["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(answer.json()["build"], format!("{:016x}", caudal_jobs::BUILD));
    assert_eq!(request(address, "GET", "/readyz", &[], b"").body, "idle: starting: loading its state\n");
    assert_eq!(request(address, "POST", "/metrics", &[], b"").status, 405);
    drop(server);
    TcpListener::bind(address).expect("the port is free again");
}
