//! The whole process among real services, killed and stopped at random moments while records come in and readers look.
//!
//! `cargo xtask crash --row NAME`; the tests by themselves are a short cut of them.
//!
//! ```text
//! feed ─▶ Kafka ─▶ life 1 on 3 workers ─✂ kill -9   life 2 on 1 ─✂ … life n ─▶ all read, SIGTERM
//!                       │                  life 5 ─ SIGSTOP ───────────── SIGCONT ─▶ must end with exit code 3
//!                       │                       life 6 --take-over ───────────────────✂ …
//!                       ▼
//!                Redis, Cassandra, /metrics ◀─ watch: again and again, from the first life to the last
//! ```
//! Three things are asked. Of every look while it goes on: no version of a row goes back, one version has one value,
//! and the verdicts add up. Of the end: the stores are what the bytes in the topic come to by hand. Of a process that
//! was stopped and came back: it ends, and nothing that it writes wins.
//!
//! `trials` reads how many lives, from which seed. `feed` sends records all the time. `lives` starts, kills, stops and
//! takes over. `watch` looks: `redis` speaks the server's protocol on one connection, `cassandra` CQL, `metrics` HTTP;
//! `seen` judges. `process` and `consistency` are the rows.
//!
//! Of the other rows, `faults` lets everything around the process fail in the same scenery, `limits` is the row `load`,
//! and `hour` looks at what may grow.

mod cassandra;
mod change;
mod consistency;
mod faults;
mod feed;
mod hour;
mod limits;
mod lives;
mod metrics;
mod process;
mod redis;
mod resp;
mod seen;
mod trials;
mod watch;
