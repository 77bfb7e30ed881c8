//! A stream's topics: which partitions they have, where a new job begins, and readers for the workers.

use super::client::{Topics as Partitions, Watch, topics};
use super::config::{SourceConfig, Topics};
use super::error::Trouble;
use super::reader::KafkaReader;
use super::{offsets, partitions, properties};
use caudal_pipeline::ports::source::{Discovered, Reader, Source, SourceError};
use caudal_pipeline::record::{Offset, Partition};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// How long a client waits for an event before it asks the brokers again.
const EVENT_WAIT: Duration = Duration::from_millis(100);

/// Topics of Kafka as one stream's source.
pub struct KafkaSource {
    config: SourceConfig,
    pattern: Option<Regex>,
    client: ClientConfig,
    /// Whether the job has state, so that whatever that does not know has appeared since.
    resumed: bool,
    discovery: Mutex<Discovery>,
}

/// What discovery has found so far, and the client that it asks with.
#[derive(Default)]
struct Discovery {
    consumer: Option<(Watch, BaseConsumer<Watch>)>,
    /// Whether the partitions that exist at the start have been listed.
    begun: bool,
    /// Topics whose configuration was looked at.
    checked: BTreeSet<String>,
    /// The start of every partition ever found: asked once, for it moves.
    starts: BTreeMap<Partition, Offset>,
}

impl KafkaSource {
    /// A source for a job without state. Refuses properties that contradict exactness; connects to nothing yet.
    pub fn new(config: SourceConfig) -> Result<KafkaSource, SourceError> {
        let client =
            properties::source(&config.properties).map_err(|mistakes| SourceError::Stop(properties::in_words(&mistakes)))?;
        let pattern = match &config.topics {
            Topics::Pattern(text) => Some(partitions::pattern(text)?),
            Topics::Named(_) => None,
        };
        Ok(KafkaSource { config, pattern, client, resumed: false, discovery: Mutex::default() })
    }

    /// The same for a job that has state: a partition that the state does not know has appeared since, and begins at
    /// its first record, whatever `start` says.
    pub fn resumed(self) -> KafkaSource {
        KafkaSource { resumed: true, ..self }
    }

    fn discovery(&self) -> MutexGuard<'_, Discovery> {
        self.discovery.lock().expect("no thread panics while it holds this lock")
    }

    fn connect(&self) -> Result<(Watch, BaseConsumer<Watch>), Trouble> {
        let mut config = self.client.clone();
        // Discovery asks questions and reads nothing: it needs no place in a group.
        config.remove("group.id");
        create(&config)
    }

    /// The partitions that exist now, of all topics that the stream reads.
    fn listed(&self, watch: &Watch, consumer: &BaseConsumer<Watch>) -> Result<Partitions, Trouble> {
        let brokers = properties::bootstrap(&self.config.properties);
        let list = |topic: Option<&str>| {
            topics(consumer.client(), &watch.0, brokers, topic, || {
                let _ = consumer.poll(EVENT_WAIT);
            })
        };
        match (&self.config.topics, &self.pattern) {
            (Topics::Named(names), _) => {
                let mut found = Partitions::new();
                for name in names {
                    found.extend(list(Some(name))?);
                }
                Ok(found)
            }
            (Topics::Pattern(_), Some(pattern)) => Ok(partitions::matching(list(None)?, pattern)),
            (Topics::Pattern(_), None) => unreachable!("a pattern is compiled when the source is made"),
        }
    }
}

impl Source for KafkaSource {
    fn discover(&self) -> Result<Vec<Discovered>, SourceError> {
        let mut discovery = self.discovery();
        let discovery = &mut *discovery;
        if discovery.consumer.is_none() {
            discovery.consumer = Some(self.connect()?);
        }
        let (watch, consumer) = discovery.consumer.as_ref().expect("made just above");
        let listed = match self.listed(watch, consumer) {
            Ok(listed) => listed,
            Err(trouble) => {
                // A refused login sticks to its client; the next question deserves a new one.
                discovery.consumer = None;
                return Err(trouble.into());
            }
        };

        let unchecked: Vec<&str> =
            listed.keys().map(String::as_str).filter(|topic| !discovery.checked.contains(*topic)).collect();
        partitions::refuse_compacted(&properties::connection(&self.config.properties), &unchecked)?;
        discovery.checked.extend(unchecked.into_iter().map(str::to_owned));

        let all: Vec<Partition> = listed
            .iter()
            .flat_map(|(topic, numbers)| numbers.iter().map(|number| Partition { topic: topic.as_str().into(), number: *number }))
            .collect();
        let new: Vec<Partition> = all.iter().filter(|partition| !discovery.starts.contains_key(*partition)).cloned().collect();
        let asked = offsets::asked(self.config.start, self.resumed || discovery.begun);
        let found = offsets::starts(consumer, &new, asked)?;
        let mut ends: BTreeMap<Partition, Offset> = new.iter().cloned().zip(offsets::ends(consumer, &new)?).collect();
        discovery.starts.extend(new.into_iter().zip(found));
        discovery.begun = true;
        let found =
            |partition: Partition| Discovered { start: discovery.starts[&partition], end: ends.remove(&partition), partition };
        Ok(all.into_iter().map(found).collect())
    }

    fn reader(&self) -> Result<Box<dyn Reader>, SourceError> {
        let (watch, consumer) = create(&self.client)?;
        let brokers = properties::bootstrap(&self.config.properties).to_owned();
        Ok(Box::new(KafkaReader::new(watch.0, consumer, brokers)))
    }
}

/// A consumer and the health that it reports to. Connects in the background.
fn create(config: &ClientConfig) -> Result<(Watch, BaseConsumer<Watch>), Trouble> {
    let watch = Watch::default();
    let consumer = config
        .create_with_context(watch.clone())
        .map_err(|error| Trouble::Refused(format!("cannot make a kafka client from the stream's properties: {error}")))?;
    Ok((watch, consumer))
}
