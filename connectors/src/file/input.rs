//! Opening a file at an offset, plain or compressed.

use caudal_pipeline::ports::source::SourceError;
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

/// Bytes read at once.
const BUFFER_BYTES: usize = 128 << 10;

/// A file as a stream of bytes.
pub(super) struct Input {
    pub(super) bytes: Box<dyn BufRead + Send>,
    /// The length of the stream, where it can be known before reading.
    pub(super) len: Option<u64>,
}

/// Whether the name says that the file is compressed.
pub(super) fn is_gzip(path: &str) -> bool {
    std::path::Path::new(path).extension().is_some_and(|e| e.eq_ignore_ascii_case("gz"))
}

/// The file's length, if it is a file that can be read.
pub(super) fn check(path: &str) -> Result<u64, SourceError> {
    let file = File::open(path).map_err(|e| unreadable(path, &e))?;
    let metadata = file.metadata().map_err(|e| unreadable(path, &e))?;
    if metadata.is_dir() {
        return Err(SourceError::Stop(format!("{path} is a folder: name the files in it")));
    }
    Ok(metadata.len())
}

/// The length of the file's stream where it can be known without reading it; an error if it is less than `offset`.
pub(super) fn check_from(path: &str, offset: u64) -> Result<Option<u64>, SourceError> {
    let held = check(path)?;
    if is_gzip(path) {
        return Ok(None);
    }
    if held < offset { Err(shrunk(path, held, offset)) } else { Ok(Some(held)) }
}

/// Opens the file and passes over the first `offset` bytes of its stream.
pub(super) fn open(path: &str, offset: u64) -> Result<Input, SourceError> {
    let len = check_from(path, offset)?;
    let mut file = File::open(path).map_err(|e| unreadable(path, &e))?;
    let Some(held) = len else {
        let mut bytes = BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(BufReader::with_capacity(BUFFER_BYTES, file)));
        let passed = io::copy(&mut (&mut bytes).take(offset), &mut io::sink()).map_err(|e| unreadable(path, &e))?;
        if passed < offset {
            return Err(shrunk(path, passed, offset));
        }
        return Ok(Input { bytes: Box::new(bytes), len: None });
    };
    file.seek(SeekFrom::Start(offset)).map_err(|e| unreadable(path, &e))?;
    // What is appended while we read belongs to a later run: a last line may be half there.
    let bytes = BufReader::with_capacity(BUFFER_BYTES, file.take(held - offset));
    Ok(Input { bytes: Box::new(bytes), len })
}

/// The file is not the one that was read before.
pub(super) fn shrunk(path: &str, held: u64, offset: u64) -> SourceError {
    SourceError::Stop(format!(
        "{path} has {held} bytes, but the job has read {offset} already: it was cut or replaced; put the old file back, or give the new one another name"
    ))
}

/// Why a file cannot be read; what a restart does not cure stops the job.
pub(super) fn unreadable(path: &str, error: &io::Error) -> SourceError {
    match error.kind() {
        io::ErrorKind::NotFound => SourceError::Stop(format!("{path} does not exist")),
        io::ErrorKind::PermissionDenied => SourceError::Stop(format!("not allowed to read {path}: check its owner and mode")),
        io::ErrorKind::UnexpectedEof => SourceError::Stop(format!("{path} ends in the middle of its compressed data")),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            SourceError::Stop(format!("{path} is no gzip file, or a damaged one ({error})"))
        }
        _ => SourceError::Stop(format!("cannot read {path}: {error}")),
    }
}
