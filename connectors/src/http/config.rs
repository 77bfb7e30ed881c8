//! What the intake needs from the one who runs it.

use crate::local_log::LocalLog;
use caudal_pipeline::record::{Message, Rejection};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The header of a record that came with an `Idempotency-Key`: the key, a slash, its place in the body.
pub const IDEMPOTENCY_HEADER: &str = "caudal-idempotency";

/// Tells whether a message of a partition will be refused for what it is, whatever came before it.
pub type Examine = Arc<dyn Fn(i32, &Message) -> Option<Rejection> + Send + Sync>;

/// One stream that takes events over HTTP.
#[derive(Clone)]
pub struct Intake {
    /// The job's name, as in the address.
    pub job: String,
    /// The stream's name, as in the address.
    pub stream: String,
    /// Where its records go.
    pub log: LocalLog,
    /// For each partition the next offset that is not bound durably yet.
    pub bound: watch::Receiver<Vec<u64>>,
    /// Why nothing is taken now, if that is so.
    pub paused: watch::Receiver<Option<String>>,
    /// Whether what was appended before this is asked is sure to be read: by this process, or by the next one. Not if
    /// another has taken over, if the input is closed with this run, or if nobody knows.
    pub will_be_read: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Tells which records are refused for what they are.
    pub examine: Examine,
    /// Tells the time, microseconds since 1970.
    pub now: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// Told when nobody knows what is on the disk: the process must end.
    pub failed: Arc<dyn Fn(String) + Send + Sync>,
    /// How much is taken at once.
    pub limits: Limits,
}

/// How much is taken at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of one request.
    pub body_bytes_max: usize,
    /// Of all requests whose records are not in the log yet; a body counts as far as it has arrived.
    pub bodies_bytes_max: usize,
    /// How long a body may take to arrive.
    pub body_time_max: Duration,
    /// Requests whose records are written at the same time.
    pub requests_max: usize,
    /// How long the answer waits for the binding before it is 202.
    pub wait_max: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            body_bytes_max: 16 << 20,
            bodies_bytes_max: 512 << 20,
            body_time_max: Duration::from_secs(60),
            requests_max: 32,
            wait_max: Duration::from_secs(30),
        }
    }
}
