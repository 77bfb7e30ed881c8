//! What Redis and Cassandra hold of a job, with versions and rows that are gone, and what must be there.

use super::readings::{Columns, Key, Place};
use super::versions::{COLD_ONLY, Places, Version};
use crate::by_hand::figures::micros;
use crate::cql::Cql;
use crate::crash::resp::{Connection, Reply};
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;

/// A row as it stands in a store.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub gone: bool,
    pub version: u64,
    /// Nothing of a row that is gone.
    pub columns: Columns,
}

pub type Rows = BTreeMap<Key, Found>;

/// Both stores at one moment.
#[derive(Clone)]
pub struct Stores {
    pub redis: Rows,
    pub cassandra: Rows,
    /// By view and unit, start and version of what the board shows.
    board: BTreeMap<(String, String), (Option<i64>, u64)>,
    /// W as the board tells it, milliseconds.
    pub watermark_ms: i64,
}

impl Stores {
    /// Reads these views.
    pub fn read(places: &Places, views: &[&str]) -> Stores {
        let mut redis = Connection::open(&places.redis);
        let cql = Cql::at(&places.cassandra, None);
        let (mut hot, mut cold, mut board) = (Rows::new(), Rows::new(), BTreeMap::new());
        for view in views {
            for row in cql.rows(&format!("SELECT * FROM {}.{}_{view}", places.keyspace, places.name.replace('-', "_"))) {
                let unit = row["unit"].as_str().expect("a row has a unit").to_owned();
                let (start, found) = found(row);
                assert_eq!(cold.insert(((*view).to_owned(), unit, start), found), None, "one row a window");
            }
            if COLD_ONLY.contains(view) {
                continue;
            }
            let keys = format!("{}:{view}:{{", places.name);
            for key in ask(&mut redis, &["KEYS", &format!("{keys}*")]).texts() {
                let unit = key[keys.len()..].trim_end_matches('}').to_owned();
                for member in ask(&mut redis, &["ZRANGE", &key, "0", "-1"]).texts() {
                    let (start, found) = found(serde_json::from_str(&member).expect("a member is an object"));
                    assert_eq!(hot.insert(((*view).to_owned(), unit.clone(), start), found), None, "{key}: one member a window");
                }
            }
            for (unit, member) in ask(&mut redis, &["HGETALL", &format!("{{{}}}:latest:{view}", places.name)]).pairs() {
                let (start, found) = found(serde_json::from_str(&member).expect("a member is an object"));
                board.insert(((*view).to_owned(), unit), (start, found.version));
            }
        }
        let asof: BTreeMap<_, _> =
            ask(&mut redis, &["HGETALL", &format!("{{{}}}:asof", places.name)]).pairs().into_iter().collect();
        let watermark_ms = micros(&asof["complete_until:spans"]).expect("a time").div_euclid(1000);
        Stores { redis: hot, cassandra: cold, board, watermark_ms }
    }

    /// The board shows the newest row of every group.
    fn assert_board(&self) {
        let mut newest: BTreeMap<(String, String), (Option<i64>, u64)> = BTreeMap::new();
        for ((view, unit, start), row) in self.redis.iter().filter(|(_, row)| !row.gone) {
            newest.insert((view.clone(), unit.clone()), (*start, row.version));
        }
        let differing = newest.iter().find(|(group, row)| self.board.get(*group) != Some(*row));
        assert_eq!(differing, None, "the board shows {:?}", differing.and_then(|(group, _)| self.board.get(group)));
        assert_eq!(newest.len(), self.board.len(), "the board shows groups without rows: {:?}", self.board);
    }

    /// Every row of the version's views is there, and nothing else; in Cassandra those that are complete. Tells how many.
    pub fn assert_hold(&self, version: &Version, expected: &BTreeMap<Key, Columns>) -> usize {
        self.assert_board();
        let views = version.views();
        let in_redis = |key: &Key| !COLD_ONLY.contains(&key.0.as_str());
        let complete = |_: &Key, columns: &Columns| columns.get("end").is_none_or(|end| *end <= self.watermark_ms);
        assert_equal("redis", &views, &self.redis, expected, |key, _| in_redis(key))
            + assert_equal("cassandra", &views, &self.cassandra, expected, complete)
    }
}

/// What is not gone is what is expected, of which some must be there.
fn assert_equal(
    store: &str,
    views: &[&str],
    found: &Rows,
    expected: &BTreeMap<Key, Columns>,
    must: impl Fn(&Key, &Columns) -> bool,
) -> usize {
    let missing =
        expected.iter().filter(|(key, columns)| must(key, columns)).find(|(key, _)| found.get(*key).is_none_or(|row| row.gone));
    assert_eq!(missing, None, "{store} lacks a row, or has it as {:?}", missing.and_then(|(key, _)| found.get(key)));
    let seen = || found.iter().filter(|(key, row)| !row.gone && views.contains(&key.0.as_str()));
    let (differing, over): (Vec<_>, Vec<_>) =
        seen().filter(|(key, row)| expected.get(*key) != Some(&row.columns)).partition(|(key, _)| expected.contains_key(*key));
    for (key, row) in differing.iter().chain(&over).take(5) {
        println!("{store}: {key:?}\n  found    {row:?}\n  expected {:?}", expected.get(*key));
    }
    assert_eq!((differing.len(), over.len()), (0, 0), "{store}: rows that differ, and rows left over");
    seen().count()
}

/// A row's start, and the rest.
fn found(mut row: Map<String, Json>) -> (Option<i64>, Found) {
    let mut take = |names: [&str; 2]| row.remove(names[0]).or_else(|| row.remove(names[1])).unwrap_or(Json::Null);
    let time = |value: &Json| value.as_str().map(|text| micros(text).expect("a time").div_euclid(1000));
    let (start, end) = (time(&take(["window_start", "start"])), time(&take(["window_end", "end"])));
    let (gone, version) = (take(["state", "state"]) == "gone", take(["version", "v"]));
    let version = version.as_u64().or_else(|| version.as_str()?.parse().ok()).expect("a version");
    for name in ["unit", "bucket", "expires", "window_start_us"] {
        row.remove(name);
    }
    let figure = |(name, value): (String, Json)| (name, value.as_i64().expect("all figures are integers"));
    let mut columns = if gone { Columns::new() } else { row.into_iter().map(figure).collect() };
    columns.extend(end.filter(|_| !gone).map(|end| ("end".to_owned(), end)));
    (start, Found { gone, version, columns })
}

fn ask(connection: &mut Connection, words: &[&str]) -> Reply {
    let words = words.iter().map(|word| (*word).to_owned()).collect();
    connection.ask(&[words]).pop().expect("one answer a command")
}

/// Where records were refused, and why, from the table in Cassandra.
pub fn dead_letters(places: &Places) -> BTreeMap<Place, String> {
    let table = format!("{}.{}_dead_letters", places.keyspace, places.name.replace('-', "_"));
    let rows = Cql::at(&places.cassandra, None).rows(&format!("SELECT partition, message_offset, reason FROM {table}"));
    let number = |value: &Json| value.as_u64().expect("a number");
    let letter = |row: Map<String, Json>| {
        let reason = row["reason"].as_str().expect("a reason").to_owned();
        ((number(&row["partition"]) as i32, number(&row["message_offset"])), reason)
    };
    rows.into_iter().map(letter).collect()
}
