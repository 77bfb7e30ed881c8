//! What strangers' bytes must never do: panic, differ from one reading to the next, or be believed when damaged.
//!
//! One module for each place where bytes come in from outside. `check(bytes)` panics if a promise is broken. libFuzzer
//! calls it without end (`targets/`), and `tests/mutations.rs` for some seconds in every run of the tests.

pub mod commit_log;
pub mod decoder;
pub mod job_file;
pub mod run;
