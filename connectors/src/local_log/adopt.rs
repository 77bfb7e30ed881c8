//! A new generation's log from the old one's, while the old process may still be writing.
//!
//! Sealed segments are linked: nobody changes them. The last one is copied, so that whatever the old process appends
//! from now on stays with it; nobody was promised those records, for they can never be bound.

use super::error::LocalLogError;
use super::segment;
use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Makes `to` hold what `from` holds, unless it is there already. `from` stays as it is; a missing one holds nothing.
pub(super) fn adopt(from: &Path, to: &Path) -> Result<(), LocalLogError> {
    if to.exists() || !from.exists() {
        return Ok(());
    }
    let unfinished = to.with_extension("unfinished");
    let run = || -> io::Result<()> {
        match fs::remove_dir_all(&unfinished) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => fs::create_dir_all(&unfinished)?,
        }
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                adopt_partition(&entry.path(), &unfinished.join(entry.file_name()))?;
            }
        }
        sync_folder(&unfinished)?;
        fs::rename(&unfinished, to)?;
        to.parent().map_or(Ok(()), sync_folder)
    };
    run().map_err(|e| LocalLogError::io("take over the local log into", to, &e))
}

fn adopt_partition(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    let segments = segment::list(from)?;
    let Some((last, sealed)) = segments.split_last() else { return sync_folder(to) };
    for segment in sealed {
        match fs::hard_link(&segment.path, segment::path_of(to, segment.first)) {
            // Pruned by the old process meanwhile: what it had durably taken over is needed no more.
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    let copy = segment::path_of(to, last.first);
    fs::copy(&last.path, &copy)?;
    File::open(copy)?.sync_all()?;
    sync_folder(to)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
