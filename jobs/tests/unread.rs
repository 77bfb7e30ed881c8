//! A process whose output nobody reads any more: the reader of its stderr has gone, and it does not end in a panic.

use std::path::Path;
use std::process::{Command, Stdio};

/// A log collector that died took every job with it at the next alarm.
#[test]
fn a_closed_stderr_changes_no_exit_code() {
    let job = Path::new(env!("CARGO_MANIFEST_DIR")).join("wind-farm");
    let nowhere = std::env::temp_dir().join(format!("caudal-unread-{}", std::process::id()));
    let (job, nowhere) = (job.display().to_string(), nowhere.display().to_string());
    for (arguments, code) in [
        (vec!["run", &nowhere], 2),
        (vec!["test", &nowhere], 2),
        (vec!["check", &nowhere], 2),
        (vec!["dead-letters", "list", "--state", &nowhere], 2),
        // A state folder in a place where none can be: told by the job's thread, and by the log.
        (vec!["run", &job, "--state", "/dev/null"], 3),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_caudal"));
        let status = command.args(&arguments).stdout(Stdio::null()).stderr(writer).status().unwrap();
        assert_eq!(status.code(), Some(code), "{arguments:?}");
    }
}
