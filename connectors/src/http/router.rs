//! The address, and a request's way: take the body, split it, append, wait for the binding, answer.

use super::body::{Form, records};
use super::config::{IDEMPOTENCY_HEADER, Intake};
use super::problem::Problem;
use crate::local_log::{LocalLogError, NewRecord};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use caudal_pipeline::record::{Message, Offset, Rejection};
use http_body_util::BodyExt;
use serde_json::json;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{Semaphore, SemaphorePermit};

/// The longest `Idempotency-Key`.
const IDEMPOTENCY_KEY_MAX: usize = 255;

/// Seconds after which a client is asked to try again.
const RETRY_AFTER_S: u32 = 2;

/// A stream's intake with what its requests share.
struct Target {
    intake: Intake,
    /// Bytes of bodies that may still be taken into memory.
    room: Semaphore,
    /// Requests that may begin to write.
    writers: Semaphore,
    /// The partition whose turn it is.
    turn: AtomicUsize,
}

type Targets = Arc<[Target]>;

/// The routes that take events, to be served beside others.
pub fn router(intakes: Vec<Intake>) -> Router {
    let target = |intake: Intake| Target {
        room: Semaphore::new(intake.limits.bodies_bytes_max),
        writers: Semaphore::new(intake.limits.requests_max),
        intake,
        turn: AtomicUsize::new(0),
    };
    let targets: Targets = intakes.into_iter().map(target).collect();
    Router::new().route("/v1/jobs/{job}/streams/{stream}/events", post(take)).with_state(targets)
}

/// Serves the intakes alone, until `until` is done; requests that are being answered then are answered.
pub async fn serve(
    listener: std::net::TcpListener,
    intakes: Vec<Intake>,
    until: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    axum::serve(listener, router(intakes)).with_graceful_shutdown(until).await
}

async fn take(
    State(targets): State<Targets>,
    Path((job, stream)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let position = targets.iter().position(|t| t.intake.job == job && t.intake.stream == stream);
    let position = position.ok_or_else(|| unknown(&targets, &job, &stream))?;
    let target = &targets[position];
    check_open(target)?;
    let form = form(&headers)?;
    let idempotency_key = idempotency_key(&headers)?;
    let partition = partition(target, &headers);
    let (offsets, verdicts) = {
        let (bytes, _room) = bytes(target, &headers, body).await?;
        let _writer = target.writers.acquire().await.expect("writing is never closed");
        let found = records(&bytes, form).map_err(|cause| Problem::new(StatusCode::BAD_REQUEST, cause))?;
        let records = new_records(&found, &headers, idempotency_key.as_deref(), (target.intake.now)());
        // The body may have taken its time.
        check_open(target)?;
        append(target, partition, records).await?
    };
    let status = match bound(target, partition, offsets.end).await {
        true => StatusCode::OK,
        false if will_be_read(target).await => StatusCode::ACCEPTED,
        false => {
            let why =
                "these records may never be read, as another process has taken over or the input was closed: send them again";
            return Err(Problem::unavailable(why, RETRY_AFTER_S));
        }
    };
    // What is not bound yet may be judged by a process with other tables.
    let answer = |(offset, refused): (u64, Option<Rejection>)| match refused.filter(|_| status == StatusCode::OK) {
        None => json!({"partition": partition, "offset": offset}),
        Some(refused) => {
            let (reason, path) = (refused.reason.name(), refused.violations.first().map_or("", |first| &*first.path));
            json!({"partition": partition, "offset": offset, "dead_letter": {"reason": reason, "path": path}})
        }
    };
    let list: Vec<_> = offsets.zip(verdicts).map(answer).collect();
    Ok((status, [(header::CONTENT_TYPE, "application/json")], json!(list).to_string()).into_response())
}

fn check_open(target: &Target) -> Result<(), Problem> {
    match &*target.intake.paused.borrow() {
        Some(reason) => Err(Problem::unavailable(format!("intake is paused: {reason}"), RETRY_AFTER_S)),
        None => Ok(()),
    }
}

fn unknown(targets: &Targets, job: &str, stream: &str) -> Problem {
    let known: Vec<String> = targets.iter().map(|t| format!("{}/{}", t.intake.job, t.intake.stream)).collect();
    let detail = format!("no stream `{stream}` of a job `{job}` takes events over HTTP; these do: {}", known.join(", "));
    Problem::new(StatusCode::NOT_FOUND, detail)
}

fn form(headers: &HeaderMap) -> Result<Form, Problem> {
    let refused = |detail: &str| Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail);
    let encoding = headers.get(header::CONTENT_ENCODING).map(|e| e.as_bytes());
    if encoding.is_some_and(|e| !e.eq_ignore_ascii_case(b"identity")) {
        return Err(refused("compressed bodies are not taken: send it plain"));
    }
    let content_type = headers.get(header::CONTENT_TYPE).map(|t| t.to_str().unwrap_or_default());
    Form::of(content_type).ok_or_else(|| {
        refused("send `content-type: application/json` for a record or an array of them, `application/x-ndjson` for one a line")
    })
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    match key.to_str() {
        Ok(key) if !key.is_empty() && key.len() <= IDEMPOTENCY_KEY_MAX => Ok(Some(key.to_owned())),
        _ => Err(Problem::new(StatusCode::BAD_REQUEST, "`Idempotency-Key` is 1 to 255 visible ASCII characters")),
    }
}

/// A body, and its share of the room.
type Taken<'t> = (Vec<u8>, SemaphorePermit<'t>);

/// Takes a body into memory, within its time.
async fn bytes<'t>(target: &'t Target, headers: &HeaderMap, body: Body) -> Result<Taken<'t>, Problem> {
    let limits = &target.intake.limits;
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|l| l.to_str().ok()).and_then(|l| l.parse::<usize>().ok());
    if declared.is_some_and(|len| len > limits.body_bytes_max) {
        return Err(too_large(limits.body_bytes_max));
    }
    tokio::time::timeout(limits.body_time_max, arriving(target, body)).await.unwrap_or_else(|_| {
        let within = limits.body_time_max.as_secs_f64();
        let detail =
            format!("the body did not arrive within {within} s, and nothing of it was taken: send fewer records at once");
        Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail))
    })
}

/// What has arrived is counted, not what will: whoever stalls keeps no room from others.
async fn arriving(target: &Target, mut body: Body) -> Result<Taken<'_>, Problem> {
    let most = target.intake.limits.body_bytes_max;
    let (mut bytes, mut held) = (Vec::new(), room(target, 0)?);
    while let Some(frame) = body.frame().await {
        let broken = |error| Problem::new(StatusCode::BAD_REQUEST, format!("the body did not arrive: {error}"));
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        if bytes.len() + data.len() > most {
            return Err(too_large(most));
        }
        held.merge(room(target, data.len())?);
        bytes.extend_from_slice(&data);
    }
    Ok((bytes, held))
}

fn room(target: &Target, len: usize) -> Result<SemaphorePermit<'_>, Problem> {
    let busy = || Problem::unavailable("too much is arriving at once", RETRY_AFTER_S);
    let len = u32::try_from(len).map_err(|_| busy())?;
    target.room.try_acquire_many(len).map_err(|_| busy())
}

fn too_large(most: usize) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body has more than {most} bytes: send fewer records at once"))
}

fn new_records(found: &[&[u8]], headers: &HeaderMap, idempotency_key: Option<&str>, now_us: i64) -> Vec<NewRecord> {
    let key = headers.get("caudal-key").map(|k| k.as_bytes().to_vec());
    let record = |(place, bytes): (usize, &&[u8])| NewRecord {
        key: key.clone(),
        headers: idempotency_key
            .map(|k| (IDEMPOTENCY_HEADER.to_owned(), format!("{k}/{place}").into_bytes()))
            .into_iter()
            .collect(),
        payload: Some(bytes.to_vec()),
        time_us: now_us,
    };
    found.iter().enumerate().map(record).collect()
}

fn partition(target: &Target, headers: &HeaderMap) -> i32 {
    match headers.get("caudal-key") {
        Some(key) => target.intake.log.partition_of(key.as_bytes()),
        None => {
            let turn = target.turn.fetch_add(1, Ordering::Relaxed) % target.intake.log.partitions();
            i32::try_from(turn).expect("partitions are counted in 16 bits")
        }
    }
}

/// What was appended where, and for each record whether it is refused.
type Appended = (Range<u64>, Vec<Option<Rejection>>);

async fn append(target: &Target, partition: i32, records: Vec<NewRecord>) -> Result<Appended, Problem> {
    let (log, examine) = (target.intake.log.clone(), target.intake.examine.clone());
    let work = move || {
        let offsets = log.append_batch(partition, &records)?;
        let verdict = |(offset, record)| examine(partition, &message(offset, record));
        Ok((offsets.clone(), offsets.zip(records).map(verdict).collect()))
    };
    let appended = tokio::task::spawn_blocking(work).await;
    let appended = appended.map_err(|error| {
        let why = format!("appending ended unexpectedly: {error}");
        (target.intake.failed)(why.clone());
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, why)
    })?;
    match appended {
        Ok(appended) => Ok(appended),
        Err(error @ LocalLogError::TooLarge { .. }) => Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string())),
        Err(error @ LocalLogError::Sync { .. }) => {
            (target.intake.failed)(error.to_string());
            Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
        }
        Err(error) => Err(Problem::unavailable(error.to_string(), RETRY_AFTER_S)),
    }
}

/// A record as it will be read.
fn message(offset: u64, record: NewRecord) -> Message {
    let NewRecord { key, headers, payload, time_us } = record;
    Message { offset: Offset(offset), key, headers: headers.into(), payload, broker_time_us: Some(time_us) }
}

/// Waits until everything below `end` is bound; whether that came in time.
async fn bound(target: &Target, partition: i32, end: u64) -> bool {
    let mut bound = target.intake.bound.clone();
    let place = usize::try_from(partition).expect("a partition that was appended to");
    let reached = bound.wait_for(|next| next.get(place).is_some_and(|next| *next >= end));
    matches!(tokio::time::timeout(target.intake.limits.wait_max, reached).await, Ok(Ok(_)))
}

/// Whether what is in the log by now is sure to be read.
async fn will_be_read(target: &Target) -> bool {
    let ask = target.intake.will_be_read.clone();
    tokio::task::spawn_blocking(move || ask()).await.unwrap_or(false)
}
