//! Every metric of a job with one of everything, in the words that Prometheus reads.

use super::*;
use crate::run::{Published, Shared, SinkState, SinkStatus, Stop};
use caudal_pipeline::engine::{Finished, HeldBack, Lag, Phase};
use caudal_pipeline::record::{Reason, Verdict};
use caudal_pipeline::time::{Epoch, EventTime, Version};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

fn snapshot(phase: Option<Phase>) -> Snapshot {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/jobfile/good/wind.yaml");
    let job = crate::load::job(&path, &[]).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let shared = Shared::new(std::sync::Arc::new(job.plan), std::path::PathBuf::new());
    let mut snapshot = Snapshot::of(&shared);
    snapshot.published = Published { phase, generation: 3, ..Published::default() };
    let status = &mut snapshot.published.status;
    (status.epoch, status.opened) = (Epoch(9), Version(1_500_000));
    status.watermarks = vec![EventTime(2_250_000)];
    status.checkpoint = Some((Epoch(8), Version(1_000_000)));
    status.held_back = Some(HeldBack::DiskFull);
    status.lag = BTreeMap::from([(0, Lag { read: 3, bound: 4, acknowledged: 50 })]);
    status.begins = BTreeMap::from([("per_hour".to_owned(), EventTime(3_500_000))]);
    status.held.open = BTreeMap::from([(0, 12), (1, 2)]);
    status.state_bytes = [("ids/readings", 700), ("view/per_minute", 800), ("view/per_hour", 900)].map(own).into();
    status.behind_bytes = BTreeMap::from([("cold".to_owned(), 600)]);
    status.row_counts = BTreeMap::from([(0, (10, 3, 1))]);
    status.counts = BTreeMap::from([
        ((0, Verdict::Accepted), (70, 5)),
        ((0, Verdict::Filtered), (7, 1)),
        ((0, Verdict::Duplicate), (6, 2)),
        ((0, Verdict::Rejected(Reason::TooLate)), (4, 4)),
        ((0, Verdict::Rejected(Reason::Schema)), (3, 0)),
    ]);
    let sink = SinkStatus {
        state: SinkState::Retrying("away".into()),
        written: Version(500_000),
        retries: 2,
        losses: 1,
        rows: 8,
        ..SinkStatus::default()
    };
    snapshot.sinks = BTreeMap::from([("cold".to_owned(), sink)]);
    snapshot.memory_bound = Some(1 << 30);
    snapshot.alarms = 2;
    snapshot.durations.finished(&Finished { epochs: vec![1_000_000, 950_000], checkpoints: vec![200_000] }, 1_100_000);
    snapshot.durations.written("cold", Duration::from_millis(4));
    snapshot.durations.readable("cold", [100_000, 1_300_000].into_iter(), 1_200_000);
    snapshot.trouble = BTreeMap::from([(0, "no broker".to_owned())]);
    snapshot
}

fn own((operator, bytes): (&str, u64)) -> (String, u64) {
    (operator.to_owned(), bytes)
}

#[test]
fn figures_come_out_under_their_names() {
    let text = text(&[snapshot(Some(Phase::Live))]).unwrap();
    for line in [
        r#"caudal_phase{caudal_job="wind-farm",phase="live"} 1"#,
        r#"caudal_phase{caudal_job="wind-farm",phase="replaying"} 0"#,
        r#"caudal_generation{caudal_job="wind-farm"} 3"#,
        r#"caudal_alarms_total{caudal_job="wind-farm"} 2"#,
        r#"caudal_epoch{caudal_job="wind-farm"} 9"#,
        r#"caudal_epoch_timestamp_seconds{caudal_job="wind-farm"} 1.5"#,
        r#"caudal_intake_paused{caudal_job="wind-farm",reason="disk_full"} 1"#,
        r#"caudal_intake_paused{caudal_job="wind-farm",reason="in_flight"} 0"#,
        r#"caudal_checkpoint_timestamp_seconds{caudal_job="wind-farm"} 1"#,
        r#"caudal_events_received_total{caudal_job="wind-farm",stream="readings"} 90"#,
        r#"caudal_events_accepted_total{caudal_job="wind-farm",stream="readings"} 70"#,
        r#"caudal_events_filtered_total{caudal_job="wind-farm",stream="readings"} 7"#,
        r#"caudal_events_duplicate_total{caudal_job="wind-farm",stream="readings"} 6"#,
        r#"caudal_events_late_total{caudal_job="wind-farm",stream="readings"} 5"#,
        r#"caudal_events_too_late_total{caudal_job="wind-farm",stream="readings"} 4"#,
        r#"caudal_events_rejected_total{caudal_job="wind-farm",reason="schema",stream="readings"} 3"#,
        r#"caudal_events_rejected_total{caudal_job="wind-farm",reason="malformed",stream="readings"} 0"#,
        r#"caudal_watermark_timestamp_seconds{caudal_job="wind-farm",stream="readings"} 2.25"#,
        r#"caudal_source_lag_messages{caudal_job="wind-farm",stage="bound",stream="readings"} 4"#,
        r#"caudal_source_lag_messages{caudal_job="wind-farm",stage="read",stream="readings"} 3"#,
        r#"caudal_source_lag_messages{caudal_job="wind-farm",stage="acknowledged",stream="readings"} 50"#,
        r#"caudal_windows_open{caudal_job="wind-farm",view="per_minute"} 12"#,
        r#"caudal_windows_open{caudal_job="wind-farm",view="per_hour"} 2"#,
        r#"caudal_view_begin_timestamp_seconds{caudal_job="wind-farm",view="per_hour"} 3.5"#,
        r#"caudal_state_bytes{caudal_job="wind-farm",operator="ids",stream="readings",view=""} 700"#,
        r#"caudal_state_bytes{caudal_job="wind-farm",operator="windows",stream="readings",view="per_minute"} 800"#,
        r#"caudal_state_bytes{caudal_job="wind-farm",operator="rollup",stream="readings",view="per_hour"} 900"#,
        r#"caudal_memory_bound_bytes{caudal_job="wind-farm"} 1073741824"#,
        r#"caudal_source_up{caudal_job="wind-farm",stream="readings"} 0"#,
        r#"caudal_rows_total{caudal_job="wind-farm",kind="new",view="per_minute"} 7"#,
        r#"caudal_rows_total{caudal_job="wind-farm",kind="corrected",view="per_minute"} 3"#,
        r#"caudal_rows_total{caudal_job="wind-farm",kind="gone",view="per_minute"} 1"#,
        r#"caudal_rows_total{caudal_job="wind-farm",kind="new",view="per_hour"} 0"#,
        r#"caudal_sink_up{caudal_job="wind-farm",sink="cold"} 0"#,
        r#"caudal_sink_stopped{caudal_job="wind-farm",sink="cold"} 0"#,
        r#"caudal_sink_frontier_timestamp_seconds{caudal_job="wind-farm",sink="cold"} 0.5"#,
        r#"caudal_sink_behind_bytes{caudal_job="wind-farm",sink="cold"} 600"#,
        r#"caudal_epoch_duration_seconds_bucket{caudal_job="wind-farm",le="0.1"} 1"#,
        r#"caudal_epoch_duration_seconds_bucket{caudal_job="wind-farm",le="0.2"} 2"#,
        r#"caudal_epoch_duration_seconds_sum{caudal_job="wind-farm"} 0.25"#,
        r#"caudal_epoch_duration_seconds_count{caudal_job="wind-farm"} 2"#,
        r#"caudal_log_append_duration_seconds_count{caudal_job="wind-farm"} 0"#,
        r#"caudal_checkpoint_duration_seconds_sum{caudal_job="wind-farm"} 0.9"#,
        r#"caudal_sink_write_duration_seconds_bucket{caudal_job="wind-farm",sink="cold",le="0.002"} 0"#,
        r#"caudal_sink_write_duration_seconds_bucket{caudal_job="wind-farm",sink="cold",le="0.005"} 1"#,
        r#"caudal_sink_readable_seconds_sum{caudal_job="wind-farm",sink="cold"} 1.1"#,
        r#"caudal_sink_readable_seconds_count{caudal_job="wind-farm",sink="cold"} 2"#,
        r#"caudal_sink_retries_total{caudal_job="wind-farm",sink="cold"} 2"#,
        r#"caudal_sink_losses_total{caudal_job="wind-farm",sink="cold"} 1"#,
        r#"caudal_sink_rows_total{caudal_job="wind-farm",sink="cold"} 8"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
}

/// Counts go on from a checkpoint and are replayed up to where they were: shown meanwhile, they would go back.
#[test]
fn counts_are_left_out_until_bound_epochs_are_replayed() {
    for phase in [None, Some(Phase::Replaying)] {
        let text = text(&[snapshot(phase)]).unwrap();
        assert!(!text.contains("caudal_events_") && !text.contains("caudal_rows_"), "{text}");
        assert!(text.contains("caudal_phase{"), "{text}");
    }
}

#[test]
fn the_ends_of_time_are_no_timestamps() {
    let mut job = snapshot(Some(Phase::Live));
    job.stopping = Stop::Drain;
    for end in [EventTime::MIN, EventTime::MAX] {
        job.published.status.watermarks = vec![end];
        let jobs = [job];
        assert!(!text(&jobs).unwrap().contains("caudal_watermark"));
        [job] = jobs;
    }
}
