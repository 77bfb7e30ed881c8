//! The ledger's newest part, in memory: by key, and by the epoch that wrote.

use super::key::Key;
use super::scan::Range;
use crate::time::{Epoch, Version};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A key's newest value and the epoch that wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub epoch: Epoch,
    pub version: Version,
    /// `None`: the key is gone without a trace for readers.
    pub value: Option<Arc<[u8]>>,
}

impl Stored {
    /// The epoch in what [`Stored::encode`] made.
    pub fn epoch_of(bytes: &[u8]) -> Epoch {
        Epoch(u64::from_le_bytes(*bytes.first_chunk().expect("a stored value has an epoch")))
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.epoch.0.to_le_bytes().to_vec();
        bytes.extend(self.version.0.to_le_bytes());
        if let Some(value) = &self.value {
            bytes.push(1);
            bytes.extend(&value[..]);
        } else {
            bytes.push(0);
        }
        bytes
    }

    /// # Panics
    /// If the bytes are not what [`Stored::encode`] made; runs are checksummed.
    pub fn decode(bytes: &[u8]) -> Stored {
        let (epoch, rest) = bytes.split_first_chunk::<8>().expect("a stored value has an epoch");
        let (version, rest) = rest.split_first_chunk::<8>().expect("a stored value has a version");
        let (&present, value) = rest.split_first().expect("a stored value says whether it is one");
        let (epoch, version) = (Epoch(u64::from_le_bytes(*epoch)), Version(i64::from_le_bytes(*version)));
        Stored { epoch, version, value: (present == 1).then(|| value.into()) }
    }
}

#[derive(Default)]
pub(super) struct Table {
    entries: BTreeMap<Key, Stored>,
    by_epoch: BTreeMap<Epoch, Vec<Key>>,
    bytes: usize,
    /// Bytes of all that was ever put, also where it was written over.
    put: u64,
}

/// What an entry costs beside its bytes.
const ENTRY_BYTES: usize = 120;

impl Table {
    pub fn put(&mut self, (epoch, version): (Epoch, Version), key: Key, value: Option<Vec<u8>>) {
        let bytes = ENTRY_BYTES + key.bytes().len() + value.as_ref().map_or(0, Vec::len);
        (self.bytes, self.put) = (self.bytes + bytes, self.put + bytes as u64);
        self.by_epoch.entry(epoch).or_default().push(key.clone());
        if let Some(old) = self.entries.insert(key, Stored { epoch, version, value: value.map(Into::into) }) {
            self.bytes -= old.value.map_or(0, |value| value.len());
        }
    }

    /// Adds a passing, which is not a change of its epoch.
    pub fn put_passing(&mut self, key: Key, stored: Stored) {
        if !self.entries.contains_key(&key) {
            self.bytes += ENTRY_BYTES + key.bytes().len() + stored.value.as_ref().map_or(0, |value| value.len());
            self.entries.insert(key, stored);
        }
    }

    /// Adds what an older table holds, below what is here.
    pub fn put_under(&mut self, older: &Table) {
        self.bytes += older.bytes;
        for (key, stored) in &older.entries {
            self.entries.entry(key.clone()).or_insert_with(|| stored.clone());
        }
        self.by_epoch.extend(older.by_epoch.iter().map(|(epoch, keys)| (*epoch, keys.clone())));
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of all that was ever put.
    pub fn put_bytes(&self) -> u64 {
        self.put
    }

    /// The newest epoch in it; 0 if empty.
    pub fn last(&self) -> Epoch {
        self.by_epoch.last_key_value().map_or(Epoch(0), |(epoch, _)| *epoch)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Stored)> {
        self.entries.iter()
    }

    /// What a range wants of it.
    pub fn within<'a>(&'a self, range: &'a Range) -> Box<dyn Iterator<Item = (Key, Stored)> + 'a> {
        let pair = |(key, stored): (&Key, &Stored)| (key.clone(), stored.clone());
        if range.from >= range.to {
            return Box::new(std::iter::empty());
        }
        if range.after == Epoch(0) {
            return Box::new(self.range(&range.from, &range.to));
        }
        let changed = self.by_epoch.range(range.after.next()..).flat_map(|(_, keys)| keys);
        Box::new(changed.filter(|key| range.from <= **key && **key < range.to).map(move |key| pair((key, &self.entries[key]))))
    }

    pub fn range(&self, from: &Key, to: &Key) -> impl Iterator<Item = (Key, Stored)> + use<'_> {
        self.entries.range(from.clone()..to.clone()).map(|(key, stored)| (key.clone(), stored.clone()))
    }
}
