//! The row `faults`: what fails around the process while records flow, each fault survived or told, and nothing lost.
//!
//! `cargo xtask crash --row faults --runs MINUTES`; the tests by themselves are a short cut.
//!
//! ```text
//! Scene::begin ─▶ live under load ─▶ fault ─▶ goes on, or ends with code and reason ─▶ fault lifted ─▶ caught up ─┐
//!    readers look all the time                ▲                                                                  │
//!                                             └──────────────── the next fault ◀─────────────────────────────────┘
//! Scene::end ─▶ the stores are what the topic comes to by hand
//! ```
//! The time to recover runs from the moment at which the fault is over, or from the start of the next process where it
//! ended, until all that was sent by then is counted and both stores are written to. `disk` and `clock` are faults that
//! `shim` makes up for one process; `brokers` and `stores` stop and restart real ones. What `lost` and `cut_off` try
//! belongs to the row too.

mod brokers;
mod clock;
mod disk;
mod freshness;
mod scene;
mod shim;
mod stores;
