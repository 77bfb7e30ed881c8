//! Files as a source: one partition a path.

use super::config::{Framing, SourceConfig};
use super::input::{check, check_from, open, shrunk, unreadable};
use super::records::{FramedRecord, Records};
use crate::prefetch::{BATCH_BYTES, Fetch, Fetched, Opened, PrefetchReader};
use caudal_pipeline::ports::source::{self, Discovered, Reader, SourceError};
use caudal_pipeline::record::{Message, Offset, Partition};
use std::io::BufRead;
use std::sync::Arc;

/// The header of a CSV message that holds the file's header line.
pub const COLUMNS_HEADER: &str = "csv.columns";

/// The header of a message whose end was left out: how many bytes are missing.
pub const LEFT_OUT_HEADER: &str = "caudal-left-out-bytes";

/// A message's headers.
type Headers = Arc<[(String, Vec<u8>)]>;

/// Records of files.
pub struct Source {
    config: SourceConfig,
}

impl Source {
    /// The files' records.
    pub fn new(config: SourceConfig) -> Source {
        Source { config }
    }
}

impl source::Source for Source {
    fn discover(&self) -> Result<Vec<Discovered>, SourceError> {
        let discovered = |path: &String| {
            check(path)?;
            Ok(Discovered { partition: Partition { topic: path.as_str().into(), number: 0 }, start: Offset(0), end: None })
        };
        self.config.paths.iter().map(discovered).collect()
    }

    fn reader(&self) -> Result<Box<dyn Reader>, SourceError> {
        let framing = self.config.framing;
        let open = move |partition: &Partition, next, looking_back| open_partition(&partition.topic, framing, next, looking_back);
        Ok(Box::new(PrefetchReader::new(Box::new(open)).looking_back()))
    }
}

/// Looks at the file; reading up to where it goes on, which may take long, is left to the thread.
fn open_partition(path: &str, framing: Framing, next: Offset, looking_back: bool) -> Result<Opened, SourceError> {
    let len = check_from(path, next.0)?;
    let from = next.0 - u64::from(looking_back);
    let fetch = FileFetch { path: path.into(), framing, read: next.0, from, headers: Arc::new([]), len, records: None };
    Ok(Opened { fetch: Box::new(fetch), end: Box::new(move || len.map(Offset)) })
}

/// Reads one file from a thread.
struct FileFetch {
    path: Arc<str>,
    framing: Framing,
    /// Records before this offset were read in an earlier run.
    read: u64,
    /// Where to begin: there, or with the last of those.
    from: u64,
    headers: Headers,
    len: Option<u64>,
    records: Option<FileRecords>,
}

type FileRecords = Records<Box<dyn BufRead + Send>>;

impl Fetch for FileFetch {
    fn fetch(&mut self) -> Result<Fetched, SourceError> {
        let mut records = match self.records.take() {
            Some(records) => records,
            None => self.open()?,
        };
        let (mut messages, mut held) = (Vec::new(), 0);
        while held < BATCH_BYTES {
            let Some(record) = records.next_record().map_err(|e| unreadable(&self.path, &e))? else {
                let offset = records.offset();
                self.records = Some(records);
                return self.at_end(messages, offset);
            };
            if record.start >= self.from {
                let message = self.message(record);
                held += message.len_bytes();
                messages.push(message);
            }
        }
        self.records = Some(records);
        Ok(Fetched::Messages(messages))
    }
}

impl FileFetch {
    /// Opens the file at or before the first wanted record, header line known.
    fn open(&mut self) -> Result<FileRecords, SourceError> {
        let path = Arc::clone(&self.path);
        let failed = |e: std::io::Error| unreadable(&path, &e);
        // A line's start is found from anywhere; whether a line break lies within quotes is known only from the beginning.
        let before = if self.framing == Framing::Lines { self.from.saturating_sub(1) } else { 0 };
        let input = open(&path, before)?;
        self.len = input.len;
        let mut records = Records::new(input.bytes, self.framing, before);
        if before > 0 {
            records.skip_line().map_err(failed)?;
        } else {
            records.skip_mark().map_err(failed)?;
        }
        if self.framing != Framing::Lines {
            let columns = records.next_record().map_err(failed)?.map(|r| r.bytes).unwrap_or_default();
            self.headers = Arc::new([(COLUMNS_HEADER.to_owned(), columns)]);
        }
        Ok(records)
    }

    fn at_end(&self, messages: Vec<Message>, offset: u64) -> Result<Fetched, SourceError> {
        if self.len.is_some_and(|len| offset < len) {
            return Err(SourceError::Stop(format!("{} was cut while it was read, at byte {offset}", self.path)));
        }
        if offset < self.read {
            return Err(shrunk(&self.path, offset, self.read));
        }
        Ok(if messages.is_empty() { Fetched::Finished } else { Fetched::Messages(messages) })
    }

    fn message(&self, record: FramedRecord) -> Message {
        let headers = if record.left_out == 0 {
            Arc::clone(&self.headers)
        } else {
            let left_out = (LEFT_OUT_HEADER.to_owned(), record.left_out.to_string().into_bytes());
            self.headers.iter().cloned().chain([left_out]).collect()
        };
        Message { offset: Offset(record.start), headers, payload: Some(record.bytes), ..Message::default() }
    }
}
