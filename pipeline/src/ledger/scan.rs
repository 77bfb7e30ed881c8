//! Reading the ledger as of one epoch: tables and runs merged in key order, the newest value of each key.
//!
//! A [`Snapshot`] holds what it was told to hold of the tables, and keeps the runs open: whatever is appended, sealed or
//! merged meanwhile, it reads the same. It takes memory for what it holds of the tables alone, which are bounded by
//! what makes a checkpoint early; runs are read block by block.

use super::key::Key;
use super::table::Stored;
use super::{EpochInfo, Ledger, OpenRun};
use crate::ports::blobs::Blobs;
use crate::run::RunError;
use crate::time::Epoch;
use std::collections::BTreeMap;
use std::iter::Peekable;
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
    pub fn scan(&self, range: &Range) -> Newest<'_> {
        let Range { from, to, after } = range.clone();
        let mut heads: Vec<Head<'_>> = Vec::new();
        if from < to {
            let tables = self.tables.range(from.clone()..to.clone()).filter(move |(_, stored)| stored.epoch > after);
            heads.push(Box::new(tables.map(|(key, stored)| Ok((key.clone(), stored.clone())))));
            let runs = self.runs.iter().filter(|open| after == Epoch(0) || open.entry.last > after);
            heads.extend(runs.map(|open| entries(open, &*self.blobs, from.clone(), Some(to.clone()), after)));
        }
        Newest::of(heads)
    }
}

/// Entries of one place, keys ascending.
pub(super) type Head<'a> = Box<dyn Iterator<Item = Result<(Key, Stored), RunError>> + 'a>;

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

/// Merges places in key order, the newest value of each key. After an error it ends.
pub(super) struct Newest<'a> {
    heads: Vec<Peekable<Head<'a>>>,
}

impl<'a> Newest<'a> {
    pub fn of(heads: Vec<Head<'a>>) -> Newest<'a> {
        Newest { heads: heads.into_iter().map(Iterator::peekable).collect() }
    }
}

impl Iterator for Newest<'_> {
    type Item = Result<(Key, Stored), RunError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut smallest: Option<Key> = None;
        for head in &mut self.heads {
            match head.peek() {
                Some(Ok((key, _))) if smallest.as_ref().is_none_or(|smallest| key < smallest) => smallest = Some(key.clone()),
                Some(Err(error)) => {
                    let error = error.clone();
                    self.heads.clear();
                    return Some(Err(error));
                }
                _ => {}
            }
        }
        let key = smallest?;
        let at_key = |entry: &Result<(Key, Stored), RunError>| entry.as_ref().is_ok_and(|(at, _)| *at == key);
        let values = self.heads.iter_mut().filter_map(|head| head.next_if(at_key)?.ok());
        let (_, newest) = values.max_by_key(|(_, stored)| stored.epoch)?;
        Some(Ok((key, newest)))
    }
}
