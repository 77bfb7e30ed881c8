//! One partition: appending to its last segment, and what readers may see of it.

use super::error::LocalLogError;
use super::frame::{BODY_BYTES_MAX, NewRecord, encode, len_bytes};
use super::segment::{self, HEADER_BYTES, Segment, TornTail};
use caudal_pipeline::record::Offset;
use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// A partition on disk.
pub(super) struct Partition {
    number: i32,
    folder: PathBuf,
    segment_bytes: u64,
    writer: Mutex<Writer>,
    /// What is durable; readers wait for it to grow.
    visible: Mutex<Visible>,
    grown: Condvar,
}

/// What readers may see.
#[derive(Clone, Debug)]
pub(super) struct Visible {
    /// The first retained offset.
    pub(super) first: u64,
    /// The next offset that will be written.
    pub(super) end: u64,
    /// First offsets of the segments, ascending.
    pub(super) segments: Vec<u64>,
    /// Bytes of the last segment.
    pub(super) last_bytes: u64,
}

struct Writer {
    file: File,
    path: PathBuf,
    next: u64,
    bytes: u64,
    failed: Option<LocalLogError>,
}

impl Partition {
    /// Opens the partition in `folder`, cutting off what a crash left.
    pub(super) fn open(folder: &Path, number: i32, segment_bytes: u64) -> Result<(Partition, Option<TornTail>), LocalLogError> {
        let failed = |e: std::io::Error| LocalLogError::io("open", folder, &e);
        fs::create_dir_all(folder).map_err(failed)?;
        if let Some(parent) = folder.parent() {
            File::open(parent).and_then(|f| f.sync_all()).map_err(failed)?;
        }
        let mut segments = segment::list(folder).map_err(failed)?;
        if segments.is_empty() {
            segment::create(folder, 0).map_err(failed)?;
            segments.push(Segment { first: 0, path: segment::path_of(folder, 0) });
        }
        let last = segments.last().expect("there is one by now").clone();
        let checked = segment::check_last(&last)?;
        let file = OpenOptions::new().write(true).open(&last.path).map_err(failed)?;
        let torn = checked.torn.map(|(bytes, cause, aside)| TornTail {
            partition: number,
            next_offset: Offset(checked.next),
            bytes,
            cause,
            kept_in: aside.display().to_string(),
        });
        let writer = Writer { file, path: last.path, next: checked.next, bytes: checked.bytes, failed: None };
        let visible = Visible {
            first: segments[0].first,
            end: checked.next,
            segments: segments.iter().map(|s| s.first).collect(),
            last_bytes: checked.bytes,
        };
        let partition = Partition {
            number,
            folder: folder.to_owned(),
            segment_bytes,
            writer: Mutex::new(writer),
            visible: Mutex::new(visible),
            grown: Condvar::new(),
        };
        Ok((partition, torn))
    }

    pub(super) fn number(&self) -> i32 {
        self.number
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Appends records in order; they are durable and visible on return.
    pub(super) fn append(&self, records: &[NewRecord]) -> Result<Range<u64>, LocalLogError> {
        if let Some(bytes) = records.iter().map(len_bytes).find(|bytes| *bytes > BODY_BYTES_MAX) {
            return Err(LocalLogError::TooLarge { bytes, most: BODY_BYTES_MAX });
        }
        let mut writer = self.writer.lock().expect("no append panics");
        if let Some(error) = &writer.failed {
            return Err(error.clone());
        }
        if writer.bytes >= self.segment_bytes && writer.bytes > HEADER_BYTES {
            self.roll(&mut writer)?;
        }
        let first = writer.next;
        if records.is_empty() {
            return Ok(first..first);
        }
        let mut bytes = Vec::with_capacity(records.iter().map(len_bytes).sum());
        for (record, offset) in records.iter().zip(first..) {
            encode(Offset(offset), record, &mut bytes);
        }
        writer.write(&bytes)?;
        writer.next += records.len() as u64;
        self.show(|visible| (visible.end, visible.last_bytes) = (writer.next, writer.bytes));
        Ok(first..writer.next)
    }

    /// Goes on in a new segment. The old one is durable whole: every append was.
    fn roll(&self, writer: &mut Writer) -> Result<(), LocalLogError> {
        let path = segment::path_of(&self.folder, writer.next);
        writer.file = segment::create(&self.folder, writer.next).map_err(|e| LocalLogError::io("create", &path, &e))?;
        (writer.path, writer.bytes) = (path, HEADER_BYTES);
        self.show(|visible| {
            visible.segments.push(writer.next);
            visible.last_bytes = HEADER_BYTES;
        });
        Ok(())
    }

    /// Removes the segments that hold nothing at or above `durable`; the last one stays.
    pub(super) fn prune(&self, durable: u64) {
        let mut visible = self.lock_visible();
        while visible.segments.len() > 1 && visible.segments[1] <= durable {
            let removed = segment::path_of(&self.folder, visible.segments[0]);
            // What cannot be removed now is found and removed by a later call.
            if fs::remove_file(&removed).is_err() && removed.exists() {
                return;
            }
            visible.segments.remove(0);
            visible.first = visible.segments[0];
        }
    }

    /// What readers may see now.
    pub(super) fn visible(&self) -> Visible {
        self.lock_visible().clone()
    }

    /// The next offset that will be written.
    pub(super) fn end(&self) -> u64 {
        self.lock_visible().end
    }

    /// Waits until there is something at `offset`, but no longer than `patience`; whether there is.
    pub(super) fn wait_for(&self, offset: u64, patience: Duration) -> bool {
        let visible = self.lock_visible();
        let waited = self.grown.wait_timeout_while(visible, patience, |v| v.end <= offset);
        waited.expect("no thread panics while it holds this lock").0.end > offset
    }

    fn show(&self, change: impl FnOnce(&mut Visible)) {
        change(&mut self.lock_visible());
        self.grown.notify_all();
    }

    fn lock_visible(&self) -> MutexGuard<'_, Visible> {
        self.visible.lock().expect("no thread panics while it holds this lock")
    }
}

impl Writer {
    /// Writes at the end and syncs. A failed write is undone; a failed sync, or a write that cannot be undone, ends
    /// writing for good.
    fn write(&mut self, bytes: &[u8]) -> Result<(), LocalLogError> {
        let written = self.file.seek(SeekFrom::Start(self.bytes)).and_then(|_| self.file.write_all(bytes));
        if let Err(error) = written {
            if let Err(undo) = self.file.set_len(self.bytes) {
                self.failed = Some(LocalLogError::sync(&self.path, &undo));
            }
            return Err(LocalLogError::io("append to", &self.path, &error));
        }
        if let Err(error) = self.file.sync_data() {
            let error = LocalLogError::sync(&self.path, &error);
            self.failed = Some(error.clone());
            return Err(error);
        }
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}
