//! `sinks.<name>`.

use super::sources::PROPERTIES;
use crate::jobfile::shape::{Key, Keys, Names, Shape, Zero, optional, required};

/// A sink.
pub static SINK: Shape = Shape::Map(&Keys { keys: SINK_KEYS, one_of: &["redis", "cassandra", "kafka", "file", "embedded"] });

static SINK_KEYS: &[Key] = &[
    optional("redis", &Shape::Map(&Keys { keys: REDIS, one_of: &["url", "cluster"] }), "Redis 7, Valkey"),
    optional("cassandra", &Shape::Map(&Keys::of(CASSANDRA)), "Cassandra, Scylla"),
    optional("kafka", &KAFKA, "topics of a Kafka cluster"),
    optional("file", &FILE, "a file for each view"),
    optional("embedded", &Shape::Map(&Keys::of(&[])), "a local store that any SQLite client can read"),
    optional("keep", &KEEP, "what is kept; default: `all` views, alerts and dead letters that the store can hold"),
    optional("publish", &Shape::Named(Names::Free, &PUBLICATION), "what goes to which topic, in Kafka"),
    optional("retain", &Shape::Duration(Zero::Refused(NO_RETAIN)), "how long rows are kept, in event time; default: for ever"),
];

const NO_RETAIN: &str = "a retain of zero keeps nothing: leave it out to keep rows for ever";

static REDIS: &[Key] = &[
    optional("url", &Shape::Text, "`redis://[user:password@]host:port[/db]` or `rediss://…`"),
    optional("cluster", &Shape::OneOrMany(&Shape::Text), "addresses of some servers of a cluster, all with one login"),
    optional("sentinels", &Shape::OneOrMany(&Shape::Text), "addresses of Sentinels; the url's host is then the primary's name"),
    optional("tls_ca", &Shape::Text, "PEM file of the authority behind the server's certificate"),
    optional("board_groups_max", &Shape::Integer(1, 10_000_000), "groups of a view up to which its newest rows are on the board"),
];

static CASSANDRA: &[Key] = &[
    required("contact_points", &Shape::OneOrMany(&Shape::Text), "`host:port` of some nodes"),
    required("keyspace", &Shape::Identifier, "the keyspace of all tables"),
    optional("create", &Shape::Choice(&["missing", "check"]), "whether missing tables are made or only checked"),
    optional("replication", &Shape::Named(Names::Free, &Shape::Text), "the keyspace's replication, when it is made"),
    optional("datacenter", &Shape::Text, "the preferred data centre"),
    optional("username", &Shape::Text, "login"),
    optional("password", &Shape::Text, "login"),
    optional("tls", &Shape::Map(&Keys::of(TLS)), "TLS, when given; `{}` is enough"),
    optional("in_flight_max", &Shape::Integer(1, 65_536), "statements in flight at most"),
];

static TLS: &[Key] = &[
    optional("ca", &Shape::Text, "PEM file of the authority"),
    optional("certificate", &Shape::Text, "PEM file of our certificate"),
    optional("key", &Shape::Text, "PEM file of our key"),
];

static KAFKA: Shape = Shape::Map(&Keys::of(&[required(
    "properties",
    &PROPERTIES,
    "librdkafka properties, verbatim; `bootstrap.servers` at least",
)]));

static FILE: Shape = Shape::Either {
    scalar: Some(&Shape::Text),
    list: None,
    map: Some(&Shape::Map(&Keys::of(&[
        required("folder", &Shape::Text, "the folder, made if missing"),
        optional("format", &Shape::Choice(&["ndjson", "csv"]), "the format of the files"),
        optional("gzip", &Shape::Bool, "whether the files are compressed"),
    ]))),
};

static KEEP: Shape = Shape::Either {
    scalar: Some(&Shape::Choice(&["all"])),
    list: Some(&Shape::List(&Shape::Text)),
    map: Some(&Shape::Map(&Keys::of(&[
        optional("views", &VIEWS, "views: `all`, `none`, names, or names with options"),
        optional("alerts", &ALERTS, "alerts of detectors"),
        optional("events", &ALL_OR_NONE, "every accepted event, as a row"),
        optional("dead_letters", &ALL_OR_NONE, "every refused record with its bytes"),
    ]))),
};

static ALL_OR_NONE: Shape = Shape::Choice(&["all", "none"]);

static ALERTS: Shape = Shape::Either { scalar: Some(&ALL_OR_NONE), list: Some(&Shape::List(&Shape::Text)), map: None };

static VIEWS: Shape = Shape::Either {
    scalar: Some(&ALL_OR_NONE),
    list: Some(&Shape::List(&Shape::Text)),
    map: Some(&Shape::Named(Names::Free, &Shape::Map(&Keys::of(&[optional("rows", &ROWS, "when rows are written")])))),
};

static ROWS: Shape = Shape::Either {
    scalar: Some(&Shape::Choice(&["on_update", "on_complete", "on_final"])),
    list: None,
    map: Some(&Shape::Map(&Keys::of(&[required(
        "every",
        &Shape::Duration(Zero::Refused(NO_EVERY)),
        "on update, this often at most",
    )]))),
};

const NO_EVERY: &str = "an interval of zero is `on_update`";

static PUBLICATION: Shape = Shape::Map(&Keys::of(&[
    required("topic", &Shape::Text, "the topic"),
    optional("key", &Shape::OneOrMany(&Shape::Text), "the group fields that key a view's rows; default: all of them"),
    optional("rows", &ROWS, "when a view's rows are written"),
]));
