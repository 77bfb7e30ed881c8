//! What the binary `caudal` is made of; `main` only hands over to it.
//!
//! [`cli`] reads arguments and picks a verb; [`load`] reads a job file with the process's environment; [`run`] runs
//! jobs: sources, engine and sinks, a thread each; [`live`] shows them; [`demo`] runs one on nothing but the embedded
//! store and proves it with [`recompute`].

pub mod cases;
pub mod cli;
pub mod demo;
pub mod inspect;
pub mod jobfile;
pub mod live;
pub mod load;
pub mod recompute;
pub mod run;
pub mod serve;
pub mod telemetry;

/// In place of the system's: glibc gives many threads arenas of their own, each of which keeps the most that was ever
/// needed in it, so that memory grew at a constant load. The C libraries within allocate from it too.
#[cfg(all(target_os = "linux", not(fuzzing)))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
