//! What a job says about the embedded store, resolved.

use std::path::PathBuf;

/// The embedded store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The SQLite file, made if missing, as is the folder that holds it.
    pub path: PathBuf,
}
