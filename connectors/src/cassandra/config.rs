//! What a job says about Cassandra or Scylla, resolved.

use std::collections::BTreeMap;
use std::fmt;

/// What is done about tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Create {
    /// Make keyspace and tables that are missing; a table that differs stops the sink.
    Missing,
    /// Make nothing: check that all is there.
    Check,
}

/// A Cassandra or Scylla sink.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// `host:port` of some nodes.
    pub contact_points: Vec<String>,
    /// The keyspace of all tables.
    pub keyspace: String,
    /// What is done about tables.
    pub create: Create,
    /// The keyspace's replication, when it is made.
    pub replication: BTreeMap<String, String>,
    /// Preferred data centre.
    pub datacenter: Option<String>,
    /// Login, both or none.
    pub credentials: Option<(String, String)>,
    /// TLS, when given.
    pub tls: Option<Tls>,
    /// Statements in flight at most.
    pub in_flight_max: usize,
}

/// How the connection is secured. Certificates of nodes must name their IP addresses: that is what is connected to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// PEM file of the authority, if not a public one.
    pub ca: Option<String>,
    /// PEM files of our certificate and key, where the server asks for them.
    pub identity: Option<(String, String)>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("contact_points", &self.contact_points)
            .field("keyspace", &self.keyspace)
            .field("create", &self.create)
            .field("replication", &self.replication)
            .field("datacenter", &self.datacenter)
            .field("credentials", &self.credentials.as_ref().map(|(user, _)| (user, "***")))
            .field("tls", &self.tls)
            .field("in_flight_max", &self.in_flight_max)
            .finish()
    }
}
