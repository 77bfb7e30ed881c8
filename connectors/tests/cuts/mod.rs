//! What both store suites write: a small wind farm, row by row.
//!
//! Each integration test is a crate of its own and uses a part of this.
#![allow(dead_code, reason = "each test uses a part of it")]

use caudal_connectors::context::{SinkContext, ViewDescription};
use caudal_pipeline::plan::WindowPlan;
use caudal_pipeline::ports::sink::{Cut, Latest, Row, RowState, ViewProgress};
use caudal_pipeline::time::{Epoch, EventTime, Span, Version};
use caudal_pipeline::value::{Cell, Column, ColumnType, Field, FieldType, Value};
use std::time::{SystemTime, UNIX_EPOCH};

pub const MINUTE_US: i64 = 60_000_000;

/// A name that no other test uses: tests share a server.
pub fn job(test: &str) -> String {
    format!("t{}-{test}", std::process::id())
}

/// Two views: by minute and farm, and an unwindowed one by account.
pub fn context(job: &str) -> SinkContext {
    let text = |name: &str| Field { name: name.to_owned(), field_type: FieldType::Text };
    let column = |name: &str, column_type| Column { name: name.to_owned(), column_type };
    let per_minute = ViewDescription {
        name: "per_minute".to_owned(),
        window: WindowPlan::Tumbling { size: Span::seconds(60) },
        group: vec![text("farm")],
        columns: vec![column("mean", ColumnType::Decimal(2)), column("events", ColumnType::Integer)],
    };
    let balance = ViewDescription {
        name: "balance".to_owned(),
        window: WindowPlan::Unwindowed,
        group: vec![text("account")],
        columns: vec![column("amount", ColumnType::Decimal(2)), column("events", ColumnType::Integer)],
    };
    SinkContext { job: job.to_owned(), views: vec![per_minute, balance], streams: vec!["readings".to_owned()] }
}

pub fn decimal(unscaled: i128) -> Cell {
    Cell::Decimal { unscaled, scale: 2 }
}

/// A row of `per_minute`; its values tell its version.
pub fn row(farm: &str, minute: i64, version: i64) -> Row {
    Row {
        view: 0,
        group: vec![Value::Text(farm.into())],
        start: EventTime(minute * MINUTE_US),
        end: EventTime((minute + 1) * MINUTE_US),
        cells: vec![decimal(i128::from(version) * 100 + 25), Cell::Integer(version)],
        state: RowState::Open,
        version: Version(version),
        expires_us: None,
    }
}

pub fn balance(account: &str, version: i64) -> Row {
    Row {
        view: 1,
        group: vec![Value::Text(account.into())],
        start: EventTime::MIN,
        end: EventTime::MAX,
        ..row(account, 0, version)
    }
}

pub fn gone(row: Row) -> Row {
    Row { state: RowState::Gone, cells: vec![Cell::Null; row.cells.len()], ..row }
}

pub fn latest(row: &Row) -> Latest {
    Latest { view: row.view, group: row.group.clone(), row: Some(row.clone()) }
}

/// A cut whose epochs are its versions; every row is also its group's newest.
pub fn cut(previous: i64, version: i64, rows: Vec<Row>) -> Cut {
    let progress = ViewProgress { complete_until: EventTime(version * MINUTE_US), final_until: EventTime::MIN };
    Cut {
        from: Epoch(previous as u64),
        to: Epoch(version as u64),
        version: Version(version),
        previous_version: Version(previous),
        latest: rows.iter().map(latest).collect(),
        rows,
        progress: vec![progress; 2],
        ..Cut::default()
    }
}

/// The clock of the servers under test, which expire by it.
pub fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_micros() as i64
}
