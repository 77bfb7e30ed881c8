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
use crate::run::{Run, RunError, RunWriter};
use crate::time::EventTime;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A run of saved rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateFile {
    /// The blob.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Bytes of its rows, by operator.
    pub sizes: Sizes,
}

/// State as a checkpoint lists it.
pub struct Saved {
    blobs: Arc<dyn Blobs>,
    /// Oldest first.
    runs: Vec<Run>,
    /// W of each stream of the plan.
    watermarks: Vec<EventTime>,
}

impl Saved {
    /// Of a new job: nothing.
    pub fn nothing(blobs: Arc<dyn Blobs>) -> Saved {
        Saved { blobs, runs: Vec::new(), watermarks: Vec::new() }
    }

    /// Opens what a checkpoint lists, oldest first, as of W. Every block is checked now, while an older checkpoint can
    /// still take this one's place.
    pub fn open(blobs: Arc<dyn Blobs>, files: &[StateFile], watermarks: &[EventTime]) -> Result<Saved, RunError> {
        let mut runs = Vec::with_capacity(files.len());
        for file in files {
            let run = Run::open(&*blobs, &file.name, file.bytes)?;
            run.verify(&*blobs)?;
            runs.push(run);
        }
        if planted::is(Bug::OrphanAdopted) {
            let listed = |name: &String| files.iter().any(|file| file.name == *name);
            for name in blobs.list("state/")?.into_iter().filter(|name| !listed(name)) {
                runs.push(Run::open(&*blobs, &name, blobs.read(&name)?.len() as u64)?);
            }
        }
        Ok(Saved { blobs, runs, watermarks: watermarks.to_vec() })
    }

    /// Writes the rows that are alive again, as one run for another plan: of the operators that `keeps` says, their
    /// streams at the new positions.
    pub fn carry(
        &self,
        blobs: &dyn Blobs,
        name: &str,
        keeps: impl Fn(&str) -> bool,
        to: &Positions,
    ) -> Result<Option<StateFile>, RunError> {
        let mut writer = StateWriter::default();
        for entry in newest(&self.runs, &*self.blobs, Vec::new()) {
            let (key, value) = entry?;
            let operator = operator_of(&key);
            if let Some((expiry, bytes)) = decode(&value)?.filter(|(expiry, _)| !expiry.is_over(&self.watermarks))
                && keeps(operator)
                && let Some(stream) = to.stream(expiry.stream)
            {
                writer.push(&key, &encode_alive(Expiry { stream, ..expiry }, bytes));
            }
        }
        writer.create(blobs, name)
    }

    /// The rows of an operator that are alive, by route and key.
    pub fn rows(&self, operator: &str) -> impl Iterator<Item = Result<StateRow, RunError>> {
        let prefix = prefix_of(operator);
        let skip = prefix.len();
        newest(&self.runs, &*self.blobs, prefix).filter_map(move |entry| match entry {
            Ok((key, value)) => row_of(&key[skip..], &value, &self.watermarks).transpose(),
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
            writer.push(&key, &encode(row));
        }
    }
    writer.create(blobs, name)
}

/// Merges neighbouring runs, oldest first, into one. Where the oldest of all is among them, what is gone or over is left
/// out, as no older row could come back in its place, and there may be no run at all.
pub fn merge(
    blobs: &dyn Blobs,
    name: &str,
    files: &[StateFile],
    oldest: bool,
    watermarks: &[EventTime],
) -> Result<Option<StateFile>, RunError> {
    let open = |file: &StateFile| Run::open(blobs, &file.name, file.bytes);
    let runs = files.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let mut writer = StateWriter::default();
    for entry in newest(&runs, blobs, Vec::new()) {
        let (key, value) = entry?;
        let is_alive = decode(&value)?.is_some_and(|(expiry, _)| !expiry.is_over(watermarks));
        if !oldest || is_alive {
            writer.push(&key, &value);
        }
    }
    writer.create(blobs, name)
}

/// A run under way, with the bytes of each operator.
#[derive(Default)]
struct StateWriter {
    run: RunWriter,
    sizes: Sizes,
}

impl StateWriter {
    fn push(&mut self, key: &[u8], value: &[u8]) {
        self.run.push(key, value);
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
        let bytes = self.run.finish();
        match blobs.create(name, &bytes)? {
            Created::New => Ok(Some(StateFile { name: name.to_owned(), bytes: bytes.len() as u64, sizes: self.sizes })),
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

/// The newest entry of every key that begins with `prefix`.
fn newest<'a>(runs: &'a [Run], blobs: &'a dyn Blobs, prefix: Vec<u8>) -> Newest<'a, Vec<u8>, Vec<u8>> {
    let head = |run: &'a Run| -> merge::Head<'a, Vec<u8>, Vec<u8>> {
        let (from, prefix) = (prefix.clone(), prefix.clone());
        let within = move |entry: &Result<(Vec<u8>, Vec<u8>), RunError>| match entry {
            Ok((key, _)) => key.starts_with(&prefix),
            Err(_) => true,
        };
        Box::new(run.scan(blobs, &from).take_while(within))
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

fn row_of(key: &[u8], value: &[u8], watermarks: &[EventTime]) -> Result<Option<StateRow>, RunError> {
    let Some((expiry, bytes)) = decode(value)?.filter(|(expiry, _)| !expiry.is_over(watermarks)) else { return Ok(None) };
    let Some((route, key)) = key.split_first_chunk::<8>() else {
        return Err(RunError::Damaged { name: "a run of state".to_owned(), what: DAMAGED });
    };
    let value = Some((expiry, bytes.to_vec()));
    Ok(Some(StateRow { route: u64::from_be_bytes(*route), key: key.to_vec(), value }))
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
        assert_eq!(saved.rows("other").count(), 1);
        saved.rows("own").map(|row| pair(row.unwrap())).collect()
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
        let run = Run::open(&*blobs, &all.name, all.bytes).unwrap();
        assert_eq!(run.entries(), 4, "nothing else is left");
        assert_eq!(all.sizes.keys().collect::<Vec<_>>(), ["other", "own"]);
        assert_eq!(merge(&*blobs, "state/5", &[all], true, &[EventTime(1_000)]).unwrap(), None);
        assert_eq!(write(&*blobs, "state/6", &[changed("own", vec![])]).unwrap(), None);
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
