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
    // Of this run: checkouts that share a target folder share this program too.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo says where the crate lies");
    let root = Path::new(&here).parent().expect("the crate lies in the workspace");
    for place in PLACES {
        println!("cargo::rerun-if-changed={}", root.join(place).display());
    }
    let hash = sources::hash(root, &PLACES).expect("the sources can be read");
    println!("cargo::rustc-env=CAUDAL_BUILD={hash:016x}");
}
