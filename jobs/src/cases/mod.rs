//! `caudal test`: a job's own cases, run against the real engine in this process, in time that only the cases move.
//!
//! ```text
//! cases/*.yaml ─read─▶ Case: steps ─stage─▶ Engine over memory ─expect─▶ Report
//! ```
//! A case file holds cases by name, each a list of steps, and events that they share:
//!
//! ```yaml
//! start: 2026-03-21T10:00:00Z         # the clock when a case begins; `10:05` below means that day
//! events:
//!   reading: {generator_id: gen-01, power: {active: 100}}
//! cases:
//!   a late reading corrects its minute:
//!     - send: {readings: [{$like: reading, timestamp: '2026-03-21T10:00:05Z'}, not json]}
//!     - advance: 5m
//!     - expect:
//!         views: {per_minute: [{window_start: 10:00, farm: north, mean_power: 100, state: complete}]}
//!         dead_letters: [{reason: malformed}]
//!         counts: {readings: {received: 2, accepted: 1}}
//! ```
//!
//! | step | does |
//! |---|---|
//! | `send: {stream: [event…]}` | sends, reads and finishes them all; takes one second |
//! | `advance: 5m` | lets time pass, wall clock and running time, while nothing arrives |
//! | `watermark: {stream: time}` | lets time pass, while nothing arrives, until the stream's event time is complete up to there |
//! | `idle: stream` | lets time pass for as long as the stream's `idle_after` |
//! | `restart: {workers: 3, how: kill}` | `kill` leaves nothing but the state, `stop` drains and checkpoints; then starts anew |
//! | `expect: {…}` | compares with what is there now |
//!
//! *Events.* A map is sent as JSON, a text as it is. In a map, `$like: name` starts from a shared event and
//! `$without: [/pointer]` takes parts away; `$text`, `$hex` and `$tombstone: true` replace the body, `$size: 2MiB` pads it;
//! `$topic`, `$partition`, `$key` and `$header.X` say how it is sent, `$times` how often.
//!
//! *Watermarks.* Nothing sets a watermark: it follows the events, and once all partitions are idle it follows time. That
//! rule is what `watermark` relies on, so it takes as long as it would in life, and reaches the time or up to a second
//! more. Where the job says `all_idle: hold`, or nothing was sent, it fails and says so: send an event instead.
//!
//! *Expectations.* `views: {name: [row…]}` are all rows of a view, `{contains: [row…]}` some of them. Only columns that are
//! written are compared; `window_start`, `window_end` and the group tell which row is meant. `state` is as of now: `open`,
//! `complete` or `final`; rows of merged sessions show where `gone` is asked for. `dead_letters` are all of them so far:
//! `path` is that of any violation, `message` and `payload` are words within. `counts: {stream: {received: 2, late: 1}}`
//! and `watermarks: {stream: time}` are as of now.
//!
//! Sources, state and clock are in memory, so that a case gives the same result everywhere. Messages are decoded, judged
//! and aggregated by the job's own plan; its sinks are not started. Nothing sleeps.

mod act;
mod compare;
mod event;
mod expectation;
mod feed;
mod found;
mod grammar;
mod moment;
mod read;
mod report;
mod stage;
mod value;

pub use read::{Case, CasesError};
pub use report::{Failure, Outcome, Report};

use crate::jobfile::Job;
use std::path::Path;

/// Reads the cases of the job in `folder` and runs those whose name contains `only`. Nothing is printed.
pub fn run(job: &Job, folder: &Path, only: Option<&str>) -> Result<Report, CasesError> {
    let cases = read::cases(job, folder)?;
    let wanted = cases.iter().filter(|case| only.is_none_or(|part| case.name.contains(part)));
    Ok(Report { job: job.plan.name.clone(), outcomes: wanted.map(|case| act::outcome(job, case)).collect() })
}
