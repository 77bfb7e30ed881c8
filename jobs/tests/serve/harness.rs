//! A job that runs in this process, its ports, and the plainest HTTP client there is.

use caudal_connectors::embedded::read::Store;
use caudal_jobs::run::{self, RunError, Settings, Shared, Stop};
use caudal_jobs::serve::{PublicPort, Server, operators};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a test waits for something that should happen soon.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder that is gone after the test.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("caudal-serve-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A job on a thread, with the operators' port beside it.
pub struct Run {
    pub shared: Arc<Shared>,
    pub operators: Server,
    pub port: Arc<PublicPort>,
    thread: Option<JoinHandle<Result<(), RunError>>>,
}

impl Run {
    /// Starts the job that `yaml` describes, with its state in `folder`.
    pub fn start(folder: &Path, yaml: &str) -> Run {
        Run::start_with(folder, yaml, PublicPort::at(loopback()), |_| {})
    }

    pub fn start_with(folder: &Path, yaml: &str, port: Arc<PublicPort>, change: impl FnOnce(&mut Settings)) -> Run {
        let file = folder.join("job.yaml");
        std::fs::write(&file, yaml).unwrap();
        let job = caudal_jobs::load::job(&file, &[]).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let state = folder.join("state");
        let shared = Shared::new(Arc::new(job.plan.clone()), state.clone());
        let mut settings = Settings { workers: 2, listen: port.clone(), ..Settings::in_folder(state) };
        change(&mut settings);
        let operators = operators(TcpListener::bind(loopback()).unwrap(), vec![shared.clone()]).unwrap();
        let of_thread = shared.clone();
        let thread = std::thread::spawn(move || run::job(&job, &settings, &of_thread, Vec::new()));
        Run { shared, operators, port, thread: Some(thread) }
    }

    /// Asks the run to end and waits for it.
    pub fn stop(&mut self, how: Stop) -> Result<(), RunError> {
        self.shared.stop(how);
        self.join()
    }

    /// Waits for the run to end by itself.
    pub fn join(&mut self) -> Result<(), RunError> {
        self.thread.take().expect("stopped once").join().unwrap()
    }

    pub fn get(&self, path: &str) -> (u16, String) {
        let answer = request(self.operators.address(), "GET", path, &[], b"");
        (answer.status, answer.body)
    }

    /// Where events are posted to, once that is known; a run that has failed says why.
    pub fn public(&mut self) -> SocketAddr {
        until("the public port is open", || {
            if self.thread.as_ref().is_some_and(JoinHandle::is_finished) {
                panic!("{:?}", self.thread.take().map(JoinHandle::join));
            }
            self.port.address()
        })
    }

    pub fn store(&self) -> Store {
        Store::open(&self.shared.state.folder().unwrap().join("store.sqlite")).unwrap()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.shared.stop(Stop::Force);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Asks until there is an answer.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "it did not happen that {what}");
        std::thread::yield_now();
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

pub fn request(address: SocketAddr, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.0\r\nhost: x\r\n{headers}content-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    Answer { status: head[9..12].parse().unwrap(), head: head.to_lowercase(), body: body.to_owned() }
}

/// The samples of a scrape: name and labels as written → value.
pub fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| line.rsplit_once(' ').map(|(series, value)| (series.to_owned(), value.parse().unwrap()));
    lines.filter_map(sample).collect()
}

/// The sum of all series of a metric.
pub fn sum(samples: &BTreeMap<String, f64>, name: &str) -> f64 {
    samples.iter().filter(|(series, _)| series.starts_with(&format!("{name}{{"))).map(|(_, value)| value).sum()
}

/// A generator that sends about 1000 events a second, faults of all kinds among them, into the embedded store.
pub const FAULTY: &str = r#"
caudal: 1
name: faulty
streams:
  readings:
    from:
      generate:
        seed: 7
        rate: 1000
        sources: [gen-01, gen-02, gen-03]
        start: {before_now: 2s}
        duplicates: 0.05
        disorder: {share: 0.1, max_delay: 800ms}
        late: {share: 0.03, by: [2s, 30s]}
        malformed: {share: 0.05, kinds: [cut, invalid_utf8, {wrong_type: /kw}, {missing_field: /unit}]}
        template: {id: '{uuid}', at: '{time}', unit: '{source}', kw: {decimal: {mean: 50, deviation: 40, digits: 1}}}
    id: /id
    event_time: {at: /at, format: rfc3339}
    watermark: {max_delay: 1s, idle_after: 2s, max_future: 1m}
    lateness: 10s
    where: kw >= 10.0
    fields:
      unit: {at: /unit, type: text}
      kw: {at: /kw, type: decimal(1)}
views:
  per_second: {from: readings, window: {tumbling: 1s}, group_by: [unit], select: {events: count(), most: max(kw)}}
"#;

/// Events that are posted.
pub const POSTED: &str = r#"
caudal: 1
name: posted
streams:
  readings:
    from: {http: {partitions: 2}}
    id: /id
    event_time: {at: /at, format: rfc3339}
    lateness: 1h
    fields:
      unit: {at: /unit, type: text}
      kw: {at: /kw, type: decimal(1)}
views:
  per_minute: {from: readings, window: {tumbling: 1m}, group_by: [unit], select: {events: count(), most: max(kw)}}
"#;
