//! The fuzz targets as ordinary tests: inputs that are right, changed at random from a printed seed.
//!
//! `CAUDAL_SEED=7 cargo test -p caudal-fuzz` begins elsewhere, `CAUDAL_FUZZ_ROUNDS=100` goes on for a hundred times as
//! long. An input that breaks a promise is printed; it then becomes a line of its target's inputs here.

use caudal_fuzz::{commit_log, decoder, job_file, run};
use caudal_pipeline::log::{Bind, Checkpoint, Fingerprint, Generation, LogRecord, PartitionBind, StreamBind};
use caudal_pipeline::record::{Offset, Partition, PartitionIndex};
use caudal_pipeline::time::{Epoch, EventTime, Version};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::panic::catch_unwind;

/// What a format's readers trip over, put in anywhere.
const PIECES: &[&[u8]] = &[
    b"\0",
    b"\xff",
    b"\xed\xa0\x80",
    b"\"",
    b"'",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b": ",
    b",",
    b"\n",
    b"\r",
    b"\t",
    b"- ",
    b"#",
    b"&a ",
    b"*a",
    b"!!x ",
    b"|\n",
    b"? ",
    b"---\n",
    b"\\u0000",
    b"\\ud800",
    b"1e400",
    b"-0.0",
    b"NaN",
    b"null",
    b"true",
    b"99999999999999999999",
    b"0.1",
    b"9999-12-31T23:59:60Z",
    b"0000-00-00",
    b"${X}",
    b"${file:",
    b"(",
    b")",
    b"==",
    b"?",
    b"mean(",
    b"1d",
    b"0s",
    b"\xc2\xa0",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xae",
];

/// Checks each input, then `count` changed ones.
fn fuzz(name: &str, inputs: &[Vec<u8>], count: usize, check: fn(&[u8])) {
    let variable = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = variable("CAUDAL_SEED").unwrap_or(1);
    let rounds = variable("CAUDAL_FUZZ_ROUNDS").unwrap_or(1) as usize;
    println!("{name}: seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let changed = (0..count * rounds).map(|_| mutated(&mut random, inputs));
    for (round, input) in inputs.iter().cloned().chain(changed).enumerate() {
        if catch_unwind(|| check(&input)).is_err() {
            panic!("{name}: seed {seed}, round {round}: the promise is broken by b\"{}\"", input.escape_ascii());
        }
    }
}

/// One of the inputs with one to six changes, some of them taken from another input.
fn mutated(random: &mut ChaCha8Rng, inputs: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = inputs[random.random_range(0..inputs.len())].clone();
    for _ in 0..random.random_range(1..=6) {
        let at = random.random_range(0..=bytes.len());
        let end = (at + random.random_range(0..=16)).min(bytes.len());
        match random.random_range(0..8) {
            0 => drop(bytes.drain(at..end)),
            1 => bytes.truncate(at),
            2 => drop(bytes.splice(at..at, PIECES[random.random_range(0..PIECES.len())].iter().copied())),
            3 => drop(bytes.splice(at..end, PIECES[random.random_range(0..PIECES.len())].iter().copied())),
            4 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            5 => {
                let other = &inputs[random.random_range(0..inputs.len())];
                let from = random.random_range(0..=other.len());
                let to = (from + random.random_range(0..=64)).min(other.len());
                bytes.splice(at..end, other[from..to].iter().copied());
            }
            _ if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
            _ => bytes.push(random.random()),
        }
    }
    bytes
}

#[test]
fn messages() {
    let nested = format!("\x03{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let right = [
        "\x00{\"event_type\":\"reading\",\"payload\":{\"event_id\":\"a-1\",\"timestamp\":\"2026-01-01T00:00:00.5+01:00\",\
         \"generator_id\":\"gen-1\",\"power\":{\"active\":812.30,\"reactive\":-1e2}}}",
        "\x01{\"id\":7,\"readings\":[{\"n\":1,\"who\":\"a\",\"power\":10.505,\"time\":\"2026-03-29 02:30:00\"},\
         {\"n\":2,\"time\":null,\"seen\":\"2016-12-31T23:59:60Z\"},7]}",
        "\x021767225600,5;812,3001;true",
        "\x02\"1767225600\";\"-0,0\";false\n",
        "\x03{\"a\":{\"b\":[4611686018427387903]},\"day\":\"0001-01-01T00:00:00Z\",\"x\":\"\\u0000\\ud83d\\ude00\"}",
    ];
    for input in right {
        let (_, outcomes) = decoder::decode(input.as_bytes());
        assert!(outcomes.iter().any(Result::is_ok), "changes of what is wrong anyway would test little: {outcomes:?}");
    }
    let wrong = ["\x03[1e400,-1E-400,0.1,1,true,null,\"\",{}]", &nested];
    let inputs: Vec<Vec<u8>> = right.iter().chain(&wrong).map(|input| input.as_bytes().to_vec()).collect();
    fuzz("decoder", &inputs, 60_000, decoder::check);
}

#[test]
fn job_files() {
    let nested = format!("caudal: {}{}", "[".repeat(10_000), "]".repeat(10_000));
    let aliases = format!("a: &a [x]\n{}", (0..30).map(|n| format!("b{n}: &b{n} [*a, *a]\n")).collect::<String>());
    let inputs = [
        decoder::JOB,
        include_str!("../../jobs/tests/jobfile/good/everything.yaml"),
        include_str!("../../jobs/tests/jobfile/good/wind.yaml"),
        include_str!("../../jobs/bank/job.yaml"),
        include_str!("../../jobs/wind-farm/job.yaml"),
        &nested,
        &aliases,
    ];
    fuzz("job_file", &inputs.map(|input| input.as_bytes().to_vec()), 6_000, job_file::check);
}

#[test]
fn commit_logs() {
    let moved = PartitionBind {
        index: PartitionIndex(3),
        next: Offset(1 << 40),
        count: 9,
        hash: u64::MAX,
        newest: Some(EventTime(-1)),
        idle: true,
    };
    let added = vec![(Partition { topic: "wind.north".into(), number: 3 }, Offset(5))];
    let by = Fingerprint { job: 99, build: 1 };
    let stream = StreamBind { stream: 1, watermark: EventTime(77), added, partitions: vec![moved] };
    let records = [
        LogRecord::Generation(Generation { generation: 3, workers: 4 }),
        LogRecord::Bind(Bind { epoch: Epoch(9), opened: Version(1 << 50), by, tables: 5, streams: vec![stream], closes: false }),
        LogRecord::Checkpoint(Checkpoint { epoch: Epoch(3), manifest: "manifest/3".into(), hash: 5 }),
    ];
    let bodies = records.iter().map(body);
    let whole = records.iter().map(|record| commit_log::sealed(&body(record)));
    fuzz("commit_log", &whole.chain(bodies).collect::<Vec<_>>(), 100_000, commit_log::check);
}

/// A record's body, taken from the log that wrote it.
fn body(record: &LogRecord) -> Vec<u8> {
    use caudal_pipeline::log::CommitLog;
    use caudal_pipeline::ports::blobs::{Blobs, MemoryBlobs};
    use std::sync::Arc;
    let blobs = Arc::new(MemoryBlobs::default());
    let (mut log, _) = CommitLog::open(blobs.clone()).unwrap();
    let seq = log.append(record).unwrap();
    blobs.read(&format!("log/{seq:020}")).unwrap()[36..].to_vec()
}

#[test]
fn runs() {
    let block = [&[0u8][..], &4u32.to_le_bytes(), b"keys", &2u32.to_le_bytes(), b"ab"].concat();
    fuzz("run", &[run::example(), block, vec![]], 30_000, run::check);
}
