//! Figures of a running job: they add up in every scrape, go on after a restart, and promtool has nothing to say.

use crate::harness::{FAULTY, Folder, Run, loopback, samples, sum, until};
use caudal_jobs::run::{Settings, Stop};
use caudal_jobs::serve::PublicPort;
use caudal_pipeline::time::Span;
use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

/// What becomes of an event.
const KINDS: [&str; 4] = ["accepted", "filtered", "duplicate", "rejected"];
/// The same, and what accepted and rejected ones may be beside.
const ALL: [&str; 6] = ["accepted", "filtered", "duplicate", "rejected", "late", "too_late"];

/// What has a value once a job has run for a little while.
const MOVING: [&str; 8] = [
    "caudal_epoch_duration_seconds_count",
    "caudal_log_append_duration_seconds_count",
    "caudal_checkpoint_duration_seconds_count",
    "caudal_sink_write_duration_seconds_count",
    "caudal_sink_readable_seconds_count",
    "caudal_windows_open",
    "caudal_state_bytes",
    "caudal_sink_behind_bytes",
];

/// Checkpoints come soon, and with them the figures that they hold.
fn often(settings: &mut Settings) {
    settings.checkpoint_every = Span::millis(500);
}

fn count(samples: &BTreeMap<String, f64>, what: &str) -> f64 {
    sum(samples, &format!("caudal_events_{what}_total"))
}

/// Received events, after making sure that every one of them has its verdict.
fn received(text: &str) -> f64 {
    let samples = samples(text);
    let received = count(&samples, "received");
    let parts = KINDS.map(|kind| count(&samples, kind));
    assert_eq!(received, parts.iter().sum::<f64>(), "{parts:?}\n{text}");
    received
}

#[test]
fn counts_add_up_in_every_scrape_and_never_go_back() {
    let folder = Folder::new("counts");
    let (mut before, mut scrapes) = (0.0, 0);
    for life in 0..2 {
        let mut run = Run::start(&folder.0, FAULTY);
        until("there were events of every kind", || {
            let (status, text) = run.get("/metrics");
            assert_eq!(status, 200);
            scrapes += 1;
            if text.contains("caudal_events_received_total") {
                let now = received(&text);
                assert!(now >= before, "life {life}: {now} after {before}");
                before = now;
            }
            (scrapes > 10 * (life + 1) && ALL.iter().all(|kind| count(&samples(&text), kind) > 0.0)).then_some(())
        });
        // The first life ends as if by a kill: the second replays what was bound since.
        let how = if life == 0 { Stop::Force } else { Stop::Drain };
        let _ = run.stop(how);
        let last = received(&run.get("/metrics").1);
        assert!(last >= before, "life {life}: {last} after {before}");
        before = last;
    }
}

/// The counts are not only consistent but right: each dead letter is in the store, each accepted event in a row.
#[test]
fn counts_are_what_the_store_holds() {
    let folder = Folder::new("store");
    let finite = FAULTY.replace("seed: 7", "seed: 11\n        count: 3000");
    let mut run = Run::start_with(&folder.0, &finite, PublicPort::at(loopback()), |settings| settings.until_end = true);
    run.join().unwrap();
    let text = run.get("/metrics").1;
    let counts = samples(&text);
    assert!(received(&text) > 2500.0);
    let store = run.store();
    let rows = store.all_rows("per_second").unwrap();
    let in_rows: u64 = rows.iter().map(|row| row["events"].as_u64().unwrap()).sum();
    assert_eq!(count(&counts, "accepted"), in_rows as f64);
    for (_, reason, letters) in store.dead_letter_counts().unwrap() {
        let series = format!(r#"caudal_events_rejected_total{{caudal_job="faulty",reason="{reason}",stream="readings"}}"#);
        assert_eq!(counts[&series], letters as f64, "{reason}");
    }
    let letters: u64 = store.dead_letter_counts().unwrap().iter().map(|(_, _, letters)| letters).sum();
    assert_eq!(count(&counts, "rejected"), letters as f64);
    assert_eq!(sum(&counts, "caudal_sink_dead_letters_total"), letters as f64);
}

#[test]
fn promtool_finds_nothing_wrong() {
    let folder = Folder::new("promtool");
    let run = Run::start_with(&folder.0, FAULTY, PublicPort::at(loopback()), often);
    let text = until("every metric has a value", || {
        let text = run.get("/metrics").1;
        let all = ["caudal_sink_frontier_", "caudal_watermark_", "caudal_events_received_total", "caudal_source_lag_"];
        all.into_iter().chain(MOVING).all(|name| text.contains(name)).then_some(text)
    });
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed: apt-get install prometheus");
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{said}\n{text}");
}

/// Every step is timed as often as it is taken, and what is open closes with the input.
#[test]
fn durations_and_open_windows_move() {
    let folder = Folder::new("durations");
    let often_and_closed = |settings: &mut Settings| {
        often(settings);
        settings.close = true;
    };
    let mut run = Run::start_with(&folder.0, FAULTY, PublicPort::at(loopback()), often_and_closed);
    let early = until("everything has moved", || {
        let now = samples(&run.get("/metrics").1);
        // The sink may have passed all there is at the moment of looking, so that only its series is waited for.
        let moved = |name: &&str| sum(&now, name) > 0.0 || name.contains("behind") && now.keys().any(|key| key.contains(*name));
        MOVING.iter().all(moved).then_some(now)
    });
    let lag =
        |stage: &str| early[&format!(r#"caudal_source_lag_messages{{caudal_job="faulty",stage="{stage}",stream="readings"}}"#)];
    assert!(lag("read") <= lag("bound") && lag("bound") <= lag("acknowledged"), "{early:?}");
    assert!(early["caudal_process_resident_memory_bytes"] > 1e6);
    run.stop(Stop::Drain).unwrap();
    let late = samples(&run.get("/metrics").1);
    for name in MOVING.iter().filter(|name| name.ends_with("_count")) {
        assert!(sum(&late, name) > sum(&early, name), "{name}");
    }
    let bound = sum(&late, "caudal_log_append_duration_seconds_count");
    assert!(bound >= sum(&late, "caudal_epoch_duration_seconds_count"), "an epoch is in the log before it is in the ledger");
    assert_eq!(sum(&late, "caudal_sink_readable_seconds_count"), sum(&late, "caudal_sink_rows_total"));
    assert_eq!(sum(&late, "caudal_windows_open"), 0.0, "the input is closed");
}

/// A figure for each group or id would be as many series as there are groups.
#[test]
fn labels_are_names_of_the_job_file() {
    let folder = Folder::new("labels");
    let run = Run::start(&folder.0, FAULTY);
    let text = until("rows were written", || {
        let text = run.get("/metrics").1;
        (sum(&samples(&text), "caudal_sink_rows_total") > 0.0).then_some(text)
    });
    assert!(!text.contains("gen-0"), "a group is a label:\n{text}");
    let of_process = |series: &str| series.starts_with("caudal_build_info") || series.starts_with("caudal_process_");
    for series in samples(&text).keys().filter(|series| !of_process(series)) {
        assert!(series.contains(r#"{caudal_job="faulty""#), "{series}");
    }
}
