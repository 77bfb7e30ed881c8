//! Judges a stream's records: too late, duplicate, conflict, filtered, or accepted. One verdict each, at the epoch's end.
//!
//! Ids live on the worker of their hash (or of their partition, where producers keep an id to one partition), in
//! buckets by event time that are dropped whole: expiry costs nothing and is a function of W alone. Within an epoch
//! the record with the smallest origin is the first.

use super::{EpochOperator, Tick};
use crate::decode::Derivation;
use crate::hash::{HashedMap, Map};
use crate::plan::{DeduplicateScope, StreamPlan};
use crate::planted::{self, Bug};
use crate::record::{Id, Origin, Reason, Record, Rejection, Verdict};
use crate::state::{Expiry, Save, SaveState, StateRow, StateRows};
use crate::time::{Epoch, EventTime, Span};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What becomes of records.
#[derive(Clone, Debug)]
pub enum Judged {
    /// Counts in every view.
    Accepted(Record),
    /// A dead letter, to be completed with its bytes where it was read.
    Refused {
        /// Where it came from.
        origin: Origin,
        /// Why.
        rejection: Rejection,
    },
    /// So many records of the epoch got this verdict; `late` of them were late and corrected something.
    Count {
        /// The verdict.
        verdict: Verdict,
        /// How many.
        records: u64,
        /// How many of them were behind W(e−1).
        late: u64,
    },
}

/// A bucket covers this part of the horizon.
const BUCKETS: i64 = 4;

/// In the hash of a record's bytes, says that the id is in the saved state: what it tells apart has 63 bits.
const SAVED: u64 = 1;

/// Remembered ids: hash of the id → hash of the first record's bytes, by bucket of event time.
struct Ids {
    within: Span,
    bucket_us: i64,
    buckets: BTreeMap<i64, HashedMap<u64>>,
    /// Buckets with ids that are not saved.
    unsaved: BTreeSet<i64>,
}

impl Ids {
    fn new(within: Span) -> Ids {
        Ids { within, bucket_us: (within.0 / BUCKETS).max(1), buckets: BTreeMap::new(), unsaved: BTreeSet::new() }
    }

    fn bucket_of(&self, event_time: EventTime) -> i64 {
        event_time.0.div_euclid(self.bucket_us)
    }

    /// The content first seen under this id. A repeat usually has the event time of the first, so its bucket is asked first.
    fn get(&self, id: [u64; 2], event_time: EventTime) -> Option<u64> {
        let likely = self.bucket_of(event_time);
        let first = self.buckets.get(&likely).and_then(|bucket| bucket.get(&id));
        let rest = || self.buckets.iter().filter(|(at, _)| **at != likely).find_map(|(_, bucket)| bucket.get(&id));
        first.or_else(rest).copied()
    }

    fn insert(&mut self, id: [u64; 2], event_time: EventTime, content: u64) {
        let bucket = self.bucket_of(event_time);
        self.buckets.entry(bucket).or_default().insert(id, content & !SAVED);
        self.unsaved.insert(bucket);
    }

    fn end_of(&self, bucket: i64) -> EventTime {
        EventTime((bucket + 1).saturating_mul(self.bucket_us))
    }

    /// As if nothing had been saved.
    fn forget_saved(&mut self) {
        for (at, bucket) in &mut self.buckets {
            self.unsaved.insert(*at);
            bucket.into_iter().for_each(|(_, content)| *content &= !SAVED);
        }
    }

    /// Ids that were added since the last call, as `(bucket, id, content)`. Only buckets that got any are looked at, but
    /// those from end to end: 5 ms for each million ids, once a checkpoint, and no memory for a list of them.
    fn take_unsaved(&mut self, mut take: impl FnMut(i64, EventTime, [u64; 2], u64)) {
        for bucket in std::mem::take(&mut self.unsaved) {
            let until = self.end_of(bucket).plus(self.within);
            let new = self.buckets.get_mut(&bucket).into_iter().flatten().filter(|(_, content)| **content & SAVED == 0);
            new.for_each(|(id, content)| {
                take(bucket, until, *id, *content);
                *content |= SAVED;
            });
        }
    }

    /// Drops buckets whose every id is beyond the horizon.
    fn expire(&mut self, watermark: EventTime) {
        while let Some((&at, _)) = self.buckets.first_key_value() {
            if self.end_of(at).plus(self.within) > watermark {
                break;
            }
            self.buckets.pop_first();
            self.unsaved.remove(&at);
        }
    }
}

/// See the module.
pub struct Judge {
    name: String,
    stream: usize,
    lateness: Span,
    within: Option<Span>,
    /// One table for the stream, or one for each partition where an id stays in its partition.
    ids: BTreeMap<u32, Ids>,
    by_partition: bool,
    pending: BTreeMap<Epoch, Vec<Record>>,
    save: SaveState,
}

/// An id's two halves, as the table keeps it.
fn halves(hash: u128) -> [u64; 2] {
    [hash as u64, (hash >> 64) as u64]
}

/// Whether two hashes of bytes are those of the same bytes.
fn same(content: u64, other: u64) -> bool {
    content & !SAVED == other & !SAVED
}

impl Judge {
    /// Judges `plan.streams[stream]`, starting with the saved ids that live on this worker.
    pub fn new(stream: usize, plan: &StreamPlan, loaded: &StateRows, save: SaveState) -> Judge {
        let name = format!("ids/{}", plan.name);
        let within = plan.deduplicate.map(|d| d.within);
        let by_partition = plan.deduplicate.is_some_and(|d| d.scope == DeduplicateScope::Partition);
        let mut judge = Judge {
            name,
            stream,
            lateness: plan.lateness,
            within,
            ids: BTreeMap::new(),
            by_partition,
            pending: BTreeMap::new(),
            save,
        };
        if let Some(within) = within {
            for row in loaded.rows(&judge.name) {
                let ((table, id), (bucket, content)): ((u32, [u64; 2]), (i64, u64)) = row.decode();
                let ids = judge.ids.entry(table).or_insert_with(|| Ids::new(within));
                ids.buckets.entry(bucket).or_default().insert(id, content | SAVED);
            }
        }
        judge
    }

    /// How many ids are remembered.
    pub fn ids_len(&self) -> usize {
        self.ids.values().flat_map(|ids| ids.buckets.values()).map(|bucket| bucket.len()).sum()
    }

    fn too_late(&self, record: &Record, watermark: EventTime) -> bool {
        record.event_time.plus(self.lateness) <= watermark
    }

    /// For each record its verdict, in the order of `records`.
    fn verdicts(&mut self, records: &[Record], watermark: EventTime) -> Vec<Verdict> {
        let passed = |record: &Record| if record.passes { Verdict::Accepted } else { Verdict::Filtered };
        let repeat = |same: bool| if same { Verdict::Duplicate } else { Verdict::Rejected(Reason::Conflict) };
        // The horizon is exact only if what W rules out is asked for first.
        let too_late: Vec<bool> = records.iter().map(|record| self.too_late(record, watermark)).collect();
        let late = Verdict::Rejected(Reason::TooLate);
        let Some(within) = self.within else {
            return records.iter().zip(too_late).map(|(record, is)| if is { late } else { passed(record) }).collect();
        };
        // 1. Whoever is known is decided; of the new ones the smallest origin of each id comes first.
        let mut verdicts = vec![late; records.len()];
        let mut firsts: Map<(u32, [u64; 2]), usize> = Map::default();
        let hashes: Vec<[u64; 2]> = records.iter().map(|record| halves(record.id.hash())).collect();
        let mut undecided = Vec::with_capacity(records.len());
        for (at, record) in records.iter().enumerate().filter(|(at, _)| !too_late[*at]) {
            if matches!(record.id, Id::Origin(_)) {
                // An origin cannot repeat: there is nothing to remember.
                verdicts[at] = passed(record);
                continue;
            }
            let table = if self.by_partition { record.origin.partition.0 } else { 0 };
            let ids = self.ids.entry(table).or_insert_with(|| Ids::new(within));
            match ids.get(hashes[at], record.event_time) {
                Some(content) => verdicts[at] = repeat(same(content, record.content)),
                None => {
                    let first = firsts.entry((table, hashes[at])).or_insert(at);
                    if record.origin < records[*first].origin && !planted::is(Bug::ArrivalOrder) {
                        *first = at;
                    }
                    undecided.push((table, at));
                }
            }
        }
        // 2. The first is accepted and remembered, the others are measured by it.
        for (table, at) in undecided {
            let first = firsts[&(table, hashes[at])];
            verdicts[at] =
                if first == at { passed(&records[at]) } else { repeat(same(records[first].content, records[at].content)) };
            if first == at {
                let ids = self.ids.get_mut(&table).expect("its table was just asked");
                ids.insert(hashes[at], records[at].event_time, records[at].content);
            }
        }
        verdicts
    }

    fn refusal(&self, record: &Record, reason: Reason, watermark: EventTime) -> Rejection {
        let message = match reason {
            Reason::TooLate => format!(
                "event time {} is more than the lateness of {} behind the watermark {watermark}; a longer `lateness` would have taken it",
                record.event_time, self.lateness
            ),
            _ => "another record with the same id and other content was accepted before".to_owned(),
        };
        Rejection::one(reason, "", message)
    }

    fn save(&mut self) {
        let (by_partition, stream, mut rows) = (self.by_partition, self.stream as u32, Vec::new());
        for (table, ids) in &mut self.ids {
            ids.take_unsaved(|bucket, until, id, content| {
                let route = if by_partition { u64::from(*table) } else { id[0] };
                rows.push(StateRow::new(route, &(*table, id), &(bucket, content), Expiry { stream, until }));
            });
        }
        self.save.put(&self.name, rows);
    }
}

impl EpochOperator for Judge {
    type In = Record;
    type Out = Judged;

    fn take(&mut self, epoch: Epoch, batch: &mut Vec<Record>) {
        self.pending.entry(epoch).or_default().append(batch);
    }

    fn close(&mut self, tick: &Tick, out: &mut Vec<Judged>) {
        let records = self.pending.remove(&tick.epoch).unwrap_or_default();
        let watermark = tick.before[self.stream];
        let verdicts = self.verdicts(&records, watermark);
        let mut counts: BTreeMap<Verdict, (u64, u64)> = BTreeMap::new();
        for (record, verdict) in records.into_iter().zip(verdicts) {
            let count = counts.entry(verdict).or_default();
            count.0 += 1;
            count.1 += u64::from(record.event_time < watermark);
            match verdict {
                Verdict::Accepted => out.push(Judged::Accepted(record)),
                Verdict::Rejected(reason) => {
                    out.push(Judged::Refused { origin: record.origin, rejection: self.refusal(&record, reason, watermark) });
                }
                Verdict::Filtered | Verdict::Duplicate => {}
            }
        }
        out.extend(counts.into_iter().map(|(verdict, (records, late))| Judged::Count { verdict, records, late }));
        self.ids.values_mut().for_each(|ids| ids.expire(tick.after[self.stream]));
        self.save.hold_ids(tick.epoch, self.stream as u32, self.ids_len() as u64);
        if tick.save == Save::Whole {
            self.ids.values_mut().for_each(Ids::forget_saved);
        }
        if tick.save != Save::Nothing {
            self.save();
        }
    }
}

impl Judge {
    /// Which worker judges a record.
    pub fn route(by_partition: bool, record: &Record) -> u64 {
        if by_partition { u64::from(record.origin.partition.0) } else { record.id.hash() as u64 }
    }

    /// Whether ids stay on their partition's worker.
    pub fn routes_by_partition(&self) -> bool {
        self.by_partition
    }
}

/// Makes a child stream's records from its parent's accepted ones. It keeps nothing from epoch to epoch.
pub struct Derive {
    stream: usize,
    derivation: Arc<Derivation>,
    pending: Map<u64, Vec<Record>>,
}

impl Derive {
    /// Derives records as `derivation` says, for the stream at position `stream`.
    pub fn new(stream: usize, derivation: Arc<Derivation>) -> Derive {
        Derive { stream, derivation, pending: Map::default() }
    }
}

impl EpochOperator for Derive {
    type In = Record;
    type Out = Judged;

    fn take(&mut self, epoch: Epoch, batch: &mut Vec<Record>) {
        self.pending.entry(epoch.0).or_default().append(batch);
    }

    fn close(&mut self, tick: &Tick, out: &mut Vec<Judged>) {
        let watermark = tick.before[self.stream];
        let mut counts: BTreeMap<Verdict, (u64, u64)> = BTreeMap::new();
        for mut record in self.pending.remove(&tick.epoch.0).unwrap_or_default() {
            let (verdict, judged) = match self.derivation.derive(&record) {
                Ok((values, true)) => {
                    record.values = values;
                    (Verdict::Accepted, Some(Judged::Accepted(record.clone())))
                }
                Ok((_, false)) => (Verdict::Filtered, None),
                Err(rejection) => {
                    let verdict = Verdict::Rejected(rejection.reason);
                    (verdict, Some(Judged::Refused { origin: record.origin, rejection }))
                }
            };
            let count = counts.entry(verdict).or_default();
            count.0 += 1;
            count.1 += u64::from(record.event_time < watermark);
            out.extend(judged);
        }
        out.extend(counts.into_iter().map(|(verdict, (records, late))| Judged::Count { verdict, records, late }));
    }
}
