//! The local log: what was acknowledged survives any crash, what was not leaves no trace but a report.

use caudal_connectors::local_log::{LocalLog, LocalLogError, NewRecord, Options, Source};
use caudal_pipeline::ports::source::{Reader, Source as _, SourceError};
use caudal_pipeline::record::{Offset, Partition, PartitionIndex};
use std::path::{Path, PathBuf};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("caudal-log-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Folder(path)
    }

    fn open(&self) -> LocalLog {
        let (log, torn) = LocalLog::open(&self.0, OPTIONS).unwrap();
        assert_eq!(torn, []);
        log
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const OPTIONS: Options = Options { partitions: 2, segment_bytes: 1000 };

fn record(text: &str) -> NewRecord {
    NewRecord {
        headers: vec![("caudal-idempotency".to_owned(), b"k/0".to_vec())],
        payload: Some(text.into()),
        ..NewRecord::default()
    }
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(folder.join("00000")).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "log"));
    paths.sort();
    paths
}

fn reader(log: &LocalLog, from: u64) -> Result<Box<dyn Reader>, SourceError> {
    let mut reader = Source::new(log.clone(), "events").reader()?;
    reader.assign(PartitionIndex(0), &Partition { topic: "events".into(), number: 0 }, Offset(from))?;
    Ok(reader)
}

fn take(reader: &mut dyn Reader, count: usize) -> Vec<(u64, String)> {
    let mut out = Vec::new();
    while out.len() < count {
        reader.poll(usize::MAX, &mut out).unwrap();
        std::thread::yield_now();
    }
    out.into_iter().map(|(_, m)| (m.offset.0, String::from_utf8(m.payload.unwrap()).unwrap())).collect()
}

fn texts(log: &LocalLog) -> Vec<String> {
    let bounds = log.bounds(0).unwrap();
    let mut reader = reader(log, bounds.start).unwrap();
    take(reader.as_mut(), (bounds.end - bounds.start) as usize).into_iter().map(|(_, text)| text).collect()
}

#[test]
fn a_log_goes_on_where_it_was_over_segments_and_restarts() {
    let folder = Folder::new("goes-on");
    let mut expected = Vec::new();
    for run in 0..3 {
        let log = folder.open();
        for i in 0..10 {
            let batch: Vec<NewRecord> = (0..3).map(|j| record(&format!("{run}/{i}/{j} {}", "x".repeat(50)))).collect();
            let offsets = log.append_batch(0, &batch).unwrap();
            assert_eq!(offsets, expected.len() as u64..expected.len() as u64 + 3);
            expected.extend(batch.into_iter().map(|r| String::from_utf8(r.payload.unwrap()).unwrap()));
        }
        assert_eq!(log.append_batch(0, &[]).unwrap(), expected.len() as u64..expected.len() as u64);
        assert_eq!(texts(&log), expected);
    }
    assert!(segments(&folder.0).len() > 5);
    assert_eq!(folder.open().bounds(1).unwrap(), 0..0);
}

#[test]
fn readers_wait_for_what_is_appended_later() {
    let folder = Folder::new("waits");
    let log = folder.open();
    let mut reader = reader(&log, 0).unwrap();
    for round in 0..5u64 {
        let mut out = Vec::new();
        reader.poll(usize::MAX, &mut out).unwrap();
        assert!(out.is_empty() && reader.position(PartitionIndex(0)).at_end);
        log.append(0, record(&round.to_string())).unwrap();
        let position = reader.position(PartitionIndex(0));
        assert_eq!((position.at_end, position.end, position.finished), (false, Some(Offset(round + 1)), false));
        assert_eq!(take(reader.as_mut(), 1), [(round, round.to_string())]);
    }
}

/// A crash in the middle of an append leaves any part of it on the disk.
#[test]
fn a_tail_torn_at_any_byte_loses_only_what_was_torn() {
    let folder = Folder::new("torn");
    let log = folder.open();
    log.append_batch(0, &[record("one"), record("two")]).unwrap();
    drop(log);
    let path = segments(&folder.0).remove(0);
    let kept = std::fs::metadata(&path).unwrap().len();
    let log = folder.open();
    log.append_batch(0, &[record("three"), record("four")]).unwrap();
    drop(log);
    let whole = std::fs::read(&path).unwrap();
    // The frame of «three» is one byte longer than that of «four».
    let third = kept + (whole.len() as u64 - kept).div_ceil(2);
    for len in kept..whole.len() as u64 {
        std::fs::write(&path, &whole[..len as usize]).unwrap();
        let (log, torn) = LocalLog::open(&folder.0, OPTIONS).unwrap();
        let expected: &[&str] = if len >= third { &["one", "two", "three"] } else { &["one", "two"] };
        assert_eq!(texts(&log), expected, "cut at {len}");
        let next = expected.len() as u64;
        let boundary = std::fs::metadata(&path).unwrap().len();
        if len == boundary {
            assert_eq!(torn, []);
        } else {
            assert_eq!((torn[0].partition, torn[0].next_offset, torn[0].bytes), (0, Offset(next), len - boundary));
            assert_eq!(std::fs::read(&torn[0].kept_in).unwrap(), whole[boundary as usize..len as usize]);
        }
        assert_eq!(log.append(0, record("again")).unwrap(), Offset(next));
        assert_eq!(texts(&log).last().unwrap(), "again");
    }
}

#[test]
fn a_torn_tail_may_also_be_noise_of_the_right_length() {
    let folder = Folder::new("noise");
    folder.open().append_batch(0, &[record("one"), record("two")]).unwrap();
    let path = segments(&folder.0).remove(0);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend_from_slice(&[0; 4096]);
    std::fs::write(&path, &bytes).unwrap();
    let (log, torn) = LocalLog::open(&folder.0, OPTIONS).unwrap();
    assert_eq!((texts(&log).len(), torn.len()), (2, 1));
}

#[test]
fn a_segment_that_a_crash_left_without_its_header_is_made_anew() {
    let folder = Folder::new("header");
    folder.open().append(0, record("one")).unwrap();
    for len in 0..16 {
        std::fs::write(folder.0.join("00000/00000000000000000001.log"), &b"CAUDLOG1\x01\0\0\0\0\0\0"[..len.min(15)]).unwrap();
        let log = folder.open();
        assert_eq!(texts(&log), ["one"]);
        assert_eq!(log.bounds(0).unwrap(), 0..1);
    }
}

#[test]
fn pruning_removes_whole_segments_and_what_is_gone_is_an_error() {
    let folder = Folder::new("prune");
    let log = folder.open();
    for i in 0..60 {
        log.append(0, record(&format!("{i} {}", "x".repeat(60)))).unwrap();
    }
    let before = segments(&folder.0).len();
    let source = Source::new(log.clone(), "events");
    let partition = source.discover().unwrap()[0].partition.clone();
    source.bound(&partition, Offset(60), Offset(0));
    assert_eq!(segments(&folder.0).len(), before);
    source.bound(&partition, Offset(60), Offset(30));
    let bounds = log.bounds(0).unwrap();
    assert!(bounds.start > 10 && bounds.start <= 30, "{bounds:?}");
    assert_eq!(take(reader(&log, bounds.start).unwrap().as_mut(), 1)[0].0, bounds.start);
    let words = reader(&log, bounds.start - 1).map(|_| ()).unwrap_err().to_string();
    assert!(words.contains("begins at offset"), "{words}");
    source.bound(&partition, Offset(60), Offset(60));
    assert_eq!(segments(&folder.0).len(), 1);
    drop(log);
    let log = folder.open();
    assert_eq!(log.append(0, record("next")).unwrap(), Offset(60));
    let words = reader(&log, 62).map(|_| ()).unwrap_err().to_string();
    assert!(words.contains("older than the state folder"), "{words}");
}

#[test]
fn damage_below_the_tail_is_told_with_its_place() {
    let folder = Folder::new("damage");
    let log = folder.open();
    for i in 0..60 {
        log.append(0, record(&format!("{i} {}", "x".repeat(60)))).unwrap();
    }
    let path = segments(&folder.0).remove(1);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    drop(log);
    let log = folder.open();
    let mut reader = reader(&log, 0).unwrap();
    let mut out = Vec::new();
    let error = loop {
        match reader.poll(usize::MAX, &mut out) {
            Ok(()) => std::thread::yield_now(),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(&error, SourceError::Stop(words) if words.contains("is damaged at offset") && words.contains("checksum")),
        "{error}"
    );
    assert!(out.iter().map(|(_, m)| m.offset.0).eq(0..out.len() as u64));
}

#[test]
fn what_the_log_does_not_take_is_refused_whole() {
    let folder = Folder::new("refused");
    let log = folder.open();
    assert!(matches!(log.append(2, record("x")), Err(LocalLogError::NoPartition { number: 2, partitions: 2 })));
    let huge = NewRecord { payload: Some(vec![0; 129 << 20]), ..NewRecord::default() };
    assert!(matches!(log.append_batch(0, &[record("x"), huge]), Err(LocalLogError::TooLarge { .. })));
    assert_eq!(log.bounds(0).unwrap(), 0..0);
    assert!((0..50u8).all(|i| (0..2).contains(&log.partition_of(&[i]))));
}

#[test]
fn writers_of_many_threads_get_offsets_of_their_own() {
    let folder = Folder::new("threads");
    let log = folder.open();
    let threads: Vec<_> = (0..4)
        .map(|t| {
            let log = log.clone();
            std::thread::spawn(move || {
                (0..25).map(|i| (log.append(0, record(&format!("{t}/{i}"))).unwrap().0, format!("{t}/{i}"))).collect::<Vec<_>>()
            })
        })
        .collect();
    let mut expected: Vec<(u64, String)> = threads.into_iter().flat_map(|t| t.join().unwrap()).collect();
    expected.sort();
    assert_eq!(take(reader(&log, 0).unwrap().as_mut(), 100), expected);
}

fn generation(folder: &Folder, generation: u64) -> LocalLog {
    LocalLog::open_generation(&folder.0, generation, OPTIONS).unwrap().0
}

fn names(folder: &Folder) -> Vec<String> {
    let entries = std::fs::read_dir(&folder.0).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_successor_goes_on_from_a_log_that_its_predecessor_still_writes() {
    let folder = Folder::new("generations");
    let long = |word: &str, i: usize| record(&format!("{word} {i} {}", "x".repeat(60)));
    let predecessor = generation(&folder, 1);
    for i in 0..30 {
        predecessor.append(0, long("first", i)).unwrap();
    }
    predecessor.prune(0, Offset(10));
    let successor = generation(&folder, 2);
    assert_eq!(texts(&successor), texts(&predecessor));
    for i in 0..20 {
        predecessor.append(0, long("lost", i)).unwrap();
        successor.append(0, long("kept", i)).unwrap();
    }
    LocalLog::forget_older(&folder.0, 2);
    // Its folder is gone, so it fails where it begins a segment.
    let _ = (20..40).try_for_each(|i| predecessor.append(0, long("lost", i)).map(drop));
    let kept = texts(&successor);
    assert_eq!(kept.iter().filter(|text| text.starts_with("kept")).count(), 20);
    assert!(!kept.iter().any(|text| text.starts_with("lost")));
    // One that is older, and late, takes nothing from the newest, and nobody takes anything from it.
    assert_eq!(generation(&folder, 1).bounds(0).unwrap(), 0..0);
    std::fs::create_dir(folder.0.join("00000000000000000002.unfinished")).unwrap();
    std::fs::create_dir(folder.0.join("00000000000000000004.unfinished")).unwrap();
    std::fs::create_dir(folder.0.join("00000")).unwrap();
    let again = generation(&folder, 3);
    assert_eq!((texts(&again), again.partitions()), (kept.clone(), 2));
    assert_eq!(texts(&generation(&folder, 3)), kept, "what is there is its own");
    LocalLog::forget_older(&folder.0, 3);
    assert_eq!(names(&folder), ["00000", "00000000000000000003", "00000000000000000004.unfinished"]);
}

/// A segment that was begun while the log was copied was linked: both processes wrote into one file.
#[test]
fn a_successor_shares_no_segment_that_its_predecessor_writes() {
    use std::os::unix::fs::MetadataExt;
    use std::sync::atomic::{AtomicBool, Ordering};
    /// Whoever writes ends with the test, however that ends.
    struct Ends<'a>(&'a AtomicBool);
    impl Drop for Ends<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let folder = Folder::new("rolling");
    let predecessor = generation(&folder, 1);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _ends = Ends(&done);
        let roll = || {
            let mut next = 0;
            while !done.load(Ordering::Relaxed) {
                // A segment a record, pruned close behind.
                predecessor.append(0, record(&format!("{next} {}", "x".repeat(1_000)))).unwrap();
                predecessor.prune(0, Offset(next / 2));
                next += 1;
            }
        };
        scope.spawn(roll);
        let mut begun = 0;
        for successor in 2..40 {
            let before = predecessor.bounds(0).unwrap().end;
            // A segment may go while it is the last that was seen: then the start is repeated.
            let Ok((log, _)) = LocalLog::open_generation(&folder.0, successor, OPTIONS) else { continue };
            begun += 1;
            let bounds = log.bounds(0).unwrap();
            assert!(bounds.end >= before, "{bounds:?} lacks what was there before: {before}");
            let own = segments(&folder.0.join(format!("{successor:020}")));
            assert_eq!(std::fs::metadata(own.last().unwrap()).unwrap().nlink(), 1, "the last one is a copy");
            let firsts: Vec<u64> = own.iter().map(|path| path.file_stem().unwrap().to_str().unwrap().parse().unwrap()).collect();
            assert!(firsts.windows(2).all(|pair| pair[1] == pair[0] + 1), "one is missing: {firsts:?}");
            // Each begins with the log of the one that writes.
            std::fs::remove_dir_all(folder.0.join(format!("{successor:020}"))).unwrap();
        }
        assert!(begun > 10, "{begun} of 38 were begun");
    });
}

/// It was kept beside the segment, and would have gone with the generation.
#[test]
fn what_was_cut_off_is_kept_through_the_generations() {
    let folder = Folder::new("cut-off");
    let open = |generation| LocalLog::open_generation(&folder.0, generation, OPTIONS).unwrap();
    open(1).0.append(0, record("whole")).unwrap();
    let segment = folder.0.join("00000000000000000001/00000/00000000000000000000.log");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes.extend(b"torn");
    std::fs::write(&segment, bytes).unwrap();
    let (_, torn) = open(2);
    let kept = PathBuf::from(&torn[0].kept_in);
    let (log, torn) = open(3);
    assert_eq!((torn, texts(&log)), (vec![], vec!["whole".to_owned()]));
    let kept = folder.0.join("00000000000000000003/00000").join(kept.file_name().unwrap());
    assert_eq!(std::fs::read(kept).unwrap(), b"torn");
}
