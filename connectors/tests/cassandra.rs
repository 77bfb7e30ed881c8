//! The Cassandra sink against a real node, read back with a plain client.
//!
//! `cargo xtask services --only cassandra -- cargo test -p caudal-connectors --test cassandra`

mod cuts;
mod held;

use caudal_connectors::cassandra::config::{Config, Create, Tls};
use caudal_connectors::cassandra::{CassandraSink, ddl, survey};
use caudal_connectors::context::{SinkContext, ViewDescription};
use caudal_pipeline::plan::WindowPlan;
use caudal_pipeline::ports::sink::{Cut, DeadLetterRow, EventRow, Latest, Row, RowState, Sink, SinkError};
use caudal_pipeline::record::{DeadLetter, Event, Offset, Partition, Reason, Rejection};
use caudal_pipeline::time::{EventTime, Span, Version};
use caudal_pipeline::value::{Cell, Column, ColumnType, Field, FieldType, Value};
use cuts::{balance, context, cut, gone, job, row};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::response::query_result::QueryRowsResult;
use scylla::value::{CqlDecimal, CqlTimestamp};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use xtask::services::cassandra::{self as service, CassandraOptions, SUPERUSER};

const KEYSPACE: &str = "caudal_test";

fn address() -> String {
    std::env::var("CAUDAL_TEST_CASSANDRA")
        .expect("CAUDAL_TEST_CASSANDRA is not set: run through `cargo xtask services --only cassandra --`")
}

fn config(address: &str) -> Config {
    let replication = [("class", "SimpleStrategy"), ("replication_factor", "1")];
    Config {
        contact_points: vec![address.to_owned()],
        keyspace: KEYSPACE.to_owned(),
        create: Create::Missing,
        replication: replication.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        datacenter: None,
        credentials: None,
        tls: None,
        in_flight_max: 32,
    }
}

fn superuser(address: &str) -> Config {
    Config { credentials: Some((SUPERUSER.0.to_owned(), SUPERUSER.1.to_owned())), ..config(address) }
}

fn prepared(config: Config, context: SinkContext) -> CassandraSink {
    let mut sink = CassandraSink::new(config, context);
    in_time(|| sink.prepare()).unwrap();
    sink
}

/// What is answered once that does not take too long: a node that has just started is slow.
fn in_time<T>(mut ask: impl FnMut() -> Result<T, SinkError>) -> Result<T, SinkError> {
    let began = Instant::now();
    loop {
        match ask() {
            Err(SinkError::Retry(_)) if began.elapsed() < Duration::from_secs(120) => {}
            answer => return answer,
        }
    }
}

/// What a sink says that must not begin.
fn not_prepared(config: Config, context: SinkContext) -> String {
    let mut sink = CassandraSink::new(config, context);
    stopped(in_time(|| sink.prepare()))
}

fn stopped(result: Result<impl Sized, SinkError>) -> String {
    match result {
        Err(SinkError::Stop(said)) => said,
        Err(other) => panic!("it must stop, not {other:?}"),
        Ok(_) => panic!("it must stop"),
    }
}

/// Any client of anyone's.
struct Client {
    runtime: Runtime,
    session: Session,
}

impl Client {
    fn new(address: &str, login: Option<(&str, &str)>) -> Client {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut builder = SessionBuilder::new().known_node(address);
        if let Some((user, password)) = login {
            builder = builder.user(user, password);
        }
        let build = || runtime.block_on(builder.build()).map_err(|error| SinkError::Retry(error.to_string()));
        let session = in_time(build).unwrap();
        Client { runtime, session }
    }

    fn run(&self, cql: &str) {
        self.runtime.block_on(self.session.query_unpaged(cql, ())).unwrap();
    }

    fn rows(&self, cql: &str) -> QueryRowsResult {
        self.runtime.block_on(self.session.query_unpaged(cql, ())).unwrap().into_rows_result().unwrap()
    }
}

fn table(job: &str, what: &str) -> String {
    format!("{KEYSPACE}.{}_{what}", job.replace('-', "_"))
}

#[test]
fn a_survey_names_what_is_missing_and_what_differs_and_makes_nothing() {
    let job = job("surveyed");
    let asked = || survey(&config(&address()), &context(&job)).unwrap();
    prepared(config(&address()), context("other"));
    let tables = asked().missing;
    assert_eq!(tables, asked().missing, "asking makes nothing");
    assert!(tables.iter().any(|(what, ddl)| what.ends_with("_as_of") && ddl.starts_with("CREATE TABLE")), "{tables:?}");
    prepared(config(&address()), context(&job));
    assert_eq!((asked().missing.len(), asked().differing.len()), (0, 0));
    let client = Client::new(&address(), None);
    client.run(&format!("ALTER TABLE {} DROP epoch", table(&job, "as_of")));
    assert!(asked().differing[0].contains("lacks a column"), "{:?}", asked().differing);
}

#[test]
fn readers_find_typed_rows_newest_first() {
    let job = job("typed");
    let mut sink = prepared(config(&address()), context(&job));
    let rows = vec![row("north", 1, 5), row("north", 2, 5), row("", 1, 5), balance("x", 5)];
    assert_eq!(sink.write(&cut(0, 5, rows)).unwrap(), []);

    let client = Client::new(&address(), None);
    let found = client.rows(&format!(
        "SELECT window_start, window_end, state, version, mean, events FROM {} WHERE farm = 'north' AND bucket = '1970-01-01'",
        table(&job, "per_minute")
    ));
    let found: Vec<(CqlTimestamp, CqlTimestamp, String, i64, CqlDecimal, i64)> =
        found.rows().unwrap().map(Result::unwrap).collect();
    let mean = CqlDecimal::from_signed_be_bytes_slice_and_exponent(&[0x02, 0x0d], 2);
    let expected = |start| (CqlTimestamp(start), CqlTimestamp(start + 60_000), "open".to_owned(), 5, mean.clone(), 5);
    assert_eq!(found, [expected(120_000), expected(60_000)]);

    let newest = client.rows(&format!("SELECT window_start FROM {} WHERE farm = 'north'", table(&job, "per_minute_latest")));
    assert_eq!(newest.single_row::<(CqlTimestamp,)>().unwrap().0, CqlTimestamp(120_000));
    let empty = client.rows(&format!(r"SELECT version FROM {} WHERE farm = '\E'", table(&job, "per_minute_latest")));
    assert_eq!(empty.single_row::<(i64,)>().unwrap().0, 5);
    let amount = client.rows(&format!("SELECT amount FROM {} WHERE account = 'x'", table(&job, "balance")));
    assert_eq!(amount.single_row::<(CqlDecimal,)>().unwrap().0, mean);
    let frontiers = client.rows(&format!(
        "SELECT complete_until, final_until, epoch, version FROM {} WHERE job = '{job}' AND view_name = 'per_minute'",
        table(&job, "as_of")
    ));
    let frontiers = frontiers.single_row::<(CqlTimestamp, Option<CqlTimestamp>, i64, i64)>().unwrap();
    assert_eq!(frontiers, (CqlTimestamp(300_000), None, 5, 5));
}

#[test]
fn the_newest_version_wins_in_any_order() {
    let seed = 0x5eed_0002;
    println!("seed {seed:#x}");
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let job = job("order");
    let mut sink = prepared(config(&address()), context(&job));
    let client = Client::new(&address(), None);
    for round in 0..10 {
        let farm = format!("f{round}");
        // Version 9 of minute 2 takes it away, version 9 of minute 3 has a null where there was a value.
        let mut writes: Vec<Row> = (1..=9).flat_map(|v| [row(&farm, 1, v), row(&farm, 2, v), row(&farm, 3, v)]).collect();
        writes[25] = gone(writes[25].clone());
        writes[26].cells[0] = Cell::Null;
        writes.extend(writes.clone());
        writes.shuffle(&mut random);
        for rows in writes.chunks(7) {
            sink.write(&Cut { latest: vec![], ..cut(9, 9, rows.to_vec()) }).unwrap();
        }
        let found = client.rows(&format!(
            "SELECT version, state, mean, events FROM {} WHERE farm = '{farm}' AND bucket = '1970-01-01'",
            table(&job, "per_minute")
        ));
        let found: Vec<(i64, String, Option<CqlDecimal>, Option<i64>)> = found.rows().unwrap().map(Result::unwrap).collect();
        let mean = CqlDecimal::from_signed_be_bytes_slice_and_exponent(&[0x03, 0x9d], 2);
        let open = "open".to_owned();
        let expected = [(9, open.clone(), None, Some(9)), (9, "gone".to_owned(), None, None), (9, open, Some(mean), Some(9))];
        assert_eq!(found, expected, "{farm}");
    }
}

#[test]
fn the_newest_row_may_fall_back() {
    let job = job("latest");
    let mut sink = prepared(config(&address()), context(&job));
    let client = Client::new(&address(), None);
    let newest = || {
        let found = client
            .rows(&format!("SELECT window_start, version, state FROM {} WHERE farm = 'f'", table(&job, "per_minute_latest")));
        found.single_row::<(Option<CqlTimestamp>, i64, String)>().unwrap()
    };
    let latest = |row: Option<Row>| vec![Latest { view: 0, group: vec![Value::Text("f".into())], row }];
    sink.write(&cut(0, 5, vec![row("f", 1, 5)])).unwrap();
    sink.write(&cut(5, 7, vec![row("f", 2, 7)])).unwrap();
    assert_eq!(newest(), (Some(CqlTimestamp(120_000)), 7, "open".to_owned()));
    sink.write(&Cut { latest: latest(Some(row("f", 1, 5))), ..cut(7, 8, vec![gone(row("f", 2, 8))]) }).unwrap();
    assert_eq!(newest(), (Some(CqlTimestamp(60_000)), 5, "open".to_owned()));
    // A delayed cut changes nothing.
    sink.write(&cut(5, 7, vec![row("f", 2, 7)])).unwrap();
    assert_eq!(newest(), (Some(CqlTimestamp(60_000)), 5, "open".to_owned()));
    sink.write(&Cut { latest: latest(None), ..cut(8, 9, vec![gone(row("f", 1, 9))]) }).unwrap();
    assert_eq!(newest(), (None, 9, "gone".to_owned()));
}

#[test]
fn every_type_comes_back_exactly() {
    let job = job("exact");
    let list = |of| ColumnType::List(Box::new(of));
    let types = [
        ("flag", ColumnType::Bool),
        ("large", ColumnType::Decimal(18)),
        ("at", ColumnType::Time),
        ("ids", list(ColumnType::Text)),
        ("tops", list(ColumnType::Decimal(1))),
        ("empty", list(ColumnType::Integer)),
    ];
    let fields =
        [("zone", FieldType::Text), ("class", FieldType::Decimal(1)), ("n", FieldType::Decimal(0)), ("since", FieldType::Time)];
    let view = ViewDescription {
        name: "all".to_owned(),
        window: WindowPlan::Session { gap: Span::seconds(1) },
        group: fields.map(|(name, field_type)| Field { name: name.to_owned(), field_type }).into(),
        columns: types.map(|(name, column_type)| Column { name: name.to_owned(), column_type }).into(),
    };
    let context = SinkContext { job: job.clone(), views: vec![view], streams: vec![] };
    let mut sink = prepared(config(&address()), context);
    let made = Row {
        view: 0,
        group: vec![Value::Null, Value::Decimal(-15), Value::Decimal(7), Value::Time(1)],
        start: EventTime(1_000_300),
        cells: vec![
            Cell::Bool(true),
            Cell::Decimal { unscaled: i128::MIN, scale: 18 },
            Cell::Time(-1_000),
            Cell::List(vec![Cell::Text("b".into()), Cell::Text("".into())]),
            Cell::List(vec![Cell::Decimal { unscaled: 128, scale: 1 }]),
            Cell::List(vec![]),
        ],
        ..row("", 0, 5)
    };
    // Sessions that begin within one millisecond, one taken away: two rows.
    let merged = Row { start: EventTime(1_000_100), ..made.clone() };
    // No key holds a null number, no list a null.
    let unkeyed = Row { group: vec![Value::Null, Value::Null, Value::Decimal(7), Value::Time(1)], ..made.clone() };
    let holed = Row { cells: vec![Cell::List(vec![Cell::Null]); 6], start: EventTime(0), ..made.clone() };
    let cut = Cut { latest: vec![], ..cut(0, 5, vec![gone(made.clone()), merged, unkeyed, holed]) };
    let set_aside = sink.write(&cut).unwrap();
    let causes: Vec<bool> = vec![set_aside[0].cause.contains("default"), set_aside[1].cause.contains("null")];
    assert_eq!((set_aside.len(), causes), (2, vec![true, true]), "{set_aside:?}");

    let client = Client::new(&address(), None);
    let found = client.rows(&format!(
        "SELECT window_start_us, state, flag, large, at, ids, tops, empty FROM {} WHERE zone = '\\N' AND class = -1.5 AND n = 7 \
         AND since = '1970-01-01T00:00:00.000001Z' AND bucket = '1970-01-01'",
        table(&job, "all")
    ));
    type Found = (
        i32,
        String,
        Option<bool>,
        Option<CqlDecimal>,
        Option<CqlTimestamp>,
        Option<Vec<String>>,
        Option<Vec<CqlDecimal>>,
        Option<Vec<i64>>,
    );
    let found: Vec<Found> = found.rows().unwrap().map(Result::unwrap).collect();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0], (300, "gone".to_owned(), None, None, None, None, None, None));
    let decimal = |bytes: &[u8], scale| CqlDecimal::from_signed_be_bytes_slice_and_exponent(bytes, scale);
    assert_eq!(
        found[1],
        (
            100,
            "open".to_owned(),
            Some(true),
            Some(decimal(&i128::MIN.to_be_bytes(), 18)),
            Some(CqlTimestamp(-1)),
            Some(vec!["b".to_owned(), String::new()]),
            Some(vec![decimal(&[0, 0x80], 1)]),
            Some(vec![])
        )
    );
}

#[test]
fn rows_expire_by_ttl() {
    let job = job("ttl");
    let mut sink = prepared(config(&address()), context(&job));
    let expiring = |farm: &str, s: Option<i64>| Row { expires_us: s.map(|s| 5 + s * 1_000_000), ..row(farm, 1, 5) };
    sink.write(&cut(0, 5, vec![expiring("long", Some(5_000)), expiring("never", None)])).unwrap();
    let client = Client::new(&address(), None);
    let ttl = |what: &str, farm: &str| {
        let bucket = if what == "per_minute" { "AND bucket = '1970-01-01'" } else { "" };
        let found = client.rows(&format!("SELECT TTL(mean) FROM {} WHERE farm = '{farm}' {bucket}", table(&job, what)));
        found.maybe_first_row::<(Option<i32>,)>().unwrap().map(|row| row.0)
    };
    for what in ["per_minute", "per_minute_latest"] {
        assert!(matches!(ttl(what, "long"), Some(Some(4_900..=5_000))), "{what} {:?}", ttl(what, "long"));
        assert_eq!(ttl(what, "never"), Some(None), "{what}");
    }
    // Past its expiry: written with the shortest TTL, over a version that would have lived on.
    let past = Row { version: Version(6), ..expiring("long", Some(-9)) };
    sink.write(&cut(5, 6, vec![past])).unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while ttl("per_minute", "long").is_some() {
        assert!(std::time::Instant::now() < deadline, "the row did not expire");
    }
    let said = stopped(sink.write(&cut(6, 7, vec![expiring("century", Some(100 * 365 * 86_400))])));
    assert!(said.contains("TTL"), "{said}");
}

fn letter(element: u32, version: i64, payload: Option<Vec<u8>>) -> DeadLetterRow {
    let dead_letter = DeadLetter {
        stream: 0,
        partition: Partition { topic: "wind.readings".into(), number: 3 },
        offset: Offset(18_213),
        element,
        rejection: Rejection::one(Reason::Schema, "/power", "-1 is less than the minimum of 0"),
        key: Some(vec![0, 0xff]),
        headers: vec![("h".to_owned(), vec![1]), ("h".to_owned(), vec![])],
        payload,
        broker_time_us: Some(7_000),
    };
    DeadLetterRow { version: Version(version), dead_letter }
}

#[test]
fn dead_letters_keep_all_their_parts() {
    let job = job("letters");
    let mut sink = prepared(config(&address()), context(&job));
    let rows = [letter(0, 5, None), letter(1, 6, Some(b"{\xff".to_vec()))];
    sink.write(&Cut { dead_letters: rows.to_vec(), ..cut(0, 6, vec![]) }).unwrap();
    let client = Client::new(&address(), None);
    let found = |columns: &str| {
        let table = table(&job, "dead_letters");
        client.rows(&format!("SELECT {columns} FROM {table} WHERE day = '1970-01-01' AND stream = 'readings'"))
    };
    let places = found("topic, partition, message_offset, element, version");
    let places: Vec<(String, i32, i64, i32, i64)> = places.rows().unwrap().map(Result::unwrap).collect();
    let place = |element, version| ("wind.readings".to_owned(), 3, 18_213, element, version);
    assert_eq!(places, [place(0, 5), place(1, 6)]);

    let whys = found("reason, paths, messages, state");
    let why = whys.rows::<(String, Vec<String>, Vec<String>, String)>().unwrap().next().unwrap().unwrap();
    let message = "-1 is less than the minimum of 0".to_owned();
    assert_eq!(why, ("schema".to_owned(), vec!["/power".to_owned()], vec![message], "open".to_owned()));

    let bytes = found("message_key, header_names, header_values, payload, broker_time");
    type Bytes = (Option<Vec<u8>>, Vec<String>, Vec<Vec<u8>>, Option<Vec<u8>>, Option<CqlTimestamp>);
    let bytes: Vec<Bytes> = bytes.rows().unwrap().map(Result::unwrap).collect();
    let headers = vec!["h".to_owned(), "h".to_owned()];
    let expected = |payload| (Some(vec![0, 0xff]), headers.clone(), vec![vec![1], vec![]], payload, Some(CqlTimestamp(7)));
    assert_eq!(bytes, [expected(None), expected(Some(b"{\xff".to_vec()))]);
}

fn event(offset: u64, element: u32, event_time_s: i64, version: i64, payload: Option<&[u8]>) -> EventRow {
    let event = Event {
        stream: 0,
        partition: Partition { topic: "wind.readings".into(), number: 3 },
        offset: Offset(offset),
        element,
        event_time: EventTime(event_time_s * 1_000_000 + 500_999),
        id: format!("g{offset}-{element}").into(),
        key: (offset == 7).then(|| vec![0, 0xff]),
        payload: payload.map(<[u8]>::to_vec),
    };
    EventRow { version: Version(version), expires_us: None, event }
}

#[test]
fn events_are_rows_by_day_newest_first_and_expire() {
    let job = job("events");
    let mut sink = prepared(config(&address()), context(&job));
    let day = 86_400;
    let expiring = EventRow { expires_us: Some(5 + 5_000_000_000), ..event(8, 0, 60, 5, Some(b"\xff{")) };
    let rows = vec![event(7, 0, 30, 5, Some(b"[1,2]")), event(7, 1, 30, 5, None), expiring, event(9, 0, day, 5, Some(b"{}"))];
    // A repeat changes nothing, nor does an older version; one that is larger than any server takes is set aside.
    let older = EventRow { version: Version(4), ..event(9, 0, day, 4, Some(b"old")) };
    let large = event(10, 0, day, 5, Some(&vec![b'x'; 20 << 20]));
    for events in [rows.clone(), rows, vec![older, large]] {
        let set_aside = sink.write(&Cut { events: events.clone(), ..cut(0, 5, vec![]) }).unwrap();
        let names: Vec<&str> = set_aside.iter().map(|aside| aside.row.as_str()).collect();
        assert_eq!(names, if events.len() == 2 { vec!["event wind.readings/3@10 element 0"] } else { vec![] });
    }
    let client = Client::new(&address(), None);
    let found = |day: &str, columns: &str| {
        client.rows(&format!("SELECT {columns} FROM {} WHERE stream = 'readings' AND day = '{day}'", table(&job, "events")))
    };
    let places = found("1970-01-01", "event_time, topic, partition, message_offset, element, id, version");
    let places: Vec<(CqlTimestamp, String, i32, i64, i32, String, i64)> = places.rows().unwrap().map(Result::unwrap).collect();
    let place = |s: i64, offset: i64, element: i32| {
        (CqlTimestamp(s * 1000 + 500), "wind.readings".to_owned(), 3, offset, element, format!("g{offset}-{element}"), 5)
    };
    assert_eq!(places, [place(60, 8, 0), place(30, 7, 1), place(30, 7, 0)]);

    let bytes = found("1970-01-01", "message_key, payload, TTL(payload)");
    type Bytes = (Option<Vec<u8>>, Option<Vec<u8>>, Option<i32>);
    let bytes: Vec<Bytes> = bytes.rows().unwrap().map(Result::unwrap).collect();
    assert!(matches!(bytes[0].2, Some(4_900..=5_000)), "{bytes:?}");
    assert_eq!((&bytes[0].0, bytes[0].1.as_deref()), (&None, Some(&b"\xff{"[..])));
    assert_eq!(bytes[1..], [(Some(vec![0, 0xff]), None, None), (Some(vec![0, 0xff]), Some(b"[1,2]".to_vec()), None)]);
    let next_day = found("1970-01-02", "payload").single_row::<(Vec<u8>,)>().unwrap().0;
    assert_eq!(next_day, b"{}");
}

#[test]
fn tables_are_made_checked_or_refused() {
    let job = job("tables");
    let mine = context(&job);
    let checking = Config { create: Create::Check, ..config(&address()) };
    // Another test may be making the keyspace: the first of all tables is what is missing for certain.
    prepared(config(&address()), context(&cuts::job("keyspace")));
    let said = not_prepared(checking.clone(), mine.clone());
    assert!(said.contains("does not exist") && said.contains("CREATE TABLE"), "{said}");

    // What is printed is what is needed.
    let client = Client::new(&address(), None);
    for statement in ddl(&checking, &mine) {
        client.run(&statement);
    }
    prepared(checking.clone(), mine.clone()).write(&cut(0, 5, vec![row("f", 1, 5)])).unwrap();

    // All differences at once, each with its remedy; a further column of someone else's is no difference.
    let rows = table(&job, "per_minute");
    client.run(&format!("ALTER TABLE {rows} ADD theirs text"));
    prepared(checking.clone(), mine.clone());
    client.run(&format!("ALTER TABLE {rows} DROP mean"));
    client.run(&format!("DROP TABLE {}", table(&job, "balance")));
    client.run(&format!("CREATE TABLE {} (account text, amount decimal, PRIMARY KEY (amount, account))", table(&job, "balance")));
    let said = not_prepared(config(&address()), mine.clone());
    assert!(said.contains(r#"ADD "mean" decimal"#) && said.contains("primary key ((amount), account)"), "{said}");

    // A table that differs does not stop a sink that was there before until it writes; then it says which.
    let mut wrong = mine;
    wrong.views[0].columns.push(Column { name: "version".to_owned(), column_type: ColumnType::Integer });
    let said = not_prepared(config(&address()), wrong);
    assert!(said.contains("`version`"), "{said}");
}

#[test]
fn a_row_that_is_too_large_is_set_aside_alone() {
    let job = job("large");
    let text = |name: &str| Field { name: name.to_owned(), field_type: FieldType::Text };
    let view = ViewDescription {
        name: "v".to_owned(),
        window: WindowPlan::Tumbling { size: Span::seconds(60) },
        group: vec![text("g")],
        columns: vec![Column { name: "t".to_owned(), column_type: ColumnType::Text }],
    };
    let mut sink = prepared(config(&address()), SinkContext { job: job.clone(), views: vec![view], streams: vec![] });
    let sized = |minute, bytes: usize| Row { cells: vec![Cell::Text("x".repeat(bytes).into())], ..row("f", minute, 5) };
    let keyed = Row { cells: vec![Cell::Null], ..row(&"k".repeat(70_000), 1, 5) };
    // A mutation may be half a commit-log segment: a limit of the server's that we are not told. Beyond a frame, ours.
    let rows = vec![sized(1, 10), sized(2, 20 << 20), keyed, sized(3, 10)];
    let set_aside = sink.write(&Cut { latest: vec![], ..cut(0, 5, rows) }).unwrap();
    assert_eq!(set_aside.len(), 2, "{set_aside:?}");
    let client = Client::new(&address(), None);
    let found = client.rows(&format!("SELECT t FROM {} WHERE g = 'f' AND bucket = '1970-01-01'", table(&job, "v")));
    assert_eq!(found.rows_num(), 2);
}

#[test]
fn logins_and_permissions() {
    let node = service::start(&CassandraOptions { login: true, ..CassandraOptions::default() }).unwrap();
    let admin = Client::new(&node.address, Some(SUPERUSER));
    let wrong = Config { credentials: Some(("cassandra".to_owned(), "wrong-secret".to_owned())), ..config(&node.address) };
    for config in [config(&node.address), wrong] {
        let said = not_prepared(config, context("login"));
        assert!(said.contains("user and password") && !said.contains("wrong-secret"), "{said}");
    }
    prepared(superuser(&node.address), context("login"));
    admin.run("CREATE ROLE job WITH PASSWORD = 'pw' AND LOGIN = true");
    admin.run(&format!("GRANT SELECT ON KEYSPACE {KEYSPACE} TO job"));
    for table in ["per_minute", "per_minute_latest", "balance", "dead_letters", "events", "as_of"] {
        admin.run(&format!("GRANT MODIFY ON {KEYSPACE}.login_{table} TO job"));
    }
    let job = Config { credentials: Some(("job".to_owned(), "pw".to_owned())), ..config(&node.address) };
    let mut sink = prepared(job.clone(), context("login"));
    sink.write(&cut(0, 5, vec![row("f", 1, 5), balance("x", 5)])).unwrap();
    admin.run(&format!("REVOKE MODIFY ON {KEYSPACE}.login_balance FROM job"));
    let said = stopped(sink.write(&cut(5, 6, vec![row("f", 1, 6), balance("x", 6)])));
    assert!(said.contains("login_balance") && said.contains("GRANT MODIFY"), "{said}");
    // Granted again, the same cut goes through.
    admin.run(&format!("GRANT MODIFY ON {KEYSPACE}.login_balance TO job"));
    sink.prepare().unwrap();
    sink.write(&cut(5, 6, vec![row("f", 1, 6), balance("x", 6)])).unwrap();
    // May not make tables, and says what to do.
    let said = not_prepared(job, context("other"));
    assert!(said.contains("make it yourself") && said.contains("CREATE TABLE"), "{said}");
}

#[test]
fn an_encrypted_node_that_stops_is_waited_for() {
    let mut node = service::start(&CassandraOptions { login: true, tls: true, small_writes: true }).unwrap();
    let stranger = Config { tls: Some(Tls::default()), ..superuser(&node.address) };
    let said = not_prepared(stranger, context("tls"));
    assert!(said.contains("authority"), "{said}");

    let tls = Tls { ca: Some(service::ca(&node)), identity: None };
    let mut sink = prepared(Config { tls: Some(tls), ..superuser(&node.address) }, context("tls"));
    sink.write(&cut(0, 5, vec![row("f", 1, 5)])).unwrap();

    // A limit of the server's own that we are not told: that row alone is set aside.
    let letters = vec![letter(0, 5, Some(vec![b'x'; 300 << 10])), letter(1, 5, None)];
    let set_aside = sink.write(&Cut { dead_letters: letters, ..cut(5, 5, vec![row("f", 2, 5)]) }).unwrap();
    assert_eq!(set_aside.len(), 1, "{set_aside:?}");
    assert!(set_aside[0].row.contains("wind.readings/3@18213 element 0"), "{set_aside:?}");

    node.process.kill();
    let refused = sink.write(&cut(5, 6, vec![row("f", 1, 6)]));
    assert!(matches!(refused, Err(SinkError::Retry(_))), "{refused:?}");
    let refused = sink.prepare();
    assert!(matches!(refused, Err(SinkError::Retry(_))), "{refused:?}");
    service::restart(&mut node).unwrap();
    in_time(|| sink.prepare()).unwrap();
    sink.write(&cut(5, 6, vec![row("f", 1, 6)])).unwrap();
}

#[test]
fn an_unknown_data_centre_is_a_mistake() {
    let elsewhere = Config { datacenter: Some("mars".to_owned()), ..config(&address()) };
    let said = not_prepared(elsewhere, context(&job("dc")));
    assert!(said.contains("mars") && said.contains("datacenter1"), "{said}");
    let here = Config { datacenter: Some("datacenter1".to_owned()), ..config(&address()) };
    let mut sink = prepared(here, context(&job("dc")));
    let many: Vec<Row> = (0..2_000).map(|n| Row { state: RowState::Complete, ..row(&format!("f{n}"), 1, 5) }).collect();
    assert_eq!(sink.write(&cut(0, 5, many)).unwrap(), []);
    let client = Client::new(&address(), None);
    let found = client.rows(&format!("SELECT count(*) FROM {}", table(&job("dc"), "per_minute")));
    assert_eq!(found.single_row::<(i64,)>().unwrap().0, 2_000);
}

#[test]
fn what_is_held_is_read_back_as_it_was_written() {
    let context = held::context(&job("held"));
    let limits = held::Limits { no_null_numbers: true, end_us: Some(1000) };
    held::contract(0x5eed_0012, &context, limits, || Box::new(CassandraSink::new(config(&address()), context.clone())));

    // Its numbers had a digit less: the type in Cassandra is the same, the keys are others.
    let mut changed = context;
    changed.views[4].group[1].field_type = FieldType::Decimal(2);
    let said = stopped(CassandraSink::new(config(&address()), changed).held(4, EventTime::MIN, &mut |_| {}));
    assert!(said.contains("held_balance") && said.contains("group has changed"), "{said}");
}
