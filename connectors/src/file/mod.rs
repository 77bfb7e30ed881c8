//! Files in and out.
//!
//! **In**: each path is a partition, a record's byte offset its offset (in the decompressed stream, for `.gz`). Records are
//! lines (NDJSON) or CSV records, where a quoted field may hold line breaks; the CSV header goes with every message
//! as the header `csv.columns`. Empty lines are no records. A source of files is finite: it is finished at the end of
//! each file as it was when it was opened. Replay is exact
//! as long as nobody changes the files; a file that is missing, has shrunk, or says something else where it was read last stops the job. So does a last line
//! that was read without its line end and has grown since.
//!
//! **Out**: one NDJSON or CSV file for each view in a folder, and `dead_letters.ndjson`. Each version of a row is one
//! line, appended once: `as_of.json`, replaced at the end of each cut, says how long each file is, and what a crash left
//! behind that is cut off before going on.

pub mod config;
mod csv_text;
mod input;
mod progress;
mod records;
mod repeats;
mod sink;
mod source;

pub use sink::Sink;
pub use source::Source;

/// Of the sink: each version of a row is one line.
pub const GUARANTEE: caudal_pipeline::ports::sink::Guarantee = caudal_pipeline::ports::sink::Guarantee::VersionedRows;
