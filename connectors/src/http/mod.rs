//! Events over HTTP: `POST /v1/jobs/{job}/streams/{stream}/events`.
//!
//! The body is one JSON value, a JSON array with one record for each element (both `application/json`), or NDJSON
//! (`application/x-ndjson`). The records go to the stream's local log, all of a request to one partition and in order:
//! that of the header `Caudal-Key`, if there is one, else each partition in turn. `Idempotency-Key` and the record's
//! place in the body become the record's header `caudal-idempotency` (`key/0`), its id where the job names none.
//!
//! ```text
//! body ─split─▶ records ─append, sync─▶ local log ─▶ engine ─Bind─▶ 200
//!   [{"partition":0,"offset":12}, {"partition":0,"offset":13,"dead_letter":{"reason":"schema","path":"/power"}}, …]
//! ```
//!
//! The guarantee: 200 means that the records are on the disk *and* bound to an epoch, so they count for ever. 202 means
//! that they are on the disk and that the engine had not bound them in time; it will. Any other status means that
//! none of them was taken, but for 500, after which the process ends. A record that is refused for what it is, or the
//! first such element of one that is exploded, is answered as a dead letter with the first reason and its path; whether
//! one is a duplicate, a conflict, too late or too far in the future is seen later, in the stores. Errors are `application/problem+json` and name the place in the body.
//!
//! On failure: while intake is paused, or the disk full, 503 with `Retry-After`. Two of the same request with the same
//! `Idempotency-Key` are two records with one id, which the stream's deduplication counts once.

mod body;
pub mod config;
mod problem;
mod router;

pub use config::{Examine, IDEMPOTENCY_HEADER, Intake, Limits};
pub use router::{router, serve};
