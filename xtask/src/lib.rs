//! What the repository's own chores need: real services for tests and benchmarks.
//!
//! Nothing here is part of caudal. `cargo xtask services -- cargo test` is the front door; a test that needs an
//! instance of its own (a broker with TLS, a store it may kill) uses [`services`] directly.

pub mod chart;
pub mod crash;
pub mod services;
pub mod shell;
