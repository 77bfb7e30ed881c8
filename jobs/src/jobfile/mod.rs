//! The job file: read, completed, checked, and turned into the plan that the engine obeys.
//!
//! ```text
//! yaml ─▶ node tree ─▶ include, overrides, environment ─▶ conform to the grammar ─▶ defaults ─▶ streams, views, sinks ─▶ Job
//! ```
//!
//! What a job file may say is one value, [`grammar::JOB`]: the check of what was written, the defaults page, the
//! fingerprint and the JSON Schema for editors all read it. Nothing here looks at the process or the disk by itself:
//! variables and files come through [`surroundings::Surroundings`]. A mistake never stops the reading, so that all of
//! them are told at once, each with its line, its path and its remedy.

pub mod conform;
pub mod defaults;
pub mod environment;
mod event_time;
mod fields;
mod fingerprint;
pub mod grammar;
pub mod include;
pub mod job;
pub mod json_schema;
mod keep;
mod locate;
pub mod mistakes;
pub mod node;
pub mod overrides;
mod path;
mod read;
pub mod reader;
pub mod resolved;
mod schemas;
mod select;
pub mod shape;
mod sinks;
mod sources;
mod stores;
mod stream_schema;
mod streams;
pub mod surroundings;
pub mod tables;
pub mod units;
mod views;
mod windows;
pub mod yaml;

pub use job::{Emission, GenerateSpec, HttpSpec, Job, KeptView, SinkSpec, SourceSpec, StoreSpec, TableSource};
pub use mistakes::{Mistake, Mistakes};
pub use read::read;
pub use surroundings::{Override, Surroundings};
