//! Apache Kafka: topics in, topics out.
//!
//! ```text
//! [source]     discover: partitions ─▶ which exist, compacted ones refused; offsets ─▶ where a new job begins
//! [reader]     one consumer a worker, partitions assigned by hand, one queue each
//! [sink]       one idempotent producer; envelope ─▶ ids, keys, headers, bodies; readback ─▶ what is there already
//! [producer]   events out, for generated load
//! [properties] what is librdkafka's to say, what is the job's, and what exactness does not leave to either
//! ```
//!
//! **In**: replay is exact. The commit log owns all positions: no consumer group is joined, nothing is committed,
//! nothing rebalances. The same offsets give the same bytes until retention removes them, and then reading stops with
//! an error instead of going on behind a gap. Records of aborted transactions are never seen.
//!
//! **Out**: at least once. Every record carries `caudal-id` and `caudal-version`; a repeat carries the same. After a
//! restart what was written beyond the last acknowledged cut is read back and not written again, so that a repeat is
//! left only where a broker took a record after it had been read back.
//!
//! What waits for the network never runs on a worker: librdkafka's own threads fetch, [`reader`] only takes from
//! their queues.

mod client;
pub mod config;
mod envelope;
mod error;
mod offsets;
mod partitions;
pub mod producer;
mod properties;
mod readback;
mod reader;
pub mod sink;
pub mod source;
mod survey;

pub use properties::{check_sink, check_source, source_properties};
pub use survey::missing_topics;

/// Of the sink: what is repeated has the same `caudal-id` and `caudal-version`.
pub const GUARANTEE: caudal_pipeline::ports::sink::Guarantee = caudal_pipeline::ports::sink::Guarantee::AtLeastOnce;
