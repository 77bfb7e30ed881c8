//! Commands as the shell of whoever called would start them.

use std::ffi::OsStr;
use std::process::Command;

/// A command without what `cargo run` has told of xtask's own package: build scripts that look at these variables would
/// otherwise run anew, and all that depends on them, whenever tests are called with and without services in turn.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    let of_package = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(of_package)) {
        command.env_remove(name);
    }
    command
}

#[test]
fn the_own_package_is_not_told() {
    let command = command("true");
    let removed = |name: &str| command.get_envs().any(|(other, value)| other == name && value.is_none());
    assert!(removed("CARGO_PKG_NAME") && removed("CARGO_MANIFEST_DIR") && !removed("PATH"));
}
