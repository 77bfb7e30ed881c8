//! What the engine relies on, whoever keeps the blobs.

use super::{address, objects};
use caudal_connectors::state_folder::FolderBlobs;
use caudal_pipeline::ports::blobs::{BlobError, Blobs, Created, MemoryBlobs};
use std::sync::{Arc, Barrier};

/// More than object storage lists at once.
const MANY: usize = 1_050;
/// More than one buffer, anywhere.
const LARGE: usize = 20 << 20;

/// `one` and `other` keep the same blobs, as two processes do; there are none at first.
fn contract(one: Arc<dyn Blobs>, other: Arc<dyn Blobs>) {
    creates_once_and_reads(&*one);
    lists_by_prefix_in_order(&*one);
    reads_ranges(&*one);
    deletes(&*one);
    refuses_names(&*one);
    keeps_many_and_large(&*one, &*other);
    of_many_creators_one_wins(&one, &other);
}

fn creates_once_and_reads(blobs: &dyn Blobs) {
    assert!(matches!(blobs.read("log/1"), Err(BlobError::Missing(name)) if name == "log/1"));
    assert_eq!(blobs.create("log/1", b"first").unwrap(), Created::New);
    assert_eq!(blobs.create("log/1", b"second").unwrap(), Created::Exists);
    assert_eq!(blobs.create("log/1", b"first").unwrap(), Created::Exists, "equal bytes are no reason to call it new");
    assert_eq!(blobs.read("log/1").unwrap(), b"first");
    assert_eq!(blobs.create("log/empty", b"").unwrap(), Created::New);
    assert_eq!(blobs.create("log/empty", b"").unwrap(), Created::Exists);
    assert_eq!(blobs.read("log/empty").unwrap(), b"");
}

fn lists_by_prefix_in_order(blobs: &dyn Blobs) {
    assert_eq!(blobs.create("log/deep/10", b"x").unwrap(), Created::New);
    assert_eq!(blobs.create("logs", b"x").unwrap(), Created::New);
    assert_eq!(blobs.create("seg.1_a-b/7", b"0123456789").unwrap(), Created::New);
    assert_eq!(blobs.list("log/").unwrap(), ["log/1", "log/deep/10", "log/empty"]);
    assert_eq!(blobs.list("log").unwrap(), ["log/1", "log/deep/10", "log/empty", "logs"]);
    assert_eq!(blobs.list("log/d").unwrap(), ["log/deep/10"]);
    assert_eq!(blobs.list("nothing/here").unwrap(), [""; 0]);
    assert_eq!(blobs.list("").unwrap(), ["log/1", "log/deep/10", "log/empty", "logs", "seg.1_a-b/7"]);
}

fn reads_ranges(blobs: &dyn Blobs) {
    let ranges = [(0, 3, "012"), (8, 2, "89"), (8, 9, "89"), (4, 0, ""), (10, 1, ""), (99, 1, ""), (3, usize::MAX, "3456789")];
    for (offset, len, expected) in ranges {
        assert_eq!(blobs.read_range("seg.1_a-b/7", offset, len).unwrap(), expected.as_bytes(), "{len} bytes from {offset}");
    }
    assert_eq!(blobs.read_range("log/empty", 0, 5).unwrap(), b"");
    for (offset, len) in [(0, 5), (0, 0), (99, 1)] {
        assert!(matches!(blobs.read_range("log/none", offset, len), Err(BlobError::Missing(_))), "{len} bytes from {offset}");
    }
}

fn deletes(blobs: &dyn Blobs) {
    blobs.delete("log/1").unwrap();
    blobs.delete("log/1").unwrap();
    assert!(matches!(blobs.read("log/1"), Err(BlobError::Missing(_))));
    assert_eq!(blobs.list("log/").unwrap(), ["log/deep/10", "log/empty"]);
    assert_eq!(blobs.create("log/1", b"third").unwrap(), Created::New);
    assert_eq!(blobs.read("log/1").unwrap(), b"third");
}

fn refuses_names(blobs: &dyn Blobs) {
    for name in ["", "/a", "a/", "a//b", "../a", "a/../b", ".tmp-1", "a/.b", "A", "ü", "a b", "a\0b", &"x".repeat(201)] {
        assert!(matches!(blobs.create(name, b""), Err(BlobError::Io { .. })), "{name:?} was taken");
    }
}

fn keeps_many_and_large(one: &dyn Blobs, other: &dyn Blobs) {
    let mut names: Vec<String> = (0..MANY).map(|n| format!("many/{n}")).collect();
    std::thread::scope(|scope| {
        for names in names.chunks(MANY / 4) {
            scope.spawn(move || names.iter().for_each(|name| assert_eq!(one.create(name, b"x").unwrap(), Created::New)));
        }
    });
    names.sort();
    assert_eq!(other.list("many/").unwrap(), names);
    assert_eq!(other.list("many/10").unwrap().len(), 1 + 10 + 50);
    assert!(other.read_each(&names).iter().all(|bytes| matches!(bytes, Ok(bytes) if bytes == b"x")));
    let some = ["race", "log/1", "large", "logs"].map(str::to_owned);
    let found: Vec<_> = other.read_each(&some).into_iter().map(|bytes| bytes.ok()).collect();
    assert_eq!(found, [None, Some(b"third".to_vec()), None, Some(b"x".to_vec())], "each in its place");
    let large: Vec<u8> = (0..LARGE).map(|n| (n / 251) as u8).collect();
    assert_eq!(one.create("large", &large).unwrap(), Created::New);
    assert!(other.read("large").unwrap() == large, "it was read otherwise than it was written");
    assert!(other.read_range("large", 9_999_999, 70_001).unwrap() == large[9_999_999..][..70_001]);
}

/// With bytes of their own, and with equal ones.
fn of_many_creators_one_wins(one: &Arc<dyn Blobs>, other: &Arc<dyn Blobs>) {
    for slot in 0..40 {
        let (name, all_at_once) = (format!("race/{slot:020}"), Barrier::new(8));
        let bytes = |writer: u8| vec![if slot % 2 == 0 { writer } else { 0 }; 4096];
        let outcomes: Vec<(u8, Created)> = std::thread::scope(|scope| {
            let create = |writer: u8| {
                let (blobs, name, all_at_once) = ([one, other][usize::from(writer % 2)], &name, &all_at_once);
                scope.spawn(move || {
                    all_at_once.wait();
                    (writer, blobs.create(name, &bytes(writer)).unwrap())
                })
            };
            let writers: Vec<_> = (0..8).map(create).collect();
            writers.into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        let winners: Vec<u8> = outcomes.iter().filter(|(_, created)| *created == Created::New).map(|(i, _)| *i).collect();
        assert_eq!(winners.len(), 1, "slot {slot}: {outcomes:?}");
        assert_eq!(one.read(&name).unwrap(), bytes(winners[0]));
    }
}

#[test]
fn blobs_in_memory() {
    let blobs: Arc<dyn Blobs> = Arc::new(MemoryBlobs::default());
    contract(blobs.clone(), blobs);
}

#[test]
fn blobs_in_a_folder() {
    let folder = std::env::temp_dir().join(format!("caudal-blobs-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    contract(Arc::new(FolderBlobs::open(&folder).unwrap()), Arc::new(FolderBlobs::open(&folder).unwrap()));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn blobs_in_object_storage() {
    let address = address();
    contract(Arc::new(objects(&address, "contract")), Arc::new(objects(&address, "contract")));
}
