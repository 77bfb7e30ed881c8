//! The rows of every view with the time at which they were written, the newest row of each group, and the frontiers.

use super::lives::Stage;
use super::seen::Seen;
use super::watch::Watch;
use crate::cql::Cql;
use crate::stored::table;
use caudal_jobs::jobfile::Job;
use caudal_pipeline::plan::WindowPlan;
use serde_json::{Map, Value as Json};
use std::sync::Arc;
use std::time::Duration;

const PACE: Duration = Duration::from_millis(50);
/// Of each partition of a table so many of its newest windows are read.
const WINDOWS: u32 = 70;

/// A statement, and what its rows are called by.
struct Look {
    what: String,
    cql: String,
    key: Vec<String>,
    /// Rows have the write time of their version; a group's newest has that of its cut.
    is_versioned: bool,
}

/// Watches a job's rows in Cassandra.
pub fn watch(stage: &Arc<Stage>, job: &Job, keyspace: &str) -> Watch<Seen> {
    watch_at(stage, job, keyspace, Cql::shared())
}

/// The same at another node than the shared one.
pub fn watch_at(stage: &Arc<Stage>, job: &Job, keyspace: &str, cql: Cql) -> Watch<Seen> {
    let looks = looks(job, keyspace);
    Watch::start(stage, PACE, Seen::default(), move |seen| {
        for look in &looks {
            // No table yet, or no answer: the next look may have one.
            let Ok(rows) = cql.look(&look.cql) else { continue };
            seen.look();
            rows.into_iter().for_each(|row| saw(seen, look, row));
        }
    })
}

fn looks(job: &Job, keyspace: &str) -> Vec<Look> {
    let mut looks = vec![Look {
        what: "as_of".to_owned(),
        cql: format!(
            "SELECT view_name, complete_until, final_until, epoch, version, WRITETIME(version) AS written FROM {}",
            table(keyspace, job, "as_of")
        ),
        key: vec!["view_name".to_owned()],
        is_versioned: true,
    }];
    for view in &job.plan.views {
        let unwindowed = view.window == WindowPlan::Unwindowed;
        let group: Vec<String> = view.group.iter().map(|field| field.name.clone()).collect();
        let bounds = if unwindowed { &[][..] } else { &["window_start", "window_end"] };
        let own = bounds.iter().chain(&["state", "version"]).map(|name| (*name).to_owned());
        let all = group.iter().cloned().chain(own).chain(view.columns.iter().map(|column| column.name.clone()));
        let all = all.map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        let select = |what: &str| format!("SELECT {all}, WRITETIME(state) AS written FROM {}", table(keyspace, job, what));
        let start = (!unwindowed).then(|| "window_start".to_owned());
        let key = group.iter().cloned().chain(start).collect();
        let limit = if unwindowed { String::new() } else { format!(" PER PARTITION LIMIT {WINDOWS}") };
        looks.push(Look { what: view.name.clone(), cql: select(&view.name) + &limit, key, is_versioned: true });
        if !unwindowed {
            let what = format!("{}_latest", view.name);
            looks.push(Look { cql: select(&what), what, key: group, is_versioned: false });
        }
    }
    looks
}

fn saw(seen: &mut Seen, look: &Look, mut row: Map<String, Json>) {
    let written = row.remove("written").and_then(|written| written.as_u64()).expect("a row has a write time");
    let key: Vec<&Json> = look.key.iter().map(|name| &row[name]).collect();
    let name = format!("{} {key:?}", look.what);
    assert!(!look.is_versioned || row["version"] == written, "{name} was written at {written}: {row:?}");
    seen.row("cassandra", &name, written, &Json::Object(row).to_string());
}
