//! `as_of.json`: how far the files go. Replaced whole at the end of each cut, which is what makes the cut count.

use caudal_pipeline::time::{Epoch, Version};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// The name of the file.
pub(super) const FILE: &str = "as_of.json";

/// What is written, as of the newest cut.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// The job that writes here.
    pub(super) job: String,
    /// The newest cut's last epoch.
    pub(super) epoch: Epoch,
    /// The newest cut's version.
    pub(super) version: Version,
    /// For each view, up to which window end it is complete and final.
    pub(super) views: BTreeMap<String, ViewUntil>,
    /// How many bytes of each file count.
    pub(super) bytes: BTreeMap<String, u64>,
    /// The columns of each CSV file.
    #[serde(default)]
    pub(super) columns: BTreeMap<String, Vec<String>>,
    /// They hold pages of a cut that is not complete.
    #[serde(default)]
    pub(super) in_pages: bool,
    /// How long the files were some while ago, oldest first: where to look for what a repeated cut brings again.
    #[serde(default)]
    pub(super) marks: Vec<Mark>,
}

/// How long the files were at the end of a cut.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) epoch: Epoch,
    pub(super) bytes: BTreeMap<String, u64>,
}

/// Epochs between marks, and how many are kept: a cursor that is restored is a checkpoint or two old.
const MARK_EVERY: u64 = 600;
const MARKS: usize = 8;

impl Progress {
    /// Keeps a mark of the present lengths, if the last one is old.
    pub(super) fn mark(&mut self) {
        if self.marks.last().is_none_or(|last| last.epoch.0 + MARK_EVERY <= self.epoch.0) {
            self.marks.push(Mark { epoch: self.epoch, bytes: self.bytes.clone() });
            self.marks.drain(..self.marks.len().saturating_sub(MARKS));
        }
    }

    /// A length of `file` at which nothing after `epoch` was in it yet.
    pub(super) fn length_before(&self, file: &str, epoch: Epoch) -> u64 {
        let mark = self.marks.iter().rev().find(|mark| mark.epoch <= epoch);
        mark.and_then(|mark| mark.bytes.get(file)).copied().unwrap_or(0)
    }
}

/// A view's frontiers as RFC 3339; absent where there is none yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ViewUntil {
    pub(super) complete_until: Option<String>,
    pub(super) final_until: Option<String>,
}

/// Reads it; `None` when there is none.
pub(super) fn read(folder: &Path) -> io::Result<Option<Progress>> {
    match fs::read(folder.join(FILE)) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::other),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Replaces it, durably.
pub(super) fn replace(folder: &Path, progress: &Progress) -> io::Result<()> {
    let temporary = folder.join(format!(".{FILE}"));
    let mut file = File::create(&temporary)?;
    serde_json::to_writer_pretty(&mut file, progress).map_err(io::Error::other)?;
    writeln!(file)?;
    file.sync_all()?;
    fs::rename(&temporary, folder.join(FILE))?;
    File::open(folder)?.sync_all()
}
