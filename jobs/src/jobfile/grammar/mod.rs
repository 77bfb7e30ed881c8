//! The job file, key by key. The order here is the order of the reference page and of the resolved job.

mod sinks;
mod sources;
mod streams;
mod views;

pub use views::NO_WINDOW;

use super::shape::{Key, Keys, Names, Shape, optional, required};

/// A whole job file.
pub static JOB: Shape = Shape::Map(&Keys::of(JOB_KEYS));

static JOB_KEYS: &[Key] = &[
    required("caudal", &Shape::Choice(&["1"]), "the version of the file format, `caudal: 1`"),
    required("name", &Shape::JobName, "the job's name, prefix of keys, tables and topics"),
    optional("include", &Shape::OneOrMany(&Shape::Text), "files with shared parts, merged into this one; relative to this file"),
    optional("limits", &Shape::Map(&Keys::of(LIMITS)), "what the memory bound is computed from"),
    optional("tables", &Shape::Named(Names::Stores, &TABLE), "reference data to look up"),
    required("streams", &Shape::Named(Names::Stores, &streams::STREAM), "the kinds of records, each with its source"),
    optional("views", &Shape::Named(Names::Stores, &views::VIEW), "aggregates kept up to date"),
    optional("detectors", &Shape::Later("detectors come with a later release: remove this block for now"), "anomaly detectors"),
    optional("sinks", &Shape::Named(Names::Stores, &sinks::SINK), "the stores that keep a copy; none means the embedded store"),
];

static LIMITS: &[Key] = &[
    optional("memory", &Shape::Bytes, "resident memory"),
    optional("events_per_s", &Shape::Integer(1, u64::MAX), "records per second of event time"),
    optional("groups", &Shape::Integer(1, u64::MAX), "groups of any one view"),
];

static TABLE: Shape = Shape::Map(&Keys::of(&[
    required(
        "from",
        &Shape::Map(&Keys::of(&[required("file", &Shape::Text, "a CSV file with a header line")])),
        "where its rows are",
    ),
    required("key", &Shape::OneOrMany(&Shape::Text), "the columns that tell one row"),
    optional("columns", &Shape::Named(Names::Free, &Shape::Text), "types of columns that are not text"),
    optional("delimiter", &Shape::Character, "between the columns of the file"),
]));
