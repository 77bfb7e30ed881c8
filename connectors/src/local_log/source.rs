//! The log as a source of messages.

use super::log::LocalLog;
use super::reader::{LogFetch, lost};
use crate::prefetch::{Opened, PrefetchReader};
use caudal_pipeline::ports::source::{self, Discovered, Reader, SourceError};
use caudal_pipeline::record::{Offset, Partition};
use std::sync::Arc;

/// A local log as a source: one stream's.
pub struct Source {
    log: LocalLog,
    name: Arc<str>,
}

impl Source {
    /// The log's records; `name` is the topic of its partitions.
    pub fn new(log: LocalLog, name: &str) -> Source {
        Source { log, name: name.into() }
    }
}

impl source::Source for Source {
    fn discover(&self) -> Result<Vec<Discovered>, SourceError> {
        let discovered = |number: i32| {
            let bounds = self.log.bounds(number).map_err(|e| SourceError::Stop(e.to_string()))?;
            let partition = Partition { topic: Arc::clone(&self.name), number };
            Ok(Discovered { partition, start: Offset(bounds.start), end: Some(Offset(bounds.end)) })
        };
        (0i32..).take(self.log.partitions()).map(discovered).collect()
    }

    fn reader(&self) -> Result<Box<dyn Reader>, SourceError> {
        let log = self.log.clone();
        Ok(Box::new(PrefetchReader::new(Box::new(move |partition, next, _| open(&log, partition, next)))))
    }

    fn bound(&self, partition: &Partition, _next: Offset, durable: Offset) {
        self.log.prune(partition.number, durable);
    }
}

fn open(log: &LocalLog, partition: &Partition, next: Offset) -> Result<Opened, SourceError> {
    let found = Arc::clone(log.partition(partition.number).map_err(|e| SourceError::Stop(e.to_string()))?);
    let visible = found.visible();
    if next.0 < visible.first {
        return Err(lost(&found, next.0, visible.first));
    }
    if next.0 > visible.end {
        return Err(SourceError::Stop(format!(
            "partition {} of the local log ends at offset {}, but the job has read up to {}: the log is older than the state folder",
            partition.number, visible.end, next.0
        )));
    }
    let ends = Arc::clone(&found);
    Ok(Opened { fetch: Box::new(LogFetch::new(found, next.0)), end: Box::new(move || Some(Offset(ends.end()))) })
}
