//! The state port: immutable named bytes. A name is created once, whole, and is durable when `create` returns.
//!
//! There is no rename, append or overwrite, so that a local directory and an object store can both keep it.

use std::sync::Arc;

/// What became of a `create`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// The name is ours, the bytes are durable.
    New,
    /// The name existed already; nothing was written.
    Exists,
}

/// Why the state could not be read or written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BlobError {
    /// No such name.
    #[error("{0} is not in the state")]
    Missing(String),
    /// The store is full: writing may work again once there is space.
    #[error("no space left while writing {name}: {cause}")]
    Full {
        /// What was written.
        name: String,
        /// What the system said.
        cause: String,
    },
    /// Anything else. After a failed sync nothing may be assumed of the bytes: the process must end.
    #[error("cannot {attempted} {name}: {cause}")]
    Io {
        /// `read`, `write`, `sync`, `list`, `delete`.
        attempted: &'static str,
        /// Which blob.
        name: String,
        /// What the system said.
        cause: String,
    },
}

/// Immutable named bytes. Names are `/`-separated, `[a-z0-9-._]` in each part ([`check_name`]).
pub trait Blobs: Send + Sync {
    /// Creates `name` with `bytes` unless it exists. Durable on return, and visible whole or not at all.
    fn create(&self, name: &str, bytes: &[u8]) -> Result<Created, BlobError>;
    /// Reads all of `name`.
    fn read(&self, name: &str) -> Result<Vec<u8>, BlobError>;
    /// Reads all of each of `names`, in their order. A store that is slow to answer reads many at once.
    fn read_each(&self, names: &[String]) -> Vec<Result<Vec<u8>, BlobError>> {
        names.iter().map(|name| self.read(name)).collect()
    }
    /// Reads `len` bytes of `name` from `offset`; fewer at its end.
    fn read_range(&self, name: &str, offset: u64, len: usize) -> Result<Vec<u8>, BlobError>;
    /// All names that begin with `prefix`, sorted.
    fn list(&self, prefix: &str) -> Result<Vec<String>, BlobError>;
    /// Removes `name`; removing what is not there is no error.
    fn delete(&self, name: &str) -> Result<(), BlobError>;
}

/// Refuses names which could leave a folder, which clash with what a store adds for itself, or which not every store can
/// keep.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    let legal = |c: u8| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_');
    for part in name.split('/') {
        if part.is_empty() {
            return Err("a name has parts between slashes, none of them empty");
        }
        if part.starts_with('.') {
            return Err("a part of a name does not begin with a dot");
        }
        if part.len() > 200 || !part.bytes().all(legal) {
            return Err("a part of a name is up to 200 of a-z, 0-9, `-`, `.` and `_`");
        }
    }
    Ok(())
}

impl<B: Blobs + ?Sized> Blobs for Arc<B> {
    fn create(&self, name: &str, bytes: &[u8]) -> Result<Created, BlobError> {
        (**self).create(name, bytes)
    }
    fn read(&self, name: &str) -> Result<Vec<u8>, BlobError> {
        (**self).read(name)
    }
    fn read_each(&self, names: &[String]) -> Vec<Result<Vec<u8>, BlobError>> {
        (**self).read_each(names)
    }
    fn read_range(&self, name: &str, offset: u64, len: usize) -> Result<Vec<u8>, BlobError> {
        (**self).read_range(name, offset, len)
    }
    fn list(&self, prefix: &str) -> Result<Vec<String>, BlobError> {
        (**self).list(prefix)
    }
    fn delete(&self, name: &str) -> Result<(), BlobError> {
        (**self).delete(name)
    }
}

/// Blobs in memory: for tests, and for runs that need not survive.
#[derive(Default)]
pub struct MemoryBlobs {
    blobs: std::sync::Mutex<std::collections::BTreeMap<String, Arc<[u8]>>>,
}

impl Blobs for MemoryBlobs {
    fn create(&self, name: &str, bytes: &[u8]) -> Result<Created, BlobError> {
        let refused = |cause: &str| BlobError::Io { attempted: "write", name: name.to_owned(), cause: cause.to_owned() };
        check_name(name).map_err(refused)?;
        let mut blobs = self.blobs.lock().expect("no thread panics while it holds this lock");
        if blobs.contains_key(name) {
            return Ok(Created::Exists);
        }
        blobs.insert(name.to_owned(), bytes.into());
        Ok(Created::New)
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, BlobError> {
        self.read_range(name, 0, usize::MAX)
    }

    fn read_range(&self, name: &str, offset: u64, len: usize) -> Result<Vec<u8>, BlobError> {
        let blobs = self.blobs.lock().expect("no thread panics while it holds this lock");
        let bytes = blobs.get(name).ok_or_else(|| BlobError::Missing(name.to_owned()))?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        Ok(bytes[start..start.saturating_add(len).min(bytes.len())].to_vec())
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, BlobError> {
        let blobs = self.blobs.lock().expect("no thread panics while it holds this lock");
        Ok(blobs.range(prefix.to_owned()..).map(|(name, _)| name).take_while(|name| name.starts_with(prefix)).cloned().collect())
    }

    fn delete(&self, name: &str) -> Result<(), BlobError> {
        self.blobs.lock().expect("no thread panics while it holds this lock").remove(name);
        Ok(())
    }
}
