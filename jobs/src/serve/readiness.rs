//! Whether a process should be sent work: a function from what is published to an answer.

use super::snapshot::Snapshot;
use crate::run::Stop;
use caudal_pipeline::engine::Phase;

/// Why the process is not ready, a line each; none: it is. A dead store is no reason: it delays only itself.
pub(super) fn reasons(jobs: &[Snapshot]) -> Vec<String> {
    jobs.iter().flat_map(reasons_of).collect()
}

fn reasons_of(job: &Snapshot) -> Vec<String> {
    let name = &job.plan.name;
    let phase = match (job.stopping, job.published.phase) {
        (Stop::Force, _) => Some("the run has ended"),
        (Stop::Drain, _) => Some("draining: what was read is being finished"),
        (Stop::No, None) => Some("starting: loading its state"),
        (Stop::No, Some(Phase::Replaying)) => Some("replaying what was bound before the start"),
        (Stop::No, Some(Phase::Draining | Phase::Done)) => Some("draining: its input has ended"),
        (Stop::No, Some(Phase::Live)) => None,
    };
    let phase = phase.map(|phase| format!("{name}: {phase}"));
    let sources = job.trouble.iter().map(|(stream, why)| format!("{name}: source of stream {}: {why}", job.stream(*stream)));
    phase.into_iter().chain(sources).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Shared;
    use caudal_pipeline::plan::{Limits, Plan};
    use std::path::PathBuf;
    use std::sync::Arc;

    fn job(phase: Option<Phase>, stopping: Stop) -> Snapshot {
        let plan = Plan { name: "wind".into(), limits: Limits::default(), tables: vec![], streams: vec![], views: vec![] };
        let mut snapshot = Snapshot::of(&Shared::new(Arc::new(plan), PathBuf::new()));
        snapshot.published.phase = phase;
        snapshot.stopping = stopping;
        snapshot
    }

    #[test]
    fn only_a_live_job_that_goes_on_is_ready() {
        for (phase, stopping, words) in [
            (None, Stop::No, "starting"),
            (Some(Phase::Replaying), Stop::No, "replaying"),
            (Some(Phase::Live), Stop::No, ""),
            (Some(Phase::Live), Stop::Drain, "draining"),
            (Some(Phase::Draining), Stop::No, "its input has ended"),
            (Some(Phase::Done), Stop::Force, "ended"),
        ] {
            let reasons = reasons(&[job(phase, stopping)]).join("\n");
            assert_eq!(reasons.is_empty(), words.is_empty(), "{phase:?} {stopping:?}: {reasons}");
            assert!(reasons.contains(words), "{reasons}");
        }
    }

    #[test]
    fn one_job_that_is_not_ready_is_named() {
        let jobs = [job(Some(Phase::Live), Stop::No), job(None, Stop::No)];
        assert_eq!(reasons(&jobs), ["wind: starting: loading its state"]);
    }
}
