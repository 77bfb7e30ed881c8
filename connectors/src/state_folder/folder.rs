//! Opening a state folder: is it ours, is it free, is there space.

use super::blobs::FolderBlobs;
use super::durable::{TEMPORARY, create_folders, settle_here, sync_folder, temporary};
use super::error::StateFolderError;
use super::{lock, reserve};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A job's folder, held by this process for as long as this value lives.
pub struct StateFolder {
    path: PathBuf,
    blobs: Arc<FolderBlobs>,
    _lock: lock::Lock,
}

impl StateFolder {
    /// Opens the folder at `path` for the job `job_name`; makes it if missing. With `take_over`, a process that
    /// holds it is not waited for: it loses its right to write as soon as our generation is in the log.
    pub fn open(path: impl Into<PathBuf>, job_name: &str, take_over: bool) -> Result<StateFolder, StateFolderError> {
        let path = path.into();
        create_folders(&path).map_err(|e| StateFolderError::io("create", &path, e))?;
        check_owner(&path, job_name)?;
        let lock = if take_over { lock::take_over(&path)? } else { lock::acquire(&path)? };
        // Asked again: another process may have made this folder its own before we had the lock.
        check_owner(&path, job_name)?;
        claim(&path, job_name)?;
        settle_here(&path).map_err(|e| StateFolderError::io("open", &path, e))?;
        let blobs = Arc::new(FolderBlobs::open(path.join("blobs"))?);
        let reserved = path.join("reserve");
        reserve::fill(&reserved).map_err(|e| StateFolderError::io("write", &reserved, e))?;
        Ok(StateFolder { path, blobs, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The state port.
    pub fn blobs(&self) -> Arc<FolderBlobs> {
        Arc::clone(&self.blobs)
    }

    /// Gives back the space set aside, for the last writes on a full disk; false if it was given back already.
    pub fn release_reserve(&self) -> Result<bool, StateFolderError> {
        let path = self.path.join("reserve");
        reserve::release(&path).map_err(|e| StateFolderError::io("remove", &path, e))
    }
}

/// Refuses the folder of another job, and a folder that holds anything but state.
fn check_owner(folder: &Path, job_name: &str) -> Result<(), StateFolderError> {
    let path = folder.join("JOB");
    match fs::read_to_string(&path) {
        Ok(text) if text.trim_end() == job_name => Ok(()),
        Ok(text) => Err(StateFolderError::OtherJob {
            folder: folder.display().to_string(),
            found: text.trim_end().to_owned(),
            wanted: job_name.to_owned(),
        }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => check_unused(folder),
        Err(e) => Err(StateFolderError::io("read", &path, e)),
    }
}

/// `lost+found` is what a fresh volume holds; the rest is what a start that died early leaves.
fn check_unused(folder: &Path) -> Result<(), StateFolderError> {
    let failed = |e| StateFolderError::io("read", folder, e);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let name = name.to_string_lossy();
        if name != "lock" && name != "lost+found" && name != "JOB" && !name.starts_with(TEMPORARY) {
            return Err(StateFolderError::Foreign { folder: folder.display().to_string(), found: name.into_owned() });
        }
    }
    Ok(())
}

/// Writes the job's name, whole or not at all.
fn claim(folder: &Path, job_name: &str) -> Result<(), StateFolderError> {
    let path = folder.join("JOB");
    if path.exists() {
        return Ok(());
    }
    let temporary = temporary(folder);
    let write = || -> io::Result<()> {
        let mut file = File::create(&temporary)?;
        writeln!(file, "{job_name}")?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        sync_folder(folder)
    };
    write().map_err(|e| StateFolderError::io("write", &path, e))
}
