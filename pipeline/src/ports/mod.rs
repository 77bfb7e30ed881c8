//! The ports: what the engine asks of the outside, and nothing about who answers.
//!
//! [`source`] brings messages in, [`sink`] takes results out, [`blobs`] keeps bytes safe. All three are blocking
//! or polled; none knows an async runtime. Connectors implement them, tests implement them in memory.

pub mod blobs;
pub mod sink;
pub mod source;
