//! One log through the generations of the process that writes it.
//!
//! ```text
//! FOLDER/{generation:020}/…     this process's log, which began as a copy of the one before
//! ```
//! An older process may still be alive and writing, though it is fenced: what it appends from now on stays with it, and
//! nobody was promised that, for it can never be bound. So whoever starts takes its generation first, and then makes a log
//! of its own: sealed segments are linked, for nobody changes them, and the last one is copied.

use super::error::LocalLogError;
use super::segment;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Makes the folder of `generation`, which begins with what the newest older one holds.
pub(super) fn begin(folder: &Path, generation: u64) -> Result<PathBuf, LocalLogError> {
    let own = folder.join(name_of(generation));
    copy_newest(folder, generation, &own)?;
    Ok(own)
}

/// Makes `to` hold what the newest log of a generation before `generation` holds, and nothing else.
pub(super) fn copy_newest(folder: &Path, generation: u64, to: &Path) -> Result<(), LocalLogError> {
    let run = || -> io::Result<()> {
        let is_older = |path: &PathBuf| path.extension().is_none() && generation_of(path).is_some_and(|of| of < generation);
        let newest = folders(folder)?.into_iter().filter(is_older).max();
        let unfinished = to.with_extension("unfinished");
        remove(&unfinished)?;
        fs::create_dir_all(&unfinished)?;
        for partition in newest.map_or(Ok(Vec::new()), |newest| folders(&newest))? {
            copy_partition(&partition, &unfinished.join(partition.file_name().expect("a listed folder has a name")))?;
        }
        sync_folder(&unfinished)?;
        remove(to)?;
        fs::rename(&unfinished, to)?;
        to.parent().map_or(Ok(()), sync_folder)
    };
    run().map_err(|e| LocalLogError::io("take over the local log into", to, &e))
}

/// Removes what is of older generations. What an older process keeps on writing to is removed at a later start.
pub(super) fn forget_older(folder: &Path, generation: u64) {
    let older =
        folders(folder).unwrap_or_default().into_iter().filter(|path| generation_of(path).is_some_and(|of| of < generation));
    older.for_each(|path| drop(remove(&path)));
}

fn name_of(generation: u64) -> String {
    format!("{generation:020}")
}

/// Of a log, or of one that is not finished.
fn generation_of(path: &Path) -> Option<u64> {
    path.file_stem()?.to_str()?.parse().ok()
}

/// The folders in a folder, which may be missing.
fn folders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let is_folder = |entry: &io::Result<fs::DirEntry>| entry.as_ref().map_or(true, |entry| entry.path().is_dir());
    entries.filter(is_folder).map(|entry| Ok(entry?.path())).collect()
}

fn copy_partition(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    let last = segment::list(from)?.pop().map(|last| last.path);
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let copy = to.join(path.file_name().expect("a listed file has a name"));
        if Some(&path) == last.as_ref() {
            fs::copy(&path, &copy)?;
            File::open(copy)?.sync_all()?;
            continue;
        }
        match fs::hard_link(&path, copy) {
            // Pruned by the old process meanwhile: what it had durably taken over is needed no more.
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    sync_folder(to)
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
