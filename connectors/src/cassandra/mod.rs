//! Cassandra 4.1 and 5, Scylla: every row for years, in typed tables, newest first.
//!
//! ```text
//! <job>_<view>          PRIMARY KEY ((group…, bucket), window_start)   DESC; window_end, state, version, columns
//! <job>_<view>_latest   PRIMARY KEY ((group…))                         the newest row of each group
//! <job>_dead_letters    PRIMARY KEY ((day, stream), topic, partition, message_offset, element)
//! <job>_events          PRIMARY KEY ((stream, day), event_time, topic, partition, message_offset, element)   DESC
//! <job>_as_of           PRIMARY KEY ((job), view_name)                   complete_until, final_until, epoch, version
//! ```
//!
//! Dashes of job and view become underscores. `bucket` is a text cut from `window_start` in UTC: `2026-11-20T22` for
//! windows under a second, `2026-11-20` under an hour, `2026-11` under a day, `2026` from there on; sessions count by
//! their gap, sliding windows by their step. An unwindowed view has neither bucket nor window and needs no `_latest`. A
//! key without any group is `bucket = 'all'`. Sessions have `window_start_us`, the microseconds within the millisecond, as
//! a second clustering column.
//!
//! # Values
//!
//! Integers are `bigint`, decimals `decimal` with all their declared digits (in a key as well: ask for `1.50`, not `1.5`),
//! lists `frozen<list<…>>`. Times are `timestamp`, which holds milliseconds: finer digits are cut off. In a group a time
//! is a text in RFC 3339, to the microsecond. Texts in a group are themselves, but null is `\N`, the empty text is `\E`
//! (no key of Cassandra's is empty), and a text that begins with `\` has another one before it. A null number or
//! boolean in a group sets its row aside: give the field a default. Frontiers before and after all time are null and
//! 9999-12-31.
//!
//! `_events` is filled if the sink keeps events; `day` is the event time's. The bytes of an exploded message are in the row
//! of its first accepted element; those of its other elements have a null `payload`.
//!
//! # Guarantee
//!
//! [`Guarantee::VersionedRows`](caudal_pipeline::ports::sink::Guarantee): every write is an INSERT of all columns `USING
//! TIMESTAMP` the row's version, so that the newest wins in any order. A column without a value is written as null, since
//! an earlier version may have had one; nothing is ever deleted, and a merged session's row stays with the state `gone`. The
//! newest row of a group is written with the version of its cut, because a group may fall back to an older row. Rows
//! expire by TTL, never under a second. `as_of` comes last in a cut, in one atomic batch: what it shows is there.
//!
//! # Failure
//!
//! Overload and timeouts halve what is in flight and are tried again within the cut, then by the driver of the sink,
//! for ever, as is a cluster that is away. A row that is too large is set aside. A refused login, a missing permission,
//! a table that differs (each difference named, with its remedy) and a retention beyond what TTL can hold stop the sink.

mod bucket;
pub mod config;
mod error;
mod held;
mod schema;
mod session;
mod sink;
mod statements;
mod survey;
mod tables;
mod values;
mod writer;

pub use sink::{CassandraSink, ddl, refusals};
pub use survey::{Survey, survey};
pub use tables::dead_letters_name as dead_letters_table;

/// See the module.
pub const GUARANTEE: caudal_pipeline::ports::sink::Guarantee = caudal_pipeline::ports::sink::Guarantee::VersionedRows;
