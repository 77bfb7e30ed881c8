//! The engine of caudal: records in, exact rows out. No network, file, clock, environment or async runtime.

pub mod aggregate;
pub mod decode;
pub mod expr;
pub mod plan;
pub mod ports;
pub mod record;
pub mod suggest;
pub mod time;
pub mod value;
