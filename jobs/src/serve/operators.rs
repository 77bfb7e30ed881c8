//! The operators' port: `/metrics`, `/livez`, `/readyz`, `/version`.
//!
//! `/livez` is 200 for as long as the process can answer. `/readyz` is 503, with the reasons as text, until every job
//! is live and reaches its sources, and from the moment it is asked to end.

use super::metrics;
use super::readiness;
use super::server::Server;
use super::snapshot::Snapshot;
use crate::run::Shared;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;

type Jobs = Arc<[Arc<Shared>]>;

/// Serves the operators of `jobs` on `listener`, until the returned value is dropped.
pub fn operators(listener: TcpListener, jobs: Vec<Arc<Shared>>) -> io::Result<Server> {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/version", get(version))
        .with_state(Jobs::from(jobs));
    Server::start("operators", listener, router)
}

fn look(jobs: &Jobs) -> Vec<Snapshot> {
    jobs.iter().map(|job| Snapshot::of(job)).collect()
}

async fn metrics(State(jobs): State<Jobs>) -> Response {
    match metrics::text(&look(&jobs)) {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("cannot write the metrics: {error}\n")).into_response(),
    }
}

async fn ready(State(jobs): State<Jobs>) -> Response {
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
