//! The ledger: every effect of every epoch, one atomic batch an epoch, which all sinks follow at their own pace.
//!
//! ```text
//! append(e) ─▶ table in memory ──seal──▶ sorted runs (blobs) ──merge──▶ fewer, larger runs
//!                     └──────────── Follower::cut ─▶ a sink ────────────────┘
//! ```
//! It is not synced at every epoch: what a crash takes is recomputed from the bound epochs with the same bytes. A
//! checkpoint seals the table into a run and lists the runs; a restart opens those and nothing else. A key holds its
//! newest value only; a follower that lags finds each row once.

mod board;
mod carry;
mod follower;
mod key;
mod merge;
mod owed;
mod republication;
mod scan;
mod table;

pub use follower::{Cursor, Emission, Follower, Kept, KeptEvents};
pub use key::{RowKey, RowValue};
pub use merge::Keep;
pub use republication::Republication;

use crate::operators::collect::EpochPart;
use crate::ports::blobs::{BlobError, Blobs};
use crate::record::{DeadLetter, Event};
use crate::run::{Run, RunError, RunWriter};
use crate::time::{Epoch, EventTime, Version};
use key::Key;
use owed::Passing;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, RwLock, Weak};
use table::{Stored, Table};

/// What a follower needs to know of an epoch besides its rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochInfo {
    /// Its version.
    pub opened: Version,
    /// W(e) for each stream of the plan.
    pub watermarks: Vec<EventTime>,
}

/// All effects of an epoch.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Which.
    pub epoch: Epoch,
    /// Its version.
    pub opened: Version,
    /// W(e) for each stream of the plan.
    pub watermarks: Vec<EventTime>,
    /// Changed rows, sorted by key.
    pub rows: Vec<(RowKey, Option<RowValue>)>,
    /// Refused records, sorted by (stream, partition, offset, element).
    pub dead_letters: Vec<DeadLetter>,
    /// Accepted records of archived streams, in the same order.
    pub events: Vec<Event>,
}

impl Batch {
    /// Puts the parts of all workers into the order that does not depend on them.
    pub fn of(opened: Version, watermarks: Vec<EventTime>, epoch: Epoch, parts: &mut [EpochPart]) -> Batch {
        let mut rows: Vec<_> = parts.iter_mut().flat_map(|part| part.rows.drain(..)).collect();
        rows.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut dead_letters: Vec<_> = parts.iter_mut().flat_map(|part| part.dead_letters.drain(..)).collect();
        dead_letters.sort_unstable_by(|a, b| {
            (a.stream, &a.partition, a.offset, a.element).cmp(&(b.stream, &b.partition, b.offset, b.element))
        });
        let mut events: Vec<_> = parts.iter_mut().flat_map(|part| part.events.drain(..)).collect();
        events.sort_unstable_by(|a, b| {
            (a.stream, &a.partition, a.offset, a.element).cmp(&(b.stream, &b.partition, b.offset, b.element))
        });
        Batch { epoch, opened, watermarks, rows, dead_letters, events }
    }
}

/// A sealed part of the ledger, as the manifest lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEntry {
    /// The blob.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Of its content.
    pub hash: u64,
    /// How many entries it has.
    pub entries: u64,
    /// The newest epoch in it.
    pub last: Epoch,
    /// It holds events and nothing else: never merged, dropped whole.
    pub events: bool,
}

/// A run with what the manifest says of it.
pub(crate) struct OpenRun {
    entry: RunEntry,
    run: Run,
}

#[derive(Default)]
struct Inner {
    end: Epoch,
    /// The run ends here: nothing waits for its turn any more.
    finished: bool,
    table: Table,
    frozen: Option<Arc<Table>>,
    runs: Vec<Arc<OpenRun>>,
    event_runs: Vec<Arc<OpenRun>>,
    /// Merged into others, but perhaps still being read.
    retired: Vec<Weak<OpenRun>>,
    epochs: BTreeMap<Epoch, EpochInfo>,
    /// So many seals pass before runs are merged again.
    merges_wait: u32,
    /// Why they were not, once.
    unmerged: Option<String>,
    /// Bytes that each epoch wrote; of a run that was there at the start, all its bytes at its last epoch.
    written: BTreeMap<Epoch, u64>,
}

impl Inner {
    fn end(&self) -> scan::End {
        scan::End { epoch: self.end, finished: self.finished }
    }
}

/// See the module. Shared between the engine, which appends, and the sinks' threads, which read.
pub struct Ledger {
    blobs: Arc<dyn Blobs>,
    generation: u64,
    /// Stores may be as far as this already.
    repeated_until: Epoch,
    inner: RwLock<Inner>,
}

impl Ledger {
    /// Opens the ledger of a checkpoint: its runs, up to `end`. A new job has no runs and ends at 0. Every block is
    /// checked now, while an older checkpoint can still take this one's place.
    pub fn open(blobs: Arc<dyn Blobs>, generation: u64, end: Epoch, runs: &[RunEntry]) -> Result<Ledger, RunError> {
        let mut inner = Inner { end, ..Inner::default() };
        for entry in runs {
            let run = Run::open(&*blobs, &entry.name, entry.bytes, entry.hash)?;
            run.verify(&*blobs)?;
            for found in run.scan(&*blobs, &Key::first_epoch()) {
                let (key, value) = found?;
                let Some(epoch) = Key::epoch_of(&key) else { break };
                let stored = Stored::decode(&value);
                let info = stored.value.as_deref().and_then(|bytes| postcard::from_bytes(bytes).ok());
                inner.epochs.extend(info.map(|info| (epoch, info)));
            }
            *inner.written.entry(entry.last).or_default() += entry.bytes;
            let runs = if entry.events { &mut inner.event_runs } else { &mut inner.runs };
            runs.push(Arc::new(OpenRun { entry: entry.clone(), run }));
        }
        Ok(Ledger { blobs, generation, repeated_until: end, inner: RwLock::new(inner) })
    }

    /// The same, of a process that repeats epochs up to this one.
    pub fn repeating(self, until: Epoch) -> Ledger {
        Ledger { repeated_until: until, ..self }
    }

    /// The process that appends.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// The last epoch appended.
    pub fn end(&self) -> Epoch {
        self.read().end
    }

    /// Says that the run ends with what is here: whatever waits for its turn is due. Epochs may still follow, to complete
    /// or to save. It is not durable, as it changes when a row is written, not how.
    pub fn finish(&self) {
        self.inner.write().expect(LOCK).finished = true;
    }

    /// What is known of an epoch that some follower may still need.
    pub fn epoch(&self, epoch: Epoch) -> Option<EpochInfo> {
        self.read().epochs.get(&epoch).cloned()
    }

    /// Appends an epoch. Only call once its `Bind` is durable.
    pub fn append(&self, batch: Batch) {
        let info = EpochInfo { opened: batch.opened, watermarks: batch.watermarks };
        let (epoch, at) = (batch.epoch, (batch.epoch, batch.opened));
        let mut inner = self.inner.write().expect(LOCK);
        assert!(epoch > inner.end, "epochs are appended in order: {epoch:?} after {:?}", inner.end);
        let before = inner.table.put_bytes();
        let bytes = postcard::to_stdvec(&info).expect("epoch info is plain data");
        inner.table.put(at, Key::epoch(epoch), Some(bytes));
        for (n, dead_letter) in batch.dead_letters.iter().enumerate() {
            let bytes = postcard::to_stdvec(dead_letter).expect("a dead letter is plain data");
            inner.table.put(at, Key::dead_letter(epoch, n as u32), Some(bytes));
        }
        for (n, event) in batch.events.iter().enumerate() {
            let bytes = postcard::to_stdvec(event).expect("an event is plain data");
            inner.table.put(at, Key::event(epoch, n as u32), Some(bytes));
        }
        for (key, value) in batch.rows {
            let bytes = value.map(|value| postcard::to_stdvec(&value).expect("a row is plain data"));
            inner.table.put(at, Key::row(&key), bytes);
        }
        let written = inner.table.put_bytes() - before;
        inner.written.insert(epoch, written);
        inner.epochs.insert(epoch, info);
        inner.end = epoch;
    }

    /// The newest value of every row of a view, with its version, in the order of (end, group, start).
    pub fn rows(&self, view: u32) -> Result<Vec<(RowKey, Version, RowValue)>, RunError> {
        let whole = board::whole(view);
        let Some(((), snapshot)) = self.snapshot(|_, _| ((), vec![whole.clone()])) else { return Ok(Vec::new()) };
        let row = |(key, stored): (Key, Stored)| {
            Some((key.as_row().expect("a range of rows"), stored.version, follower::value(&stored)?))
        };
        snapshot.scan(&whole).filter_map(|entry| entry.map(row).transpose()).collect()
    }

    /// Every dead letter that it has.
    pub fn dead_letters(&self) -> Result<Vec<DeadLetter>, RunError> {
        let all = Key::dead_letters();
        let Some(((), snapshot)) = self.snapshot(|_, _| ((), vec![all.clone()])) else { return Ok(Vec::new()) };
        let letters = snapshot.scan(&all).map(|entry| Ok(follower::dead_letter(&entry?.1).map(|row| row.dead_letter)));
        letters.filter_map(Result::transpose).collect()
    }

    /// Bytes of memory held, roughly: the table, and the runs' indices.
    pub fn resident_bytes(&self) -> usize {
        let inner = self.read();
        let runs: usize = inner.runs.iter().chain(&inner.event_runs).map(|open| open.run.resident_bytes()).sum();
        inner.table.bytes() + inner.frozen.as_ref().map_or(0, |table| table.bytes()) + runs
    }

    /// Bytes in the table that the next seal will write, roughly.
    pub fn table_bytes(&self) -> usize {
        self.read().table.bytes()
    }

    /// Bytes that were written after `from`, at most: a run that was there at the start and holds some of it counts whole.
    pub fn bytes_after(&self, from: Epoch) -> u64 {
        self.read().written.range(from.next()..).map(|(_, bytes)| bytes).sum()
    }

    /// Freezes the table as of now; [`Ledger::seal`] then writes it out. To be called at a checkpoint's epoch, right
    /// after its append. What an earlier seal could not write is frozen with it.
    pub fn freeze(&self) {
        let mut inner = self.inner.write().expect(LOCK);
        let mut table = std::mem::take(&mut inner.table);
        if let Some(earlier) = inner.frozen.take() {
            table.put_under(&earlier);
        }
        inner.frozen = Some(Arc::new(table));
    }

    /// Writes the frozen table as a run, and events that some sink still wants as one of their own; merges runs where
    /// that pays, and returns what the manifest must list.
    /// Blocks on the blobs; appends and cuts go on meanwhile.
    pub fn seal(&self, keep: &Keep) -> Result<Vec<RunEntry>, RunError> {
        let frozen = self.read().frozen.clone();
        if let Some(table) = frozen {
            let last = table.last();
            let (mut writer, mut events) = (RunWriter::new(), RunWriter::new());
            for (key, stored) in table.iter() {
                if !Key::is_event(key.bytes()) {
                    writer.push(key.bytes(), &stored.encode());
                } else if stored.epoch > keep.passed {
                    events.push(key.bytes(), &stored.encode());
                }
            }
            let run = (writer.entries() > 0).then(|| self.write_run(last, false, writer)).transpose()?;
            let events = (events.entries() > 0).then(|| self.write_run(last, true, events)).transpose()?;
            let mut inner = self.inner.write().expect(LOCK);
            inner.runs.extend(run);
            inner.event_runs.extend(events);
            inner.frozen = None;
        }
        self.merge_if_there_is_space(keep)?;
        let mut inner = self.inner.write().expect(LOCK);
        inner.event_runs.retain(|open| open.entry.last > keep.passed);
        Ok(inner.runs.iter().chain(&inner.event_runs).map(|open| open.entry.clone()).collect())
    }

    fn write_run(&self, last: Epoch, events: bool, writer: RunWriter) -> Result<Arc<OpenRun>, RunError> {
        let entries = writer.entries();
        let (bytes, hash) = writer.finish();
        for attempt in 0.. {
            let name = format!("ledger/{:010}-{:020}-{attempt}", self.generation, last.0);
            if self.blobs.create(&name, &bytes)? == crate::ports::blobs::Created::New {
                let entry = RunEntry { name, bytes: bytes.len() as u64, hash, entries, last, events };
                let run = Run::open(&*self.blobs, &entry.name, entry.bytes, hash)?;
                return Ok(Arc::new(OpenRun { entry, run }));
            }
        }
        unreachable!("some attempt is free")
    }

    /// Removes blobs of runs that processes of these generations have written, `listed` does not name, and nobody is reading.
    pub fn clean_up(&self, listed: &[&RunEntry], generations: &RangeInclusive<u64>) -> Result<(), BlobError> {
        let in_use: Vec<Arc<OpenRun>> = {
            let mut inner = self.inner.write().expect(LOCK);
            inner.retired.retain(|run| run.strong_count() > 0);
            let retired: Vec<_> = inner.retired.iter().filter_map(Weak::upgrade).collect();
            retired.into_iter().chain(inner.runs.iter().chain(&inner.event_runs).cloned()).collect()
        };
        for name in self.blobs.list("ledger/")? {
            let wanted = in_use.iter().any(|run| run.entry.name == name) || listed.iter().any(|entry| entry.name == name);
            if !wanted && is_of(&name, generations) {
                self.blobs.delete(&name)?;
            }
        }
        Ok(())
    }

    /// Forgets what epochs before `epoch` said: every follower has passed them.
    pub fn forget_epochs_before(&self, epoch: Epoch) {
        let mut inner = self.inner.write().expect(LOCK);
        inner.epochs = inner.epochs.split_off(&epoch);
        inner.written = inner.written.split_off(&epoch);
    }

    /// Keeps what a follower found of when rows became due: the epochs that said so will be forgotten.
    fn keep_passings(&self, found: BTreeMap<Key, Passing>) {
        if !found.is_empty() {
            let mut inner = self.inner.write().expect(LOCK);
            found.into_iter().for_each(|(key, passing)| inner.table.put_passing(key, passing.stored()));
        }
    }

    /// The first epoch after `from` whose W had reached `time`; `to` has.
    fn first_passed(&self, stream: usize, time: EventTime, from: Epoch, to: Epoch) -> Passing {
        let inner = self.read();
        let (mut low, mut high) = (from.0, to.0);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            let reached = inner.epochs.get(&Epoch(middle)).is_some_and(|info| info.watermarks[stream] >= time);
            if reached { high = middle } else { low = middle }
        }
        let info = &inner.epochs[&Epoch(high)];
        Passing { epoch: Epoch(high), version: info.opened, watermark: info.watermarks[stream] }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Inner> {
        self.inner.read().expect(LOCK)
    }

    /// Events of whole epochs after `from` and up to `to`, in order, until they are `bytes_max` or more; and the last
    /// of these epochs.
    fn events(&self, from: Epoch, to: Epoch, bytes_max: usize) -> Result<(Epoch, Vec<Stored>), RunError> {
        let (first, after) = (Key::event(from.next(), 0), Key::event(to.next(), 0));
        let (runs, newer) = {
            let inner = self.read();
            let tables = inner.frozen.as_deref().into_iter().chain([&inner.table]);
            let newer = tables.flat_map(|table| table.range(&first, &after)).map(|(_, stored)| Ok(stored));
            let newer: Vec<Result<Stored, RunError>> = newer.collect();
            (inner.event_runs.clone(), newer)
        };
        // An event is written once, so what is older lies in an older place.
        let sealed = runs.iter().filter(|open| open.entry.last > from).flat_map(|open| {
            let within = |entry: &Result<(Vec<u8>, _), _>| entry.as_ref().map_or(true, |(key, _)| key.as_slice() < after.bytes());
            open.run.scan(&*self.blobs, first.bytes()).take_while(within).map(|entry| Ok(Stored::decode(&entry?.1)))
        });
        let (mut found, mut bytes, mut last) = (Vec::new(), 0, from);
        for stored in sealed.chain(newer) {
            let stored = stored?;
            if bytes >= bytes_max && stored.epoch != last {
                return Ok((last, found));
            }
            last = stored.epoch;
            bytes += stored.value.as_ref().map_or(0, |value| value.len());
            found.push(stored);
        }
        Ok((to, found))
    }
}

/// The generation that wrote a blob, which its name begins with.
pub(crate) fn generation_of(name: &str) -> Option<u64> {
    name.split_once('/')?.1.split_once('-')?.0.parse().ok()
}

/// Whether a process of these generations wrote a blob; what tells none is as old as can be.
pub(crate) fn is_of(name: &str, generations: &RangeInclusive<u64>) -> bool {
    generations.contains(&generation_of(name).unwrap_or(0))
}

const LOCK: &str = "no thread panics while it holds the ledger";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::Group;
    use crate::ports::blobs::MemoryBlobs;
    use crate::ports::sink::RowState;
    use crate::value::{Cell, Value};

    fn batch(epoch: u64, rows: i64) -> Batch {
        let row = |n| {
            let key = RowKey { view: 0, end: EventTime(60), group: Group::of(&[Value::Decimal(n)]), start: EventTime(0) };
            (
                key,
                Some(RowValue {
                    state: RowState::Open,
                    was_complete: false,
                    was_final: false,
                    watermark: EventTime(0),
                    cells: vec![Cell::Integer(n); 10],
                }),
            )
        };
        let (epoch, opened) = (Epoch(epoch), Version(epoch as i64));
        Batch {
            epoch,
            opened,
            watermarks: vec![EventTime(0)],
            rows: (0..rows).map(row).collect(),
            dead_letters: vec![],
            events: vec![],
        }
    }

    fn sealed(ledger: &Ledger) -> Vec<RunEntry> {
        ledger.freeze();
        ledger.seal(&Keep::default()).unwrap()
    }

    /// Symptom: a run began with a damaged checkpoint and failed at its first cut or merge. Cause: opening read the
    /// index and the blocks of the epochs, not those of the rows. Rows of several blocks, damage in the first.
    #[test]
    fn damage_in_any_block_is_found_while_opening() {
        let blobs = Arc::new(MemoryBlobs::default());
        let ledger = Ledger::open(blobs.clone(), 1, Epoch(0), &[]).unwrap();
        ledger.append(batch(1, 5_000));
        let runs = sealed(&ledger);
        assert!(Ledger::open(blobs.clone(), 2, Epoch(1), &runs).is_ok());
        let mut bytes = blobs.read(&runs[0].name).unwrap();
        assert!(bytes.len() > 200_000, "{} bytes", bytes.len());
        bytes[1_000] ^= 1;
        blobs.delete(&runs[0].name).unwrap();
        blobs.create(&runs[0].name, &bytes).unwrap();
        let found = Ledger::open(blobs, 2, Epoch(1), &runs).err().map(|error| error.to_string());
        assert_eq!(found.as_deref(), Some(&*format!("{} is damaged: a block fails its checksum", runs[0].name)));
    }

    #[test]
    fn what_lies_beyond_a_cursor_does_not_change_when_it_is_sealed() {
        let blobs = Arc::new(MemoryBlobs::default());
        let ledger = Ledger::open(blobs.clone(), 1, Epoch(0), &[]).unwrap();
        ledger.append(batch(1, 100));
        ledger.append(batch(2, 10));
        let (all, last) = (ledger.bytes_after(Epoch(0)), ledger.bytes_after(Epoch(1)));
        assert!(last > 0 && all > 5 * last, "{all} {last}");
        let runs = sealed(&ledger);
        assert_eq!([0, 1, 2].map(|from| ledger.bytes_after(Epoch(from))), [all, last, 0]);
        let again = Ledger::open(blobs, 2, Epoch(2), &runs).unwrap();
        assert_eq!([0, 1, 2].map(|from| again.bytes_after(Epoch(from))), [runs[0].bytes, runs[0].bytes, 0]);
        again.append(batch(3, 10));
        assert_eq!(again.bytes_after(Epoch(2)), last);
    }

    /// Symptom: a sink failed with «is not in the state folder» while a checkpoint was being made. Cause: runs were
    /// deleted as soon as they were merged, and a slow reader still had them open.
    #[test]
    fn a_merged_run_stays_while_it_is_being_read() {
        let blobs = Arc::new(MemoryBlobs::default());
        let ledger = Ledger::open(blobs.clone(), 1, Epoch(0), &[]).unwrap();
        ledger.append(batch(1, 10));
        sealed(&ledger);
        let reading = ledger.read().runs.clone();
        ledger.append(batch(2, 10));
        let listed = sealed(&ledger);
        assert_eq!(listed.len(), 1, "both are merged into one");
        ledger.clean_up(&[], &(0..=1)).unwrap();
        assert_eq!(reading[0].run.scan(&*blobs, &[]).filter_map(Result::ok).count(), 11);
        drop(reading);
        ledger.clean_up(&[], &(0..=1)).unwrap();
        assert_eq!(blobs.list("ledger/").unwrap(), [listed[0].name.clone()]);
    }

    /// A process that was suspended while another took over must not delete what the other has written since.
    #[test]
    fn what_a_newer_process_wrote_is_left_alone() {
        let blobs = Arc::new(MemoryBlobs::default());
        let old = Ledger::open(blobs.clone(), 1, Epoch(0), &[]).unwrap();
        let new = Ledger::open(blobs.clone(), 2, Epoch(0), &[]).unwrap();
        new.append(batch(1, 10));
        let listed = sealed(&new);
        old.clean_up(&[], &(0..=1)).unwrap();
        assert_eq!(blobs.list("ledger/").unwrap(), [listed[0].name.clone()]);
    }
}
