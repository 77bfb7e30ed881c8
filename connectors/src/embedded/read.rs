//! Reading the embedded store: what `caudal demo` shows and what `caudal dead-letters` lists, shows and exports.
//!
//! Opens the file for reading only; the job may be running or not.

use super::dead_letters::headers_from_json;
use super::schema::{TableColumn, quoted, table_columns};
use super::values::to_json;
use caudal_pipeline::time::Version;
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OpenFlags, Row, params_from_iter};
use serde_json::{Map, Value as Json};
use std::path::Path;
use std::time::Duration;

/// Why the store could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such file.
    #[error("{0} does not exist: has the job run yet, and with this state folder?")]
    Missing(String),
    /// Anything else.
    #[error("cannot read {path}: {cause}")]
    Refused {
        /// The file.
        path: String,
        /// What SQLite said.
        cause: String,
    },
}

/// An embedded store, open for reading.
pub struct Store {
    path: String,
    connection: Connection,
}

/// Which dead letters; all by default, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterQuery {
    /// Of this stream only.
    pub stream: Option<String>,
    /// For this reason only, by its name: `schema`.
    pub reason: Option<String>,
    /// In this state only: `open`, `redriven` or `resolved`.
    pub state: Option<String>,
    /// Of this version or later.
    pub since: Option<Version>,
    /// Of an earlier version than this.
    pub until: Option<Version>,
    /// From this topic, file or generator only.
    pub topic: Option<String>,
    /// From this partition only.
    pub partition: Option<i32>,
    /// From this offset only.
    pub offset: Option<u64>,
    /// This element of an exploded message only.
    pub element: Option<u32>,
    /// At most so many.
    pub limit: Option<usize>,
}

/// A dead letter as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDeadLetter {
    /// The stream that refused it.
    pub stream: String,
    /// Topic, file or generator.
    pub topic: String,
    /// The partition in it.
    pub partition: i32,
    /// The offset in that.
    pub offset: u64,
    /// The element of an exploded message.
    pub element: u32,
    /// `open`, `redriven` or `resolved`.
    pub state: String,
    /// The version of the epoch that refused it.
    pub version: Version,
    /// The same as RFC 3339.
    pub received_at: String,
    /// Why, by name.
    pub reason: String,
    /// All that is wrong: JSON pointer and message, the first first.
    pub violations: Vec<(String, String)>,
    /// The key, as it came.
    pub key: Option<Vec<u8>>,
    /// The headers, as they came.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The original bytes; `None` is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// The broker's timestamp.
    pub broker_time_us: Option<i64>,
}

/// A view's frontiers as of the newest cut; `None` for the ends of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AsOf {
    /// The view.
    pub view: String,
    /// RFC 3339, `-infinity` or `infinity`.
    pub complete_until: String,
    /// RFC 3339, `-infinity` or `infinity`.
    pub final_until: String,
    /// The newest cut's epoch.
    pub epoch: u64,
    /// The newest cut's version.
    pub version: Version,
}

impl Store {
    /// Opens the file at `path`.
    pub fn open(path: &Path) -> Result<Store, ReadError> {
        let name = path.display().to_string();
        if !path.exists() {
            return Err(ReadError::Missing(name));
        }
        let refused = |e: rusqlite::Error| ReadError::Refused { path: name.clone(), cause: e.to_string() };
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(refused)?;
        connection.busy_timeout(Duration::from_secs(5)).map_err(refused)?;
        Ok(Store { path: name, connection })
    }

    /// The newest rows of a view, newest window first, those that are gone left out: the same JSON as in other stores.
    pub fn newest_rows(&self, view: &str, limit: usize) -> Result<Vec<Map<String, Json>>, ReadError> {
        let sql =
            format!("SELECT * FROM {} WHERE state <> 'gone' ORDER BY window_end DESC, window_start DESC LIMIT ?1", quoted(view));
        self.rows(view, &sql, vec![Sql::Integer(i64::try_from(limit).unwrap_or(i64::MAX))])
    }

    /// All rows of a view in the order of its key, those that are gone included.
    pub fn all_rows(&self, view: &str) -> Result<Vec<Map<String, Json>>, ReadError> {
        self.rows(view, &format!("SELECT * FROM {}", quoted(view)), Vec::new())
    }

    /// Every view's frontiers.
    pub fn as_of(&self) -> Result<Vec<AsOf>, ReadError> {
        let read = || {
            let mut statement =
                self.connection.prepare("SELECT view, complete_until, final_until, epoch, version FROM as_of ORDER BY view")?;
            let rows = statement.query_map([], |row| {
                let epoch: i64 = row.get(3)?;
                let version = Version(row.get(4)?);
                Ok(AsOf {
                    view: row.get(0)?,
                    complete_until: row.get(1)?,
                    final_until: row.get(2)?,
                    epoch: epoch.cast_unsigned(),
                    version,
                })
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|e| self.refused(&e))
    }

    /// Dead letters in the order in which they were refused.
    pub fn dead_letters(&self, query: &DeadLetterQuery) -> Result<Vec<StoredDeadLetter>, ReadError> {
        let mut found = Vec::new();
        self.each_dead_letter(query, |letter| found.push(letter))?;
        Ok(found)
    }

    /// The same one by one, for exports that memory would not hold.
    pub fn each_dead_letter(&self, query: &DeadLetterQuery, mut take: impl FnMut(StoredDeadLetter)) -> Result<(), ReadError> {
        let (sql, values) = query.sql();
        let mut read = || {
            let mut statement = self.connection.prepare(&sql)?;
            let mut rows = statement.query(params_from_iter(values.iter()))?;
            while let Some(row) = rows.next()? {
                take(stored(row)?);
            }
            Ok(())
        };
        read().map_err(|e| self.refused(&e))
    }

    /// How many dead letters there are for each (stream, reason).
    pub fn dead_letter_counts(&self) -> Result<Vec<(String, String, u64)>, ReadError> {
        let read = || {
            let mut statement =
                self.connection.prepare("SELECT stream, reason, count(*) FROM dead_letters GROUP BY 1, 2 ORDER BY 1, 2")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?.cast_unsigned())))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|e| self.refused(&e))
    }

    fn rows(&self, view: &str, sql: &str, values: Vec<Sql>) -> Result<Vec<Map<String, Json>>, ReadError> {
        let read = || {
            let mut statement = self.connection.prepare(sql)?;
            let columns = table_columns(&self.connection, view)?;
            let mut rows = statement.query(params_from_iter(values.iter()))?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(row_object(row, &columns)?);
            }
            Ok(found)
        };
        read().map_err(|e: rusqlite::Error| self.refused(&e))
    }

    fn refused(&self, error: &rusqlite::Error) -> ReadError {
        ReadError::Refused { path: self.path.clone(), cause: error.to_string() }
    }
}

/// A row without the columns that are ours alone.
fn row_object(row: &Row, columns: &[TableColumn]) -> rusqlite::Result<Map<String, Json>> {
    let mut object = Map::new();
    for (i, column) in columns.iter().enumerate().filter(|(_, c)| c.name != "_expires_us") {
        object.insert(column.name.clone(), to_json(row.get_ref(i)?, &column.declared));
    }
    Ok(object)
}

impl StoredDeadLetter {
    /// Its name for people and commands: `readings:wind.readings/3@18213`, with `+2` for the element 2 of that message.
    pub fn name(&self) -> String {
        let element = if self.element == 0 { String::new() } else { format!("+{}", self.element) };
        format!("{}:{}/{}@{}{element}", self.stream, self.topic, self.partition, self.offset)
    }
}

impl DeadLetterQuery {
    /// The one with this [`name`](StoredDeadLetter::name); `None` if it is no such name.
    pub fn named(name: &str) -> Option<DeadLetterQuery> {
        let (stream, rest) = name.split_once(':')?;
        let (place, position) = rest.rsplit_once('@')?;
        // A topic may be a path, with slashes of its own.
        let (topic, partition) = place.rsplit_once('/')?;
        let (offset, element) = position.split_once('+').unwrap_or((position, "0"));
        Some(DeadLetterQuery {
            stream: Some(stream.to_owned()),
            topic: Some(topic.to_owned()),
            partition: Some(partition.parse().ok()?),
            offset: Some(offset.parse().ok()?),
            element: Some(element.parse().ok()?),
            ..DeadLetterQuery::default()
        })
    }

    fn sql(&self) -> (String, Vec<Sql>) {
        let text = |t: &Option<String>| t.clone().map(Sql::Text);
        let conditions = [
            ("stream =", text(&self.stream)),
            ("reason =", text(&self.reason)),
            ("state =", text(&self.state)),
            ("version >=", self.since.map(|v| Sql::Integer(v.0))),
            ("version <", self.until.map(|v| Sql::Integer(v.0))),
            ("topic =", text(&self.topic)),
            ("partition =", self.partition.map(|p| Sql::Integer(p.into()))),
            ("offset =", self.offset.map(|o| Sql::Integer(o.cast_signed()))),
            ("element =", self.element.map(|e| Sql::Integer(e.into()))),
        ];
        let (mut clauses, mut values) = (vec!["1".to_owned()], Vec::new());
        for (clause, value) in conditions {
            if let Some(value) = value {
                values.push(value);
                clauses.push(format!("{clause} ?{}", values.len()));
            }
        }
        values.push(Sql::Integer(self.limit.map_or(-1, |l| i64::try_from(l).unwrap_or(i64::MAX))));
        let sql = format!(
            "SELECT stream, topic, partition, offset, element, state, version, received_at, reason, violations, key, headers, payload, broker_time_us
             FROM dead_letters WHERE {} ORDER BY version, stream, topic, partition, offset, element LIMIT ?{}",
            clauses.join(" AND "),
            values.len()
        );
        (sql, values)
    }
}

fn stored(row: &Row) -> rusqlite::Result<StoredDeadLetter> {
    let violations: Vec<Json> = serde_json::from_str(&row.get::<_, String>(9)?).unwrap_or_default();
    let word = |v: &Json, key: &str| v[key].as_str().unwrap_or_default().to_owned();
    Ok(StoredDeadLetter {
        stream: row.get(0)?,
        topic: row.get(1)?,
        partition: row.get(2)?,
        offset: row.get::<_, i64>(3)?.cast_unsigned(),
        element: row.get(4)?,
        state: row.get(5)?,
        version: Version(row.get(6)?),
        received_at: row.get(7)?,
        reason: row.get(8)?,
        violations: violations.iter().map(|v| (word(v, "path"), word(v, "message"))).collect(),
        key: row.get(10)?,
        headers: headers_from_json(&row.get::<_, String>(11)?),
        payload: row.get(12)?,
        broker_time_us: row.get(13)?,
    })
}
