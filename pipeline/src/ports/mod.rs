//! The ports: what the engine asks of the outside, and nothing about who answers.
//!
//! [`source`] brings messages in, [`sink`] takes results out, [`blobs`] keeps bytes safe. All three are blocking
//! or polled; none knows an async runtime. Connectors implement them;
//! [`memory`] and [`blobs::MemoryBlobs`] do so without leaving the process; [`below`] and [`bounded`] are parts of others.

pub mod below;
pub mod blobs;
pub mod bounded;
pub mod made;
pub mod memory;
pub mod sink;
pub mod source;
