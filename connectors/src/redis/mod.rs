//! Redis 7 and Valkey: the newest rows of every group, and a board that is always consistent.
//!
//! ```text
//! wind-farm:per_minute:{north}        ZSET  score window start (ms), member JSON: one a window
//! wind-farm:per_minute:groups:0 … 15  ZSET  score newest window end (ms), member group
//! {wind-farm}:latest:per_minute       HASH  group → newest row
//! {wind-farm}:asof                    HASH  v, epoch, complete_until:<view>, final_until:<view>; at, page, again
//! wind-farm::written:{0}              HASH  at, page, again: in a cluster, one on each primary
//! ```
//!
//! # What is written
//!
//! A member is `{"start", "end", "state", "v", "expires"?, column…}`: bounds in RFC 3339 (null when unwindowed), `v` the
//! version in 19 digits, so that versions compare as text, `expires` in milliseconds where the row expires at all. A
//! group is its values joined by `|` ([`keys`] says how they are escaped). An unwindowed row is the only member of its
//! key, with score 0. A merged session stays as a member whose state is `gone`.
//!
//! # Guarantee
//!
//! [`Guarantee::VersionedRows`](caudal_pipeline::ports::sink::Guarantee): every write goes through a function in the
//! server (`functions.lua`) that keeps what is newer. Repeated, delayed and reordered cuts end in the same rows. Rows
//! come first, the board last in one atomic call that names the version it follows, so that the board is never ahead
//! of the rows and shows one cut only.
//!
//! A board that holds another version than the cut follows, though not an older one, is one that a cut reached whose
//! cursor was then lost. The cut's rows are then laid over what is stored, never over a newer board.
//!
//! # Losses
//!
//! Redis forgets: a replica that takes over lacks what had not reached it, a server that restarts what it had not written
//! down. A mark that is behind what the cut follows shows it, and the cut is refused as
//! [`SinkError::Lost`](caudal_pipeline::ports::sink::SinkError::Lost); [`mark`] says why that is enough. Then the whole
//! board is written in one call, and every row that the ledger keeps again, with the version it had. Until that
//! has ended, and the frontiers are as far as before, `{job}:asof` has `lost_after`: rows by group that were written after
//! this version may be old.
//!
//! A row is gone from its key once it has expired, and the key once its last row has. The index forgets a group when
//! event time has passed its newest window's retention. `truncated:<view>` in `{job}:asof` marks a board hash that
//! has reached its declared number of groups and lists no further ones.
//!
//! # Failure
//!
//! A server that is away, loading, failing over, full or read-only is tried again for ever: the connection is dropped, and
//! with Sentinels the primary looked up anew. A refused login or
//! certificate, a missing permission, a key of a foreign type, a server older than 7 that has scripts switched off, or a
//! member of a cluster that is named as a server of its own stop the sink with what to do. Functions that were flushed are loaded again within the write.
//! Dead letters are not kept here.

mod board;
mod cluster;
pub mod config;
mod connection;
mod error;
mod functions;
mod held;
pub mod keys;
mod mark;
mod member;
mod node;
mod replies;
mod rows;
mod sentinel;
mod servers;
mod sink;
mod slots;

pub use sink::RedisSink;

/// See the module.
pub const GUARANTEE: caudal_pipeline::ports::sink::Guarantee = caudal_pipeline::ports::sink::Guarantee::VersionedRows;
