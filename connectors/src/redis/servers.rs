//! The server or servers of a sink, as its configuration says.

use super::config::{Config, Servers};
use super::connection::{self, Address};
use super::node::Node;
use super::sentinel;
use caudal_pipeline::ports::sink::SinkError;
use redis::Connection;

/// Connects to where `config` leads.
pub fn connect(config: &Config, job: &str) -> Result<Node, SinkError> {
    let (connection, address) = open(config)?;
    Node::over(connection, address.place(), job)
}

/// What in the servers' settings endangers what is kept there, in words. Connects, and changes nothing.
pub fn warnings(config: &Config) -> Result<Vec<String>, SinkError> {
    let (mut connection, address) = open(config)?;
    connection::check_version(address.place(), &mut connection)?;
    Ok(connection::warnings(address.place(), &mut connection))
}

fn open(config: &Config) -> Result<(Connection, Address), SinkError> {
    match &config.servers {
        Servers::One(url) => {
            let address = Address::of(url, config.tls_ca.as_deref())?;
            Ok((address.open()?, address))
        }
        Servers::Sentinel { primary, sentinels } => {
            let tls_ca = |url: &str| config.tls_ca.as_deref().filter(|_| url.starts_with("rediss://"));
            let of = |url: &String| Address::of(url, tls_ca(url));
            let sentinels = sentinels.iter().map(of).collect::<Result<Vec<_>, _>>()?;
            let primary = of(primary)?;
            sentinel::connect(&primary, &primary.host(), &sentinels)
        }
    }
}
