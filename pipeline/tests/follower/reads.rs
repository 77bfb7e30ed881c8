//! What a look at the ledger reads, and what a cut must not mix: rows by hand, in a store that counts and can be used
//! to append at the worst moment.

use super::job::plan;
use caudal_pipeline::group::Group;
use caudal_pipeline::ledger::{Batch, Cursor, Emission, Follower, Keep, Kept, Ledger, RowKey, RowValue};
use caudal_pipeline::ports::blobs::{BlobError, Blobs, Created, MemoryBlobs};
use caudal_pipeline::ports::sink::{Cut, RowState};
use caudal_pipeline::time::{Epoch, EventTime, Span, Version};
use caudal_pipeline::value::{Cell, Value};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const SECOND: i64 = 1_000_000;
/// Positions in the plan.
const TUMBLING: u32 = 0;
const EVER: u32 = 3;

#[derive(Default)]
struct Hooked {
    blobs: MemoryBlobs,
    reads: AtomicUsize,
    at_next_read: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Blobs for Hooked {
    fn create(&self, name: &str, bytes: &[u8]) -> Result<Created, BlobError> {
        self.blobs.create(name, bytes)
    }
    fn read(&self, name: &str) -> Result<Vec<u8>, BlobError> {
        self.blobs.read(name)
    }
    fn read_range(&self, name: &str, offset: u64, len: usize) -> Result<Vec<u8>, BlobError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let hook = self.at_next_read.lock().unwrap().take();
        hook.into_iter().for_each(|hook| hook());
        self.blobs.read_range(name, offset, len)
    }
    fn list(&self, prefix: &str) -> Result<Vec<String>, BlobError> {
        self.blobs.list(prefix)
    }
    fn delete(&self, name: &str) -> Result<(), BlobError> {
        self.blobs.delete(name)
    }
}

/// An epoch that opens at its number of seconds: rows of `(view, group, end, count)`, W and times in seconds.
fn batch(epoch: u64, watermark: i64, rows: &[(u32, i64, i64, u64)]) -> Batch {
    let watermark = EventTime(watermark * SECOND);
    let row = |&(view, group, end, count): &(u32, i64, i64, u64)| {
        let end = if view == EVER { EventTime::MAX } else { EventTime(end * SECOND) };
        let start = if view == EVER { EventTime::MIN } else { end.minus(Span::seconds(20)) };
        let state = if end <= watermark { RowState::Complete } else { RowState::Open };
        let cells = vec![Cell::Integer(count as i64)];
        let key = RowKey { view, end, group: Group::of(&[Value::Decimal(group)]), start };
        (key, Some(RowValue { state, was_complete: false, was_final: false, watermark, cells }))
    };
    let (opened, rows) = (Version(epoch as i64 * SECOND), rows.iter().map(row).collect());
    Batch { epoch: Epoch(epoch), opened, watermarks: vec![watermark], rows, ..Batch::default() }
}

fn ledger() -> (Arc<Hooked>, Arc<Ledger>) {
    let blobs = Arc::new(Hooked::default());
    let ledger = Ledger::open(blobs.clone(), 1, Epoch(0), &[]).unwrap();
    (blobs, Arc::new(ledger))
}

fn seal(ledger: &Ledger) {
    ledger.freeze();
    ledger.seal(&Keep::default()).unwrap();
}

fn follower(kept: &[(u32, Emission)]) -> Follower {
    let kept = kept.iter().map(|&(view, emission)| Kept { view, emission, retain: None, board_groups_max: 0 });
    Follower::new(Arc::new(plan(Span::seconds(60))), kept.collect(), true)
}

fn counts(cut: &Cut) -> Vec<&Cell> {
    cut.rows.iter().map(|row| &row.cells[0]).collect()
}

/// Symptom: each look, ten times a second, read all runs once a checkpoint had sealed anything new to a sink, though
/// nothing was owed: it is up to date, or its one view waits an hour for its turn.
#[test]
fn a_look_that_owes_nothing_reads_nothing() {
    let (blobs, ledger) = ledger();
    let (mut at_once, mut hourly) =
        (follower(&[(EVER, Emission::OnUpdate)]), follower(&[(EVER, Emission::Every(Span::seconds(3600)))]));
    ledger.append(batch(1, 0, &[(EVER, 1, 0, 1)]));
    let at_first = at_once.cut(&ledger, &Cursor::default()).unwrap().unwrap().1;
    let mut waiting = at_first.clone();
    ledger.append(batch(2, 0, &[(EVER, 1, 0, 2)]));
    let (cut, up_to_date) = at_once.cut(&ledger, &at_first).unwrap().unwrap();
    assert_eq!(counts(&cut), [&Cell::Integer(2)]);
    waiting = hourly.cut(&ledger, &waiting).unwrap().unwrap().1;
    seal(&ledger);
    let before = blobs.reads.load(Ordering::Relaxed);
    for _ in 0..10 {
        assert!(at_once.cut(&ledger, &up_to_date).unwrap().is_none());
    }
    for epoch in 3..10 {
        ledger.append(batch(epoch, 0, &[]));
        let (cut, next) = hourly.cut(&ledger, &waiting).unwrap().unwrap();
        assert!(cut.rows.is_empty());
        waiting = next;
    }
    assert_eq!(blobs.reads.load(Ordering::Relaxed), before);
    ledger.append(batch(3700, 0, &[]));
    let (cut, _) = hourly.cut(&ledger, &waiting).unwrap().unwrap();
    assert_eq!(counts(&cut), [&Cell::Integer(2)], "its turn has come");
}

/// Symptom: a cut up to one epoch had a row as of a later one. Cause: changes and passed rows were read one after the
/// other, and the ledger goes on meanwhile. Here a run is read, during which an epoch corrects the row and is sealed.
#[test]
fn a_cut_is_as_of_one_epoch() {
    for emission in [Emission::OnUpdate, Emission::OnComplete] {
        let (blobs, ledger) = ledger();
        ledger.append(batch(1, 0, &[(TUMBLING, 1, 20, 1), (TUMBLING, 2, 40, 1)]));
        seal(&ledger);
        ledger.append(batch(2, 50, &[]));
        let goes_on = ledger.clone();
        *blobs.at_next_read.lock().unwrap() = Some(Box::new(move || {
            goes_on.append(batch(3, 50, &[(TUMBLING, 1, 20, 7), (TUMBLING, 2, 40, 7), (TUMBLING, 3, 40, 7)]));
            seal(&goes_on);
        }));
        let mut follower = follower(&[(TUMBLING, emission)]);
        let (cut, _) = follower.cut(&ledger, &Cursor::default()).unwrap().unwrap();
        assert_eq!((cut.to, counts(&cut)), (Epoch(2), vec![&Cell::Integer(1); 2]), "{emission:?}");
        assert_eq!(ledger.end(), Epoch(3), "the ledger went on during the cut");
    }
}

/// Symptom: a sink that was added wrote complete rows with later versions than the others had, and what was written again
/// for those had them from then on. Cause: what an epoch said is forgotten once all have passed it; a new cursor then took
/// the first epoch that was left for the one in which a row had become due, and wrote that down over what was known.
#[test]
fn a_sink_that_is_added_has_the_versions_of_the_others() {
    let (_, ledger) = ledger();
    let (mut old, mut new) = (follower(&[(TUMBLING, Emission::OnComplete)]), follower(&[(TUMBLING, Emission::OnComplete)]));
    ledger.append(batch(1, 0, &[(TUMBLING, 1, 20, 1), (TUMBLING, 2, 40, 1)]));
    ledger.append(batch(2, 30, &[]));
    ledger.append(batch(3, 50, &[]));
    let versions = |cut: &Cut| cut.rows.iter().map(|row| row.version).collect::<Vec<_>>();
    let (cut, passed) = old.cut(&ledger, &Cursor::default()).unwrap().unwrap();
    let due = [Version(2 * SECOND), Version(3 * SECOND)];
    assert_eq!(versions(&cut), due);
    for sealed in [false, true] {
        if sealed {
            seal(&ledger);
        }
        ledger.forget_epochs_before(Epoch(4));
        ledger.append(batch(4 + u64::from(sealed), 60, &[]));
        let (cut, _) = new.cut(&ledger, &Cursor::default()).unwrap().unwrap();
        assert_eq!(versions(&cut), due, "sealed: {sealed}");
        let (mut cursor, mut again) = (passed.lost(), Vec::new());
        while cursor.republication.is_some() {
            let (cut, next) = old.cut(&ledger, &cursor).unwrap().unwrap();
            again.extend(versions(&cut));
            cursor = next;
        }
        assert_eq!(again, due, "written again, sealed: {sealed}");
    }
}
