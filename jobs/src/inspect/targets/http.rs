//! Events to the HTTP intake of a running job: NDJSON bodies over one connection, each answered before the next.
//!
//! A body that was not answered, or answered with 503, is sent again under the same `Idempotency-Key`.

use super::Target;
use crate::inspect::error::InspectError;
use caudal_connectors::generate::Event;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper::{Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// What is said where no address is given.
pub(super) const ADDRESS: &str =
    "name the intake with --address, such as http://127.0.0.1:8080/v1/jobs/JOB/streams/STREAM/events";
/// A body is sent once it holds so much, or so many events, or nothing comes for a while.
const BODY_BYTES: usize = 256 << 10;
const BODY_EVENTS: usize = 1_000;
/// How often a body is tried, and how long is waited before it is tried again.
const ATTEMPTS: u32 = 10;
const WAIT: Duration = Duration::from_millis(500);

/// The intake of one stream.
pub(super) struct Http {
    uri: Uri,
    host: String,
    runtime: Runtime,
    connection: Option<SendRequest<Full<Bytes>>>,
    /// What tells this run's bodies from any other's.
    run: String,
    bodies: u64,
    body: Vec<u8>,
    events: usize,
}

/// Why a body was not taken.
enum Refusal {
    /// Worth another attempt.
    Later(String),
    /// Not worth one.
    Never(String),
}

impl Http {
    pub(super) fn open(address: &str, run: &str) -> Result<Http, InspectError> {
        let uri: Uri = address.parse().map_err(|_| InspectError::Usage(format!("`{address}` is no address: {ADDRESS}")))?;
        if uri.scheme_str() != Some("http") || uri.host().is_none() || uri.path().len() < 2 {
            return Err(InspectError::Usage(format!("`{address}` is not the address of an intake: {ADDRESS}")));
        }
        let host = format!("{}:{}", uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(80));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| InspectError::Failed(format!("cannot start an HTTP client: {error}")))?;
        Ok(Http { uri, host, runtime, connection: None, run: run.to_owned(), bodies: 0, body: Vec::new(), events: 0 })
    }

    fn post(&mut self) -> Result<(), InspectError> {
        if self.events == 0 {
            return Ok(());
        }
        let body = Bytes::from(std::mem::take(&mut self.body));
        self.events = 0;
        self.bodies += 1;
        let mut attempt = 1;
        loop {
            match self.attempt(&body) {
                Ok(()) => return Ok(()),
                Err(Refusal::Later(_)) if attempt < ATTEMPTS => attempt += 1,
                Err(Refusal::Later(why)) => return Err(InspectError::Failed(why)),
                Err(Refusal::Never(why)) => return Err(InspectError::Refused(why)),
            }
            self.connection = None;
            std::thread::sleep(WAIT);
        }
    }

    fn attempt(&mut self, body: &Bytes) -> Result<(), Refusal> {
        let request = Request::post(self.uri.path_and_query().map_or("/", |path| path.as_str()))
            .header(header::HOST, &self.host)
            .header(header::CONTENT_TYPE, "application/x-ndjson")
            .header("Idempotency-Key", format!("{}-{}", self.run, self.bodies))
            .body(Full::new(body.clone()))
            .map_err(|error| Refusal::Never(format!("cannot post to {}: {error}", self.uri)))?;
        let Http { runtime, connection, host, uri, .. } = self;
        runtime.block_on(exchange(connection, host, request)).and_then(|(status, said)| match status {
            StatusCode::OK | StatusCode::ACCEPTED => Ok(()),
            StatusCode::SERVICE_UNAVAILABLE => Err(Refusal::Later(format!("{uri} takes nothing now: {said}"))),
            status => Err(Refusal::Never(format!("{uri} answered {status}: {said}"))),
        })
    }
}

/// Sends a request over the connection, which is made if there is none, and reads the answer.
async fn exchange(
    connection: &mut Option<SendRequest<Full<Bytes>>>,
    host: &str,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, String), Refusal> {
    let away = |error: String| Refusal::Later(format!("cannot reach {host}: {error}"));
    let sender = match connection {
        Some(sender) => sender,
        None => connection.insert(connect(host).await.map_err(away)?),
    };
    sender.ready().await.map_err(|error| away(error.to_string()))?;
    let answer = sender.send_request(request).await.map_err(|error| away(error.to_string()))?;
    let status = answer.status();
    let body = answer.into_body().collect().await.map_err(|error| away(error.to_string()))?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body[..body.len().min(500)]).into_owned()))
}

async fn connect(host: &str) -> Result<SendRequest<Full<Bytes>>, String> {
    let stream = TcpStream::connect(host).await.map_err(|error| error.to_string())?;
    let _ = stream.set_nodelay(true);
    let (sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    // Ends with the connection; its failures show in the requests.
    tokio::spawn(connection);
    Ok(sender)
}

impl Target for Http {
    fn send(&mut self, event: &Event) -> Result<(), InspectError> {
        self.body.extend_from_slice(&event.body);
        self.body.push(b'\n');
        self.events += 1;
        if self.events >= BODY_EVENTS || self.body.len() >= BODY_BYTES { self.post() } else { Ok(()) }
    }

    fn idle(&mut self) -> Result<(), InspectError> {
        self.post()
    }

    fn finish(&mut self) -> Result<(), InspectError> {
        self.post()
    }
}
