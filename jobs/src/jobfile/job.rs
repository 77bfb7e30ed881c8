//! A job as the rest of the program sees it: the engine's plan, and what is outside of the engine.

use super::node::Node;
use caudal_connectors::{cassandra, file, kafka, redis};
use caudal_pipeline::plan::Plan;
use caudal_pipeline::time::Span;
use std::collections::{BTreeMap, BTreeSet};

/// A job file, read and found right.
#[derive(Clone, Debug)]
pub struct Job {
    /// The file, as the user named it.
    pub file: String,
    /// What the engine obeys.
    pub plan: Plan,
    /// The source of each stream that has one, by the stream's position in the plan.
    pub sources: Vec<(usize, SourceSpec)>,
    /// Where each table's rows are, by the table's position in the plan.
    pub tables: Vec<TableSource>,
    /// The stores that keep a copy; the embedded one if the file names none.
    pub sinks: Vec<SinkSpec>,
    /// All that alters results, in a canonical form: addresses, logins, limits and sinks are not in it.
    pub fingerprint: String,
    /// The file with everything included, overridden, substituted and filled in.
    pub resolved: Node,
    /// The texts of schemas, profiles and tables that it names, by path.
    pub files: BTreeMap<String, String>,
    /// Texts that must never be shown.
    pub secrets: BTreeSet<String>,
}

/// Where a stream's messages come from.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceSpec {
    /// Topics.
    Kafka(kafka::config::SourceConfig),
    /// Files.
    File(file::config::SourceConfig),
    /// Events posted to this process.
    Http(HttpSpec),
    /// A seeded generator.
    Generate(GenerateSpec),
}

/// Events posted to this process, through the local log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpSpec {
    /// Partitions of the local log.
    pub partitions: u32,
}

/// A generator's profile.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerateSpec {
    /// Where it was written, if not in the job file.
    pub path: Option<String>,
    /// The profile.
    pub profile: serde_json::Value,
}

/// Where a table's rows are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSource {
    /// A CSV file with a header line.
    pub path: String,
    /// Between its columns.
    pub delimiter: u8,
}

/// One outside store and what it keeps.
#[derive(Clone, Debug, PartialEq)]
pub struct SinkSpec {
    /// Its name in the job file.
    pub name: String,
    /// Which store, and how it is reached.
    pub store: StoreSpec,
    /// Views, and when their rows are written.
    pub keep: Vec<KeptView>,
    /// Whether dead letters are kept.
    pub dead_letters: bool,
    /// Whether every accepted event is kept as a row.
    pub events: bool,
    /// How long rows are kept, in event time; `None` is for ever.
    pub retain: Option<Span>,
}

/// A kind of store.
#[derive(Clone, Debug, PartialEq)]
pub enum StoreSpec {
    /// Redis, Valkey.
    Redis(redis::config::Config),
    /// Cassandra, Scylla.
    Cassandra(cassandra::config::Config),
    /// Topics.
    Kafka(kafka::config::SinkConfig),
    /// Files.
    File(file::config::SinkConfig),
    /// The local store.
    Embedded,
}

/// A view that a sink keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptView {
    /// Its position in the plan.
    pub view: usize,
    /// When its rows are written.
    pub emission: Emission,
}

/// When a follower of the ledger writes a row (SEMANTICS 14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emission {
    /// At most once an epoch.
    OnUpdate,
    /// On update, this often at most.
    Every(Span),
    /// Once its window is complete, then corrections.
    OnComplete,
    /// Once nothing can change it any more.
    OnFinal,
}
