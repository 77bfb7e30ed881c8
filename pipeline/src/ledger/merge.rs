//! Merging sealed runs: fewer files to read, and the place where what nobody needs any more is left out.
//!
//! Runs are merged like the digits of a binary counter: the newest ones for as long as together they are at least as
//! large as the next older one. So there are about log₂(all / newest) of them, and a row is rewritten as often.

use super::key::Key;
use super::scan::{self, Newest};
use super::table::Stored;
use super::{LOCK, Ledger, OpenRun};
use crate::run::{RunError, RunWriter};
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

/// How many of the newest runs to merge; fewer than two is not worth it. `sizes` are oldest first.
fn newest_to_merge(sizes: &[u64]) -> usize {
    let (mut count, mut together) = (0, 0);
    for size in sizes.iter().rev() {
        if count > 0 && together < *size {
            break;
        }
        together += size;
        count += 1;
    }
    count
}

impl Ledger {
    pub(super) fn merge(&self, keep: &Keep) -> Result<(), RunError> {
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

#[cfg(test)]
mod tests {
    use super::newest_to_merge;

    #[test]
    fn runs_merge_like_a_binary_counter() {
        for (sizes, merged) in
            [(vec![], 0), (vec![5], 1), (vec![5, 5], 2), (vec![100, 5], 1), (vec![100, 8, 5, 5], 3), (vec![16, 8, 5, 5], 4)]
        {
            assert_eq!(newest_to_merge(&sizes), merged, "{sizes:?}");
        }
    }
}
