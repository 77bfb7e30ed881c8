//! The engine's progress and what it holds.

use super::seconds;
use super::sheet::Sheet;
use crate::serve::snapshot::Snapshot;
use caudal_pipeline::engine::{HeldBack, Phase};
use prometheus::{GaugeVec, IntCounterVec};

const PHASES: [(&str, Option<Phase>); 5] = [
    ("starting", None),
    ("replaying", Some(Phase::Replaying)),
    ("live", Some(Phase::Live)),
    ("draining", Some(Phase::Draining)),
    ("done", Some(Phase::Done)),
];

/// See the module.
pub(super) struct Engine {
    phase: GaugeVec,
    generation: GaugeVec,
    epoch: GaugeVec,
    epoch_opened: GaugeVec,
    in_flight: GaugeVec,
    paused: GaugeVec,
    held_back: IntCounterVec,
    ledger: GaugeVec,
    checkpoint: GaugeVec,
    alarms: IntCounterVec,
}

impl Engine {
    pub(super) fn new(sheet: &mut Sheet) -> Engine {
        let job = &["caudal_job"];
        Engine {
            phase: sheet.gauges("caudal_phase", "1 for what the job is doing now, 0 for the rest.", &["caudal_job", "phase"]),
            generation: sheet.gauges("caudal_generation", "Starts of the job so far; the highest one may write.", job),
            epoch: sheet.gauges("caudal_epoch", "The last epoch in the ledger; all counts are as of it.", job),
            epoch_opened: sheet.gauges(
                "caudal_epoch_timestamp_seconds",
                "When the last epoch in the ledger was opened: results are as of then.",
                job,
            ),
            in_flight: sheet.gauges("caudal_in_flight_bytes", "Bytes of messages whose epoch is not finished.", job),
            paused: sheet.gauges(
                "caudal_intake_paused",
                "1 for the reason why nothing is read now, 0 for the rest.",
                &["caudal_job", "reason"],
            ),
            held_back: sheet.counters(
                "caudal_intake_held_back_total",
                "Times that a worker did not read because too much was in flight, since the start.",
                job,
            ),
            ledger: sheet.gauges("caudal_ledger_resident_bytes", "Bytes of the ledger in memory.", job),
            checkpoint: sheet.gauges(
                "caudal_checkpoint_timestamp_seconds",
                "When the newest checkpoint's epoch was opened.",
                job,
            ),
            alarms: sheet.counters(
                "caudal_alarms_total",
                "Times that something went wrong and was survived, since the start: a damaged checkpoint, a full disk, a row set aside.",
                job,
            ),
        }
    }

    pub(super) fn tell(&self, job: &Snapshot) {
        let (name, published) = (job.plan.name.as_str(), &job.published);
        let status = &published.status;
        for (word, phase) in PHASES {
            let now = f64::from(u8::from(phase == published.phase));
            self.phase.with_label_values(&[name, word]).set(now);
        }
        self.alarms.with_label_values(&[name]).inc_by(job.alarms);
        if published.phase.is_none() {
            return;
        }
        self.generation.with_label_values(&[name]).set(published.generation as f64);
        self.epoch.with_label_values(&[name]).set(status.epoch.0 as f64);
        self.in_flight.with_label_values(&[name]).set(status.in_flight_bytes as f64);
        self.held_back.with_label_values(&[name]).inc_by(status.intake_paused);
        for reason in HeldBack::ALL {
            let now = f64::from(u8::from(status.held_back == Some(reason)));
            self.paused.with_label_values(&[name, reason.name()]).set(now);
        }
        self.ledger.with_label_values(&[name]).set(status.ledger_bytes as f64);
        if status.opened.0 > 0 {
            self.epoch_opened.with_label_values(&[name]).set(seconds(status.opened.0));
        }
        if let Some((_, opened)) = status.checkpoint {
            self.checkpoint.with_label_values(&[name]).set(seconds(opened.0));
        }
    }
}
