//! Sorted runs: immutable files of `(key, value)` in key order, in checksummed blocks. State and ledger are made of them.
//!
//! ```text
//! "caudrun1" | block* | index | footer
//! block  = entries, each: key_len u32 | key | value_len u32 | value
//! index  = for each block: offset u64, len u32, crc32c u32, first key
//! footer = index offset u64 | index len u32 | hash u64 | "caudend1"
//! ```
//! The hash covers the index, so all blocks through their checksums, and the rest of the footer. The manifest lists it: whatever
//! is torn, flipped or foreign is found by length, magic, checksum or hash before a byte of it is believed, also a whole run
//! of the same length that was written elsewhere under the same name.

use crate::ports::blobs::{BlobError, Blobs};

const MAGIC: &[u8; 8] = b"caudrun1";
const END: &[u8; 8] = b"caudend1";
/// What of the footer the hash covers.
const PLACE_LEN: usize = 8 + 4;
const FOOTER_LEN: usize = PLACE_LEN + 8 + 8;
const BLOCK_BYTES: usize = 64 * 1024;
/// A merge that found the disk full needs much space: so many checkpoints pass before it is tried again.
pub const CHECKPOINTS_AFTER_FULL: u32 = 30;
/// In the index: a block's offset, length and checksum.
const BLOCK_HEAD: usize = 8 + 4 + 4;

/// Why a run could not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RunError {
    /// The file is not what was written: torn, flipped, or another file.
    #[error("{name} is damaged: {what}")]
    Damaged {
        /// Which blob.
        name: String,
        /// What did not fit.
        what: &'static str,
    },
    /// The store failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

/// Builds a run's bytes from entries in ascending key order.
pub struct RunWriter {
    bytes: Vec<u8>,
    block: Vec<u8>,
    first_key: Vec<u8>,
    last_key: Option<Vec<u8>>,
    index: Vec<u8>,
    entries: u64,
}

impl RunWriter {
    /// An empty run.
    pub fn new() -> RunWriter {
        let (block, index) = (Vec::new(), Vec::new());
        RunWriter { bytes: MAGIC.to_vec(), block, first_key: Vec::new(), last_key: None, index, entries: 0 }
    }

    /// Appends an entry; keys ascend.
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        debug_assert!(self.last_key.as_deref().is_none_or(|last| last < key), "keys of a run ascend");
        if self.block.is_empty() {
            self.first_key = key.to_vec();
        }
        push_bytes(&mut self.block, key);
        push_bytes(&mut self.block, value);
        self.last_key = Some(key.to_vec());
        self.entries += 1;
        if self.block.len() >= BLOCK_BYTES {
            self.end_block();
        }
    }

    /// Entries so far.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// The run's bytes, and their hash.
    pub fn finish(mut self) -> (Vec<u8>, u64) {
        self.end_block();
        let index_offset = self.bytes.len() as u64;
        self.bytes.extend(&self.index);
        self.bytes.extend(index_offset.to_le_bytes());
        self.bytes.extend((self.index.len() as u32).to_le_bytes());
        let hash = hash(&self.bytes[index_offset as usize..]);
        self.bytes.extend(hash.to_le_bytes());
        self.bytes.extend(END);
        (self.bytes, hash)
    }

    fn end_block(&mut self) {
        if self.block.is_empty() {
            return;
        }
        self.index.extend((self.bytes.len() as u64).to_le_bytes());
        self.index.extend((self.block.len() as u32).to_le_bytes());
        self.index.extend(crc32c::crc32c(&self.block).to_le_bytes());
        push_bytes(&mut self.index, &self.first_key);
        self.bytes.append(&mut self.block);
    }
}

/// Of the index and what follows it in the footer.
fn hash(index_and_rest: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(index_and_rest)
}

/// The hash that a run says it has, if these bytes end as one.
pub fn hash_in(run: &[u8]) -> Option<u64> {
    let (rest, end) = run.split_last_chunk::<8>()?;
    let (_, hash) = rest.split_last_chunk::<8>()?;
    (end == END).then(|| u64::from_le_bytes(*hash))
}

fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend(bytes);
}

impl Default for RunWriter {
    fn default() -> RunWriter {
        RunWriter::new()
    }
}

/// A run in a store: its index in memory, its blocks read when asked for.
#[derive(Debug)]
pub struct Run {
    name: String,
    blocks: Vec<BlockIndex>,
}

#[derive(Debug)]
struct BlockIndex {
    offset: u64,
    len: usize,
    checksum: u32,
    first_key: Vec<u8>,
}

/// Says of keys whether their entries are wanted.
pub type Keeps<'a> = Box<dyn Fn(&[u8]) -> bool + 'a>;

/// An entry of a run.
pub type Entry = (Vec<u8>, Vec<u8>);

impl Run {
    /// Opens `name`, whose length and hash must be these, and checks footer and index.
    pub fn open(blobs: &dyn Blobs, name: &str, bytes: u64, hash: u64) -> Result<Run, RunError> {
        let damaged = |what| RunError::Damaged { name: name.to_owned(), what };
        let footer_offset = bytes.checked_sub(FOOTER_LEN as u64).ok_or_else(|| damaged("shorter than a footer"))?;
        let footer = blobs.read_range(name, footer_offset, FOOTER_LEN + 1)?;
        if footer.len() != FOOTER_LEN {
            return Err(damaged("its length is not what the manifest lists"));
        }
        if &footer[PLACE_LEN + 8..] != END || blobs.read_range(name, 0, MAGIC.len())? != MAGIC {
            return Err(damaged("no magic at its ends"));
        }
        let (index_offset, index_len) = (u64_at(&footer, 0), u32_at(&footer, 8) as usize);
        if index_offset.checked_add(index_len as u64) != Some(footer_offset) {
            return Err(damaged("the footer does not follow the index"));
        }
        let mut index = blobs.read_range(name, index_offset, index_len)?;
        index.extend(&footer[..PLACE_LEN]);
        let found = self::hash(&index);
        if index.len() != index_len + PLACE_LEN || found != u64_at(&footer, PLACE_LEN) {
            return Err(damaged("the index fails its checksum"));
        }
        if found != hash {
            return Err(damaged("it is another run than the one that the manifest lists"));
        }
        let blocks = read_index(&index[..index_len]).ok_or_else(|| damaged("the index is cut"))?;
        Ok(Run { name: name.to_owned(), blocks })
    }

    /// The blob's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes of memory that the open run holds: its index.
    pub fn resident_bytes(&self) -> usize {
        self.blocks.iter().map(|b| std::mem::size_of::<BlockIndex>() + b.first_key.len()).sum()
    }

    /// Entries with keys from `from` on, in order.
    pub fn scan<'a>(&'a self, blobs: &'a dyn Blobs, from: &[u8]) -> Scan<'a> {
        self.scan_those(blobs, from, Box::new(|_| true))
    }

    /// Of the entries with keys from `from` on those whose keys `keeps` says, in order. Others are passed over where they lie.
    pub fn scan_those<'a>(&'a self, blobs: &'a dyn Blobs, from: &[u8], keeps: Keeps<'a>) -> Scan<'a> {
        let start = self.blocks.partition_point(|b| b.first_key.as_slice() <= from).saturating_sub(1);
        Scan { run: self, blobs, next_block: start, block: Vec::new(), at: 0, from: from.to_vec(), keeps }
    }

    /// Reads all of it once and checks every block.
    pub fn verify(&self, blobs: &dyn Blobs) -> Result<(), RunError> {
        (0..self.blocks.len()).try_for_each(|at| self.block_bytes(blobs, at).map(drop))
    }

    /// A block, checked.
    fn block_bytes(&self, blobs: &dyn Blobs, at: usize) -> Result<Vec<u8>, RunError> {
        let damaged = |what| RunError::Damaged { name: self.name.clone(), what };
        let index = &self.blocks[at];
        let bytes = blobs.read_range(&self.name, index.offset, index.len)?;
        if bytes.len() != index.len {
            return Err(damaged("a block is cut"));
        }
        if crc32c::crc32c(&bytes) != index.checksum {
            return Err(damaged("a block fails its checksum"));
        }
        Ok(bytes)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn read_index(mut index: &[u8]) -> Option<Vec<BlockIndex>> {
    let mut blocks = Vec::new();
    while !index.is_empty() {
        let (head, tail) = index.split_at_checked(BLOCK_HEAD)?;
        index = tail;
        let first_key = take_bytes(&mut index)?.to_vec();
        let (offset, len, checksum) = (u64_at(head, 0), u32_at(head, 8) as usize, u32_at(head, 12));
        blocks.push(BlockIndex { offset, len, checksum, first_key });
    }
    Some(blocks)
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, tail) = rest.split_at_checked(4)?;
    let (bytes, tail) = tail.split_at_checked(u32_at(len, 0) as usize)?;
    *rest = tail;
    Some(bytes)
}

/// A run's entries, block by block. After an error it ends.
pub struct Scan<'a> {
    run: &'a Run,
    blobs: &'a dyn Blobs,
    next_block: usize,
    /// The block that is being read, and how far.
    block: Vec<u8>,
    at: usize,
    from: Vec<u8>,
    keeps: Keeps<'a>,
}

impl Scan<'_> {
    /// The next entry of the block that is wanted. They are copied one by one, so that what is read and dropped again soon
    /// lies in memory that is at hand.
    fn in_block(&mut self) -> Result<Option<Entry>, RunError> {
        let mut rest = &self.block[self.at..];
        while !rest.is_empty() {
            let entry = take_bytes(&mut rest).and_then(|key| Some((key, take_bytes(&mut rest)?)));
            let cut = || RunError::Damaged { name: self.run.name.clone(), what: "a block's entries are cut" };
            let (key, value) = entry.ok_or_else(cut)?;
            if key >= self.from.as_slice() && (self.keeps)(key) {
                self.at = self.block.len() - rest.len();
                return Ok(Some((key.to_vec(), value.to_vec())));
            }
        }
        self.at = self.block.len();
        Ok(None)
    }

    fn read_block(&mut self) -> Result<(), RunError> {
        self.block = self.run.block_bytes(self.blobs, self.next_block)?;
        (self.at, self.next_block) = (0, self.next_block + 1);
        Ok(())
    }
}

impl Iterator for Scan<'_> {
    type Item = Result<Entry, RunError>;

    fn next(&mut self) -> Option<Self::Item> {
        let found = loop {
            match self.in_block() {
                Ok(None) if self.next_block >= self.run.blocks.len() => return None,
                Ok(None) => {}
                found => break found,
            }
            if let Err(error) = self.read_block() {
                break Err(error);
            }
        };
        if found.is_err() {
            (self.next_block, self.block, self.at) = (self.run.blocks.len(), Vec::new(), 0);
        }
        found.transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::blobs::MemoryBlobs;

    fn run_of(count: u32) -> (Vec<u8>, u64) {
        let mut writer = RunWriter::new();
        for i in 0..count {
            writer.push(&i.to_be_bytes(), format!("value {i}").as_bytes());
        }
        writer.finish()
    }

    #[test]
    fn entries_come_back_in_order_from_any_key() {
        let (blobs, (bytes, hash)) = (MemoryBlobs::default(), run_of(20_000));
        blobs.create("r", &bytes).unwrap();
        let run = Run::open(&blobs, "r", bytes.len() as u64, hash).unwrap();
        assert!(run.blocks.len() > 3, "several blocks are needed to test the seams");
        for from in [0u32, 1, 4_999, 19_999, 20_000] {
            let keys: Vec<u32> =
                run.scan(&blobs, &from.to_be_bytes()).map(|e| u32::from_be_bytes(e.unwrap().0.try_into().unwrap())).collect();
            assert_eq!(keys, (from..20_000).collect::<Vec<_>>());
        }
    }

    #[test]
    fn any_flipped_bit_and_any_cut_is_found() {
        for entries in [50, 0] {
            let (bytes, hash) = run_of(entries);
            let read_all = |run: &[u8]| read_all(run, bytes.len(), hash);
            for at in 0..bytes.len() {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1;
                assert!(read_all(&flipped).is_err(), "byte {at} flipped went unseen");
                assert!(read_all(&bytes[..at]).is_err(), "a cut at {at} went unseen");
            }
            assert_eq!(read_all(&bytes).unwrap(), entries as usize);
        }
    }

    /// A backup of another moment, or of another state: whole, of the same length, under the same name.
    #[test]
    fn a_run_that_was_written_elsewhere_is_found() {
        let run_of = |value: &[u8]| {
            let mut writer = RunWriter::new();
            writer.push(b"key", value);
            writer.finish()
        };
        let ((ours, hash), (other, other_hash)) = (run_of(b"1"), run_of(b"2"));
        assert_eq!((ours.len(), hash_in(&ours), hash_in(&other)), (other.len(), Some(hash), Some(other_hash)));
        assert_eq!(read_all(&ours, ours.len(), hash).unwrap(), 1);
        assert_eq!(read_all(&other, ours.len(), other_hash).unwrap(), 1, "it is a run");
        let error = read_all(&other, ours.len(), hash).unwrap_err().to_string();
        assert_eq!(error, "r is damaged: it is another run than the one that the manifest lists");
    }

    fn read_all(bytes: &[u8], listed: usize, hash: u64) -> Result<usize, RunError> {
        let blobs = MemoryBlobs::default();
        blobs.create("r", bytes)?;
        let run = Run::open(&blobs, "r", listed as u64, hash)?;
        Ok(run.scan(&blobs, &[]).collect::<Result<Vec<_>, _>>()?.len())
    }
}
