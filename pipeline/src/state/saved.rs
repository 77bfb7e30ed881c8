//! State in files: each checkpoint adds one sorted run of what changed, and runs are merged in the background.
//!
//! ```text
//! changed rows of all workers ─▶ run n ┐ of each key the newest row counts,
//!        run 0 (merged) … run n−1 ─────┴ unless it is gone or W has passed its `until` ─▶ operators
//! ```
//! What leaves with W needs no row that says so: a window, a bucket of ids. Only what leaves before its time is written
//! as gone.

use super::{Expiry, Sizes, State, StateRow};
use crate::merge::{self, Newest};
use crate::planted::{self, Bug};
use crate::ports::blobs::{Blobs, Created};
use crate::positions::Positions;
use crate::run::{self, Run, RunError, RunWriter};
use crate::time::EventTime;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// A run of saved rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateFile {
    /// The blob.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Of its content.
    pub hash: u64,
    /// Bytes of its rows, by operator.
    pub sizes: Sizes,
    /// Until when its longest row is part of the state, by stream of the plan.
    pub until: BTreeMap<u32, EventTime>,
    /// Whether it says of rows that they are gone, which hides those in older runs.
    pub hides: bool,
}

impl StateFile {
    fn is_over(&self, watermarks: &[EventTime]) -> bool {
        self.until.iter().all(|(stream, until)| Expiry { stream: *stream, until: *until }.is_over(watermarks))
    }
}

/// Of the runs of a checkpoint, oldest first, those that the next one must list: without the others the same rows are alive.
///
/// Leaving out a run takes away its rows, which must be over, and what they hide, which must not come back. A row that is over
/// hides only rows that are over too, because for one key `until` only grows. A row that is gone may hide one that is not:
/// but only in an older run, so where none is left there is nothing to hide. And if runs are left, the oldest of them holds
/// rows that are not over, by this very rule, which one that hides may be about.
pub fn needed(files: &[StateFile], watermarks: &[EventTime]) -> Vec<StateFile> {
    let mut needed: Vec<StateFile> = Vec::new();
    for file in files {
        let hides = file.hides && !needed.is_empty();
        if hides || !file.is_over(watermarks) {
            needed.push(file.clone());
        }
    }
    needed
}

/// State as a checkpoint lists it.
pub struct Saved {
    blobs: Arc<dyn Blobs>,
    /// Oldest first.
    runs: Vec<Run>,
    /// W of each stream of the plan.
    watermarks: Vec<EventTime>,
    /// Why rows could not be read, although every block was checked before.
    failure: OnceLock<String>,
}

impl Saved {
    /// Of a new job: nothing.
    pub fn nothing(blobs: Arc<dyn Blobs>) -> Saved {
        Saved { blobs, runs: Vec::new(), watermarks: Vec::new(), failure: OnceLock::new() }
    }

    /// Opens what a checkpoint lists, oldest first, as of W. Every block is checked now, while an older checkpoint can
    /// still take this one's place.
    pub fn open(blobs: Arc<dyn Blobs>, files: &[StateFile], watermarks: &[EventTime]) -> Result<Saved, RunError> {
        let mut runs = Vec::with_capacity(files.len());
        for file in files {
            let run = Run::open(&*blobs, &file.name, file.bytes, file.hash)?;
            run.verify(&*blobs)?;
            runs.push(run);
        }
        if planted::is(Bug::OrphanAdopted) {
            let listed = |name: &String| files.iter().any(|file| file.name == *name);
            for name in blobs.list("state/")?.into_iter().filter(|name| !listed(name)) {
                let bytes = blobs.read(&name)?;
                runs.push(Run::open(&*blobs, &name, bytes.len() as u64, run::hash_in(&bytes).unwrap_or(0))?);
            }
        }
        Ok(Saved { blobs, runs, watermarks: watermarks.to_vec(), failure: OnceLock::new() })
    }

    /// Notes that rows could not be read, for whoever loads them.
    pub(super) fn failed(&self, error: &RunError) {
        self.failure.get_or_init(|| error.to_string());
    }

    /// Why what was read of it so far is not all.
    pub fn failure(&self) -> Option<String> {
        self.failure.get().cloned()
    }

    /// Writes the rows that are alive again, as one run for another plan: of the operators that `keeps` says, their
    /// streams at the new positions, with the value that `instead` has for one of an operator's keys.
    pub fn carry(
        &self,
        blobs: &dyn Blobs,
        name: &str,
        keeps: impl Fn(&str) -> bool,
        instead: impl Fn(&str, &[u8], &[u8]) -> Option<Vec<u8>>,
        to: &Positions,
    ) -> Result<Option<StateFile>, RunError> {
        let mut writer = StateWriter::default();
        for entry in newest(&self.runs, &*self.blobs) {
            let (key, value) = entry?;
            let operator = operator_of(&key);
            if let Some((expiry, bytes)) = decode(&value)?.filter(|(expiry, _)| !expiry.is_over(&self.watermarks))
                && keeps(operator)
                && let Some(stream) = to.stream(expiry.stream)
            {
                let expiry = Expiry { stream, ..expiry };
                let own = key.get(operator.len() + 1 + size_of::<u64>()..).unwrap_or_default();
                let other = instead(operator, own, bytes);
                writer.push(&key, &encode_alive(expiry, other.as_deref().unwrap_or(bytes)), Some(expiry));
            }
        }
        writer.create(blobs, name)
    }

    /// The rows of an operator that are alive and whose route `is_ours` says, by route and key.
    pub fn rows<'a>(
        &'a self,
        operator: &str,
        is_ours: impl Fn(u64) -> bool + Clone + 'a,
    ) -> impl Iterator<Item = Result<StateRow, RunError>> + 'a {
        let prefix = prefix_of(operator);
        let skip = prefix.len();
        // What has no route is damaged, and told as that.
        let keeps = move |key: &[u8]| {
            key.get(skip..).and_then(<[u8]>::first_chunk).is_none_or(|route| is_ours(u64::from_be_bytes(*route)))
        };
        newest_of(&self.runs, &*self.blobs, prefix, keeps).filter_map(move |entry| match entry {
            Ok((key, value)) => row_of(key, skip, value, &self.watermarks).transpose(),
            Err(error) => Some(Err(error)),
        })
    }
}

/// Writes rows that changed as a run, if there are any. Of two rows with one key the later counts.
pub fn write(blobs: &dyn Blobs, name: &str, changed: &[State]) -> Result<Option<StateFile>, RunError> {
    let mut operators: BTreeMap<&str, Vec<&StateRow>> = BTreeMap::new();
    for (operator, rows) in changed.iter().flat_map(|state| &state.0) {
        operators.entry(operator).or_default().extend(rows);
    }
    let mut writer = StateWriter::default();
    for (operator, mut rows) in operators {
        rows.sort_by(|a, b| (a.route, &a.key).cmp(&(b.route, &b.key)));
        let newest = rows.chunk_by(|a, b| (a.route, &a.key) == (b.route, &b.key)).filter_map(<[_]>::last);
        let mut key = prefix_of(operator);
        let head = key.len();
        for row in newest {
            key.truncate(head);
            key.extend(row.route.to_be_bytes());
            key.extend(&row.key);
            writer.push(&key, &encode(row), row.value.as_ref().map(|(expiry, _)| *expiry));
        }
    }
    writer.create(blobs, name)
}

/// Merges neighbouring runs, oldest first, into one. What is over is left out, as it hides only what is over too, and where
/// the oldest of all is among them also what is gone, as no older row could come back in its place. There may be no run at
/// all.
pub fn merge(
    blobs: &dyn Blobs,
    name: &str,
    files: &[StateFile],
    oldest: bool,
    watermarks: &[EventTime],
) -> Result<Option<StateFile>, RunError> {
    let open = |file: &StateFile| Run::open(blobs, &file.name, file.bytes, file.hash);
    let runs = files.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let mut writer = StateWriter::default();
    for entry in newest(&runs, blobs) {
        let (key, value) = entry?;
        let expiry = decode(&value)?.map(|(expiry, _)| expiry);
        if expiry.map_or(!oldest, |expiry| !expiry.is_over(watermarks)) {
            writer.push(&key, &value, expiry);
        }
    }
    writer.create(blobs, name)
}

/// A run under way, with what is known of it afterwards.
#[derive(Default)]
struct StateWriter {
    run: RunWriter,
    sizes: Sizes,
    until: BTreeMap<u32, EventTime>,
    hides: bool,
}

impl StateWriter {
    /// A row as it is encoded; one that is gone has no expiry.
    fn push(&mut self, key: &[u8], value: &[u8], expiry: Option<Expiry>) {
        self.run.push(key, value);
        match expiry {
            Some(Expiry { stream, until }) => {
                let longest = self.until.entry(stream).or_insert(until);
                *longest = until.max(*longest);
            }
            None => self.hides = true,
        }
        let operator = operator_of(key);
        let bytes = (key.len() - operator.len() + value.len()) as u64;
        match self.sizes.get_mut(operator) {
            Some(size) => *size += bytes,
            None => drop(self.sizes.insert(operator.to_owned(), bytes)),
        }
    }

    fn create(self, blobs: &dyn Blobs, name: &str) -> Result<Option<StateFile>, RunError> {
        if self.run.entries() == 0 {
            return Ok(None);
        }
        let (bytes, hash) = self.run.finish();
        match blobs.create(name, &bytes)? {
            Created::New => {
                let (name, bytes) = (name.to_owned(), bytes.len() as u64);
                Ok(Some(StateFile { name, bytes, hash, sizes: self.sizes, until: self.until, hides: self.hides }))
            }
            Created::Exists => Err(RunError::Damaged { name: name.to_owned(), what: "it is there already" }),
        }
    }
}

/// Keys are `operator \0 route key`, so that a run is sorted by operator.
fn prefix_of(operator: &str) -> Vec<u8> {
    let mut prefix = operator.as_bytes().to_vec();
    prefix.push(0);
    prefix
}

fn operator_of(key: &[u8]) -> &str {
    let end = key.iter().position(|byte| *byte == 0).unwrap_or(key.len());
    std::str::from_utf8(&key[..end]).expect("operators have names")
}

/// The newest entry of every key.
fn newest<'a>(runs: &'a [Run], blobs: &'a dyn Blobs) -> Newest<'a, Vec<u8>, Vec<u8>> {
    newest_of(runs, blobs, Vec::new(), |_| true)
}

/// The newest entry of every key that begins with `prefix` and that `keeps` says.
fn newest_of<'a>(
    runs: &'a [Run],
    blobs: &'a dyn Blobs,
    prefix: Vec<u8>,
    keeps: impl Fn(&[u8]) -> bool + Clone + 'a,
) -> Newest<'a, Vec<u8>, Vec<u8>> {
    let head = |run: &'a Run| -> merge::Head<'a, Vec<u8>, Vec<u8>> {
        let (from, of, prefix, keeps) = (prefix.clone(), prefix.clone(), prefix.clone(), keeps.clone());
        let within = move |entry: &Result<(Vec<u8>, Vec<u8>), RunError>| match entry {
            Ok((key, _)) => key.starts_with(&prefix),
            Err(_) => true,
        };
        // The first that does not begin with the prefix ends it.
        let keeps = move |key: &[u8]| !key.starts_with(&of) || keeps(key);
        Box::new(run.scan_those(blobs, &from, Box::new(keeps)).take_while(within))
    };
    Newest::of(runs.iter().map(head).collect())
}

const DAMAGED: &str = "it holds something that is no state row";

/// A row's value: nothing if it is gone, else `stream u32 | until i64 | bytes`.
fn encode(row: &StateRow) -> Vec<u8> {
    row.value.as_ref().map_or_else(Vec::new, |(expiry, value)| encode_alive(*expiry, value))
}

fn encode_alive(expiry: Expiry, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(12 + value.len());
    bytes.extend(expiry.stream.to_le_bytes());
    bytes.extend(expiry.until.0.to_le_bytes());
    bytes.extend(value);
    bytes
}

fn decode(value: &[u8]) -> Result<Option<(Expiry, &[u8])>, RunError> {
    if value.is_empty() {
        return Ok(None);
    }
    let split = value.split_first_chunk::<4>().and_then(|(stream, rest)| Some((stream, rest.split_first_chunk::<8>()?)));
    let Some((stream, (until, bytes))) = split else {
        return Err(RunError::Damaged { name: "a run of state".to_owned(), what: DAMAGED });
    };
    let expiry = Expiry { stream: u32::from_le_bytes(*stream), until: EventTime(i64::from_le_bytes(*until)) };
    Ok(Some((expiry, bytes)))
}

/// A row from its entry, whose key begins with `skip` bytes that say whose it is.
fn row_of(mut key: Vec<u8>, skip: usize, mut value: Vec<u8>, watermarks: &[EventTime]) -> Result<Option<StateRow>, RunError> {
    let Some((expiry, bytes)) = decode(&value)?.filter(|(expiry, _)| !expiry.is_over(watermarks)) else { return Ok(None) };
    let head = value.len() - bytes.len();
    let Some(route) = key[skip..].first_chunk::<8>().copied() else {
        return Err(RunError::Damaged { name: "a run of state".to_owned(), what: DAMAGED });
    };
    // In place: a start reads millions of them.
    key.drain(..skip + route.len());
    value.drain(..head);
    Ok(Some(StateRow { route: u64::from_be_bytes(route), key, value: Some((expiry, value)) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::blobs::MemoryBlobs;

    const W: EventTime = EventTime(100);

    fn row(key: u8, value: u8, until: i64) -> StateRow {
        StateRow { route: 7, key: vec![key], value: Some((Expiry { stream: 0, until: EventTime(until) }, vec![value])) }
    }

    fn gone(key: u8) -> StateRow {
        StateRow { route: 7, key: vec![key], value: None }
    }

    fn changed(operator: &str, rows: Vec<StateRow>) -> State {
        State(BTreeMap::from([(operator.to_owned(), rows)]))
    }

    fn alive(blobs: &Arc<MemoryBlobs>, files: &[StateFile]) -> Vec<(u8, u8)> {
        let saved = Saved::open(blobs.clone(), files, &[W]).unwrap();
        let pair = |row: StateRow| (row.key[0], row.value.unwrap().1[0]);
        assert_eq!(saved.rows("other", |_| true).count(), 1);
        saved.rows("own", |_| true).map(|row| pair(row.unwrap())).collect()
    }

    fn entries(blobs: &Arc<MemoryBlobs>, file: &StateFile) -> usize {
        Run::open(&**blobs, &file.name, file.bytes, file.hash).unwrap().scan(&**blobs, &[]).count()
    }

    #[test]
    fn merged_or_not_the_newest_row_counts_and_what_is_over_or_gone_does_not() {
        let blobs = Arc::new(MemoryBlobs::default());
        let first = [changed("own", vec![row(1, 1, 500), row(2, 1, 500), row(3, 1, 90), row(4, 1, 500)])];
        // Two workers, and a row that was saved twice before a checkpoint was written.
        let second = [
            changed("own", vec![row(2, 2, 500), gone(1)]),
            changed("own", vec![row(5, 2, 100), row(6, 2, 101)]),
            changed("own", vec![row(2, 3, 500)]),
            changed("other", vec![row(9, 9, 500)]),
        ];
        let third = [changed("own", vec![gone(4), row(1, 4, 500)])];
        let files: Vec<StateFile> = [&first[..], &second, &third]
            .iter()
            .enumerate()
            .map(|(n, rows)| write(&*blobs, &format!("state/{n}"), rows).unwrap().unwrap())
            .collect();
        let expected = [(1, 4), (2, 3), (6, 2)];
        assert_eq!(alive(&blobs, &files), expected);

        let newer = merge(&*blobs, "state/3", &files[1..], false, &[W]).unwrap().unwrap();
        assert_eq!(alive(&blobs, &[files[0].clone(), newer.clone()]), expected, "what is gone hides the older row");
        let all = merge(&*blobs, "state/4", &[files[0].clone(), newer], true, &[W]).unwrap().unwrap();
        assert_eq!(alive(&blobs, std::slice::from_ref(&all)), expected);
        assert_eq!(entries(&blobs, &all), 4, "nothing else is left");
        assert_eq!(all.sizes.keys().collect::<Vec<_>>(), ["other", "own"]);
        assert_eq!(merge(&*blobs, "state/5", &[all], true, &[EventTime(1_000)]).unwrap(), None);
        assert_eq!(write(&*blobs, "state/6", &[changed("own", vec![])]).unwrap(), None);
    }

    /// Symptom: what a quiet job had saved stayed on the disk, and was read at each start, until new runs outgrew it.
    /// Whatever is left out at whichever W, exactly the same rows are alive as with all runs.
    #[test]
    fn runs_that_are_over_are_not_listed_any_more() {
        let blobs = Arc::new(MemoryBlobs::default());
        let runs = [
            vec![row(1, 1, 50), row(2, 1, 90)],
            vec![row(1, 2, 60), row(3, 2, 300)],
            // Hides what would come back: row 3 until 300.
            vec![gone(3), row(4, 3, 70)],
            vec![row(4, 4, 80)],
            vec![gone(4)],
            vec![row(5, 6, 400)],
        ];
        let written = |(n, rows): (usize, &Vec<StateRow>)| {
            write(&*blobs, &format!("state/{n}"), &[changed("own", rows.clone())]).unwrap().unwrap()
        };
        let files: Vec<StateFile> = runs.iter().enumerate().map(written).collect();
        let alive = |files: &[StateFile], w: i64| -> Vec<StateRow> {
            let saved = Saved::open(blobs.clone(), files, &[EventTime(w)]).unwrap();
            saved.rows("own", |_| true).map(Result::unwrap).collect()
        };
        let left = |w: i64| -> Vec<usize> {
            let needed = needed(&files, &[EventTime(w)]);
            assert_eq!(alive(&needed, w), alive(&files, w), "at {w}");
            needed.iter().map(|file| file.name[6..].parse().unwrap()).collect()
        };
        for w in 0..410 {
            left(w);
        }
        assert_eq!(left(49), [0, 1, 2, 3, 4, 5]);
        assert_eq!(left(80), [0, 1, 2, 4, 5], "in the middle, where nothing is hidden");
        assert_eq!(left(90), [1, 2, 4, 5]);
        assert_eq!(left(299), [1, 2, 4, 5]);
        assert_eq!(left(300), [5], "nothing is left that they hide");
        assert_eq!(left(400), [0; 0]);

        // Merged without the oldest: what is over goes, what is gone stays.
        let merged = merge(&*blobs, "state/9", &files[1..5], false, &[EventTime(80)]).unwrap().unwrap();
        assert_eq!(alive(&[files[0].clone(), merged.clone(), files[5].clone()], 80), alive(&files, 80));
        assert_eq!(entries(&blobs, &merged), 2);
        assert!(merged.hides && merged.until.is_empty(), "{merged:?}");
    }

    /// Of a stream that has no end, and of another one.
    #[test]
    fn a_run_is_over_once_all_its_streams_are() {
        let blobs = MemoryBlobs::default();
        let of =
            |key, stream, until| StateRow { value: Some((Expiry { stream, until: EventTime(until) }, vec![1])), ..gone(key) };
        let file = |name: &str, rows| write(&blobs, name, &[changed("own", rows)]).unwrap().unwrap();
        let files = [file("state/0", vec![of(1, 0, 10), of(2, 1, 20)]), file("state/1", vec![of(3, 0, i64::MAX), of(4, 1, 5)])];
        let left = |w: [i64; 2]| needed(&files, &w.map(EventTime)).len();
        assert_eq!([[9, 20], [10, 19], [10, 20], [i64::MAX, i64::MAX]].map(left), [2, 2, 1, 1]);
    }

    #[test]
    fn damage_is_found_while_opening() {
        let blobs = Arc::new(MemoryBlobs::default());
        let file = write(&*blobs, "state/0", &[changed("own", vec![row(1, 1, 500)])]).unwrap().unwrap();
        let mut bytes = blobs.read("state/0").unwrap();
        bytes[20] ^= 1;
        blobs.delete("state/0").unwrap();
        blobs.create("state/0", &bytes).unwrap();
        assert!(matches!(Saved::open(blobs, &[file], &[W]), Err(RunError::Damaged { .. })));
    }
}
