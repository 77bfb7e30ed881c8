//! The operators' port: `/metrics`, `/livez`, `/readyz`, `/version`.
//!
//! `/livez` is 200 for as long as the process can answer. `/readyz` is 503, with the reasons as text, until every job
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
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long a request waits, twice, for the states to say whose they are; Kubernetes gives a probe a second by default. Twice,
/// since a process that is stopped in between finds its time over when it goes on. Who cannot reach a state goes on answering:
/// else storage that is away would have every process restarted.
const PATIENCE: Duration = Duration::from_millis(400);

type Jobs = Arc<[Arc<Shared>]>;

/// Serves the operators of `jobs` on `listener`, until the returned value is dropped.
pub fn operators(listener: TcpListener, jobs: Vec<Arc<Shared>>) -> io::Result<Server> {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/version", get(version))
        .layer(from_fn_with_state(Jobs::from(jobs), of_ours));
    Server::start("operators", listener, router)
}

/// Lets a request see the jobs whose states this process has, and refuses it where there is none.
async fn of_ours(State(jobs): State<Jobs>, mut request: Request, next: Next) -> Response {
    let mut ours = jobs.clone();
    let mut look = tokio::task::spawn_blocking(move || jobs.iter().filter(|job| !job.is_lost()).cloned().collect::<Jobs>());
    let answer = match timeout(PATIENCE, &mut look).await {
        Err(_) => timeout(PATIENCE, &mut look).await,
        answer => answer,
    };
    if let Ok(Ok(found)) = answer {
        ours = found;
    }
    if ours.is_empty() {
        return (StatusCode::SERVICE_UNAVAILABLE, "another process has taken over; this one ends\n").into_response();
    }
    request.extensions_mut().insert(ours);
    next.run(request).await
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
    let body = json!({"name": "caudal", "version": env!("CARGO_PKG_VERSION")}).to_string();
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}
