//! Reference data that epochs are bound to.

use super::{EngineConfig, EngineError};
use crate::decode::{TableRows, Tables};
use crate::plan::Plan;
use crate::ports::blobs::Blobs;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Reference data, each version under the hash of its rows; the log says which version an epoch looked up in.
pub(super) struct TableVersions {
    /// Of the rows as they are now.
    pub hash: u64,
    /// These rows.
    pub tables: Arc<Tables>,
    older: BTreeMap<u64, Arc<Tables>>,
}

impl TableVersions {
    /// Keeps the rows as they are now, durably, before any epoch is bound to them.
    pub fn store(config: &EngineConfig) -> Result<TableVersions, EngineError> {
        let tables =
            Tables::new(&config.plan.tables, &config.tables).map_err(|mistakes| EngineError::Refused(mistakes.join("\n")))?;
        let tables = Arc::new(tables);
        if config.tables.is_empty() {
            return Ok(TableVersions { hash: 0, tables, older: BTreeMap::new() });
        }
        let bytes = postcard::to_stdvec(&config.tables).expect("rows are plain data");
        let hash = xxhash_rust::xxh3::xxh3_64(&bytes);
        config.blobs.create(&table_blob(hash), &bytes).map_err(|error| EngineError::Failed(error.to_string()))?;
        Ok(TableVersions { hash, tables, older: BTreeMap::new() })
    }

    /// The version that an epoch was bound to.
    pub fn bound(&mut self, blobs: &dyn Blobs, plan: &Plan, hash: u64) -> Result<Arc<Tables>, EngineError> {
        if hash == self.hash {
            return Ok(self.tables.clone());
        }
        if let Some(tables) = self.older.get(&hash) {
            return Ok(tables.clone());
        }
        let bytes = blobs.read(&table_blob(hash)).map_err(|error| EngineError::Refused(error.to_string()))?;
        let damaged = |why: String| EngineError::Refused(format!("{} is damaged: {why}", table_blob(hash)));
        if xxhash_rust::xxh3::xxh3_64(&bytes) != hash {
            return Err(damaged("its hash does not fit".into()));
        }
        let rows: Vec<TableRows> = postcard::from_bytes(&bytes).map_err(|error| damaged(error.to_string()))?;
        let tables = Arc::new(Tables::new(&plan.tables, &rows).map_err(|mistakes| damaged(mistakes.join(", ")))?);
        self.older.insert(hash, tables.clone());
        Ok(tables)
    }
}

fn table_blob(hash: u64) -> String {
    format!("tables/{hash:016x}")
}
