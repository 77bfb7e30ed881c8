//! `caudal demo` as people start it: faulty input, results and a proof in a pipe; stopped, killed and started again
//! without a wrong figure.
//!
//! The demonstration proves itself against a recomputation by the same code. Beside that the store is read here and
//! added up by hand: every record that the proof counts is in the rows, and every dead letter is kept. The READMEs' lines
//! with sqlite3 are run as they stand.

use caudal_connectors::embedded::read::Store;
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use xtask::services::process::signal;

/// How long a line is waited for that must come.
const PATIENCE: Duration = Duration::from_secs(180);

/// The folder of one test; gone after it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("caudal-demo-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A demonstration in a process of its own, its stdout a pipe.
struct Demo {
    child: Child,
    lines: Receiver<String>,
    errors: PathBuf,
    printed: Vec<String>,
}

impl Demo {
    fn start(job: &str, folder: &Path) -> Demo {
        std::fs::create_dir_all(folder).unwrap();
        let errors = folder.join("stderr");
        let mut command = Command::new(env!("CARGO_BIN_EXE_caudal"));
        command.arg("demo").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(job)).arg("--folder").arg(folder);
        command.args(["--workers", "2"]).stdout(Stdio::piped()).stderr(File::create(&errors).unwrap());
        let mut child = command.spawn().unwrap();
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Demo { child, lines, errors, printed: Vec::new() }
    }

    /// The first line that fits, of those that come from now on.
    fn line(&mut self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.printed.push(line);
                    let line = self.printed.last().expect("just pushed");
                    if fits(line) {
                        return line.clone();
                    }
                }
                Err(_) => panic!("no {what} came:\n{}", self.told()),
            }
        }
    }

    fn proof(&mut self) -> Proof {
        // A slow machine may have little to prove at first.
        let of_faulty_input = |line: &str| is_proof(line) && figures(line)[3..].iter().all(|figure| *figure > 0);
        Proof::read(&self.line("proof of faulty input", of_faulty_input))
    }

    fn told(&self) -> String {
        let errors = std::fs::read_to_string(&self.errors).unwrap_or_default();
        format!("{}\nstderr:\n{errors}", self.printed.join("\n"))
    }

    /// Asks it to stop, and reads the rest: it ends well, with a last proof and the name of its folder.
    fn terminate(mut self, folder: &Path) -> Proof {
        signal(self.child.id(), "-TERM").unwrap();
        let from = self.printed.len();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => self.printed.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it does not stop:\n{}", self.told()),
            }
        }
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}:\n{}", self.told());
        let rest = &self.printed[from..];
        let named = format!("everything lies in {}", folder.display());
        assert!(rest.iter().any(|line| line.starts_with(&named)), "it names its folder:\n{}", self.told());
        let last = rest.iter().rfind(|line| is_proof(line));
        Proof::read(last.unwrap_or_else(|| panic!("no last proof:\n{}", self.told())))
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_proof(line: &str) -> bool {
    line.starts_with(" proof: ")
}

/// The figures of a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Proof {
    records: u64,
    counted: u64,
    dead_letters: u64,
}

/// Records, of them counted, filtered, duplicate and dead letters, and rows.
fn figures(line: &str) -> [u64; 6] {
    let numbers = line.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty());
    let numbers: Vec<u64> = numbers.map(|part| part.parse().unwrap()).collect();
    numbers.try_into().unwrap_or_else(|_| panic!("six figures: {line}"))
}

impl Proof {
    fn read(line: &str) -> Proof {
        assert_eq!(line.matches('✔').count(), 2, "{line}");
        let [records, counted, filtered, duplicate, dead_letters, rows] = figures(line);
        assert_eq!(records, counted + filtered + duplicate + dead_letters, "{line}");
        assert!(duplicate > 0 && dead_letters > 0 && rows > 0, "the input is faulty and there are results: {line}");
        Proof { records, counted, dead_letters }
    }
}

/// What a stopped demonstration left in its store.
struct Left(Store);

impl Left {
    fn of(job: &str, folder: &Path) -> Left {
        Left(Store::open(&folder.join(job).join("store.sqlite")).unwrap())
    }

    fn rows(&self, view: &str) -> Vec<Map<String, Json>> {
        let rows = self.0.all_rows(view).unwrap();
        rows.into_iter().filter(|row| row.get("state").and_then(Json::as_str) != Some("gone")).collect()
    }

    fn sum(&self, view: &str, column: &str) -> u64 {
        self.rows(view).iter().map(|row| row[column].as_u64().unwrap()).sum()
    }

    fn dead_letters(&self) -> u64 {
        self.0.dead_letter_counts().unwrap().iter().map(|(_, _, count)| count).sum()
    }
}

/// Every counted record is in each of these columns, and every dead letter is kept.
fn added_up(job: &str, folder: &Path, proof: Proof, columns: &[(&str, &str)]) {
    let left = Left::of(job, folder);
    for (view, column) in columns {
        assert_eq!(left.sum(view, column), proof.counted, "{job}: {view}.{column}");
    }
    assert_eq!(left.dead_letters(), proof.dead_letters, "{job}: dead letters");
}

/// The lines with sqlite3 that the READMEs show for a job, its own and that of the repository.
fn sqlite_lines(job: &str) -> Vec<String> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let own = std::fs::read_to_string(here.join(job).join("README.md")).unwrap();
    let of_all = std::fs::read_to_string(here.join("../README.md")).unwrap();
    let own = own.lines().map(str::trim).filter(|line| line.starts_with("sqlite3 "));
    let within = of_all.split('`').filter(|code| code.starts_with(&format!("sqlite3 caudal-demo/{job}/")));
    own.chain(within).map(str::to_owned).collect()
}

/// Each of them prints something, as it stands, in the folder in which the demonstration was started.
fn the_readme_reads_it(job: &str, folder: &Path) {
    let lines = sqlite_lines(job);
    assert!(lines.len() >= 2, "{lines:?}");
    for line in lines {
        let output = Command::new("sh").args(["-c", &line]).current_dir(folder).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{line}: {said}; sqlite3 is the Debian package of that name");
        assert!(!output.stdout.trim_ascii().is_empty(), "{line} prints something");
    }
}

/// Shown, stopped, started, killed, started: each start goes on where the last one was, and every proof holds.
fn shown(job: &str, shows_rows: bool, columns: &[(&str, &str)], check: impl Fn(&Left)) {
    let scratch = Scratch::new(job);
    let folder = &scratch.0.join("caudal-demo");
    let mut demo = Demo::start(job, folder);
    if shows_rows {
        demo.line("complete row", |line| line.ends_with("[complete]"));
    }
    let first = demo.proof();
    let stopped = demo.terminate(folder);
    assert!(stopped.records >= first.records && stopped.counted > 0);
    added_up(job, folder, stopped, columns);
    check(&Left::of(job, folder));

    let mut demo = Demo::start(job, folder);
    let again = demo.proof();
    assert!(again.records >= stopped.records && again.counted >= stopped.counted, "{again:?} after {stopped:?}");
    demo.kill();

    let mut demo = Demo::start(job, folder);
    let revived = demo.proof();
    assert!(revived.records >= again.records && revived.counted >= again.counted, "{revived:?} after {again:?}");
    let last = demo.terminate(folder);
    added_up(job, folder, last, columns);
    check(&Left::of(job, folder));
    the_readme_reads_it(job, &scratch.0);
}

#[test]
fn wind_farm_is_shown_and_proven() {
    let columns = [("per_minute", "readings"), ("per_hour", "readings"), ("per_day", "readings"), ("last_seen", "readings")];
    shown("wind-farm", true, &columns, |left| assert_eq!(left.rows("last_seen").len(), 10, "ten turbines"));
}

#[test]
fn event_pipeline_is_shown_and_proven() {
    shown("event-pipeline", true, &[("per_window", "events"), ("daily", "events")], |left| {
        assert!(left.sum("daily_severe", "incidents") > 0);
    });
}

#[test]
fn bank_is_shown_and_proven() {
    shown("bank", false, &[("balance", "entries"), ("total", "entries"), ("per_day", "entries")], |left| {
        let mut cents: BTreeMap<String, i128> = BTreeMap::new();
        for row in left.rows("balance") {
            *cents.entry(row["currency"].to_string()).or_default() += hundredths(&row["balance"]);
        }
        assert!(!cents.is_empty() && cents.values().all(|cents| *cents == 0), "money is neither made nor lost: {cents:?}");
    });
}

/// `12.50` is 1250.
fn hundredths(amount: &Json) -> i128 {
    let text = amount.to_string();
    let (whole, cents) = text.split_once('.').unwrap_or_else(|| panic!("two digits: {text}"));
    assert_eq!(cents.len(), 2, "{text}");
    format!("{whole}{cents}").parse().unwrap()
}
