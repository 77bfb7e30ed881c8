//! Messages known by their hashes, each chained to those before it in its epoch: what is read again, and is not what was
//! read, is noticed by them.

use crate::record::Message;
use serde::{Deserialize, Serialize};

/// The message that was read last of a partition: another one in its place makes the topic another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRead {
    /// Hash of the messages before it in its epoch.
    pub before: u64,
    /// The same with it.
    pub hash: u64,
}

impl LastRead {
    /// Whether this is that message.
    pub fn is(&self, message: &Message) -> bool {
        chained(message, self.before) == self.hash
    }
}

/// Chains a message, its offset included, to the hash of those before it in the epoch.
pub fn chained(message: &Message, before: u64) -> u64 {
    let hash = xxhash_rust::xxh3::xxh3_64_with_seed;
    let body = hash(message.payload.as_deref().unwrap_or(b"\0tombstone"), before ^ message.offset.0);
    let with_key = hash(message.key.as_deref().unwrap_or_default(), body);
    message.headers.iter().fold(with_key, |before, (name, value)| hash(value, hash(name.as_bytes(), before)))
}
