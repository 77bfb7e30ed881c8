//! Real services from packages alone, on free loopback ports, each with a data folder of its own.
//!
//! ```text
//! Service::start ─▶ Running { address, variable } ─▶ the test reads CAUDAL_TEST_… ─▶ drop: killed, folder removed
//! ```
//!
//! A service lives as long as its [`Running`]: dropping that kills it by its process id, and a watcher beside it does
//! the same when the process that started it dies in any other way, so that nothing is left behind ([`process`]).
//! A service of a special kind is started by its own module: [`kafka::start`] takes [`kafka::KafkaOptions`].
//!
//! To add a service: a file with `pub fn start(…) -> Result<Running, StartError>` that writes its configuration into
//! a [`folder::Folder`], spawns a [`process::Process`] and waits until it answers; then a line in [`Service`].

pub mod cassandra;
pub mod certificates;
pub mod folder;
pub mod kafka;
pub mod kafka_group;
pub mod maven;
pub mod object_storage;
pub mod ports;
pub mod process;
pub mod prometheus;
pub mod redis;
pub mod redis_group;

use folder::Folder;
use process::Process;
use std::fmt;

/// The services that tests know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// One broker and controller, without login.
    Kafka,
    /// One server, without login.
    Redis,
    /// One node, without login.
    Cassandra,
    /// One server that scrapes itself.
    Prometheus,
    /// One server with one bucket.
    S3,
}

impl Service {
    /// All of them.
    pub const ALL: [Service; 5] = [Service::Kafka, Service::Redis, Service::Cassandra, Service::Prometheus, Service::S3];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Service::Kafka => "kafka",
            Service::Redis => "redis",
            Service::Cassandra => "cassandra",
            Service::Prometheus => "prometheus",
            Service::S3 => "s3",
        }
    }

    /// Starts it as most tests want it, and returns once it answers.
    pub fn start(self) -> Result<Running, StartError> {
        match self {
            Service::Kafka => kafka::start(&kafka::KafkaOptions::default()),
            Service::Redis => redis::start(&redis::RedisOptions::default()),
            Service::Cassandra => cassandra::start(&cassandra::CassandraOptions::default()),
            Service::Prometheus => prometheus::start(&[]),
            Service::S3 => object_storage::start(),
        }
    }

    /// Fetches what it needs beside Debian packages, if that is not there yet.
    pub fn fetch(self) -> Result<(), StartError> {
        match self {
            Service::Kafka => kafka::jars().and_then(|_| kafka::tools()).map(|_| ()),
            Service::Cassandra => cassandra::jars().map(|_| ()),
            Service::S3 => object_storage::jars().map(|_| ()),
            Service::Redis | Service::Prometheus => Ok(()),
        }
    }
}

/// A service that answers; stopped, with all its data gone, when this is dropped.
#[derive(Debug)]
pub struct Running {
    /// `127.0.0.1:port`.
    pub address: String,
    /// The environment variable that tells tests the address.
    pub variable: &'static str,
    /// Dropped before the folder it writes into.
    pub process: Process,
    /// Configuration, data, log and certificates.
    pub folder: Folder,
}

/// Why a service did not start, in one line that says what to do.
#[derive(Debug)]
pub struct StartError(pub String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}
