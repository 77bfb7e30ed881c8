//! One process at a time in a state folder, by an advisory lock which the system drops with the process.
//!
//! Taking over puts a fresh, locked file in the old one's place. The old process keeps its lock on a file without a
//! name; whoever starts next meets ours.

use super::durable::temporary;
use super::error::StateFolderError;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A held lock; dropping it lets the next process in.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// Takes the lock, or says who holds it.
pub(super) fn acquire(folder: &Path) -> Result<Lock, StateFolderError> {
    let path = folder.join("lock");
    let failed = |attempted, e| StateFolderError::io(attempted, &path, e);
    loop {
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(|e| failed("open", e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StateFolderError::InUse { folder: folder.display().to_string(), holder: holder(&mut file) });
            }
            Err(TryLockError::Error(e)) => return Err(failed("lock", e)),
        }
        // A take-over may have replaced the file between opening and locking it: then this lock guards nothing.
        if same_file(&file, &path) {
            sign(&mut file).map_err(|e| failed("write", e))?;
            return Ok(Lock { _file: file });
        }
    }
}

/// Takes the place of whoever holds the lock, without waiting for it.
pub(super) fn take_over(folder: &Path) -> Result<Lock, StateFolderError> {
    let path = temporary(folder);
    let failed = |attempted, e| StateFolderError::io(attempted, &path, e);
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(|e| failed("create", e))?;
    file.try_lock().map_err(|e| failed("lock", e.into()))?;
    sign(&mut file).map_err(|e| failed("write", e))?;
    fs::rename(&path, folder.join("lock")).map_err(|e| failed("rename", e))?;
    Ok(Lock { _file: file })
}

fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let pid = file.take(32).read_to_string(&mut text).ok().and_then(|_| text.trim().parse::<u32>().ok());
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

fn same_file(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(held), Ok(named)) => held.dev() == named.dev() && held.ino() == named.ino(),
        _ => false,
    }
}
