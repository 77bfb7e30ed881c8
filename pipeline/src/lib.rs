//! The engine of caudal: records in, exact rows out. No network, file, clock, environment or async runtime.
//!
//! ```text
//! Source ─▶ worker: decode ─▶ judge ─▶ combine ═▶ windows ─▶ roll-ups ─▶ collect ─▶ Ledger ─▶ Follower ─▶ Sink
//!              ▲                                                                      ▲
//!              └── Open(e) ── Coordinator: Bind(e) ─▶ commit log (Blobs) ── durable ──┘
//! ```
//! - [`plan`]: a job as the engine obeys it. [`ports`]: what it asks of the outside.
//! - [`decode`], [`expr`], [`aggregate`]: what a job file's words compile to.
//! - [`log`] binds what forms an epoch, whose messages [`chain`] knows again; [`watermark`] says how far event time is complete.
//! - [`operators`]: timely operators and the differential region; [`state`], [`run`]: how they are saved.
//! - [`ledger`]: every effect once, for any number of sinks.
//! - [`positions`]: where what a changed job keeps is now.
//! - [`bound`]: the memory that all this can take.

pub mod aggregate;
pub mod bound;
pub mod chain;
pub mod dataflow;
pub mod decode;
pub mod engine;
pub mod expr;
pub mod group;
pub mod hash;
pub mod ledger;
pub mod log;
mod merge;
pub mod operators;
pub mod plan;
pub mod planted;
pub mod ports;
pub mod positions;
pub mod record;
pub mod retained;
pub mod run;
pub mod state;
pub mod suggest;
pub mod time;
pub mod value;
pub mod watermark;
pub mod worker;
