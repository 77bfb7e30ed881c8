//! Blobs below a prefix of others: a state beside a state.

use super::blobs::{BlobError, Blobs, Created};
use std::sync::Arc;

/// See the module.
pub struct Below {
    inner: Arc<dyn Blobs>,
    prefix: String,
}

impl Below {
    /// The blobs of `inner` whose names begin with `folder` and a slash, by the rest of their names.
    pub fn new(inner: Arc<dyn Blobs>, folder: &str) -> Below {
        Below { inner, prefix: format!("{folder}/") }
    }

    /// Removes all of them.
    pub fn clear(&self) -> Result<(), BlobError> {
        self.inner.list(&self.prefix)?.iter().try_for_each(|name| self.inner.delete(name))
    }

    fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

impl Blobs for Below {
    fn create(&self, name: &str, bytes: &[u8]) -> Result<Created, BlobError> {
        self.inner.create(&self.name(name), bytes)
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, BlobError> {
        self.inner.read(&self.name(name))
    }

    fn read_each(&self, names: &[String]) -> Vec<Result<Vec<u8>, BlobError>> {
        self.inner.read_each(&names.iter().map(|name| self.name(name)).collect::<Vec<_>>())
    }

    fn read_range(&self, name: &str, offset: u64, len: usize) -> Result<Vec<u8>, BlobError> {
        self.inner.read_range(&self.name(name), offset, len)
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, BlobError> {
        let names = self.inner.list(&self.name(prefix))?;
        Ok(names.into_iter().filter_map(|name| Some(name.strip_prefix(&self.prefix)?.to_owned())).collect())
    }

    fn delete(&self, name: &str) -> Result<(), BlobError> {
        self.inner.delete(&self.name(name))
    }
}
