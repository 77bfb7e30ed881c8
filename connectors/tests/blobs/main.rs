//! The state port: one contract for all that keep blobs, and what object storage alone can do wrong.
//!
//! Object storage is the server of `CAUDAL_TEST_S3`; each test has a prefix of its own in it.
//!
//! `cargo xtask services --only s3 -- cargo test -p caudal-connectors --test blobs`

mod contract;
mod flaky;
mod opening;
mod unsettled;

use caudal_connectors::object_storage::ObjectBlobs;
use caudal_connectors::object_storage::config::Config;
use xtask::services::object_storage::{BUCKET, variables};

/// The server.
fn address() -> String {
    std::env::var("CAUDAL_TEST_S3").expect("CAUDAL_TEST_S3 is not set: run through `cargo xtask services --only s3 --`")
}

/// A prefix that no other test and no earlier run has, reached through `address`.
fn place(address: &str, name: &str) -> Config {
    let variables = variables(address).map(|(name, value)| (name.to_owned(), value));
    Config::parse(&format!("s3://{BUCKET}/{name}-{}", std::process::id()), variables).unwrap()
}

fn objects(address: &str, name: &str) -> ObjectBlobs {
    ObjectBlobs::new(&place(address, name)).unwrap()
}
