//! A job whose sink keeps events: from a seeded, faulty generator into the embedded store, one row for each accepted event.

use caudal_connectors::embedded::read::Store;
use caudal_jobs::jobfile::{Job, Surroundings, read};
use caudal_jobs::run::{self, STORE_FILE, Settings, Shared};
use caudal_pipeline::record::Verdict;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

const JOB: &str = r#"
caudal: 1
name: archive
streams:
  readings:
    from:
      generate:
        name: readings
        seed: 7
        rate: 20000
        count: 4000
        sources: [north, south, west]
        duplicates: 0.05
        malformed: {share: 0.05}
        template: {id: '{uuid}', at: '{time}', value: {decimal: {mean: 50, deviation: 20, digits: 2}}}
    id: /id
    event_time: /at
    fields: {value: {at: /value, type: decimal(2)}}
    where: value > 30.0
    watermark: {max_delay: 1s}
    lateness: 10m
views:
  per_second: {from: readings, window: {tumbling: 1s}, select: {n: count()}}
sinks:
  store:
    embedded: {}
    keep: {views: all, events: EVENTS, dead_letters: all}
"#;

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn job(events: &str) -> Job {
    let text = JOB.replace("EVENTS", events);
    let around = Surroundings { variable: &|_| None, file: &|_| Ok(text.clone()), overrides: Vec::new(), fits: &|_| Ok(()) };
    read("job.yaml", &around).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

#[test]
fn a_sink_that_keeps_events_has_a_row_for_each_accepted_one() {
    let folder = Folder(std::env::temp_dir().join(format!("caudal-archive-{}", std::process::id())));
    let _ = std::fs::remove_dir_all(&folder.0);
    let job = job("all");
    let mut settings = Settings::in_folder(folder.0.clone());
    (settings.workers, settings.until_end) = (2, true);
    let shared = Shared::new(Arc::new(job.plan.clone()), folder.0.clone());
    run::job(&job, &settings, &shared, Vec::new()).unwrap_or_else(|error| panic!("{error}"));

    let counts = shared.published().status.counts;
    let of = |verdict: Verdict| counts.get(&(0, verdict)).map_or(0, |(records, _)| *records);
    let accepted = of(Verdict::Accepted);
    assert!(accepted > 2_500 && of(Verdict::Filtered) > 300 && of(Verdict::Duplicate) > 50, "{counts:?}");
    let rows = Store::open(&folder.0.join(STORE_FILE)).unwrap().all_rows("events").unwrap();
    assert_eq!(rows.len() as u64, accepted);
    let ids: BTreeSet<&str> = rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len() as u64, accepted, "no event is kept under two ids");
    let views = Store::open(&folder.0.join(STORE_FILE)).unwrap().all_rows("per_second").unwrap();
    assert_eq!(views.iter().map(|row| row["n"].as_u64().unwrap()).sum::<u64>(), accepted, "the views have counted the same");
}

#[test]
fn what_sinks_keep_alters_no_result() {
    let (kept, not_kept) = (job("all"), job("none"));
    assert!(kept.plan.streams[0].archived && !not_kept.plan.streams[0].archived);
    assert_eq!(kept.fingerprint, not_kept.fingerprint);
}
