//! Which server is the primary, by those who watch it.
//!
//! Sentinels are asked in their order until one names a server that says itself that it is the primary: one that was cut
//! off may name the old one, and an old one that comes back is told only later that it is a replica. It is asked anew at
//! each connection, and a connection ends with the first error: a primary that was set down answers READONLY.

use super::connection::Address;
use super::error;
use caudal_pipeline::ports::sink::SinkError;
use redis::{Connection, RedisError};
use std::time::Duration;

/// To wait for a Sentinel's reply at most: there are others.
const REPLY_TIMEOUT: Duration = Duration::from_secs(3);

/// A connection to the primary, and where it is. `primary` has its login, and the name that Sentinels know it by.
pub fn connect(primary: &Address, name: &str, sentinels: &[Address]) -> Result<(Connection, Address), SinkError> {
    let mut failures = Vec::new();
    for sentinel in sentinels {
        match named(sentinel, name) {
            Ok(Some((host, port))) => {
                let address = primary.at(&host, port);
                match open_primary(&address) {
                    Ok(connection) => return Ok((connection, address)),
                    Err(stop @ SinkError::Stop(_)) => return Err(stop),
                    Err(error) => failures.push(error),
                }
            }
            Ok(None) => failures.push(SinkError::Stop(format!("{} knows no primary `{name}`", sentinel.place()))),
            Err(error) => failures.push(error),
        }
    }
    let stops = failures.iter().all(|failure| matches!(failure, SinkError::Stop(_)));
    let mut said: Vec<String> = failures.iter().map(SinkError::to_string).collect();
    said.dedup();
    let said = said.join("; ");
    Err(if stops { SinkError::Stop(said) } else { SinkError::Retry(said) })
}

/// What one Sentinel says.
fn named(sentinel: &Address, name: &str) -> Result<Option<(String, u16)>, SinkError> {
    let failed = |error: RedisError| error::sink_error(sentinel.place(), "ask a Sentinel", &error);
    let mut connection = sentinel.open()?;
    connection.set_read_timeout(Some(REPLY_TIMEOUT)).map_err(failed)?;
    redis::cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(name).query(&mut connection).map_err(failed)
}

fn open_primary(address: &Address) -> Result<Connection, SinkError> {
    let mut connection = address.open()?;
    let asked = redis::cmd("ROLE").query::<Vec<redis::Value>>(&mut connection);
    let role = match asked {
        Ok(role) => role.first().and_then(|role| redis::from_redis_value_ref::<String>(role).ok()),
        Err(error) if error::refusal(&error) == error::Refusal::Passing => {
            return Err(error::sink_error(address.place(), "ask Redis for its role", &error));
        }
        // Who may not ask writes, and is told if it was a replica.
        Err(_) => return Ok(connection),
    };
    match role.as_deref() {
        Some("master") | None => Ok(connection),
        Some(role) => Err(SinkError::Retry(format!("{} is no primary yet, but a {role}", address.place()))),
    }
}
