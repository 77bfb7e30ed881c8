//! The state port on object storage: S3, and what speaks its protocol.
//!
//! ```text
//! s3://BUCKET/PREFIX/JOB/job      the job's name; a prefix belongs to one job for ever
//!                       /blobs/…  the state port: commit log, checkpoints, ledger runs; one object a blob
//! ```
//!
//! The guarantee: a blob is visible whole or not at all, is durable when `create` returns, and of two processes that
//! create the same name one wins. The storage has to honour `If-None-Match: *` on a put, and to be consistent (what was
//! put is read and listed at once), as S3 is; that it honours the condition is tried at each opening. A blob is one put, so
//! it has 5 GB at most.
//!
//! **What became of a put is not always known**: a connection breaks, or a gateway answers 500 for a put that went through.
//! So each `create` gives its object a random token as metadata and puts again until it hears that the object is new or
//! there. If it is there, the token tells whose it is; equal bytes would not, since others may create the same.
//!
//! Away storage is tried again for [`PATIENCE`], which outlasts a restart of it. What ends a call after that is not known
//! to have happened or not, so the process must end; that its put may still arrive, later, is no more than what a process
//! that was stopped does.
//!
//! There is no lock: who starts takes over, and the older process is fenced at its next append to the log.

mod attempts;
mod blobs;
mod bucket;
pub mod config;
mod error;

pub use attempts::PATIENCE;
pub use blobs::ObjectBlobs;
pub use bucket::StateBucket;
pub use error::{ConfigError, ObjectStorageError};
