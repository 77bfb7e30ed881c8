//! `--rebuild`: a job that means something else under the same names, recomputed beside its old state.

use super::*;
use caudal_connectors::embedded::read::DeadLetterQuery;
use serde_json::{Map, Value as Json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// A job over a file, which counts what is at least as large as a limit.
fn job(at_least: u32) -> String {
    format!(
        "\
caudal: 1
name: numbered
streams:
  readings:
    from: {{file: readings.ndjson}}
    event_time: {{at: /at, format: unix_s}}
    watermark: {{max_delay: 10s}}
    lateness: 1m
    fields: {{unit: {{at: /unit, type: text}}, n: {{at: /n, type: integer}}}}
    where: n >= {at_least}
views:
  minutes: {{from: readings, window: {{tumbling: 1m}}, group_by: [unit], select: {{events: count(), total: sum(n)}}}}
  hours: {{from: minutes, window: {{tumbling: 1h}}, group_by: [unit], select: rollup}}
  all: {{from: readings, window: none, group_by: [unit], select: {{events: count()}}}}
"
    )
}

/// Readings of two hours, some of them late.
fn readings(seconds: std::ops::Range<u64>) -> String {
    let mut lines = String::new();
    for n in seconds {
        let late = if n % 7 == 0 { 30 } else { 0 };
        let unit = ["one", "two", "three"][(n * n % 3) as usize];
        writeln!(lines, r#"{{"at":{},"unit":"{unit}","n":{}}}"#, 1_774_656_000 + n * 20 - late, n * 37 % 100).unwrap();
    }
    lines
}

/// The rows that readers see, without what tells when they were written.
fn rows(state: &Path, view: &str) -> BTreeSet<String> {
    let rows = Store::open(&state.join("numbered/store.sqlite")).unwrap().all_rows(view).unwrap();
    let seen = rows.into_iter().filter(|row| row["state"] != "gone");
    seen.map(|row| Json::from(row.into_iter().filter(|(key, _)| !told_later(key)).collect::<Map<_, _>>()).to_string()).collect()
}

/// Whether a column depends on the cut of the input into epochs.
fn told_later(column: &str) -> bool {
    matches!(column, "state" | "version" | "_expires_us")
}

fn versions(state: &Path) -> usize {
    let store = Store::open(&state.join("numbered/store.sqlite")).unwrap();
    let of = |view| store.all_rows(view).unwrap().into_iter().map(|row| row["version"].to_string());
    ["minutes", "hours", "all"].into_iter().flat_map(of).collect::<BTreeSet<_>>().len()
}

fn until_end(scratch: &Scratch, state: &Path, more: &[&str]) -> (Option<i32>, String) {
    let mut running = Running::start(scratch.command(state).arg("--until-end").args(more), scratch.0.join("printed"));
    (running.ended().code(), running.printed())
}

#[test]
fn a_rebuild_leaves_what_the_new_job_would_have_written_and_nothing_else() {
    let scratch = Scratch::new("rebuilt");
    let (state, fresh) = (scratch.0.join("state"), scratch.0.join("fresh"));
    let input = scratch.0.join("readings.ndjson");
    std::fs::write(&input, readings(0..360)).unwrap();
    scratch.job(&job(0));
    assert_eq!(until_end(&scratch, &state, &[]).0, Some(0));
    let before = ["minutes", "hours", "all"].map(|view| rows(&state, view));

    scratch.job(&job(60));
    let (code, said) = until_end(&scratch, &state, &[]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("streams.readings.where: n >= 0 → n >= 60") && said.contains("--rebuild"), "{said}");
    let (code, said) = until_end(&scratch, &state, &["--rebuild"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("in memory, which no limit bounds") && said.contains("twice the disk") && said.contains("recomputed:"),
        "{said}"
    );
    assert!(!state.join("numbered/blobs/rebuild").exists() || list(&state.join("numbered/blobs/rebuild")) == 0);
    let (code, said) = until_end(&scratch, &fresh, &[]);
    assert_eq!(code, Some(0), "{said}");
    for (view, before) in ["minutes", "hours", "all"].into_iter().zip(&before) {
        assert_eq!(rows(&state, view), rows(&fresh, view), "{view}");
        assert_ne!(rows(&state, view), *before, "{view}: the limit has changed nothing");
    }

    // It goes on, late readings of the recomputed windows included.
    let mut longer = std::fs::OpenOptions::new().append(true).open(&input).unwrap();
    std::io::Write::write_all(&mut longer, readings(360..420).as_bytes()).unwrap();
    for state in [&state, &fresh] {
        let (code, said) = until_end(&scratch, state, &[]);
        assert_eq!(code, Some(0), "{said}");
    }
    for view in ["minutes", "hours", "all"] {
        assert_eq!(rows(&state, view), rows(&fresh, view), "{view}");
    }

    // Nothing has changed: nothing is written.
    let (written, known) = (versions(&state), ["minutes", "hours", "all"].map(|view| rows(&state, view)));
    let (code, said) = until_end(&scratch, &state, &["--rebuild"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("recomputed: 0 rows are other or new, 0 are gone"), "{said}");
    assert_eq!((versions(&state), ["minutes", "hours", "all"].map(|view| rows(&state, view))), (written, known));
}

#[test]
fn a_rebuild_that_may_not_hold_what_it_compares_changes_nothing_and_goes_on_with_more() {
    let scratch = Scratch::new("more-memory");
    let (state, fresh) = (scratch.0.join("state"), scratch.0.join("fresh"));
    std::fs::write(scratch.0.join("readings.ndjson"), readings(0..360)).unwrap();
    scratch.job(&job(0));
    assert_eq!(until_end(&scratch, &state, &[]).0, Some(0));
    let of = |state: &Path| ["minutes", "hours", "all"].map(|view| rows(state, view));
    let before = of(&state);
    scratch.job(&job(60));
    let (code, said) = until_end(&scratch, &state, &["--rebuild", "--set", "limits.memory=64KiB"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("limits.memory: comparing the rows of both states needs up to") && said.contains("raise it"), "{said}");
    assert_eq!(of(&state), before);
    // As the old job it goes on too.
    scratch.job(&job(0));
    let (code, said) = until_end(&scratch, &state, &[]);
    assert_eq!((code, of(&state)), (Some(0), before), "{said}");
    scratch.job(&job(60));
    let (code, said) = until_end(&scratch, &state, &["--rebuild", "--set", "limits.memory=1GiB"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(until_end(&scratch, &fresh, &[]).0, Some(0));
    assert_eq!(of(&state), of(&fresh));
}

#[test]
fn a_record_that_is_refused_since_is_a_dead_letter_and_those_that_were_are_not_told_again() {
    let scratch = Scratch::new("refused-since");
    let state = scratch.0.join("state");
    let broken = "{\"at\":1774656005,\"unit\":\"one\",\"n\":\"many\"}\n";
    let checked = |(n, line): (usize, &str)| line.replace('}', if n % 3 == 0 { "}" } else { r#","said":"a word"}"# }) + "\n";
    let lines: String = readings(0..90).lines().enumerate().map(checked).collect();
    std::fs::write(scratch.0.join("readings.ndjson"), lines + broken).unwrap();
    let said = |kind: &str| job(0).replace("type: integer}}", &format!("type: integer}}, said: {{at: /said, type: {kind}}}}}"));
    scratch.job(&said("text"));
    assert_eq!(until_end(&scratch, &state, &[]).0, Some(0));
    let letters = || {
        let store = Store::open(&state.join("numbered/store.sqlite")).unwrap();
        let letters = store.dead_letters(&DeadLetterQuery { limit: Some(1_000), ..DeadLetterQuery::default() }).unwrap();
        letters.into_iter().map(|letter| (letter.offset, letter.version)).collect::<BTreeMap<_, _>>()
    };
    let before = letters();
    assert_eq!(before.len(), 1);
    // Two of three say what is none.
    scratch.job(&said("bool"));
    let (code, said) = until_end(&scratch, &state, &["--rebuild"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("60 records are dead letters now"), "{said}");
    let after = letters();
    assert_eq!(after.len(), 61);
    assert!(before.iter().all(|letter| after.get(letter.0) == Some(letter.1)), "what was told before stays as it was");
    let (code, said) = until_end(&scratch, &state, &["--rebuild"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(letters(), after);
}

/// Files below a folder.
fn list(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries.map(|entry| entry.unwrap().path()).map(|path| if path.is_dir() { list(&path) } else { 1 }).sum()
}

#[test]
fn rows_that_are_grouped_otherwise_cannot_take_the_place_of_others() {
    let scratch = Scratch::new("regrouped");
    let state = scratch.0.join("state");
    std::fs::write(scratch.0.join("readings.ndjson"), readings(0..30)).unwrap();
    scratch.job(&job(0));
    assert_eq!(until_end(&scratch, &state, &[]).0, Some(0));
    scratch.job(
        &job(0)
            .replace("group_by: [unit], select: {events: count(), total", "group_by: [n, unit], select: {events: count(), total"),
    );
    let (code, said) = until_end(&scratch, &state, &["--rebuild"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("views.minutes.group_by") && said.contains("another name"), "{said}");
}

#[test]
fn a_run_that_ends_by_itself_fails_while_a_sink_lacks_what_it_was_owed() {
    let scratch = Scratch::new("behind");
    let (state, out) = (scratch.0.join("state"), scratch.0.join("out"));
    std::fs::write(scratch.0.join("readings.ndjson"), readings(0..30)).unwrap();
    scratch.job(&format!("{}sinks:\n  out: {{file: {{folder: {}}}}}\n", job(0), out.display()));
    // The folder has a file of somebody else.
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("minutes.ndjson"), "{}\n").unwrap();
    let (code, said) = until_end(&scratch, &state, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("minutes.ndjson is there already") && said.contains("sinks.out: not everything was written"), "{said}");
    std::fs::remove_file(out.join("minutes.ndjson")).unwrap();
    let (code, said) = until_end(&scratch, &state, &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(std::fs::read_to_string(out.join("minutes.ndjson")).unwrap().lines().count() > 5);
}
