//! A working folder under the system's temporary one, removed with its owner.

use super::StartError;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Tells folders of one process apart.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A folder of our own. Removed when dropped.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// A new empty folder whose name tells the service and the process that started it.
    pub fn new(service: &str) -> Result<Folder, StartError> {
        let name = format!("caudal-{service}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        // A leftover of an earlier process with our number would be obeyed as data.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).map_err(|cause| StartError(format!("cannot create {}: {cause}", path.display())))?;
        Ok(Folder(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file into it and tells where.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf, StartError> {
        let path = self.0.join(name);
        std::fs::write(&path, text).map_err(|cause| StartError(format!("cannot write {}: {cause}", path.display())))?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
