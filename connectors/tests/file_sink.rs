//! Files as a sink: every version of a row is one line, once, whatever is repeated, torn or cut differently.

use caudal_connectors::context::{SinkContext, ViewDescription};
use caudal_connectors::file::Sink;
use caudal_connectors::file::config::{OutputFormat, SinkConfig};
use caudal_pipeline::plan::WindowPlan;
use caudal_pipeline::ports::sink::{Cut, DeadLetterRow, Row, RowState, Sink as _, SinkError, ViewProgress};
use caudal_pipeline::record::{DeadLetter, Offset, Partition, Reason, Rejection};
use caudal_pipeline::time::{Epoch, EventTime, Span, Version};
use caudal_pipeline::value::{Cell, Column, ColumnType, Field, FieldType, Value};
use std::io::{Read, Write};
use std::path::PathBuf;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("caudal-file-sink-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Folder(path)
    }

    fn sink(&self, format: OutputFormat, gzip: bool) -> Sink {
        Sink::new(SinkConfig { folder: self.0.join("out").display().to_string(), format, gzip }, context())
    }

    fn prepared(&self, format: OutputFormat, gzip: bool) -> Sink {
        let mut sink = self.sink(format, gzip);
        sink.prepare().unwrap();
        sink
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join("out").join(name)
    }

    fn text(&self, name: &str) -> String {
        let bytes = std::fs::read(self.path(name)).unwrap();
        if !name.ends_with(".gz") {
            return String::from_utf8(bytes).unwrap();
        }
        let mut text = String::new();
        flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn context() -> SinkContext {
    let view = ViewDescription {
        name: "per_minute".to_owned(),
        window: WindowPlan::Tumbling { size: Span::seconds(60) },
        group: vec![Field { name: "farm".to_owned(), field_type: FieldType::Text }],
        columns: vec![
            Column { name: "mean".to_owned(), column_type: ColumnType::Decimal(1) },
            Column { name: "who".to_owned(), column_type: ColumnType::Text },
        ],
    };
    SinkContext { job: "wind".to_owned(), views: vec![view], streams: vec!["readings".to_owned()] }
}

fn row(version: i64, who: Cell) -> Row {
    Row {
        view: 0,
        group: vec![Value::Text("a,\"b\"".into())],
        start: EventTime(0),
        end: EventTime(60_000_000),
        cells: vec![Cell::Decimal { unscaled: version.into(), scale: 1 }, who],
        state: RowState::Open,
        version: Version(version),
        expires_us: None,
    }
}

fn cut(from: u64, to: u64, versions: &[i64]) -> Cut {
    let rows = versions.iter().map(|v| row(*v, Cell::Text("x".into()))).collect();
    let progress = vec![ViewProgress { complete_until: EventTime(60_000_000), final_until: EventTime::MIN }];
    Cut { from: Epoch(from), to: Epoch(to), version: Version(to as i64), rows, progress, ..Cut::default() }
}

fn versions(text: &str) -> Vec<i64> {
    text.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()["version"].as_i64().unwrap()).collect()
}

#[test]
fn lines_are_appended_once_over_restarts_tears_and_other_cuts() {
    for gzip in [false, true] {
        let folder = Folder::new(if gzip { "gz" } else { "plain" });
        let name = if gzip { "per_minute.ndjson.gz" } else { "per_minute.ndjson" };
        let mut sink = folder.prepared(OutputFormat::Ndjson, gzip);
        sink.write(&cut(0, 1, &[1])).unwrap();
        sink.write(&cut(1, 3, &[2, 3])).unwrap();
        sink.write(&cut(1, 3, &[2, 3])).unwrap();
        assert_eq!(versions(&folder.text(name)), [1, 2, 3]);
        // The crash comes after an append and before the cut counts.
        std::fs::OpenOptions::new().append(true).open(folder.path(name)).unwrap().write_all(b"{\"half").unwrap();
        assert!(matches!(folder.sink(OutputFormat::Ndjson, gzip).prepare(), Err(SinkError::Retry(_))), "two write at once");
        drop(sink);
        let mut sink = folder.prepared(OutputFormat::Ndjson, gzip);
        assert_eq!(versions(&folder.text(name)), [1, 2, 3]);
        // The restored cursor is older, the next cut larger: it brings a row that is there, one that became due only
        // now although its version is old, and a new one.
        sink.write(&cut(1, 5, &[3, 4, 5])).unwrap();
        sink.write(&cut(5, 6, &[6])).unwrap();
        assert_eq!(versions(&folder.text(name)), [1, 2, 3, 4, 5, 6], "gzip {gzip}");
    }
}

/// Pages of one cut have one `to`; the process may end between any two, and then all of them come again.
#[test]
fn pages_of_a_cut_are_appended_once() {
    let folder = Folder::new("pages");
    let page = |versions: &[i64]| Cut { more: true, progress: vec![], ..cut(1, 9, versions) };
    let mut sink = folder.prepared(OutputFormat::Ndjson, false);
    sink.write(&cut(0, 1, &[1])).unwrap();
    sink.write(&page(&[2, 3])).unwrap();
    sink.write(&page(&[4])).unwrap();
    drop(sink);
    let mut sink = folder.prepared(OutputFormat::Ndjson, false);
    sink.write(&page(&[2, 3])).unwrap();
    sink.write(&page(&[4, 5])).unwrap();
    // The store failed, and the same page comes again.
    sink.prepare().unwrap();
    sink.write(&page(&[4, 5])).unwrap();
    sink.write(&cut(1, 9, &[6])).unwrap();
    sink.write(&cut(9, 10, &[7])).unwrap();
    assert_eq!(versions(&folder.text("per_minute.ndjson")), [1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn csv_tells_null_from_empty_and_quotes_what_needs_it() {
    let folder = Folder::new("csv");
    let mut sink = folder.prepared(OutputFormat::Csv, false);
    let rows = [Cell::Null, Cell::Text("".into()), Cell::Text("two\nlines".into())]
        .into_iter()
        .zip(7..)
        .map(|(c, v)| row(v, c))
        .collect();
    sink.write(&Cut { rows, ..cut(0, 9, &[]) }).unwrap();
    let expected = "window_start,window_end,farm,mean,who,state,version\r\n\
        1970-01-01T00:00:00Z,1970-01-01T00:01:00Z,\"a,\"\"b\"\"\",0.7,,open,7\r\n\
        1970-01-01T00:00:00Z,1970-01-01T00:01:00Z,\"a,\"\"b\"\"\",0.8,\"\",open,8\r\n\
        1970-01-01T00:00:00Z,1970-01-01T00:01:00Z,\"a,\"\"b\"\"\",0.9,\"two\nlines\",open,9\r\n";
    assert_eq!(folder.text("per_minute.csv"), expected);
    let again = [Cell::Text("two\nlines".into()), Cell::Null].into_iter().zip([9, 10]).map(|(c, v)| row(v, c)).collect();
    drop(sink);
    folder.prepared(OutputFormat::Csv, false).write(&Cut { rows: again, ..cut(0, 10, &[]) }).unwrap();
    assert_eq!(folder.text("per_minute.csv").matches("two").count(), 1);
    assert_eq!(folder.text("per_minute.csv").lines().count(), 6);
}

#[test]
fn as_of_tells_how_far_the_files_go() {
    let folder = Folder::new("as-of");
    folder.prepared(OutputFormat::Ndjson, false).write(&cut(0, 4, &[4])).unwrap();
    let as_of: serde_json::Value = serde_json::from_str(&folder.text("as_of.json")).unwrap();
    assert_eq!((&as_of["job"], &as_of["epoch"], &as_of["version"]), (&"wind".into(), &4.into(), &4.into()));
    assert_eq!(as_of["views"]["per_minute"], serde_json::json!({"complete_until": "1970-01-01T00:01:00Z", "final_until": null}));
    assert_eq!(as_of["bytes"]["per_minute.ndjson"], folder.text("per_minute.ndjson").len());
}

#[test]
fn dead_letters_keep_their_bytes() {
    let folder = Folder::new("dead");
    let letter = |payload: Option<&[u8]>, offset| DeadLetterRow {
        version: Version(5),
        dead_letter: DeadLetter {
            stream: 0,
            partition: Partition { topic: "t".into(), number: 1 },
            offset: Offset(offset),
            element: 0,
            rejection: Rejection::one(Reason::Malformed, "/a", "bad"),
            key: Some(b"k".to_vec()),
            headers: vec![("h".to_owned(), vec![0xff])],
            payload: payload.map(<[u8]>::to_vec),
            broker_time_us: None,
        },
    };
    let dead_letters = vec![letter(Some(b"{\n"), 1), letter(Some(&[0xfe, 0]), 2), letter(None, 3)];
    folder.prepared(OutputFormat::Csv, false).write(&Cut { dead_letters, ..cut(0, 5, &[]) }).unwrap();
    let lines: Vec<serde_json::Value> =
        folder.text("dead_letters.ndjson").lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(
        (&lines[0]["payload"], &lines[1]["payload_hex"], &lines[2]["payload"]),
        (&"{\n".into(), &"fe00".into(), &serde_json::Value::Null)
    );
    assert_eq!(
        (&lines[0]["headers"][0]["value_hex"], &lines[0]["stream"], &lines[0]["reason"]),
        (&"ff".into(), &"readings".into(), &"malformed".into())
    );
}

#[test]
fn files_of_others_and_changed_files_stop_the_sink() {
    let stops = |folder: &Folder, format| match folder.sink(format, false).prepare() {
        Err(SinkError::Stop(words)) => words,
        other => panic!("{other:?}"),
    };
    let folder = Folder::new("foreign");
    std::fs::create_dir_all(folder.path("")).unwrap();
    std::fs::write(folder.path("per_minute.ndjson"), "mine\n").unwrap();
    assert!(stops(&folder, OutputFormat::Ndjson).contains("was not written by this job"));
    assert_eq!(folder.text("per_minute.ndjson"), "mine\n");

    let folder = Folder::new("shrunk");
    folder.prepared(OutputFormat::Ndjson, false).write(&cut(0, 1, &[1])).unwrap();
    std::fs::write(folder.path("per_minute.ndjson"), "").unwrap();
    assert!(stops(&folder, OutputFormat::Ndjson).contains("put it back"));

    let folder = Folder::new("other-job");
    folder.prepared(OutputFormat::Csv, false).write(&cut(0, 1, &[1])).unwrap();
    let config = SinkConfig { folder: folder.path("").display().to_string(), format: OutputFormat::Csv, gzip: false };
    let mut other = Sink::new(config.clone(), SinkContext { job: "bank".to_owned(), ..context() });
    assert!(matches!(other.prepare(), Err(SinkError::Stop(words)) if words.contains("`wind`, not `bank`")));
    let mut changed = context();
    changed.views[0].columns.pop();
    assert!(matches!(Sink::new(config, changed).prepare(), Err(SinkError::Stop(words)) if words.contains("other columns")));
}

#[test]
fn a_history_is_not_read_back_as_rows() {
    let folder = Folder::new("history");
    let mut sink = folder.prepared(OutputFormat::Ndjson, false);
    sink.write(&cut(0, 1, &[1])).unwrap();
    assert!(!sink.held(0, EventTime::MIN, &mut |row| panic!("{row:?}")).unwrap());
}
