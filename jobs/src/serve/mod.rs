//! What a process serves: one port for people and programs, another for operators.
//!
//! ```text
//! public port      POST /v1/jobs/{job}/streams/{stream}/events        every job of the process, each while it runs
//! operators' port  GET  /metrics  /livez  /readyz  /version           figures out, nothing in
//! ```
//! Both only read what [`run::Shared`](crate::run::Shared) publishes, on a thread of their own, so that a slow client
//! delays nobody but itself. Neither is open beyond loopback unless its address says so.

mod metrics;
mod operators;
mod public;
mod pulse;
mod readiness;
mod server;
mod snapshot;

pub use operators::operators;
pub use public::{Attached, PublicPort};
pub use server::Server;
