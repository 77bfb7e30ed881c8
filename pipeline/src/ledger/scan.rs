//! Reading the ledger as of one epoch: tables and runs merged in key order, the newest value of each key.
//!
//! A [`Snapshot`] holds what it was told to hold of the tables, and keeps the runs open: whatever is appended, sealed or
//! merged meanwhile, it reads the same. It takes memory for what it holds of the tables alone, which are bounded by
//! what makes a checkpoint early; runs are read block by block.

use super::key::Key;
use super::table::Stored;
use super::{EpochInfo, Ledger, OpenRun};
use crate::merge::{self, Newest};
use crate::ports::blobs::Blobs;
use crate::run::RunError;
use crate::time::Epoch;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Keys in `from..to` whose newest value was written after an epoch; after 0, all of them.
#[derive(Clone, Debug)]
pub(super) struct Range {
    pub from: Key,
    pub to: Key,
    pub after: Epoch,
}

/// Where the ledger ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub epoch: Epoch,
    /// The run ends here too.
    pub finished: bool,
}

/// See the module.
pub(super) struct Snapshot {
    /// The last epoch in it.
    pub end: Epoch,
    /// What is known of that epoch.
    pub info: EpochInfo,
    tables: BTreeMap<Key, Stored>,
    runs: Vec<Arc<OpenRun>>,
    blobs: Arc<dyn Blobs>,
}

impl Ledger {
    /// The ledger as of its end, for reading in the ranges that `wanted` returns; `None` before the first epoch.
    pub(super) fn snapshot<T>(&self, wanted: impl FnOnce(End, &EpochInfo) -> (T, Vec<Range>)) -> Option<(T, Snapshot)> {
        let (found, ranges, frozen, mut snapshot) = {
            let inner = self.read();
            let info = inner.epochs.get(&inner.end)?.clone();
            let (found, ranges) = wanted(inner.end(), &info);
            let tables = ranges.iter().flat_map(|range| inner.table.within(range)).collect();
            let (end, runs, blobs) = (inner.end, inner.runs.clone(), self.blobs.clone());
            (found, ranges, inner.frozen.clone(), Snapshot { end, info, tables, runs, blobs })
        };
        if let Some(table) = frozen {
            for (key, stored) in ranges.iter().flat_map(|range| table.within(range)) {
                snapshot.tables.entry(key).or_insert(stored);
            }
        }
        Some((found, snapshot))
    }
}

impl Snapshot {
    /// The newest value of every key in a range, in order. Of the tables there is only what the snapshot holds.
    pub fn scan(&self, range: &Range) -> Newest<'_, Key, Stored> {
        let Range { from, to, after } = range.clone();
        let mut heads: Vec<Head<'_>> = Vec::new();
        if from < to {
            let runs = self.runs.iter().filter(|open| after == Epoch(0) || open.entry.last > after);
            heads.extend(runs.map(|open| entries(open, &*self.blobs, from.clone(), Some(to.clone()), after)));
            let tables = self.tables.range(from..to).filter(move |(_, stored)| stored.epoch > after);
            heads.push(Box::new(tables.map(|(key, stored)| Ok((key.clone(), stored.clone())))));
        }
        Newest::of(heads)
    }
}

/// Entries of one place.
type Head<'a> = merge::Head<'a, Key, Stored>;

/// A run's entries from a key on that were written after an epoch.
pub(super) fn entries<'a>(open: &'a OpenRun, blobs: &'a dyn Blobs, from: Key, to: Option<Key>, after: Epoch) -> Head<'a> {
    let within = move |entry: &Result<(Vec<u8>, Vec<u8>), RunError>| match (entry, &to) {
        (Ok((key, _)), Some(to)) => key.as_slice() < to.bytes(),
        _ => true,
    };
    let newer = move |entry: &Result<(Vec<u8>, Vec<u8>), RunError>| match entry {
        Ok((_, value)) => Stored::epoch_of(value) > after,
        Err(_) => true,
    };
    let scan = open.run.scan(blobs, from.bytes()).take_while(within).filter(newer);
    Box::new(scan.map(|entry| entry.map(|(key, value)| (Key::from_bytes(key), Stored::decode(&value)))))
}
