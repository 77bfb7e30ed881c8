//! The operators: plain state structs that think, and one piece of plumbing ([`epochs`]) that moves frontiers.
//!
//! ```text
//! records ─▶ judge ─▶ accepted ─▶ combine ═(group)═▶ windows ─▶ row changes ─┬─────────────▶ collect ─▶ ledger
//!              │                                                             └▶ fold ═▶ differential reduce ─┘
//!              └▶ refused ═(partition)═▶ collect (dead letters; accepted ones too where events are archived)
//! ```
//!
//! An operator is told of data as it arrives and of an epoch's end exactly once, in order, with the watermarks that
//! were bound for it. What it emits depends on the set of records of each epoch, never on their order of arrival.

pub mod collect;
mod combine;
mod driver;
mod judge;
mod rollup;
mod sessions;
mod sliding;
mod spans;
mod windows;

pub use combine::{Combine, Partial};
pub use driver::{EpochOperator, Tick, Ticks, epochs};
pub use judge::{Derive, Judge, Judged};
pub use rollup::rollup;
pub use sessions::given_complete;
pub use windows::{Change, RowChange, WindowAssigner, Windows};
