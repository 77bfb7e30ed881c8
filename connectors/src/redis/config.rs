//! What a job says about Redis, resolved.

use std::fmt;

/// A Redis sink. Which views it keeps is decided by the cuts it is given.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// Where it is.
    pub servers: Servers,
    /// A PEM file of the authority that signed the servers' certificates, if not a public one.
    pub tls_ca: Option<String>,
    /// A board hash per view is kept up to this many groups.
    pub board_groups_max: usize,
}

/// Addresses are `redis://[user:password@]host:port[/db]` or `rediss://…`.
#[derive(Clone, PartialEq, Eq)]
pub enum Servers {
    /// One server.
    One(String),
    /// The primary that Sentinels name.
    Sentinel {
        /// The primary's address, in which the host is the name under which the Sentinels know it.
        primary: String,
        /// The Sentinels' addresses, each with its own login.
        sentinels: Vec<String>,
    },
    /// Some servers of a cluster, all with one login; they know the others.
    Cluster(Vec<String>),
}

impl Config {
    /// Whether both are seen to lead to the same keys, by what they name: another name of the same server is not seen.
    pub fn shares_keys_with(&self, other: &Config) -> bool {
        let any = |some: &[String], others: &[String]| some.iter().any(|url| others.iter().any(|other| at(url) == at(other)));
        match (&self.servers, &other.servers) {
            (Servers::One(url), Servers::One(other)) => at(url) == at(other),
            (
                Servers::Sentinel { primary, sentinels },
                Servers::Sentinel { primary: other_primary, sentinels: other_sentinels },
            ) => at(primary) == at(other_primary) && any(sentinels, other_sentinels),
            (Servers::Cluster(seeds), Servers::Cluster(others)) => any(seeds, others),
            _ => false,
        }
    }

    /// The address without the login, for messages.
    pub fn place(&self) -> String {
        match &self.servers {
            Servers::One(url) => place_of(url),
            Servers::Sentinel { primary, .. } => format!("{} (by Sentinel)", place_of(primary)),
            Servers::Cluster(seeds) => {
                let seeds: Vec<String> = seeds.iter().map(|seed| place_of(seed)).collect();
                format!("the cluster of {}", seeds.join(", "))
            }
        }
    }
}

/// Host and port of an address, and its database.
fn at(url: &str) -> (String, String) {
    let place = place_of(url);
    let (_, rest) = place.split_once("://").unwrap_or_default();
    let rest = rest.split_once('?').map_or(rest, |(rest, _)| rest);
    let (host, database) = rest.split_once('/').unwrap_or((rest, ""));
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let port = if has_port { "" } else { ":6379" };
    (format!("{}{port}", host.to_lowercase()), if database.is_empty() { "0" } else { database }.to_owned())
}

/// An address without the login.
pub(super) fn place_of(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("redis", url));
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    format!("{scheme}://{host}")
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("servers", &self.place())
            .field("tls_ca", &self.tls_ca)
            .field("board_groups_max", &self.board_groups_max)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_printed() {
        let url = || "rediss://me:p@ss@h:1/2".to_owned();
        let of = |servers| Config { servers, tls_ca: None, board_groups_max: 1 };
        let one = of(Servers::One(url()));
        assert_eq!(one.place(), "rediss://h:1/2");
        let watched = of(Servers::Sentinel { primary: url(), sentinels: vec![url()] });
        for config in [one, watched, of(Servers::Cluster(vec![url(), url()]))] {
            assert!(!format!("{config:?}").contains("p@ss"));
        }
    }
}
