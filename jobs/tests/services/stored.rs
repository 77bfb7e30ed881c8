//! What is in the stores of a job, read back whole.

use crate::cql::{Cql, hexadecimal};
use crate::expected::{Expected, Rows, assert_same, text};
use crate::redis;
use caudal_jobs::jobfile::{Job, StoreSpec};
use caudal_jobs::recompute::Place;
use caudal_pipeline::plan::{ViewPlan, WindowPlan};
use caudal_pipeline::record::{Partition, Reason};
use caudal_pipeline::time::EventTime;
use caudal_pipeline::value::Cell;
use serde_json::{Map, Value as Json};

/// Removes what an earlier run may have left of a job.
pub fn clear(job: &Job) {
    let name = &job.plan.name;
    for key in redis::cli(&["KEYS", &format!("*{name}*")]) {
        redis::cli(&["DEL", &key]);
    }
}

/// The view's rows in Redis, by all its groups' keys.
pub fn in_redis(job: &Job, view: &ViewPlan) -> Rows {
    in_redis_at(&redis::shared(), job, view)
}

/// The same in another Redis than the shared one.
pub fn in_redis_at(address: &str, job: &Job, view: &ViewPlan) -> Rows {
    let prefix = format!("{}:{}:{{", job.plan.name, view.name);
    let mut rows = Rows::new();
    for key in redis::cli_at(address, &["KEYS", &format!("{prefix}*")]) {
        let group = key.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix('}')).expect("a key as documented");
        for member in redis::cli_at(address, &["ZRANGE", &key, "0", "-1"]) {
            let (start, columns) = member_of(&member);
            let groups = group.split('|').filter(|_| !view.group.is_empty()).map(str::to_owned).collect();
            let before = rows.insert((view.name.clone(), groups, start), columns);
            assert_eq!(before, None, "{key}: one member a window");
        }
    }
    rows
}

fn member_of(member: &str) -> (String, Map<String, Json>) {
    let mut columns: Map<String, Json> = serde_json::from_str(member).unwrap_or_else(|error| panic!("{member}: {error}"));
    let start = text(&columns.remove("start").expect("a member has a start"));
    for own in ["state", "v"] {
        columns.remove(own).expect("a member has a state and a version");
    }
    columns.remove("expires");
    (start, columns)
}

/// The view's rows in its table in Cassandra.
pub fn in_cassandra(cql: &Cql, keyspace: &str, job: &Job, view: &ViewPlan) -> Rows {
    let table = table(keyspace, job, &view.name);
    let row = |mut columns: Map<String, Json>| {
        let mut take = |name: &str| columns.remove(name).unwrap_or(Json::Null);
        let group = view.group.iter().map(|field| text(&take(&field.name))).collect();
        let (start, end, state) = (text(&take("window_start")), take("window_end"), take("state"));
        take("bucket");
        take("version");
        let expected = if view.window == WindowPlan::Unwindowed { "open" } else { "complete" };
        assert_eq!(state, expected, "{table}: {group:?} {start}");
        columns.insert("end".to_owned(), end);
        ((view.name.clone(), group, start), columns)
    };
    let all = cql.rows(&format!("SELECT * FROM {table}"));
    let count = all.len();
    let rows: Rows = all.into_iter().map(row).collect();
    assert_eq!(rows.len(), count, "{table}: one row a window");
    rows
}

/// `keyspace.table`.
pub fn table(keyspace: &str, job: &Job, what: &str) -> String {
    format!("{keyspace}.{}_{what}", job.plan.name.replace('-', "_"))
}

/// A time as Cassandra keeps it, to the millisecond.
fn cassandra_cell(cell: &Cell) -> Json {
    match cell {
        Cell::Time(us) => Cell::Time(us.div_euclid(1000) * 1000).to_json(),
        other => other.to_json(),
    }
}

/// A refused record as it is kept.
pub struct DeadLetter {
    pub place: Place,
    pub reason: Reason,
    pub payload: Option<Vec<u8>>,
    pub key: Option<Vec<u8>>,
}

/// All dead letters of a job.
pub struct DeadLetters(pub Vec<DeadLetter>);

impl DeadLetters {
    /// From the table in Cassandra.
    pub fn in_cassandra(cql: &Cql, keyspace: &str, job: &Job) -> DeadLetters {
        let letter = |row: Map<String, Json>| {
            let number = |name: &str| row[name].as_i64().expect("a number");
            let stream = job.plan.streams.iter().position(|stream| row["stream"] == stream.name.as_str()).expect("a stream");
            let partition = Partition { topic: text(&row["topic"]).as_str().into(), number: number("partition") as i32 };
            let named = |reason: &Reason| row["reason"] == reason.name();
            assert!(row["messages"].as_array().is_some_and(|messages| !messages.is_empty()), "{row:?} says what is wrong");
            DeadLetter {
                place: (stream as u32, partition, number("message_offset") as u64, number("element") as u32),
                reason: Reason::ALL.into_iter().find(named).expect("a known reason"),
                payload: bytes(&row["payload"]),
                key: bytes(&row["message_key"]),
            }
        };
        let all = cql.rows(&format!("SELECT * FROM {}", table(keyspace, job, "dead_letters")));
        DeadLetters(all.into_iter().map(letter).collect())
    }
}

fn bytes(blob: &Json) -> Option<Vec<u8>> {
    let digits = blob.as_str()?;
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal");
    let bytes: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect();
    assert_eq!(hexadecimal(&bytes), digits);
    Some(bytes)
}

/// Redis holds every row of these views, its board the newest of each group, and the frontiers are the job's.
pub fn assert_redis(job: &Job, views: &[&str], expected: &Expected, watermarks: &[EventTime]) {
    let name = &job.plan.name;
    for view in job.plan.views.iter().filter(|view| views.contains(&view.name.as_str())) {
        let all = expected.all(&view.name);
        assert!(!all.is_empty(), "{} has rows", view.name);
        assert_same("redis", &all, &in_redis(job, view));
        assert_same("redis board", &newest(&all), &board(job, view));
    }
    let asof: Map<String, Json> = redis::hash(&format!("{{{name}}}:asof")).into_iter().map(|(k, v)| (k, Json::from(v))).collect();
    for view in &job.plan.views {
        let watermark = watermarks[view.stream];
        let lateness = job.plan.streams[view.stream].lateness;
        let frontier = |at: EventTime| if at == EventTime::MIN { "-inf".to_owned() } else { at.to_string() };
        assert_eq!(asof[&format!("complete_until:{}", view.name)], frontier(watermark), "{}", view.name);
        assert_eq!(asof[&format!("final_until:{}", view.name)], frontier(watermark.minus(lateness)), "{}", view.name);
    }
    assert!(!asof.contains_key("lost_after"), "{asof:?}");
}

/// W of each stream, read off the board.
pub fn watermarks(job: &Job) -> Vec<EventTime> {
    let of = |stream: usize| {
        let view = job.plan.views.iter().find(|view| view.stream == stream).expect("a view of each stream");
        let until = redis::field(&format!("{{{}}}:asof", job.plan.name), &format!("complete_until:{}", view.name));
        until.parse::<jiff::Timestamp>().map_or(EventTime::MIN, |until| EventTime(until.as_microsecond()))
    };
    (0..job.plan.streams.len()).map(of).collect()
}

/// The rows of the board.
pub fn board(job: &Job, view: &ViewPlan) -> Rows {
    let fields = redis::hash(&format!("{{{}}}:latest:{}", job.plan.name, view.name));
    let row = |(group, member): (String, String)| {
        let (start, columns) = member_of(&member);
        ((view.name.clone(), group.split('|').map(str::to_owned).collect(), start), columns)
    };
    fields.into_iter().map(row).collect()
}

/// Of each group the row with the latest start.
pub fn newest(rows: &Rows) -> Rows {
    let mut newest = Rows::new();
    let mut last: Option<&crate::expected::Key> = None;
    for key in rows.keys().rev() {
        if last.is_none_or(|last| last.1 != key.1) {
            newest.insert(key.clone(), rows[key].clone());
        }
        last = Some(key);
    }
    newest
}

/// Cassandra holds every complete row of every view that it keeps, and its frontiers are the job's.
pub fn assert_cassandra(cql: &Cql, keyspace: &str, job: &Job, expected: &Expected, watermarks: &[EventTime]) {
    let cold = job.sinks.iter().find(|sink| matches!(sink.store, StoreSpec::Cassandra(_))).expect("the job keeps rows there");
    for view in cold.keep.iter().map(|kept| &job.plan.views[kept.view]) {
        let complete = expected.complete(&view.name, watermarks[view.stream]);
        let rows = expected.rows(&view.name, complete, cassandra_cell);
        assert!(!rows.is_empty(), "{} has complete rows", view.name);
        assert_same("cassandra", &rows, &in_cassandra(cql, keyspace, job, view));
    }
    for row in cql.rows(&format!("SELECT * FROM {}", table(keyspace, job, "as_of"))) {
        let view = job.plan.views.iter().find(|view| row["view_name"] == view.name.as_str()).expect("a view");
        let until = watermarks[view.stream].0.div_euclid(1000) * 1000;
        assert_eq!(row["complete_until"], EventTime(until).to_string(), "{}", view.name);
    }
}
