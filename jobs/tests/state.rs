//! The state folder as the binary meets it: taken over while it is in use, and not to be used at all.

use caudal_connectors::embedded::read::Store;
use caudal_pipeline::log::{LogRecord, decode_record};
use std::fs::File;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};
use xtask::services::process::signal;

#[path = "state/change.rs"]
mod change;
#[path = "state/rebuild.rs"]
mod rebuild;
#[path = "state/zombie.rs"]
mod zombie;

/// How long something is waited for that must happen.
const PATIENCE: Duration = Duration::from_secs(120);

/// One source without faults: the nth event has the index n, so that a row tells whether one is missing or counted twice.
const NUMBERED: &str = "\
caudal: 1
name: numbered
streams:
  readings:
    from: {generate: {seed: 7, rate: 500, sources: [one], template: {at: '{time}', unit: '{source}', n: '{index}'}}}
    event_time: {at: /at, format: rfc3339}
    watermark: {max_delay: 1s, idle_after: 2s, max_future: 1m}
    lateness: 10s
    fields: {unit: {at: /unit, type: text}, n: {at: /n, type: integer}}
views:
  all: {from: readings, window: none, group_by: [unit], select: {events: count(), newest: max(n), total: sum(n)}}
";

/// A folder that is gone after the test, with the job in it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("caudal-state-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("job.yaml"), NUMBERED).unwrap();
        Scratch(path)
    }

    fn command(&self, state: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_caudal"));
        command.arg("run").arg(self.0.join("job.yaml")).arg("--state").arg(state);
        command.args(["--workers", "2", "--checkpoint-every", "1"]);
        command
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A process and the file in which it prints.
struct Running {
    child: Child,
    printed: PathBuf,
}

impl Running {
    fn start(command: &mut Command, printed: PathBuf) -> Running {
        let file = File::create(&printed).unwrap();
        let child = command.stderr(file.try_clone().unwrap()).stdout(file).spawn().unwrap();
        Running { child, printed }
    }

    fn printed(&self) -> String {
        std::fs::read_to_string(&self.printed).unwrap()
    }

    /// Asks until there is an answer, while the process runs.
    fn until<T>(&mut self, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
        until(what, || {
            let answer = ask();
            let ended = self.child.try_wait().unwrap();
            assert!(answer.is_some() || ended.is_none(), "it ended before: {what}\n{}", self.printed());
            answer
        })
    }

    fn signal(&self, name: &str) {
        signal(self.child.id(), name).unwrap();
    }

    fn ended(&mut self) -> ExitStatus {
        until("it ends", || self.child.try_wait().unwrap())
    }

    fn terminate(&mut self) -> ExitStatus {
        self.signal("-TERM");
        self.ended()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "it did not happen that {what}");
        std::thread::yield_now();
    }
}

/// How many events the store has counted, each of them once; more than `than`.
fn counted(state: &Path, than: u64) -> Option<u64> {
    let rows = Store::open(&state.join("numbered/store.sqlite")).ok()?.all_rows("all").ok()?;
    let row = rows.first()?;
    let figure = |name: &str| row[name].as_u64().unwrap();
    let events = figure("events");
    assert_eq!((figure("newest"), figure("total")), (events - 1, events * (events - 1) / 2), "one is missing or counted twice");
    (events > than).then_some(events)
}

#[test]
fn a_process_that_takes_over_goes_on_and_the_older_one_ends() {
    let scratch = Scratch::new("taken");
    let state = scratch.0.join("state");
    let mut older = Running::start(&mut scratch.command(&state), scratch.0.join("older"));
    older.until("the older one counts", || counted(&state, 0));

    let mut newer = Running::start(scratch.command(&state).arg("--take-over"), scratch.0.join("newer"));
    assert_eq!(older.ended().code(), Some(3), "{}", older.printed());
    assert!(older.printed().contains("generation 2 has taken over this state"), "{}", older.printed());
    let reached = until("the store can be read", || counted(&state, 0));
    newer.until("the newer one goes on", || counted(&state, reached));
    let status = newer.terminate();
    assert_eq!(status.code(), Some(0), "{}", newer.printed());
    assert!(counted(&state, reached).is_some());
}

/// The manifests of the checkpoints in the log, oldest first.
fn manifests(state: &Path) -> Vec<PathBuf> {
    let blobs = state.join("numbered/blobs");
    let Ok(entries) = std::fs::read_dir(blobs.join("log")) else { return Vec::new() };
    let seq = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u64>().ok();
    let mut records: Vec<(u64, PathBuf)> =
        entries.map(|entry| entry.unwrap().path()).filter_map(|path| Some((seq(&path)?, path))).collect();
    records.sort();
    let manifest = |(seq, path): (u64, PathBuf)| match decode_record(seq, &std::fs::read(path).ok()?).ok()? {
        LogRecord::Checkpoint(checkpoint) => Some(blobs.join(checkpoint.manifest)),
        _ => None,
    };
    records.into_iter().filter_map(manifest).filter(|path| path.exists()).collect()
}

/// Flips a bit. Once: twice would heal it.
fn damage(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// What `/metrics` says of alarms.
fn alarms(operators: SocketAddr) -> Option<u64> {
    let mut stream = TcpStream::connect(operators).ok()?;
    write!(stream, "GET /metrics HTTP/1.0\r\nhost: x\r\n\r\n").ok()?;
    let text = zombie::answer(stream);
    text.lines().find_map(|line| line.strip_prefix("caudal_alarms_total{caudal_job=\"numbered\"} ")?.parse().ok())
}

/// What happens to a disk that flips a bit, after a kill.
#[test]
fn a_damaged_checkpoint_is_passed_over_with_an_alarm_and_without_any_nothing_starts() {
    let scratch = Scratch::new("damaged");
    let state = scratch.0.join("state");
    let mut first = Running::start(&mut scratch.command(&state), scratch.0.join("first"));
    first.until("two checkpoints are made", || (manifests(&state).len() >= 2).then_some(()));
    let reached = first.until("it counts", || counted(&state, 0));
    drop(first);
    let newest = manifests(&state).split_off(1);
    newest.iter().for_each(|path| damage(path));

    let operators = zombie::free();
    let mut command = scratch.command(&state);
    let mut second = Running::start(command.arg("--operators").arg(operators.to_string()), scratch.0.join("second"));
    second.until("it goes on", || counted(&state, reached));
    let printed = scratch.0.join("second");
    second.until("an alarm tells", || {
        let said = std::fs::read_to_string(&printed).unwrap();
        (said.contains("cannot be used") && said.contains("is damaged")).then_some(())
    });
    second.until("the alarm is counted", || (alarms(operators)? >= 1).then_some(()));
    second.until("two checkpoints are whole again", || (manifests(&state).len() >= 2).then_some(()));
    drop(second);
    manifests(&state).iter().filter(|path| !newest.contains(path)).for_each(|path| damage(path));

    let (code, said) = refused(&scratch, &state);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("no checkpoint can be used") && said.contains("from a backup"), "{said}");
}

/// Exit code and words of a start that cannot work.
fn refused(scratch: &Scratch, state: &Path) -> (Option<i32>, String) {
    let mut running = Running::start(&mut scratch.command(state), scratch.0.join("printed"));
    (running.ended().code(), running.printed())
}

/// The embedded store is a file beside the blobs.
#[test]
fn a_job_that_needs_a_folder_is_refused_in_object_storage() {
    let scratch = Scratch::new("objects");
    let (code, said) = refused(&scratch, Path::new("s3://bucket/prefix"));
    assert_eq!(code, Some(3), "{said}");
    for words in ["s3://bucket/prefix/numbered is object storage", "sinks.embedded is the embedded store", "--state"] {
        assert!(said.contains(words), "{words} in {said}");
    }
    let (code, said) = refused(&scratch, Path::new("gs://bucket/prefix"));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("s3://BUCKET/PREFIX, not in gs://"), "{said}");
}

#[test]
fn a_path_that_is_no_folder_is_refused_by_its_name() {
    let scratch = Scratch::new("no-folder");
    let file = scratch.0.join("a-file");
    std::fs::write(&file, "").unwrap();
    let link = scratch.0.join("a-link");
    std::os::unix::fs::symlink(scratch.0.join("nowhere"), &link).unwrap();
    for path in [file, link] {
        let (code, said) = refused(&scratch, &path);
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains(&path.display().to_string()) && said.contains("--state"), "{said}");
    }
}

/// Root may read everything, so as root the job is started as nobody.
#[test]
fn a_folder_that_may_not_be_read_is_refused_with_what_to_check() {
    const NOBODY: u32 = 65_534;
    let scratch = Scratch::new("not-allowed");
    let state = scratch.0.join("state");
    std::fs::create_dir_all(state.join("numbered")).unwrap();
    let mode = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    mode(&state.join("numbered"), 0o000);
    let is_root = std::fs::read_dir(state.join("numbered")).is_ok();
    let mut command = scratch.command(&state);
    if is_root {
        // A program that nobody may start says nothing about the folder.
        let mut try_it = Command::new(env!("CARGO_BIN_EXE_caudal"));
        if !try_it.arg("--version").uid(NOBODY).output().is_ok_and(|output| output.status.success()) {
            println!("skipped: run as root, and nobody may not start {}", env!("CARGO_BIN_EXE_caudal"));
            return;
        }
        command.uid(NOBODY);
    }
    let mut running = Running::start(&mut command, scratch.0.join("printed"));
    let code = running.ended().code();
    mode(&state.join("numbered"), 0o700);
    assert_eq!(code, Some(3), "{}", running.printed());
    assert!(running.printed().contains("check owner and mode of the state folder"), "{}", running.printed());
}
