//! The operators' port: `/metrics`, `/livez`, `/readyz`, `/version`.
//!
//! `/livez` is 200 while the process can answer and has a job. `/readyz` is 503, with the reasons as text, until every job
//! is live and reaches its sources, and from the moment it is asked to end.
//!
//! Of a job whose state another process has taken nothing is told, since that process tells it: each request asks the states
//! first. A state that does not answer is taken to be ours, else storage that is away would have every process restarted; but
//! not by a process that stood still since the state last said so, which is how most are taken over. Where no job is left every
//! answer is 503. Who stands still while it answers asks and answers again.

use super::metrics;
use super::pulse::Pulse;
use super::readiness;
use super::server::Server;
use super::snapshot::Snapshot;
use crate::run::Shared;
use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use std::collections::BTreeSet;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

/// How long a request waits for a state to say whose it is; Kubernetes gives a probe a second by default. It is longer than a
/// process stands still unnoticed: the rest is for the answer.
const PATIENCE: Duration = Duration::from_millis(800);

type Jobs = Arc<[Arc<Shared>]>;

/// A job, whose state one request asks at a time.
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
    Server::start("operators", listener, router(First { jobs, pulse: Pulse::start() }))
}

fn router(first: First) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/version", get(version))
        .layer(from_fn_with_state(Arc::new(first), of_ours))
}

/// Lets a request see the jobs whose states this process has, and refuses it where there is none.
async fn of_ours(State(first): State<Arc<First>>, request: Request, next: Next) -> Response {
    let (head, _) = request.into_parts();
    loop {
        let went_on = first.pulse.went_on();
        let ours = ours(&first.jobs, went_on).await;
        if ours.is_empty() {
            let why = "another process has taken over, or this one stood still and its state does not answer\n";
            return (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
        }
        let mut request = Request::from_parts(head.clone(), Body::empty());
        request.extensions_mut().insert(ours);
        let response = next.clone().run(request).await;
        // Else what the states said says nothing any more.
        if first.pulse.went_on() == went_on {
            return response;
        }
    }
}

/// Those that no other process may have, as far as it can be known in time; `went_on` is the pulse's, from before.
async fn ours(jobs: &[Asked], went_on: Duration) -> Jobs {
    let mut looks = JoinSet::new();
    for (at, asked) in jobs.iter().enumerate() {
        let (job, turn) = (asked.job.clone(), asked.turn.clone());
        looks.spawn(async move { (at, may_be_lost(job, turn, went_on).await) });
    }
    let lost: BTreeSet<usize> = looks.join_all().await.into_iter().filter_map(|(at, lost)| lost.then_some(at)).collect();
    jobs.iter().enumerate().filter(|(at, _)| !lost.contains(at)).map(|(_, asked)| asked.job.clone()).collect()
}

async fn may_be_lost(job: Arc<Shared>, turn: Arc<Mutex<()>>, went_on: Duration) -> bool {
    let asked = job.clone();
    let look = async {
        let _turn = turn.lock().await;
        // What it finds the hold knows.
        spawn_blocking(move || asked.hold().is_lost()).await
    };
    // Where that hangs, the next one asks again: on another connection it may be heard.
    let _ = timeout(PATIENCE, look).await;
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
    use caudal_pipeline::log::CommitLog;
    use caudal_pipeline::plan::Plan;
    use caudal_pipeline::ports::blobs::{BlobError, Blobs, Created, MemoryBlobs};
    use std::sync::RwLock;
    use std::time::Instant;
    use tower::ServiceExt;

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

    fn taken() -> (Arc<Shared>, Arc<Hanging>) {
        let plan = Plan { name: "idle".into(), limits: Default::default(), tables: vec![], streams: vec![], views: vec![] };
        let job = Shared::new(Arc::new(plan), std::path::PathBuf::new());
        let blobs = Arc::new(Hanging::default());
        job.hold().taking(|taken| CommitLog::open_telling(blobs.clone(), taken).map(drop)).unwrap();
        (job, blobs)
    }

    async fn answer(router: Router) -> StatusCode {
        router.oneshot(Request::get("/livez").body(Body::empty()).unwrap()).await.unwrap().status()
    }

    /// What a process answers that has this pulse.
    async fn answer_of(job: &Arc<Shared>, pulse: Arc<Pulse>) -> StatusCode {
        answer(router(First { jobs: vec![Asked { job: job.clone(), turn: Arc::default() }], pulse })).await
    }

    #[tokio::test]
    async fn who_stood_still_waits_for_the_state_and_who_did_not_answers_without_it() {
        let runs = Pulse::start();
        let (job, blobs) = taken();
        let until_ok = async |of: &dyn Fn() -> Arc<Pulse>| {
            let began = Instant::now();
            // A machine may be so busy that the test itself stands still.
            while answer_of(&job, of()).await != StatusCode::OK {
                assert!(began.elapsed() < Duration::from_secs(60));
            }
        };
        {
            let _hangs = blobs.hangs.write();
            until_ok(&|| runs.clone()).await;
            assert_eq!(answer_of(&job, Pulse::after_standing_still()).await, StatusCode::SERVICE_UNAVAILABLE);
        }
        until_ok(&Pulse::after_standing_still).await;
    }

    #[tokio::test]
    async fn who_is_taken_over_while_it_answers_does_not_answer() {
        let pulse = Pulse::start();
        let (job, blobs) = taken();
        let stands_still = {
            let pulse = pulse.clone();
            move || async move {
                CommitLog::open(blobs).unwrap();
                pulse.stand_still();
            }
        };
        let first = Arc::new(First { jobs: vec![Asked { job, turn: Arc::default() }], pulse });
        let router = Router::new().route("/livez", get(stands_still)).layer(from_fn_with_state(first, of_ours));
        assert_eq!(answer(router).await, StatusCode::SERVICE_UNAVAILABLE);
    }
}
