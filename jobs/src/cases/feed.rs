//! A stream's source in a case: partitions in memory, of one or several topics, that know what has been read of them.

use caudal_pipeline::ports::memory::MemorySource;
use caudal_pipeline::ports::source::{Discovered, Position, Reader, Source, SourceError};
use caudal_pipeline::record::{Message, Offset, Partition, PartitionIndex};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

#[derive(Default)]
struct Shared {
    topics: BTreeMap<String, MemorySource>,
    /// The next offset that has not been read, by partition.
    read: BTreeMap<Partition, u64>,
    /// Those that the engine holds back, because they run too far ahead of another.
    paused: BTreeSet<Partition>,
}

/// Messages that no reader has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// They will be read without further ado.
    pub waiting: u64,
    /// Their partition is held back.
    pub held_back: u64,
}

/// See the module. Cheap to clone; clones share the messages.
#[derive(Clone)]
pub struct Feed {
    topic: String,
    shared: Arc<Mutex<Shared>>,
}

const LOCK: &str = "no thread panics while it holds the feed";

impl Feed {
    /// So many empty partitions of its own topic.
    pub fn new(topic: &str, partitions: usize) -> Feed {
        let feed = Feed { topic: topic.to_owned(), shared: Arc::default() };
        feed.shared.lock().expect(LOCK).topics.insert(topic.to_owned(), MemorySource::new(topic, partitions));
        feed
    }

    /// Appends a message; a topic or partition that is not there yet is added.
    pub fn push(&self, topic: Option<&str>, partition: usize, message: Message) {
        let mut shared = self.shared.lock().expect(LOCK);
        let topic = topic.unwrap_or(&self.topic).to_owned();
        let source = shared.topics.entry(topic).or_insert_with_key(|topic| MemorySource::new(topic, 1));
        let known = source.discover().expect("memory can be looked at").len();
        (known..=partition).for_each(|_| source.add_partition());
        source.push(partition, message);
    }

    /// What is sent and not read.
    pub fn unread(&self) -> Unread {
        let shared = self.shared.lock().expect(LOCK);
        let mut unread = Unread::default();
        for source in shared.topics.values() {
            for found in source.discover().expect("memory can be looked at") {
                let sent = source.messages(found.partition.number as usize).len() as u64;
                let left = sent - shared.read.get(&found.partition).copied().unwrap_or(0);
                let held_back = shared.paused.contains(&found.partition);
                *(if held_back { &mut unread.held_back } else { &mut unread.waiting }) += left;
            }
        }
        unread
    }
}

impl Source for Feed {
    fn discover(&self) -> Result<Vec<Discovered>, SourceError> {
        let topics: Vec<MemorySource> = self.shared.lock().expect(LOCK).topics.values().cloned().collect();
        topics.iter().map(Source::discover).collect::<Result<Vec<_>, _>>().map(|all| all.concat())
    }

    fn reader(&self) -> Result<Box<dyn Reader>, SourceError> {
        Ok(Box::new(FeedReader { feed: self.clone(), topics: BTreeMap::new(), partitions: BTreeMap::new() }))
    }
}

struct FeedReader {
    feed: Feed,
    topics: BTreeMap<Arc<str>, Box<dyn Reader>>,
    partitions: BTreeMap<PartitionIndex, Partition>,
}

impl FeedReader {
    fn reader_of(&self, index: PartitionIndex) -> Option<&dyn Reader> {
        self.topics.get(&self.partitions.get(&index)?.topic).map(|reader| &**reader)
    }
}

impl Reader for FeedReader {
    fn assign(&mut self, index: PartitionIndex, partition: &Partition, next: Offset) -> Result<(), SourceError> {
        if !self.topics.contains_key(&partition.topic) {
            let source = self.feed.shared.lock().expect(LOCK).topics.get(&*partition.topic).cloned();
            let source = source.ok_or_else(|| SourceError::Stop(format!("there is no topic {}", partition.topic)))?;
            self.topics.insert(partition.topic.clone(), source.reader()?);
        }
        self.partitions.insert(index, partition.clone());
        self.feed.shared.lock().expect(LOCK).paused.remove(partition);
        self.topics.get_mut(&partition.topic).expect("it was just added").assign(index, partition, next)
    }

    fn poll(&mut self, budget_bytes: usize, out: &mut Vec<(PartitionIndex, Message)>) -> Result<(), SourceError> {
        let first = out.len();
        self.topics.values_mut().try_for_each(|reader| reader.poll(budget_bytes, out))?;
        let mut shared = self.feed.shared.lock().expect(LOCK);
        for (index, message) in &out[first..] {
            let read = shared.read.entry(self.partitions[index].clone()).or_default();
            *read = (*read).max(message.offset.0 + 1);
        }
        Ok(())
    }

    fn pause(&mut self, index: PartitionIndex, paused: bool) {
        if let Some(partition) = self.partitions.get(&index)
            && let Some(reader) = self.topics.get_mut(&partition.topic)
        {
            reader.pause(index, paused);
            let all = &mut self.feed.shared.lock().expect(LOCK).paused;
            let _ = if paused { all.insert(partition.clone()) } else { all.remove(partition) };
        }
    }

    fn position(&self, index: PartitionIndex) -> Position {
        self.reader_of(index).map_or_else(Position::default, |reader| reader.position(index))
    }
}
