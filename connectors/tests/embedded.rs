//! The embedded store: cuts become rows which any client reads, repeats change nothing, what differs is refused.

mod cuts;
mod held;

use caudal_connectors::context::{SinkContext, ViewDescription, row_json};
use caudal_connectors::embedded::read::{DeadLetterQuery, ReadError, Store};
use caudal_connectors::embedded::{Config, Sink};
use caudal_pipeline::plan::WindowPlan;
use caudal_pipeline::ports::sink::{Cut, DeadLetterRow, EventRow, Row, RowState, Sink as _, SinkError, ViewProgress};
use caudal_pipeline::record::{DeadLetter, Event, Offset, Partition, Reason, Rejection};
use caudal_pipeline::time::{Epoch, EventTime, Span, Version};
use caudal_pipeline::value::{Cell, Column, ColumnType, Field, FieldType, Value};
use std::path::PathBuf;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("caudal-embedded-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Folder(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("deep/store.db")
    }

    fn sink(&self, context: &SinkContext) -> Sink {
        Sink::new(Config { path: self.file() }, context.clone())
    }

    fn store(&self) -> Store {
        Store::open(&self.file()).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn column(name: &str, column_type: ColumnType) -> Column {
    Column { name: name.to_owned(), column_type }
}

fn context() -> SinkContext {
    let per_minute = ViewDescription {
        name: "per_minute".to_owned(),
        window: WindowPlan::Tumbling { size: Span::seconds(60) },
        group: vec![
            Field { name: "farm".to_owned(), field_type: FieldType::Text },
            Field { name: "class".to_owned(), field_type: FieldType::Decimal(1) },
        ],
        columns: vec![
            column("mean", ColumnType::Decimal(3)),
            column("events", ColumnType::Integer),
            column("ok", ColumnType::Bool),
            column("newest", ColumnType::Time),
            column("order", ColumnType::Text),
            column("ids", ColumnType::List(Box::new(ColumnType::Text))),
        ],
    };
    let balance = ViewDescription {
        name: "balance".to_owned(),
        window: WindowPlan::Unwindowed,
        group: vec![],
        columns: vec![column("sum", ColumnType::Decimal(2))],
    };
    SinkContext { job: "wind".to_owned(), views: vec![per_minute, balance], streams: vec!["readings".to_owned()] }
}

fn minute(farm: Value, minute: i64, version: i64, mean: i128) -> Row {
    Row {
        view: 0,
        group: vec![farm, Value::Decimal(15)],
        start: EventTime(minute * 60_000_000),
        end: EventTime((minute + 1) * 60_000_000),
        cells: vec![
            Cell::Decimal { unscaled: mean, scale: 3 },
            Cell::Integer(7),
            Cell::Bool(true),
            Cell::Time(1_500_000),
            Cell::Text("it's \"quoted\"".into()),
            Cell::List(vec![Cell::Text("a".into()), Cell::Null]),
        ],
        state: RowState::Open,
        version: Version(version),
        expires_us: Some(1_000_000),
    }
}

fn north(at: i64, version: i64, mean: i128) -> Row {
    minute(Value::Text("north".into()), at, version, mean)
}

fn cut(version: i64, rows: Vec<Row>) -> Cut {
    let progress = ViewProgress { complete_until: EventTime(60_000_000), final_until: EventTime::MIN };
    Cut { to: Epoch(version.unsigned_abs()), version: Version(version), rows, progress: vec![progress; 2], ..Cut::default() }
}

fn prepared(folder: &Folder) -> Sink {
    let mut sink = folder.sink(&context());
    sink.prepare().unwrap();
    sink
}

#[test]
fn a_row_reads_back_as_the_json_that_every_store_shows() {
    let folder = Folder::new("json");
    let mut sink = prepared(&folder);
    // More digits than a double holds.
    let row = north(1, 10, 123_456_789_012_345_678_901);
    let sum = Row {
        view: 1,
        group: vec![],
        start: EventTime::MIN,
        end: EventTime::MAX,
        cells: vec![Cell::Decimal { unscaled: -5, scale: 2 }],
        expires_us: None,
        ..row.clone()
    };
    assert_eq!(sink.write(&cut(10, vec![row.clone(), sum.clone()])).unwrap(), []);
    let store = folder.store();
    let context = context();
    assert_eq!(store.all_rows("per_minute").unwrap(), [row_json(&context.views[0], &row)]);
    assert_eq!(store.newest_rows("balance", 1).unwrap(), [row_json(&context.views[1], &sum)]);
    let as_of = store.as_of().unwrap();
    assert_eq!(
        (as_of[1].view.as_str(), as_of[1].complete_until.as_str(), as_of[1].final_until.as_str()),
        ("per_minute", "1970-01-01T00:01:00Z", "-infinity")
    );
    assert_eq!((as_of[1].epoch, as_of[1].version), (10, Version(10)));
}

#[test]
fn the_highest_version_wins_whatever_is_repeated_or_delayed() {
    let folder = Folder::new("version");
    let mut sink = prepared(&folder);
    let means =
        |store: Store| -> Vec<String> { store.all_rows("per_minute").unwrap().iter().map(|r| r["mean"].to_string()).collect() };
    for (version, mean) in [(10, 1), (30, 3), (30, 3), (20, 2), (10, 1)] {
        sink.write(&cut(version, vec![north(1, version, mean)])).unwrap();
    }
    assert_eq!(means(folder.store()), ["0.003"]);
    assert_eq!(folder.store().as_of().unwrap()[0].version, Version(30));
    let gone = Row { state: RowState::Gone, cells: vec![Cell::Null; 6], ..north(1, 40, 0) };
    sink.write(&cut(40, vec![gone])).unwrap();
    assert_eq!(means(folder.store()), ["null"]);
    assert_eq!(folder.store().newest_rows("per_minute", 9).unwrap(), []);
}

#[test]
fn nulls_in_a_group_are_one_row_and_not_the_empty_text() {
    let folder = Folder::new("null");
    let mut sink = prepared(&folder);
    for version in [10, 20] {
        let rows = vec![minute(Value::Null, 1, version, 1), minute(Value::Text("".into()), 1, version, 2)];
        sink.write(&cut(version, rows)).unwrap();
    }
    let rows = folder.store().all_rows("per_minute").unwrap();
    let farms: Vec<String> = rows.iter().map(|r| r["farm"].to_string()).collect();
    assert_eq!(farms, ["\"\"", "null"]);
}

#[test]
fn rows_leave_when_the_time_of_the_cuts_passes_their_expiry() {
    let folder = Folder::new("expiry");
    let mut sink = prepared(&folder);
    let kept = Row { expires_us: None, ..north(2, 10, 2) };
    sink.write(&cut(10, vec![north(1, 10, 1), kept])).unwrap();
    sink.write(&cut(1_000_000, vec![])).unwrap();
    assert_eq!(folder.store().all_rows("per_minute").unwrap().len(), 2);
    sink.write(&cut(1_000_001, vec![])).unwrap();
    let left = folder.store().all_rows("per_minute").unwrap();
    assert_eq!(left.iter().map(|r| r["window_start"].as_str().unwrap()).collect::<Vec<_>>(), ["1970-01-01T00:02:00Z"]);
}

#[test]
fn a_reader_in_a_transaction_sees_whole_cuts_while_the_job_writes() {
    let folder = Folder::new("reader");
    let mut sink = prepared(&folder);
    sink.write(&cut(10, vec![north(1, 10, 1)])).unwrap();
    let reader = rusqlite::Connection::open(folder.file()).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    let count = |sql: &str| reader.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM per_minute"), 1);
    sink.write(&cut(20, vec![north(2, 20, 1)])).unwrap();
    assert_eq!((count("SELECT count(*) FROM per_minute"), count("SELECT max(version) FROM as_of")), (1, 10));
    reader.execute_batch("COMMIT").unwrap();
    assert_eq!((count("SELECT count(*) FROM per_minute"), count("SELECT max(version) FROM as_of")), (2, 20));
}

#[test]
fn a_lock_of_another_program_is_worth_waiting_for() {
    let folder = Folder::new("busy");
    let mut sink = prepared(&folder);
    let other = rusqlite::Connection::open(folder.file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(matches!(sink.write(&cut(10, vec![north(1, 10, 1)])), Err(SinkError::Retry(_))));
    other.execute_batch("ROLLBACK").unwrap();
    sink.prepare().unwrap();
    sink.write(&cut(10, vec![north(1, 10, 1)])).unwrap();
}

#[test]
fn what_differs_stops_the_sink_and_says_how() {
    let folder = Folder::new("differs");
    prepared(&folder);
    prepared(&folder);
    let refused = |context: &SinkContext| match folder.sink(context).prepare() {
        Err(SinkError::Stop(words)) => words,
        other => panic!("{other:?}"),
    };
    let mut changed = context();
    changed.views[0].columns[0].column_type = ColumnType::Decimal(2);
    let words = refused(&changed);
    assert!(words.contains("mean DECIMAL_TEXT(3)") && words.contains("mean DECIMAL_TEXT(2)"), "{words}");
    assert!(refused(&SinkContext { job: "bank".to_owned(), ..context() }).contains("job `wind`, not `bank`"));
    let mut own = context();
    own.views[1].name = "Dead_Letters".to_owned();
    assert!(refused(&own).contains("another name"));

    let other = Folder::new("text");
    std::fs::create_dir_all(other.file().parent().unwrap()).unwrap();
    std::fs::write(other.file(), "this is a shopping list and not a database ".repeat(50)).unwrap();
    assert!(matches!(other.sink(&context()).prepare(), Err(SinkError::Stop(words)) if words.contains("not an SQLite file")));
    assert!(matches!(Store::open(&other.0.join("none.db")), Err(ReadError::Missing(_))));
}

fn letter(offset: u64, reason: Reason, version: i64) -> DeadLetterRow {
    let rejection = Rejection::one(reason, "/power", "not a number");
    let dead_letter = DeadLetter {
        stream: 0,
        partition: Partition { topic: "wind.readings".into(), number: 3 },
        offset: Offset(offset),
        element: 0,
        rejection,
        key: Some(vec![0, 255]),
        headers: vec![("trace".to_owned(), b"abc".to_vec()), ("bin".to_owned(), vec![0xff, 0])],
        payload: (reason != Reason::Tombstone).then(|| vec![b'{', 0, 0xfe]),
        broker_time_us: Some(5),
    };
    DeadLetterRow { version: Version(version), dead_letter }
}

#[test]
fn dead_letters_keep_their_bytes_and_are_found() {
    let folder = Folder::new("dead");
    let mut sink = prepared(&folder);
    let letters = vec![letter(1, Reason::Malformed, 10), letter(2, Reason::Tombstone, 10), letter(3, Reason::Schema, 20)];
    for _ in 0..2 {
        sink.write(&Cut { dead_letters: letters.clone(), ..cut(20, vec![]) }).unwrap();
    }
    let store = folder.store();
    let offsets = |query: DeadLetterQuery| store.dead_letters(&query).unwrap().iter().map(|l| l.offset).collect::<Vec<_>>();
    let all = DeadLetterQuery::default;
    assert_eq!(offsets(all()), [1, 2, 3]);
    assert_eq!(offsets(DeadLetterQuery { reason: Some("schema".to_owned()), ..all() }), [3]);
    assert_eq!(offsets(DeadLetterQuery { until: Some(Version(20)), limit: Some(1), ..all() }), [1]);
    assert_eq!(offsets(DeadLetterQuery { stream: Some("other".to_owned()), ..all() }), [0u64; 0]);
    assert_eq!(
        offsets(DeadLetterQuery { topic: Some("wind.readings".to_owned()), partition: Some(3), offset: Some(2), ..all() }),
        [2]
    );
    let first = &store.dead_letters(&all()).unwrap()[0];
    let sent = &letters[0].dead_letter;
    assert_eq!((&first.payload, &first.key, &first.headers), (&sent.payload, &sent.key, &sent.headers));
    assert_eq!(
        (first.state.as_str(), first.violations.as_slice()),
        ("open", &[("/power".to_owned(), "not a number".to_owned())][..])
    );
    assert_eq!(store.dead_letter_counts().unwrap().len(), 3);
    assert_eq!(first.name(), "readings:wind.readings/3@1");
    assert_eq!(store.dead_letters(&DeadLetterQuery::named(&first.name()).unwrap()).unwrap(), std::slice::from_ref(first));
    let exploded = DeadLetterQuery::named("s:/a/b.csv/0@7+2").unwrap();
    assert_eq!((exploded.topic.as_deref(), exploded.offset, exploded.element), (Some("/a/b.csv"), Some(7), Some(2)));
    for name in ["", "s", "s:t", "s:t/0", "s:t@1", "s:t/x@1", "s:t/0@x", "s:t/0@1+x"] {
        assert_eq!(DeadLetterQuery::named(name), None, "{name}");
    }
}

fn event(offset: u64, version: i64, id: &str, expires_us: Option<i64>) -> EventRow {
    let event = Event {
        stream: 0,
        partition: Partition { topic: "wind.readings".into(), number: 3 },
        offset: Offset(offset),
        element: 1,
        event_time: EventTime(60_000_001),
        id: id.into(),
        key: Some(vec![0, 255]),
        payload: (offset != 2).then(|| vec![b'{', 0, 0xfe]),
    };
    EventRow { version: Version(version), expires_us, event }
}

#[test]
fn events_are_rows_with_their_bytes_until_they_expire() {
    let folder = Folder::new("events");
    let mut sink = prepared(&folder);
    let events = vec![event(1, 10, "a", None), event(2, 10, "b", Some(30)), event(3, 10, "c", None)];
    for _ in 0..2 {
        sink.write(&Cut { events: events.clone(), ..cut(10, vec![]) }).unwrap();
    }
    // The highest version wins.
    sink.write(&Cut { events: vec![event(1, 9, "old", None), event(3, 20, "new", None)], ..cut(20, vec![]) }).unwrap();
    let reader = rusqlite::Connection::open(folder.file()).unwrap();
    let found = || {
        let sql = "SELECT topic, partition, offset, element, event_time, id, key, payload, version FROM events WHERE stream = 'readings' ORDER BY offset";
        let mut statement = reader.prepare(sql).unwrap();
        let row = |row: &rusqlite::Row| {
            let place = format!(
                "{}/{}@{}+{}",
                row.get::<_, String>(0)?,
                row.get::<_, i32>(1)?,
                row.get::<_, i64>(2)?,
                row.get::<_, i64>(3)?
            );
            let time: String = row.get(4)?;
            assert_eq!((time.as_str(), row.get::<_, Vec<u8>>(6)?), ("1970-01-01T00:01:00.000001Z", vec![0, 255]));
            Ok((place, row.get::<_, String>(5)?, row.get::<_, Option<Vec<u8>>>(7)?, row.get::<_, i64>(8)?))
        };
        statement.query_map([], row).unwrap().map(Result::unwrap).collect::<Vec<_>>()
    };
    let row = |offset: u64, id: &str, version| {
        (format!("wind.readings/3@{offset}+1"), id.to_owned(), (offset != 2).then(|| vec![b'{', 0, 0xfe]), version)
    };
    assert_eq!(found(), [row(1, "a", 10), row(2, "b", 10), row(3, "new", 20)]);
    sink.write(&cut(31, vec![])).unwrap();
    assert_eq!(found(), [row(1, "a", 10), row(3, "new", 20)]);
}

#[test]
fn what_is_held_is_read_back_as_it_was_written() {
    let folder = Folder::new("held");
    let context = held::context("wind");
    held::contract(0x5eed_0011, &context, held::Limits::default(), || Box::new(folder.sink(&context)));

    // A row that is nobody's: a number with fewer digits than its column declares.
    let reader = rusqlite::Connection::open(folder.file()).unwrap();
    let row = "INSERT INTO balance VALUES ('x', '15', '-infinity', 'infinity', NULL, NULL, 'open', 1, NULL)";
    assert_eq!(reader.execute(row, []).unwrap(), 1);
    let read = folder.sink(&context).held(4, EventTime::MIN, &mut |_| {});
    assert!(matches!(&read, Err(SinkError::Stop(said)) if said.contains("`balance`")), "{read:?}");
}
