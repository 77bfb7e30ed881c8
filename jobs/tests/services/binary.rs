//! `caudal run` in a process of its own, with its operators' port.

use crate::running::addresses;
use crate::{load, until};
use std::fs::{File, read_to_string};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};
use xtask::services::object_storage::{BUCKET, variables};
use xtask::services::process;

/// A process that says nothing for so long is stopped.
const SILENT: Duration = Duration::from_secs(10);

/// How often whoever waits for an answer looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(20);

/// The process, with what it prints in a file.
pub struct Binary {
    child: Child,
    printed: PathBuf,
    operators: SocketAddr,
}

/// How a process is started.
pub struct Launch<'a> {
    pub state: &'a Path,
    pub workers: usize,
    pub jobs: &'a [PathBuf],
    /// `path=value`.
    pub set: &'a [String],
    pub checkpoint_every_s: u64,
    /// Arguments.
    pub more: &'a [&'a str],
    pub environment: Vec<(&'static str, String)>,
}

impl<'a> Launch<'a> {
    /// With a checkpoint each second, and nothing else.
    pub fn of(state: &'a Path, workers: usize, jobs: &'a [PathBuf], set: &'a [String]) -> Launch<'a> {
        Launch { state, workers, jobs, set, checkpoint_every_s: 1, more: &[], environment: Vec::new() }
    }

    /// Starts it.
    pub fn start(self) -> Binary {
        let Launch { state, workers, jobs, .. } = self;
        std::fs::create_dir_all(state).unwrap();
        let number = std::fs::read_dir(state).unwrap().count();
        let printed = state.join(format!("printed-{number}"));
        let file = File::create(&printed).unwrap();
        // Free now, and in a moment: at an address that no client's connection begins from.
        let operators = TcpListener::bind("127.0.0.77:0").and_then(|listener| listener.local_addr()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_caudal"));
        command.arg("run").args(jobs).args(["--operators", &operators.to_string()]).env("CAUDAL_STATE", state.join("state"));
        command.args(["--workers", &workers.to_string(), "--checkpoint-every", &self.checkpoint_every_s.to_string()]);
        command.args(self.more).envs(self.environment);
        for value in self.set {
            command.args(["--set", value]);
        }
        let child = command.stderr(file.try_clone().unwrap()).stdout(file).spawn().unwrap();
        Binary { child, printed, operators }
    }
}

impl Binary {
    /// Runs wind-farm, with these `path=value` on top of the services' addresses.
    pub fn start(state: &Path, workers: usize, set: &[String]) -> Binary {
        let set = [addresses("wind-farm"), set.to_vec()].concat();
        Binary::run(state, workers, &[load::folder("wind-farm").join("job.yaml")], &set)
    }

    /// Runs these jobs.
    pub fn run(state: &Path, workers: usize, jobs: &[PathBuf], set: &[String]) -> Binary {
        Launch::of(state, workers, jobs, set).start()
    }

    /// Runs wind-farm with its state below a prefix of its own on the S3 server at this address, printing into `folder`.
    pub fn on_objects(folder: &Path, server: &str, workers: usize, set: &[String]) -> Binary {
        let name = folder.file_name().and_then(|name| name.to_str()).expect("a test's folder has a name");
        let place = format!("s3://{BUCKET}/{name}-{}", std::process::id());
        let set = [addresses("wind-farm"), set.to_vec()].concat();
        let jobs = [load::folder("wind-farm").join("job.yaml")];
        let environment = variables(server).into_iter().chain([("CAUDAL_STATE", place)]).collect();
        Launch { environment, ..Launch::of(folder, workers, &jobs, &set) }.start()
    }

    /// Runs these jobs on a state that another process may hold.
    pub fn take_over(state: &Path, workers: usize, jobs: &[PathBuf], set: &[String]) -> Binary {
        Launch { more: &["--take-over"], ..Launch::of(state, workers, jobs, set) }.start()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// A figure of its memory as the system has it, such as `VmHWM`, in bytes; nothing once it has ended.
    pub fn memory(&self, name: &str) -> Option<u64> {
        let status = read_to_string(format!("/proc/{}/status", self.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib << 10)
    }

    /// Its operators' port.
    pub fn operators(&self) -> SocketAddr {
        self.operators
    }

    pub fn printed(&self) -> String {
        read_to_string(&self.printed).unwrap()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// What a path of the operators' port answers; nothing while the port is closed.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        get(self.operators, path)
    }

    /// The sum of all series of a metric whose labels contain this; nothing if there is none yet.
    pub fn metric(&self, name: &str, labels: &str) -> Option<f64> {
        let (_, text) = self.get("/metrics")?;
        sum(&text, name, labels)
    }

    pub fn until<T>(&mut self, what: &str, mut look: impl FnMut(&Binary) -> Option<T>) -> T {
        until(what, || {
            let found = look(self);
            assert!(found.is_some() || self.is_running(), "it ended before: {what}\n{}", self.printed());
            found
        })
    }

    /// Waits until so many records have their verdict.
    pub fn until_received(&mut self, records: u64) {
        let what = format!("{records} records are received");
        self.until(&what, |binary| {
            let received = binary.metric("caudal_events_received_total", "")?;
            (received >= records as f64).then_some(())
        });
    }

    /// Waits until `caudal_sink_up` of a sink is this.
    pub fn until_up(&mut self, sink: &str, up: bool) {
        let (label, value) = (format!(r#"sink="{sink}""#), f64::from(u8::from(up)));
        self.until(&format!("caudal_sink_up of {sink} is {value}"), |binary| {
            (binary.metric("caudal_sink_up", &label)? == value).then_some(())
        });
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends it SIGTERM.
    pub fn signal(&self) {
        self.send("-TERM");
    }

    /// Sends it a signal, named as `kill` has it.
    pub fn send(&self, signal: &str) {
        process::signal(self.id(), signal).unwrap();
    }

    /// Asks it to stop, and waits until it has.
    pub fn terminate(mut self) -> (ExitStatus, String) {
        self.signal();
        let status = self.ended();
        (status, self.printed())
    }

    pub fn ended(&mut self) -> ExitStatus {
        until("it ends", || self.child.try_wait().unwrap())
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a path of an operators' port answers; nothing while it is closed, or if its process does not say anything.
pub fn get(operators: SocketAddr, path: &str) -> Option<(u16, String)> {
    get_while(operators, path, || true)
}

/// The same, waited for only as long as anybody wants to know.
pub fn get_while(operators: SocketAddr, path: &str, is_wanted: impl Fn() -> bool) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(operators).ok()?;
    stream.set_read_timeout(Some(LOOK)).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nhost: x\r\n\r\n").as_bytes()).ok()?;
    let (asked, mut answer) = (Instant::now(), Vec::new());
    while let Err(error) = stream.read_to_end(&mut answer) {
        let is_silent = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        if !is_silent || asked.elapsed() >= SILENT || !is_wanted() {
            return None;
        }
    }
    // A process that is killed meanwhile leaves half an answer.
    let answer = String::from_utf8(answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut headers = head.lines().filter_map(|line| line.split_once(": "));
    let length = headers.find(|(name, _)| name.eq_ignore_ascii_case("content-length")).expect("a length").1;
    (body.len() == length.parse::<usize>().unwrap()).then(|| (head[9..12].parse().unwrap(), body.to_owned()))
}

/// The sum of all series of a metric whose labels contain this; nothing if there is none.
pub fn sum(metrics: &str, name: &str, labels: &str) -> Option<f64> {
    let series = metrics.lines().filter(|line| line.starts_with(&format!("{name}{{")) && line.contains(labels));
    let values: Vec<f64> = series.map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap()).collect();
    (!values.is_empty()).then(|| values.iter().sum())
}
