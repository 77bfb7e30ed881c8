//! What a job file says about reading a stream: resolved, but neither compiled nor checked.
//!
//! Nothing here is trusted. [`Decoder::new`](super::Decoder::new) and [`Derivation::new`](super::Derivation::new)
//! turn a spec into something that works, or into the list of all its mistakes.

use crate::plan::TablePlan;
use crate::value::{Field, FieldType};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::ops::Range;

/// How a stream's messages are read: what the job file says, resolved but not compiled.
#[derive(Clone, Debug)]
pub struct DecoderSpec {
    /// JSON or CSV.
    pub format: Format,
    /// Larger messages are `too_large`.
    pub max_bytes: usize,
    /// Validation; `None` accepts what parses.
    pub schema: Option<SchemaSpec>,
    /// Other schema documents that `$ref` may name, by URI (`file:`-relative names resolved by the caller).
    pub schema_resources: BTreeMap<String, Json>,
    /// Pointer to the array whose elements are the records.
    pub explode: Option<String>,
    /// The id's parts; `None` means the origin.
    pub id: Option<Vec<Reference>>,
    /// When it happened.
    pub event_time: EventTimeSpec,
    /// Reference data that lookups may name.
    pub tables: Vec<TablePlan>,
    /// Rows of reference data, by alias.
    pub lookups: Vec<LookupSpec>,
    /// Fields, in order; `None` takes the schema's scalar properties by name.
    pub fields: Option<Vec<FieldSpec>>,
    /// CEL; false and null are filtered.
    pub filter: Option<String>,
}

/// Where a value is found: `/a/b` in the message, `./b` in the exploded element, `$header.X`, `$topic`, `$partition`,
/// `$offset`, `$key`, `$received`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference(
    /// As written.
    pub String,
);

/// How bytes become values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON value a message.
    Json,
    /// One CSV record a message; a file source sends the header line in the header `csv.columns`.
    Csv {
        /// Between fields.
        delimiter: u8,
        /// The decimal point of numbers.
        decimal: u8,
        /// Column names, where no header line tells them.
        columns: Option<Vec<String>>,
    },
}

/// What is valid.
#[derive(Clone, Debug)]
pub enum SchemaSpec {
    /// One schema for the whole message. Under `explode` a violation inside an element is that element's alone;
    /// any other is every element's.
    Whole(Json),
    /// One schema for each element that `explode` finds.
    Element(Json),
    /// An envelope, and a payload schema chosen by a field from a closed map.
    Envelope {
        /// For the whole message.
        envelope: Json,
        /// Pointer to the payload; `./b` starts at the exploded element.
        at: String,
        /// Pointer to the field that chooses; `./b` starts at the exploded element.
        by: String,
        /// Its values and their schemas; any other value is a violation.
        of: BTreeMap<String, Json>,
    },
}

/// When it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventTimeSpec {
    /// Where it is found; `None` is the time received.
    pub at: Option<Reference>,
    /// How it is written.
    pub format: TimeFormat,
    /// What is done where there is none.
    pub missing: Missing,
}

/// How a time is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeFormat {
    /// RFC 3339 with an offset.
    Rfc3339,
    /// Milliseconds since 1970.
    UnixMs,
    /// Seconds since 1970, fractions allowed.
    UnixS,
    /// A strptime pattern, in a zone when the pattern has none.
    Pattern {
        /// `%Y-%m-%d %H:%M:%S`.
        pattern: String,
        /// IANA name; `UTC` unless told otherwise.
        zone: String,
        /// A local time that the clocks skipped.
        gap: Gap,
        /// A local time that the clocks showed twice.
        fold: Fold,
    },
}

/// A local time that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// A dead letter.
    Reject,
    /// As if the clocks had not been moved: later by the gap.
    Later,
}

/// A local time that exists twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// A dead letter.
    Reject,
    /// The first time.
    Earlier,
    /// The second time.
    Later,
}

/// A record without an event time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Is a dead letter.
    DeadLetter,
    /// Happened when it was received.
    Received,
}

/// A row of reference data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupSpec {
    /// The name that expressions use: `g.farm`.
    pub alias: String,
    /// Position in `tables`.
    pub table: usize,
    /// One for each key column.
    pub key: Vec<Reference>,
}

/// A field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldSpec {
    /// Its name.
    pub name: String,
    /// Where its value comes from.
    pub from: FieldFrom,
    /// Declared type; else the schema's (integer → decimal(0), string → text, `format: date-time` → text), else an error.
    pub field_type: Option<FieldType>,
    /// What is done with digits beyond the scale.
    pub excess_digits: ExcessDigits,
    /// Instead of null, as written.
    pub default: Option<String>,
}

/// Where a field's value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldFrom {
    /// A place.
    Reference(Reference),
    /// CEL over earlier fields, lookups and metadata.
    Expr(String),
}

/// Digits beyond a decimal's scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExcessDigits {
    /// Half-even.
    Round,
    /// A dead letter.
    Reject,
}

/// A mistake in a spec, by its place below the stream in the job file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecError {
    /// `fields.farm.expr`, `schema`, `event_time.at`, `where`.
    pub path: String,
    /// Bytes within the text there, for expressions.
    pub span: Option<Range<usize>>,
    /// What and remedy.
    pub message: String,
}

/// How a child stream is made from its parent's records.
#[derive(Clone, Debug)]
pub struct DerivationSpec {
    /// The parent's fields.
    pub parent: Vec<Field>,
    /// Fields; `None` keeps the parent's. References may only be parent field names, bare.
    pub fields: Option<Vec<FieldSpec>>,
    /// CEL over the parent's fields and the new ones.
    pub filter: Option<String>,
}
