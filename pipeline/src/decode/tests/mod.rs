//! The decoder as a whole: bytes in, outcomes out. Expressions have their own file here.

mod explode;
mod inputs;
mod mistakes;
mod schemas;

use super::*;
use crate::plan::TablePlan;
use crate::record::{Id, Message, Offset, Partition, PartitionIndex, Reason, Record, Rejection};
use crate::time::Version;
use crate::value::{Field, FieldType, Value};
use serde_json::Value as Json;

/// 2026-01-01T00:00:00Z: when every message of these tests is received.
const OPENED: i64 = 1_767_225_600_000_000;

fn document(text: &str) -> Json {
    json::parse(text.as_bytes()).unwrap()
}

/// JSON without schema: an id, a time in `/t`, no fields.
fn spec() -> DecoderSpec {
    DecoderSpec {
        format: Format::Json,
        max_bytes: 1 << 24,
        schema: None,
        schema_resources: Default::default(),
        explode: None,
        id: None,
        event_time: EventTimeSpec { at: Some(at("/t")), format: TimeFormat::Rfc3339, missing: Missing::Received },
        tables: vec![],
        lookups: vec![],
        fields: Some(vec![]),
        filter: None,
    }
}

fn at(text: &str) -> Reference {
    Reference(text.into())
}

fn field(name: &str, place: &str, field_type: impl Into<Option<FieldType>>) -> FieldSpec {
    FieldSpec {
        name: name.into(),
        from: FieldFrom::Reference(at(place)),
        field_type: field_type.into(),
        excess_digits: ExcessDigits::Round,
        default: None,
    }
}

fn formula(name: &str, expr: &str) -> FieldSpec {
    FieldSpec { from: FieldFrom::Expr(expr.into()), ..field(name, "", None) }
}

type Outcomes = Vec<Result<Record, (u32, Rejection)>>;

fn run(decoder: &Decoder, message: &Message, tables: &Tables) -> Outcomes {
    let partition = Partition { topic: "readings".into(), number: 3 };
    let context = Context { index: PartitionIndex(7), partition: &partition, opened: Version(OPENED), tables };
    let mut out = Vec::new();
    decoder.decode(message, &context, &mut out);
    out
}

fn message(body: impl Into<Vec<u8>>) -> Message {
    Message { offset: Offset(42), payload: Some(body.into()), ..Message::default() }
}

fn outcomes(spec: &DecoderSpec, body: impl Into<Vec<u8>>) -> Outcomes {
    let decoder = Decoder::new(spec).unwrap_or_else(|errors| panic!("{errors:#?}"));
    run(&decoder, &message(body), &Tables::default())
}

/// The only outcome.
fn one(spec: &DecoderSpec, body: impl Into<Vec<u8>>) -> Result<Record, Rejection> {
    let mut all = outcomes(spec, body);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0).map_err(|(element, rejection)| {
        assert_eq!(element, 0);
        rejection
    })
}

/// `reason: path message; path message`.
fn words(rejection: &Rejection) -> String {
    let violations: Vec<String> = rejection.violations.iter().map(|v| format!("{} {}", v.path, v.message)).collect();
    format!("{}: {}", rejection.reason.name(), violations.join("; "))
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

#[test]
fn decoders_are_shared_by_threads() {
    fn shared<T: Send + Sync + std::fmt::Debug>() {}
    shared::<Decoder>();
    shared::<Derivation>();
    shared::<Tables>();
}
