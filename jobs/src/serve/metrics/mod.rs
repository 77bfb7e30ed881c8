//! What Prometheus is told: built anew at each scrape from what is published, so every figure of a job is as of one
//! epoch and `received = accepted + filtered + duplicate + rejected` holds in every scrape.
//!
//! Names begin with `caudal_`, units are base units, each job's series carry `caudal_job` (`job` is Prometheus's own).
//! A group or an id is never a label: the number of series is a property of the job file.
//!
//! Counts of events and rows are state (they survive restarts). They are left out until the epochs that were bound
//! before a start are replayed: shown earlier they would go back, which Prometheus takes for a reset and counts twice.
//! Histograms are kept while the job runs ([`Durations`](crate::run::Durations)) and begin anew with the process.

mod engine;
mod events;
mod process;
mod sheet;
mod sinks;
mod sources;
mod state;

use super::snapshot::Snapshot;
use engine::Engine;
use events::Events;
use sheet::Sheet;
use sinks::Sinks;
use sources::Sources;
use state::State;

/// The content type of [`text`].
pub(super) const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// All metrics of `jobs` in Prometheus's text format.
pub(super) fn text(jobs: &[Snapshot]) -> Result<String, prometheus::Error> {
    let mut sheet = Sheet::default();
    let build = sheet.gauges("caudal_build_info", "Always 1; the labels tell which build this is.", &["version"]);
    build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
    process::tell(&mut sheet);
    let engine = Engine::new(&mut sheet);
    let events = Events::new(&mut sheet);
    let sources = Sources::new(&mut sheet);
    let state = State::new(&mut sheet);
    let sinks = Sinks::new(&mut sheet);
    for job in jobs {
        engine.tell(job);
        events.tell(job);
        sources.tell(job);
        state.tell(job);
        sinks.tell(job);
        sheet.histograms(&job.durations);
    }
    sheet.text()
}

/// Microseconds since 1970 as seconds.
fn seconds(us: i64) -> f64 {
    us as f64 / 1e6
}

#[cfg(test)]
mod tests;
