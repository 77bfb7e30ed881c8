//! A cut as requests: each the rows of one partition, few enough for one unlogged batch.

use super::tables::Tables;
use super::{bucket, values};
use crate::context::{SinkContext, ViewDescription};
use caudal_pipeline::plan::WindowPlan;
use caudal_pipeline::ports::sink::{Cut, DeadLetterRow, EventRow, Latest, Row, RowState, SetAside};
use caudal_pipeline::record::Offset;
use caudal_pipeline::time::{EventTime, Version};
use caudal_pipeline::value::{Cell, Value};
use scylla::value::CqlValue;
use std::collections::BTreeMap;

/// Rows of one batch: more would load one node unevenly.
const BATCH_ROWS_MAX: usize = 30;

/// Bytes of one batch; a server warns at a few of these. A single row may be larger.
const BATCH_BYTES_MAX: usize = 4 << 10;

/// A larger row breaks the connection instead of being refused (a frame holds 16 MiB as servers come).
const ROW_BYTES_MAX: usize = 15 << 20;

/// Key parts together may not be longer.
const KEY_BYTES_MAX: usize = 65_535;

/// The longest TTL that Cassandra takes: 20 years.
const TTL_S_MAX: i64 = 630_720_000;

/// Values of one INSERT.
pub type Values = Vec<Option<CqlValue>>;

/// Several INSERTs, each with what it was made from.
pub type Writes = Vec<(Origin, Values)>;

/// What a write was made from, to name it when it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Position in the cut's rows.
    Row(usize),
    /// Position in the cut's newest rows.
    Latest(usize),
    /// Position in the cut's dead letters.
    DeadLetter(usize),
    /// Position in the cut's events.
    Event(usize),
    /// The frontiers.
    AsOf,
}

/// Writes of one partition of one table.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Position in [`Tables::all`].
    pub table: usize,
    /// One or several INSERTs.
    pub writes: Writes,
}

/// A cut, in the order in which it is written: each part once the one before is there.
#[derive(Debug, Default)]
pub struct Requests {
    /// Rows, dead letters and events.
    pub rows: Vec<Request>,
    /// Newest rows.
    pub latest: Vec<Request>,
    /// Frontiers, in one partition.
    pub as_of: Option<Request>,
    /// What no table can hold.
    pub set_aside: Vec<SetAside>,
}

/// Why a cut cannot be written at all: a retention that no TTL reaches.
pub fn requests(context: &SinkContext, tables: &Tables, cut: &Cut) -> Result<Requests, String> {
    let mut requests = Requests::default();
    let mut partitions: BTreeMap<(usize, &[Value], String), Writes> = BTreeMap::new();
    for (position, row) in cut.rows.iter().enumerate() {
        let view = &context.views[row.view];
        let ttl = ttl(cut.version, row.expires_us)?;
        let bucket = bucket_of(view, row.start);
        match row_values(view, row, bucket.as_deref(), ttl) {
            Ok(values) => partitions
                .entry((tables.views[row.view].0, &row.group, bucket.unwrap_or_default()))
                .or_default()
                .push((Origin::Row(position), values)),
            Err(cause) => requests.set_aside.push(SetAside { row: describe(context, cut, Origin::Row(position)), cause }),
        }
    }
    requests.rows = partitions.into_iter().flat_map(|((table, ..), writes)| batches(table, writes)).collect();
    requests.rows.extend(dead_letters(context, tables, cut, &mut requests.set_aside));
    requests.rows.extend(events(context, tables, cut, &mut requests.set_aside)?);
    requests.latest = latest(context, tables, cut)?;
    requests.as_of = as_of(context, tables, cut);
    Ok(requests)
}

/// Cuts one partition's writes into batches of bounded size.
fn batches(table: usize, writes: Writes) -> Vec<Request> {
    let mut requests: Vec<Request> = Vec::new();
    let mut bytes = 0;
    for write in writes {
        let size: usize = write.1.iter().map(values::len_bytes).sum();
        match requests.last_mut() {
            Some(last) if last.writes.len() < BATCH_ROWS_MAX && bytes + size <= BATCH_BYTES_MAX => {
                last.writes.push(write);
                bytes += size;
            }
            _ => {
                requests.push(Request { table, writes: vec![write] });
                bytes = size;
            }
        }
    }
    requests
}

/// Seconds from the cut's version to the expiry; never under one, 0 for none.
fn ttl(version: Version, expires_us: Option<i64>) -> Result<i32, String> {
    let Some(expires_us) = expires_us else { return Ok(0) };
    let left_us = expires_us.saturating_sub(version.0);
    let seconds = (left_us.div_euclid(1_000_000) + i64::from(left_us.rem_euclid(1_000_000) > 0)).max(1);
    if seconds > TTL_S_MAX {
        return Err(format!(
            "a row is to be kept for {} days: Cassandra's TTL ends at 7300; shorten `retain` or leave it out",
            seconds / 86_400
        ));
    }
    Ok(i32::try_from(seconds).expect("twenty years of seconds fit 32 bits"))
}

fn bucket_of(view: &ViewDescription, start: EventTime) -> Option<String> {
    match bucket::format(&view.window) {
        Some(format) => Some(bucket::of(format, start)),
        None => view.group.is_empty().then(|| "all".to_owned()),
    }
}

/// Key, window, state, version, columns, timestamp, TTL, in the order of the table's INSERT.
fn row_values(view: &ViewDescription, row: &Row, bucket: Option<&str>, ttl: i32) -> Result<Values, String> {
    let mut values = group_values(view, &row.group)?;
    values.extend(bucket.map(text));
    check_key(&values)?;
    if view.window != WindowPlan::Unwindowed {
        values.push(values::bound(row.start));
        if let WindowPlan::Session { .. } = view.window {
            values.push(Some(CqlValue::Int(row.start.0.rem_euclid(1000) as i32)));
        }
        values.push(values::bound(row.end));
    }
    values.extend([text(row.state.name()), Some(CqlValue::BigInt(row.version.0))]);
    push_columns(&mut values, view, &row.cells)?;
    finish(values, row.version, ttl)
}

fn group_values(view: &ViewDescription, group: &[Value]) -> Result<Values, String> {
    view.group.iter().zip(group).map(|(field, value)| values::key(field, value).map(Some)).collect()
}

/// All columns, whatever a gone row brings: those missing are null.
fn push_columns(values: &mut Values, view: &ViewDescription, cells: &[Cell]) -> Result<(), String> {
    for position in 0..view.columns.len() {
        values.push(values::cell(cells.get(position).unwrap_or(&Cell::Null))?);
    }
    Ok(())
}

fn check_key(key: &Values) -> Result<(), String> {
    let bytes: usize = key.iter().map(values::len_bytes).sum();
    if bytes > KEY_BYTES_MAX {
        Err(format!("its key of {bytes} bytes is longer than the {KEY_BYTES_MAX} of Cassandra's keys"))
    } else {
        Ok(())
    }
}

fn finish(mut values: Values, timestamp: Version, ttl: i32) -> Result<Values, String> {
    let bytes: usize = values.iter().map(values::len_bytes).sum();
    if bytes > ROW_BYTES_MAX {
        return Err(format!("{bytes} bytes, more than the {ROW_BYTES_MAX} of one write to Cassandra"));
    }
    values.extend([Some(CqlValue::BigInt(timestamp.0)), Some(CqlValue::Int(ttl))]);
    Ok(values)
}

fn text(text: &str) -> Option<CqlValue> {
    Some(CqlValue::Text(text.to_owned()))
}

/// Newest rows, under the cut's version: a group may fall back to a row that is older than what stands there. A row
/// that cannot be written was set aside with the rows.
fn latest(context: &SinkContext, tables: &Tables, cut: &Cut) -> Result<Vec<Request>, String> {
    let mut requests = Vec::new();
    for (position, latest) in cut.latest.iter().enumerate() {
        let Some(table) = tables.views[latest.view].1 else { continue };
        let ttl = ttl(cut.version, latest.row.as_ref().and_then(|row| row.expires_us))?;
        if let Ok(values) = latest_values(&context.views[latest.view], latest, cut.version, ttl) {
            requests.push(Request { table, writes: vec![(Origin::Latest(position), values)] });
        }
    }
    Ok(requests)
}

fn latest_values(view: &ViewDescription, latest: &Latest, version: Version, ttl: i32) -> Result<Values, String> {
    let mut values = group_values(view, &latest.group)?;
    if values.is_empty() {
        values.push(text("all"));
    }
    check_key(&values)?;
    match &latest.row {
        Some(row) => {
            let own =
                [values::bound(row.start), values::bound(row.end), text(row.state.name()), Some(CqlValue::BigInt(row.version.0))];
            values.extend(own);
            push_columns(&mut values, view, &row.cells)?;
        }
        None => {
            values.extend([None, None, text(RowState::Gone.name()), Some(CqlValue::BigInt(version.0))]);
            push_columns(&mut values, view, &[])?;
        }
    }
    finish(values, version, ttl)
}

fn dead_letters(context: &SinkContext, tables: &Tables, cut: &Cut, set_aside: &mut Vec<SetAside>) -> Vec<Request> {
    let mut partitions: BTreeMap<(String, u32), Writes> = BTreeMap::new();
    for (position, row) in cut.dead_letters.iter().enumerate() {
        let day = bucket::of("%Y-%m-%d", EventTime(row.version.0));
        match dead_letter_values(context, row, &day) {
            Ok(values) => {
                partitions.entry((day, row.dead_letter.stream)).or_default().push((Origin::DeadLetter(position), values))
            }
            Err(cause) => set_aside.push(SetAside { row: describe(context, cut, Origin::DeadLetter(position)), cause }),
        }
    }
    partitions.into_values().flat_map(|writes| batches(tables.dead_letters, writes)).collect()
}

fn dead_letter_values(context: &SinkContext, row: &DeadLetterRow, day: &str) -> Result<Values, String> {
    let letter = &row.dead_letter;
    let blob = |bytes: &Vec<u8>| CqlValue::Blob(bytes.clone());
    let list = |texts: Vec<&str>| Some(CqlValue::List(texts.into_iter().map(|t| CqlValue::Text(t.to_owned())).collect()));
    let violations = &letter.rejection.violations;
    let values = vec![
        text(day),
        text(&context.streams[letter.stream as usize]),
        text(&letter.partition.topic),
        Some(CqlValue::Int(letter.partition.number)),
        offset(letter.offset)?,
        element(letter.element)?,
        Some(values::timestamp(row.version.0)),
        text("open"),
        text(letter.rejection.reason.name()),
        list(violations.iter().map(|violation| violation.path.as_str()).collect()),
        list(violations.iter().map(|violation| violation.message.as_str()).collect()),
        letter.key.as_ref().map(blob),
        list(letter.headers.iter().map(|(name, _)| name.as_str()).collect()),
        Some(CqlValue::List(letter.headers.iter().map(|(_, bytes)| blob(bytes)).collect())),
        letter.payload.as_ref().map(blob),
        letter.broker_time_us.map(values::timestamp),
        Some(CqlValue::BigInt(row.version.0)),
    ];
    finish(values, row.version, 0)
}

fn offset(offset: Offset) -> Result<Option<CqlValue>, String> {
    i64::try_from(offset.0).map(|n| Some(CqlValue::BigInt(n))).map_err(|_| format!("offset {} is beyond bigint", offset.0))
}

fn element(element: u32) -> Result<Option<CqlValue>, String> {
    i32::try_from(element).map(|n| Some(CqlValue::Int(n))).map_err(|_| format!("element {element} is beyond int"))
}

fn events(context: &SinkContext, tables: &Tables, cut: &Cut, set_aside: &mut Vec<SetAside>) -> Result<Vec<Request>, String> {
    let mut partitions: BTreeMap<(u32, String), Writes> = BTreeMap::new();
    for (position, row) in cut.events.iter().enumerate() {
        let ttl = ttl(cut.version, row.expires_us)?;
        let day = bucket::of("%Y-%m-%d", row.event.event_time);
        match event_values(context, row, &day, ttl) {
            Ok(values) => partitions.entry((row.event.stream, day)).or_default().push((Origin::Event(position), values)),
            Err(cause) => set_aside.push(SetAside { row: describe(context, cut, Origin::Event(position)), cause }),
        }
    }
    Ok(partitions.into_values().flat_map(|writes| batches(tables.events, writes)).collect())
}

fn event_values(context: &SinkContext, row: &EventRow, day: &str, ttl: i32) -> Result<Values, String> {
    let event = &row.event;
    let blob = |bytes: &Vec<u8>| CqlValue::Blob(bytes.clone());
    let values = vec![
        text(&context.streams[event.stream as usize]),
        text(day),
        Some(values::timestamp(event.event_time.0)),
        text(&event.partition.topic),
        Some(CqlValue::Int(event.partition.number)),
        offset(event.offset)?,
        element(event.element)?,
        text(&event.id),
        event.key.as_ref().map(blob),
        event.payload.as_ref().map(blob),
        Some(CqlValue::BigInt(row.version.0)),
    ];
    finish(values, row.version, ttl)
}

/// The frontiers of all views: one partition, so that one batch shows them all at once.
fn as_of(context: &SinkContext, tables: &Tables, cut: &Cut) -> Option<Request> {
    let rows = context.views.iter().zip(&cut.progress).map(|(view, progress)| {
        let values = vec![
            text(&context.job),
            text(&view.name),
            values::bound(progress.complete_until),
            values::bound(progress.final_until),
            Some(CqlValue::BigInt(i64::try_from(cut.to.0).unwrap_or(i64::MAX))),
            Some(CqlValue::BigInt(cut.version.0)),
            Some(CqlValue::BigInt(cut.version.0)),
            Some(CqlValue::Int(0)),
        ];
        (Origin::AsOf, values)
    });
    let writes: Vec<_> = rows.collect();
    (!writes.is_empty()).then_some(Request { table: tables.as_of, writes })
}

/// What a refused write was, in words.
pub fn describe(context: &SinkContext, cut: &Cut, origin: Origin) -> String {
    let of_view = |view: usize, group: &[Value], start: Option<EventTime>| {
        let view = &context.views[view];
        let group: Vec<String> =
            view.group.iter().zip(group).map(|(field, value)| Cell::of(value, field.field_type).to_json().to_string()).collect();
        let group: String = group.join(", ").chars().take(200).collect();
        format!("{} ({group}){}", view.name, start.map(|start| format!(" {start}")).unwrap_or_default())
    };
    match origin {
        Origin::Row(position) => {
            let row = &cut.rows[position];
            of_view(row.view, &row.group, Some(row.start))
        }
        Origin::Latest(position) => {
            format!("newest of {}", of_view(cut.latest[position].view, &cut.latest[position].group, None))
        }
        Origin::DeadLetter(position) => {
            let letter = &cut.dead_letters[position].dead_letter;
            let place = &letter.partition;
            format!("dead letter {}/{}@{} element {}", place.topic, place.number, letter.offset.0, letter.element)
        }
        Origin::Event(position) => {
            let event = &cut.events[position].event;
            let place = &event.partition;
            format!("event {}/{}@{} element {}", place.topic, place.number, event.offset.0, event.element)
        }
        Origin::AsOf => "as_of".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_is_at_least_a_second_and_at_most_twenty_years() {
        let at = Version(1_000_000_000);
        for (expires_us, expected) in
            [(None, 0), (Some(0), 1), (Some(1_000_000_001), 1), (Some(1_002_000_001), 3), (Some(i64::MIN), 1)]
        {
            assert_eq!(ttl(at, expires_us), Ok(expected), "{expires_us:?}");
        }
        assert!(ttl(at, Some(i64::MAX)).unwrap_err().contains("retain"));
    }

    #[test]
    fn batches_hold_one_partition_in_bounded_pieces() {
        let write = |bytes: usize| (Origin::Row(bytes), vec![Some(CqlValue::Blob(vec![0; bytes]))]);
        let sizes = |writes: Vec<usize>| -> Vec<usize> {
            batches(0, writes.into_iter().map(write).collect()).iter().map(|request| request.writes.len()).collect()
        };
        assert_eq!(sizes(vec![1; 65]), [30, 30, 5]);
        assert_eq!(sizes(vec![100_000, 1, 1, 4_000, 100]), [1, 3, 1]);
        assert_eq!(sizes(vec![]), [0; 0]);
    }
}
