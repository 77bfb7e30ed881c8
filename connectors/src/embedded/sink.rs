//! Writing cuts: one transaction each.

use super::config::Config;
use super::error::{is_of_one_row, sink_error};
use super::values::{cell, group_cell, time};
use super::{dead_letters, events, held, schema};
use crate::context::{SinkContext, ViewDescription};
use caudal_pipeline::ports::sink::{self, Cut, HeldRow, Row, SetAside, SinkError};
use caudal_pipeline::time::EventTime;
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, Transaction, TransactionBehavior, params_from_iter};
use std::time::Duration;

/// How long another program's lock is waited for before the cut is given back to be tried again.
const BUSY: Duration = Duration::from_secs(2);

const AS_OF: &str = "
INSERT INTO as_of (view, complete_until, final_until, epoch, version) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (view) DO UPDATE SET complete_until = excluded.complete_until, final_until = excluded.final_until,
    epoch = excluded.epoch, version = excluded.version
WHERE excluded.version >= as_of.version";

/// The embedded store as a sink.
pub struct Sink {
    config: Config,
    context: SinkContext,
    statements: Vec<Statements>,
    connection: Option<Connection>,
}

/// The text of a view's statements, made once.
struct Statements {
    upsert: String,
    expire: String,
}

impl Sink {
    /// A sink that has not touched the disk yet.
    pub fn new(config: Config, context: SinkContext) -> Sink {
        let statements =
            context.views.iter().map(|v| Statements { upsert: schema::upsert(v), expire: schema::expire(&v.name) }).collect();
        Sink { config, context, statements, connection: None }
    }

    fn open(&self) -> Result<Connection, SinkError> {
        let path = &self.config.path;
        if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)
                .map_err(|e| SinkError::Stop(format!("cannot make the folder {}: {e}", folder.display())))?;
        }
        let connection = Connection::open(path).map_err(|e| sink_error(path, "open", &e))?;
        let settle = || -> rusqlite::Result<()> {
            connection.busy_timeout(BUSY)?;
            connection.set_prepared_statement_cache_capacity(2 * self.context.views.len() + 8);
            connection.pragma_update(None, "journal_mode", "WAL")?;
            // The cursor moves when a cut is written, so it must be on the disk by then.
            connection.pragma_update(None, "synchronous", "FULL")
        };
        settle().map_err(|e| sink_error(path, "open", &e))?;
        Ok(connection)
    }
}

impl sink::Sink for Sink {
    fn prepare(&mut self) -> Result<(), SinkError> {
        self.connection = None;
        let connection = self.open()?;
        schema::prepare(&connection, &self.config.path, &self.context)?;
        self.connection = Some(connection);
        Ok(())
    }

    fn write(&mut self, cut: &Cut) -> Result<Vec<SetAside>, SinkError> {
        let Some(connection) = &mut self.connection else {
            return Err(SinkError::Retry(format!("{} is not open yet", self.config.path.display())));
        };
        let failed = |e: rusqlite::Error| sink_error(&self.config.path, "write to", &e);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let set_aside = write_all(&transaction, &self.context, &self.statements, cut).map_err(failed)?;
        transaction.commit().map_err(failed)?;
        Ok(set_aside)
    }

    fn held(&mut self, view: usize, from: EventTime, take: &mut dyn FnMut(HeldRow)) -> Result<bool, SinkError> {
        if self.connection.is_none() {
            self.prepare()?;
        }
        let connection = self.connection.as_ref().expect("it was just opened");
        held::read(connection, &self.config.path, &self.context.views[view], from, take)?;
        Ok(true)
    }
}

fn write_all(
    transaction: &Transaction,
    context: &SinkContext,
    statements: &[Statements],
    cut: &Cut,
) -> rusqlite::Result<Vec<SetAside>> {
    let mut set_aside = Vec::new();
    for row in &cut.rows {
        let view = &context.views[row.view];
        let written = transaction.prepare_cached(&statements[row.view].upsert)?.execute(params_from_iter(row_values(view, row)));
        note(written, || row_name(view, row), &mut set_aside)?;
    }
    for letter in &cut.dead_letters {
        let stream = context.streams.get(letter.dead_letter.stream as usize).map_or("", String::as_str);
        let values = dead_letters::values(letter, stream);
        let written = transaction.prepare_cached(dead_letters::UPSERT)?.execute(params_from_iter(values));
        let origin = || {
            format!(
                "dead letter {stream} {}/{}@{}",
                letter.dead_letter.partition.topic, letter.dead_letter.partition.number, letter.dead_letter.offset.0
            )
        };
        note(written, origin, &mut set_aside)?;
    }
    for row in &cut.events {
        let stream = context.streams.get(row.event.stream as usize).map_or("", String::as_str);
        let written = transaction.prepare_cached(events::UPSERT)?.execute(params_from_iter(events::values(row, stream)));
        let origin = || {
            let (place, event) = (&row.event.partition, &row.event);
            format!("event {stream} {}/{}@{} element {}", place.topic, place.number, event.offset.0, event.element)
        };
        note(written, origin, &mut set_aside)?;
    }
    for (view, progress) in context.views.iter().zip(&cut.progress) {
        let values = [
            Sql::Text(view.name.clone()),
            time(progress.complete_until),
            time(progress.final_until),
            Sql::Integer(cut.to.0.cast_signed()),
            Sql::Integer(cut.version.0),
        ];
        transaction.prepare_cached(AS_OF)?.execute(params_from_iter(values))?;
    }
    for expire in statements.iter().map(|of_view| &of_view.expire).chain([&schema::expire("events")]) {
        transaction.prepare_cached(expire)?.execute([cut.version.0])?;
    }
    Ok(set_aside)
}

/// A row that SQLite will never take is set aside; any other refusal is of the whole cut.
fn note(written: rusqlite::Result<usize>, name: impl Fn() -> String, set_aside: &mut Vec<SetAside>) -> rusqlite::Result<()> {
    match written {
        Err(error) if is_of_one_row(&error) => {
            set_aside.push(SetAside { row: name(), cause: error.to_string() });
            Ok(())
        }
        other => other.map(|_| ()),
    }
}

/// The values of a view's upsert: group, start, end, columns, state, version, expiry.
fn row_values(view: &ViewDescription, row: &Row) -> Vec<Sql> {
    let mut values: Vec<Sql> = view.group_cells(row).iter().map(group_cell).collect();
    values.push(time(row.start));
    values.push(time(row.end));
    // A row that is gone carries no values, however many cells it comes with.
    values.extend((0..view.columns.len()).map(|i| row.cells.get(i).map_or(Sql::Null, cell)));
    values.push(Sql::Text(row.state.name().to_owned()));
    values.push(Sql::Integer(row.version.0));
    values.push(row.expires_us.map_or(Sql::Null, Sql::Integer));
    values
}

fn row_name(view: &ViewDescription, row: &Row) -> String {
    let group: Vec<String> = view.group_cells(row).iter().map(|c| c.to_json().to_string()).collect();
    format!("{} [{}] from {}", view.name, group.join(", "), row.start)
}
