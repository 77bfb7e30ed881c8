//! The official JSON Schema test suite for draft 2020-12, all of it: verdicts must equal `valid`, and what is not
//! supported must be refused when the schema is read. Both lists are kept here, so that a change of either shows.

#![allow(clippy::disallowed_methods, reason = "a test reads its cases from files")]

use super::*;
use crate::decode::json;
use std::path::{Path, PathBuf};

/// Cases (file: case) whose schema is refused when it is read, and why that is right.
const REFUSED: &[(&str, &str)] = &[
    ("optional/cross-draft.json: refs to historic drafts are processed as historic drafts", "its document is not supplied"),
    ("optional/format/unknown.json: unknown format", "an unknown format cannot be judged"),
];

fn suite() -> Option<PathBuf> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|dir| dir.join("shared/data/json-schema-suite"))
        .find(|dir| dir.is_dir())
}

fn files(dir: &Path, out: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, out);
        } else if path.extension().is_some_and(|e| e == "json") {
            out.push(path);
        }
    }
}

fn read(path: &Path) -> Json {
    json::parse(&std::fs::read(path).unwrap()).unwrap_or_else(|e| panic!("{}: {e:?}", path.display()))
}

fn remotes(suite: &Path) -> BTreeMap<String, Json> {
    let base = suite.join("remotes");
    let mut paths = Vec::new();
    files(&base, &mut paths);
    let uri = |path: &Path| format!("http://localhost:1234/{}", path.strip_prefix(&base).unwrap().display());
    paths.iter().map(|path| (uri(path), read(path))).collect()
}

#[test]
fn verdicts_equal_the_official_suite() {
    let Some(suite) = suite() else {
        println!("skipped: no shared/data/json-schema-suite above {}", env!("CARGO_MANIFEST_DIR"));
        return;
    };
    let (remotes, base) = (remotes(&suite), suite.join("tests"));
    let (mut paths, mut refused, mut wrong, mut judged) = (Vec::new(), Vec::new(), Vec::new(), 0);
    files(&base, &mut paths);
    for path in &paths {
        let file = path.strip_prefix(&base).unwrap().display().to_string();
        for case in read(path).as_array().unwrap() {
            let name = format!("{file}: {}", case["description"].as_str().unwrap());
            // This one file states the default of the standard, in which formats only annotate.
            let asserted = file != "format.json";
            match Schema::compile(&case["schema"], &remotes, asserted) {
                Err(why) => refused.push((name, why)),
                Ok(schema) => {
                    for test in case["tests"].as_array().unwrap() {
                        judged += 1;
                        let (valid, mut violations) = (schema.is_valid(&test["data"]), Violations::default());
                        schema.violations(&test["data"], "", &mut violations);
                        if valid != test["valid"].as_bool().unwrap() || valid != violations.is_empty() {
                            wrong.push(format!("{name}: {} should be {}", test["description"], test["valid"]));
                        }
                    }
                }
            }
        }
    }
    println!("{judged} verdicts, {} schemas refused", refused.len());
    assert!(wrong.is_empty(), "{} wrong verdicts:\n{}", wrong.len(), wrong.join("\n"));
    let names: Vec<&str> = refused.iter().map(|(name, _)| name.as_str()).collect();
    let expected: Vec<&str> = REFUSED.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, expected, "refused: {refused:#?}");
    assert!(judged > 1_500, "only {judged} tests were found");
}
