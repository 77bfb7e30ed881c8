//! Readers of what must be waited for, polled without waiting: a thread for each partition behind a bounded channel.
//!
//! ```text
//! Fetch::fetch ──(thread)──▶ channel of 2 batches ──▶ Reader::poll ──▶ worker
//! ```
//!
//! A batch is about a quarter of a megabyte, so a partition holds about a megabyte at most, and one record when that is
//! larger. A worker that does not poll fills the channel, and the thread waits. Dropping the reader ends its threads.

use caudal_pipeline::ports::source::{Position, Reader, SourceError};
use caudal_pipeline::record::{Message, Offset, Partition, PartitionIndex};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

/// About how many bytes a batch holds.
pub(crate) const BATCH_BYTES: usize = 256 << 10;

/// Batches that wait between thread and worker.
const BATCHES_AHEAD: usize = 2;

/// How long a fetch may wait for news before it looks whether it is still wanted.
pub(crate) const PATIENCE: Duration = Duration::from_millis(100);

/// What a fetch brought.
pub(crate) enum Fetched {
    /// The next messages, in order; none when nothing came for [`PATIENCE`].
    Messages(Vec<Message>),
    /// There will never be another message.
    Finished,
}

/// Reads one partition, from a thread that may block.
pub(crate) trait Fetch: Send + 'static {
    /// The next messages, up to about [`BATCH_BYTES`]; waits no longer than [`PATIENCE`] for the first.
    fn fetch(&mut self) -> Result<Fetched, SourceError>;
}

/// A partition as it is opened: what fetches it, and who knows where it ends now.
pub(crate) struct Opened {
    pub(crate) fetch: Box<dyn Fetch>,
    pub(crate) end: Box<dyn Fn() -> Option<Offset> + Send>,
}

/// Opens a partition for a thread to fetch from, on from an offset; or, if the flag says so, from the message before it.
pub(crate) type Open = Box<dyn Fn(&Partition, Offset, bool) -> Result<Opened, SourceError> + Send>;

/// The reader of any source that is fetched by threads.
pub(crate) struct PrefetchReader {
    open: Open,
    assigned: Vec<Assigned>,
    /// What was read may be something else by now.
    looks_back: bool,
    /// Which partition is polled first: the budget must not always end with the same one.
    turn: usize,
}

struct Assigned {
    index: PartitionIndex,
    end: Box<dyn Fn() -> Option<Offset> + Send>,
    arriving: Receiver<Result<Fetched, SourceError>>,
    wanted: Arc<AtomicBool>,
    ready: VecDeque<Message>,
    next: Offset,
    paused: bool,
    finished: bool,
    failed: Option<SourceError>,
}

impl PrefetchReader {
    /// A reader with nothing assigned.
    pub(crate) fn new(open: Open) -> PrefetchReader {
        PrefetchReader { open, assigned: Vec::new(), looks_back: false, turn: 0 }
    }

    /// The same, of partitions that may be made anew.
    pub(crate) fn looking_back(self) -> PrefetchReader {
        PrefetchReader { looks_back: true, ..self }
    }

    fn assign_at(
        &mut self,
        index: PartitionIndex,
        partition: &Partition,
        next: Offset,
        looking_back: bool,
    ) -> Result<(), SourceError> {
        self.assigned.retain(|a| a.index != index);
        let Opened { fetch, end } = (self.open)(partition, next, looking_back)?;
        let (sender, arriving) = sync_channel(BATCHES_AHEAD);
        let wanted = Arc::new(AtomicBool::new(true));
        let still = Arc::clone(&wanted);
        std::thread::Builder::new()
            .name(format!("read {}", partition.number))
            .spawn(move || run(fetch, &sender, &still))
            .map_err(|e| SourceError::Retry(format!("cannot start a thread to read {}: {e}", partition.topic)))?;
        self.assigned.push(Assigned {
            index,
            end,
            arriving,
            wanted,
            ready: VecDeque::new(),
            next: Offset(next.0 - u64::from(looking_back)),
            paused: false,
            finished: false,
            failed: None,
        });
        Ok(())
    }
}

impl Reader for PrefetchReader {
    fn assign(&mut self, index: PartitionIndex, partition: &Partition, next: Offset) -> Result<(), SourceError> {
        self.assign_at(index, partition, next, false)
    }

    fn assign_after(&mut self, index: PartitionIndex, partition: &Partition, last: Offset) -> Result<(), SourceError> {
        self.assign_at(index, partition, Offset(last.0 + 1), self.looks_back)
    }

    fn poll(&mut self, budget_bytes: usize, out: &mut Vec<(PartitionIndex, Message)>) -> Result<(), SourceError> {
        let count = self.assigned.len();
        let mut left = budget_bytes;
        for i in 0..count {
            if left == 0 {
                self.turn = (self.turn + i) % count;
                return Ok(());
            }
            self.assigned[(self.turn + i) % count].take(&mut left, out)?;
        }
        Ok(())
    }

    fn pause(&mut self, index: PartitionIndex, paused: bool) {
        self.assigned.iter_mut().filter(|a| a.index == index).for_each(|a| a.paused = paused);
    }

    fn position(&self, index: PartitionIndex) -> Position {
        let Some(assigned) = self.assigned.iter().find(|a| a.index == index) else { return Position::default() };
        let end = (assigned.end)();
        let finished = assigned.finished && assigned.ready.is_empty();
        Position { at_end: finished || end.is_some_and(|end| assigned.next >= end), end, finished }
    }
}

impl Assigned {
    /// Hands out what is ready while the budget lasts. A failure comes after all that was read before it, and stays.
    fn take(&mut self, left: &mut usize, out: &mut Vec<(PartitionIndex, Message)>) -> Result<(), SourceError> {
        while !self.paused && *left > 0 {
            let Some(message) = self.ready.pop_front() else {
                if !self.receive()? {
                    return Ok(());
                }
                continue;
            };
            *left = left.saturating_sub(message.len_bytes().max(1));
            self.next = Offset(message.offset.0 + 1);
            out.push((self.index, message));
        }
        Ok(())
    }

    /// Takes the next batch from the thread; whether there was one.
    fn receive(&mut self) -> Result<bool, SourceError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        match self.arriving.try_recv() {
            Ok(Ok(Fetched::Messages(messages))) => {
                self.ready.extend(messages);
                Ok(true)
            }
            Ok(Ok(Fetched::Finished)) => {
                self.finished = true;
                Ok(false)
            }
            Ok(Err(SourceError::Retry(words))) => Err(SourceError::Retry(words)),
            Ok(Err(stop)) => {
                self.failed = Some(stop.clone());
                Err(stop)
            }
            Err(TryRecvError::Empty) => Ok(false),
            Err(TryRecvError::Disconnected) if self.finished => Ok(false),
            Err(TryRecvError::Disconnected) => Err(SourceError::Stop("a reading thread ended unexpectedly".to_owned())),
        }
    }
}

impl Drop for Assigned {
    fn drop(&mut self) {
        self.wanted.store(false, Ordering::Relaxed);
    }
}

/// The thread: fetches and hands over until it is finished, stopped, or no longer wanted.
fn run(mut fetch: Box<dyn Fetch>, sender: &SyncSender<Result<Fetched, SourceError>>, wanted: &AtomicBool) {
    while wanted.load(Ordering::Relaxed) {
        let fetched = fetch.fetch();
        let last = matches!(fetched, Ok(Fetched::Finished) | Err(SourceError::Stop(_)));
        let again = matches!(fetched, Err(SourceError::Retry(_)));
        if matches!(&fetched, Ok(Fetched::Messages(none)) if none.is_empty()) {
            continue;
        }
        if sender.send(fetched).is_err() || last {
            return;
        }
        if again {
            std::thread::park_timeout(PATIENCE * 10);
        }
    }
}
