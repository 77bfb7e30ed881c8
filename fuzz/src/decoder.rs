//! A message's bytes: the first chooses the stream, the rest is the body.
//!
//! Promises: no panic; the same outcomes every time; a record has every field of its stream; a dead letter says why.

use crate::job_file::read;
use caudal_pipeline::decode::{CSV_COLUMNS, Context, Decoder, Tables};
use caudal_pipeline::plan::{Plan, StreamInput};
use caudal_pipeline::record::{Message, Offset, Partition, PartitionIndex, Record, Rejection};
use caudal_pipeline::time::Version;
use std::sync::LazyLock;

/// Every way to read a message: envelope and payload schema, explode and local times, CSV, anything that parses.
pub const JOB: &str = r"
caudal: 1
name: decoding
tables:
  generators: {from: {file: generators.csv}, key: generator_id, columns: {rated_kw: decimal(1)}}
streams:
  enveloped:
    from: {http: {}}
    schema: [envelope.json, {at: /payload, by: /event_type, of: {reading: reading.json}}]
    id: [/payload/event_id, /event_type]
    event_time: /payload/timestamp
    lookup: {g: {table: generators, key: /payload/generator_id}}
    fields:
      farm: {expr: g.farm}
      power: {at: /payload/power/active, type: decimal(2), digits: reject}
      half: {expr: 'g.rated_kw > 1.5 ? power / 2 : power', type: decimal(3)}
  exploded:
    from: {http: {}}
    explode: /readings
    id: [/id, ./n]
    event_time: {at: ./time, format: {pattern: '%Y-%m-%d %H:%M:%S', zone: Europe/Madrid, gap: later, fold: earlier}, missing: received}
    max_message: 64KiB
    where: power > 10.5 || who.startsWith('a')
    fields:
      who: {at: ./who, type: text, default: unknown}
      power: {at: ./power, type: decimal(2)}
      seen: {at: ./seen, type: time}
  separated:
    from: {file: measured.csv}
    format: {csv: {delimiter: ';', decimal: ','}}
    event_time: {at: /time, format: unix_s}
    fields: {value: {at: /value, type: decimal(4)}, on: {at: /on, type: bool}}
  anything:
    from: {http: {}}
    event_time: $received
    fields: {n: {at: /a/b/0, type: integer}, day: {at: /day, type: time}}
views:
  all: {from: anything, window: none, select: {n: count()}}
";

static PLAN: LazyLock<Plan> = LazyLock::new(|| read(JOB).unwrap_or_else(|mistakes| panic!("{mistakes}")).plan);
static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let columns = PLAN.tables[0].columns.len();
    let row = |name: &str| (0..columns).map(|at| Some(if at == 0 { name.to_owned() } else { at.to_string() })).collect();
    Tables::new(&PLAN.tables, &[vec![row("gen-1"), row("gen-2")]]).expect("the rows are right")
});

/// A record, or why there is none and for which element.
pub type Outcomes = Vec<Result<Record, (u32, Rejection)>>;

/// Decodes the message twice and looks at what came out.
pub fn check(bytes: &[u8]) {
    let (decoder, outcomes) = decode(bytes);
    assert!(!outcomes.is_empty(), "a message has at least one outcome");
    for outcome in &outcomes {
        match outcome {
            Ok(record) => assert_eq!(record.values.len(), decoder.fields().len(), "a record has every field"),
            Err((_, rejection)) => assert!(!rejection.violations.is_empty(), "a dead letter says why"),
        }
    }
    assert_eq!(format!("{outcomes:?}"), format!("{:?}", decode(bytes).1), "the same bytes are decoded alike");
}

/// What becomes of each element of the message, and the decoder that says so.
pub fn decode(bytes: &[u8]) -> (&'static Decoder, Outcomes) {
    let (choice, body) = bytes.split_first().map_or((0, bytes), |(first, rest)| (*first as usize, rest));
    let StreamInput::Source(decoder) = &PLAN.streams[choice % PLAN.streams.len()].from else {
        unreachable!("every stream of the job has a source")
    };
    let headers = [(CSV_COLUMNS.to_owned(), b"time;value;on".to_vec())].into();
    let message = Message { offset: Offset(7), headers, payload: Some(body.to_vec()), ..Message::default() };
    let partition = Partition { topic: "readings".into(), number: 3 };
    let opened = Version(1_767_225_600_000_000);
    let context = Context { index: PartitionIndex(1), partition: &partition, opened, tables: &TABLES };
    let mut outcomes = Vec::new();
    decoder.decode(&message, &context, &mut outcomes);
    (decoder, outcomes)
}
