//! A job that meets more than it declared stops, says which limit, and goes on exactly under a higher one.

use caudal_connectors::embedded::read::Store;
use std::path::Path;
use std::process::{Command, Output};

const JOB: &str = "\
caudal: 1
name: declared
limits: {groups: 3}
streams:
  readings:
    from: {file: events.ndjson}
    event_time: {at: /at, format: rfc3339}
    lateness: 10s
    fields: {unit: {at: /unit, type: text}, n: {at: /n, type: integer}}
views:
  all: {from: readings, window: none, group_by: [unit], select: {events: count(), total: sum(n)}}
";

fn run(folder: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_caudal"));
    command.arg("run").arg(folder.join("job.yaml")).arg("--state").arg(folder.join("state"));
    command.args(["--workers", "2"]).args(more).output().unwrap()
}

#[test]
fn a_group_too_many_ends_the_run_and_a_higher_limit_goes_on() {
    let folder = std::env::temp_dir().join(format!("caudal-limits-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("job.yaml"), JOB).unwrap();
    let event = |n: u64| format!("{{\"at\":\"2026-03-01T00:00:{:02}Z\",\"unit\":\"u{}\",\"n\":{n}}}\n", n % 60, n % 5);
    std::fs::write(folder.join("events.ndjson"), (0..50).map(event).collect::<String>()).unwrap();

    let refused = "view all holds 5 rows, more than 3 (one row a group for ever × 3 groups): raise limits.groups and start again";
    for _ in 0..2 {
        let first = run(&folder, &[]);
        let said = String::from_utf8_lossy(&first.stderr);
        assert_eq!(first.status.code(), Some(3), "{said}");
        assert!(said.contains(refused), "{said}");
    }

    let second = run(&folder, &["--until-end", "--set", "limits.groups=5"]);
    assert_eq!(second.status.code(), Some(0), "{}", String::from_utf8_lossy(&second.stderr));
    let store = Store::open(&folder.join("state").join("declared").join("store.sqlite")).unwrap();
    let row = |row: &serde_json::Map<String, serde_json::Value>| {
        (row["unit"].as_str().unwrap().to_owned(), row["events"].as_u64().unwrap(), row["total"].as_u64().unwrap())
    };
    let mut rows: Vec<(String, u64, u64)> = store.all_rows("all").unwrap().iter().map(row).collect();
    rows.sort();
    assert_eq!(rows, (0..5).map(|k| (format!("u{k}"), 10, 10 * k + 225)).collect::<Vec<_>>());
    let _ = std::fs::remove_dir_all(&folder);
}

/// Symptom: a bound that held for checkpoints each minute was printed, and believed at the start, whatever
/// `--checkpoint-every` said.
#[test]
fn the_memory_bound_counts_with_the_time_between_checkpoints() {
    let folder = std::env::temp_dir().join(format!("caudal-limits-memory-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let declared = "limits: {groups: 3, events_per_s: 100, memory: 300MiB}";
    std::fs::write(folder.join("job.yaml"), JOB.replace("limits: {groups: 3}", declared)).unwrap();
    std::fs::write(folder.join("events.ndjson"), "").unwrap();
    let check = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_caudal"));
        command.arg("check").arg("--offline").arg(folder.join("job.yaml")).args(more).output().unwrap()
    };
    let minutely = check(&[]);
    let told = String::from_utf8_lossy(&minutely.stdout);
    assert!(minutely.status.success() && told.contains("what changed in the 1m since"), "{told}");
    let roomy = ["--checkpoint-every", "3600", "--set", "limits.memory=1GiB"];
    let told = String::from_utf8_lossy(&check(&roomy).stdout).into_owned();
    assert!(told.contains("what changed in the 1h since"), "{told}");
    let hourly = ["--checkpoint-every", "3600"];
    for refused in [check(&hourly), run(&folder, &[&hourly[..], &["--until-end"]].concat())] {
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains("limits.memory") && said.contains("ledger"), "{said}");
    }
    assert_eq!(run(&folder, &["--until-end"]).status.code(), Some(0));
    let _ = std::fs::remove_dir_all(&folder);
}
