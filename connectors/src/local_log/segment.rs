//! Segment files: their names and headers, and what a crash leaves at the end of the last one.

use super::error::LocalLogError;
use super::frame::{Found, HEAD_BYTES, decode, head};
use caudal_pipeline::record::Offset;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Bytes before the first frame.
pub(super) const HEADER_BYTES: u64 = 16;

const MAGIC: &[u8; 8] = b"CAUDLOG1";

/// What was cut off the end of a partition when it was opened: an append that a crash interrupted, and that nobody
/// was promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The partition.
    pub partition: i32,
    /// The first offset that is free again.
    pub next_offset: Offset,
    /// How many bytes were cut off.
    pub bytes: u64,
    /// What was found there.
    pub cause: String,
    /// Where the cut bytes are kept.
    pub kept_in: String,
}

/// A segment on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) first: u64,
    pub(super) path: PathBuf,
}

/// The last segment after it was checked.
pub(super) struct Checked {
    pub(super) next: u64,
    pub(super) bytes: u64,
    pub(super) torn: Option<(u64, String, PathBuf)>,
}

/// Where the segment that begins with `first` is.
pub(super) fn path_of(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{first:020}.log"))
}

/// The first offset of the segment that a file is, by its name.
pub(super) fn first_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_suffix(".log")?.parse().ok()
}

/// All segments of a partition in order.
pub(super) fn list(folder: &Path) -> io::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        segments.extend(first_of(&path).map(|first| Segment { first, path }));
    }
    segments.sort_unstable_by_key(|s| s.first);
    Ok(segments)
}

/// Makes a segment, durable with its name.
pub(super) fn create(folder: &Path, first: u64) -> io::Result<File> {
    let path = path_of(folder, first);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    file.write_all(MAGIC)?;
    file.write_all(&first.to_le_bytes())?;
    file.sync_all()?;
    File::open(folder)?.sync_all()?;
    Ok(file)
}

/// Whether `bytes` begin a segment whose first offset is `first`.
fn is_header(bytes: &[u8], first: u64) -> bool {
    bytes.starts_with(MAGIC) && bytes.get(8..16) == Some(&first.to_le_bytes()[..])
}

/// Reads the header; an error if this is no segment with that first offset.
pub(super) fn check_header(file: &mut File, segment: &Segment) -> Result<(), LocalLogError> {
    let mut header = [0; HEADER_BYTES as usize];
    let read = file.read_exact(&mut header);
    if read.is_ok() && is_header(&header, segment.first) {
        return Ok(());
    }
    let path = segment.path.display().to_string();
    Err(LocalLogError::Damaged { path, at: 0, cause: "it does not begin as a segment of this log".to_owned() })
}

/// Goes through the last segment frame by frame, and cuts off what is no whole frame.
pub(super) fn check_last(segment: &Segment) -> Result<Checked, LocalLogError> {
    let failed = |attempted, e: io::Error| LocalLogError::io(attempted, &segment.path, &e);
    let mut file = OpenOptions::new().read(true).write(true).open(&segment.path).map_err(|e| failed("open", e))?;
    let len = file.metadata().map_err(|e| failed("open", e))?.len();
    if len < HEADER_BYTES {
        // The crash came while the segment was being made: it holds nothing yet.
        let folder = segment.path.parent().expect("a segment lies in a partition's folder");
        create(folder, segment.first).map_err(|e| failed("write", e))?;
        return Ok(Checked { next: segment.first, bytes: HEADER_BYTES, torn: None });
    }
    check_header(&mut file, segment)?;
    let mut scan = Scan { file: io::BufReader::with_capacity(1 << 20, &file), next: segment.first, at: HEADER_BYTES };
    let cause = loop {
        match scan.frame().map_err(|e| failed("read", e))? {
            Step::Frame => {}
            Step::End => {
                // A killed process may have written whole frames that were never synced: they count from now on.
                file.sync_all().map_err(|e| LocalLogError::sync(&segment.path, &e))?;
                return Ok(Checked { next: scan.next, bytes: scan.at, torn: None });
            }
            Step::Torn(cause) => break cause,
        }
    };
    let Scan { next, at, .. } = scan;
    let aside = cut_off(&mut file, &segment.path, at).map_err(|e| failed("shorten", e))?;
    Ok(Checked { next, bytes: at, torn: Some((len - at, cause.to_owned(), aside)) })
}

/// Going through a segment.
struct Scan<'a> {
    file: io::BufReader<&'a File>,
    next: u64,
    at: u64,
}

enum Step {
    Frame,
    End,
    Torn(&'static str),
}

impl Scan<'_> {
    fn frame(&mut self) -> io::Result<Step> {
        let mut bytes = vec![0; HEAD_BYTES];
        let got = read_up_to(&mut self.file, &mut bytes)?;
        if got == 0 {
            return Ok(Step::End);
        }
        let Some((len, _)) = head(&bytes[..got]) else { return Ok(Step::Torn("the last frame is not whole")) };
        if len > super::frame::BODY_BYTES_MAX {
            return Ok(Step::Torn("a frame's length is out of range"));
        }
        (&mut self.file).take(len as u64).read_to_end(&mut bytes)?;
        Ok(match decode(&bytes) {
            Found::Short => Step::Torn("the last frame is not whole"),
            Found::Wrong(cause) => Step::Torn(cause),
            Found::Frame(message, _) if message.offset.0 != self.next => Step::Torn("a frame has another offset than its place"),
            Found::Frame(_, size) => {
                self.next += 1;
                self.at += size as u64;
                Step::Frame
            }
        })
    }
}

fn read_up_to(from: &mut impl Read, bytes: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < bytes.len() {
        match from.read(&mut bytes[got..]) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(got)
}

/// Shortens the segment to `at` bytes; what follows is kept beside it.
fn cut_off(file: &mut File, path: &Path, at: u64) -> io::Result<PathBuf> {
    let aside = path.with_extension(format!("torn-{at}"));
    file.seek(SeekFrom::Start(at))?;
    let mut kept = File::create(&aside)?;
    io::copy(file, &mut kept)?;
    kept.sync_all()?;
    file.set_len(at)?;
    file.sync_all()?;
    Ok(aside)
}
