//! A job file that changes between two runs on one state.

use super::*;
use std::collections::BTreeMap;

/// A view of seconds, beside the one of all time.
const SECONDS: &str = "  seconds: {from: readings, window: {tumbling: 1s}, group_by: [unit], select: {events: count(), newest: max(n), oldest: min(n)}}\n";

impl Scratch {
    /// Writes the job anew.
    pub fn job(&self, text: &str) {
        std::fs::write(self.0.join("job.yaml"), text).unwrap();
    }
}

/// Complete rows of the view of seconds, each of which counts every event once, and follows the one before without a gap.
fn whole_seconds(state: &Path) -> Option<usize> {
    let store = Store::open(&state.join("numbered/store.sqlite")).ok()?;
    let until = store.as_of().ok()?.into_iter().find(|view| view.view == "seconds")?.complete_until;
    let rows = store.all_rows("seconds").ok()?;
    let mut next = None;
    let complete: Vec<_> = rows.iter().filter(|row| row["window_end"].as_str().unwrap() <= until.as_str()).collect();
    for row in &complete {
        let figure = |name: &str| row[name].as_u64().unwrap();
        assert_eq!(figure("newest") - figure("oldest") + 1, figure("events"), "one is missing or counted twice: {row:?}");
        assert!(next.is_none_or(|next| next == figure("oldest")), "events are missing before {row:?}");
        next = Some(figure("newest") + 1);
    }
    Some(complete.len())
}

/// The old job is killed, so that what it bound must be finished by it before another may go on.
#[test]
fn a_view_that_is_added_begins_at_a_whole_window_and_one_that_is_removed_stops() {
    let scratch = Scratch::new("changed");
    let state = scratch.0.join("state");
    let mut first = Running::start(&mut scratch.command(&state), scratch.0.join("first"));
    let reached = first.until("it counts", || counted(&state, 500));
    drop(first);

    scratch.job(&format!("{NUMBERED}{SECONDS}"));
    let mut second = Running::start(&mut scratch.command(&state), scratch.0.join("second"));
    second.until("it goes on exactly", || counted(&state, reached));
    second.until("seconds are whole", || whole_seconds(&state).filter(|rows| *rows >= 2));
    let said = second.printed();
    assert!(said.contains("the job has changed, and goes on from the state of the one before"), "{said}");
    assert!(said.contains("the view has the windows that start at"), "{said}");
    drop(second);

    // The other way round: the view of all time is taken away, and cannot come back as if it had been there.
    let (head, _) = NUMBERED.split_once("views:").unwrap();
    scratch.job(&format!("{head}views:\n{SECONDS}"));
    let seconds = whole_seconds(&state).unwrap();
    let mut third = Running::start(&mut scratch.command(&state), scratch.0.join("third"));
    third.until("seconds go on without a gap", || whole_seconds(&state).filter(|rows| *rows >= seconds + 2));
    assert!(third.printed().contains("goes on without view `all`"), "{}", third.printed());
    assert_eq!(third.terminate().code(), Some(0), "{}", third.printed());
    let stopped = counted(&state, 0).expect("its rows stay");

    scratch.job(&format!("{NUMBERED}{SECONDS}"));
    let (code, said) = refused(&scratch, &state);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("views.all: new and without windows, so its rows would lack what `readings` brought before"), "{said}");
    assert_eq!(counted(&state, 0), Some(stopped));
}

#[test]
fn what_was_promised_otherwise_is_refused_difference_by_difference() {
    let scratch = Scratch::new("promised");
    let state = scratch.0.join("state");
    let mut first = Running::start(&mut scratch.command(&state), scratch.0.join("first"));
    let reached = first.until("it counts", || counted(&state, 0));
    assert_eq!(first.terminate().code(), Some(0), "{}", first.printed());

    scratch.job(&NUMBERED.replace("lateness: 10s", "lateness: 1m").replace("total: sum(n)", "total: mean(n), more: min(n)"));
    let (code, said) = refused(&scratch, &state);
    assert_eq!(code, Some(3), "{said}");
    for difference in [
        "streams.readings.lateness: 10s → 1m",
        "views.all.select.total: sum(n) → mean(n)",
        "views.all.select.more: nothing → min(n)",
    ] {
        assert!(said.contains(difference), "{difference}: {said}");
    }
    // Nothing has happened to the state.
    scratch.job(NUMBERED);
    let mut second = Running::start(&mut scratch.command(&state), scratch.0.join("second"));
    second.until("it goes on", || counted(&state, reached));
}

#[test]
fn a_drain_finishes_what_was_bound_and_reads_nothing_more() {
    let scratch = Scratch::new("drained");
    let state = scratch.0.join("state");
    let mut first = Running::start(&mut scratch.command(&state), scratch.0.join("first"));
    first.until("it counts", || counted(&state, 200));
    drop(first);
    let mut drained = Running::start(scratch.command(&state).arg("--drain"), scratch.0.join("drained"));
    assert_eq!(drained.ended().code(), Some(0), "{}", drained.printed());
    let reached = counted(&state, 0).unwrap();
    let mut again = Running::start(scratch.command(&state).arg("--drain"), scratch.0.join("again"));
    assert_eq!(again.ended().code(), Some(0), "{}", again.printed());
    assert_eq!(counted(&state, 0), Some(reached), "a second one finds nothing to do");
}

#[test]
fn a_sink_that_keeps_more_than_before_says_what_it_lacks() {
    let scratch = Scratch::new("keeps-more");
    let state = scratch.0.join("state");
    let keeps = |keep: &str| {
        let job = format!("{NUMBERED}{SECONDS}sinks:\n  local: {{embedded: {{}}, keep: {keep}}}\n");
        scratch.job(&job);
        let mut run = Running::start(scratch.command(&state).arg("--drain"), scratch.0.join("run"));
        assert_eq!(run.ended().code(), Some(0), "{}", run.printed());
        run.printed()
    };
    let told =
        |said: &str, view: &str| said.lines().any(|line| line.contains("keeps this view otherwise") && line.contains(view));
    assert!(!keeps("[all]").contains("otherwise"));
    let said = keeps("[all, seconds]");
    assert!(told(&said, "seconds") && !told(&said, "\"all\""), "{said}");
    assert!(!keeps("[all, seconds]").contains("otherwise"));
    let said = keeps("{views: {all: {}, seconds: {rows: on_complete}}}");
    assert!(told(&said, "seconds") && !told(&said, "\"all\""), "{said}");
}

/// What the ledger has forgotten by then is told; from there on the new store has every window.
#[test]
fn a_sink_that_is_added_says_from_when_it_has_a_view_and_has_all_from_then_on() {
    let scratch = Scratch::new("new-sink");
    let state = scratch.0.join("state");
    let job = NUMBERED.replace("lateness: 10s", "lateness: 1s");
    let job = format!("{job}{SECONDS}sinks:\n  local: {{embedded: {{}}, retain: 4s}}\n");
    scratch.job(&job);
    let mut first = Running::start(&mut scratch.command(&state), scratch.0.join("first"));
    let rows = || Store::open(&state.join("numbered/store.sqlite")).ok()?.all_rows("seconds").ok();
    let oldest = |row: &serde_json::Map<String, serde_json::Value>| row["oldest"].as_u64().unwrap();
    first.until("the first windows are forgotten", || (rows()?.iter().map(oldest).min()? > 500).then_some(()));
    assert_eq!(first.terminate().code(), Some(0), "{}", first.printed());

    let out = scratch.0.join("out");
    scratch.job(&format!("{job}  files: {{file: {{folder: {}, format: ndjson}}, keep: [seconds]}}\n", out.display()));
    let mut second = Running::start(&mut scratch.command(&state), scratch.0.join("second"));
    let reached = rows().unwrap().iter().map(oldest).max().unwrap();
    second.until("it goes on", || rows()?.iter().any(|row| oldest(row) > reached + 1_000).then_some(()));
    assert_eq!(second.terminate().code(), Some(0), "{}", second.printed());
    let said = second.printed();
    let after =
        said.lines().find_map(|line| line.split_once("the sink is new, and has of this view the windows that end after "));
    let (_, after) = after.unwrap_or_else(|| panic!("{said}"));
    let after: jiff::Timestamp = after.split_whitespace().next().unwrap().parse().unwrap();

    let files = std::fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "ndjson"));
    let lines: String = files.map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let written = lines.lines().map(|line| serde_json::from_str::<serde_json::Map<_, _>>(line).unwrap());
    let end = |row: &serde_json::Map<String, serde_json::Value>| row["window_end"].as_str().unwrap().parse().unwrap();
    let written: BTreeMap<jiff::Timestamp, u64> = written.map(|row| (end(&row), oldest(&row))).collect();
    let (begin, _) = written.iter().find(|(end, _)| **end > after).expect("it has rows");
    assert!(*begin <= after + jiff::SignedDuration::from_secs(1), "{begin} is not the first after {after}");
    for row in rows().unwrap().iter().filter(|row| row["state"] == "complete") {
        assert!(end(row) <= after || written.contains_key(&end(row)), "{row:?} is in the old store alone");
    }
}
