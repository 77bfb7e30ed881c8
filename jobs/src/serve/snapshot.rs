//! One look at a job: everything that metrics and readiness are told from.

use crate::run::{Durations, Published, Shared, SinkStatus, Stop};
use caudal_pipeline::plan::Plan;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A job as it was published last. All counts in it are as of one epoch, so they add up.
pub(super) struct Snapshot {
    pub(super) plan: Arc<Plan>,
    pub(super) published: Published,
    pub(super) sinks: BTreeMap<String, SinkStatus>,
    /// Why a source cannot be used now, by stream.
    pub(super) trouble: BTreeMap<u32, String>,
    pub(super) stopping: Stop,
    /// What the job can need at most, where that is bounded.
    pub(super) memory_bound: Option<u64>,
    /// How often something went wrong but was survived.
    pub(super) alarms: u64,
    pub(super) durations: Arc<Durations>,
}

impl Snapshot {
    /// Looks at a job.
    pub(super) fn of(shared: &Shared) -> Snapshot {
        let published = shared.published();
        let mut trouble = shared.discovery();
        trouble.extend(published.status.trouble.clone());
        Snapshot {
            plan: shared.plan.clone(),
            published,
            sinks: shared.sinks(),
            trouble,
            stopping: shared.stopping(),
            memory_bound: shared.memory_bound(),
            alarms: shared.alarm_count(),
            durations: shared.durations.clone(),
        }
    }

    /// A stream's name.
    pub(super) fn stream(&self, position: u32) -> &str {
        &self.plan.streams[position as usize].name
    }
}
