//! What became of events, and the rows they made.

use super::sheet::Sheet;
use crate::serve::snapshot::Snapshot;
use caudal_pipeline::engine::Phase;
use caudal_pipeline::record::{Reason, Verdict};
use prometheus::IntCounterVec;

/// See the module.
pub(super) struct Events {
    received: IntCounterVec,
    accepted: IntCounterVec,
    filtered: IntCounterVec,
    duplicate: IntCounterVec,
    rejected: IntCounterVec,
    late: IntCounterVec,
    too_late: IntCounterVec,
    rows: IntCounterVec,
}

impl Events {
    pub(super) fn new(sheet: &mut Sheet) -> Events {
        let mut of_stream = |name: &str, help: &str| sheet.counters(name, help, &["caudal_job", "stream"]);
        Events {
            received: of_stream(
                "caudal_events_received_total",
                "Events received: accepted, filtered, duplicate and rejected ones add up to it.",
            ),
            accepted: of_stream("caudal_events_accepted_total", "Events that count in every view of the stream."),
            filtered: of_stream("caudal_events_filtered_total", "Events for which the stream's condition does not hold."),
            duplicate: of_stream("caudal_events_duplicate_total", "Events that came before, with the same bytes."),
            late: of_stream("caudal_events_late_total", "Accepted events behind the watermark: they corrected results."),
            too_late: of_stream("caudal_events_too_late_total", "Rejected events that came after their lateness was over."),
            rejected: sheet.counters(
                "caudal_events_rejected_total",
                "Events that became dead letters.",
                &["caudal_job", "stream", "reason"],
            ),
            rows: sheet.counters(
                "caudal_rows_total",
                "Row changes: new or changed while open, corrected after they were complete, gone.",
                &["caudal_job", "view", "kind"],
            ),
        }
    }

    pub(super) fn tell(&self, job: &Snapshot) {
        if matches!(job.published.phase, None | Some(Phase::Replaying)) {
            return;
        }
        for (position, stream) in (0u32..).zip(&job.plan.streams) {
            self.stream(job, position, &stream.name);
        }
        for (position, view) in (0u32..).zip(&job.plan.views) {
            let (changed, corrected, gone) = job.published.status.row_counts.get(&position).copied().unwrap_or_default();
            for (kind, rows) in [("new", changed - corrected), ("corrected", corrected), ("gone", gone)] {
                self.rows.with_label_values(&[&job.plan.name, &view.name, kind]).inc_by(rows);
            }
        }
    }

    /// Every series of a stream is there from the beginning, so that a first occurrence is seen as a change.
    fn stream(&self, job: &Snapshot, position: u32, stream: &str) {
        let counts = &job.published.status.counts;
        let of = |verdict: Verdict| counts.get(&(position, verdict)).copied().unwrap_or_default();
        let labels: [&str; 2] = [&job.plan.name, stream];
        let (accepted, late) = of(Verdict::Accepted);
        self.accepted.with_label_values(&labels).inc_by(accepted);
        self.late.with_label_values(&labels).inc_by(late);
        self.filtered.with_label_values(&labels).inc_by(of(Verdict::Filtered).0);
        self.duplicate.with_label_values(&labels).inc_by(of(Verdict::Duplicate).0);
        self.too_late.with_label_values(&labels).inc_by(of(Verdict::Rejected(Reason::TooLate)).0);
        for reason in Reason::ALL {
            let rejected = self.rejected.with_label_values(&[labels[0], stream, reason.name()]);
            rejected.inc_by(of(Verdict::Rejected(reason)).0);
        }
        let all = counts.iter().filter(|((of, _), _)| *of == position).map(|(_, (records, _))| records);
        self.received.with_label_values(&labels).inc_by(all.sum());
    }
}
