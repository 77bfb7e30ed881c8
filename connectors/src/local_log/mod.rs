//! The local log: a durable, partitioned log on disk that replays like Kafka. What comes in over HTTP goes through it.
//!
//! ```text
//! FOLDER/00000/00000000000000000000.log     partition 0, first segment: records from offset 0
//!              00000000000000042017.log     the next one
//! segment = header (magic, first offset) and frames
//! frame   = body length u32 · crc32c of the body u32 · body (offset, time, key, headers, payload)
//! ```
//!
//! The guarantee: when `append_batch` returns, its records are on the disk and have their offsets for ever; readers
//! see no record before that. Replay is exact until [`bound`](caudal_pipeline::ports::source::Source::bound) says that
//! offsets are durably taken over; whole segments below are then removed, and asking for them is an error.
//!
//! On failure: a crash leaves at most a torn batch at the end of the last segment, which nobody was promised. Opening
//! cuts it off, keeps the cut bytes beside the segment and reports it. A write that fails is undone; a sync that fails
//! closes the log for writing, because nobody knows what is on the disk then. Each process opens a log of its own, made
//! from the one before, whose process may still be alive ([`LocalLog::open_generation`]).

mod error;
mod frame;
mod generations;
mod log;
mod partition;
mod reader;
mod segment;
mod source;

pub use error::LocalLogError;
pub use frame::NewRecord;
pub use log::{LocalLog, Options};
pub use segment::TornTail;
pub use source::Source;
