//! The log: its partitions, appending and removing.

use super::error::LocalLogError;
use super::frame::NewRecord;
use super::generations;
use super::partition::Partition;
use super::segment::TornTail;
use caudal_pipeline::record::Offset;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// How a log is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many partitions; a log that has more keeps them.
    pub partitions: u16,
    /// A segment that has grown beyond this is followed by a new one.
    pub segment_bytes: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options { partitions: 4, segment_bytes: 64 << 20 }
    }
}

/// A durable partitioned log. Cloning shares it.
#[derive(Clone)]
pub struct LocalLog {
    partitions: Arc<[Arc<Partition>]>,
}

impl LocalLog {
    /// Opens the log in `folder`, makes it if missing, and tells what a crash had left at its ends.
    pub fn open(folder: &Path, options: Options) -> Result<(LocalLog, Vec<TornTail>), LocalLogError> {
        std::fs::create_dir_all(folder).map_err(|e| LocalLogError::io("create", folder, &e))?;
        let existing = (0i32..).take_while(|n| folder.join(partition_name(*n)).is_dir()).count();
        let count = existing.max(options.partitions.max(1).into());
        let (mut partitions, mut torn) = (Vec::with_capacity(count), Vec::new());
        for number in (0i32..).take(count) {
            let (partition, tail) = Partition::open(&folder.join(partition_name(number)), number, options.segment_bytes)?;
            partitions.push(Arc::new(partition));
            torn.extend(tail);
        }
        Ok((LocalLog { partitions: partitions.into() }, torn))
    }

    /// Opens the log of this process's `generation` below `folder`; a new one begins with what the newest older one holds.
    /// Whoever wrote that must be fenced by now: what it still appends is in no log that is read.
    pub fn open_generation(folder: &Path, generation: u64, options: Options) -> Result<(LocalLog, Vec<TornTail>), LocalLogError> {
        LocalLog::open(&generations::begin(folder, generation)?, options)
    }

    /// Removes the older logs below `folder`. Only for a process that, with its own log open, still is the newest.
    pub fn forget_older(folder: &Path, generation: u64) {
        generations::forget_older(folder, generation);
    }

    /// How many partitions there are, numbered from 0.
    pub fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// The partition in which records of this key lie, the same for ever as long as partitions are not added.
    pub fn partition_of(&self, key: &[u8]) -> i32 {
        let place = xxhash_rust::xxh3::xxh3_64(key) % self.partitions.len() as u64;
        i32::try_from(place).expect("partitions are counted in 16 bits")
    }

    /// Appends records to a partition, in order and without a gap. Durable on return: their offsets are `result`'s.
    /// An error means that none of them is in the log, but for [`LocalLogError::Sync`], after which nobody knows.
    pub fn append_batch(&self, partition: i32, records: &[NewRecord]) -> Result<Range<u64>, LocalLogError> {
        self.partition(partition)?.append(records)
    }

    /// Appends one record. Durable on return.
    pub fn append(&self, partition: i32, record: NewRecord) -> Result<Offset, LocalLogError> {
        self.append_batch(partition, &[record]).map(|offsets| Offset(offsets.start))
    }

    /// Removes whole segments that hold nothing at or above `durable`.
    pub fn prune(&self, partition: i32, durable: Offset) {
        if let Ok(partition) = self.partition(partition) {
            partition.prune(durable.0);
        }
    }

    /// The first retained offset and the next one to be written.
    pub fn bounds(&self, partition: i32) -> Result<Range<u64>, LocalLogError> {
        let visible = self.partition(partition)?.visible();
        Ok(visible.first..visible.end)
    }

    pub(super) fn partition(&self, number: i32) -> Result<&Arc<Partition>, LocalLogError> {
        let found = usize::try_from(number).ok().and_then(|n| self.partitions.get(n));
        found.ok_or(LocalLogError::NoPartition { number, partitions: self.partitions.len() })
    }
}

fn partition_name(number: i32) -> String {
    format!("{number:05}")
}
