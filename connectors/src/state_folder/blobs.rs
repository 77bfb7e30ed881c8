//! The state port on a directory.
//!
//! `create` writes a temporary file beside the name, syncs it, links it to the name (which fails if the name exists:
//! that is the whole of «create if absent», and it holds between processes too), syncs the directory, and removes
//! the temporary name.

use super::durable::{create_folders, settle, sync_folder, temporary};
use super::error::StateFolderError;
use caudal_pipeline::ports::blobs::{BlobError, Blobs, Created, check_name};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// As many processes as that may start while one blob is written.
const PUTS_MAX: u32 = 100;

/// Immutable named bytes as files below a directory; `a/b` is the file `b` in the folder `a`.
pub struct FolderBlobs {
    root: PathBuf,
}

impl FolderBlobs {
    /// Opens `root`, makes it if missing, and removes what a crash left half-written.
    pub fn open(root: impl Into<PathBuf>) -> Result<FolderBlobs, StateFolderError> {
        let root = root.into();
        create_folders(&root).map_err(|e| StateFolderError::io("create", &root, e))?;
        settle(&root).map_err(|e| StateFolderError::io("open", &root, e))?;
        Ok(FolderBlobs { root })
    }

    fn path(&self, attempted: &'static str, name: &str) -> Result<PathBuf, BlobError> {
        match check_name(name) {
            Ok(()) => Ok(self.root.join(name)),
            Err(cause) => Err(BlobError::Io { attempted, name: name.to_owned(), cause: cause.to_owned() }),
        }
    }
}

impl Blobs for FolderBlobs {
    fn create(&self, name: &str, bytes: &[u8]) -> Result<Created, BlobError> {
        let target = self.path("write", name)?;
        let folder = target.parent().expect("a blob lies below the root");
        let created = put(folder, &target, bytes).map_err(|e| blob_error("write", name, e))?;
        // Also for a name that existed: its creator may have died before this very call.
        // What became of the name is not known if this fails, be it for want of space: never `Full`, after which one goes on.
        sync_folder(folder).map_err(|e| BlobError::Io { attempted: "sync", name: name.to_owned(), cause: e.to_string() })?;
        Ok(created)
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, BlobError> {
        let path = self.path("read", name)?;
        fs::read(path).map_err(|e| blob_error("read", name, e))
    }

    fn read_range(&self, name: &str, offset: u64, len: usize) -> Result<Vec<u8>, BlobError> {
        let path = self.path("read", name)?;
        read_part(&path, offset, len).map_err(|e| blob_error("read", name, e))
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, BlobError> {
        let within = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        if !within.is_empty() {
            self.path("list", within)?;
        }
        let mut names = Vec::new();
        collect(&self.root.join(within), within, &mut names).map_err(|e| blob_error("list", prefix, e))?;
        names.retain(|name| name.starts_with(prefix));
        names.sort_unstable();
        Ok(names)
    }

    fn delete(&self, name: &str) -> Result<(), BlobError> {
        let path = self.path("delete", name)?;
        match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(blob_error("delete", name, e)),
            _ => Ok(()),
        }
    }
}

/// A process that takes over removes, at its start, what it finds half-written: the temporary file of a process that still
/// writes, perhaps. Then it is written once more, so that what that process hears is that it is fenced.
fn put(folder: &Path, target: &Path, bytes: &[u8]) -> io::Result<Created> {
    let mut attempts = 0..PUTS_MAX;
    loop {
        create_folders(folder)?;
        let temporary = temporary(folder);
        let linked = write_synced(&temporary, bytes).and_then(|()| link_if_absent(&temporary, target));
        // The bytes are reached through the target by now, or not wanted: what remains of the temporary name is tidiness.
        let _ = fs::remove_file(&temporary);
        match linked {
            Err(e) if e.kind() == io::ErrorKind::NotFound && attempts.next().is_some() => {}
            linked => return linked,
        }
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn link_if_absent(temporary: &Path, target: &Path) -> io::Result<Created> {
    match fs::hard_link(temporary, target) {
        Ok(()) => Ok(Created::New),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(Created::Exists),
        Err(e) => Err(e),
    }
}

fn read_part(path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let held = file.metadata()?.len().saturating_sub(offset);
    let mut bytes = Vec::with_capacity(usize::try_from(held).unwrap_or(usize::MAX).min(len));
    file.seek(SeekFrom::Start(offset))?;
    file.take(len as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// All blobs below `folder`, whose name is `within`. A file or folder that goes away meanwhile is passed over.
fn collect(folder: &Path, within: &str, names: &mut Vec<String>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let Ok(part) = entry.file_name().into_string() else { continue };
        if part.starts_with('.') {
            continue;
        }
        let name = if within.is_empty() { part } else { format!("{within}/{part}") };
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &name, names)?;
        } else {
            names.push(name);
        }
    }
    Ok(())
}

fn blob_error(attempted: &'static str, name: &str, cause: io::Error) -> BlobError {
    let name = name.to_owned();
    match cause.kind() {
        io::ErrorKind::NotFound if attempted == "read" => BlobError::Missing(name),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => BlobError::Full { name, cause: cause.to_string() },
        _ => BlobError::Io { attempted, name, cause: cause.to_string() },
    }
}
