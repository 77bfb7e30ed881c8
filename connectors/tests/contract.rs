//! One suite over every source that needs nothing from outside: what the engine relies on, whoever answers.

use caudal_connectors::file::config::{Framing, SourceConfig};
use caudal_connectors::generate::{Generator, Pace, Profile};
use caudal_connectors::local_log::{LocalLog, NewRecord, Options};
use caudal_connectors::{file, generate, local_log};
use caudal_pipeline::ports::source::{Discovered, Reader, Source, SourceError};
use caudal_pipeline::record::{Message, Offset, PartitionIndex};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("caudal-contract-{name}-{}", std::process::id()));
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

/// How a source ends.
#[derive(Clone, Copy, PartialEq)]
enum Ending {
    /// It says that it is finished.
    Finished,
    /// It waits for more.
    AtEnd,
}

const TAG: PartitionIndex = PartitionIndex(7);

/// Polls until `enough` says so; a source that hangs fails the test.
fn poll_until(reader: &mut dyn Reader, budget: usize, mut enough: impl FnMut(&dyn Reader, &[Message]) -> bool) -> Vec<Message> {
    let (mut out, mut found) = (Vec::new(), Vec::new());
    let begun = Instant::now();
    while !enough(reader, &found) {
        reader.poll(budget, &mut out).unwrap();
        for (tag, message) in out.drain(..) {
            assert_eq!(tag, TAG);
            found.push(message);
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "the source hangs after {} messages", found.len());
        std::thread::yield_now();
    }
    found
}

fn read_all(source: &dyn Source, partition: &Discovered, from: Offset, budget: usize, ending: Ending) -> Vec<Message> {
    let mut reader = source.reader().unwrap();
    reader.assign(TAG, &partition.partition, from).unwrap();
    let found = poll_until(reader.as_mut(), budget, |reader, _| match ending {
        Ending::Finished => reader.position(TAG).finished,
        Ending::AtEnd => reader.position(TAG).at_end,
    });
    assert!(reader.position(TAG).at_end);
    assert_eq!(reader.position(TAG).finished, ending == Ending::Finished);
    found
}

/// The contract. `expected` messages in all, in the discovered partitions together.
fn contract(name: &str, source: &dyn Source, ending: Ending, expected: usize) {
    let partitions = source.discover().unwrap();
    assert_eq!(source.discover().unwrap(), partitions, "{name}: discovery wavers");
    let mut total = 0;
    for partition in &partitions {
        let all = read_all(source, partition, partition.start, usize::MAX, ending);
        total += all.len();
        assert!(all.is_sorted_by(|a, b| a.offset < b.offset), "{name}: offsets do not ascend");
        assert_eq!(read_all(source, partition, partition.start, 1, ending), all, "{name}: a small budget changes the messages");
        replays_from_every_offset(name, source, partition, &all, ending);
        pauses(name, source, partition, &all, ending);
    }
    assert_eq!(total, expected, "{name}");
    shares_one_reader(name, source, &partitions, expected, ending);
}

/// The next offset to read is one more than that of the last message, wherever the next message is.
fn replays_from_every_offset(name: &str, source: &dyn Source, partition: &Discovered, all: &[Message], ending: Ending) {
    let step = (all.len() / 40).max(1);
    for (i, message) in all.iter().enumerate().step_by(step).chain(all.iter().enumerate().next_back()) {
        for from in [message.offset, Offset(message.offset.0 + 1)] {
            let rest = if from == message.offset { &all[i..] } else { &all[i + 1..] };
            assert_eq!(read_all(source, partition, from, 4096, ending), rest, "{name}: replay from {}", from.0);
        }
        goes_on_after(name, source, partition, &all[i..], ending);
    }
}

/// What was read last comes once more, or does not.
fn goes_on_after(name: &str, source: &dyn Source, partition: &Discovered, last_and_rest: &[Message], ending: Ending) {
    let last = last_and_rest[0].offset;
    let mut reader = source.reader().unwrap();
    reader.assign_after(TAG, &partition.partition, last).unwrap();
    let found = poll_until(reader.as_mut(), 4096, |reader, _| match ending {
        Ending::Finished => reader.position(TAG).finished,
        Ending::AtEnd => reader.position(TAG).at_end,
    });
    let again = found.first().is_some_and(|first| first.offset == last);
    let expected = if again { last_and_rest } else { &last_and_rest[1..] };
    assert_eq!(found, expected, "{name}: after {}", last.0);
}

fn pauses(name: &str, source: &dyn Source, partition: &Discovered, all: &[Message], ending: Ending) {
    let mut reader = source.reader().unwrap();
    reader.assign(TAG, &partition.partition, partition.start).unwrap();
    let mut found = poll_until(reader.as_mut(), 1, |_, found| found.len() >= all.len().min(3));
    reader.pause(TAG, true);
    let mut out = Vec::new();
    for _ in 0..100 {
        reader.poll(usize::MAX, &mut out).unwrap();
    }
    // What was fetched may come, but not a whole source.
    found.extend(out.drain(..).map(|(_, m)| m));
    assert!(all.len() < 1000 || found.len() < all.len(), "{name}: a paused source goes on");
    assert!(!reader.position(TAG).finished || found.len() == all.len(), "{name}: finished while paused");
    reader.pause(TAG, false);
    found.extend(poll_until(reader.as_mut(), 777, |reader, _| match ending {
        Ending::Finished => reader.position(TAG).finished,
        Ending::AtEnd => reader.position(TAG).at_end,
    }));
    assert_eq!(found, all, "{name}: a pause changes the messages");
}

/// All partitions on one reader, with a budget that never fits them all.
fn shares_one_reader(name: &str, source: &dyn Source, partitions: &[Discovered], expected: usize, ending: Ending) {
    let mut reader = source.reader().unwrap();
    for (i, partition) in partitions.iter().enumerate() {
        reader.assign(PartitionIndex(i as u32), &partition.partition, partition.start).unwrap();
    }
    let mut counts = vec![0usize; partitions.len()];
    let (mut out, begun) = (Vec::new(), Instant::now());
    while (0..partitions.len()).any(|i| match (ending, reader.position(PartitionIndex(i as u32))) {
        (Ending::Finished, position) => !position.finished,
        (Ending::AtEnd, position) => !position.at_end,
    }) {
        reader.poll(300, &mut out).unwrap();
        out.drain(..).for_each(|(tag, _)| counts[tag.0 as usize] += 1);
        assert!(begun.elapsed() < Duration::from_secs(60), "{name}: hangs at {counts:?}");
        std::thread::yield_now();
    }
    assert_eq!(counts.iter().sum::<usize>(), expected, "{name}");
}

/// Lines of many lengths: some empty, some longer than any buffer.
fn lines() -> (String, usize) {
    let (mut text, mut count) = (String::new(), 0);
    for i in 0..3000usize {
        let filler = "x".repeat(if i % 1000 == 999 { 300_000 } else { i % 90 });
        text += &format!("{{\"i\": {i}, \"f\": \"{filler}\"}}{}", if i % 3 == 0 { "\r\n" } else { "\n" });
        text += if i % 7 == 0 { "\n" } else { "" };
        count += 1;
    }
    (text + "{\"last\": true}", count + 1)
}

fn csv() -> (String, usize) {
    let row = |i: usize| match i % 4 {
        0 => format!("{i};\"a \"\"line\"\"\nbreak\";1,5\r\n"),
        1 => format!("{i};plain;\n"),
        2 => format!("{i};\";;\n\n\";-3,25\n"),
        _ => format!("{i};5\" pipe;\"\"\n"),
    };
    (format!("\u{feff}at;\"no\nte\";kw\r\n{}", (0..2000).map(row).collect::<String>()), 2000)
}

fn gzip(text: &str) -> Vec<u8> {
    // Two members: files that were compressed apart and then joined.
    let (one, two) = text.as_bytes().split_at(text.len() / 2);
    let member = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    [member(one), member(two)].concat()
}

fn files(paths: &[&Path], framing: Framing) -> file::Source {
    file::Source::new(SourceConfig { paths: paths.iter().map(|p| p.display().to_string()).collect(), framing })
}

const CSV: Framing = Framing::Csv { delimiter: b';' };

#[test]
fn files_of_lines() {
    let folder = Folder::new("lines");
    let (text, count) = lines();
    let (one, two, three) = (folder.0.join("a.ndjson"), folder.0.join("b.ndjson"), folder.0.join("none.ndjson"));
    std::fs::write(&one, &text).unwrap();
    std::fs::write(&two, "1\n2\n").unwrap();
    std::fs::write(&three, "").unwrap();
    contract("lines", &files(&[&one, &two, &three], Framing::Lines), Ending::Finished, count + 2);
}

#[test]
fn compressed_files_of_lines() {
    let folder = Folder::new("gz");
    let (text, count) = lines();
    let path = folder.0.join("a.ndjson.gz");
    std::fs::write(&path, gzip(&text)).unwrap();
    contract("gz", &files(&[&path], Framing::Lines), Ending::Finished, count);
}

#[test]
fn files_of_csv_plain_and_compressed() {
    let folder = Folder::new("csv");
    let (text, count) = csv();
    let (plain, packed) = (folder.0.join("a.csv"), folder.0.join("a.csv.gz"));
    std::fs::write(&plain, &text).unwrap();
    std::fs::write(&packed, gzip(&text)).unwrap();
    contract("csv", &files(&[&plain, &packed], CSV), Ending::Finished, 2 * count);
}

#[test]
fn a_generator() {
    let profile = serde_json::json!({
        "seed": 5, "rate": 100, "count": 2000, "sources": 3, "start": "2025-01-01T00:00:00Z", "duplicates": 0.05,
        "malformed": {"share": 0.05}, "silent": [{"source": "1", "from": "2s", "for": "5s"}],
        "template": {"id": "{uuid}", "at": "{time}", "n": {"int": [0, 9]}},
    });
    let generator = Generator::new(Profile::parse(&profile).unwrap(), 0);
    let expected = generator.events().count();
    contract("generate", &generate::Source::new(generator, Pace::Unpaced), Ending::Finished, expected);
}

#[test]
fn a_local_log() {
    let folder = Folder::new("log");
    let options = Options { partitions: 3, segment_bytes: 20_000 };
    let (log, _) = LocalLog::open(&folder.0, options).unwrap();
    for i in 0..900usize {
        let record = NewRecord {
            key: Some(vec![1; i % 5]),
            payload: Some(vec![b'x'; i % 300]),
            time_us: i as i64,
            ..NewRecord::default()
        };
        log.append((i % 3) as i32, record).unwrap();
    }
    contract("local log", &local_log::Source::new(log, "events"), Ending::AtEnd, 900);
}

#[test]
fn a_file_that_is_missing_or_has_shrunk_or_is_damaged_stops_with_its_name() {
    let folder = Folder::new("broken");
    let (missing, short, damaged, cut) =
        (folder.0.join("none"), folder.0.join("short"), folder.0.join("damaged.gz"), folder.0.join("cut.gz"));
    std::fs::write(&short, "1\n2\n").unwrap();
    std::fs::write(&damaged, "this is no gzip").unwrap();
    let packed = gzip(&lines().0);
    std::fs::write(&cut, &packed[..packed.len() / 4]).unwrap();
    let stops = |path: &Path, from: Result<u64, u64>| -> String {
        let source = files(&[path], Framing::Lines);
        let run = || -> Result<(), SourceError> {
            let found = source.discover()?;
            let mut reader = source.reader()?;
            match from {
                Ok(next) => reader.assign(TAG, &found[0].partition, Offset(next))?,
                Err(last) => reader.assign_after(TAG, &found[0].partition, Offset(last))?,
            }
            let begun = Instant::now();
            loop {
                reader.poll(usize::MAX, &mut Vec::new())?;
                assert!(!reader.position(TAG).finished && begun.elapsed() < Duration::from_secs(20));
            }
        };
        match run() {
            Err(SourceError::Stop(words)) => words,
            other => panic!("{other:?}"),
        }
    };
    for (path, from, words) in [
        (&missing, Ok(0), "does not exist"),
        (&short, Ok(5), "has 4 bytes, but the job has read 5 already"),
        // Cut just before what was read last.
        (&short, Err(4), "has 4 bytes, but the job has read 5 already"),
        (&damaged, Ok(0), "is no gzip file"),
        (&cut, Ok(0), "ends in the middle"),
        (&folder.0, Ok(0), "is a folder"),
    ] {
        let said = stops(path, from);
        assert!(said.contains(words) && said.contains(&path.display().to_string()), "{said}");
    }
}

#[test]
fn csv_messages_carry_the_header_line_and_the_bytes_of_their_record() {
    let folder = Folder::new("columns");
    let path = folder.0.join("a.csv");
    std::fs::write(&path, csv().0).unwrap();
    let source = files(&[&path], CSV);
    let all = read_all(&source, &source.discover().unwrap()[0], Offset(0), usize::MAX, Ending::Finished);
    assert_eq!(all[0].headers[..], [("csv.columns".to_owned(), b"at;\"no\nte\";kw".to_vec())]);
    assert_eq!(all[0].payload.as_deref(), Some(&b"0;\"a \"\"line\"\"\nbreak\";1,5"[..]));
    assert_eq!(all[2].payload.as_deref(), Some(&b"2;\";;\n\n\";-3,25"[..]));
}
