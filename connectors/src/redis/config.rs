//! What a job says about Redis, resolved.

use std::fmt;

/// A Redis sink. Which views it keeps is decided by the cuts it is given.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// `redis://[user:password@]host:port[/db]` or `rediss://…`.
    pub url: String,
    /// A PEM file of the authority that signed the server's certificate, if not a public one.
    pub tls_ca: Option<String>,
    /// A board hash per view is kept up to this many groups.
    pub board_groups_max: usize,
}

impl Config {
    /// The address without the login, for messages.
    pub fn place(&self) -> String {
        let (scheme, rest) = self.url.split_once("://").unwrap_or(("redis", &self.url));
        let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        format!("{scheme}://{host}")
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("url", &self.place())
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
        let config = Config { url: "rediss://me:p@ss@h:1/2".to_owned(), tls_ca: None, board_groups_max: 1 };
        assert_eq!(config.place(), "rediss://h:1/2");
        assert!(!format!("{config:?}").contains("p@ss"));
    }
}
