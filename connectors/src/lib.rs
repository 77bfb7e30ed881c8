//! Connectors: one folder for each outside system, all of the same shape.

pub mod cassandra;
pub mod context;
pub mod embedded;
pub mod file;
pub mod generate;
pub mod http;
pub mod kafka;
pub mod local_log;
pub mod object_storage;
mod prefetch;
pub mod redis;
pub mod state_folder;
