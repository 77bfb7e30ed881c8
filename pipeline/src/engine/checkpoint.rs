//! Checkpoints at a closed frontier, and the one way back from them.
//!
//! Written on a thread of its own while events flow: ledger run, a run of the state that changed, manifest, each a new
//! blob named by generation; only then does the engine append `Checkpoint` to the log, which is the commit point. A
//! manifest is a full list, and nothing that none lists is ever read. The last two checkpoints are kept.

use super::EngineError;
use crate::chain::LastRead;
use crate::ledger::{Cursor, Keep, Ledger, RunEntry};
use crate::log::{Checkpoint, Fingerprint, LogRecord, Slot};
use crate::operators::collect::{Counts, RowCounts};
use crate::ports::blobs::{BlobError, Blobs};
use crate::record::{Offset, Partition};
use crate::run::RunError;
use crate::state::{self, Held, Saved, Sizes, State, StateFile};
use crate::time::{Epoch, EventTime, Version};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// What a checkpoint holds, with the full list of its files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// State as of the end of this epoch.
    pub epoch: Epoch,
    /// Its version.
    pub opened: Version,
    /// The job and build that wrote it.
    pub fingerprint: Fingerprint,
    /// Positions and clocks of each source stream.
    pub streams: BTreeMap<u32, SourceState>,
    /// Verdicts so far.
    pub counts: Vec<((u32, crate::record::Verdict), (u64, u64))>,
    /// Row changes so far.
    pub row_counts: RowCounts,
    /// Operators' rows, oldest run first.
    pub state: Vec<StateFile>,
    /// W of each stream of the plan: decides which rows are over.
    pub watermarks: Vec<EventTime>,
    /// How much state there is.
    pub held: Held,
    /// The ledger's runs.
    pub ledger: Vec<RunEntry>,
    /// How far each sink had written, by name.
    pub cursors: BTreeMap<String, Cursor>,
    /// The input had ended.
    pub ended: bool,
    /// Views that came to a job which had begun, by name: they have the windows that start here or later.
    pub begins: BTreeMap<String, EventTime>,
    /// For each view, up to which window end the ledger may have forgotten rows.
    pub forgotten: Vec<EventTime>,
}

/// What a manifest begins with: a later release that writes more into it gives it another number, and reads this one too.
const TAG: &[u8; 8] = b"caudman1";

impl Manifest {
    /// The bytes of its file.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, TAG.to_vec()).expect("a manifest is plain data")
    }

    /// A manifest from the bytes of its file, or why they are none.
    pub fn decode(bytes: &[u8]) -> Result<Manifest, String> {
        let Some(content) = bytes.strip_prefix(TAG) else {
            let is_manifest = bytes.starts_with(&TAG[..TAG.len() - 1]);
            return Err(if is_manifest { "another release of caudal wrote it" } else { "it is no manifest" }.to_owned());
        };
        postcard::from_bytes(content).map_err(|error| error.to_string())
    }
}

/// A source stream's positions and clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceState {
    /// W.
    pub watermark: EventTime,
    /// In the order of their bound positions: name, next offset, newest event time.
    pub partitions: Vec<(Partition, Offset, Option<EventTime>)>,
    /// Of each of them: the message before that offset, if one was read.
    pub last: Vec<Option<LastRead>>,
}

/// Everything that a checkpoint writes.
pub struct Job {
    pub(super) blobs: Arc<dyn Blobs>,
    pub(super) generation: u64,
    pub(super) ledger: Arc<Ledger>,
    pub(super) keep: Keep,
    /// Rows that changed since the newest checkpoint in the log, older ones first.
    pub(super) changed: Arc<Vec<State>>,
    /// Complete but for the files that are written now.
    pub(super) manifest: Manifest,
}

/// A checkpoint whose files are written.
pub struct Written {
    /// What is to be appended to the log.
    pub checkpoint: Checkpoint,
    /// Its files.
    pub manifest: Manifest,
}

impl Job {
    /// Writes all files and the manifest.
    pub fn write(mut self) -> Result<Written, RunError> {
        let epoch = self.manifest.epoch;
        self.manifest.ledger = self.ledger.seal(&self.keep)?;
        let name = format!("state/{:010}-{:020}", self.generation, epoch.0);
        let written = state::write(&*self.blobs, &name, &self.changed)?;
        self.manifest.state.extend(written.clone());
        match write_manifest(&*self.blobs, self.generation, &self.manifest) {
            Ok(checkpoint) => Ok(Written { checkpoint, manifest: self.manifest }),
            Err(error) => {
                // On a full disk the next attempt needs the space.
                written.iter().try_for_each(|file| self.blobs.delete(&file.name))?;
                Err(error.into())
            }
        }
    }
}

/// Writes a manifest, and says what is to be appended to the log.
pub fn write_manifest(blobs: &dyn Blobs, generation: u64, manifest: &Manifest) -> Result<Checkpoint, BlobError> {
    let bytes = manifest.encode();
    let name = format!("manifest/{generation:010}-{:020}", manifest.epoch.0);
    blobs.create(&name, &bytes)?;
    Ok(Checkpoint { epoch: manifest.epoch, manifest: name, hash: xxhash_rust::xxh3::xxh3_64(&bytes) })
}

/// The newest checkpoint of the log whose files all verify, with its state; failing ones are told by `alarm`. What the store
/// does not give is damaged if it gives an older one; else it may come back.
pub fn newest(
    blobs: &Arc<dyn Blobs>,
    generation: u64,
    log: &[Slot],
    mut alarm: impl FnMut(&str),
) -> Result<Option<(u64, Manifest, Saved, Ledger)>, EngineError> {
    let (mut seen, mut away) = (false, None);
    for (seq, record) in log.iter().rev() {
        let LogRecord::Checkpoint(checkpoint) = record else { continue };
        seen = true;
        match open(blobs, generation, checkpoint) {
            Ok((manifest, state, ledger)) => return Ok(Some((*seq, manifest, state, ledger))),
            Err(why) => {
                alarm(&format!("checkpoint of epoch {} cannot be used: {why}", checkpoint.epoch.0));
                away = away.or(why.is_away().then_some(why));
            }
        }
    }
    if let Some(why) = away {
        return Err(EngineError::Failed(why.to_string()));
    }
    if seen {
        return Err(EngineError::Refused(
            "no checkpoint can be used: restore the state folder from a backup, or start with a new one and replay".into(),
        ));
    }
    Ok(None)
}

/// Why a checkpoint was not opened.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// Its files are not what was written.
    #[error("{0}")]
    Damaged(String),
    /// The store did not give them.
    #[error("{0}")]
    Away(String),
}

impl Unusable {
    /// Whether it may be usable another time.
    pub fn is_away(&self) -> bool {
        matches!(self, Unusable::Away(_))
    }
}

impl From<BlobError> for Unusable {
    fn from(error: BlobError) -> Unusable {
        match &error {
            BlobError::Missing(_) => Unusable::Damaged(error.to_string()),
            BlobError::Full { .. } | BlobError::Io { .. } => Unusable::Away(error.to_string()),
        }
    }
}

impl From<RunError> for Unusable {
    fn from(error: RunError) -> Unusable {
        match error {
            RunError::Blob(error) => error.into(),
            RunError::Damaged { .. } => Unusable::Damaged(error.to_string()),
        }
    }
}

fn open(blobs: &Arc<dyn Blobs>, generation: u64, checkpoint: &Checkpoint) -> Result<(Manifest, Saved, Ledger), Unusable> {
    let manifest = read(&**blobs, checkpoint)?;
    let state = Saved::open(blobs.clone(), &manifest.state, &manifest.watermarks)?;
    let ledger = Ledger::open(blobs.clone(), generation, manifest.epoch, &manifest.ledger)?;
    Ok((manifest, state, ledger))
}

/// A checkpoint's manifest, if it is what was written.
pub fn read(blobs: &dyn Blobs, checkpoint: &Checkpoint) -> Result<Manifest, Unusable> {
    let bytes = blobs.read(&checkpoint.manifest)?;
    if xxhash_rust::xxh3::xxh3_64(&bytes) != checkpoint.hash {
        return Err(Unusable::Damaged(format!("{} is damaged", checkpoint.manifest)));
    }
    let unreadable = |why| Unusable::Damaged(format!("{} cannot be read: {why}", checkpoint.manifest));
    Manifest::decode(&bytes).map_err(unreadable)
}

/// Deletes what processes of these generations have written, the last two checkpoints do not list and the next will not.
pub fn clean_up(
    blobs: &dyn Blobs,
    generations: &RangeInclusive<u64>,
    ledger: &Ledger,
    kept: &[(Checkpoint, Manifest)],
    next: &[&str],
) -> Result<(), BlobError> {
    let files = kept.iter().flat_map(|(_, m)| &m.state).map(|file| file.name.as_str());
    let state: Vec<&str> = files.chain(next.iter().copied()).collect();
    let manifests: Vec<&str> = kept.iter().map(|(checkpoint, _)| checkpoint.manifest.as_str()).collect();
    for (prefix, listed) in [("state/", state), ("manifest/", manifests)] {
        for name in blobs.list(prefix)? {
            if crate::ledger::is_of(&name, generations) && !listed.contains(&name.as_str()) {
                blobs.delete(&name)?;
            }
        }
    }
    let runs: Vec<&RunEntry> = kept.iter().flat_map(|(_, m)| &m.ledger).collect();
    ledger.clean_up(&runs, generations)
}

/// Bytes of saved rows in these files, by operator.
pub fn sizes(files: &[StateFile]) -> Sizes {
    let mut sizes = Sizes::new();
    for (operator, bytes) in files.iter().flat_map(|file| &file.sizes) {
        *sizes.entry(operator.clone()).or_default() += bytes;
    }
    sizes
}

/// Counts as the manifest keeps them.
pub fn flat(counts: &Counts) -> Vec<((u32, crate::record::Verdict), (u64, u64))> {
    counts.iter().map(|(key, count)| (*key, *count)).collect()
}
