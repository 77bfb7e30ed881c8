//! What a published record looks like: id, key, headers, body. Pure.
//!
//! The id names the row or the refused record for ever, whatever its version: `job/view/group…/start` and
//! `job/stream/topic/partition/offset/element`. A part is percent-encoded where it holds a `/`, so that ids of
//! different rows differ; a null is `~`.

use super::config::{Publication, Published};
use crate::context::{SinkContext, ViewDescription, row_json};
use caudal_pipeline::ports::sink::{Cut, DeadLetterRow, Row};
use caudal_pipeline::time::{EventTime, Version};
use caudal_pipeline::value::{Cell, decimal_text};
use serde_json::Value as Json;

/// The stable id of what the record says.
pub(super) const ID: &str = "caudal-id";

/// The version of it.
pub(super) const VERSION: &str = "caudal-version";

/// A record ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Envelope<'a> {
    pub(super) topic: &'a str,
    pub(super) id: String,
    pub(super) version: Version,
    pub(super) key: Option<Vec<u8>>,
    pub(super) body: Option<Vec<u8>>,
    /// All of them, the id and the version last.
    pub(super) headers: Vec<(String, Vec<u8>)>,
}

/// Everything of a cut that is published, in the cut's order, publication by publication.
pub(super) fn envelopes<'a>(context: &SinkContext, publish: &'a [Publication], cut: &Cut) -> Vec<Envelope<'a>> {
    let mut envelopes = Vec::new();
    for publication in publish {
        let topic = publication.topic.as_str();
        match &publication.what {
            Published::View { view, key } => {
                let description = &context.views[*view];
                let rows = cut.rows.iter().filter(|row| row.view == *view);
                envelopes.extend(rows.map(|row| of_row(&context.job, description, key, topic, row)));
            }
            Published::DeadLetters => {
                envelopes.extend(cut.dead_letters.iter().map(|refused| of_dead_letter(context, topic, refused)));
            }
        }
    }
    envelopes
}

fn of_row<'a>(job: &str, view: &ViewDescription, key: &[usize], topic: &'a str, row: &Row) -> Envelope<'a> {
    let id = row_id(job, view, row);
    let key = row_key(view, key, row).unwrap_or_else(|| id.clone());
    Envelope {
        topic,
        key: Some(key.into_bytes()),
        body: Some(Json::Object(row_json(view, row)).to_string().into_bytes()),
        headers: named(&id, row.version),
        id,
        version: row.version,
    }
}

fn row_id(job: &str, view: &ViewDescription, row: &Row) -> String {
    let start = match row.start {
        EventTime::MIN => "-".to_owned(),
        EventTime(us) => us.to_string(),
    };
    let group = view.group_cells(row);
    let parts = [job.to_owned(), view.name.clone()].into_iter().map(|part| encoded(&part));
    parts.chain(group.iter().map(part)).chain([start]).collect::<Vec<_>>().join("/")
}

/// The chosen group fields: one as plain text, several as a JSON array; `None` where none is chosen.
fn row_key(view: &ViewDescription, key: &[usize], row: &Row) -> Option<String> {
    let cells = view.group_cells(row);
    match key {
        [] => None,
        [only] => Some(plain(&cells[*only])),
        several => Some(Json::Array(several.iter().map(|position| cells[*position].to_json()).collect()).to_string()),
    }
}

fn of_dead_letter<'a>(context: &SinkContext, topic: &'a str, refused: &DeadLetterRow) -> Envelope<'a> {
    let letter = &refused.dead_letter;
    let stream = context.streams.get(letter.stream as usize).map_or("", String::as_str);
    let (number, offset) = (letter.partition.number.to_string(), letter.offset.0.to_string());
    let parts = [&context.job, stream, &letter.partition.topic, &number, &offset, &letter.element.to_string()];
    let id = parts.map(encoded).join("/");

    // A record that was refused before and sent again brings our headers along: ours replace them.
    let ours = |name: &str| name.starts_with("caudal-");
    let mut headers: Vec<_> = letter.headers.iter().filter(|(name, _)| !ours(name)).cloned().collect();
    let mut add = |name: &str, value: &str| headers.push((name.to_owned(), value.as_bytes().to_vec()));
    add("caudal-reason", letter.rejection.reason.name());
    for violation in &letter.rejection.violations {
        add("caudal-path", &violation.path);
        add("caudal-error", &violation.message);
    }
    add("caudal-stream", stream);
    add("caudal-topic", &letter.partition.topic);
    add("caudal-partition", &number);
    add("caudal-offset", &offset);
    add("caudal-element", &letter.element.to_string());
    headers.extend(named(&id, refused.version));
    Envelope { topic, id, version: refused.version, key: letter.key.clone(), body: letter.payload.clone(), headers }
}

fn named(id: &str, version: Version) -> Vec<(String, Vec<u8>)> {
    vec![(ID.to_owned(), id.as_bytes().to_vec()), (VERSION.to_owned(), version.0.to_string().into_bytes())]
}

/// A value as it is written in a key: text as it is, numbers and times as in the body.
fn plain(cell: &Cell) -> String {
    match cell {
        Cell::Null => String::new(),
        Cell::Text(text) => text.to_string(),
        Cell::Decimal { unscaled, scale } => decimal_text(*unscaled, *scale),
        Cell::Time(us) => EventTime(*us).to_string(),
        other => other.to_json().to_string(),
    }
}

fn part(cell: &Cell) -> String {
    if *cell == Cell::Null { "~".to_owned() } else { encoded(&plain(cell)) }
}

/// The text without `/`, and without a `~` or `%` that means something else.
fn encoded(text: &str) -> String {
    text.replace('%', "%25").replace('/', "%2F").replace('~', "%7E")
}

#[cfg(test)]
mod tests {
    use super::*;
    use caudal_pipeline::plan::WindowPlan;
    use caudal_pipeline::ports::sink::RowState;
    use caudal_pipeline::record::{DeadLetter, Offset, Partition, Reason, Rejection};
    use caudal_pipeline::time::Span;
    use caudal_pipeline::value::{Column, ColumnType, Field, FieldType, Value};

    fn context() -> SinkContext {
        let field = |name: &str, field_type| Field { name: name.to_owned(), field_type };
        SinkContext {
            job: "wind-farm".to_owned(),
            views: vec![ViewDescription {
                name: "per_minute".to_owned(),
                window: WindowPlan::Tumbling { size: Span::seconds(60) },
                group: vec![field("farm", FieldType::Text), field("class", FieldType::Decimal(1))],
                columns: vec![Column { name: "n".to_owned(), column_type: ColumnType::Integer }],
            }],
            streams: vec!["readings".to_owned()],
        }
    }

    fn row(farm: Value, class: Value, start: EventTime) -> Row {
        Row {
            view: 0,
            group: vec![farm, class],
            start,
            end: EventTime::MAX,
            cells: vec![Cell::Integer(3)],
            state: RowState::Open,
            version: Version(9),
            expires_us: None,
        }
    }

    fn published(row: Row, key: &[usize]) -> (String, String) {
        let publish = [Publication { what: Published::View { view: 0, key: key.to_vec() }, topic: "out".to_owned() }];
        let cut = Cut { rows: vec![row], ..Cut::default() };
        let mut envelopes = envelopes(&context(), &publish, &cut);
        let envelope = envelopes.remove(0);
        (envelope.id, String::from_utf8(envelope.key.unwrap()).unwrap())
    }

    #[test]
    fn ids_of_different_rows_differ() {
        let text = |text: &str| Value::Text(text.into());
        for (farm, class, start, id) in [
            (text("north"), Value::Decimal(15), EventTime(60), "wind-farm/per_minute/north/1.5/60"),
            (text("a/b"), Value::Null, EventTime::MIN, "wind-farm/per_minute/a%2Fb/~/-"),
            (text("~"), Value::Decimal(-5), EventTime(0), "wind-farm/per_minute/%7E/-0.5/0"),
        ] {
            assert_eq!(published(row(farm, class, start), &[]), (id.to_owned(), id.to_owned()));
        }
    }

    #[test]
    fn one_key_field_is_plain_and_several_are_json() {
        let north = || row(Value::Text("north".into()), Value::Decimal(15), EventTime(0));
        assert_eq!(published(north(), &[0]).1, "north");
        assert_eq!(published(north(), &[1, 0]).1, r#"[1.5,"north"]"#);
    }

    #[test]
    fn a_dead_letter_keeps_its_bytes_and_says_why_and_whence() {
        let letter = DeadLetter {
            stream: 0,
            partition: Partition { topic: "raw".into(), number: 3 },
            offset: Offset(41),
            element: 2,
            rejection: Rejection::one(Reason::Schema, "/power", "below 0"),
            key: Some(b"k".to_vec()),
            headers: vec![("trace".to_owned(), b"1".to_vec()), ("caudal-id".to_owned(), b"old".to_vec())],
            payload: Some(b"\xff{".to_vec()),
            broker_time_us: None,
        };
        let publish = [Publication { what: Published::DeadLetters, topic: "dead".to_owned() }];
        let cut = Cut { dead_letters: vec![DeadLetterRow { version: Version(9), dead_letter: letter }], ..Cut::default() };
        let envelope = envelopes(&context(), &publish, &cut).remove(0);
        assert_eq!((envelope.key.as_deref(), envelope.body.as_deref()), (Some(&b"k"[..]), Some(&b"\xff{"[..])));
        let headers: Vec<_> =
            envelope.headers.iter().map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(value))).collect();
        let expected = [
            "trace=1",
            "caudal-reason=schema",
            "caudal-path=/power",
            "caudal-error=below 0",
            "caudal-stream=readings",
            "caudal-topic=raw",
            "caudal-partition=3",
            "caudal-offset=41",
            "caudal-element=2",
            "caudal-id=wind-farm/readings/raw/3/41/2",
            "caudal-version=9",
        ];
        assert_eq!(headers, expected);
    }
}
