//! Job files that are wrong, each beside the words that it must be answered with: `bad/x.yaml` and `bad/x.txt`.
//!
//! A first line `# --set path=value` gives an override. To write the answers anew, after reading what changed:
//! `UPDATE_EXPECTED=1 cargo test -p caudal --test jobfile`.

use caudal_jobs::jobfile::{Job, Mistakes, Override, Surroundings, read};
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/jobfile")
}

/// Reads a job below the folder, with two variables and one secret.
fn read_job(name: &str, overrides: Vec<Override>) -> Result<Job, Mistakes> {
    let around = Surroundings {
        variable: &|name| match name {
            "HOME_BROKER" => Some("home:9092".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        },
        file: &|path| match path.to_str() {
            Some("/run/secret") => Ok("hunter2\n".into()),
            _ => std::fs::read_to_string(folder().join(path)).map_err(|e| match e.kind() {
                std::io::ErrorKind::NotFound => "no such file".to_string(),
                _ => e.to_string(),
            }),
        },
        overrides,
        fits: &|plan| match plan.limits.memory_bytes {
            Some(bytes) if bytes < 1 << 20 => Err(format!("{bytes} B cannot hold the job, which needs 1 MiB")),
            _ => Ok(()),
        },
    };
    read(name, &around)
}

fn overrides(text: &str) -> Vec<Override> {
    let lines = text.lines().take_while(|l| l.starts_with("# --set "));
    lines.map(|l| Override::Set(l["# --set ".len()..].to_string())).collect()
}

#[test]
fn wrong_files_are_answered_in_the_expected_words() {
    let mut names: Vec<PathBuf> = std::fs::read_dir(folder().join("bad"))
        .expect("the folder is there")
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    names.sort();
    assert!(names.len() > 20, "the folder has lost its files");
    let mut differing = Vec::new();
    for path in names {
        let text = std::fs::read_to_string(&path).expect("a case can be read");
        let name = format!("bad/{}", path.file_name().expect("a file has a name").to_string_lossy());
        let answer = match read_job(&name, overrides(&text)) {
            Ok(_) => "no mistake\n".to_string(),
            Err(mistakes) => format!("{mistakes}\n"),
        };
        let expected_path = path.with_extension("txt");
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            std::fs::write(&expected_path, &answer).expect("the answer can be written");
        }
        let expected = std::fs::read_to_string(&expected_path).unwrap_or_default();
        if answer != expected {
            differing.push(format!("--- expected\n{expected}--- answered\n{answer}"));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}
