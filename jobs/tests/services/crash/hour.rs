//! The row `hour`: at a constant load with late, repeated and broken records, nothing grows.
//!
//! `CAUDAL_TRIALS` are minutes. What the job keeps comes to rest within the first quarter: lateness and retention are
//! parts of the time. Of the rest the second half is held against the first one.

use super::feed::Feed;
use super::lives::pause;
use super::process::add;
use crate::binary::{Binary, Launch};
use crate::running::state;
use crate::stored::in_redis;
use crate::{broker, cql, redis};
use caudal_connectors::generate::{Event, Generator, Profile};
use caudal_jobs::load;
use serde_json::{Value as Json, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// Records in a second, and in a second of event time.
const RATE: u64 = 400;
/// Samples in all.
const SAMPLES: u32 = 360;
const COLUMNS: [&str; 6] = [
    "minutes",
    "resident memory (MB)",
    "files of state",
    "bytes of state (MB)",
    "sent and not counted yet (messages)",
    "a checkpoint (ms)",
];

/// How much larger the mean of the second half may be, as a part and beside it, column by column.
type Margin = (f64, f64);
const LONG: [Margin; 5] = [(0.05, 2.0), (0.10, 2.0), (0.10, 0.5), (0.25, RATE as f64 / 4.0), (0.25, 10.0)];
/// Seconds are no time in which anything comes to rest: only what runs away is noticed.
const SHORT: [Margin; 5] = [(0.5, 32.0), (1.0, 10.0), (1.0, 4.0), (1.0, RATE as f64 * 3.0), (1.0, 3_000.0)];

#[test]
fn at_a_constant_load_nothing_grows() {
    let minutes = std::env::var("CAUDAL_TRIALS").ok().map(|text| text.parse::<u64>().expect("a number"));
    let time = minutes.map_or(Duration::from_secs(16), |minutes| Duration::from_secs(60 * minutes));
    let every = (time / SAMPLES).max(Duration::from_millis(500));
    let (lateness, retain) = ((time / 30).as_secs().max(1), (time / 12).as_secs().max(2));
    let name = broker::own("hour");
    broker::make_topic(&name, 3);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/crash/hour/job.yaml");
    let set = [
        format!("name={name}"),
        format!("streams.readings.from.kafka.topics=[{name}]"),
        format!("streams.readings.from.kafka.properties.bootstrap.servers={}", broker::shared()),
        format!("streams.readings.lateness={lateness}s"),
        format!("sinks.hot.redis.url=redis://{}", redis::shared()),
        format!("sinks.cold.cassandra.contact_points=['{}']", cql::shared()),
        format!("sinks.hot.retain={retain}s"),
        format!("sinks.cold.retain={retain}s"),
    ];
    let feed = Feed::start_with(&broker::shared(), &name, RATE, events(lateness));
    let (state, jobs) = (state("hour"), [file.clone()]);
    let launch = Launch { checkpoint_every_s: every.as_secs().max(1), ..Launch::of(&state, 2, &jobs, &set) };
    let mut binary = launch.start();
    binary.until_received(1);

    let series = sampled(&mut binary, &feed, &state.join("state"), time, every);
    let sent = feed.stop();
    binary.until_received(sent);
    let accepted = binary.metric("caudal_events_accepted_total", "").unwrap() as u64;
    let late = binary.metric("caudal_events_late_total", "").unwrap() as u64;
    let refused = binary.metric("caudal_events_rejected_total", "").unwrap() as u64;
    binary.until("rows are in cassandra", |binary| {
        (binary.metric("caudal_sink_rows_total", r#"sink="cold""#)? > 0.0).then_some(())
    });
    let (status, printed) = binary.terminate();
    assert_eq!(status.code(), Some(0), "{printed}");
    let job = load::job(&file, &set).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let all = job.plan.views.iter().find(|view| view.name == "all").expect("a view of the job");
    let in_store: u64 = in_redis(&job, all).values().map(|row| row["events"].as_u64().expect("a count")).sum();
    assert_eq!(in_store, accepted, "events in redis");
    assert!(late > 0 && refused > 0, "late {late}, refused {refused}");
    let margins = if minutes.is_some() { LONG } else { SHORT };
    let mut figures = json!({
        "records/s": RATE, "records": sent, "records, late and corrected": late, "dead letters": refused,
        "lateness s": lateness, "retention s": retain,
    });
    let (mut growing, means) = (Vec::new(), means(&series));
    for (n, (first, second)) in means.iter().enumerate() {
        let (part, beside) = margins[n];
        let margin = format!("{:.0} % and {beside:.1}", part * 100.0);
        let shown = |mean: f64| format!("{mean:.1}");
        let halves = json!({"mean of the first half": shown(*first), "of the second": shown(*second), "may be more by": margin});
        add(&mut figures, json!({COLUMNS[n + 1]: halves}));
        if *second > first * (1.0 + part) + beside {
            growing.push(COLUMNS[n + 1]);
        }
    }
    let row = |row: &[f64; 6]| row.map(|figure| format!("{figure:.2}")).join(" ");
    add(&mut figures, json!({"series": {"columns": COLUMNS, "rows": series.iter().map(row).collect::<Vec<_>>()}}));
    println!("figures {figures}");
    assert!(growing.is_empty(), "these grow: {growing:?}");
}

/// From now on, in order of time but for those that are late.
fn events(lateness_s: u64) -> impl Iterator<Item = Event> + Send {
    let units: Vec<String> = (0..20).map(|n| format!("unit-{n:02}")).collect();
    let start = jiff::Timestamp::now().to_string();
    let profile: Json = json!({
        "seed": 5, "rate": RATE, "start": start, "sources": units, "key": "{source}", "duplicates": 0.02,
        "late": {"share": 0.1, "by": ["1s", format!("{}s", lateness_s + 4)]},
        "malformed": {"share": 0.01, "kinds": ["cut"]},
        "template": {"id": "{uuid}", "at": "{time}", "unit": "{source}", "n": {"int": [0, 400]}},
    });
    let profile = Profile::parse(&profile).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    Generator::new(profile, 0).events()
}

/// A row for each moment, in the order of [`COLUMNS`].
fn sampled(binary: &mut Binary, feed: &Feed, folder: &Path, time: Duration, every: Duration) -> Vec<[f64; 6]> {
    let began = Instant::now();
    let (mut series, mut before, mut checkpoint_ms) = (Vec::new(), (0.0, 0.0), 0.0);
    while began.elapsed() < time {
        pause(every);
        assert!(binary.is_running(), "{}", binary.printed());
        let figure = |name: &str| binary.metric(&format!("caudal_checkpoint_duration_seconds_{name}"), "").unwrap_or(0.0);
        let now = (figure("sum"), figure("count"));
        // Where none was written since, that of the one before stands.
        if now.1 > before.1 {
            checkpoint_ms = (now.0 - before.0) / (now.1 - before.1) * 1e3;
        }
        before = now;
        let memory = binary.memory("VmRSS").expect("it runs") as f64 / 1e6;
        let received = binary.until("it tells what it has received", |binary| binary.metric("caudal_events_received_total", ""));
        let lag = (feed.sent() as f64 - received).max(0.0);
        let (files, bytes) = files(folder);
        series.push([began.elapsed().as_secs_f64() / 60.0, memory, files as f64, bytes as f64 / 1e6, lag, checkpoint_ms]);
    }
    series
}

/// How many files lie below a folder, and their bytes. Whatever goes away meanwhile is passed over.
fn files(folder: &Path) -> (u64, u64) {
    let Ok(entries) = std::fs::read_dir(folder) else { return (0, 0) };
    let one = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => files(&entry.path()),
        Ok(metadata) => (1, metadata.len()),
        Err(_) => (0, 0),
    };
    entries.flatten().map(one).fold((0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1))
}

/// Of each column but the time the mean of both halves of the last three quarters.
fn means(series: &[[f64; 6]]) -> Vec<(f64, f64)> {
    let rest = &series[series.len() / 4..];
    let (first, second) = rest.split_at(rest.len() / 2);
    let mean = |rows: &[[f64; 6]], column: usize| rows.iter().map(|row| row[column]).sum::<f64>() / rows.len() as f64;
    (1..COLUMNS.len()).map(|column| (mean(first, column), mean(second, column))).collect()
}
