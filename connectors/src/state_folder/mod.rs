//! The state folder: one directory that holds all a job must not lose.
//!
//! ```text
//! FOLDER/JOB      the job's name; a folder belongs to one job for ever
//!        lock     held by the running process, holds its pid
//!        reserve  16 MiB that are given back when the disk is full, so that the job can end in order
//!        blobs/…  the state port: commit log, checkpoints, ledger runs; immutable files
//! ```
//!
//! The guarantee: a blob is visible whole or not at all, is durable when `create` returns, and of two processes that
//! create the same name one wins. The lock only keeps people from starting a job twice; what keeps an old process
//! from doing harm is that every append to the log is create-if-absent.
//!
//! On failure nothing is half done: what a crash leaves behind are temporary files, which the next start removes.
//!
//! ```
//! use caudal_connectors::state_folder::StateFolder;
//! use caudal_pipeline::ports::blobs::{Blobs, Created};
//!
//! let path = std::env::temp_dir().join(format!("caudal-doc-{}", std::process::id()));
//! let folder = StateFolder::open(&path, "wind-farm", false).unwrap();
//! assert_eq!(folder.blobs().create("log/1", b"bound").unwrap(), Created::New);
//! assert_eq!(folder.blobs().create("log/1", b"again").unwrap(), Created::Exists);
//! assert_eq!(folder.blobs().read("log/1").unwrap(), b"bound");
//! # drop(folder); std::fs::remove_dir_all(path).unwrap();
//! ```

mod blobs;
mod durable;
mod error;
mod folder;
mod lock;
mod reserve;

pub use blobs::FolderBlobs;
pub use error::StateFolderError;
pub use folder::StateFolder;
pub use reserve::RESERVE_BYTES;
