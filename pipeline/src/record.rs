//! A message as it arrives, a record as the engine carries it, and what becomes of each: exactly one [`Verdict`].
//!
//! ```text
//! Message ──decode──▶ Record ──late? duplicate? where?──▶ counted | filtered | duplicate | dead letter
//!     └─────────────▶ Rejection (a dead letter: reason, place, message)
//! ```

use crate::time::EventTime;
use crate::value::Value;
use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A partition of a stream's input by name: a Kafka topic and number, a file, a generator's source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Partition {
    /// Topic, file path or generator name.
    pub topic: Arc<str>,
    /// Number within the topic; 0 for a file.
    pub number: i32,
}

/// A partition's place in its stream's list of partitions, which the commit log binds: first bound, first numbered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartitionIndex(pub u32);

/// A message's position in its partition. Kafka: the offset; a file: the byte offset; a generator: the index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Offset(pub u64);

/// Where a record comes from: unique in its stream for ever, and the last tie-breaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// Which partition, by the stream's bound list.
    pub partition: PartitionIndex,
    /// Which message.
    pub offset: Offset,
    /// Which element of an exploded message; 0 without `explode`.
    pub element: u32,
}

/// A message as a source hands it over: bytes, nothing interpreted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Its position.
    pub offset: Offset,
    /// The broker's key, if any.
    pub key: Option<Vec<u8>>,
    /// Headers in order; names may repeat. Shared, because many messages may carry the same ones.
    pub headers: Arc<[(String, Vec<u8>)]>,
    /// The body; `None` is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// The broker's timestamp, microseconds since 1970, if it keeps one.
    pub broker_time_us: Option<i64>,
}

impl Message {
    /// Bytes held by the message, for budgets and size limits.
    pub fn len_bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(k, v)| k.len() + v.len()).sum();
        self.payload.as_ref().map_or(0, Vec::len) + self.key.as_ref().map_or(0, Vec::len) + headers
    }
}

/// What makes two records the same event. Ordered: ties between records break by (event time, id).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Id {
    /// The default: the origin itself, which cannot repeat and needs no table.
    Origin(Origin),
    /// The configured parts, joined by U+001F when there are several.
    Given(CompactString),
}

impl Id {
    /// The 128-bit hash under which the id is remembered.
    pub fn hash(&self) -> u128 {
        match self {
            Id::Given(text) => xxhash_rust::xxh3::xxh3_128(text.as_bytes()),
            Id::Origin(o) => {
                let mut bytes = [0u8; 16];
                bytes[..4].copy_from_slice(&o.partition.0.to_le_bytes());
                bytes[4..12].copy_from_slice(&o.offset.0.to_le_bytes());
                bytes[12..].copy_from_slice(&o.element.to_le_bytes());
                xxhash_rust::xxh3::xxh3_128(&bytes)
            }
        }
    }
}

/// A decoded, validated record on its way to deduplication.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// When it happened.
    pub event_time: EventTime,
    /// Where it came from.
    pub origin: Origin,
    /// What it is called.
    pub id: Id,
    /// Hash of its bytes: the same id with another content is a conflict.
    pub content: u64,
    /// Whether `where` holds; decided with the fields, applied after deduplication.
    pub passes: bool,
    /// The fields, in the order of the stream's plan.
    pub values: Box<[Value]>,
}

/// Why a record became a dead letter. The names are what readers and metrics see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Larger than the stream accepts.
    TooLarge,
    /// No body at all: a tombstone.
    Tombstone,
    /// Not the declared format: bad UTF-8, bad JSON, a duplicate key, nested too deep, an empty body.
    Malformed,
    /// `explode` found no array, or an empty one.
    Explode,
    /// The schema does not allow it.
    Schema,
    /// A field is missing, of another type, or outside its range.
    Field,
    /// No usable event time.
    EventTime,
    /// Further in the future than `max_future`.
    TooFarInFuture,
    /// Event time + lateness is behind the watermark.
    TooLate,
    /// The id is known with other bytes.
    Conflict,
}

impl Reason {
    /// All reasons, in the order of a record's way.
    pub const ALL: [Reason; 10] = [
        Reason::TooLarge,
        Reason::Tombstone,
        Reason::Malformed,
        Reason::Explode,
        Reason::Schema,
        Reason::Field,
        Reason::EventTime,
        Reason::TooFarInFuture,
        Reason::TooLate,
        Reason::Conflict,
    ];

    /// The name in stores, metrics and the terminal.
    pub fn name(self) -> &'static str {
        match self {
            Reason::TooLarge => "too_large",
            Reason::Tombstone => "tombstone",
            Reason::Malformed => "malformed",
            Reason::Explode => "explode",
            Reason::Schema => "schema",
            Reason::Field => "field",
            Reason::EventTime => "event_time",
            Reason::TooFarInFuture => "too_far_in_future",
            Reason::TooLate => "too_late",
            Reason::Conflict => "conflict",
        }
    }
}

/// One thing that is wrong with a record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Violation {
    /// JSON pointer to the place in the message; empty for the whole.
    pub path: String,
    /// What is wrong and what was expected, lower case, no full stop.
    pub message: String,
}

/// Why a message or one element of it was refused, with every violation found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// The class of the refusal.
    pub reason: Reason,
    /// Sorted by path; at least one.
    pub violations: Vec<Violation>,
}

impl Rejection {
    /// A refusal with a single violation.
    pub fn one(reason: Reason, path: impl Into<String>, message: impl Into<String>) -> Rejection {
        Rejection { reason, violations: vec![Violation { path: path.into(), message: message.into() }] }
    }
}

/// A refused record with all that is needed to look at it and to send it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The stream that refused it, by position in the plan.
    pub stream: u32,
    /// Where it came from, by name.
    pub partition: Partition,
    /// Where it came from.
    pub offset: Offset,
    /// Which element of the message; 0 for a whole message.
    pub element: u32,
    /// Why.
    pub rejection: Rejection,
    /// The broker's key, as it came.
    pub key: Option<Vec<u8>>,
    /// The headers, as they came.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The original bytes; `None` is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// The broker's timestamp, if it keeps one.
    pub broker_time_us: Option<i64>,
}

/// An accepted record as stores keep it: what came, and how it was named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The stream that accepted it, by position in the plan.
    pub stream: u32,
    /// Where it came from, by name.
    pub partition: Partition,
    /// Where it came from.
    pub offset: Offset,
    /// Which element of the message; 0 for a whole message.
    pub element: u32,
    /// When it happened.
    pub event_time: EventTime,
    /// What it is called.
    pub id: CompactString,
    /// The broker's key, as it came.
    pub key: Option<Vec<u8>>,
    /// The message's bytes; of an exploded message only its first accepted element has them.
    pub payload: Option<Vec<u8>>,
}

/// What became of a record; every record gets exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// Counted in every view of the stream.
    Accepted,
    /// `where` was false or null.
    Filtered,
    /// The same event, the same bytes, again.
    Duplicate,
    /// A dead letter.
    Rejected(Reason),
}
