//! A connection to one server: address, login, TLS, time limits.

use super::config::place_of;
use super::error;
use caudal_pipeline::ports::sink::SinkError;
use redis::{
    Client, Connection, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, RedisError, TlsCertificates,
};
use std::time::Duration;

/// To wait for a connection at most.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// To wait for a reply at most; a longer silence is a lost connection.
const REPLY_TIMEOUT: Duration = Duration::from_secs(15);

/// The oldest server whose scripts can do what is needed, where it has no functions.
const OLDEST_WITH_SCRIPTS: (u32, u32) = (6, 2);

/// A server: where it is, how to log in there, and whom to trust.
#[derive(Clone)]
pub struct Address {
    info: ConnectionInfo,
    place: String,
    tls_ca: Option<String>,
}

impl Address {
    /// Of a URL.
    pub fn of(url: &str, tls_ca: Option<&str>) -> Result<Address, SinkError> {
        let place = place_of(url);
        let info = url.into_connection_info();
        let info = info.map_err(|error| SinkError::Stop(format!("{place} is not an address of a Redis server: {error}")))?;
        if tls_ca.is_some() && !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
            return Err(SinkError::Stop(format!("{place} is not encrypted, but an authority is given: write rediss://")));
        }
        Ok(Address { info, place, tls_ca: tls_ca.map(str::to_owned) })
    }

    /// Another server with the same login.
    pub fn at(&self, host: &str, port: u16) -> Address {
        let host = host.to_owned();
        let (scheme, addr) = match self.info.addr() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
                let (insecure, tls_params) = (*insecure, tls_params.clone());
                ("rediss", ConnectionAddr::TcpTls { host: host.clone(), port, insecure, tls_params })
            }
            _ => ("redis", ConnectionAddr::Tcp(host.clone(), port)),
        };
        Address {
            info: self.info.clone().set_addr(addr),
            place: format!("{scheme}://{host}:{port}"),
            tls_ca: self.tls_ca.clone(),
        }
    }

    /// The same for messages, without the login.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The host's name.
    pub fn host(&self) -> String {
        match self.info.addr() {
            ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host.clone(),
            other => other.to_string(),
        }
    }

    /// Connects and logs in.
    pub fn open(&self) -> Result<Connection, SinkError> {
        let failed = |error: RedisError| error::sink_error(&self.place, "connect to Redis", &error);
        let mut connection = self.client()?.get_connection_with_timeout(CONNECT_TIMEOUT).map_err(failed)?;
        connection.set_read_timeout(Some(REPLY_TIMEOUT)).map_err(failed)?;
        connection.set_write_timeout(Some(REPLY_TIMEOUT)).map_err(failed)?;
        log_in(&mut connection, self.info.redis_settings()).map_err(failed)?;
        Ok(connection)
    }

    fn client(&self) -> Result<Client, SinkError> {
        let wrong = |error| SinkError::Stop(format!("{} is not an address of a Redis server: {error}", self.place));
        // We log in ourselves.
        let info = self.info.clone().set_redis_settings(RedisConnectionInfo::default().set_skip_set_lib_name());
        if !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
            return Client::open(info).map_err(wrong);
        }
        // Two providers are linked in; the first to choose decides for the process, and any of them will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let root_cert = self.tls_ca.as_ref().map(|path| read(path)).transpose()?;
        Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert }).map_err(wrong)
    }
}

/// Says who we are and chooses the database. The client library would do it too, but hides what the server answers: a
/// server that is full for now would look like one that refuses our password.
fn log_in(connection: &mut Connection, login: &RedisConnectionInfo) -> Result<(), RedisError> {
    if let Some(password) = login.password() {
        redis::cmd("AUTH").arg(login.username()).arg(password).exec(connection)?;
    }
    match login.db() {
        0 => Ok(()),
        db => redis::cmd("SELECT").arg(db).exec(connection),
    }
}

fn read(path: &str) -> Result<Vec<u8>, SinkError> {
    std::fs::read(path).map_err(|cause| SinkError::Stop(format!("cannot read the authority's certificate {path}: {cause}")))
}

/// Refuses a server that is too old for everything; one that does not tell its version is given the benefit of doubt.
pub fn check_version(place: &str, connection: &mut Connection) -> Result<(), SinkError> {
    let info = match redis::cmd("INFO").arg("server").query::<String>(connection) {
        Ok(info) => info,
        Err(error) if error.is_io_error() => return Err(error::sink_error(place, "ask Redis for its version", &error)),
        Err(_) => return Ok(()),
    };
    match version(&info) {
        Some(found) if found < OLDEST_WITH_SCRIPTS => {
            Err(SinkError::Stop(format!("{place} is Redis {}.{}: version 7 or newer is needed, or Valkey", found.0, found.1)))
        }
        _ => Ok(()),
    }
}

/// What in the server's settings endangers what is kept there, in words; empty when nothing does or nothing is told.
pub fn warnings(place: &str, connection: &mut Connection) -> Vec<String> {
    let Ok(info) = redis::cmd("INFO").arg("memory").query::<String>(connection) else { return vec![] };
    eviction(&info)
        .map(|policy| {
            format!(
                "{place} drops keys when its memory is full (maxmemory-policy {policy}): rows and board would vanish without a trace; set noeviction"
            )
        })
        .into_iter()
        .collect()
}

/// The policy by which keys of ours could be dropped: ours have an expiry wherever rows have a retention.
fn eviction(info: &str) -> Option<&str> {
    let bounded = told(info, "maxmemory").is_some_and(|bytes| bytes != "0");
    told(info, "maxmemory_policy").filter(|policy| bounded && *policy != "noeviction")
}

fn version(info: &str) -> Option<(u32, u32)> {
    let mut parts = told(info, "redis_version")?.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

/// One `name:value` line of what INFO tells.
fn told<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};

    #[test]
    fn a_version_is_read_from_what_the_server_tells() {
        assert_eq!(version("# Server\r\nredis_version:7.0.15\r\nredis_git_sha1:0\r\n"), Some((7, 0)));
        assert_eq!(version("redis_version:6.0.16\r\n"), Some((6, 0)));
        assert_eq!(version("nothing"), None);
    }

    #[test]
    fn a_server_that_may_drop_keys_is_noticed() {
        for (maxmemory, policy, expected) in
            [("0", "allkeys-lru", None), ("100", "noeviction", None), ("100", "volatile-ttl", Some("volatile-ttl"))]
        {
            let info = format!("# Memory\r\nmaxmemory:{maxmemory}\r\nmaxmemory_human:x\r\nmaxmemory_policy:{policy}\r\n");
            assert_eq!(eviction(&info), expected);
        }
    }

    #[test]
    fn an_authority_without_encryption_is_a_mistake() {
        let Err(SinkError::Stop(said)) = Address::of("redis://h:1", Some("ca.pem")).map(|_| ()) else { panic!("it must stop") };
        assert!(said.contains("rediss://"), "{said}");
    }

    /// A server that reads commands and answers each AUTH with `answer`, all others with OK.
    fn server(answer: &'static str) -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://me:secret@{}/3", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            // A command is an array: `*N`, then for each part its length and its text, a line each.
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let mut answers = stream;
            while let Some(head) = lines.next() {
                let parts: usize = head[1..].parse().unwrap();
                let command: Vec<String> = lines.by_ref().take(2 * parts).collect();
                let answer = if command[1] == "AUTH" { answer } else { "+OK" };
                write!(answers, "{answer}\r\n").unwrap();
            }
        });
        url
    }

    /// A server that was full for a moment stopped the sink for good: the client library calls whatever is answered to
    /// AUTH a wrong password.
    #[test]
    fn only_a_login_that_is_wrong_stops_the_sink() {
        let open = |answer| Address::of(&server(answer), None).unwrap().open().map(|_| ());
        assert!(open("+OK").is_ok());
        for passing in ["-ERR max number of clients reached", "-LOADING Redis is loading the dataset in memory"] {
            let Err(SinkError::Retry(said)) = open(passing) else { panic!("{passing} is worth trying again") };
            assert!(!said.contains("secret") && !said.contains("password"), "{said}");
        }
        for wrong in ["-WRONGPASS invalid username-password pair", "-NOPERM no permissions", "-ERR invalid password"] {
            let Err(SinkError::Stop(said)) = open(wrong) else { panic!("{wrong} must stop") };
            assert!(said.contains("check user and password"), "{said}");
        }
    }
}
