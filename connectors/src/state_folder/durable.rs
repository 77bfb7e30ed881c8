//! Directories and names that are on the disk when the call returns.

use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};

/// What every temporary file's name begins with; no blob's name may.
pub(super) const TEMPORARY: &str = ".tmp-";

/// A temporary name that no other handle, process or container uses: process ids repeat between containers.
pub(super) fn temporary(folder: &Path) -> PathBuf {
    folder.join(format!("{TEMPORARY}{:016x}", RandomState::new().build_hasher().finish()))
}

/// Makes the names in `folder` durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes `folder` and whatever is missing above it, each made durable in its parent.
pub(super) fn create_folders(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => return Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let Some(parent) = folder.parent() else { return Err(e) };
            create_folders(parent)?;
            match fs::create_dir(folder) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                _ => {}
            }
        }
        Err(e) => return Err(e),
    }
    match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent),
        _ => sync_folder(Path::new(".")),
    }
}

/// Removes what a crash left half-written in `folder` and below, and makes every name there durable: a process may
/// have died between creating a name and syncing it.
pub(super) fn settle(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            settle(&entry.path())?;
        }
    }
    settle_here(folder)
}

/// The same for the names in `folder` alone.
pub(super) fn settle_here(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
            match fs::remove_file(entry.path()) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
    }
    sync_folder(folder)
}
