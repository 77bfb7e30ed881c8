//! What holds for every file of the repository, and no compiler checks: an ordinary test, so that it runs everywhere.
//!
//! Each rule is one test, told by its name; its table holds what it refuses and the few exceptions, each with a reason.
//! `tidy/rust.rs` reads sources, `tidy/crates.rs` asks cargo for the dependencies, `tidy/licence.rs` weighs licences.

#[path = "tidy/crates.rs"]
mod crates;
#[path = "tidy/licence.rs"]
mod licence;
#[path = "tidy/rust.rs"]
mod rust;

use regex::Regex;
use rust::{Source, sources, texts};

/// A file longer than this says in its header why it stays whole.
const LINES_MAX: usize = 600;
/// The words it says it with.
const STAYS_WHOLE: &str = "stays whole";

/// What `pipeline` must not know, and what it does instead.
const BARRED_FROM_PIPELINE: &[(&str, &str)] = &[
    (r"^std::(fs|net|process|os)\b", "bytes come and go through the ports"),
    (r"^std::env\b", "configuration is passed"),
    (r"^std::io::(stdin|stdout|stderr)\b", "bytes come and go through the ports"),
    (r"^std::time::(Instant|SystemTime|UNIX_EPOCH|\*)|^std::time$|\b(Instant|SystemTime)\b", "time arrives as an argument"),
    (r"\b(Timestamp|Zoned)::now\b|\bTimeZone::system\b", "time and zone arrive as arguments"),
    (r"^std::collections::(HashMap|HashSet|hash_map|hash_set|\*)", "BTreeMap, or crate::hash for look-ups"),
    (r"\b(RandomState|DefaultHashBuilder)\b", "a hasher with a fixed seed"),
    (r"^std::thread::sleep\b|\bthread::sleep\b", "nothing waits for a clock"),
    (r"^(tokio|async_std|smol|futures|rand|getrandom|fastrand)::", "no async runtime and no random source"),
];

/// Connectors whose work is to hand over to another one.
const CONNECTORS_THAT_MAY_KNOW: &[(&str, &str, &str)] =
    &[("http", "local_log", "HTTP is a door of the local log: what it takes in is kept nowhere else")];

/// Hosts that an address in the repository may name.
const HOSTS: &[&str] =
    &["localhost", "127.0.0.1", "github.com", "docs.rs", "rustup.rs", "semver.org", "json-schema.org", "www.apache.org"];
/// Hosts that are names only: a namespace, or an example.
const HOSTS_THAT_ARE_NAMES: &[&str] = &["maven.apache.org", "www.w3.org", "www.rfc-editor.org", "x.org"];

fn none(rule: &str, violations: Vec<String>) {
    assert!(violations.is_empty(), "{rule}:\n  {}", violations.join("\n  "));
}

fn under<'a>(sources: &'a [Source], folder: &'a str) -> impl Iterator<Item = &'a Source> {
    sources.iter().filter(move |source| source.path.starts_with(folder) && !source.is_test)
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    let bare = sources().into_iter().filter(|source| !source.text.starts_with("//! "));
    none("a file begins with `//!`", bare.map(|source| source.path).collect());
}

#[test]
fn long_files_say_why() {
    let long = sources().into_iter().filter(|source| source.text.lines().count() > LINES_MAX);
    let silent = long.filter(|source| !source.header().contains(STAYS_WHOLE));
    none(&format!("over {LINES_MAX} lines, the header says why the file {STAYS_WHOLE}"), silent.map(|s| s.path).collect());
}

#[test]
fn pipeline_knows_no_clock_file_network_environment_runtime_or_chance() {
    let barred: Vec<(Regex, &str)> =
        BARRED_FROM_PIPELINE.iter().map(|(pattern, instead)| (Regex::new(pattern).unwrap(), *instead)).collect();
    let mut violations = Vec::new();
    let sources = sources();
    for source in under(&sources, "pipeline/src/") {
        for (line, path) in source.paths() {
            for (_, instead) in barred.iter().filter(|(pattern, _)| pattern.is_match(&path)) {
                violations.push(format!("{}:{line}: {path}: {instead}", source.path));
            }
        }
    }
    none("pipeline is a function of its arguments", violations);
}

#[test]
fn connectors_do_not_reach_into_one_another() {
    let sources = sources();
    let mut violations = Vec::new();
    for source in under(&sources, "connectors/src/") {
        let Some((own, _)) = source.path["connectors/src/".len()..].split_once('/') else { continue };
        for (line, path) in source.paths() {
            let Some(other) = path.strip_prefix("crate::").and_then(|rest| rest.split("::").next()) else { continue };
            let is_folder = sources.iter().any(|s| s.path == format!("connectors/src/{other}/mod.rs"));
            let may = CONNECTORS_THAT_MAY_KNOW.iter().any(|(from, to, _)| (*from, *to) == (own, other));
            if is_folder && other != own && !may {
                violations.push(format!("{}:{line}: {path}", source.path));
            }
        }
    }
    none("a connector's folder stands alone", violations);
}

#[test]
fn no_client_library_shows_in_a_public_signature_of_connectors() {
    const LIBRARIES: &[&str] = &["rdkafka", "redis", "scylla", "rusqlite", "object_store", "bigdecimal", "csv", "flate2"];
    let sources = sources();
    let seen = under(&sources, "connectors/src/").filter(|source| rust::is_seen_outside(source, &sources));
    let violations = seen.flat_map(|source| {
        let of_library =
            |path: &str| LIBRARIES.iter().any(|library| path.strip_prefix(library).is_some_and(|p| p.starts_with("::")));
        let imported = source.imports().into_iter().filter(|(_, import)| import.name != "_" && of_library(&import.path));
        let names: Vec<String> = imported.map(|(_, import)| import.name).collect();
        let shows = move |word: &str| of_library(word) || names.iter().any(|name| name == word);
        let found = source.public_signatures().into_iter().filter(move |(_, signature)| rust::words(signature).any(&shows));
        found.map(|(line, signature)| format!("{}:{line}: {signature}", source.path))
    });
    none("what connectors show is theirs or pipeline's", violations.collect());
}

#[test]
fn nothing_unwraps_outside_tests() {
    let unfinished = Regex::new(r"\.unwrap\(\)|\b(todo|unimplemented|dbg)!\(").unwrap();
    let sources = sources();
    let violations = under(&sources, "").flat_map(|source| source.lines_with(&unfinished));
    none("`expect` states the invariant, and nothing is left to do", violations.collect());
}

#[test]
fn nothing_refers_to_the_machine_it_was_written_on() {
    let private = Regex::new(r"(?:^|[\s\x22'`(=])/(?:work|root|home/\w+)/").unwrap();
    let beside = Regex::new(r"\.\./shared/").unwrap();
    let host = Regex::new(r"https?://([A-Za-z0-9.-]+)").unwrap();
    let known = |name: &str| {
        let listed = HOSTS.iter().chain(HOSTS_THAT_ARE_NAMES).any(|host| *host == name);
        listed || name == "example.com" || name.ends_with(".example.com") || name.ends_with(".example")
    };
    let mut violations = Vec::new();
    for (path, text) in texts() {
        let is_own_data = path.starts_with("jobs/tests/") || path.starts_with("jobs/examples/");
        for (number, line) in text.lines().enumerate() {
            let strange = host.captures_iter(line).any(|found| !known(&found[1]));
            if private.is_match(line) || strange || (!is_own_data && beside.is_match(line)) {
                violations.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    none("paths and hosts are those that a stranger's machine has", violations);
}

/// Tests whose data is missing pass, and nobody reads what they print: `.ci/run` says it by this script.
#[test]
fn data_that_is_missing_is_named() {
    let folder = std::env::temp_dir().join(format!("caudal-data-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(folder.join("repository/.ci")).unwrap();
    let script = folder.join("repository/.ci/missing-data");
    std::fs::copy(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../.ci/missing-data"), &script).unwrap();
    let missing = || {
        let output = std::process::Command::new("bash").arg(&script).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let all = missing();
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(all[0].contains("nab.rs") && all[1].contains("schema_suite.rs"), "{all:?}");
    std::fs::create_dir_all(folder.join("shared/data/nab/data")).unwrap();
    assert_eq!(missing(), all[1..]);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn knowledge_flows_one_way() {
    none("jobs → connectors → pipeline, never back", crates::against_the_flow());
}

#[test]
fn libraries_stay_where_deny_toml_says() {
    none("deny.toml names who may depend on a library", crates::outside_their_wrappers());
}

#[test]
fn every_licence_is_allowed_by_deny_toml() {
    none("deny.toml lists the licences that may be shipped under Apache-2.0", crates::licences_not_allowed());
}

#[test]
fn every_crate_comes_from_the_registry() {
    none("a dependency is one of ours or comes from crates.io", crates::from_elsewhere());
}
