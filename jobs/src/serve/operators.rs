//! The operators' port: `/metrics`, `/livez`, `/readyz`, `/version`.
//!
//! `/livez` is 200 while the process can answer and has a job. `/readyz` is 503, with the reasons as text, until every job
//! is live and reaches its sources, and from the moment it is asked to end.
//!
//! Of a job whose state another process has taken nothing is told, since that process tells it: each request asks the states
//! first. Where no job is left every answer is 503, until the process ends.

use super::metrics;
use super::pulse::Pulse;
use super::readiness;
use super::server::Server;
use super::snapshot::Snapshot;
use crate::run::Shared;
use axum::Router;
use axum::extract::{Extension, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use std::collections::BTreeSet;
use std::io;
use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

/// How long a request waits, twice, for a state to say whose it is; Kubernetes gives a probe a second by default. Twice,
/// since a process that is stopped in between finds its time over when it goes on. Who cannot reach a state goes on answering,
/// else storage that is away would have every process restarted; but not who stood still since the state said that it is ours.
const PATIENCE: Duration = Duration::from_millis(400);

type Jobs = Arc<[Arc<Shared>]>;

/// A job, whose state one request asks at a time: where that hangs, others do not pile up behind it.
struct Asked {
    job: Arc<Shared>,
    turn: Arc<Mutex<()>>,
}

/// Whom a request asks first.
struct First {
    jobs: Vec<Asked>,
    pulse: Arc<Pulse>,
}

/// Serves the operators of `jobs` on `listener`, until the returned value is dropped.
pub fn operators(listener: TcpListener, jobs: Vec<Arc<Shared>>) -> io::Result<Server> {
    let jobs = jobs.into_iter().map(|job| Asked { job, turn: Arc::default() }).collect();
    let first = Arc::new(First { jobs, pulse: Pulse::start() });
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/version", get(version))
        .layer(from_fn_with_state(first, of_ours));
    Server::start("operators", listener, router)
}

/// Lets a request see the jobs whose states this process has, and refuses it where there is none.
async fn of_ours(State(first): State<Arc<First>>, mut request: Request, next: Next) -> Response {
    let went_on = first.pulse.went_on();
    let mut looks = JoinSet::new();
    for (at, asked) in first.jobs.iter().enumerate() {
        let (job, turn) = (asked.job.clone(), asked.turn.clone());
        looks.spawn(async move { (at, is_lost(job, turn, went_on).await) });
    }
    let lost: BTreeSet<usize> = looks.join_all().await.into_iter().filter_map(|(at, lost)| lost.then_some(at)).collect();
    let all = first.jobs.iter().enumerate();
    let ours: Jobs = all.filter(|(at, _)| !lost.contains(at)).map(|(_, asked)| asked.job.clone()).collect();
    if ours.is_empty() {
        return (StatusCode::SERVICE_UNAVAILABLE, "another process has taken over; this one ends\n").into_response();
    }
    request.extensions_mut().insert(ours);
    next.run(request).await
}

/// Whether another process has the job's state, as far as it can be known in time; `went_on` is the pulse's, as of the request.
async fn is_lost(job: Arc<Shared>, turn: Arc<Mutex<()>>, went_on: Duration) -> bool {
    let asked = job.clone();
    let mut look = pin!(async move {
        let turn = turn.lock_owned().await;
        // What it finds the hold knows.
        let _ = spawn_blocking(move || {
            asked.hold().is_lost();
            drop(turn);
        })
        .await;
    });
    if timeout(PATIENCE, &mut look).await.is_err() {
        let _ = timeout(PATIENCE, &mut look).await;
    }
    job.hold().may_be_lost(went_on)
}

fn look(jobs: &Jobs) -> Vec<Snapshot> {
    jobs.iter().map(|job| Snapshot::of(job)).collect()
}

async fn metrics(Extension(jobs): Extension<Jobs>) -> Response {
    match metrics::text(&look(&jobs)) {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("cannot write the metrics: {error}\n")).into_response(),
    }
}

async fn ready(Extension(jobs): Extension<Jobs>) -> Response {
    let reasons = readiness::reasons(&look(&jobs));
    if reasons.is_empty() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n").into_response()
}

async fn version() -> Response {
    let body = json!({"name": "caudal", "version": env!("CARGO_PKG_VERSION"), "build": env!("CAUDAL_BUILD")}).to_string();
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::clock::running;
    use caudal_pipeline::log::CommitLog;
    use caudal_pipeline::plan::Plan;
    use caudal_pipeline::ports::blobs::{BlobError, Blobs, Created, MemoryBlobs};
    use std::sync::RwLock;

    /// Storage that answers nothing while someone else has the lock. No real one does that on demand.
    #[derive(Default)]
    struct Hanging {
        inner: MemoryBlobs,
        hangs: RwLock<()>,
    }

    impl Blobs for Hanging {
        fn create(&self, name: &str, bytes: &[u8]) -> Result<Created, BlobError> {
            self.inner.create(name, bytes)
        }
        fn read(&self, name: &str) -> Result<Vec<u8>, BlobError> {
            let _goes_on = self.hangs.read();
            self.inner.read(name)
        }
        fn read_range(&self, name: &str, offset: u64, len: usize) -> Result<Vec<u8>, BlobError> {
            self.inner.read_range(name, offset, len)
        }
        fn list(&self, prefix: &str) -> Result<Vec<String>, BlobError> {
            self.inner.list(prefix)
        }
        fn delete(&self, name: &str) -> Result<(), BlobError> {
            self.inner.delete(name)
        }
    }

    #[tokio::test]
    async fn who_stood_still_waits_for_the_state_and_who_did_not_answers_without_it() {
        let plan = Plan { name: "idle".into(), limits: Default::default(), tables: vec![], streams: vec![], views: vec![] };
        let job = Shared::new(Arc::new(plan), std::path::PathBuf::new());
        let blobs = Arc::new(Hanging::default());
        let ran = running();
        job.hold().taking(|taken| CommitLog::open_telling(blobs.clone(), taken).map(drop)).unwrap();
        let stood_still = running() + Duration::from_nanos(1);
        while running() < stood_still {}
        {
            let _hangs = blobs.hangs.write();
            assert!(!is_lost(job.clone(), Arc::default(), ran).await);
            assert!(is_lost(job.clone(), Arc::default(), stood_still).await);
        }
        assert!(!is_lost(job, Arc::default(), stood_still).await, "it said so");
    }
}
