//! What the state holds, and the memory that it may take.

use super::seconds;
use super::sheet::Sheet;
use crate::serve::snapshot::Snapshot;
use caudal_pipeline::plan::ViewInput;
use prometheus::GaugeVec;

/// See the module.
pub(super) struct State {
    windows: GaugeVec,
    begins: GaugeVec,
    bytes: GaugeVec,
    bound: GaugeVec,
    declared: GaugeVec,
}

impl State {
    pub(super) fn new(sheet: &mut Sheet) -> State {
        State {
            windows: sheet.gauges(
                "caudal_windows_open",
                "Windows with rows that the watermark has not passed, one for each group; of sliding windows the panes they share.",
                &["caudal_job", "view"],
            ),
            begins: sheet.gauges(
                "caudal_view_begin_timestamp_seconds",
                "Event time from which on a view has all windows; absent for a view that was there from the beginning.",
                &["caudal_job", "view"],
            ),
            bytes: sheet.gauges(
                "caudal_state_bytes",
                "Bytes of state as saved in the newest checkpoint: remembered ids, rows of windows, what roll-ups are made from.",
                &["caudal_job", "operator", "stream", "view"],
            ),
            bound: sheet.gauges(
                "caudal_memory_bound_bytes",
                "Memory that the job can need at most, as `caudal check` prints it; absent if the limits bound nothing.",
                &["caudal_job"],
            ),
            declared: sheet.gauges("caudal_memory_limit_bytes", "Memory that the job declares as its limit.", &["caudal_job"]),
        }
    }

    pub(super) fn tell(&self, job: &Snapshot) {
        let (name, status) = (job.plan.name.as_str(), &job.published.status);
        for (position, view) in (0u32..).zip(&job.plan.views) {
            if let Some(windows) = status.held.open.get(&position) {
                self.windows.with_label_values(&[name, &view.name]).set(*windows as f64);
            }
            if let Some(begin) = status.begins.get(&view.name) {
                self.begins.with_label_values(&[name, &view.name]).set(seconds(begin.0));
            }
            let stream = job.stream(view.stream as u32);
            let operator = if matches!(view.from, ViewInput::View { .. }) { "rollup" } else { "windows" };
            if let Some(bytes) = status.state_bytes.get(&format!("view/{}", view.name)) {
                self.bytes.with_label_values(&[name, operator, stream, &view.name]).set(*bytes as f64);
            }
        }
        for stream in &job.plan.streams {
            if let Some(bytes) = status.state_bytes.get(&format!("ids/{}", stream.name)) {
                self.bytes.with_label_values(&[name, "ids", &stream.name, ""]).set(*bytes as f64);
            }
        }
        if let Some(bytes) = job.memory_bound {
            self.bound.with_label_values(&[name]).set(bytes as f64);
        }
        if let Some(bytes) = job.plan.limits.memory_bytes {
            self.declared.with_label_values(&[name]).set(bytes as f64);
        }
    }
}
