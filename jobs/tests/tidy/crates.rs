//! Crates and what they depend on, as cargo tells it; what is allowed, as `deny.toml` tells it.
//!
//! cargo-deny checks more, and cargo is asked offline: whoever runs this test has built everything it looks at.

use super::licence::is_met;
use super::rust::root;
use regex::Regex;
use serde_json::Value as Json;
use std::process::Command;

/// Our crates, and which of ours each may depend on; `dev` only for its tests.
const FLOW: &[(&str, &[&str], &[&str])] = &[
    ("caudal-pipeline", &[], &[]),
    ("caudal-connectors", &["caudal-pipeline"], &["xtask"]),
    ("caudal", &["caudal-connectors", "caudal-pipeline"], &["xtask", "caudal-fuzz"]),
    ("caudal-fuzz", &["caudal", "caudal-pipeline"], &[]),
    ("xtask", &[], &[]),
];

/// Crates of ours that depend on one they must not know.
pub fn against_the_flow() -> Vec<String> {
    let mut violations = Vec::new();
    for (name, dependency) in own_dependencies() {
        let Some((_, known, in_tests)) = FLOW.iter().find(|(own, ..)| *own == name) else {
            violations.push(format!("{name} is a new crate: give it a place in the flow"));
            continue;
        };
        let other = text(&dependency["name"]);
        let may = known.contains(&other) || (dependency["kind"] == "dev" && in_tests.contains(&other));
        if dependency["path"].is_string() && !may {
            violations.push(format!("{name} depends on {other}"));
        }
    }
    violations
}

/// Crates of ours that depend on a library whose wrappers they are not among. For `caudal` that means its tests only.
pub fn outside_their_wrappers() -> Vec<String> {
    let entry = Regex::new(r#"\{ crate = "([^"]+)", (?:wrappers = \[([^\]]*)\])?"#).unwrap();
    let deny = deny_toml();
    let wrapped: Vec<(&str, &str)> =
        entry.captures_iter(&deny).map(|c| (c.get(1).map_or("", |m| m.as_str()), c.get(2).map_or("", |m| m.as_str()))).collect();
    assert!(wrapped.len() > 4, "deny.toml is not laid out as this test reads it");
    let mut violations = Vec::new();
    for (name, dependency) in own_dependencies() {
        let library = text(&dependency["name"]);
        for (_, wrappers) in wrapped.iter().filter(|(wrapped, _)| *wrapped == library) {
            let is_named = wrappers.contains(&format!("\"{name}\""));
            if !is_named || (name == "caudal" && dependency["kind"] != "dev") {
                violations.push(format!("{name} depends on {library}"));
            }
        }
    }
    violations
}

/// Packages under licences that are not on the list.
pub fn licences_not_allowed() -> Vec<String> {
    let deny = deny_toml();
    let list = deny.split_once("allow = [").and_then(|(_, rest)| rest.split_once(']')).expect("deny.toml lists licences").0;
    let allowed: Vec<String> = list.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    let refused = packages().into_iter().filter(|package| !is_met(text(&package["license"]), &allowed));
    refused.map(|package| format!("{} {}: {}", text(&package["name"]), text(&package["version"]), package["license"])).collect()
}

/// Packages that are neither ours nor from crates.io.
pub fn from_elsewhere() -> Vec<String> {
    let elsewhere = packages().into_iter().filter(|package| match package["source"].as_str() {
        None => !text(&package["manifest_path"]).starts_with(&*root().to_string_lossy()),
        Some(source) => source != "registry+https://github.com/rust-lang/crates.io-index",
    });
    elsewhere.map(|package| format!("{} from {}", text(&package["name"]), package["source"])).collect()
}

/// Name of a crate of ours, and one thing it depends on.
fn own_dependencies() -> Vec<(String, Json)> {
    let own = packages().into_iter().filter(|package| package["source"].is_null());
    let dependencies = |package: Json| {
        let all = package["dependencies"].as_array().cloned().unwrap_or_default();
        all.into_iter().map(move |dependency| (text(&package["name"]).to_owned(), dependency))
    };
    own.flat_map(dependencies).collect()
}

/// Every package that is built here.
fn packages() -> Vec<Json> {
    let version = run("rustc", &["-vV"]);
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc names its host");
    let metadata = run(env!("CARGO"), &["metadata", "--offline", "--locked", "--format-version=1", "--filter-platform", host]);
    let metadata: Json = serde_json::from_str(&metadata).expect("cargo metadata is JSON");
    metadata["packages"].as_array().cloned().expect("cargo metadata lists packages")
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(root()).output().expect("cargo and rustc are installed");
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("it prints UTF-8")
}

fn deny_toml() -> String {
    std::fs::read_to_string(root().join("deny.toml")).expect("deny.toml lies at the root")
}

fn text(value: &Json) -> &str {
    value.as_str().unwrap_or("")
}
