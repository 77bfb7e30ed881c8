//! The operators' port: `/metrics`, `/livez`, `/readyz`, `/version`.
//!
//! `/livez` is 200 while the process can answer and has a job. `/readyz` is 503, with the reasons as text, until every job
//! is live and reaches its sources, and from the moment it is asked to end.
//!
//! Of a job whose state another process has taken nothing is told, since that process tells it: each request asks the states
//! first. Where no job is left every answer is 503, until the process ends.

use super::metrics;
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
/// since a process that is stopped in between finds its time over when it goes on. Who cannot reach a state goes on answering:
/// else storage that is away would have every process restarted.
const PATIENCE: Duration = Duration::from_millis(400);

type Jobs = Arc<[Arc<Shared>]>;

/// A job, whose state one request asks at a time: where that hangs, others do not pile up behind it.
struct Asked {
    job: Arc<Shared>,
    turn: Arc<Mutex<()>>,
}

/// Serves the operators of `jobs` on `listener`, until the returned value is dropped.
pub fn operators(listener: TcpListener, jobs: Vec<Arc<Shared>>) -> io::Result<Server> {
    let asked: Arc<[Asked]> = jobs.into_iter().map(|job| Asked { job, turn: Arc::default() }).collect();
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/version", get(version))
        .layer(from_fn_with_state(asked, of_ours));
    Server::start("operators", listener, router)
}

/// Lets a request see the jobs whose states this process has, and refuses it where there is none.
async fn of_ours(State(jobs): State<Arc<[Asked]>>, mut request: Request, next: Next) -> Response {
    let mut looks = JoinSet::new();
    for (at, asked) in jobs.iter().enumerate() {
        let (job, turn) = (asked.job.clone(), asked.turn.clone());
        looks.spawn(async move { (at, is_lost(job, turn).await) });
    }
    let lost: BTreeSet<usize> = looks.join_all().await.into_iter().filter_map(|(at, lost)| lost.then_some(at)).collect();
    let ours: Jobs = jobs.iter().enumerate().filter(|(at, _)| !lost.contains(at)).map(|(_, asked)| asked.job.clone()).collect();
    if ours.is_empty() {
        return (StatusCode::SERVICE_UNAVAILABLE, "another process has taken over; this one ends\n").into_response();
    }
    request.extensions_mut().insert(ours);
    next.run(request).await
}

/// Whether another process has the job's state, as far as it can be known in time.
async fn is_lost(job: Arc<Shared>, turn: Arc<Mutex<()>>) -> bool {
    let asked = job.clone();
    let mut look = pin!(async move {
        let turn = turn.lock_owned().await;
        spawn_blocking(move || {
            let lost = asked.hold().is_lost();
            drop(turn);
            lost
        })
        .await
    });
    let answer = match timeout(PATIENCE, &mut look).await {
        Err(_) => timeout(PATIENCE, &mut look).await,
        answer => answer,
    };
    match answer {
        Ok(Ok(lost)) => lost,
        Ok(Err(_)) | Err(_) => job.hold().is_known_lost(),
    }
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
