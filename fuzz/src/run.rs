//! The bytes of a sorted run: as they are, and as blocks and index that checksums vouch for.
//!
//! Promises: no panic, no memory asked for beyond the bytes' own size, and a scan that ends.

use caudal_pipeline::ports::blobs::{Blobs, MemoryBlobs};
use caudal_pipeline::run::{Run, RunWriter, hash_in};

/// Opens the bytes as a run, and as a run's inside.
pub fn check(bytes: &[u8]) {
    scan(bytes);
    scan(&sealed(bytes));
}

fn scan(bytes: &[u8]) {
    let blobs = MemoryBlobs::default();
    blobs.create("run", bytes).expect("memory has room");
    let Ok(run) = Run::open(&blobs, "run", bytes.len() as u64, hash_in(bytes).unwrap_or(0)) else { return };
    // A block that the index lists twice is read twice: that is all that damage can multiply.
    let entries_max = bytes.len().saturating_mul(bytes.len());
    let read = run.scan(&blobs, &[]).take(entries_max + 1).count();
    assert!(read <= entries_max, "a scan ends");
    let _ = run.scan(&blobs, b"m").last();
}

/// A run whose one block has these bytes, then its index: the first byte says how many bytes the index takes.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    let (index_len, rest) = bytes.split_first().map_or((0, bytes), |(first, rest)| (*first as usize, rest));
    let (block, tail) = rest.split_at(rest.len() - index_len.min(rest.len()));
    let mut run = b"caudrun1".to_vec();
    run.extend(block);
    // An index entry for the block, so that it is read; what follows in the index is the input's.
    let mut index = 8u64.to_le_bytes().to_vec();
    index.extend((block.len() as u32).to_le_bytes());
    index.extend(crc32c::crc32c(block).to_le_bytes());
    index.extend(0u32.to_le_bytes());
    index.extend(tail);
    let offset = run.len() as u64;
    run.extend(&index);
    run.extend(offset.to_le_bytes());
    run.extend((index.len() as u32).to_le_bytes());
    let hash = xxhash_rust::xxh3::xxh3_64(&run[offset as usize..]);
    run.extend(hash.to_le_bytes());
    run.extend(b"caudend1");
    run
}

/// A run as it is written, to begin from.
pub fn example() -> Vec<u8> {
    let mut writer = RunWriter::new();
    for key in 0..40u32 {
        writer.push(&key.to_be_bytes(), format!("value {key}").as_bytes());
    }
    writer.finish().0
}
