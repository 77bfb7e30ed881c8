//! What a job says about Redis, resolved.

/// A Redis sink. Which views it keeps is decided by the cuts it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `redis://[user:password@]host:port[/db]` or `rediss://…`.
    pub url: String,
    /// A PEM file of the authority that signed the server's certificate, if not a public one.
    pub tls_ca: Option<String>,
    /// A board hash per view is kept up to this many groups.
    pub board_groups_max: usize,
}
