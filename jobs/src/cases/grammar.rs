//! What a case file may look like, key by key.

use crate::jobfile::shape::{Key, Keys, Names, Shape, Zero, optional, required};

/// A whole case file.
pub static FILE: Shape = Shape::Map(&Keys::of(&[
    optional("start", &Shape::Text, "the clock when a case begins"),
    optional("workers", &WORKERS, "threads that work"),
    optional("partitions", &PARTITIONS, "partitions of a stream when a case begins"),
    optional("events", &Shape::Named(Names::Free, &Shape::Any), "events to start from, by name"),
    required("cases", &Shape::Named(Names::Free, &CASE), "cases by name, each a list of steps"),
]));

static WORKERS: Shape = Shape::Integer(1, 64);
static PARTITIONS: Shape = Shape::Named(Names::Free, &Shape::Integer(1, 1000));

static CASE: Shape = Shape::Either { scalar: None, list: Some(&STEPS), map: Some(&Shape::Map(&Keys::of(CASE_KEYS))) };

static CASE_KEYS: &[Key] = &[
    optional("start", &Shape::Text, "the clock when the case begins"),
    optional("workers", &WORKERS, "threads that work"),
    optional("partitions", &PARTITIONS, "partitions of a stream when the case begins"),
    required("steps", &STEPS, "what happens, in order"),
];

static STEPS: Shape = Shape::List(&STEP);

static STEP: Shape = Shape::Map(&Keys {
    keys: &[
        optional("send", &Shape::Named(Names::Free, &EVENTS), "events by stream"),
        optional("advance", &Shape::Duration(Zero::Refused("no time passes: remove this step")), "lets time pass"),
        optional("watermark", &Shape::Named(Names::Free, &Shape::Text), "how far a stream's event time shall be complete"),
        optional("idle", &Shape::Text, "the stream whose partitions shall become idle"),
        optional("restart", &RESTART, "starts the job anew from its state"),
        optional("expect", &EXPECT, "what is there now"),
    ],
    one_of: &["send", "advance", "watermark", "idle", "restart", "expect"],
});

static EVENTS: Shape =
    Shape::Either { scalar: Some(&Shape::Text), list: Some(&Shape::List(&Shape::Any)), map: Some(&Shape::Any) };

static HOW: Shape = Shape::Choice(&["kill", "stop"]);

static RESTART: Shape = Shape::Either {
    scalar: Some(&HOW),
    list: None,
    map: Some(&Shape::Map(&Keys::of(&[
        optional("workers", &WORKERS, "threads that work from now on"),
        optional("how", &HOW, "`kill`: without a word, `stop`: after a last checkpoint; default kill"),
    ]))),
};

static ROW: Shape = Shape::Named(Names::Free, &Shape::Any);

static ROWS: Shape = Shape::Either {
    scalar: None,
    list: Some(&Shape::List(&ROW)),
    map: Some(&Shape::Map(&Keys::of(&[required("contains", &Shape::List(&ROW), "rows that must be among those of the view")]))),
};

static EXPECT: Shape = Shape::Map(&Keys::of(&[
    optional("views", &Shape::Named(Names::Free, &ROWS), "the rows of views"),
    optional("dead_letters", &Shape::List(&DEAD_LETTER), "all records refused so far"),
    optional("counts", &Shape::Named(Names::Free, &Shape::Named(Names::Free, &Shape::Integer(0, u64::MAX))), "verdicts so far"),
    optional("watermarks", &Shape::Named(Names::Free, &Shape::Text), "how far event time is complete"),
]));

static DEAD_LETTER: Shape = Shape::Map(&Keys::of(&[
    optional("stream", &Shape::Text, "the stream that refused it"),
    optional("reason", &Shape::Text, "why"),
    optional("path", &Shape::Text, "where, of one of the violations"),
    optional("message", &Shape::Text, "words that one of the violations holds"),
    optional("payload", &Shape::Text, "words that the bytes hold"),
    optional("topic", &Shape::Text, "where it came from"),
    optional("partition", &Shape::Integer(0, u64::MAX), "where it came from"),
    optional("offset", &Shape::Integer(0, u64::MAX), "where it came from"),
    optional("element", &Shape::Integer(0, u64::MAX), "which element of the message"),
]));
