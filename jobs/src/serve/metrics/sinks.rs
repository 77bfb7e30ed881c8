//! How far each sink is, and how it fares.

use super::seconds;
use super::sheet::Sheet;
use crate::run::{SinkState, SinkStatus};
use crate::serve::snapshot::Snapshot;
use prometheus::{GaugeVec, IntCounterVec};

/// See the module.
pub(super) struct Sinks {
    up: GaugeVec,
    stopped: GaugeVec,
    frontier: GaugeVec,
    behind: GaugeVec,
    retries: IntCounterVec,
    losses: IntCounterVec,
    rows: IntCounterVec,
    set_aside: IntCounterVec,
    dead_letters: IntCounterVec,
}

impl Sinks {
    pub(super) fn new(sheet: &mut Sheet) -> Sinks {
        let labels = &["caudal_job", "sink"];
        Sinks {
            up: sheet.gauges("caudal_sink_up", "1 if the sink's last attempt to write succeeded.", labels),
            stopped: sheet.gauges(
                "caudal_sink_stopped",
                "1 if the store refused the sink for good: someone has to act, its rows wait in the ledger.",
                labels,
            ),
            frontier: sheet.gauges(
                "caudal_sink_frontier_timestamp_seconds",
                "Opening time of the epoch up to which everything is written.",
                labels,
            ),
            behind: sheet.gauges(
                "caudal_sink_behind_bytes",
                "Bytes written to the ledger after what the sink has passed; \
                 a file that was sealed before the start counts whole if it holds some of them.",
                labels,
            ),
            retries: sheet.counters("caudal_sink_retries_total", "Failed attempts to write, since the start.", labels),
            losses: sheet.counters(
                "caudal_sink_losses_total",
                "Times the store had lost writes, which were then written again, since the start.",
                labels,
            ),
            rows: sheet.counters("caudal_sink_rows_total", "Rows written, since the start.", labels),
            set_aside: sheet.counters("caudal_sink_set_aside_total", "Rows the store will never take, since the start.", labels),
            dead_letters: sheet.counters("caudal_sink_dead_letters_total", "Dead letters written, since the start.", labels),
        }
    }

    pub(super) fn tell(&self, job: &Snapshot) {
        for (sink, status) in &job.sinks {
            self.sink([&job.plan.name, sink], status);
        }
        for (sink, bytes) in &job.published.status.behind_bytes {
            self.behind.with_label_values(&[&job.plan.name, sink]).set(*bytes as f64);
        }
    }

    fn sink(&self, labels: [&str; 2], status: &SinkStatus) {
        let flag = |on: bool| f64::from(u8::from(on));
        self.up.with_label_values(&labels).set(flag(status.state == SinkState::Ok));
        self.stopped.with_label_values(&labels).set(flag(matches!(status.state, SinkState::Stopped(_))));
        if status.written.0 > 0 {
            self.frontier.with_label_values(&labels).set(seconds(status.written.0));
        }
        self.retries.with_label_values(&labels).inc_by(status.retries);
        self.losses.with_label_values(&labels).inc_by(status.losses);
        self.rows.with_label_values(&labels).inc_by(status.rows);
        self.set_aside.with_label_values(&labels).inc_by(status.set_aside);
        self.dead_letters.with_label_values(&labels).inc_by(status.dead_letters);
    }
}
