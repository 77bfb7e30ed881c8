//! The server or servers of a sink, as its configuration says.

use super::cluster::Cluster;
use super::config::{self, Config};
use super::connection::{self, Address};
use super::functions::Call;
use super::node::Node;
use super::{error, sentinel};
use caudal_pipeline::ports::sink::SinkError;
use redis::{Connection, FromRedisValue, Value};

/// See the module. Not used again once a call has failed.
pub enum Servers {
    /// One that has all keys, and how it is called in messages.
    One(Box<Node>, String),
    /// Several that share them.
    Cluster(Box<Cluster>),
}

impl Servers {
    /// Connects to where `config` leads.
    pub fn connect(config: &Config, job: &str) -> Result<Servers, SinkError> {
        if let config::Servers::Cluster(seeds) = &config.servers {
            return Cluster::connect(&addresses(config, seeds)?, job).map(|cluster| Servers::Cluster(Box::new(cluster)));
        }
        let (connection, address) = open(config)?;
        let node = Node::over(connection, address.place(), job)?;
        Ok(Servers::One(Box::new(node), address.place().to_owned()))
    }

    /// Sends calls, of which no two need each other, and returns their replies in their order.
    pub fn run<T: FromRedisValue>(&mut self, attempted: &str, calls: &[Call]) -> Result<Vec<T>, SinkError> {
        let replies = match self {
            _ if calls.is_empty() => Vec::new(),
            Servers::One(node, place) => node.run(calls).map_err(|error| error::sink_error(place, attempted, &error))?,
            Servers::Cluster(cluster) => cluster.run(attempted, calls)?,
        };
        let of = |reply: Value| T::from_redis_value(reply);
        let read: Result<Vec<T>, _> = replies.into_iter().map(of).collect();
        read.map_err(|error| SinkError::Stop(format!("cannot {attempted}: an answer of another kind: {error}")))
    }

    /// How often keys turned out to be on another server than before.
    pub fn moves(&self) -> u64 {
        match self {
            Servers::One(..) => 0,
            Servers::Cluster(cluster) => cluster.moves(),
        }
    }

    /// For each primary beside that of the board a tag whose keys it has.
    pub fn tags(&self) -> Vec<u32> {
        match self {
            Servers::One(..) => Vec::new(),
            Servers::Cluster(cluster) => cluster.tags(),
        }
    }
}

/// What in the servers' settings endangers what is kept there, in words. Connects, and changes nothing.
pub fn warnings(config: &Config) -> Result<Vec<String>, SinkError> {
    let servers = match &config.servers {
        config::Servers::Cluster(seeds) => {
            let primaries = Cluster::connect(&addresses(config, seeds)?, "")?.primaries();
            primaries.into_iter().map(|address| Ok((address.open()?, address))).collect::<Result<Vec<_>, SinkError>>()?
        }
        _ => vec![open(config)?],
    };
    let mut said = Vec::new();
    for (mut connection, address) in servers {
        connection::check_version(address.place(), &mut connection)?;
        said.extend(connection::warnings(address.place(), &mut connection));
    }
    Ok(said)
}

/// A connection to the server that has all keys.
pub(super) fn open(config: &Config) -> Result<(Connection, Address), SinkError> {
    match &config.servers {
        config::Servers::Sentinel { primary, sentinels } => {
            let primary = address(config, primary)?;
            sentinel::connect(&primary, &primary.host(), &addresses(config, sentinels)?)
        }
        config::Servers::One(url) => {
            let address = Address::of(url, config.tls_ca.as_deref())?;
            Ok((address.open()?, address))
        }
        config::Servers::Cluster(_) => Err(SinkError::Stop("a cluster has no single server".to_owned())),
    }
}

/// Servers, as a configuration names them.
pub(super) fn addresses(config: &Config, urls: &[String]) -> Result<Vec<Address>, SinkError> {
    urls.iter().map(|url| address(config, url)).collect()
}

/// The authority is for those that are encrypted.
fn address(config: &Config, url: &str) -> Result<Address, SinkError> {
    Address::of(url, config.tls_ca.as_deref().filter(|_| url.starts_with("rediss://")))
}
