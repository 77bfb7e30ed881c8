//! What the tests do to a broker with a plain client: topics, records, transactions, deletions.

use caudal_connectors::kafka::config::{SourceConfig, Start, Topics};
use caudal_connectors::kafka::source::KafkaSource;
use caudal_pipeline::ports::source::{Discovered, Reader, Source, SourceError};
use caudal_pipeline::record::{Message, Offset, PartitionIndex};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::FromClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Headers as _, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{ClientConfig, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Nothing here takes this long unless it is broken.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The shared broker.
pub fn address() -> String {
    let message = "CAUDAL_TEST_KAFKA is not set: run `cargo xtask services -- cargo test`";
    std::env::var("CAUDAL_TEST_KAFKA").unwrap_or_else(|_| panic!("{message}"))
}

/// Properties that reach `address` and no more.
pub fn plain(address: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("bootstrap.servers".to_owned(), address.to_owned())])
}

/// Looks again and again until `look` finds something.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "still not: {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// A broker, and what a plain client needs to reach it.
pub struct Broker {
    pub properties: BTreeMap<String, String>,
}

impl Broker {
    pub fn shared() -> Broker {
        Broker { properties: plain(&address()) }
    }

    fn client<C: FromClientConfig>(&self, more: &[(&str, &str)]) -> C {
        let mut config: ClientConfig = self.properties.clone().into_iter().collect();
        for (name, value) in more {
            config.set(*name, *value);
        }
        config.create().unwrap()
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client(&[])
    }

    /// A new topic with a name of its own that begins with `name`.
    pub fn topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        self.topic_named(&name, partitions, settings);
        name
    }

    pub fn topic_named(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let topic = settings
            .iter()
            .fold(NewTopic::new(name, partitions, TopicReplication::Fixed(1)), |topic, (name, value)| topic.set(name, value));
        let made = wait(self.admin().create_topics([&topic], &AdminOptions::new())).unwrap();
        assert_eq!(made, [Ok(name.to_owned())]);
        self.until_led(name, partitions as usize);
    }

    fn until_led(&self, topic: &str, partitions: usize) {
        let consumer: BaseConsumer = self.client(&[]);
        until("the topic has its leaders", || {
            let metadata = consumer.fetch_metadata(Some(topic), LIMIT).ok()?;
            let listed = &metadata.topics()[0];
            let led = listed.partitions().iter().filter(|partition| partition.leader() >= 0).count();
            (listed.error().is_none() && led == partitions).then_some(())
        });
    }

    /// Has `topic` grow to `partitions`.
    pub fn grow(&self, topic: &str, partitions: usize) {
        let grown = wait(self.admin().create_partitions([&NewPartitions::new(topic, partitions)], &AdminOptions::new())).unwrap();
        assert_eq!(grown, [Ok(topic.to_owned())]);
        self.until_led(topic, partitions);
    }

    /// Removes what lies before `offset`, as retention does.
    pub fn delete_before(&self, topic: &str, partition: i32, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, rdkafka::Offset::Offset(offset)).unwrap();
        let options = AdminOptions::new().operation_timeout(Some(LIMIT));
        wait(self.admin().delete_records(&list, &options)).unwrap();
    }

    /// Writes records and waits until they are there.
    pub fn produce(&self, topic: &str, records: &[Sent<'_>]) {
        self.produce_with(topic, records, &[]);
    }

    pub fn produce_with(&self, topic: &str, records: &[Sent<'_>], more: &[(&str, &str)]) {
        let producer: BaseProducer = self.client(more);
        send(&producer, topic, records);
        producer.flush(LIMIT).unwrap();
    }

    /// Writes each group of records in a transaction, of which only those marked are committed.
    pub fn transactions(&self, topic: &str, groups: &[(&[Sent<'_>], bool)]) {
        let producer: BaseProducer = self.client(&[("transactional.id", topic)]);
        producer.init_transactions(LIMIT).unwrap();
        for (records, commit) in groups {
            producer.begin_transaction().unwrap();
            send(&producer, topic, records);
            producer.flush(LIMIT).unwrap();
            if *commit { producer.commit_transaction(LIMIT).unwrap() } else { producer.abort_transaction(LIMIT).unwrap() }
        }
    }

    /// Everything that a plain reader finds in `topic`, partition by partition.
    pub fn contents(&self, topic: &str) -> Vec<Found> {
        let more = [("group.id", "plain"), ("enable.partition.eof", "true"), ("auto.offset.reset", "earliest")];
        let consumer: BaseConsumer = self.client(&more);
        let metadata = consumer.fetch_metadata(Some(topic), LIMIT).unwrap();
        let mut left = metadata.topics()[0].partitions().len();
        let mut list = TopicPartitionList::new();
        list.add_partition_range(topic, 0, left as i32 - 1);
        list.set_all_offsets(rdkafka::Offset::Beginning).unwrap();
        consumer.assign(&list).unwrap();
        let mut found = Vec::new();
        until("all partitions are read to their ends", || {
            match consumer.poll(Duration::from_millis(20)) {
                None => {}
                Some(Ok(message)) => found.push(Found::of(&message)),
                Some(Err(KafkaError::PartitionEOF(_))) => left -= 1,
                Some(Err(error)) => panic!("{error}"),
            }
            (left == 0).then_some(())
        });
        found.sort_by_key(|found: &Found| (found.partition, found.offset));
        found
    }

    pub fn source(&self, topics: Topics, start: Start) -> KafkaSource {
        KafkaSource::new(SourceConfig { topics, start, properties: self.properties.clone() }).unwrap()
    }

    pub fn source_of(&self, topic: &str, start: Start) -> KafkaSource {
        self.source(Topics::Named(vec![topic.to_owned()]), start)
    }
}

/// A record to be written.
#[derive(Clone, Default)]
pub struct Sent<'a> {
    pub partition: i32,
    pub key: Option<&'a [u8]>,
    pub body: Option<&'a [u8]>,
    pub headers: &'a [(&'a str, &'a [u8])],
    pub time_ms: Option<i64>,
}

/// A record of partition 0 that is nothing but its body.
pub fn body(text: &str) -> Sent<'_> {
    Sent { body: Some(text.as_bytes()), ..Sent::default() }
}

/// A record as a plain reader finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<String>,
    pub body: Option<Vec<u8>>,
    pub headers: BTreeMap<String, String>,
}

impl Found {
    fn of(message: &rdkafka::message::BorrowedMessage<'_>) -> Found {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        Found {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(text),
            body: message.payload().map(<[u8]>::to_vec),
            headers: headers.map(|header| (header.key.to_owned(), text(header.value.unwrap_or_default()))).collect(),
        }
    }
}

fn send(producer: &BaseProducer, topic: &str, records: &[Sent<'_>]) {
    for sent in records {
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(sent.partition);
        (record.key, record.payload, record.timestamp) = (sent.key, sent.body, sent.time_ms);
        if !sent.headers.is_empty() {
            let insert = |all: OwnedHeaders, (key, value): &(&str, &[u8])| all.insert(Header { key, value: Some(*value) });
            record.headers = Some(sent.headers.iter().fold(OwnedHeaders::new(), insert));
        }
        let mut next = Some(record);
        until("the producer has room", || match producer.send(next.take().unwrap()) {
            Ok(()) => Some(()),
            Err((KafkaError::MessageProduction(Code::QueueFull), record)) => {
                producer.poll(Duration::from_millis(1));
                next = Some(record);
                None
            }
            Err((error, _)) => panic!("{error}"),
        });
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// What `source` finds once the broker answers in time: others are started beside it.
pub fn discovered(source: &KafkaSource) -> Result<Vec<Discovered>, SourceError> {
    until("the broker answers", || match source.discover() {
        Err(SourceError::Retry(_)) => None,
        answer => Some(answer),
    })
}

/// A reader with all that `source` discovers assigned from where it begins, numbered in that order.
pub fn reading(source: &KafkaSource) -> Box<dyn Reader> {
    let mut reader = source.reader().unwrap();
    for (index, found) in discovered(source).unwrap().into_iter().enumerate() {
        reader.assign(PartitionIndex(index as u32), &found.partition, found.start).unwrap();
    }
    reader
}

/// Polls until `count` messages have come.
pub fn take(reader: &mut dyn Reader, count: usize) -> Vec<(PartitionIndex, Message)> {
    let mut messages = Vec::new();
    until(&format!("{count} messages"), || {
        reader.poll(1 << 20, &mut messages).unwrap();
        (messages.len() >= count).then_some(())
    });
    assert_eq!(messages.len(), count);
    messages
}

/// Polls until nothing is left to read in `partitions`, and returns the bodies that came.
pub fn drain(reader: &mut dyn Reader, partitions: u32) -> Vec<String> {
    let mut messages = Vec::new();
    until("the ends", || {
        reader.poll(1 << 20, &mut messages).unwrap();
        (0..partitions).all(|index| reader.position(PartitionIndex(index)).at_end).then_some(())
    });
    messages.iter().map(|(_, message)| text(message)).collect()
}

pub fn text(message: &Message) -> String {
    String::from_utf8(message.payload.clone().unwrap()).unwrap()
}

/// Polls until the reader fails.
pub fn failure(reader: &mut dyn Reader) -> SourceError {
    until("an error", || reader.poll(1 << 20, &mut Vec::new()).err())
}

/// The text of an error that stops the job.
pub fn stop<T>(result: Result<T, SourceError>) -> String {
    match result {
        Err(SourceError::Stop(text)) => text,
        Err(SourceError::Retry(text)) => panic!("would be tried again: {text}"),
        Ok(_) => panic!("nothing failed"),
    }
}

/// Where each partition of `source` begins.
pub fn starts(source: &KafkaSource) -> Vec<(i32, Offset)> {
    discovered(source).unwrap().into_iter().map(|found| (found.partition.number, found.start)).collect()
}
