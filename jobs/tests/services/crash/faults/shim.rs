//! Faults of disk and clock in one process, by a library of ours that is preloaded into it.
//!
//! Root ignores file modes and a test may not mount disks, so `shim.c` says in place of the system what the process
//! hears. What it says now stands in a file that both sides have open.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// What can be said, in the order of `shim.c`.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Whether space is counted.
    Full,
    /// Bytes of it that are left.
    Space,
    ReadOnly,
    SyncFails,
    SyncDelayUs,
    ClockUs,
}

const FAULTS: usize = 6;

/// Built once for all tests.
static LIBRARY: LazyLock<PathBuf> = LazyLock::new(|| {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/crash/faults/shim.c");
    let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("faults-{}.so", std::process::id()));
    let mut compiler = Command::new("cc");
    let built = compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl").output();
    let built = built.expect("cc is not installed: run .ci/install");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    library
});

/// The faults of the processes that are started with its environment.
pub struct Shim {
    control: File,
    path: PathBuf,
    folder: PathBuf,
}

impl Shim {
    /// For what lies below a folder's `state`. Nothing is wrong yet.
    pub fn new(folder: &Path) -> Shim {
        std::fs::create_dir_all(folder).unwrap();
        let path = folder.join("faults");
        let control = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        control.set_len((FAULTS * size_of::<i64>()) as u64).unwrap();
        Shim { control, path, folder: folder.join("state") }
    }

    /// What a process needs in its environment.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let text = |path: &Path| path.display().to_string();
        vec![("LD_PRELOAD", text(&LIBRARY)), ("CAUDAL_FAULTS", text(&self.path)), ("CAUDAL_FAULTS_IN", text(&self.folder))]
    }

    /// From now on; what it was before.
    pub fn set(&self, fault: Fault, value: i64) -> i64 {
        let (at, mut before) = (fault as u64 * size_of::<i64>() as u64, [0; size_of::<i64>()]);
        self.control.read_exact_at(&mut before, at).unwrap();
        self.control.write_all_at(&value.to_ne_bytes(), at).unwrap();
        i64::from_ne_bytes(before)
    }
}
