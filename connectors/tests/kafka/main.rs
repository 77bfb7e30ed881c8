//! The Kafka connector against a real broker.
//!
//! `cargo xtask services --only kafka -- cargo test -p caudal-connectors --test kafka`
//!
//! All tests share the broker of `CAUDAL_TEST_KAFKA`, each with topics of its own; those that need a login, TLS or a
//! broker to kill start one.

mod broker;
mod login;
mod outage;
mod producer;
mod sink;
mod source;
