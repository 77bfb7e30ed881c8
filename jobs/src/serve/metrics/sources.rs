//! Where streams stand: watermark, what is unread, and whether sources answer.

use super::seconds;
use super::sheet::Sheet;
use crate::serve::snapshot::Snapshot;
use caudal_pipeline::plan::StreamInput;
use caudal_pipeline::time::EventTime;
use prometheus::GaugeVec;

/// See the module.
pub(super) struct Sources {
    watermark: GaugeVec,
    lag: GaugeVec,
    up: GaugeVec,
}

impl Sources {
    pub(super) fn new(sheet: &mut Sheet) -> Sources {
        Sources {
            watermark: sheet.gauges(
                "caudal_watermark_timestamp_seconds",
                "Event time up to which a stream is taken to be there; absent before the first event.",
                &["caudal_job", "stream"],
            ),
            lag: sheet.gauges(
                "caudal_source_lag_messages",
                "Messages up to the source's end, where it tells it, that are not read, not bound in the commit log, \
                 or not acknowledged by a checkpoint.",
                &["caudal_job", "stream", "stage"],
            ),
            up: sheet.gauges(
                "caudal_source_up",
                "1 if the stream's source can be read, 0 while it is in trouble.",
                &["caudal_job", "stream"],
            ),
        }
    }

    pub(super) fn tell(&self, job: &Snapshot) {
        let (name, status) = (job.plan.name.as_str(), &job.published.status);
        for ((position, stream), watermark) in (0u32..).zip(&job.plan.streams).zip(&status.watermarks) {
            if !matches!(*watermark, EventTime::MIN | EventTime::MAX) {
                self.watermark.with_label_values(&[name, &stream.name]).set(seconds(watermark.0));
            }
            if matches!(stream.from, StreamInput::Source(_)) {
                let up = !job.trouble.contains_key(&position);
                self.up.with_label_values(&[name, &stream.name]).set(f64::from(u8::from(up)));
            }
        }
        for (position, lag) in &status.lag {
            for (stage, messages) in [("read", lag.read), ("bound", lag.bound), ("acknowledged", lag.acknowledged)] {
                self.lag.with_label_values(&[name, job.stream(*position), stage]).set(messages as f64);
            }
        }
    }
}
