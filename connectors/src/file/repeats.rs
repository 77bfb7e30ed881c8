//! What a file holds already, for a cut that comes again with other boundaries after a crash.

use super::config::Framing;
use super::records::Records;
use flate2::bufread::MultiGzDecoder;
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::Path;
use xxhash_rust::xxh3::xxh3_128;

/// Hashes of a file's records.
#[derive(Default)]
pub(super) struct Repeats(HashSet<u128>);

impl Repeats {
    /// Reads what the file holds from byte `from` on; an absent file holds nothing.
    pub(super) fn read(path: &Path, from: u64, gzip: bool, framing: Framing) -> io::Result<Repeats> {
        let mut file = match File::open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Repeats::default()),
            file => file?,
        };
        file.seek(SeekFrom::Start(from))?;
        let plain = BufReader::new(file);
        let bytes: Box<dyn BufRead> = if gzip { Box::new(BufReader::new(MultiGzDecoder::new(plain))) } else { Box::new(plain) };
        let mut records = Records::new(bytes, framing, from);
        let mut hashes = HashSet::new();
        while let Some(record) = records.next_record()? {
            hashes.insert(xxh3_128(&record.bytes));
        }
        Ok(Repeats(hashes))
    }

    /// Whether this line (with its line end) is there.
    pub(super) fn holds(&self, line: &str) -> bool {
        !self.0.is_empty() && self.0.contains(&xxh3_128(line.trim_end_matches(['\r', '\n']).as_bytes()))
    }
}
