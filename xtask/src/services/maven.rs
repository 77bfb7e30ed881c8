//! Jars from Maven: fetched once into a cache folder outside the repository, found again ever after.
//!
//! Versions are pinned where they are asked for. The folder appears whole or not at all: it is filled under another
//! name and renamed, so that an interrupted fetch is repeated and two at once do no harm.

use super::StartError;
use super::process::run;
use std::path::{Path, PathBuf};

/// The plugin that copies an artifact and all it depends on into a folder.
const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies";

/// What a machine without Java is told.
const NO_JAVA: &str = "the tests' services need Java: run .ci/install, or apt-get install default-jre-headless maven";

/// The folder of all jars that `artifacts` (`group:artifact:version`) need, fetched if this is the first time.
pub fn jars(name: &str, artifacts: &[&str]) -> Result<PathBuf, StartError> {
    let folder = cache().join(name);
    if folder.is_dir() {
        return Ok(folder);
    }
    let partial = cache().join(format!("{name}.partial-{}", std::process::id()));
    fetch(artifacts, &partial)?;
    // Someone else may have been faster: then theirs is as good.
    if std::fs::rename(partial.join("jars"), &folder).is_err() && !folder.is_dir() {
        return Err(StartError(format!("cannot move the fetched jars to {}", folder.display())));
    }
    let _ = std::fs::remove_dir_all(&partial);
    Ok(folder)
}

/// `-cp` for every jar of a folder.
pub fn class_path(jars: &Path) -> String {
    format!("{}/*", jars.display())
}

/// Fails with what to install when there is no Java to run the jars with.
pub fn require_java() -> Result<(), StartError> {
    run(&["java", "-version"], &std::env::temp_dir()).map(|_| ()).map_err(|_| StartError(NO_JAVA.to_owned()))
}

/// `$CAUDAL_CACHE`, or `~/.cache/caudal`.
fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(".cache/caudal");
    std::env::var_os("CAUDAL_CACHE").map_or_else(home, PathBuf::from)
}

fn fetch(artifacts: &[&str], folder: &Path) -> Result<(), StartError> {
    run(&["mvn", "-version"], &std::env::temp_dir()).map_err(|_| StartError(NO_JAVA.to_owned()))?;
    let refused = |cause| StartError(format!("cannot write to the cache folder {}: {cause}", folder.display()));
    std::fs::create_dir_all(folder).map_err(refused)?;
    std::fs::write(folder.join("pom.xml"), pom(artifacts)).map_err(refused)?;
    eprintln!("fetching {} and what it needs, once, into {}", artifacts.join(", "), cache().display());
    run(&["mvn", "-q", "-B", COPY, "-DoutputDirectory=jars", "-DincludeScope=runtime"], folder).map(|_| ())
}

/// A project that is nothing but its dependencies.
fn pom(artifacts: &[&str]) -> String {
    let dependency = |artifact: &&str| {
        let mut parts = artifact.split(':');
        let mut part = || parts.next().expect("an artifact is group:artifact:version");
        let (group, id, version) = (part(), part(), part());
        format!("<dependency><groupId>{group}</groupId><artifactId>{id}</artifactId><version>{version}</version></dependency>")
    };
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
         <groupId>caudal</groupId><artifactId>jars</artifactId><version>1</version>\
         <dependencies>{}</dependencies></project>",
        artifacts.iter().map(dependency).collect::<String>()
    )
}
