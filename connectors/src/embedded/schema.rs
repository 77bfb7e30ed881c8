//! The tables: made when missing, compared with the job when there.

use super::error::sink_error;
use super::values::declared;
use crate::context::{SinkContext, ViewDescription};
use caudal_pipeline::ports::sink::SinkError;
use caudal_pipeline::value::ColumnType;
use rusqlite::{Connection, OptionalExtension};
use std::path::Path;

/// The layout's number, kept in the file.
const LAYOUT: &str = "1";

/// Tables that are not views.
const OWN: [&str; 4] = ["caudal", "as_of", "dead_letters", "events"];

const OWN_TABLES: &str = "
CREATE TABLE IF NOT EXISTS caudal (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS as_of (
    view TEXT PRIMARY KEY, complete_until TIME_TEXT NOT NULL, final_until TIME_TEXT NOT NULL, epoch INTEGER NOT NULL, version INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dead_letters (
    stream TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL, element INTEGER NOT NULL,
    state TEXT NOT NULL, version INTEGER NOT NULL, received_at TIME_TEXT NOT NULL,
    reason TEXT NOT NULL, path TEXT NOT NULL, message TEXT NOT NULL, violations JSON_TEXT NOT NULL,
    key BLOB, headers JSON_TEXT NOT NULL, payload BLOB, broker_time_us INTEGER,
    PRIMARY KEY (stream, topic, partition, offset, element)
);
CREATE INDEX IF NOT EXISTS dead_letters_by_version ON dead_letters (version);
CREATE TABLE IF NOT EXISTS events (
    stream TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL, element INTEGER NOT NULL,
    event_time TIME_TEXT NOT NULL, id TEXT NOT NULL, key BLOB, payload BLOB, version INTEGER NOT NULL, _expires_us INTEGER,
    PRIMARY KEY (stream, topic, partition, offset, element)
);
CREATE INDEX IF NOT EXISTS events_expiry ON events (_expires_us) WHERE _expires_us IS NOT NULL;
";

/// A column of a view's table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TableColumn {
    pub(super) name: String,
    pub(super) declared: String,
    /// Its place in the primary key, from 1; 0 when it is not in it.
    key: i64,
}

/// Makes what is missing and checks what is there.
pub(super) fn prepare(connection: &Connection, path: &Path, context: &SinkContext) -> Result<(), SinkError> {
    let failed = |e: rusqlite::Error| sink_error(path, "make the tables of", &e);
    connection.execute_batch(OWN_TABLES).map_err(failed)?;
    check_owner(connection, path, &context.job)?;
    for view in &context.views {
        if OWN.iter().any(|own| own.eq_ignore_ascii_case(&view.name)) || view.name.to_ascii_lowercase().starts_with("sqlite_") {
            return Err(SinkError::Stop(format!(
                "the embedded store keeps a table `{}` of its own: give the view another name",
                view.name
            )));
        }
        let found = table_columns(connection, &view.name).map_err(failed)?;
        if found.is_empty() {
            connection.execute_batch(&create(view)).map_err(failed)?;
        } else if found != columns(view) {
            return Err(SinkError::Stop(differs(path, view, &found)));
        }
    }
    Ok(())
}

fn check_owner(connection: &Connection, path: &Path, job: &str) -> Result<(), SinkError> {
    for (key, wanted) in [("job", job), ("layout", LAYOUT)] {
        let failed = |e: rusqlite::Error| sink_error(path, "read", &e);
        connection.execute("INSERT OR IGNORE INTO caudal VALUES (?1, ?2)", [key, wanted]).map_err(failed)?;
        let found: Option<String> = connection
            .query_row("SELECT value FROM caudal WHERE key = ?1", [key], |row| row.get(0))
            .optional()
            .map_err(failed)?;
        if found.as_deref() != Some(wanted) {
            let found = found.unwrap_or_default();
            return Err(SinkError::Stop(format!(
                "{} was written for the {key} `{found}`, not `{wanted}`: name another file",
                path.display()
            )));
        }
    }
    Ok(())
}

/// The columns of a view's table in order.
fn columns(view: &ViewDescription) -> Vec<TableColumn> {
    let column = |name: &str, declared: String| TableColumn { name: name.to_owned(), declared, key: 0 };
    let mut columns: Vec<TableColumn> =
        view.group.iter().map(|f| column(&f.name, declared(&ColumnType::from(f.field_type)))).collect();
    columns.push(column("window_start", "TIME_TEXT".to_owned()));
    for (place, part) in columns.iter_mut().enumerate() {
        part.key = place as i64 + 1;
    }
    columns.push(column("window_end", "TIME_TEXT".to_owned()));
    columns.extend(view.columns.iter().map(|c| column(&c.name, declared(&c.column_type))));
    columns.push(column("state", "TEXT".to_owned()));
    columns.push(column("version", "INTEGER".to_owned()));
    columns.push(column("_expires_us", "INTEGER".to_owned()));
    columns
}

/// The columns that a table has, in order; none when there is no such table.
pub(super) fn table_columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<TableColumn>> {
    let mut statement = connection.prepare("SELECT name, type, pk FROM pragma_table_info(?1) ORDER BY cid")?;
    let rows =
        statement.query_map([table], |row| Ok(TableColumn { name: row.get(0)?, declared: row.get(1)?, key: row.get(2)? }))?;
    rows.collect()
}

fn create(view: &ViewDescription) -> String {
    let columns = columns(view);
    let lines: Vec<String> = columns
        .iter()
        .map(|c| {
            let fixed = c.key > 0 || matches!(c.name.as_str(), "window_end" | "state" | "version");
            format!("{} {}{}", quoted(&c.name), c.declared, if fixed { " NOT NULL" } else { "" })
        })
        .collect();
    let key: Vec<String> = columns.iter().filter(|c| c.key > 0).map(|c| quoted(&c.name)).collect();
    let (table, index) = (quoted(&view.name), quoted(&format!("{}_expiry", view.name)));
    format!(
        "CREATE TABLE {table} ({}, PRIMARY KEY ({})) WITHOUT ROWID;\nCREATE INDEX {index} ON {table} (_expires_us) WHERE _expires_us IS NOT NULL;",
        lines.join(", "),
        key.join(", ")
    )
}

/// Writes a row, unless the table holds a higher version of it.
pub(super) fn upsert(view: &ViewDescription) -> String {
    let columns = columns(view);
    let names: Vec<String> = columns.iter().map(|c| quoted(&c.name)).collect();
    let places: Vec<String> = (1..=columns.len()).map(|i| format!("?{i}")).collect();
    let key: Vec<String> = columns.iter().filter(|c| c.key > 0).map(|c| quoted(&c.name)).collect();
    let set: Vec<String> =
        columns.iter().filter(|c| c.key == 0).map(|c| format!("{0} = excluded.{0}", quoted(&c.name))).collect();
    let table = quoted(&view.name);
    format!(
        "INSERT INTO {table} ({}) VALUES ({}) ON CONFLICT ({}) DO UPDATE SET {} WHERE excluded.version >= {table}.version",
        names.join(", "),
        places.join(", "),
        key.join(", "),
        set.join(", ")
    )
}

/// Removes the rows whose time is over.
pub(super) fn expire(table: &str) -> String {
    format!("DELETE FROM {} WHERE _expires_us < ?1", quoted(table))
}

fn differs(path: &Path, view: &ViewDescription, found: &[TableColumn]) -> String {
    let list =
        |columns: &[TableColumn]| columns.iter().map(|c| format!("{} {}", c.name, c.declared)).collect::<Vec<_>>().join(", ");
    format!(
        "the table `{}` in {} has the columns ({}), the job needs ({}): rename the view, or move the file away to have it written anew",
        view.name,
        path.display(),
        list(found),
        list(&columns(view))
    )
}

/// A name in SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
