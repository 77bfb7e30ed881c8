//! Blobs as objects below a prefix.

use super::attempts::{Fault, PATIENCE, Waits, limit};
use super::config::Config;
use super::error::ConfigError;
use caudal_pipeline::ports::blobs::{BlobError, Blobs, Created, check_name};
use object_store::aws::AmazonS3;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, GetOptions, GetRange, GetResult, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// The metadata that tells who created an object (`x-amz-meta-caudal-creator`).
const CREATOR: Attribute = Attribute::Metadata(std::borrow::Cow::Borrowed("caudal-creator"));

/// No object is as long, and servers count in signed numbers.
const OFFSET_MAX: u64 = i64::MAX as u64;

/// How many small objects are read at once.
const READ_AT_ONCE: usize = 32;

/// Immutable named bytes as objects. The client needs a runtime, which lives and ends with this; calls block.
pub struct ObjectBlobs {
    client: AmazonS3,
    /// Before every name; empty, or with a slash at its end.
    prefix: String,
    patience: Duration,
    runtime: Runtime,
}

/// Why a call has ended without what was asked.
#[derive(Debug)]
pub(super) enum Stopped {
    /// No such object.
    Missing,
    /// It is refused for good.
    Refused(String),
    /// It was tried for as long as there was patience.
    Away(String),
}

impl ObjectBlobs {
    /// Blobs below the prefix of `config`. Asks the storage nothing.
    pub fn new(config: &Config) -> Result<ObjectBlobs, ConfigError> {
        let client = config.client()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("object-storage")
            .enable_all()
            .build()
            .map_err(|error| ConfigError::Client { place: config.to_string(), cause: error.to_string() })?;
        let prefix = if config.prefix().is_empty() { String::new() } else { format!("{}/", config.prefix()) };
        Ok(ObjectBlobs { client, prefix, patience: PATIENCE, runtime })
    }

    /// The same, which gives up after `patience`.
    pub fn with_patience(self, patience: Duration) -> ObjectBlobs {
        ObjectBlobs { patience, ..self }
    }

    /// Attempts until one is settled, or patience ends.
    fn settled<T>(&self, name: &str, attempt: impl AsyncFn() -> Result<T, Fault>) -> Result<T, Stopped> {
        let mut waits = Waits::new(self.patience);
        self.runtime.block_on(async {
            loop {
                let began = Instant::now();
                let why = match attempt().await {
                    Ok(settled) => return Ok(settled),
                    Err(Fault::Missing) => return Err(Stopped::Missing),
                    Err(Fault::Refused(why)) => return Err(Stopped::Refused(why)),
                    Err(Fault::Exists) => "it is there and is not".to_owned(),
                    Err(Fault::Again(why)) => why,
                };
                let Some(wait) = waits.after(began.elapsed()) else {
                    return Err(Stopped::Away(format!("{why}; tried for {} s", self.patience.as_secs())));
                };
                tracing::warn!(name, "the storage of the state fails, trying again: {why}");
                tokio::time::sleep(wait).await;
            }
        })
    }

    pub(super) fn try_create(&self, name: &str, bytes: &[u8]) -> Result<Created, Stopped> {
        let creator = format!("{:032x}", rand::random::<u128>());
        let (path, payload) = (self.path(name)?, PutPayload::from(bytes.to_vec()));
        self.settled(name, async || {
            let attributes = Attributes::from_iter([(CREATOR, creator.clone())]);
            let options = PutOptions { mode: PutMode::Create, attributes, ..PutOptions::default() };
            match within(bytes.len(), self.client.put_opts(&path, payload.clone(), options)).await {
                Ok(_) => Ok(Created::New),
                // Ours, if an attempt before this one went through; missing, if it was deleted meanwhile.
                Err(Fault::Exists) => match self.creator(&path).await {
                    Ok(found) if found.as_deref() == Some(&*creator) => Ok(Created::New),
                    Ok(_) => Ok(Created::Exists),
                    Err(Fault::Missing) => Err(Fault::Again("it was there and is gone".to_owned())),
                    Err(fault) => Err(fault),
                },
                Err(fault) => Err(fault),
            }
        })
    }

    /// The token of whoever created the object.
    async fn creator(&self, path: &Path) -> Result<Option<String>, Fault> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        let found = within(0, self.client.get_opts(path, options)).await?;
        Ok(found.attributes.get(&CREATOR).map(|value| value.to_string()))
    }

    pub(super) fn try_read(&self, name: &str) -> Result<Vec<u8>, Stopped> {
        let path = self.path(name)?;
        self.settled(name, async || body(within(0, self.client.get_opts(&path, GetOptions::default())).await?).await)
    }

    fn try_read_range(&self, name: &str, offset: u64, len: usize) -> Result<Vec<u8>, Stopped> {
        let path = self.path(name)?;
        let end = offset.saturating_add(len as u64).min(OFFSET_MAX);
        self.settled(name, async || {
            let options = GetOptions { range: Some(GetRange::Bounded(offset..end)), ..GetOptions::default() };
            let why = match within(0, self.client.get_opts(&path, options)).await {
                Ok(found) => return body(found).await,
                Err(Fault::Again(why)) => why,
                Err(fault) => return Err(fault),
            };
            // A range without a byte of the object is an error, which the client does not tell from others.
            let size = within(0, self.client.head(&path)).await?.size;
            if offset >= size.min(end) { Ok(Vec::new()) } else { Err(Fault::Again(why)) }
        })
    }

    pub(super) fn try_list(&self, prefix: &str) -> Result<Vec<String>, Stopped> {
        let wanted = format!("{}{prefix}", self.prefix);
        self.settled(prefix, async || {
            let (mut names, mut options) = (Vec::new(), PaginatedListOptions::default());
            loop {
                let page = within(0, self.client.list_paginated(Some(&wanted), options)).await?;
                let keys = page.result.objects.iter().map(|object| object.location.as_ref());
                // An object may have the very name of a folder above it.
                names.extend(keys.filter_map(|key| key.strip_prefix(&self.prefix)).map(str::to_owned));
                options = match page.page_token {
                    Some(token) => PaginatedListOptions { page_token: Some(token), ..PaginatedListOptions::default() },
                    None => break,
                };
            }
            names.sort_unstable();
            Ok(names)
        })
    }

    pub(super) fn try_delete(&self, name: &str) -> Result<(), Stopped> {
        let path = self.path(name)?;
        self.settled(name, async || match within(0, self.client.delete(&path)).await {
            Ok(()) | Err(Fault::Missing) => Ok(()),
            Err(fault) => Err(fault),
        })
    }

    fn path(&self, name: &str) -> Result<Path, Stopped> {
        check_name(name).map_err(|why| Stopped::Refused(why.to_owned()))?;
        Path::parse(format!("{}{name}", self.prefix)).map_err(|error| Stopped::Refused(error.to_string()))
    }
}

/// The outcome of a request that carries so many bytes, if it comes in time.
async fn within<T>(bytes: usize, request: impl Future<Output = object_store::Result<T>>) -> Result<T, Fault> {
    let limit = limit(bytes as u64);
    match timeout(limit, request).await {
        Ok(outcome) => outcome.map_err(Fault::from),
        Err(_) => Err(Fault::Again(format!("no answer within {} s", limit.as_secs()))),
    }
}

/// The bytes of an answer.
async fn body(found: GetResult) -> Result<Vec<u8>, Fault> {
    let expected = found.range.end - found.range.start;
    let bytes = within(usize::try_from(expected).unwrap_or(usize::MAX), found.bytes()).await?;
    Ok(Vec::from(bytes))
}

impl Blobs for ObjectBlobs {
    fn create(&self, name: &str, bytes: &[u8]) -> Result<Created, BlobError> {
        self.try_create(name, bytes).map_err(|stopped| blob_error("write", name, stopped))
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, BlobError> {
        self.try_read(name).map_err(|stopped| blob_error("read", name, stopped))
    }

    fn read_each(&self, names: &[String]) -> Vec<Result<Vec<u8>, BlobError>> {
        let part = names.len().div_ceil(READ_AT_ONCE).max(1);
        std::thread::scope(|scope| {
            let read = |names: &'_ [String]| names.iter().map(|name| self.read(name)).collect::<Vec<_>>();
            let parts: Vec<_> = names.chunks(part).map(|names| scope.spawn(move || read(names))).collect();
            parts.into_iter().flat_map(|part| part.join().expect("reading does not panic")).collect()
        })
    }

    fn read_range(&self, name: &str, offset: u64, len: usize) -> Result<Vec<u8>, BlobError> {
        self.try_read_range(name, offset, len).map_err(|stopped| blob_error("read", name, stopped))
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, BlobError> {
        self.try_list(prefix).map_err(|stopped| blob_error("list", prefix, stopped))
    }

    fn delete(&self, name: &str) -> Result<(), BlobError> {
        self.try_delete(name).map_err(|stopped| blob_error("delete", name, stopped))
    }
}

fn blob_error(attempted: &'static str, name: &str, stopped: Stopped) -> BlobError {
    let name = name.to_owned();
    match stopped {
        Stopped::Missing if attempted == "read" => BlobError::Missing(name),
        Stopped::Missing => BlobError::Io { attempted, name, cause: "there is no such bucket".to_owned() },
        Stopped::Refused(cause) | Stopped::Away(cause) => BlobError::Io { attempted, name, cause },
    }
}
