//! What a running job shows: a block of lines on a terminal, plain lines in a pipe.

use crate::run::{Shared, SinkState, SinkStatus};
use caudal_pipeline::engine::Phase;
use caudal_pipeline::operators::collect::Counts;
use caudal_pipeline::record::{Reason, Verdict};
use caudal_pipeline::time::{EventTime, Version};
use std::fmt::Write;
use std::time::Duration;

/// Every record with a verdict, over all streams.
pub fn received(counts: &Counts) -> u64 {
    counts.values().map(|(records, _)| records).sum()
}

/// The job in a few lines; `up` is how long the process has run, `now_us` the wall clock.
pub fn block(shared: &Shared, up: Duration, now_us: i64) -> String {
    let published = shared.published();
    let (status, plan) = (&published.status, &shared.plan);
    let mut text = String::new();
    let seconds = up.as_secs();
    let phase = match published.phase {
        None => "starting",
        Some(Phase::Replaying) => "replaying",
        Some(Phase::Live) => "up",
        Some(Phase::Draining) => "draining",
        Some(Phase::Done) => "done",
    };
    let lag: u64 = status.lag.values().map(|lag| lag.bound).sum();
    let _ = writeln!(
        text,
        "{}  {phase} {:02}:{:02}:{:02}  as of {} ({:.1} s behind)  lag {lag}  in flight {}",
        plan.name,
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        clock(status.opened),
        (now_us - status.opened.0).max(0) as f64 / 1e6,
        size(status.in_flight_bytes),
    );
    for (index, stream) in plan.streams.iter().enumerate() {
        let _ = writeln!(text, " {}", stream_line(&stream.name, index as u32, &status.counts));
        let trouble = status.trouble.get(&(index as u32)).cloned().or_else(|| shared.discovery().get(&(index as u32)).cloned());
        if let Some(why) = trouble {
            let _ = writeln!(text, "   ▲ waiting: {why}");
        }
    }
    for (index, view) in plan.views.iter().enumerate() {
        let (written, corrected, gone) = status.row_counts.get(&(index as u32)).copied().unwrap_or_default();
        let watermark = status.watermarks.get(view.stream).copied().unwrap_or(EventTime::MIN);
        let complete = if watermark == EventTime::MIN { "nothing yet".to_owned() } else { watermark.to_string() };
        let _ =
            writeln!(text, " {}  changes {written}  corrected {corrected}  gone {gone}  complete until {complete}", view.name);
    }
    for (name, sink) in shared.sinks() {
        let _ = writeln!(text, " sink {name}  {}", sink_line(&sink, now_us));
    }
    text
}

fn stream_line(name: &str, stream: u32, counts: &Counts) -> String {
    let of = |wanted: Verdict| counts.get(&(stream, wanted)).map_or(0, |(records, _)| *records);
    let rejected: Vec<(Reason, u64)> =
        Reason::ALL.into_iter().map(|reason| (reason, of(Verdict::Rejected(reason)))).filter(|(_, n)| *n > 0).collect();
    let all: u64 = counts.iter().filter(|((of, _), _)| *of == stream).map(|(_, (records, _))| records).sum();
    let late: u64 = counts.get(&(stream, Verdict::Accepted)).map_or(0, |(_, late)| *late);
    let reasons: Vec<String> = rejected.iter().map(|(reason, n)| format!("{} {n}", reason.name())).collect();
    let dead: u64 = rejected.iter().map(|(_, n)| n).sum();
    let marks = if reasons.is_empty() { String::new() } else { format!(" ▸ {}", reasons.join(" ")) };
    format!(
        "{name}  received {all}  counted {}  duplicate {}  filtered {}  late {late}  dead letters {dead}{marks}",
        of(Verdict::Accepted),
        of(Verdict::Duplicate),
        of(Verdict::Filtered),
    )
}

fn sink_line(sink: &SinkStatus, now_us: i64) -> String {
    let written = if sink.written == Version(0) { "nothing yet".to_owned() } else { clock(sink.written) };
    match &sink.state {
        SinkState::Starting => "connecting".to_owned(),
        SinkState::Ok => format!("{written} ok  rows {}  dead letters {}", sink.rows, sink.dead_letters),
        SinkState::Retrying(why) => {
            let since = sink.failing_since.map_or(0, |since| (now_us - since) / 1_000_000);
            format!("{written} retrying for {since} s: {why}")
        }
        SinkState::Stopped(why) => format!("{written} STOPPED: {why}"),
    }
}

fn clock(version: Version) -> String {
    if version == Version(0) {
        return "nothing yet".to_owned();
    }
    EventTime(version.0).to_string().get(11..19).unwrap_or("?").to_owned()
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes >> 10),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}
