//! The verbs that look at a job or at what it left behind, as a user meets them: what they print, and how they end.
//!
//! Expected outputs lie in `inspect/`. To write them anew, after reading what changed:
//! `UPDATE_EXPECTED=1 cargo test -p caudal --test inspect`.

#[path = "inspect/dead_letters.rs"]
mod dead_letters;
#[path = "inspect/generated.rs"]
mod generated;

use caudal_jobs::inspect::{CheckArgs, ConfigArgs, InspectError, check, config, schema};
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    // Tests run in the package's folder: no path of this machine gets into an expected output.
    Path::new("tests/inspect").to_owned()
}

/// A folder that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("caudal-inspect-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Compares with a file of the folder.
fn expect(name: &str, found: &str) {
    let path = folder().join(name);
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "{name} differs");
}

fn args(job: impl Into<PathBuf>) -> CheckArgs {
    CheckArgs { job: job.into(), offline: true, ddl: false, set: Vec::new(), workers: Some(2), checkpoint_every: 60 }
}

fn checked(args: &CheckArgs) -> (u8, String) {
    let mut out = Vec::new();
    let code = check(args, &mut out).unwrap_or_else(|error| panic!("{error}"));
    (code, String::from_utf8(out).unwrap())
}

fn refused(args: &CheckArgs) -> InspectError {
    let mut out = Vec::new();
    let error = check(args, &mut out).map(|code| panic!("it ended with {code}")).unwrap_err();
    assert_eq!(String::from_utf8(out).unwrap(), "", "a job with mistakes has no picture");
    error
}

#[test]
fn a_job_is_drawn_with_its_memory() {
    let (code, text) = checked(&args(folder().join("wind")));
    assert_eq!(code, 0);
    let widest = text.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(80), "{widest:?} columns:\n{text}");
    expect("wind/check.txt", &text);
}

#[test]
fn every_kind_of_source_window_and_sink_is_drawn() {
    let (code, text) = checked(&args(folder().join("kinds.yaml")));
    assert_eq!(code, 0);
    expect("kinds.txt", &text);
}

#[test]
fn tables_are_printed_as_they_would_be_made() {
    let (code, text) = checked(&CheckArgs { ddl: true, ..args(folder().join("wind")) });
    assert_eq!(code, 0);
    expect("wind/ddl.cql", &text);
}

#[test]
fn a_limit_that_cannot_hold_the_job_is_a_mistake_at_its_line() {
    let scratch = Scratch::new("fits");
    let text = std::fs::read_to_string(folder().join("wind/job.yaml")).unwrap();
    for part in ["schemas/reading.json", "schemas/types.json", "generators.csv"] {
        let path = scratch.0.join(part);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::copy(folder().join("wind").join(part), path).unwrap();
    }
    let declared = text.lines().find(|line| line.starts_with("limits:")).unwrap().to_owned();
    let job = scratch.file("job.yaml", &text.replace(&declared, "limits: {memory: 64MiB, events_per_s: 500, groups: 100}"));
    let error = refused(&args(&job));
    assert_eq!(error.exit_code(), 2);
    let said = error.to_string();
    assert!(said.contains("  3:18  limits.memory   64.0 MiB cannot hold the job, which may need "), "{said}");
    assert!(said.contains("lower `limits.events_per_s`"), "{said}");
    // Less to remember, and it fits.
    let less = ["limits.events_per_s=1", "limits.groups=2", "limits.memory=256MiB"].map(str::to_owned).to_vec();
    assert_eq!(checked(&CheckArgs { set: less, ..args(&job) }).0, 0);
}

#[test]
fn what_no_limit_bounds_is_named_and_does_not_refuse() {
    let scratch = Scratch::new("limits");
    let job = scratch.file(
        "job.yaml",
        "caudal: 1\nname: j\nstreams:\n  s:\n    from: {http: {}}\n    id: /id\n    event_time: /t\n    fields: {id: {at: /id, type: text}}\n\
         views: {v: {from: s, window: {tumbling: 1m}, group_by: [id], select: {n: count()}}}\n",
    );
    let (code, text) = checked(&args(&job));
    assert_eq!(code, 0);
    for said in ["memory  not bounded, limits.memory is not declared", "declare limits.events_per_s", "declare limits.groups"] {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(&said), "{said} in\n{text}");
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let scratch = Scratch::new("mistakes");
    let job = scratch.file(
        "job.yaml",
        "caudal: 1\nname: j\nstreams:\n  s: {from: {generate: {rate: fast, template: {a: '{wat}'}}}, event_time: /t, fields: {x: {at: /x, type: integer}}}\n\
         views: {v: {from: s, window: {tumbling: 1m}, select: {n: meen(x)}}}\n",
    );
    let said = refused(&args(&job)).to_string();
    assert!(said.contains("did you mean `mean`?"), "{said}");
    // A profile is looked at once the file itself is right.
    let said = refused(&CheckArgs { set: vec!["views.v.select.n=mean(x)".into()], ..args(&job) }).to_string();
    assert!(said.contains("2 mistakes, nothing was started"), "{said}");
    assert!(said.contains("streams.s.from.generate.rate") && said.contains("  4:"), "{said}");
}

#[test]
fn places_are_asked_and_each_answers_in_a_line() {
    let scratch = Scratch::new("stores");
    let job = scratch.file(
        "job.yaml",
        "caudal: 1\nname: j\nlimits: {events_per_s: 1, groups: 1}\nstreams:\n  s: {from: {file: none.csv}, format: csv, event_time: $received, fields: {x: {at: /x, type: integer}}}\n\
         views: {v: {from: s, window: none, select: {n: count()}}}\n\
         sinks: {r: {redis: {url: 'redis://me:hunter2@127.0.0.1:1'}}, e: {embedded: {}}}\n",
    );
    let online = CheckArgs { offline: false, ..args(&job) };
    let (code, text) = checked(&online);
    assert_eq!(code, 3, "{text}");
    let line = |place: &str| {
        text.lines().find(|line| line.trim_start().starts_with(place)).unwrap_or_else(|| panic!("{text}")).to_owned()
    };
    assert!(line("streams.s").contains("refused") && line("streams.s").contains("none.csv"), "{text}");
    assert!(line("sinks.r").contains("not reachable") && !text.contains("hunter2"), "{text}");
    assert!(line("sinks.e").contains("ok"), "{text}");
    scratch.file("none.csv", "x\n1\n");
    let (code, text) = checked(&online);
    assert_eq!(code, 1, "only Redis is away now:\n{text}");
}

#[test]
fn a_job_without_cassandra_has_no_ddl() {
    let scratch = Scratch::new("noddl");
    let job = scratch.file(
        "job.yaml",
        "caudal: 1\nname: j\nstreams: {s: {from: {http: {}}, event_time: /t, fields: {x: {at: /x, type: integer}}}}\n",
    );
    let error = refused(&CheckArgs { ddl: true, ..args(&job) });
    assert!(error.to_string().contains("has no cassandra sink"), "{error}");
    assert_eq!(error.exit_code(), 2);
}

#[test]
fn the_resolved_job_hides_secrets_and_the_schema_is_one() {
    let scratch = Scratch::new("config");
    let job = scratch.file(
        "job.yaml",
        "caudal: 1\nname: j\nstreams: {s: {from: {http: {}}, event_time: /t, fields: {x: {at: /x, type: integer}}}}\n\
         views: {v: {from: s, window: none, select: {n: count()}}}\nsinks: {r: {redis: {url: 'redis://me:hunter2@h:1'}}}\n",
    );
    let mut out = Vec::new();
    let args = ConfigArgs { job, set: vec!["streams.s.lateness=7m".into()] };
    assert_eq!(config(&args, &mut out).unwrap(), 0);
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("redis://me:***@h:1") && text.contains("lateness: 7m") && !text.contains("hunter2"), "{text}");

    let mut out = Vec::new();
    assert_eq!(schema(&mut out).unwrap(), 0);
    let schema: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert!(schema["properties"]["streams"].is_object());
}

/// A reader that takes a little and goes away, as `head` does.
struct Head(usize);

impl std::io::Write for Head {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0 == 0 {
            return Err(std::io::ErrorKind::BrokenPipe.into());
        }
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if self.0 == 0 { Err(std::io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let error = check(&args(folder().join("wind")), &mut Head(100)).unwrap_err();
    assert!(matches!(error, InspectError::Closed) && error.exit_code() == 0);
}
