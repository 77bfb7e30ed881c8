//! From bytes to records: every message is decoded here, by a pure function of its bytes, its place and bound tables.
//!
//! ```text
//! Message ─▶ size ─▶ body ─▶ decode ─▶ explode ─▶ schema ─▶ fields ─▶ event time ─▶ Record
//!            too_     tomb-  mal-      explode    schema    field     event_time
//!            large    stone  formed
//! ```
//!
//! The first stage that fails decides: exactly one outcome for each element, in element order, and a message that
//! fails before there are elements is one outcome. Within a stage all that is wrong is reported, sorted by place.
//!
//! - [`Decoder`] does this for a stream of messages, [`Derivation`] what is left of it for a stream made from a stream,
//!   [`Tables`] is the reference data that fields may look up.
//! - Their specs ([`DecoderSpec`], [`DerivationSpec`]) are what a job file says. Compiling one reports all its mistakes
//!   at once as [`SpecError`]s; what compiled cannot fail later but by bad input, and bad input is data ([`Rejection`]).
//! - Nothing is guessed: a key twice, half a surrogate, a number with a digit too many, a local time that the clocks
//!   skipped are refused or treated as the job file says. Nothing depends on clock, locale, process or machine.
//! - Numbers keep their text until their field's scale is known, so no value passes through floating point.
//!
//! [`Rejection`]: crate::record::Rejection
//!
//! ```
//! use caudal_pipeline::decode::*;
//! use caudal_pipeline::record::{Message, Partition, PartitionIndex};
//! use caudal_pipeline::time::{EventTime, Version};
//! use caudal_pipeline::value::{FieldType, Value};
//!
//! let spec = DecoderSpec {
//!     format: Format::Json,
//!     max_bytes: 1 << 20,
//!     schema: None,
//!     schema_resources: Default::default(),
//!     explode: None,
//!     id: Some(vec![Reference("/id".into())]),
//!     event_time: EventTimeSpec { at: Some(Reference("/t".into())), format: TimeFormat::UnixS, missing: Missing::DeadLetter },
//!     tables: vec![],
//!     lookups: vec![],
//!     fields: Some(vec![FieldSpec {
//!         name: "power_kw".into(),
//!         from: FieldFrom::Reference(Reference("/power/active".into())),
//!         field_type: Some(FieldType::Decimal(3)),
//!         excess_digits: ExcessDigits::Round,
//!         default: None,
//!     }]),
//!     filter: None,
//! };
//! let decoder = Decoder::new(&spec).expect("the spec has no mistake");
//!
//! let partition = Partition { topic: "wind".into(), number: 0 };
//! let tables = Tables::default();
//! let context = Context { index: PartitionIndex(0), partition: &partition, opened: Version(0), tables: &tables };
//! let body = br#"{"id": "a", "t": 1.5, "power": {"active": 812.3}}"#.to_vec();
//! let mut out = Vec::new();
//! decoder.decode(&Message { payload: Some(body), ..Message::default() }, &context, &mut out);
//!
//! let record = out.remove(0).expect("the message is good");
//! assert_eq!(record.event_time, EventTime(1_500_000));
//! assert_eq!(*record.values, [Value::Decimal(812_300)]);
//! ```

mod convert;
mod csv;
mod decimal;
mod decoder;
mod derivation;
mod event_time;
mod fields;
mod formula;
mod identity;
mod json;
mod place;
mod pointer;
mod rfc3339;
mod rules;
mod schema;
mod schema_text;
mod shapes;
mod slots;
mod spec;
mod tables;
mod text;
mod time_reader;
mod types;

#[cfg(test)]
mod tests;

pub use decoder::{CSV_COLUMNS, Context, Decoder};
pub use derivation::Derivation;
pub use spec::{
    DecoderSpec, DerivationSpec, EventTimeSpec, ExcessDigits, FieldFrom, FieldSpec, Fold, Format, Gap, LookupSpec, Missing,
    Reference, SchemaSpec, SpecError, TimeFormat,
};
pub use tables::{TableRows, Tables};
