//! Reading the rows of a view back: what a rebuild finds there.
//!
//! The whole table is read, since a row's time is no part of what a table is looked up by. It is cut into many ranges of
//! tokens of one length, of which a few are read at once, each page by page. No more pages are in memory than that.

use super::error::{Fault, fault};
use super::sink::unprepared;
use super::tables::{Table, quoted};
use super::values;
use super::writer::{ATTEMPTS_MAX, FIRST_PAUSE};
use crate::context::ViewDescription;
use caudal_pipeline::plan::WindowPlan;
use caudal_pipeline::ports::sink::{HeldRow, RowState};
use caudal_pipeline::time::{EventTime, Version};
use scylla::client::session::Session;
use scylla::response::{PagingState, PagingStateResponse};
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{CqlValue, Row};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::sync::mpsc::{Sender, channel};
use tokio::task::JoinSet;

/// Ranges that the ring is cut into: so many that none takes a server long, even where a page is searched for among rows
/// that have expired.
const RANGES: i64 = 256;

/// Ranges that are read at the same time.
const AT_ONCE: usize = 4;

/// Rows of one page.
const PAGE_ROWS: i32 = 1000;

/// Which rows.
pub struct Wanted<'a> {
    /// Their view.
    pub view: &'a ViewDescription,
    /// Its table.
    pub table: &'a Table,
    /// The same with its keyspace, as CQL names it.
    pub place: String,
    /// Where the earliest of them starts.
    pub from: EventTime,
}

/// Gives all of them that are not gone.
pub async fn read(
    session: &Arc<Session>,
    wanted: &Wanted<'_>,
    in_flight_max: usize,
    take: &mut dyn FnMut(HeldRow),
) -> Result<(), Fault> {
    let mut statement = session.prepare(select(wanted)).await.map_err(|error| unprepared(error, &wanted.place))?;
    statement.set_page_size(PAGE_ROWS);
    statement.set_is_idempotent(true);
    let (give, mut pages) = channel(1);
    let next = Arc::new(AtomicI64::new(0));
    let mut readers = JoinSet::new();
    for _ in 0..AT_ONCE.min(in_flight_max.max(1)) {
        let reader =
            Reader { session: session.clone(), statement: statement.clone(), place: wanted.place.clone(), give: give.clone() };
        readers.spawn(reader.read(next.clone()));
    }
    drop(give);
    // Closed when the last of them is through, or has failed.
    while let Some(page) = pages.recv().await {
        for row in page {
            let held = held(wanted.view, row.columns).ok_or_else(|| foreign(&wanted.place))?;
            if let Some(row) = held.filter(|row| row.start >= wanted.from) {
                take(row);
            }
        }
    }
    while let Some(done) = readers.join_next().await {
        done.expect("a reader neither panics nor is cancelled")?;
    }
    Ok(())
}

/// One of those that read ranges until none is left.
struct Reader {
    session: Arc<Session>,
    statement: PreparedStatement,
    place: String,
    give: Sender<Vec<Row>>,
}

impl Reader {
    async fn read(self, next: Arc<AtomicI64>) -> Result<(), Fault> {
        loop {
            let range = next.fetch_add(1, Ordering::Relaxed);
            if range >= RANGES {
                return Ok(());
            }
            if let Err(fault) = self.range(bounds(range)).await {
                // The others need not go on.
                next.store(RANGES, Ordering::Relaxed);
                return Err(fault);
            }
        }
    }

    async fn range(&self, bounds: (i64, i64)) -> Result<(), Fault> {
        let mut state = PagingState::start();
        loop {
            let (rows, response) = self.page(bounds, &state).await?;
            // Nobody takes them any more: one of them was not ours.
            let taken = rows.is_empty() || self.give.send(rows).await.is_ok();
            match response.into_paging_control_flow() {
                ControlFlow::Continue(following) if taken => state = following,
                _ => return Ok(()),
            }
        }
    }

    /// A page, asked for as long as that may help: what was read before need not be read again.
    async fn page(&self, bounds: (i64, i64), state: &PagingState) -> Result<(Vec<Row>, PagingStateResponse), Fault> {
        let mut attempt = 0;
        loop {
            match self.attempt(bounds, state.clone()).await {
                Err(Fault::Busy(_) | Fault::Away(_)) if attempt + 1 < ATTEMPTS_MAX => {
                    tokio::time::sleep(FIRST_PAUSE * 2u32.pow(attempt)).await;
                    attempt += 1;
                }
                done => return done,
            }
        }
    }

    async fn attempt(&self, bounds: (i64, i64), state: PagingState) -> Result<(Vec<Row>, PagingStateResponse), Fault> {
        let answer = self.session.execute_single_page(&self.statement, bounds, state).await;
        let (result, response) = answer.map_err(|error| fault(&error, &self.place))?;
        let unreadable = |error: String| Fault::Refused(format!("{}: {error}", self.place));
        let rows = result.into_rows_result().map_err(|error| unreadable(error.to_string()))?;
        let rows: Result<Vec<Row>, _> = rows.rows::<Row>().map_err(|error| unreadable(error.to_string()))?.collect();
        Ok((rows.map_err(|error| unreadable(error.to_string()))?, response))
    }
}

/// Tokens after the first and up to the last of them. No key has the smallest token.
fn bounds(range: i64) -> (i64, i64) {
    let token =
        |range: i64| i64::try_from(i128::from(i64::MIN) + (i128::from(range) << 64) / i128::from(RANGES)).unwrap_or(i64::MAX);
    (token(range), token(range + 1))
}

fn select(wanted: &Wanted) -> String {
    let own = |name: &str| quoted(name);
    let group = wanted.view.group.iter().map(|field| quoted(&field.name));
    let window = match wanted.view.window {
        WindowPlan::Unwindowed => &[][..],
        WindowPlan::Session { .. } => &["window_start", "window_end", "window_start_us"],
        _ => &["window_start", "window_end"],
    };
    let columns: Vec<String> =
        ["state", "version"].into_iter().map(own).chain(group).chain(window.iter().copied().map(own)).collect();
    let key: Vec<String> = wanted.table.partition.iter().map(|column| quoted(&column.name)).collect();
    let (columns, key) = (columns.join(", "), key.join(", "));
    format!("SELECT {columns} FROM {} WHERE token({key}) > ? AND token({key}) <= ?", wanted.place)
}

/// The row in a line of the table; none if it is gone, or if what is left of it is not ours. `None` if we cannot have written
/// it.
fn held(view: &ViewDescription, columns: Vec<Option<CqlValue>>) -> Option<Option<HeldRow>> {
    let mut columns = columns.into_iter();
    let (state, version) = (columns.next()?, columns.next()?);
    let (Some(CqlValue::Text(state)), Some(CqlValue::BigInt(version))) = (state, version) else { return Some(None) };
    if state == RowState::Gone.name() {
        return Some(None);
    }
    let mut group = Vec::with_capacity(view.group.len());
    for field in &view.group {
        group.push(values::key_value(field, &columns.next()??)?);
    }
    let mut row = HeldRow { group, start: EventTime::MIN, end: EventTime::MAX, version: Version(version) };
    if view.window != WindowPlan::Unwindowed {
        row.start = values::time_of(&columns.next()??)?;
        row.end = values::time_of(&columns.next()??)?;
    }
    if let WindowPlan::Session { .. } = view.window {
        let CqlValue::Int(us) = columns.next()?? else { return None };
        row.start.0 += i64::from(us);
    }
    Some(Some(row))
}

fn foreign(place: &str) -> Fault {
    Fault::Refused(format!(
        "{place} has a row that this job cannot have written, perhaps since a field of its group has changed: drop or rename the table, or rename the view"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_all_tokens_once() {
        assert_eq!((bounds(0).0, bounds(RANGES - 1).1), (i64::MIN, i64::MAX));
        assert!((1..RANGES).all(|range| bounds(range - 1).1 == bounds(range).0 && bounds(range).0 < bounds(range).1));
    }
}
