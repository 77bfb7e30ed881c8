//! Reading the rows of a view back: what a rebuild finds there.
//!
//! The keys of a view's rows are looked for by SCAN among all keys of the database, in a cluster on each primary, and the
//! rows of some keys are asked for together, each key's in pieces by their score. Nothing is written and no function
//! is called.
//!
//! SCAN finds every key that is there all the time, though perhaps twice. A key can only be missed where the server changes
//! meanwhile: another takes over, or slots of a cluster move from a primary that is still to be asked to one that was. So
//! it is looked afterwards whether the servers are still the same, and before and after whether slots are on their way; if
//! so all is read again.

use super::cluster::Cluster;
use super::config::{Config, Servers};
use super::connection::Address;
use super::error::{self, Refusal};
use super::replies::Replies;
use super::{keys, member, servers};
use crate::context::ViewDescription;
use caudal_pipeline::ports::sink::{HeldRow, SinkError};
use caudal_pipeline::time::EventTime;
use caudal_pipeline::value::Value;
use redis::{Connection, RedisError};

/// Keys that SCAN looks at in one step.
const SCAN_KEYS: usize = 1000;

/// Keys whose rows are asked for together.
const KEYS_AT_ONCE: usize = 64;

/// Rows of one key that are asked for at once; more only where more begin within one millisecond.
const ROWS_AT_ONCE: usize = 128;

/// Which rows.
pub struct Wanted<'a> {
    /// The job's name.
    pub job: &'a str,
    /// Their view.
    pub view: &'a ViewDescription,
    /// Where the earliest of them starts.
    pub from: EventTime,
}

/// Gives all of them that are not gone.
pub fn read(config: &Config, wanted: &Wanted, take: &mut dyn FnMut(HeldRow)) -> Result<(), SinkError> {
    let Servers::Cluster(seeds) = &config.servers else {
        let (connection, address) = servers::open(config)?;
        Server { connection, place: address.place().to_owned() }.read(wanted, take)?;
        let (_, now) = servers::open(config)?;
        return unchanged(now.place() == address.place(), config);
    };
    let seeds = servers::addresses(config, seeds)?;
    let cluster = Cluster::connect(&seeds, wanted.job)?;
    let open = |address: Address| Ok(Server { connection: address.open()?, place: address.place().to_owned() });
    let mut primaries: Vec<Server> = cluster.primaries().into_iter().map(open).collect::<Result<_, SinkError>>()?;
    for look in [true, false, true] {
        for primary in &mut primaries {
            if look { primary.check_slots()? } else { primary.read(wanted, take)? }
        }
    }
    unchanged(Cluster::connect(&seeds, wanted.job)?.slots() == cluster.slots(), config)
}

fn unchanged(same: bool, config: &Config) -> Result<(), SinkError> {
    if same {
        return Ok(());
    }
    Err(SinkError::Retry(format!("another server of {} took over while rows were read: they are read again", config.place())))
}

/// A server that is read.
struct Server {
    connection: Connection,
    place: String,
}

/// A key whose rows are being read.
struct Reading {
    key: String,
    group: Vec<Value>,
    /// The score from which on they are still to be read.
    low: String,
    limit: usize,
}

impl Server {
    fn failed(&self, cause: &RedisError) -> SinkError {
        match error::refusal(cause) {
            // We are there because it has the keys: they have moved since.
            Refusal::Cluster => SinkError::Retry(format!("slots of {} move while rows are read", self.place)),
            _ => error::sink_error(&self.place, "read rows back", cause),
        }
    }

    /// Refuses a primary whose slots are on their way, here or from here.
    fn check_slots(&mut self) -> Result<(), SinkError> {
        let nodes = redis::cmd("CLUSTER").arg("NODES").query::<String>(&mut self.connection);
        let nodes = nodes.map_err(|cause| self.failed(&cause))?;
        // A server tells it of itself alone: `[slot->-to]`, `[slot-<-from]`.
        if nodes.lines().any(|line| line.contains("myself") && line.contains(" [")) {
            return Err(SinkError::Retry(format!("slots of {} are on their way: rows are read once they are there", self.place)));
        }
        Ok(())
    }

    fn read(&mut self, wanted: &Wanted, take: &mut dyn FnMut(HeldRow)) -> Result<(), SinkError> {
        let pattern = keys::rows_pattern(wanted.job, &wanted.view.name);
        let mut cursor = "0".to_owned();
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(&cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(SCAN_KEYS);
            let (next, found) =
                scan.query::<(String, Vec<Vec<u8>>)>(&mut self.connection).map_err(|cause| self.failed(&cause))?;
            let mut reading = Vec::new();
            for key in found {
                reading.extend(self.reading(wanted, key)?);
            }
            while !reading.is_empty() {
                let rest = reading.split_off(reading.len().min(KEYS_AT_ONCE));
                self.read_keys(wanted, reading, take)?;
                reading = rest;
            }
            if next == "0" {
                return Ok(());
            }
            cursor = next;
        }
    }

    /// A key that SCAN found, unless it only looks like one of this view's.
    fn reading(&self, wanted: &Wanted, key: Vec<u8>) -> Result<Option<Reading>, SinkError> {
        let Ok(key) = String::from_utf8(key) else { return Ok(None) };
        let Some(text) = keys::group_of(wanted.job, &wanted.view.name, &key) else { return Ok(None) };
        let group = keys::group_values(&wanted.view.group, text).ok_or_else(|| self.foreign(&key))?;
        let low = if wanted.from == EventTime::MIN { "-inf".to_owned() } else { member::row_score(wanted.from) };
        Ok(Some(Reading { group, low, limit: ROWS_AT_ONCE, key }))
    }

    /// All rows of some keys. Of a piece that is full the rows of its last score come with the next one, which begins with
    /// that score.
    fn read_keys(&mut self, wanted: &Wanted, mut reading: Vec<Reading>, take: &mut dyn FnMut(HeldRow)) -> Result<(), SinkError> {
        while !reading.is_empty() {
            let mut pipeline = redis::Pipeline::with_capacity(reading.len());
            for Reading { key, low, limit, .. } in &reading {
                pipeline.cmd("ZRANGEBYSCORE").arg(key).arg(low).arg("+inf").arg("WITHSCORES").arg("LIMIT").arg(0).arg(*limit);
            }
            let pieces = pipeline.query::<Vec<Vec<(Vec<u8>, String)>>>(&mut Replies(&mut self.connection));
            let pieces = pieces.map_err(|cause| self.failed(&cause))?;
            let mut unfinished = Vec::new();
            for (mut key, mut piece) in reading.into_iter().zip(pieces) {
                let full = piece.len() == key.limit;
                if let Some((_, last)) = piece.last().cloned().filter(|_| full) {
                    piece.retain(|(_, score)| *score != last);
                    key.limit = if piece.is_empty() { key.limit * 2 } else { ROWS_AT_ONCE };
                    key.low = last;
                }
                for (member, _) in &piece {
                    let head = member::head(member).ok_or_else(|| self.foreign(&key.key))?;
                    if !head.gone && head.start >= wanted.from {
                        let group = key.group.clone();
                        take(HeldRow { group, start: head.start, end: head.end, version: head.version });
                    }
                }
                unfinished.extend(full.then_some(key));
            }
            reading = unfinished;
        }
        Ok(())
    }

    fn foreign(&self, key: &str) -> SinkError {
        SinkError::Stop(format!(
            "the key {key} at {} is not one that this job can have written, perhaps since the group of its view has changed: remove all such keys, or rename the view",
            self.place
        ))
    }
}
