//! One log through the generations of the process that writes it.
//!
//! ```text
//! FOLDER/{generation:020}/…     this process's log, which began as a copy of the one before
//! ```
//! An older process may still be alive and writing, though it is fenced: what it appends from now on stays with it, and
//! nobody was promised that, for it can never be bound. So whoever starts takes its generation first, and then makes a log
//! of its own: sealed segments are linked, for nobody changes them, and the last one is copied.
//!
//! Older logs are removed by a process that has its own and then still is the newest: who takes over after that finds this
//! one, so nobody's source goes while it is copied.

use super::error::LocalLogError;
use super::segment;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// The folder of `generation`, which begins with what the newest older one holds. One that is there is this process's.
pub(super) fn begin(folder: &Path, generation: u64) -> Result<PathBuf, LocalLogError> {
    let own = folder.join(name_of(generation));
    if own.exists() {
        return Ok(own);
    }
    let unfinished = own.with_extension(UNFINISHED);
    let made = make(folder, generation, &unfinished).and_then(|()| {
        fs::rename(&unfinished, &own)?;
        sync_folder(folder)
    });
    match made {
        Ok(()) => Ok(own),
        Err(error) => {
            // Another try needs the space.
            let _ = remove(&unfinished);
            Err(LocalLogError::io("copy the log of the process before into", &own, &error))
        }
    }
}

/// Removes the logs of older generations. Only for a process that is the newest after [`begin`]. What cannot be removed, as
/// an older process writes to it, is removed at a later start.
pub(super) fn forget_older(folder: &Path, generation: u64) {
    let older = |(of, _): &(u64, PathBuf)| *of < generation;
    let found = [None, Some(UNFINISHED)].into_iter().filter_map(|extension| logs(folder, extension).ok()).flatten();
    found.filter(older).for_each(|(_, path)| drop(remove(&path)));
}

const UNFINISHED: &str = "unfinished";

fn name_of(generation: u64) -> String {
    format!("{generation:020}")
}

/// The logs in `folder` whose names end with `extension`, by generation, in order.
fn logs(folder: &Path, extension: Option<&str>) -> io::Result<Vec<(u64, PathBuf)>> {
    let generation = |path: &Path| {
        let stem = path.file_stem()?.to_str()?;
        let is_one = path.extension().and_then(|of| of.to_str()) == extension;
        stem.parse().ok().filter(|generation| is_one && name_of(*generation) == stem)
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        found.extend(generation(&path).map(|generation| (generation, path)));
    }
    found.sort();
    Ok(found)
}

fn make(folder: &Path, generation: u64, to: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    // Up to the state folder, which is there.
    folder.ancestors().skip(1).take(2).try_for_each(sync_folder)?;
    // Whoever was making one is fenced.
    for (_, path) in logs(folder, Some(UNFINISHED))?.into_iter().filter(|(of, _)| *of < generation) {
        remove(&path)?;
    }
    fs::create_dir(to)?;
    if let Some((_, newest)) = logs(folder, None)?.into_iter().rfind(|(of, _)| *of < generation) {
        for entry in fs::read_dir(newest)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                copy_partition(&entry.path(), &to.join(entry.file_name()))?;
            }
        }
    }
    sync_folder(to)
}

/// What is there now: segments that the old process begins while this runs are not looked at, for they hold nothing that is
/// bound.
fn copy_partition(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    let files = fs::read_dir(from)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
    let (mut segments, others): (Vec<PathBuf>, Vec<PathBuf>) =
        files.into_iter().partition(|path| segment::first_of(path).is_some());
    segments.sort();
    let copy_of = |path: &Path| to.join(path.file_name().expect("a listed file has a name"));
    if let Some(last) = segments.pop() {
        let copy = copy_of(&last);
        fs::copy(&last, &copy)?;
        File::open(copy)?.sync_all()?;
    }
    for path in others {
        fs::hard_link(&path, copy_of(&path))?;
    }
    for path in segments.iter().rev() {
        match fs::hard_link(path, copy_of(path)) {
            // Removed by the old process meanwhile, as it was needed no more; so is what lies before it.
            Err(e) if e.kind() == io::ErrorKind::NotFound => break,
            linked => linked?,
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
