//! Rust sources as far as the rules need them: which are tests, what is imported, what is said in public.
//!
//! This is reading by lines and patterns, not a parser: it relies on rustfmt having laid the file out.

use regex::Regex;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

static TEST_FILE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"#\[cfg\(test\)\]\s*(?:#\[path = "(\w+)\.rs"\]\s*)?mod (\w+);"#).unwrap());
static TEST_BLOCK: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?m)^#\[cfg\(test\)\]\s*mod \w+ \{").unwrap());
static USE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?m)^\s*(?:pub(?:\([^)]*\))? )?use ([^;]+);").unwrap());
static PATH: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\b[A-Za-z_]\w*(?:::[A-Za-z_]\w*)+").unwrap());
static PUBLIC: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?m)^ *pub (?:[a-z]+ )*\w[^{;]*").unwrap());

/// A Rust file of the repository.
pub struct Source {
    /// From the repository's root, with `/`.
    pub path: String,
    /// As it is.
    pub text: String,
    /// Without comments and tests; lines keep their numbers.
    code: String,
    /// Compiled for tests only.
    pub is_test: bool,
}

impl Source {
    /// The lines of `//!` on top.
    pub fn header(&self) -> String {
        self.text.lines().take_while(|line| line.starts_with("//!")).collect::<Vec<_>>().join("\n")
    }

    /// Every import, braces resolved, with its line.
    pub fn imports(&self) -> Vec<(usize, Import)> {
        let tree = |found: regex::Captures<'_>| {
            let line = self.line(found.get(1).expect("the group always takes part").start());
            flatten("", &found[1]).into_iter().map(move |import| (line, import))
        };
        USE.captures_iter(&self.code).flat_map(tree).collect()
    }

    /// Every path that is imported or written out.
    pub fn paths(&self) -> Vec<(usize, String)> {
        let written = PATH.find_iter(&self.code).map(|found| (self.line(found.start()), found.as_str().to_owned()));
        self.imports().into_iter().map(|(line, import)| (line, import.path)).chain(written).collect()
    }

    /// Public items and fields up to their body, each on one line.
    pub fn public_signatures(&self) -> Vec<(usize, String)> {
        let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        PUBLIC.find_iter(&self.code).map(|found| (self.line(found.start()), one_line(found.as_str()))).collect()
    }

    /// `path:line: text` of lines outside comments and tests.
    pub fn lines_with<'a>(&'a self, pattern: &'a Regex) -> impl Iterator<Item = String> + 'a {
        let found = self.code.lines().enumerate().filter(|(_, line)| pattern.is_match(line));
        found.map(|(number, line)| format!("{}:{}: {}", self.path, number + 1, line.trim()))
    }

    fn line(&self, at: usize) -> usize {
        1 + self.code[..at].matches('\n').count()
    }
}

/// One imported path, and the name that it has from then on.
#[derive(Debug, PartialEq)]
pub struct Import {
    /// As written where it comes from.
    pub path: String,
    /// The last part, or what stands after `as`.
    pub name: String,
}

/// Names and paths in a signature.
pub fn words(signature: &str) -> impl Iterator<Item = &str> {
    signature.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).map(|word| word.trim_matches(':'))
}

/// Whether its folder's `mod.rs` makes the module public, or re-exports something of it.
pub fn is_seen_outside(source: &Source, all: &[Source]) -> bool {
    let Some((folder, file)) = source.path.rsplit_once('/') else { return true };
    let module = file.trim_end_matches(".rs");
    let parent = all.iter().find(|s| s.path == format!("{folder}/mod.rs"));
    parent.is_none_or(|parent| {
        let shown = Regex::new(&format!(r"(?m)^pub (mod {module};|use (self::)?{module}::)")).expect("a module's name is a word");
        module == "mod" || shown.is_match(&parent.code)
    })
}

/// `a::{b, c::{d, e as f}}` is `a::b`, `a::c::d` and `a::c::e`, the last one by the name of `f`.
fn flatten(prefix: &str, tree: &str) -> Vec<Import> {
    let tree = tree.trim();
    let Some((head, inner)) = tree.split_once('{') else {
        let (path, name) = tree.split_once(" as ").unwrap_or((tree, tree.rsplit("::").next().unwrap_or(tree)));
        return vec![Import { path: format!("{prefix}{path}"), name: name.to_owned() }];
    };
    let inner = inner.strip_suffix('}').unwrap_or(inner);
    branches(inner).into_iter().flat_map(|branch| flatten(&format!("{prefix}{head}"), branch)).collect()
}

/// Splits at the commas that stand in no braces.
fn branches(inner: &str) -> Vec<&str> {
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(&inner[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(&inner[start..]);
    found.into_iter().filter(|branch| !branch.trim().is_empty()).collect()
}

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("jobs lies in the repository")
}

/// Every Rust file.
pub fn sources() -> Vec<Source> {
    let files: Vec<(String, String)> = texts().into_iter().filter(|(path, _)| path.ends_with(".rs")).collect();
    let tests: BTreeSet<String> = files.iter().flat_map(|(path, text)| test_modules(path, text)).collect();
    let is_test = |path: &str| {
        let in_folder = path.split('/').any(|part| matches!(part, "tests" | "tests.rs" | "benches"));
        in_folder || tests.iter().any(|module| path == format!("{module}.rs") || path.starts_with(&format!("{module}/")))
    };
    let source = |(path, text): (String, String)| Source { is_test: is_test(&path), code: code(&text), path, text };
    files.into_iter().map(source).collect()
}

/// Modules that a file declares for tests only, as paths without `.rs`.
fn test_modules(path: &str, text: &str) -> Vec<String> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let children = match name {
        "mod.rs" | "lib.rs" | "main.rs" => folder.to_owned(),
        name => format!("{folder}/{}", name.trim_end_matches(".rs")),
    };
    let module = |found: regex::Captures<'_>| match found.get(1) {
        Some(beside) => format!("{folder}/{}", beside.as_str()),
        None => format!("{children}/{}", &found[2]),
    };
    TEST_FILE.captures_iter(text).map(module).collect()
}

fn code(text: &str) -> String {
    let end = TEST_BLOCK.find(text).map_or(text.len(), |found| found.start());
    let is_comment = |line: &str| line.trim_start().starts_with("//");
    text[..end].lines().map(|line| if is_comment(line) { "" } else { line }).collect::<Vec<_>>().join("\n")
}

/// Every text file that someone wrote for the repository, in order: no build output, no hidden folder but `.ci`.
pub fn texts() -> Vec<(String, String)> {
    let mut files = Vec::new();
    walk(root(), &mut files);
    files.sort();
    let read = |path: PathBuf| {
        let name = path.strip_prefix(root()).expect("the walk starts there").to_string_lossy().replace('\\', "/");
        Some((name, std::fs::read_to_string(&path).ok()?))
    };
    files.into_iter().filter_map(read).collect()
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    const WRITTEN: [&str; 8] = ["rs", "toml", "md", "yaml", "yml", "json", "lua", "sh"];
    for entry in std::fs::read_dir(folder).expect("a folder of the repository can be read") {
        let path = entry.expect("a folder of the repository can be read").path();
        let name = path.file_name().expect("an entry has a name").to_string_lossy().into_owned();
        let is_ci = folder.file_name().is_some_and(|name| name == ".ci");
        let is_hidden = name.starts_with('.') && name != ".ci" && name != ".cargo";
        let is_written = path.extension().is_some_and(|e| WRITTEN.iter().any(|w| e == *w)) || is_ci;
        match path.is_dir() {
            true if !is_hidden && name != "target" && !path.join("CACHEDIR.TAG").exists() => walk(&path, files),
            false if is_written => files.push(path),
            _ => {}
        }
    }
}

#[test]
fn sources_are_read_as_the_rules_need_them() {
    let flat =
        |tree: &str| flatten("", tree).into_iter().map(|import| format!("{} {}", import.path, import.name)).collect::<Vec<_>>();
    assert_eq!(
        flat("std::{self, fs, collections::{BTreeMap, hash_map as map}, time::Duration}"),
        [
            "std::self self",
            "std::fs fs",
            "std::collections::BTreeMap BTreeMap",
            "std::collections::hash_map map",
            "std::time::Duration Duration"
        ]
    );
    assert_eq!(flat("a as b"), ["a b"]);
    let text = "//! A.\nuse x::Y;\n// x.unwrap()\npub fn f(y: &Y)\nwhere\n    Y: Z,\n{}\n\n#[cfg(test)]\nmod tests {\n    use q::R;\n}\n";
    let source = Source { path: "a/b.rs".into(), text: text.into(), code: code(text), is_test: false };
    assert_eq!(source.imports(), [(2, Import { path: "x::Y".into(), name: "Y".into() })]);
    assert_eq!(source.public_signatures(), [(4, "pub fn f(y: &Y) where Y: Z,".to_owned())]);
    assert_eq!(source.lines_with(&Regex::new("unwrap").unwrap()).count(), 0);
    assert_eq!(test_modules("a/b.rs", "#[cfg(test)]\nmod oracle;\nmod c;"), ["a/b/oracle"]);
    assert_eq!(test_modules("a/mod.rs", "#[cfg(test)]\nmod oracle;"), ["a/oracle"]);
    assert_eq!(test_modules("a/b.rs", "#[cfg(test)]\n#[path = \"c_suite.rs\"]\nmod suite;"), ["a/c_suite"]);
}
