//! The jobs' results once more, by hand: from the bytes in the topic to the rows, with nothing of ours in between.
//!
//! [`crate::expected`] recomputes with the decoder, the aggregates and the windows of the engine, so that a mistake in
//! one of these is made twice and not seen. Here each job is written down as a person would do it who has read its
//! README and schema: bytes are read by serde_json, numbers are integers in units of their last digit, times are counted
//! in days, a local day is looked up in a table of two lines.
//!
//! ```text
//! bytes in the topic ─▶ read ─▶ judge ─▶ by window and group ─▶ rows = what redis-cli, CQL and consumers read
//!                                  ▲
//!                     which records were too late: from the dead letters, each checked
//! ```
//! Only when a record arrived cannot be known from the topic, so which ones were too late is taken from the dead letters.

pub mod bank;
pub mod event_pipeline;
pub mod figures;
mod judge;
pub mod wind_farm;

pub use judge::{Judged, Place};

use crate::cql::Cql;
use crate::expected::{Rows, assert_same};
use crate::redis;
use crate::stored::{DeadLetters, board, in_cassandra, in_redis, newest};
use caudal_jobs::jobfile::Job;
use caudal_pipeline::engine::Status;
use caudal_pipeline::record::Verdict;
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;

/// A row: the columns of its view, and its window in microseconds since 1970 if it has one.
#[derive(Clone, Debug)]
pub struct Row {
    pub view: &'static str,
    pub group: Vec<String>,
    pub window: Option<(i64, i64)>,
    pub columns: Vec<(&'static str, Column)>,
}

/// What stands in a column.
#[derive(Clone, Debug)]
pub enum Column {
    Text(String),
    Count(usize),
    /// In units of its last digit, and how many digits it has after the point.
    Decimal(i128, usize),
    /// Microseconds since 1970.
    Time(i64),
    Flag(bool),
    Texts(Vec<String>),
}

/// How finely a store keeps times, in microseconds.
#[derive(Clone, Copy)]
pub struct Tick(i64);

pub const MICROSECOND: Tick = Tick(1);
/// Cassandra's.
pub const MILLISECOND: Tick = Tick(1000);

impl Column {
    fn json(&self, tick: Tick) -> Json {
        match self {
            Column::Text(text) => Json::from(text.as_str()),
            Column::Count(count) => Json::from(*count),
            Column::Decimal(unscaled, digits) => figures::decimal(*unscaled, *digits),
            Column::Time(us) => Json::from(figures::time_text(us.div_euclid(tick.0) * tick.0)),
            Column::Flag(flag) => Json::from(*flag),
            Column::Texts(texts) => Json::from(texts.clone()),
        }
    }
}

/// The rows of a view that are complete at `watermark`, as a reader finds them; rows without a window always are.
pub fn rows(rows: &[Row], view: &str, watermark: i64, tick: Tick) -> Rows {
    let is_complete = |row: &&Row| row.view == view && row.window.is_none_or(|(_, end)| end <= watermark);
    let read = |row: &Row| {
        let bound = |at: Option<i64>| at.map_or(Json::Null, |us| Json::from(figures::time_text(us)));
        let mut columns = Map::from_iter([("end".to_owned(), bound(row.window.map(|(_, end)| end)))]);
        columns.extend(row.columns.iter().map(|(name, column)| ((*name).to_owned(), column.json(tick))));
        let start = row.window.map_or_else(|| "null".to_owned(), |(start, _)| figures::time_text(start));
        ((view.to_owned(), row.group.clone(), start), columns)
    };
    rows.iter().filter(is_complete).map(read).collect()
}

/// Redis holds every row of its views and its board the newest ones; Cassandra holds the complete rows of all views.
pub fn assert_stores(cql: &Cql, keyspace: &str, job: &Job, in_hot: &[&str], all: &[Row], watermark: i64) {
    for view in &job.plan.views {
        let (expected, complete) = (rows(all, &view.name, i64::MAX, MICROSECOND), rows(all, &view.name, watermark, MILLISECOND));
        assert!(!complete.is_empty(), "{} has complete rows", view.name);
        assert_same("cassandra, by hand", &complete, &in_cassandra(cql, keyspace, job, view));
        if in_hot.contains(&view.name.as_str()) {
            assert_same("redis, by hand", &expected, &in_redis(job, view));
            assert_same("redis board, by hand", &newest(&expected), &board(job, view));
        }
    }
}

/// Every record has the verdict that it has by hand.
pub fn assert_verdicts<T>(judged: &Judged<T>, refused: &BTreeMap<Place, &'static str>, status: &Status) {
    assert_counts(judged, refused, |verdict| status.counts.get(&(0, verdict)).map_or(0, |(records, _)| *records));
}

/// The same where the counts come from elsewhere.
pub fn assert_counts<T>(judged: &Judged<T>, refused: &BTreeMap<Place, &'static str>, counted: impl Fn(Verdict) -> u64) {
    for (place, reason) in &judged.refused {
        assert_eq!(refused.get(place), Some(reason), "{place:?}, dead letter and by hand");
    }
    assert_eq!(judged.refused.len(), refused.len(), "dead letters by hand");
    let by_hand = [
        (Verdict::Accepted, judged.counted.len() as u64),
        (Verdict::Duplicate, judged.duplicates),
        (Verdict::Filtered, judged.filtered),
    ];
    for (verdict, count) in by_hand {
        assert_eq!(counted(verdict), count, "{verdict:?}, counted and by hand");
    }
}

/// W as a reader finds it on the board, microseconds since 1970.
pub fn watermark(job: &Job, view: &str) -> i64 {
    let until = redis::field(&format!("{{{}}}:asof", job.plan.name), &format!("complete_until:{view}"));
    figures::micros(&until).unwrap_or_else(|| panic!("{until} is a time"))
}

/// Each dead letter's place, and its reason.
pub fn refused(dead_letters: &DeadLetters) -> BTreeMap<Place, &'static str> {
    let place = |(_, partition, offset, element): &caudal_jobs::recompute::Place| {
        (partition.topic.to_string(), partition.number, *offset, *element)
    };
    dead_letters.0.iter().map(|letter| (place(&letter.place), letter.reason.name())).collect()
}
