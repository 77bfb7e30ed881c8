//! The commit log: what forms an epoch is bound here once, durably, before any effect of it leaves, and obeyed for ever.
//!
//! Records are blobs `log/{seq:020}`, created if absent: the slot is the lock. Beside them lie `gen/{generation:020}`,
//! one for each process that ever started on this state, never deleted. An append counts only if, after its slot was
//! created, no higher generation exists (SEMANTICS 25); otherwise this process is fenced and must stop.
//!
//! A slot that was pruned is free again, so a process that slept while its successor pruned creates its next one there
//! before it sees that it is fenced. Such a **stray** lies before the log's first record, does not lead to it, and is of a
//! lower generation: a reader passes it over, and the next pruning removes it.
//!
//! | the process stops | after restart |
//! |---|---|
//! | before `Bind(e)` is durable | no effect of e has left; e is formed anew |
//! | after `Bind(e)` | e is formed again from the same offsets, with the same version |

mod record;

pub use record::{Bind, Checkpoint, Fingerprint, Generation, LogRecord, PartitionBind, StreamBind};

use crate::engine::Manifest;
use crate::ports::blobs::{BlobError, Blobs, Created};
use record::{Decoded, decode, encode};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Why the log could not be read or appended to.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// A newer process runs on this state.
    #[error("fenced: generation {newer} has taken over this state, this process is generation {own}")]
    Fenced {
        /// Ours.
        own: u64,
        /// The highest seen.
        newer: u64,
    },
    /// A slot is taken, and no newer process is known that could have.
    #[error(
        "log record {seq} is there already and was not written by this process: another process writes into this state, \
         or something was copied into it; end that process, or take `{}` away", slot_name(*seq)
    )]
    Taken {
        /// The slot.
        seq: u64,
    },
    /// A record is not what was written.
    #[error("log record {seq} is damaged: {what}; restore the state folder from a backup or start with a new one")]
    Damaged {
        /// Its slot.
        seq: u64,
        /// What did not fit.
        what: String,
    },
    /// The store failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

/// A process's hold on a state, which ends as soon as another process takes it.
#[derive(Clone)]
pub struct Fence {
    blobs: Arc<dyn Blobs>,
    generation: u64,
}

impl Fence {
    /// This process's generation.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether another process has taken the state. Each takes the generation after the newest, and none is ever removed: so
    /// the next one is asked for.
    pub fn is_lost(&self) -> Result<bool, BlobError> {
        match self.blobs.read(&generation_name(self.generation + 1)) {
            Err(BlobError::Missing(_)) => Ok(false),
            Ok(_) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// The generation that has taken over, if one has: all are listed then, which is dearer.
    pub fn newer(&self) -> Result<Option<u64>, BlobError> {
        if self.is_lost()? { newest_generation(&*self.blobs).map(Some) } else { Ok(None) }
    }

    /// An error once another process has taken over.
    pub fn check(&self) -> Result<(), LogError> {
        match self.newer()? {
            Some(newer) => Err(LogError::Fenced { own: self.generation, newer }),
            None => Ok(()),
        }
    }
}

/// Told of the hold on a state as soon as it is taken.
pub type Taken<'a> = &'a dyn Fn(&Fence);

/// The log of one process's generation.
pub struct CommitLog {
    fence: Fence,
    next_seq: u64,
    last_hash: u64,
}

/// A record with its slot.
pub type Slot = (u64, LogRecord);

impl CommitLog {
    /// Takes the next generation, then reads every record that exists.
    pub fn open(blobs: Arc<dyn Blobs>) -> Result<(CommitLog, Vec<Slot>), LogError> {
        CommitLog::open_telling(blobs, &|_| ())
    }

    /// The same, which tells that the generation is taken before it reads.
    pub fn open_telling(blobs: Arc<dyn Blobs>, taken: Taken<'_>) -> Result<(CommitLog, Vec<Slot>), LogError> {
        let generation = take_generation(&*blobs)?;
        CommitLog::opened(Fence { blobs, generation }, taken)
    }

    /// The same for whoever holds generation `own`, and nothing if it does so no longer.
    pub fn open_after(own: u64, blobs: Arc<dyn Blobs>, taken: Taken<'_>) -> Result<(CommitLog, Vec<Slot>), LogError> {
        let generation = own + 1;
        if blobs.create(&generation_name(generation), &[])? == Created::Exists {
            return Err(LogError::Fenced { own, newer: newest_generation(&*blobs)? });
        }
        CommitLog::opened(Fence { blobs, generation }, taken)
    }

    fn opened(fence: Fence, taken: Taken<'_>) -> Result<(CommitLog, Vec<Slot>), LogError> {
        taken(&fence);
        let mut log = CommitLog { fence, next_seq: 1, last_hash: 0 };
        let records = log.read_on()?;
        Ok((log, records))
    }

    /// Reads every record that exists, and takes nothing: whoever holds the state goes on.
    pub fn peek(blobs: Arc<dyn Blobs>) -> Result<Vec<Slot>, LogError> {
        CommitLog { fence: Fence { blobs, generation: 0 }, next_seq: 1, last_hash: 0 }.read_on()
    }

    /// This process's generation.
    pub fn generation(&self) -> u64 {
        self.fence.generation
    }

    /// The hold on the state that this log goes with.
    pub fn fence(&self) -> &Fence {
        &self.fence
    }

    /// Appends this process's first record, behind what its predecessor may still append before it sees that it is
    /// fenced. Returns that: it was bound, so it is obeyed.
    pub fn begin(&mut self, record: &LogRecord) -> Result<Vec<Slot>, LogError> {
        let mut late = Vec::new();
        while self.try_append(record)?.is_none() {
            late.extend(self.read_on()?);
        }
        Ok(late)
    }

    /// Appends a record; durable and obeyed for ever once this returns. Returns its slot.
    pub fn append(&mut self, record: &LogRecord) -> Result<u64, LogError> {
        let seq = self.next_seq;
        self.try_append(record)?.ok_or(LogError::Taken { seq })
    }

    /// The record's slot; `None` if it is taken, and not by a newer process that is known.
    fn try_append(&mut self, record: &LogRecord) -> Result<Option<u64>, LogError> {
        let seq = self.next_seq;
        let bytes = encode(seq, self.generation(), self.last_hash, record);
        let (name, blobs) = (slot_name(seq), &self.fence.blobs);
        let taken = blobs.create(&name, &bytes)? == Created::Exists && blobs.read(&name)? != bytes;
        self.fence.check()?;
        if taken {
            return Ok(None);
        }
        self.next_seq = seq + 1;
        self.last_hash = xxhash_rust::xxh3::xxh3_64(&bytes);
        Ok(Some(seq))
    }

    /// Reads the records that are not read yet. The first of all may follow pruned ones, and strays.
    fn read_on(&mut self) -> Result<Vec<Slot>, LogError> {
        let mut found = self.unread()?;
        if self.next_seq == 1 {
            found.drain(..strays(&found));
            let has_checkpoint = || found.iter().any(|read| matches!(read.decoded.record, LogRecord::Checkpoint(_)));
            if let Some(first) = found.first().filter(|first| first.seq > 1 && !has_checkpoint()) {
                // Only what a checkpoint holds is pruned.
                return Err(damaged(first.seq, "those before it are missing, and no checkpoint holds what they said"));
            }
        }
        let mut records = Vec::new();
        for Read { seq, hash, decoded } in found {
            let first_of_all = self.next_seq == 1;
            if !first_of_all && (seq != self.next_seq || decoded.previous != self.last_hash) {
                return Err(damaged(seq, format!("it does not follow record {}", self.next_seq - 1)));
            }
            self.next_seq = seq + 1;
            self.last_hash = hash;
            records.push((seq, decoded.record));
        }
        Ok(records)
    }

    fn unread(&self) -> Result<Vec<Read>, LogError> {
        let mut found = Vec::new();
        for (seq, bytes) in records_from(&*self.fence.blobs, self.next_seq)? {
            let Some(bytes) = bytes else {
                // As all before it are.
                found.clear();
                continue;
            };
            let decoded = decode(seq, &bytes).map_err(|what| damaged(seq, what))?;
            found.push(Read { seq, hash: xxhash_rust::xxh3::xxh3_64(&bytes), decoded });
        }
        Ok(found)
    }
}

/// A slot with its bytes; without, if it was pruned since it was listed, by a process that this one is taking over from.
type Listed = (u64, Option<Vec<u8>>);

/// The slots from `first` on.
fn records_from(blobs: &dyn Blobs, first: u64) -> Result<Vec<Listed>, LogError> {
    let (mut slots, mut names) = (Vec::new(), Vec::new());
    for name in blobs.list("log/")? {
        let seq = slot_of(&name).ok_or_else(|| damaged(0, format!("{name} is no log record")))?;
        if seq >= first {
            slots.push(seq);
            names.push(name);
        }
    }
    let read = |(seq, bytes)| match bytes {
        Err(BlobError::Missing(_)) => Ok((seq, None)),
        bytes => Ok((seq, Some(bytes?))),
    };
    slots.into_iter().zip(blobs.read_each(&names)).map(read).collect()
}

/// Removes the records before `seq`, the oldest first: nothing that is kept refers to them, and wherever this ends, what is
/// left follows one another.
pub fn prune(blobs: &dyn Blobs, seq: u64) -> Result<(), BlobError> {
    for name in blobs.list("log/")? {
        if slot_of(&name).is_some_and(|slot| slot < seq) {
            blobs.delete(&name)?;
        }
    }
    Ok(())
}

/// What a slot holds.
struct Read {
    seq: u64,
    /// Of its bytes.
    hash: u64,
    decoded: Decoded,
}

/// How many of the first records are strays. Whoever prunes leaves a checkpoint and all that follows it, so a part without
/// one is not what pruning left: there a record is missing, and nothing is passed over.
fn strays(found: &[Read]) -> usize {
    let leads_on = |pair: &[Read]| pair[1].seq == pair[0].seq + 1 && pair[1].decoded.previous == pair[0].hash;
    let first = found.windows(2).rposition(|pair| !leads_on(pair)).map_or(0, |at| at + 1);
    let (before, log) = found.split_at(first);
    let is_log = log.iter().any(|read| matches!(read.decoded.record, LogRecord::Checkpoint(_)));
    let are_older = before.iter().all(|read| read.decoded.generation < log[0].decoded.generation);
    if is_log && are_older { first } else { 0 }
}

/// The streams of which a bind or a checkpoint of the job knows a partition; streams of a job before this one had other
/// positions. Takes nothing, so it may be asked before the
/// start; a manifest that cannot be read is passed over, for the start judges those.
pub fn streams_begun(blobs: &dyn Blobs) -> Result<BTreeSet<u32>, LogError> {
    let (mut begun, mut job) = (BTreeSet::new(), None);
    let mut is_of = |begun: &mut BTreeSet<u32>, by: Fingerprint| {
        if job.replace(by.job).is_some_and(|before| before != by.job) {
            begun.clear();
        }
    };
    for (seq, bytes) in records_from(blobs, 0)? {
        let Some(bytes) = bytes else { continue };
        match decode(seq, &bytes).map_err(|what| damaged(seq, what))?.record {
            LogRecord::Bind(bind) => {
                is_of(&mut begun, bind.by);
                let known = bind.streams.iter().filter(|stream| !stream.added.is_empty() || !stream.partitions.is_empty());
                begun.extend(known.map(|stream| stream.stream));
            }
            LogRecord::Checkpoint(checkpoint) => {
                let manifest = blobs.read(&checkpoint.manifest).ok().and_then(|bytes| Manifest::decode(&bytes).ok());
                let Some(manifest) = manifest else { continue };
                is_of(&mut begun, manifest.fingerprint);
                begun
                    .extend(manifest.streams.iter().filter(|(_, state)| !state.partitions.is_empty()).map(|(stream, _)| *stream));
            }
            LogRecord::Generation(_) => {}
        }
    }
    Ok(begun)
}

fn damaged(seq: u64, what: impl Into<String>) -> LogError {
    LogError::Damaged { seq, what: what.into() }
}

fn slot_name(seq: u64) -> String {
    format!("log/{seq:020}")
}

fn slot_of(name: &str) -> Option<u64> {
    name.strip_prefix("log/")?.parse().ok()
}

fn generation_name(generation: u64) -> String {
    format!("gen/{generation:020}")
}

fn newest_generation(blobs: &dyn Blobs) -> Result<u64, BlobError> {
    Ok(blobs.list("gen/")?.last().and_then(|name| name.strip_prefix("gen/")?.parse().ok()).unwrap_or(0))
}

fn take_generation(blobs: &dyn Blobs) -> Result<u64, BlobError> {
    loop {
        let generation = newest_generation(blobs)? + 1;
        if blobs.create(&generation_name(generation), &[])? == Created::New {
            return Ok(generation);
        }
    }
}

/// Reads one record's bytes as [`CommitLog`] would: the entry for fuzzing.
pub fn decode_record(seq: u64, bytes: &[u8]) -> Result<LogRecord, String> {
    decode(seq, bytes).map(|decoded| decoded.record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::SourceState;
    use crate::ports::blobs::MemoryBlobs;
    use crate::record::{Offset, Partition};
    use crate::time::{Epoch, EventTime, Version};

    fn an_epoch(epoch: u64) -> Bind {
        let (epoch, opened) = (Epoch(epoch), Version(epoch as i64 * 1000));
        Bind { epoch, opened, by: Fingerprint::default(), tables: 0, streams: vec![], closes: false }
    }

    fn bind(epoch: u64) -> LogRecord {
        LogRecord::Bind(an_epoch(epoch))
    }

    fn started(generation: u64) -> LogRecord {
        LogRecord::Generation(Generation { generation, workers: 1 })
    }

    #[test]
    fn what_was_appended_is_read_again() {
        let blobs: Arc<dyn Blobs> = Arc::new(MemoryBlobs::default());
        let (mut log, records) = CommitLog::open(blobs.clone()).unwrap();
        assert!(records.is_empty());
        for epoch in 1..=3 {
            log.append(&bind(epoch)).unwrap();
        }
        let (log, records) = CommitLog::open(blobs).unwrap();
        assert_eq!(log.generation(), 2);
        assert_eq!(records.iter().map(|(_, r)| r.clone()).collect::<Vec<_>>(), [bind(1), bind(2), bind(3)]);
    }

    #[test]
    fn an_older_process_is_fenced_at_its_next_append() {
        let blobs: Arc<dyn Blobs> = Arc::new(MemoryBlobs::default());
        let (mut old, _) = CommitLog::open(blobs.clone()).unwrap();
        old.append(&bind(1)).unwrap();
        let (mut new, _) = CommitLog::open(blobs.clone()).unwrap();
        assert!(matches!(old.append(&bind(2)), Err(LogError::Fenced { own: 1, newer: 2 })));
        // The old process had created slot 2 before it saw that it was fenced; the new one had not read it.
        assert_eq!(new.begin(&started(2)).unwrap(), [(2, bind(2))], "what is there is obeyed");
        new.append(&bind(3)).unwrap();
        let (mut third, records) = CommitLog::open(blobs).unwrap();
        assert_eq!(records, [(1, bind(1)), (2, bind(2)), (3, started(2)), (4, bind(3))]);
        assert!(matches!(new.begin(&started(2)), Err(LogError::Fenced { own: 2, newer: 3 })), "not even at its start");
        assert_eq!(third.begin(&started(3)).unwrap(), [(5, started(2))]);
    }

    /// It said that another process had taken over, which nobody could find.
    #[test]
    fn a_slot_that_something_else_has_taken_is_told_as_what_it_is() {
        let blobs: Arc<dyn Blobs> = Arc::new(MemoryBlobs::default());
        let (mut log, _) = CommitLog::open(blobs.clone()).unwrap();
        log.append(&bind(1)).unwrap();
        blobs.create(&slot_name(2), b"not of the log").unwrap();
        let error = log.append(&bind(2)).unwrap_err();
        assert!(matches!(error, LogError::Taken { seq: 2 }) && error.to_string().contains(&slot_name(2)), "{error}");
    }

    #[test]
    fn pruned_records_are_gone_and_the_rest_still_reads() {
        let blobs: Arc<dyn Blobs> = Arc::new(MemoryBlobs::default());
        let (mut log, _) = CommitLog::open(blobs.clone()).unwrap();
        for epoch in 1..=4 {
            log.append(&bind(epoch)).unwrap();
        }
        let before = log.append(&checkpoint(2)).unwrap();
        prune(&*blobs, 3).unwrap();
        let (_, records) = CommitLog::open(blobs.clone()).unwrap();
        assert_eq!(records, [(3, bind(3)), (4, bind(4)), (5, checkpoint(2))]);
        blobs.delete(&slot_name(before)).unwrap();
        let refused = CommitLog::open(blobs).map(|_| ()).unwrap_err();
        assert!(refused.to_string().contains("no checkpoint holds what they said"), "{refused}");
    }

    fn checkpoint(epoch: u64) -> LogRecord {
        LogRecord::Checkpoint(Checkpoint { epoch: Epoch(epoch), manifest: format!("manifest/{epoch}"), hash: 0 })
    }

    /// A process was stopped for a minute, another one took over, wrote checkpoints and pruned, then the first one went on
    /// and ended at its next append, as it should. The next start was refused: "log record 2884 is damaged: it does not
    /// follow record 2253". Slot 2253 was free again, since it was pruned, and held what the first process had put there
    /// before it saw that it was fenced.
    #[test]
    fn what_a_fenced_process_puts_into_a_pruned_slot_is_passed_over() {
        let blobs: Arc<dyn Blobs> = Arc::new(MemoryBlobs::default());
        let (mut old, _) = CommitLog::open(blobs.clone()).unwrap();
        old.append(&bind(1)).unwrap();
        let (mut older, _) = CommitLog::open(blobs.clone()).unwrap();
        older.begin(&started(2)).unwrap();
        let (mut new, _) = CommitLog::open(blobs.clone()).unwrap();
        assert!(new.begin(&started(3)).unwrap().is_empty());
        for record in [bind(2), bind(3), checkpoint(2), bind(4), checkpoint(3)] {
            new.append(&record).unwrap();
        }
        prune(&*blobs, 5).unwrap();
        assert!(matches!(old.append(&bind(2)), Err(LogError::Fenced { own: 1, newer: 3 })));
        assert!(matches!(older.append(&bind(2)), Err(LogError::Fenced { own: 2, newer: 3 })));
        assert_eq!(blobs.list("log/").unwrap()[..2], [slot_name(2), slot_name(3)], "two that nobody wants");

        let (mut next, records) = CommitLog::open(blobs.clone()).unwrap();
        assert_eq!(records, [(5, bind(3)), (6, checkpoint(2)), (7, bind(4)), (8, checkpoint(3))]);
        assert!(next.begin(&started(4)).unwrap().is_empty());
        prune(&*blobs, 6).unwrap();
        assert_eq!(blobs.list("log/").unwrap()[0], slot_name(6), "gone with what is pruned next");
    }

    #[test]
    fn a_record_that_is_missing_is_damage() {
        // Where a generation begins, without a checkpoint since; and within one, with a checkpoint since.
        for (missing, records) in [(2, vec![bind(2)]), (3, vec![bind(2), checkpoint(1)])] {
            let blobs: Arc<dyn Blobs> = Arc::new(MemoryBlobs::default());
            let (mut old, _) = CommitLog::open(blobs.clone()).unwrap();
            old.append(&bind(1)).unwrap();
            let (mut new, _) = CommitLog::open(blobs.clone()).unwrap();
            new.begin(&started(2)).unwrap();
            for record in &records {
                new.append(record).unwrap();
            }
            blobs.delete(&slot_name(missing)).unwrap();
            let refused = CommitLog::open(blobs).map(|_| ()).unwrap_err();
            assert!(refused.to_string().contains("does not follow"), "{refused}");
        }
    }

    #[test]
    fn a_stream_has_begun_once_a_partition_of_it_is_known() {
        let blobs: Arc<dyn Blobs> = Arc::new(MemoryBlobs::default());
        let begun = || streams_begun(&*blobs).unwrap().into_iter().collect::<Vec<u32>>();
        let (mut log, _) = CommitLog::open(blobs.clone()).unwrap();
        log.append(&LogRecord::Generation(Generation { generation: 1, workers: 1 })).unwrap();
        log.append(&bind(1)).unwrap();
        assert!(begun().is_empty(), "started, and nothing was reached");

        let partition = || Partition { topic: "t".into(), number: 0 };
        let found = |stream| StreamBind { stream, added: vec![(partition(), Offset(5))], ..StreamBind::default() };
        let streams = vec![found(2), StreamBind { stream: 3, ..StreamBind::default() }];
        log.append(&LogRecord::Bind(Bind { streams, ..an_epoch(2) })).unwrap();
        assert_eq!(begun(), [2]);

        // A checkpoint knows what the binds before it knew, which are removed then.
        let known = |partitions| SourceState { watermark: EventTime(0), partitions, last: vec![] };
        let manifest = Manifest {
            epoch: Epoch(2),
            opened: Version(2000),
            fingerprint: Fingerprint::default(),
            streams: [(2, known(vec![(partition(), Offset(5), None)])), (3, known(vec![]))].into(),
            counts: vec![],
            row_counts: Default::default(),
            state: vec![],
            watermarks: vec![],
            held: Default::default(),
            ledger: vec![],
            cursors: Default::default(),
            begins: Default::default(),
            forgotten: Vec::new(),
            ended: false,
        };
        blobs.create("manifest/2", &manifest.encode()).unwrap();
        let seq =
            log.append(&LogRecord::Checkpoint(Checkpoint { epoch: Epoch(2), manifest: "manifest/2".into(), hash: 0 })).unwrap();
        prune(&*blobs, seq).unwrap();
        assert_eq!(begun(), [2]);

        // Another job goes on from there.
        let by = Fingerprint { job: 2, build: 0 };
        log.append(&LogRecord::Bind(Bind { streams: vec![found(1)], by, ..an_epoch(3) })).unwrap();
        assert_eq!(begun(), [1]);
    }
}
