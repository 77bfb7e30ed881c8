//! A cluster: each call goes to the primary that has its keys.
//!
//! Ours rather than the client library's: a loss is one of a single primary, so each must be marked, and for that we have
//! to know which there are ([`mark`](super::mark)). Calls may be repeated, so following a redirection is simple: MOVED has
//! the map read anew and those calls sent again, ASK sends one call elsewhere. Whatever else goes wrong ends all
//! connections, and the next attempt begins with the map.

use super::connection::Address;
use super::error::{self, Refusal};
use super::functions::Call;
use super::node::Node;
use super::slots::{Slots, slot_of};
use caudal_pipeline::ports::sink::SinkError;
use redis::{Connection, RedisError, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// To wait for the map at most: there are other servers to ask.
const REPLY_TIMEOUT: Duration = Duration::from_secs(3);

/// How often calls are sent elsewhere, one after the other, before the sink begins anew.
const ATTEMPTS_MAX: usize = 8;

/// See the module.
pub struct Cluster {
    /// The login of all servers.
    login: Address,
    job: String,
    slots: Slots,
    nodes: BTreeMap<String, Node>,
    /// How often calls were sent elsewhere, as their slots had moved.
    moves: u64,
}

/// Where the server sends a call.
enum Redirection {
    /// For good, to `host:port`.
    Moved(String),
    /// This once.
    Ask(String),
}

impl Cluster {
    /// Reads the map from the first server that is well.
    pub fn connect(seeds: &[Address], job: &str) -> Result<Cluster, SinkError> {
        let mut failures = Vec::new();
        for seed in seeds {
            match seed.open().and_then(|mut connection| read_slots(&mut connection, seed)) {
                Ok(slots) => {
                    return Ok(Cluster { login: seed.clone(), job: job.to_owned(), slots, nodes: BTreeMap::new(), moves: 0 });
                }
                Err(stop @ SinkError::Stop(_)) => return Err(stop),
                Err(failure) => failures.push(failure.to_string()),
            }
        }
        Err(SinkError::Retry(failures.join("; ")))
    }

    /// One for each primary: a key with this tag is there.
    pub fn tags(&self) -> Vec<u32> {
        self.slots.tags()
    }

    /// How often slots turned out to have moved.
    pub fn moves(&self) -> u64 {
        self.moves
    }

    /// Who has which slots.
    pub fn slots(&self) -> &Slots {
        &self.slots
    }

    /// Addresses of all primaries.
    pub fn primaries(&self) -> Vec<Address> {
        let tags = self.tags();
        let primaries = tags.iter().filter_map(|tag| self.slots.primary_of(slot_of(&tag.to_string())));
        primaries.filter_map(|primary| self.address(primary)).collect()
    }

    /// Sends each call where its keys are, all calls of a server together, and returns the replies in their order.
    pub fn run(&mut self, attempted: &str, calls: &[Call]) -> Result<Vec<Value>, SinkError> {
        let mut replies: Vec<Option<Value>> = vec![None; calls.len()];
        for _ in 0..ATTEMPTS_MAX {
            let mut by_primary: BTreeMap<String, Vec<usize>> = BTreeMap::new();
            for (index, call) in calls.iter().enumerate().filter(|(index, _)| replies[*index].is_none()) {
                let slot = slot_of(&call.keys[0]);
                let primary = self.slots.primary_of(slot);
                let primary = primary.ok_or_else(|| SinkError::Retry(format!("slot {slot} of the cluster has no server")))?;
                by_primary.entry(primary.to_owned()).or_default().push(index);
            }
            if by_primary.is_empty() {
                break;
            }
            let mut moved = None;
            for (primary, indices) in by_primary {
                moved = self.run_at(&primary, &indices, attempted, calls, &mut replies)?.or(moved);
            }
            if let Some(primary) = moved {
                self.moves += 1;
                self.read_slots_at(&primary)?;
            }
        }
        let replies: Option<Vec<Value>> = replies.into_iter().collect();
        replies.ok_or_else(|| SinkError::Retry(format!("cannot {attempted}: slots of the cluster keep moving")))
    }

    /// Sends some calls to one server, and takes the replies; tells where slots have moved, if any has.
    fn run_at(
        &mut self,
        primary: &str,
        indices: &[usize],
        attempted: &str,
        calls: &[Call],
        replies: &mut [Option<Value>],
    ) -> Result<Option<String>, SinkError> {
        let failed = |place: &str, error: &RedisError| error::sink_error(place, attempted, error);
        let found = self.node(primary)?.each(indices.iter().map(|index| &calls[*index]));
        let found = found.map_err(|error| failed(primary, &error))?;
        let (mut moved, mut errors) = (None, Vec::new());
        for (index, reply) in indices.iter().zip(found) {
            let reply = match redirection(&reply) {
                Some(Redirection::Moved(to)) => {
                    moved = Some(to);
                    continue;
                }
                Some(Redirection::Ask(to)) => self.node(&to)?.asking(&calls[*index]).map_err(|error| failed(&to, &error))?,
                None => reply,
            };
            match reply.extract_error() {
                Ok(reply) => replies[*index] = Some(reply),
                Err(error) => errors.push(error),
            }
        }
        let gravest = errors.into_iter().max_by_key(|error| error::gravity(&error::refusal(error)));
        match gravest {
            // Loaded again, and the calls are still to be sent.
            Some(error) if error::refusal(&error) == Refusal::FunctionsMissing => {
                self.node(primary)?.load().map_err(|error| failed(primary, &error))?;
                Ok(moved)
            }
            // A slot that moved while we were sent there.
            Some(error) if error::refusal(&error) == Refusal::Cluster => Ok(moved.or(Some(primary.to_owned()))),
            Some(error) => Err(failed(primary, &error)),
            None => Ok(moved),
        }
    }

    fn node(&mut self, primary: &str) -> Result<&mut Node, SinkError> {
        if !self.nodes.contains_key(primary) {
            let address = self.address(primary);
            let address = address.ok_or_else(|| SinkError::Retry(format!("the cluster names a server `{primary}`")))?;
            let node = Node::over(address.open()?, address.place(), &self.job)?;
            self.nodes.insert(primary.to_owned(), node);
        }
        Ok(self.nodes.get_mut(primary).expect("it was just put there"))
    }

    fn address(&self, primary: &str) -> Option<Address> {
        let (host, port) = primary.rsplit_once(':')?;
        Some(self.login.at(host, port.parse().ok()?))
    }

    /// Reads the map anew from the server that should know.
    fn read_slots_at(&mut self, primary: &str) -> Result<(), SinkError> {
        let address = self.address(primary).unwrap_or_else(|| self.login.clone());
        self.slots = read_slots(&mut address.open()?, &address)?;
        Ok(())
    }
}

/// The map as one server sees it, if that sees enough of the cluster.
fn read_slots(connection: &mut Connection, address: &Address) -> Result<Slots, SinkError> {
    let failed = |error: RedisError| match error.to_string() {
        said if said.contains("cluster support disabled") => {
            SinkError::Stop(format!("{} is no member of a cluster: name it under `url`", address.place()))
        }
        _ => error::sink_error(address.place(), "read the cluster's slots", &error),
    };
    connection.set_read_timeout(Some(REPLY_TIMEOUT)).map_err(failed)?;
    let info = redis::cmd("CLUSTER").arg("INFO").query::<String>(connection).map_err(failed)?;
    if !info.contains("cluster_state:ok") {
        return Err(SinkError::Retry(format!("{} says that its cluster is down", address.place())));
    }
    let slots = redis::cmd("CLUSTER").arg("SLOTS").query::<Value>(connection).map_err(failed)?;
    Slots::of(&slots, &address.host()).ok_or_else(|| SinkError::Retry(format!("{} tells no slots", address.place())))
}

fn redirection(reply: &Value) -> Option<Redirection> {
    let Value::ServerError(error) = reply else { return None };
    let to = || error.details()?.split_ascii_whitespace().nth(1).map(str::to_owned);
    match error.code() {
        "MOVED" => to().map(Redirection::Moved),
        "ASK" => to().map(Redirection::Ask),
        _ => None,
    }
}
