//! The jobs from real Kafka into real Redis and real Cassandra, read back with plain clients and recomputed.
//!
//! `cargo xtask services --only kafka,redis,cassandra,s3 -- cargo test -p caudal --test services`
//!
//! ```text
//! generator ─▶ producer ─▶ Kafka ─▶ the job, as its file says ─▶ Redis, Cassandra, Kafka ─▶ redis-cli, CQL, consumer ─┐
//!                            └────▶ consumer ─▶ recomputation from nothing ────────────────────────── equal? ─────────┘
//! ```
//! The recomputation is made twice: `expected` with the engine's parts, `by_hand` without, for the ready-made jobs.
//! Nothing on the right of the job is ours but the comparison: the producer, the consumer and the readers are plain
//! clients. The ready-made jobs run unchanged, only addresses are given. All other tests have names of their own in
//! every store, since they share the servers.

mod away;
mod bank;
mod binary;
mod broker;
mod by_hand;
mod cql;
mod crash;
mod cut_off;
mod event_pipeline;
mod expected;
mod growth;
mod load;
mod lost;
mod objects;
mod process;
mod readme;
mod redis;
mod running;
mod silence;
mod stored;
mod wind_farm;

use std::time::{Duration, Instant};

/// Nothing here takes this long unless it is broken.
const LIMIT: Duration = Duration::from_secs(90);

/// The address of a service.
fn address(variable: &str) -> String {
    let remedy = "run `cargo xtask services -- cargo test -p caudal --test services`";
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: {remedy}"))
}

/// Looks again and again until `look` finds something.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    // A second more than whoever looks has for a better message.
    let deadline = Instant::now() + LIMIT + Duration::from_secs(1);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "still not: {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}
