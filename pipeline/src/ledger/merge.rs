//! Merging sealed runs: fewer files to read, and the place where what nobody needs any more is left out.

use super::key::Key;
use super::scan;
use super::table::Stored;
use super::{LOCK, Ledger, OpenRun};
use crate::merge::{Newest, newest_to_merge};
use crate::ports::blobs::BlobError;
use crate::run::{CHECKPOINTS_AFTER_FULL, RunError, RunWriter};
use crate::time::{Epoch, EventTime};
use std::sync::Arc;

/// What must be kept: computed from the sinks' cursors and retentions.
#[derive(Clone, Debug, Default)]
pub struct Keep {
    /// Every follower has passed this epoch.
    pub passed: Epoch,
    /// For each view of the plan: rows that end here or earlier, and were written at `passed` or earlier, can go.
    pub rows_until: Vec<EventTime>,
}

impl Keep {
    fn keeps(&self, key: &Key, stored: &Stored, oldest: bool) -> bool {
        if stored.epoch > self.passed {
            return true;
        }
        match key.as_row().map(|row| (row.view, row.end)).or_else(|| key.as_passing()) {
            Some((view, end)) => {
                let over = self.rows_until.get(view as usize).is_some_and(|until| end <= *until);
                // A newest value may go only where no older run could bring an older one back.
                !oldest || (!over && stored.value.is_some())
            }
            None => Key::epoch_of(key.bytes()) == Some(self.passed),
        }
    }
}

impl Ledger {
    /// Merges runs; on a full disk they stay as they are, and no checkpoint fails for it.
    pub(super) fn merge_if_there_is_space(&self, keep: &Keep) -> Result<(), RunError> {
        let waits = self.read().merges_wait;
        if waits > 0 {
            self.inner.write().expect(LOCK).merges_wait = waits - 1;
            return Ok(());
        }
        match self.merge(keep) {
            Err(RunError::Blob(error @ BlobError::Full { .. })) => {
                let mut inner = self.inner.write().expect(LOCK);
                inner.merges_wait = CHECKPOINTS_AFTER_FULL;
                inner.unmerged = Some(format!("runs of the ledger are not merged, the job goes on: {error}"));
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// Why runs were not merged, since the last call.
    pub fn unmerged(&self) -> Option<String> {
        self.inner.write().expect(LOCK).unmerged.take()
    }

    fn merge(&self, keep: &Keep) -> Result<(), RunError> {
        let runs = self.read().runs.clone();
        let sizes: Vec<u64> = runs.iter().map(|open| open.entry.bytes).collect();
        let first = runs.len() - newest_to_merge(&sizes);
        if runs.len() - first < 2 {
            return Ok(());
        }
        let merged = self.merged(&runs[first..], first == 0, keep)?;
        let mut inner = self.inner.write().expect(LOCK);
        let old: Vec<Arc<OpenRun>> = inner.runs.drain(first..).collect();
        inner.retired.extend(old.iter().map(Arc::downgrade));
        inner.runs.extend(merged);
        Ok(())
    }

    fn merged(&self, runs: &[Arc<OpenRun>], oldest: bool, keep: &Keep) -> Result<Option<Arc<OpenRun>>, RunError> {
        let first = || Key::from_bytes(Vec::new());
        let heads = runs.iter().map(|open| scan::entries(open, &*self.blobs, first(), None, Epoch(0)));
        let (mut writer, mut last) = (RunWriter::new(), Epoch(0));
        for entry in Newest::of(heads.collect()) {
            let (key, stored) = entry?;
            if keep.keeps(&key, &stored, oldest) {
                last = last.max(stored.epoch);
                writer.push(key.bytes(), &stored.encode());
            }
        }
        if writer.entries() == 0 {
            return Ok(None);
        }
        self.write_run(last, false, writer).map(Some)
    }
}
