//! Writing: what a plain reader finds, and that a restart repeats nothing.

use super::broker::{Broker, Found, body};
use caudal_connectors::context::{SinkContext, ViewDescription};
use caudal_connectors::kafka::config::{Publication, Published, SinkConfig};
use caudal_connectors::kafka::sink::KafkaSink;
use caudal_pipeline::plan::WindowPlan;
use caudal_pipeline::ports::sink::{Cut, DeadLetterRow, Row, RowState, SetAside, Sink, SinkError};
use caudal_pipeline::record::{DeadLetter, Offset, Partition, Reason, Rejection};
use caudal_pipeline::time::{EventTime, SECOND_US, Span, Version};
use caudal_pipeline::value::{Cell, Column, ColumnType, Field, FieldType, Value};
use std::sync::LazyLock;

/// Versions are wall time: a job that runs now.
fn version(epoch: i64) -> Version {
    static START: LazyLock<i64> = LazyLock::new(|| std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64);
    Version((*START + epoch) * SECOND_US)
}

fn context() -> SinkContext {
    SinkContext {
        job: "wind-farm".to_owned(),
        views: vec![ViewDescription {
            name: "per_minute".to_owned(),
            window: WindowPlan::Tumbling { size: Span::seconds(60) },
            group: vec![Field { name: "farm".to_owned(), field_type: FieldType::Text }],
            columns: vec![Column { name: "n".to_owned(), column_type: ColumnType::Integer }],
        }],
        streams: vec!["readings".to_owned()],
    }
}

fn sink(broker: &Broker, view: &str, dead: Option<&str>) -> KafkaSink {
    let view = Publication { what: Published::View { view: 0, key: vec![0] }, topic: view.to_owned() };
    let dead = dead.map(|topic| Publication { what: Published::DeadLetters, topic: topic.to_owned() });
    let publish = [Some(view), dead].into_iter().flatten().collect();
    KafkaSink::new(SinkConfig { properties: broker.properties.clone(), publish }, context()).unwrap()
}

fn row(farm: &str, n: i64, version: Version) -> Row {
    Row {
        view: 0,
        group: vec![Value::Text(farm.into())],
        start: EventTime(0),
        end: EventTime(60 * SECOND_US),
        cells: vec![Cell::Integer(n)],
        state: RowState::Complete,
        version,
        expires_us: None,
    }
}

fn cut(from: i64, to: i64, rows: Vec<Row>) -> Cut {
    let previous_version = if from == 0 { Version(0) } else { version(from) };
    Cut { version: version(to), previous_version, rows, ..Cut::default() }
}

fn write(sink: &mut KafkaSink, cut: &Cut) -> Vec<SetAside> {
    sink.prepare().unwrap();
    sink.write(cut).unwrap()
}

/// `farm n` of every record, in order within a partition.
fn summary(found: &[Found]) -> Vec<String> {
    let of = |found: &Found| {
        let json: serde_json::Value = serde_json::from_slice(found.body.as_ref().unwrap()).unwrap();
        format!("{} {}", json["farm"].as_str().unwrap(), json["n"])
    };
    let mut summary: Vec<String> = found.iter().map(of).collect();
    summary.sort();
    summary
}

#[test]
fn rows_and_dead_letters_are_found_by_a_plain_reader() {
    let broker = Broker::shared();
    let (view, dead) = (broker.topic("view", 2, &[]), broker.topic("dead", 1, &[]));
    let letter = DeadLetter {
        stream: 0,
        partition: Partition { topic: "raw".into(), number: 1 },
        offset: Offset(7),
        element: 0,
        rejection: Rejection::one(Reason::Malformed, "", "not JSON"),
        key: Some(b"k".to_vec()),
        headers: vec![("trace".to_owned(), b"1".to_vec())],
        payload: Some(b"{\xff".to_vec()),
        broker_time_us: None,
    };
    let mut tombstone = letter.clone();
    (tombstone.offset, tombstone.payload) = (Offset(8), None);
    let dead_letters = [letter, tombstone].map(|dead_letter| DeadLetterRow { version: version(1), dead_letter }).to_vec();
    let cut = Cut { dead_letters, ..cut(0, 1, vec![row("north", 3, version(1)), row("south", 4, version(1))]) };
    assert_eq!(write(&mut sink(&broker, &view, Some(&dead)), &cut), []);

    let rows = broker.contents(&view);
    assert_eq!(summary(&rows), ["north 3", "south 4"]);
    let north = rows.iter().find(|found| found.key.as_deref() == Some("north")).unwrap();
    assert_eq!(north.headers["caudal-id"], "wind-farm/per_minute/north/0");
    assert_eq!(north.headers["caudal-version"], version(1).0.to_string());
    let json: serde_json::Value = serde_json::from_slice(north.body.as_ref().unwrap()).unwrap();
    assert_eq!((json["window_end"].as_str(), json["state"].as_str()), (Some("1970-01-01T00:01:00Z"), Some("complete")));

    let dead = broker.contents(&dead);
    assert_eq!(dead.len(), 2);
    assert_eq!((dead[0].key.as_deref(), dead[0].body.as_deref(), &dead[1].body), (Some("k"), Some(&b"{\xff"[..]), &None));
    for (name, value) in [
        ("trace", "1"),
        ("caudal-reason", "malformed"),
        ("caudal-error", "not JSON"),
        ("caudal-topic", "raw"),
        ("caudal-partition", "1"),
        ("caudal-offset", "7"),
        ("caudal-id", "wind-farm/readings/raw/1/7/0"),
    ] {
        assert_eq!(dead[0].headers[name], value, "{name}");
    }
}

/// The process dies after the brokers took a cut and before the cursor moved: the rows come again, cut elsewhere.
#[test]
fn a_restart_does_not_write_again_what_is_there() {
    let broker = Broker::shared();
    let view = broker.topic("restarted", 3, &[]);
    write(&mut sink(&broker, &view, None), &cut(0, 2, vec![row("a", 1, version(1)), row("b", 1, version(2))]));
    // Records of others lie between ours.
    broker.produce(&view, &[body("{\"farm\":\"foreign\",\"n\":0}")]);
    let unacknowledged = cut(2, 8, vec![row("a", 3, version(5)), row("c", 1, version(3)), row("d", 1, version(8))]);
    write(&mut sink(&broker, &view, None), &unacknowledged);

    let mut restarted = sink(&broker, &view, None);
    write(&mut restarted, &cut(2, 4, vec![row("a", 2, version(4)), row("c", 1, version(3)), row("e", 1, version(4))]));
    restarted.write(&cut(4, 9, vec![row("a", 3, version(5)), row("d", 1, version(8)), row("c", 2, version(9))])).unwrap();
    let expected = ["a 1", "a 3", "b 1", "c 1", "c 2", "d 1", "e 1", "foreign 0"];
    assert_eq!(summary(&broker.contents(&view)), expected);

    // Nothing was ever acknowledged: the first cut comes again from the very beginning.
    write(&mut sink(&broker, &view, None), &cut(0, 2, vec![row("a", 1, version(1)), row("b", 1, version(2))]));
    assert_eq!(summary(&broker.contents(&view)), expected);
}

#[test]
fn transactions_of_others_do_not_hide_or_hold_up_what_is_read_back() {
    let broker = Broker::shared();
    let view = broker.topic("shared", 1, &[]);
    let first = cut(0, 1, vec![row("a", 1, version(1))]);
    write(&mut sink(&broker, &view, None), &first);
    // The partition ends with a marker, which no reader is ever given.
    broker.transactions(&view, &[(&[body("{\"farm\":\"foreign\",\"n\":0}")], true)]);
    write(&mut sink(&broker, &view, None), &first);
    assert_eq!(summary(&broker.contents(&view)), ["a 1", "foreign 0"]);
}

#[test]
fn a_row_that_is_too_large_is_set_aside_and_the_rest_written() {
    let broker = Broker::shared();
    // The broker refuses it, and with it the batch that it came in.
    let view = broker.topic("small", 1, &[("max.message.bytes", "2000")]);
    let noise: String = (0..4_000_u64).map(|i| char::from(33 + (i.wrapping_mul(2_654_435_761) >> 7) as u8 % 90)).collect();
    let rows = vec![row("a", 1, version(1)), row(&noise, 2, version(1)), row("b", 3, version(1))];
    let aside = write(&mut sink(&broker, &view, None), &cut(0, 1, rows));
    assert_eq!(aside.len(), 1);
    assert!(aside[0].row.starts_with("wind-farm/per_minute/") && aside[0].cause.contains("larger than topic"), "{aside:?}");
    assert_eq!(summary(&broker.contents(&view)), ["a 1", "b 3"]);
}

#[test]
fn a_topic_that_does_not_exist_stops_the_sink_and_a_broker_that_is_away_does_not() {
    let broker = Broker::shared();
    match sink(&broker, "no-such-topic", None).prepare() {
        Err(SinkError::Stop(text)) => assert!(text.starts_with("topic no-such-topic does not exist"), "{text}"),
        other => panic!("{other:?}"),
    }
    let away = Broker { properties: super::broker::plain("127.0.0.1:1") };
    match sink(&away, "t", None).prepare() {
        Err(SinkError::Retry(text)) => assert!(text.starts_with("cannot reach kafka at 127.0.0.1:1: "), "{text}"),
        other => panic!("{other:?}"),
    }
}
