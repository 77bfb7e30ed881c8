//! The two ports of a running process, spoken to over real sockets: metrics, health, and events over HTTP.

mod harness;
mod intake;
mod metrics;
mod prometheus;
mod readiness;
