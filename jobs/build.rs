//! Tells the build apart: epochs that one build has bound are formed again by the same one alone (SEMANTICS 16).

#[path = "build/sources.rs"]
mod sources;

use std::path::Path;

/// All that decides what comes out of a record, from the workspace's root on.
const PLACES: [&str; 7] = [
    "pipeline/src",
    "connectors/src",
    "jobs/src/jobfile",
    // Features decide how numbers are read.
    "Cargo.toml",
    "pipeline/Cargo.toml",
    "connectors/Cargo.toml",
    "Cargo.lock",
];

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace");
    for place in PLACES {
        println!("cargo::rerun-if-changed={}", root.join(place).display());
    }
    let hash = sources::hash(root, &PLACES).expect("the sources can be read");
    println!("cargo::rustc-env=CAUDAL_BUILD={hash:016x}");
}
