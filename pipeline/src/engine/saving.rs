//! When a checkpoint is due, what goes into it, and what follows from its being in the log.
//!
//! ```text
//! files: run 0, run 1, …, run n ─ checkpoint: changed rows as run n+1 ─▶ manifest lists all ─▶ log
//!               └─ merged in the background ─▶ one run in their place, from the next checkpoint on
//! ```

use super::checkpoint::{self, Manifest, SourceState, Written};
use super::epochs::Now;
use super::{CURSORS, Engine, EngineError, LEDGER_TABLE_BYTES_MAX, Phase};
use crate::ledger::{Cursor, Keep};
use crate::log::{self, Checkpoint, LogError, LogRecord};
use crate::merge::newest_to_merge;
use crate::ports::blobs::BlobError;
use crate::record::Offset;
use crate::run::{CHECKPOINTS_AFTER_FULL, RunError};
use crate::state::{self, Save, State, StateFile};
use crate::time::{Epoch, EventTime, Span, Version};
use std::collections::{BTreeMap, VecDeque};
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread::JoinHandle;

/// Checkpoints under way and kept.
#[derive(Default)]
pub(super) struct Checkpointing {
    pub last_us: Option<i64>,
    /// The epoch that is being saved, until its files are written.
    pub epoch: Option<Epoch>,
    pub result: Option<Receiver<Result<Written, RunError>>>,
    /// The log's slot in which the epoch that is being saved was bound: what is needed beside it lies above.
    pub slot: u64,
    /// The last two, each with its slot as above.
    pub kept: VecDeque<(u64, Checkpoint, Manifest)>,
    pub wanted: bool,
    /// The last attempt found the disk full.
    pub no_space: bool,
    /// Runs of state that the newest checkpoint lists, oldest first; those that were merged since in one.
    pub files: Vec<StateFile>,
    /// Rows that changed since the newest checkpoint in the log, older ones first.
    unsaved: Arc<Vec<State>>,
    merging: Option<Merging>,
    /// The thread that removes log records.
    pruning: Option<JoinHandle<Result<(), BlobError>>>,
    whole: Whole,
    /// So many checkpoints pass before a merge is tried again.
    merges_wait: u32,
}

/// Whether a checkpoint must hold all rows, because a run of earlier ones turned out to be damaged: memory still has them.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Whole {
    /// It need not.
    #[default]
    No,
    /// The next one must.
    Wanted,
    /// The one of this epoch will.
    At(Epoch),
}

impl Checkpointing {
    /// What operators are to save for the checkpoint of `epoch`.
    pub fn saves(&mut self, epoch: Epoch) -> Save {
        if self.whole == Whole::No {
            return Save::Changed;
        }
        self.whole = Whole::At(epoch);
        Save::Whole
    }

    /// Whether the runs that are listed are not known to be damaged.
    pub fn is_sound(&self) -> bool {
        self.whole == Whole::No
    }

    /// Leaves behind what was saved before `epoch`, if its checkpoint holds all rows.
    fn begin_anew(&mut self, epoch: Epoch) {
        if self.whole == Whole::At(epoch) {
            self.whole = Whole::No;
            self.files.clear();
            self.unsaved = Arc::default();
            self.merging = None;
        }
    }
}

/// Runs of state that are being made one.
struct Merging {
    /// Which of the files.
    range: Range<usize>,
    name: String,
    result: Receiver<Result<Option<StateFile>, RunError>>,
}

impl Engine {
    pub(super) fn checkpoint_due(&self, now: Now) -> bool {
        let under_way = self.checkpoint.epoch.is_some() || self.phase == Phase::Replaying;
        let due = self.checkpoint.last_us.is_some_and(|last| now.running_us - last >= self.config.checkpoint_every.0);
        let wanted = self.checkpoint.wanted || !self.checkpoint.is_sound();
        !under_way && (due || wanted || self.ledger.table_bytes() > LEDGER_TABLE_BYTES_MAX)
    }

    /// Starts writing the checkpoint of `epoch` on a thread of its own.
    pub(super) fn begin_checkpoint(
        &mut self,
        epoch: Epoch,
        opened: Version,
        changed: Vec<State>,
        positions: BTreeMap<u32, SourceState>,
        now: Now,
    ) -> Result<(), EngineError> {
        self.checkpoint.begin_anew(epoch);
        self.take_merged()?;
        if self.checkpoint.merging.is_none() {
            // A merge under way counts on the places of the runs that it merges.
            self.checkpoint.files = state::needed(&self.checkpoint.files, &self.status.watermarks);
        }
        let changed = changed.into_iter().filter(|state| !state.0.is_empty());
        Arc::make_mut(&mut self.checkpoint.unsaved).extend(changed);
        // Before the freeze: what a sink adds to the ledger as it moves its cursor must lie in what is sealed.
        let cursors = self.cursors.lock().expect(CURSORS).clone();
        self.ledger.freeze();
        let keep = self.keep(&cursors);
        self.forgotten.iter_mut().zip(&keep.rows_until).for_each(|(so_far, until)| *so_far = (*so_far).max(*until));
        let manifest = Manifest {
            epoch,
            opened,
            fingerprint: self.config.fingerprint,
            streams: positions,
            counts: checkpoint::flat(&self.status.counts),
            row_counts: self.status.row_counts.clone(),
            state: self.checkpoint.files.clone(),
            watermarks: self.status.watermarks.clone(),
            held: self.status.held.clone(),
            ledger: Vec::new(),
            cursors: cursors.clone(),
            ended: self.ended,
            begins: self.status.begins.clone(),
            forgotten: self.forgotten.clone(),
        };
        self.ledger.forget_epochs_before(keep.passed);
        let (blobs, ledger) = (self.config.blobs.clone(), self.ledger.clone());
        let changed = self.checkpoint.unsaved.clone();
        let job = checkpoint::Job { blobs, generation: self.log.generation(), ledger, keep, changed, manifest };
        let (send, receive) = channel();
        std::thread::spawn(move || drop(send.send(job.write())));
        self.checkpoint.result = Some(receive);
        self.checkpoint.wanted = false;
        self.checkpoint.last_us = Some(now.running_us);
        Ok(())
    }

    /// Merges what was loaded, for processes that end before their second checkpoint; not while it is still waited for.
    pub(super) fn merge_loaded(&mut self) {
        if let Some((_, _, manifest)) = self.checkpoint.kept.back().filter(|_| self.phase == Phase::Live) {
            self.begin_merge(manifest.epoch, manifest.watermarks.clone());
        }
    }

    /// Merges the newest runs of state on a thread of its own, where that pays.
    fn begin_merge(&mut self, epoch: Epoch, watermarks: Vec<EventTime>) {
        if self.checkpoint.merging.is_some() || self.phase == Phase::Draining || !self.checkpoint.is_sound() {
            return;
        }
        if self.checkpoint.merges_wait > 0 {
            self.checkpoint.merges_wait -= 1;
            return;
        }
        let sizes: Vec<u64> = self.checkpoint.files.iter().map(|file| file.bytes).collect();
        let range = sizes.len() - newest_to_merge(&sizes)..sizes.len();
        if range.len() < 2 {
            return;
        }
        let name = format!("state/{:010}-{:020}-merged", self.log.generation(), epoch.0);
        let (blobs, files) = (self.config.blobs.clone(), self.checkpoint.files[range.clone()].to_vec());
        let oldest = range.start == 0;
        let (send, result) = channel();
        self.checkpoint.merging = Some(Merging { range, name: name.clone(), result });
        std::thread::spawn(move || drop(send.send(state::merge(&*blobs, &name, &files, oldest, &watermarks))));
    }

    /// Lists a merged run in the place of those it was made from.
    fn take_merged(&mut self) -> Result<(), EngineError> {
        let Some(merging) = &self.checkpoint.merging else { return Ok(()) };
        let merged = match merging.result.try_recv() {
            Err(TryRecvError::Empty) => return Ok(()),
            Ok(Ok(merged)) => Some(merged),
            Ok(Err(RunError::Blob(error @ BlobError::Full { .. }))) => {
                self.checkpoint.merges_wait = CHECKPOINTS_AFTER_FULL;
                self.alarms.push(format!("runs of state are not merged, the job goes on: {error}"));
                None
            }
            Ok(Err(error @ (RunError::Damaged { .. } | RunError::Blob(BlobError::Missing(_))))) => {
                self.checkpoint.whole = Whole::Wanted;
                self.alarms.push(format!("{error}: what was saved cannot be read any more, so all state is saved anew"));
                None
            }
            Ok(Err(error)) => return Err(EngineError::Failed(format!("state could not be merged: {error}"))),
            Err(TryRecvError::Disconnected) => {
                return Err(EngineError::Failed("the thread that merged state has panicked".into()));
            }
        };
        let range = merging.range.clone();
        self.checkpoint.merging = None;
        if let Some(merged) = merged {
            self.checkpoint.files.splice(range, merged);
        }
        Ok(())
    }

    /// What the ledger must keep: for the sink that lags most, for corrections, and for re-publication.
    fn keep(&self, cursors: &BTreeMap<String, Cursor>) -> Keep {
        let of = |name: &String| cursors.get(name).map_or(Epoch(0), Cursor::oldest);
        let passed = self.config.sinks.iter().map(of).min().unwrap_or(self.status.epoch).min(self.status.epoch);
        let watermarks = self.ledger.epoch(passed).map(|info| info.watermarks);
        let until = |(index, view): (usize, &crate::plan::ViewPlan)| {
            let lateness = self.config.plan.streams[view.stream].lateness;
            let (Some(watermarks), Some(retain)) =
                (&watermarks, self.config.retain.get(&index).copied().unwrap_or(Some(Span(0))))
            else {
                return EventTime::MIN;
            };
            watermarks[view.stream].minus(lateness.max(retain))
        };
        Keep { passed, rows_until: self.config.plan.views.iter().enumerate().map(until).collect() }
    }

    /// Appends a written checkpoint to the log: the commit point. Then what is older than the last two goes.
    pub(super) fn finish_checkpoint(&mut self) -> Result<(), EngineError> {
        let Some(receiver) = &self.checkpoint.result else { return Ok(()) };
        let result = match receiver.try_recv() {
            Ok(result) => result,
            Err(TryRecvError::Empty) => return Ok(()),
            Err(TryRecvError::Disconnected) => {
                return Err(EngineError::Failed("the thread that wrote the checkpoint has panicked".into()));
            }
        };
        self.checkpoint.epoch = None;
        self.checkpoint.result = None;
        self.alarms.extend(self.ledger.unmerged());
        let Written { checkpoint, manifest } = match result {
            Ok(written) => written,
            // What was frozen stays frozen and is sealed by the next attempt.
            Err(RunError::Blob(error @ BlobError::Full { .. })) => {
                return self.checkpoint_found_no_space(&error);
            }
            Err(error) => return Err(EngineError::Failed(format!("the checkpoint failed: {error}"))),
        };
        match self.log.append(&LogRecord::Checkpoint(checkpoint.clone())) {
            Ok(_) => {}
            Err(LogError::Blob(error @ BlobError::Full { .. })) => {
                return self.checkpoint_found_no_space(&error);
            }
            Err(error) => return Err(error.into()),
        }
        if std::mem::replace(&mut self.checkpoint.no_space, false) {
            self.alarms.push("there is space for checkpoints again: reading goes on".into());
        }
        self.status.checkpoint = Some((manifest.epoch, manifest.opened));
        self.status.state_bytes = checkpoint::sizes(&manifest.state);
        self.checkpoint.unsaved = Arc::default();
        self.checkpoint.files.clone_from(&manifest.state);
        self.begin_merge(manifest.epoch, manifest.watermarks.clone());
        self.finished.checkpoints.extend(self.checkpoint.last_us);
        self.tell_sources(&manifest);
        self.checkpoint.kept.push_back((self.checkpoint.slot, checkpoint, manifest));
        while self.checkpoint.kept.len() > 2 {
            self.checkpoint.kept.pop_front();
        }
        self.clean_up(0..=self.log.generation())?;
        if self.checkpoint.kept.len() == 2 {
            // What was bound while the older one was being written lies before its record, and belongs to its replay.
            self.begin_pruning(self.checkpoint.kept[0].0)?;
        }
        Ok(())
    }

    /// Removes log records on a thread of its own: a store may take long for each. While one goes on none begins; what is left
    /// then, or when the process ends, goes with the next.
    fn begin_pruning(&mut self, seq: u64) -> Result<(), EngineError> {
        if self.pruned()? {
            let blobs = self.config.blobs.clone();
            self.checkpoint.pruning = Some(std::thread::spawn(move || log::prune(&*blobs, seq)));
        }
        Ok(())
    }

    /// Whether no log records are being removed.
    pub(super) fn pruned(&mut self) -> Result<bool, EngineError> {
        let Some(pruning) = self.checkpoint.pruning.take_if(|pruning| pruning.is_finished()) else {
            return Ok(self.checkpoint.pruning.is_none());
        };
        let outcome = pruning.join().map_err(|_| EngineError::Failed("the thread that pruned the log has panicked".into()))?;
        outcome.map(|()| true).map_err(|error| EngineError::Failed(error.to_string()))
    }

    /// Without checkpoints the ledger's table grows, so nothing is read until one is written: each epoch, empty now,
    /// tries again. What this attempt wrote goes at once: every attempt writes its own, and the next needs the space.
    fn checkpoint_found_no_space(&mut self, error: &BlobError) -> Result<(), EngineError> {
        self.checkpoint.wanted = true;
        if !std::mem::replace(&mut self.checkpoint.no_space, true) {
            self.alarms.push(format!("no checkpoint: {error}: reading stops until there is space"));
        }
        // Only what is ours: the older of two checkpoints from before the start is not among those kept.
        self.clean_up(self.log.generation()..=self.log.generation())
    }

    /// Removes what processes of these generations wrote and neither a kept checkpoint lists nor the next one will.
    fn clean_up(&self, generations: RangeInclusive<u64>) -> Result<(), EngineError> {
        let kept: Vec<_> = self.checkpoint.kept.iter().map(|(_, c, m)| (c.clone(), m.clone())).collect();
        let failed = |error: BlobError| EngineError::Failed(error.to_string());
        let merging = self.checkpoint.merging.as_ref().map(|merging| merging.name.as_str());
        let merged = self.checkpoint.files.iter().map(|file| file.name.as_str());
        let next: Vec<&str> = merged.chain(merging).collect();
        checkpoint::clean_up(&*self.config.blobs, &generations, &self.ledger, &kept, &next).map_err(failed)
    }

    /// Local logs may be pruned below what both kept checkpoints have passed.
    fn tell_sources(&self, manifest: &Manifest) {
        let older = self.checkpoint.kept.back().map(|(_, _, m)| m);
        for (stream, state) in &manifest.streams {
            for (at, (partition, next, _)) in state.partitions.iter().enumerate() {
                let durable = older.and_then(|m| m.streams.get(stream)?.partitions.get(at)).map_or(Offset(0), |p| p.1);
                self.config.sources[stream].bound(partition, *next, durable);
            }
        }
    }
}
