//! `streams.<name>.from`.

use crate::jobfile::shape::{Key, Keys, Names, Shape, Zero, optional, required};

/// Where a stream's records come from: a source, or another stream by name.
pub static FROM: Shape = Shape::Either { scalar: Some(&Shape::Identifier), list: None, map: Some(&SOURCE) };

static SOURCE: Shape = Shape::Map(&Keys {
    keys: &[
        optional("kafka", &Shape::Map(&Keys::of(KAFKA)), "topics of a Kafka cluster"),
        optional("http", &Shape::Map(&Keys::of(HTTP)), "events posted to this process, through a durable local log"),
        optional("file", &Shape::OneOrMany(&Shape::Text), "files, one partition each; `.gz` is decompressed"),
        optional("generate", &GENERATE, "a seeded generator: the path of its profile, or the profile"),
    ],
    one_of: &["kafka", "http", "file", "generate"],
});

static GENERATE: Shape = Shape::Either { scalar: Some(&Shape::Text), list: None, map: Some(&Shape::Any) };

static KAFKA: &[Key] = &[
    required("topics", &Shape::OneOrMany(&Shape::Text), "the topics by name, or one `^pattern$`"),
    optional("start", &START, "where a job without state begins"),
    required("properties", &PROPERTIES, "librdkafka properties, verbatim; `bootstrap.servers` at least"),
];

static START: Shape = Shape::Either {
    scalar: Some(&Shape::Choice(&["earliest", "latest"])),
    list: None,
    map: Some(&Shape::Map(&Keys::of(&[required("timestamp", &Shape::Text, "a time such as `2026-01-31T00:00:00Z`")]))),
};

/// Properties of librdkafka.
pub static PROPERTIES: Shape = Shape::Named(Names::Free, &Shape::Text);

static HTTP: &[Key] = &[optional("partitions", &Shape::Integer(1, 256), "partitions of the local log")];

/// How a stream's watermark follows its records.
pub static WATERMARK: &[Key] = &[
    optional("max_delay", &Shape::Duration(Zero::Allowed), "how far a record may lie behind its partition's newest"),
    optional("idle_after", &Shape::Duration(Zero::Refused(NO_IDLE)), "quiet time after which a partition is not waited for"),
    optional("max_future", &Shape::Duration(Zero::Allowed), "how far ahead of the clock an event may claim to be; 2s at least"),
    optional(
        "max_ahead",
        &Shape::Duration(Zero::Refused(NO_AHEAD)),
        "how far a partition may run ahead of the slowest; default: the lateness",
    ),
    optional("all_idle", &Shape::Choice(&["advance", "hold"]), "whether the watermark goes on with time while nothing arrives"),
];

const NO_IDLE: &str = "an idle_after of zero would never wait for a partition: write 1s or more";
const NO_AHEAD: &str = "a max_ahead of zero would pause every partition but the slowest: write 1m or more";
