//! What a job says about Kafka, resolved.

use std::collections::BTreeMap;

/// Which topics a stream reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topics {
    /// These, by name.
    Named(Vec<String>),
    /// All that match this regular expression (`^…$`), now and later.
    Pattern(String),
}

/// Where a job without state begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the first retained record.
    Earliest,
    /// After the last record.
    Latest,
    /// At the first record whose broker timestamp is this or later, microseconds since 1970.
    Timestamp(i64),
}

/// A stream read from Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceConfig {
    /// Which topics.
    pub topics: Topics,
    /// Where a job without state begins.
    pub start: Start,
    /// librdkafka properties, verbatim; they win over ours except where exactness needs ours.
    pub properties: BTreeMap<String, String>,
}

/// What is published to Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// A view's rows, by the view's position in the plan; keyed by these group fields' positions.
    View {
        /// Position in the plan.
        view: usize,
        /// Positions in the view's group.
        key: Vec<usize>,
    },
    /// Dead letters.
    DeadLetters,
}

/// One topic that a sink writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// What.
    pub what: Published,
    /// Where.
    pub topic: String,
}

/// A Kafka sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkConfig {
    /// librdkafka properties, verbatim.
    pub properties: BTreeMap<String, String>,
    /// What goes where.
    pub publish: Vec<Publication>,
}
