//! The state folder against crashes and against the ways people start a job wrongly. What it promises as the state port is
//! in `blobs/contract.rs`.

use caudal_connectors::state_folder::{FolderBlobs, RESERVE_BYTES, StateFolder, StateFolderError};
use caudal_pipeline::ports::blobs::{Blobs, Created};
use std::path::PathBuf;

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("caudal-state-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_a_crash_left_half_written_is_removed_at_the_next_start() {
    let folder = Folder::new("leftover");
    drop(StateFolder::open(&folder.0, "wind", false).unwrap());
    let log = folder.0.join("blobs/log");
    std::fs::create_dir_all(&log).unwrap();
    for path in [log.join(".tmp-99-0"), folder.0.join("blobs/.tmp-99-1"), folder.0.join(".tmp-job-99")] {
        std::fs::write(path, b"half").unwrap();
    }
    let reopened = StateFolder::open(&folder.0, "wind", false).unwrap();
    assert!(std::fs::read_dir(&log).unwrap().next().is_none());
    assert!(!folder.0.join("blobs/.tmp-99-1").exists() && !folder.0.join(".tmp-job-99").exists());
    assert_eq!(reopened.blobs().list("").unwrap(), [""; 0]);
}

#[test]
fn a_folder_in_use_is_refused_with_the_holders_pid() {
    let folder = Folder::new("lock");
    let first = StateFolder::open(&folder.0, "wind", false).unwrap();
    let error = StateFolder::open(&folder.0, "wind", false).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains(&format!("in use by process {}", std::process::id())), "{error}");
    assert!(!error.restart_may_help());
    drop(first);
    StateFolder::open(&folder.0, "wind", false).unwrap();
}

#[test]
fn who_takes_over_holds_the_lock_against_the_next_even_when_the_old_one_ends() {
    let folder = Folder::new("takeover");
    let old = StateFolder::open(&folder.0, "wind", false).unwrap();
    let new = StateFolder::open(&folder.0, "wind", true).unwrap();
    assert!(matches!(StateFolder::open(&folder.0, "wind", false), Err(StateFolderError::InUse { .. })));
    drop(old);
    assert!(matches!(StateFolder::open(&folder.0, "wind", false), Err(StateFolderError::InUse { .. })));
    drop(new);
    StateFolder::open(&folder.0, "wind", false).unwrap();
}

#[test]
fn folders_of_others_are_refused() {
    let folder = Folder::new("owner");
    drop(StateFolder::open(&folder.0, "wind", false).unwrap());
    let error = StateFolder::open(&folder.0, "bank", true).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("belongs to the job `wind`, not to `bank`"), "{error}");

    let home = Folder::new("foreign");
    std::fs::create_dir_all(home.0.join("photos")).unwrap();
    let error = StateFolder::open(&home.0, "wind", false).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("`photos`"), "{error}");
    assert!(!home.0.join("JOB").exists() && !home.0.join("lock").exists());

    let volume = Folder::new("volume");
    std::fs::create_dir_all(volume.0.join("lost+found")).unwrap();
    StateFolder::open(&volume.0, "wind", false).unwrap();

    let file = Folder::new("file");
    std::fs::create_dir_all(&file.0).unwrap();
    std::fs::write(file.0.join("a"), b"").unwrap();
    assert!(StateFolder::open(file.0.join("a"), "wind", false).is_err());
}

#[test]
fn the_reserve_is_given_back_once_and_made_again_at_the_next_start() {
    let folder = Folder::new("reserve");
    let state = StateFolder::open(&folder.0, "wind", false).unwrap();
    let size = || std::fs::metadata(folder.0.join("reserve")).map(|m| m.len()).ok();
    assert_eq!(size(), Some(RESERVE_BYTES));
    assert!(state.release_reserve().unwrap());
    assert_eq!(size(), None);
    assert!(!state.release_reserve().unwrap());
    drop(state);
    let _again = StateFolder::open(&folder.0, "wind", false).unwrap();
    assert_eq!(size(), Some(RESERVE_BYTES), "the next start sets it aside again");
}

/// A process that was stopped while it wrote a blob went on after another had taken over, and ended with "cannot write
/// tables/…: No such file or directory" and exit code 1, as if a restart would help: the other one had removed its
/// temporary file at its start.
#[test]
fn a_blob_is_written_though_another_process_tidies_up_meanwhile() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let folder = Folder::new("tidied");
    let blobs = FolderBlobs::open(&folder.0).unwrap();
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::SeqCst) {
                FolderBlobs::open(&folder.0).unwrap();
            }
        });
        let created: Vec<_> = (0..200).map(|n| blobs.create(&format!("log/{n}"), b"bytes")).collect();
        ended.store(true, Ordering::SeqCst);
        assert!(created.iter().all(|created| matches!(created, Ok(Created::New))), "{created:?}");
    });
}
