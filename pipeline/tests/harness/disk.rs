//! A disk in memory that remembers all, gets slow or full, and on which processes crash.

use caudal_pipeline::log::{CommitLog, LogRecord};
use caudal_pipeline::ports::blobs::{BlobError, Blobs, Created, MemoryBlobs};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Blobs that outlive an engine. They remember every log record ever written, pruned ones too.
#[derive(Clone, Default)]
pub struct Disk {
    blobs: Arc<MemoryBlobs>,
    logged: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    slow: Arc<AtomicBool>,
    full: Arc<Mutex<Fullness>>,
    /// So many reads are answered still.
    answers: Arc<Mutex<Option<u64>>>,
    life: Arc<Life>,
    /// Names of blobs, the newest last.
    made: Arc<Mutex<Vec<String>>>,
}

/// A process's time with the disk: where it crashes, all that it still tries fails.
#[derive(Default)]
struct Life {
    crash: Option<Crash>,
    /// Only its changes are counted, where one is named.
    step: Option<&'static str>,
    changes: AtomicU64,
    crashed_at: Mutex<Option<String>>,
}

/// Where a process crashes.
#[derive(Clone, Copy, Debug)]
pub struct Crash {
    /// After so many changes of the disk.
    pub changes: u64,
    /// The next one happens, though nobody lives to be told.
    pub happens: bool,
    /// So many of the newest blobs are lost with the process, as if they had not been synced.
    pub forgets: usize,
}

/// What has no space left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fullness {
    /// Nothing.
    #[default]
    No,
    /// All but log records, which are small.
    AllButLog,
    /// Everything.
    All,
    /// Whatever is larger than so many bytes.
    Beyond(usize),
    /// Runs of the ledger that are made of others.
    MergedLedgers,
}

impl Disk {
    /// The disk as the next process sees it. Threads of earlier ones keep what they had.
    pub fn next_life(&self, crash: Option<Crash>) -> Disk {
        Disk { life: Arc::new(Life { crash, ..Life::default() }), ..self.clone() }
    }

    /// The same for a process that crashes in a change of one kind, `create bind`: others are not counted.
    pub fn next_life_in(&self, step: &'static str, crash: Crash) -> Disk {
        Disk { life: Arc::new(Life { crash: Some(crash), step: Some(step), ..Life::default() }), ..self.clone() }
    }

    /// In which change of the disk this process crashed: `create bind, before`.
    pub fn crashed_at(&self) -> Option<String> {
        self.life.crashed_at.lock().unwrap().clone()
    }

    /// Makes a change, unless the process crashes in it or has crashed before.
    fn change<T>(
        &self,
        attempted: &'static str,
        name: &str,
        step: &str,
        make: impl FnOnce() -> Result<T, BlobError>,
    ) -> Result<T, BlobError> {
        let crash = || BlobError::Io { attempted, name: name.into(), cause: CRASH.into() };
        let mut crashed_at = self.life.crashed_at.lock().unwrap();
        if crashed_at.is_some() {
            return Err(crash());
        }
        let step = format!("{attempted} {step}");
        if self.life.step.is_some_and(|counted| counted != step) {
            return make();
        }
        let at = self.life.changes.fetch_add(1, Ordering::SeqCst);
        match self.life.crash.filter(|crash| crash.changes == at) {
            None => make(),
            Some(Crash { happens, forgets, .. }) => {
                if happens {
                    make()?;
                }
                self.forget(forgets);
                *crashed_at = Some(format!("{step}, {}", if happens { "after" } else { "before" }));
                Err(crash())
            }
        }
    }

    fn forget(&self, newest: usize) {
        let made = self.made.lock().unwrap();
        for name in made.iter().rev().take(newest) {
            self.blobs.delete(name).unwrap();
            self.logged.lock().unwrap().remove(name);
        }
    }

    /// While it is slow, no manifest gets written.
    pub fn slow(&self, slow: bool) {
        self.slow.store(slow, Ordering::SeqCst);
    }

    /// From now on there is no space.
    pub fn full(&self, full: Fullness) {
        *self.full.lock().unwrap() = full;
    }

    /// From now on it answers so many reads and no more, those of the log aside; `None`: all.
    pub fn answers(&self, reads: Option<u64>) {
        *self.answers.lock().unwrap() = reads;
    }

    fn read_if_it_answers<T>(&self, name: &str, read: impl FnOnce() -> Result<T, BlobError>) -> Result<T, BlobError> {
        if name.starts_with("log/") {
            return read();
        }
        let mut answers = self.answers.lock().unwrap();
        match &mut *answers {
            Some(0) => return Err(BlobError::Io { attempted: "read", name: name.into(), cause: AWAY.into() }),
            Some(left) => *left -= 1,
            None => {}
        }
        read()
    }

    /// Replaces a blob's bytes by damaged ones; what it was.
    pub fn flip(&self, name: &str, at: usize) -> Vec<u8> {
        let bytes = self.read(name).unwrap();
        let mut flipped = bytes.clone();
        flipped[at % bytes.len()] ^= 0x20;
        self.replace(name, &flipped);
        bytes
    }

    /// Replaces a blob's bytes.
    pub fn replace(&self, name: &str, bytes: &[u8]) {
        self.delete(name).unwrap();
        self.blobs.create(name, bytes).unwrap();
    }

    /// All records that were ever in the log.
    pub fn history(&self) -> Vec<(u64, LogRecord)> {
        let copy = MemoryBlobs::default();
        for (name, bytes) in &*self.logged.lock().unwrap() {
            copy.create(name, bytes).unwrap();
        }
        CommitLog::open(Arc::new(copy)).unwrap().1
    }
}

impl Blobs for Disk {
    fn create(&self, name: &str, bytes: &[u8]) -> Result<Created, BlobError> {
        while name.starts_with("manifest/") && self.slow.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        let full = *self.full.lock().unwrap();
        let refuses = match full {
            Fullness::No => false,
            Fullness::AllButLog => !name.starts_with("log/"),
            Fullness::All => true,
            Fullness::Beyond(largest) => bytes.len() > largest,
            Fullness::MergedLedgers => step(name, bytes) == "merged ledger",
        };
        if refuses {
            return Err(BlobError::Full { name: name.into(), cause: "the test says so".into() });
        }
        self.change("create", name, step(name, bytes), || {
            let created = self.blobs.create(name, bytes)?;
            self.made.lock().unwrap().push(name.into());
            if created == Created::New && name.starts_with("log/") {
                self.logged.lock().unwrap().insert(name.into(), bytes.into());
            }
            Ok(created)
        })
    }
    fn read(&self, name: &str) -> Result<Vec<u8>, BlobError> {
        self.read_if_it_answers(name, || self.blobs.read(name))
    }
    fn read_range(&self, name: &str, offset: u64, len: usize) -> Result<Vec<u8>, BlobError> {
        self.read_if_it_answers(name, || self.blobs.read_range(name, offset, len))
    }
    fn list(&self, prefix: &str) -> Result<Vec<String>, BlobError> {
        self.blobs.list(prefix)
    }
    fn delete(&self, name: &str) -> Result<(), BlobError> {
        self.change("delete", name, step(name, &[]), || self.blobs.delete(name))
    }
}

/// What a process is told whose storage does not answer.
pub const AWAY: &str = "the test's storage is away";

/// What a process that crashed is told.
pub const CRASH: &str = "the test's process crashes here";

/// What a blob is for, in a word.
fn step<'n>(name: &'n str, bytes: &[u8]) -> &'n str {
    let (kind, rest) = name.split_once('/').unwrap_or((name, ""));
    match rest.parse().ok().and_then(|seq| caudal_pipeline::log::decode_record(seq, bytes).ok()).filter(|_| kind == "log") {
        Some(LogRecord::Generation(_)) => "generation record",
        Some(LogRecord::Bind(_)) => "bind",
        Some(LogRecord::Checkpoint(_)) => "checkpoint record",
        None if rest.ends_with("-merged") => "merged state",
        // Of two runs that end with one epoch, the second is made of the first and older ones.
        None if kind == "ledger" && !bytes.is_empty() && !rest.ends_with("-0") => "merged ledger",
        None => kind,
    }
}
