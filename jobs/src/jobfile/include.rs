//! `include:` merges files with shared parts into a job file. Maps are merged key by key; a value that two files give is
//! an error naming both, because no order of precedence would be obvious to the reader.

use super::mistakes::Mistakes;
use super::node::{Content, Entry, Node, Place};
use super::path;
use super::surroundings::Surroundings;
use super::yaml;
use std::path::{Path, PathBuf};

/// Reads the file and all it includes into one tree.
pub fn read(file: &str, around: &Surroundings<'_>, mistakes: &mut Mistakes) -> Option<Node> {
    let text = match (around.file)(Path::new(file)) {
        Ok(text) => text,
        Err(e) => {
            mistakes.note(Place::outside(file), "", format!("cannot be read: {e}"));
            return None;
        }
    };
    let mut stack = vec![PathBuf::from(file)];
    document(file, &text, around, &mut stack, mistakes)
}

fn document(
    file: &str,
    text: &str,
    around: &Surroundings<'_>,
    stack: &mut Vec<PathBuf>,
    mistakes: &mut Mistakes,
) -> Option<Node> {
    let mut errors = Vec::new();
    let root = yaml::parse(file, text.strip_prefix('\u{feff}').unwrap_or(text), &mut errors);
    for e in errors {
        mistakes.note(e.place, "", e.message);
    }
    let mut root = root?;
    let names: Vec<Node> = match root.get("include") {
        Some(node) if node.scalar().is_some() => vec![node.clone()],
        Some(node) => node.items().iter().filter(|n| n.scalar().is_some()).cloned().collect(),
        None => Vec::new(),
    };
    for name in names {
        include(&mut root, &name, around, stack, mistakes);
    }
    Some(root)
}

fn include(root: &mut Node, name: &Node, around: &Surroundings<'_>, stack: &mut Vec<PathBuf>, mistakes: &mut Mistakes) {
    let Some(scalar) = name.scalar() else { return };
    let path = beside(&name.place.file, &scalar.text);
    if stack.contains(&path) {
        mistakes.at(name, "include", format!("`{}` includes itself", path.display()));
        return;
    }
    let text = match (around.file)(&path) {
        Ok(text) => text,
        Err(e) => {
            mistakes.at(name, "include", format!("`{}` cannot be read: {e}", path.display()));
            return;
        }
    };
    stack.push(path.clone());
    if let Some(shared) = document(&path.display().to_string(), &text, around, stack, mistakes) {
        let shared = without_include(shared);
        merge(root, shared, "", mistakes);
    }
    stack.pop();
}

fn without_include(mut node: Node) -> Node {
    if let Content::Map(entries) = &mut node.content {
        entries.retain(|e| e.key != "include");
    }
    node
}

/// The path of a file that is named in another one.
pub fn beside(file: &str, name: &str) -> PathBuf {
    let folder = Path::new(file).parent().unwrap_or(Path::new(""));
    folder.join(name)
}

fn merge(into: &mut Node, from: Node, at: &str, mistakes: &mut Mistakes) {
    if into.is_null() {
        into.content = from.content;
        return;
    }
    match (&mut into.content, from.content) {
        (Content::Map(entries), Content::Map(added)) => {
            for entry in added {
                add(entries, entry, at, mistakes);
            }
        }
        (_, content) => {
            if !(Node { place: from.place.clone(), content }).is_null() {
                let other = &from.place;
                let message = format!("given here and in {}:{}:{}: keep one of them", other.file, other.line, other.column);
                mistakes.at(into, at, message);
            }
        }
    }
}

fn add(entries: &mut Vec<Entry>, added: Entry, at: &str, mistakes: &mut Mistakes) {
    let path = path::key(at, &added.key);
    match entries.iter_mut().find(|e| e.key == added.key) {
        Some(entry) if path == "caudal" && entry.node.to_json() == added.node.to_json() => {}
        Some(entry) => merge(&mut entry.node, added.node, &path, mistakes),
        None => entries.push(added),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(name: &Path) -> Result<String, String> {
        match name.to_str() {
            Some("jobs/job.yaml") => Ok("caudal: 1\ninclude: [shared/a.yaml, b.yaml]\nlimits: {memory: 1GiB}\n".into()),
            Some("jobs/shared/a.yaml") => Ok("caudal: 1\nlimits:\n  groups: 5\ninclude: c.yaml\n".into()),
            Some("jobs/shared/c.yaml") => Ok("sinks: {x: {}}\ninclude: a.yaml\n".into()),
            Some("jobs/b.yaml") => Ok("limits:\n  memory: 2GiB\n".into()),
            _ => Err("no such file".into()),
        }
    }

    #[test]
    fn maps_merge_and_clashes_name_both_files() {
        let around = Surroundings { variable: &|_| None, file: &files, overrides: Vec::new(), fits: &|_| Ok(()) };
        let mut mistakes = Mistakes::new("jobs/job.yaml");
        let root = read("jobs/job.yaml", &around, &mut mistakes).expect("the file is there");
        assert_eq!(root.get("limits").expect("limits").to_json(), serde_json::json!({"memory": "1GiB", "groups": 5}));
        assert!(root.get("sinks").is_some());
        assert_eq!(
            mistakes.to_string(),
            "jobs/job.yaml: 2 mistakes, nothing was started\n\
             \x20 3:18                     limits.memory   given here and in jobs/b.yaml:2:11: keep one of them\n\
             \x20 jobs/shared/c.yaml:2:10  include   `jobs/shared/a.yaml` includes itself"
        );
    }
}
