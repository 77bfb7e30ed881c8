//! The embedded store: one SQLite file that any SQLite client can read while the job runs.
//!
//! ```text
//! sqlite3 FOLDER/store.db 'SELECT farm, window_start, mean_power, state FROM per_minute ORDER BY window_start DESC LIMIT 5'
//! ```
//!
//! | table | rows |
//! |---|---|
//! | one for each view, by its name | group…, `window_start`, `window_end`, columns…, `state`, `version`, `_expires_us` |
//! | `dead_letters` | one for each refused record, by (stream, topic, partition, offset, element), original bytes included |
//! | `events` | one for each accepted event, if the sink keeps them, by the same key: `event_time`, `id`, `key`, `payload` |
//! | `as_of` | for each view `complete_until` and `final_until`, with the epoch and version of the newest cut |
//! | `caudal` | the job's name and this layout's number |
//!
//! How values are stored: whole numbers as INTEGER, decimals as TEXT with all their digits (compare them with
//! `CAST(x AS REAL)`), times as RFC 3339 text in UTC, lists as JSON text, booleans as 0 and 1. Windows without end run
//! from `-infinity` to `infinity`, which sort where they belong. A null in the *group* is the empty blob `x''`, because
//! a primary key does not tell two nulls apart; a null in a column is NULL. The declared types (`DECIMAL_TEXT(3)`,
//! `TIME_TEXT`, `JSON_TEXT`, `BOOLEAN`) say which is which.
//!
//! The bytes of an exploded message are in the event of its first accepted element; those of its other elements have a
//! null `payload` and the same (stream, topic, partition, offset). While a sink that was away catches up, events may be
//! behind what `as_of` says.
//!
//! The guarantee is [`Guarantee::VersionedRows`](caudal_pipeline::ports::sink::Guarantee): a cut is one transaction,
//! so a reader sees it whole or not at all; it is on the disk when `write` returns; a row is replaced only by the same
//! or a higher version. Rows leave once the time of the cuts has passed their expiry.
//!
//! On failure: a busy or full disk is tried again, a table that differs from the job or a file of another job stops the sink.

pub mod config;
mod dead_letters;
mod error;
mod events;
mod held;
pub mod read;
mod schema;
mod sink;
mod values;

pub use config::Config;
pub use sink::Sink;

/// See the module.
pub const GUARANTEE: caudal_pipeline::ports::sink::Guarantee = caudal_pipeline::ports::sink::Guarantee::VersionedRows;
