//! `streams.<name>`.

use super::sources::{FROM, WATERMARK};
use crate::jobfile::shape::{Key, Keys, Names, Shape, Zero, optional, required};

/// A stream.
pub static STREAM: Shape = Shape::Map(&Keys::of(STREAM_KEYS));

static STREAM_KEYS: &[Key] = &[
    required("from", &FROM, "where its records come from: `kafka`, `http`, `file`, `generate` or the name of a stream"),
    optional("format", &FORMAT, "how bytes become values"),
    optional("max_message", &Shape::Bytes, "larger messages are dead letters"),
    optional("schema", &SCHEMA, "a JSON Schema 2020-12 file, or an envelope and a schema for each type"),
    optional("explode", &EXPLODE, "pointer to an array whose elements are the records"),
    optional(
        "id",
        &Shape::OneOrMany(&Shape::Text),
        "what makes two records the same event; default: `Idempotency-Key` over HTTP, else topic, partition, offset",
    ),
    optional("event_time", &EVENT_TIME, "when it happened"),
    optional("watermark", &Shape::Map(&Keys::of(WATERMARK)), "how event time passes"),
    optional("lateness", &Shape::Duration(Zero::Allowed), "how long corrections are accepted"),
    optional("deduplicate", &Shape::Map(&Keys::of(DEDUPLICATE)), "how ids are remembered"),
    optional("lookup", &Shape::Named(Names::Identifiers, &LOOKUP), "rows of tables, by alias"),
    optional("where", &Shape::Expression, "CEL: records for which it is not true are filtered"),
    optional("fields", &Shape::Named(Names::Identifiers, &FIELD), "what views may use; default: the schema's scalar properties"),
];

static FORMAT: Shape = Shape::Either {
    scalar: Some(&Shape::Choice(&["json", "csv"])),
    list: None,
    map: Some(&Shape::Map(&Keys {
        keys: &[optional("csv", &Shape::Map(&Keys::of(CSV)), "CSV, one record a message")],
        one_of: &["csv"],
    })),
};

static CSV: &[Key] = &[
    optional("delimiter", &Shape::Character, "between fields"),
    optional("decimal", &Shape::Character, "the decimal point of numbers"),
    optional("columns", &Shape::List(&Shape::Text), "column names, where no header line tells them"),
];

static SCHEMA: Shape = Shape::Either { scalar: Some(&Shape::Text), list: Some(&Shape::List(&SCHEMA_PART)), map: None };

static SCHEMA_PART: Shape = Shape::Either { scalar: Some(&Shape::Text), list: None, map: Some(&Shape::Map(&Keys::of(PAYLOAD))) };

static PAYLOAD: &[Key] = &[
    required("at", &Shape::Text, "pointer to the payload"),
    required("by", &Shape::Text, "pointer to the field that chooses the schema"),
    required("of", &Shape::Named(Names::Free, &Shape::Text), "that field's values and their schema files"),
];

static EXPLODE: Shape = Shape::Either {
    scalar: Some(&Shape::Text),
    list: None,
    map: Some(&Shape::Map(&Keys::of(&[required("at", &Shape::Text, "pointer to the array")]))),
};

static EVENT_TIME: Shape = Shape::Either { scalar: Some(&Shape::Text), list: None, map: Some(&Shape::Map(&Keys::of(TIME))) };

static TIME: &[Key] = &[
    optional("at", &Shape::Text, "where it is found"),
    optional("format", &TIME_FORMAT, "how it is written"),
    optional("missing", &Shape::Choice(&["dead_letter", "received"]), "what is done where there is none"),
];

static TIME_FORMAT: Shape = Shape::Either {
    scalar: Some(&Shape::Choice(&["rfc3339", "unix_ms", "unix_s"])),
    list: None,
    map: Some(&Shape::Map(&Keys::of(&[
        required("pattern", &Shape::Text, "a strptime pattern such as `%Y-%m-%d %H:%M:%S`"),
        optional("zone", &Shape::Text, "the IANA time zone of times without one"),
        optional("gap", &Shape::Choice(&["reject", "later"]), "a local time that the clocks skipped"),
        optional("fold", &Shape::Choice(&["reject", "earlier", "later"]), "a local time that the clocks showed twice"),
    ]))),
};

static DEDUPLICATE: &[Key] = &[
    optional("within", &Shape::Duration(Zero::Allowed), "how long an id is remembered; default: the lateness"),
    optional("scope", &Shape::Choice(&["stream", "partition"]), "where a duplicate can come from"),
];

static LOOKUP: Shape = Shape::Map(&Keys::of(&[
    required("table", &Shape::Identifier, "the table"),
    required("key", &Shape::OneOrMany(&Shape::Text), "where the key's parts are found, one for each key column"),
]));

static FIELD: Shape = Shape::Either {
    scalar: Some(&Shape::Text),
    list: None,
    map: Some(&Shape::Map(&Keys {
        keys: &[
            optional("at", &Shape::Text, "where it is found"),
            optional("expr", &Shape::Expression, "CEL over earlier fields, lookups and metadata"),
            optional("type", &Shape::Text, "`decimal(3)`, `integer`, `text`, `bool` or `time`; default: the schema's"),
            optional("digits", &Shape::Choice(&["round", "reject"]), "what is done with digits beyond the scale"),
            optional("default", &Shape::Text, "instead of null"),
        ],
        one_of: &["at", "expr"],
    })),
};
