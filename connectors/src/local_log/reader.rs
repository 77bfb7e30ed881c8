//! Reading a partition from any retained offset on, and waiting for more.

use super::frame::{Found, HEAD_BYTES, decode, head};
use super::partition::{Partition, Visible};
use super::segment::{self, HEADER_BYTES, Segment, check_header};
use crate::prefetch::{BATCH_BYTES, Fetch, Fetched, PATIENCE};
use caudal_pipeline::ports::source::SourceError;
use caudal_pipeline::record::Message;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::sync::Arc;

/// Reads one partition from a thread.
pub(super) struct LogFetch {
    partition: Arc<Partition>,
    next: u64,
    open: Option<OpenSegment>,
}

struct OpenSegment {
    segment: Segment,
    file: BufReader<File>,
    /// The offset of the frame that the file stands at.
    at: u64,
}

impl LogFetch {
    /// Reads from `next` on.
    pub(super) fn new(partition: Arc<Partition>, next: u64) -> LogFetch {
        LogFetch { partition, next, open: None }
    }

    /// One batch of what is durable.
    fn batch(&mut self) -> Result<Vec<Message>, SourceError> {
        let visible = self.partition.visible();
        let (mut messages, mut held) = (Vec::new(), 0);
        while held < BATCH_BYTES && self.next < visible.end {
            let message = self.message(&visible)?;
            if message.offset.0 == self.next {
                held += message.len_bytes();
                self.next += 1;
                messages.push(message);
            }
        }
        Ok(messages)
    }

    /// The next frame on the way to `next`; opens the segment that holds it.
    fn message(&mut self, visible: &Visible) -> Result<Message, SourceError> {
        let first = *visible.segments[..visible.segments.partition_point(|first| *first <= self.next)]
            .last()
            .ok_or_else(|| lost(&self.partition, self.next, visible.first))?;
        let open = match self.open.take() {
            Some(open) if open.segment.first == first && open.at <= self.next => self.open.insert(open),
            _ => {
                let opened = OpenSegment::open(&self.partition, first, self.next, visible)?;
                self.open.insert(opened)
            }
        };
        open.frame()
    }
}

impl Fetch for LogFetch {
    fn fetch(&mut self) -> Result<Fetched, SourceError> {
        if !self.partition.wait_for(self.next, PATIENCE) {
            return Ok(Fetched::Messages(Vec::new()));
        }
        self.batch().map(Fetched::Messages)
    }
}

impl OpenSegment {
    fn open(partition: &Partition, first: u64, next: u64, visible: &Visible) -> Result<OpenSegment, SourceError> {
        let segment = Segment { first, path: segment::path_of(partition.folder(), first) };
        let mut file = match File::open(&segment.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(lost(partition, next, visible.first)),
            file => file.map_err(|e| SourceError::Stop(format!("cannot read {}: {e}", segment.path.display())))?,
        };
        check_header(&mut file, &segment).map_err(|e| SourceError::Stop(e.to_string()))?;
        Ok(OpenSegment { segment, file: BufReader::with_capacity(128 << 10, file), at: first })
    }

    /// The frame at which the file stands. It is durable, so it must be whole.
    fn frame(&mut self) -> Result<Message, SourceError> {
        let mut bytes = vec![0; HEAD_BYTES];
        let failed = |e: io::Error| damaged(&self.segment, self.at, &e.to_string());
        self.file.read_exact(&mut bytes).map_err(failed)?;
        let (len, _) = head(&bytes).expect("eight bytes are a head");
        (&mut self.file).take(len as u64).read_to_end(&mut bytes).map_err(failed)?;
        match decode(&bytes) {
            Found::Frame(message, _) if message.offset.0 == self.at => {
                self.at += 1;
                Ok(message)
            }
            Found::Frame(..) => Err(self.damaged("a frame has another offset than its place")),
            Found::Short => Err(self.damaged("a frame is not whole")),
            Found::Wrong(cause) => Err(self.damaged(cause)),
        }
    }

    fn damaged(&self, cause: &str) -> SourceError {
        damaged(&self.segment, self.at, cause)
    }
}

fn damaged(segment: &Segment, offset: u64, cause: &str) -> SourceError {
    SourceError::Stop(format!(
        "{} is damaged at offset {offset} ({cause}), after {HEADER_BYTES} bytes of header: restore it from a copy",
        segment.path.display()
    ))
}

/// The offset was removed: its reader had said that it was durably taken over.
pub(super) fn lost(partition: &Partition, next: u64, first: u64) -> SourceError {
    SourceError::Stop(format!(
        "partition {} of the local log begins at offset {first}, but the job goes on at {next}: the state folder is older than its log",
        partition.number()
    ))
}
