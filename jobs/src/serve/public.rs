//! The port for people and programs: one for all jobs of the process, opened when the first job needs it.
//!
//! ```text
//! /v1/jobs/{job}/… ─▶ that job's routes while it runs, else 404 or 503 as problem+json
//! ```

use super::server::Server;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tower::ServiceExt;

/// Seconds after which a client is asked to come back to a job that is starting.
const RETRY_AFTER_S: u32 = 2;

/// Each job's routes.
type Routes = Arc<RwLock<BTreeMap<String, Answers>>>;

/// What answers for a job.
enum Answers {
    /// Nothing yet.
    Starting,
    Open(Router),
    /// Nothing any more.
    Ended,
}

/// The port; jobs share it by its `Arc`. The last to let go of it closes it, after the answers under way.
pub struct PublicPort {
    address: SocketAddr,
    server: Mutex<Option<Server>>,
    routes: Routes,
}

impl std::fmt::Debug for PublicPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicPort({})", self.address)
    }
}

impl PublicPort {
    /// Where it is unless told otherwise: this machine alone can reach it.
    pub const DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7070);

    /// A port at `address`, not opened yet. Port 0 takes a free one.
    pub fn at(address: SocketAddr) -> Arc<PublicPort> {
        Arc::new(PublicPort { address, server: Mutex::default(), routes: Routes::default() })
    }

    /// Where it is to listen.
    pub fn wanted(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, once it does.
    pub fn address(&self) -> Option<SocketAddr> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(Server::address)
    }

    /// Answers for a job that is starting, until the returned value is dropped; opens the port if no job has yet.
    pub fn attach(self: &Arc<Self>, job: &str) -> io::Result<Attached> {
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        if server.is_none() {
            let all = Router::new().fallback(dispatch).with_state(self.routes.clone());
            *server = Some(Server::start("public port", TcpListener::bind(self.address)?, all)?);
        }
        write(&self.routes).insert(job.to_owned(), Answers::Starting);
        Ok(Attached { port: self.clone(), job: job.to_owned() })
    }
}

/// A job's place on the port, for as long as this lives.
pub struct Attached {
    port: Arc<PublicPort>,
    job: String,
}

impl Attached {
    /// Serves the job's routes from now on.
    pub fn open(&self, router: Router) {
        write(&self.port.routes).insert(self.job.clone(), Answers::Open(router));
    }

    /// Says that the job has ended.
    pub fn close(&self) {
        write(&self.port.routes).insert(self.job.clone(), Answers::Ended);
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.close();
    }
}

fn write(routes: &Routes) -> std::sync::RwLockWriteGuard<'_, BTreeMap<String, Answers>> {
    routes.write().unwrap_or_else(PoisonError::into_inner)
}

async fn dispatch(State(routes): State<Routes>, request: Request) -> Response {
    let router = {
        let routes = routes.read().unwrap_or_else(PoisonError::into_inner);
        match job_of(request.uri().path()).map(|job| (job, routes.get(job))) {
            Some((_, Some(Answers::Open(router)))) => router.clone(),
            Some((job, Some(Answers::Starting))) => {
                let mut answer = problem(StatusCode::SERVICE_UNAVAILABLE, format!("job `{job}` is starting"));
                answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
                return answer;
            }
            Some((job, Some(Answers::Ended))) => {
                return problem(StatusCode::SERVICE_UNAVAILABLE, format!("job `{job}` has ended"));
            }
            Some((job, None)) => return problem(StatusCode::NOT_FOUND, unknown(job, &routes)),
            None => return problem(StatusCode::NOT_FOUND, "addresses here begin with `/v1/jobs/{job}/`".to_owned()),
        }
    };
    let response = router.oneshot(request).await.unwrap_or_else(|never| match never {});
    match response.status() {
        // What the job's own routes do not know comes without words.
        status @ (StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED)
            if !response.headers().contains_key(header::CONTENT_TYPE) =>
        {
            problem(status, "post events to `/v1/jobs/{job}/streams/{stream}/events`".to_owned())
        }
        _ => response,
    }
}

fn job_of(path: &str) -> Option<&str> {
    path.strip_prefix("/v1/jobs/")?.split('/').next().filter(|job| !job.is_empty())
}

fn unknown(job: &str, routes: &BTreeMap<String, Answers>) -> String {
    let known: Vec<&str> = routes.keys().map(String::as_str).collect();
    format!("no job `{job}` answers here; these do: {}", known.join(", "))
}

fn problem(status: StatusCode, detail: String) -> Response {
    let title = status.canonical_reason().unwrap_or("error");
    let body = json!({"type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail}).to_string();
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
}
