//! A child process that does not outlive us, whatever happens to us.
//!
//! Dropping a [`Process`] kills it. That is not enough: a test run that is itself killed drops nothing. So each
//! service starts through a few lines of shell that leave a watcher beside it, reading a pipe that only we hold open.
//!
//! ```text
//! we ──pipe──▶ watcher ──(end of file)──▶ kill -KILL service, remove its folder
//! ```
//!
//! The kernel closes the pipe when we end, by any cause. The watcher acts only while the service is still its parent:
//! a process number used again is never hit, and a service that a test has killed can start again on its folder.

use super::StartError;
use super::folder::Folder;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// Runs `"$@"` in place of the shell, with the watcher as its child. `$1` is the folder to remove.
const WATCHED: &str = r#"
folder=$1; shift
exec 3<&0 </dev/null
(
  trap '' INT TERM HUP
  read -r _ <&3
  read -r _ _ _ parent _ </proc/self/stat
  [ "$parent" = "$$" ] || exit 0
  kill -KILL "$$"
  rm -rf -- "$folder" || { sleep 1; rm -rf -- "$folder"; }
) >/dev/null 2>&1 &
exec 3<&-
exec "$@"
"#;

/// Between two looks at a service that is starting.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A service that is not there by then never will be; one that ends is noticed at once.
pub const START_LIMIT: Duration = Duration::from_secs(300);

/// How a shell ends that finds no such command.
const NOT_FOUND: i32 = 127;

/// A running service. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Held open while we live; never written.
    _lifeline: Option<ChildStdin>,
    name: &'static str,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with `folder` as its working folder; what it prints goes to a log there.
    pub fn spawn(name: &'static str, folder: &Folder, command: &[&str]) -> Result<Process, StartError> {
        let failed = |cause| StartError(format!("cannot start {name} ({}): {cause}", command[0]));
        let log = folder.path().join(format!("{name}.log"));
        let output = File::create(&log).map_err(failed)?;
        let mut child = Command::new("sh")
            .args(["-c", WATCHED, "sh"])
            .arg(folder.path())
            .args(command)
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stderr(output.try_clone().map_err(failed)?)
            .stdout(output)
            .spawn()
            .map_err(failed)?;
        // Waiting for a child closes its standard input, unless that is kept apart.
        let _lifeline = child.stdin.take();
        Ok(Process { child, _lifeline, name, log })
    }

    /// Returns once `ready`, which is given what the service has printed so far; fails when it ends or takes too long.
    pub fn wait_until(&mut self, limit: Duration, mut ready: impl FnMut(&str) -> bool) -> Result<(), StartError> {
        let deadline = Instant::now() + limit;
        while !ready(&self.printed()) {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(match status.code() {
                    Some(NOT_FOUND) => StartError(format!("{} is not installed: run .ci/install", self.name)),
                    _ => self.failure(&format!("ended with {status} while starting")),
                });
            }
            if Instant::now() > deadline {
                return Err(self.failure(&format!("did not answer within {} s", limit.as_secs())));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once, as a power cut would; its folder stays.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Everything it has printed.
    pub fn printed(&self) -> String {
        read_lossy(&self.log)
    }

    fn failure(&self, what: &str) -> StartError {
        let printed = self.printed();
        let lines: Vec<&str> = printed.lines().collect();
        let tail = lines[lines.len().saturating_sub(30)..].join("\n  ");
        StartError(format!("{} {what}; its last lines:\n  {tail}", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn read_lossy(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

/// Runs a tool to its end and returns what it printed.
pub fn run(command: &[&str], folder: &Path) -> Result<String, StartError> {
    let output =
        Command::new(command[0]).args(&command[1..]).current_dir(folder).stdin(Stdio::null()).output().map_err(|cause| {
            StartError(format!("cannot run {}: {cause}; run .ci/install to install what the tests need", command[0]))
        })?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(text) } else { Err(StartError(format!("{} failed: {}", command.join(" "), text.trim()))) }
}

/// Sends a process a signal, named as `kill` has it (`-TERM`). After `-STOP` it stands still: `kill` does not wait for that,
/// and on a busy machine a process yet answers what it is asked next.
pub fn signal(process: u32, name: &str) -> Result<(), StartError> {
    run(&["kill", name, &process.to_string()], Path::new("/"))?;
    while name == "-STOP" && runs(process) {
        std::thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}

/// Whether a thread of the process is neither stopped nor ended, where the system tells.
fn runs(process: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{process}/task")) else { return false };
    // The state comes after the name, which is in brackets and may hold some itself.
    let states = threads.flatten().map(|thread| read_lossy(&thread.path().join("stat")));
    states.filter_map(|stat| stat.rsplit_once(") ")?.1.chars().next()).any(|state| !"TtXZ".contains(state))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    /// A service that says that it is there and then waits for ever.
    fn idle(folder: &Folder) -> Process {
        let mut process = Process::spawn("idle", folder, &["sh", "-c", "echo ready; exec sleep 1000"]).unwrap();
        process.wait_until(SOON, |printed| printed.contains("ready")).unwrap();
        process
    }

    fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + SOON;
        while !holds() {
            assert!(Instant::now() < deadline, "still not: {what}");
            std::thread::park_timeout(LOOK_AGAIN);
        }
    }

    #[test]
    fn dropping_kills_and_leaves_nothing() {
        let folder = Folder::new("test").unwrap();
        let path = folder.path().to_owned();
        let process = idle(&folder);
        let id = process.id();
        drop((process, folder));
        assert!(!Path::new(&format!("/proc/{id}")).exists() && !path.exists());
    }

    #[test]
    fn a_service_and_its_folder_do_not_outlive_whoever_started_it() {
        let folder = Folder::new("test").unwrap();
        let mut process = idle(&folder);
        // What the kernel does when we are killed: the pipe is closed, and nothing is dropped.
        process._lifeline = None;
        eventually("the service has ended", || process.child.try_wait().unwrap().is_some());
        eventually("the folder is gone", || !folder.path().exists());
    }

    #[test]
    fn a_killed_service_keeps_its_folder_and_starts_again_on_it() {
        let folder = Folder::new("test").unwrap();
        let mut process = idle(&folder);
        process.kill();
        process = idle(&folder);
        // The first one's watcher has seen its pipe close by now or will: it must let the second one be.
        for _ in 0..5 {
            std::thread::park_timeout(LOOK_AGAIN);
            assert!(process.child.try_wait().unwrap().is_none() && folder.path().exists());
        }
    }

    #[test]
    fn a_process_that_was_told_to_stop_stands_still() {
        let folder = Folder::new("test").unwrap();
        let busy = Process::spawn("busy", &folder, &["sh", "-c", "while :; do :; done"]).unwrap();
        for _ in 0..20 {
            signal(busy.id(), "-STOP").unwrap();
            assert!(!runs(busy.id()));
            signal(busy.id(), "-CONT").unwrap();
            eventually("it goes on", || runs(busy.id()));
        }
    }

    #[test]
    fn a_service_that_fails_shows_its_last_lines_and_a_missing_one_what_to_do() {
        let folder = Folder::new("test").unwrap();
        let fails = |command: &[&str]| Process::spawn("x", &folder, command).unwrap().wait_until(SOON, |_| false).unwrap_err().0;
        let text = fails(&["sh", "-c", "echo port taken; exit 3"]);
        assert!(text.contains("ended with exit status: 3") && text.contains("port taken"), "{text}");
        assert_eq!(fails(&["no-such-command"]), "x is not installed: run .ci/install");
    }
}
