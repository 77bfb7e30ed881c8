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
