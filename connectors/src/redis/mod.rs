//! (contract; to be replaced by the real module)

pub mod config;
