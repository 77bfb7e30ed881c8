//! What the binary `caudal` is made of; `main` only hands over to it.
pub mod jobfile;
pub mod load;
pub mod run;
pub mod serve;
pub mod telemetry;
