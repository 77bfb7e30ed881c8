//! A broker as plain clients use it: topics made, keyed messages written, everything read from the beginning.

use crate::{LIMIT, address, until};
use caudal_connectors::generate::Event;
use caudal_pipeline::record::{Message, Offset, Partition};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::FromClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{ClientConfig, TopicPartitionList};
use std::time::Duration;

/// Where the shared broker is.
pub fn shared() -> String {
    address("CAUDAL_TEST_KAFKA")
}

fn client<C: FromClientConfig>(more: &[(&str, &str)]) -> C {
    client_of(&shared(), more)
}

fn client_of<C: FromClientConfig>(brokers: &str, more: &[(&str, &str)]) -> C {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    for (name, value) in more {
        config.set(*name, *value);
    }
    config.create().unwrap()
}

/// A name that no other test uses.
pub fn own(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

/// Makes a topic and waits for its leaders.
pub fn make_topic(name: &str, partitions: i32) {
    make_topic_at(&shared(), name, partitions, 1);
}

/// The same at other brokers than the shared one, each partition on so many of them.
pub fn make_topic_at(brokers: &str, name: &str, partitions: i32, replicas: i32) {
    make(brokers, name, partitions, TopicReplication::Fixed(replicas));
}

/// A topic that has one partition on each of these brokers, and on no other one.
pub fn make_spread_topic(brokers: &str, name: &str, ids: &[i32]) {
    let one_each: Vec<&[i32]> = ids.chunks(1).collect();
    make(brokers, name, ids.len() as i32, TopicReplication::Variable(&one_each));
}

fn make(brokers: &str, name: &str, partitions: i32, replication: TopicReplication<'_>) {
    let admin: AdminClient<DefaultClientContext> = client_of(brokers, &[]);
    let topic = NewTopic::new(name, partitions, replication);
    let made = wait(admin.create_topics([&topic], &AdminOptions::new())).unwrap();
    assert_eq!(made, [Ok(name.to_owned())], "the services are started for one run of the tests");
    until_led(brokers, name, partitions);
}

/// The ids of the brokers that lead a topic's partitions, in their order.
pub fn leaders(brokers: &str, name: &str) -> Vec<i32> {
    let consumer: BaseConsumer = client_of(brokers, &[]);
    let metadata = consumer.fetch_metadata(Some(name), LIMIT).unwrap();
    metadata.topics()[0].partitions().iter().map(|partition| partition.leader()).collect()
}

/// Has a topic grow to so many partitions.
pub fn grow(name: &str, partitions: i32) {
    let admin: AdminClient<DefaultClientContext> = client(&[]);
    let grown = wait(admin.create_partitions([&NewPartitions::new(name, partitions as usize)], &AdminOptions::new())).unwrap();
    assert_eq!(grown, [Ok(name.to_owned())]);
    until_led(&shared(), name, partitions);
}

/// Removes what lies before `offset`, as retention does.
pub fn delete_before(topic: &str, partition: i32, offset: u64) {
    let admin: AdminClient<DefaultClientContext> = client(&[]);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, rdkafka::Offset::Offset(offset as i64)).unwrap();
    let options = AdminOptions::new().operation_timeout(Some(LIMIT));
    wait(admin.delete_records(&list, &options)).unwrap();
}

/// Removes a topic.
pub fn delete_topic(name: &str) {
    let admin: AdminClient<DefaultClientContext> = client(&[]);
    assert_eq!(wait(admin.delete_topics(&[name], &AdminOptions::new())).unwrap(), [Ok(name.to_owned())]);
}

fn until_led(brokers: &str, name: &str, partitions: i32) {
    let consumer: BaseConsumer = client_of(brokers, &[]);
    until("the topic has its leaders", || {
        let metadata = consumer.fetch_metadata(Some(name), LIMIT).ok()?;
        let topic = metadata.topics().first()?;
        let led = topic.partitions().iter().filter(|partition| partition.leader() >= 0).count();
        (topic.error().is_none() && led == partitions as usize).then_some(())
    });
}

/// Writes events in order, each into the partition that its key belongs to, and waits until all are there.
pub fn produce(topic: &str, events: &[Event]) {
    produce_where(|_| topic, events);
}

/// The same, each to the topic that its kind asks for.
pub fn produce_by_kind(events: &[Event]) {
    produce_where(|event| event.topic.as_deref().expect("each kind has its topic"), events);
}

fn produce_where<'a>(topic_of: impl Fn(&'a Event) -> &'a str, events: &'a [Event]) {
    let writer = Writer::new();
    events.iter().for_each(|event| writer.write(topic_of(event), event));
    writer.flush();
}

/// A producer that stays.
pub struct Writer(BaseProducer);

impl Writer {
    pub fn new() -> Writer {
        Writer::at(&shared())
    }

    /// The same at other brokers than the shared one. What cannot be sent now is sent later, however long that takes.
    pub fn at(brokers: &str) -> Writer {
        let patient = [("message.timeout.ms", "0"), ("reconnect.backoff.max.ms", "500")];
        Writer(client_of(brokers, &[&[("linger.ms", "5"), ("enable.idempotence", "true")][..], &patient].concat()))
    }

    /// Sends an event into the partition that its key belongs to; it is there some time later.
    pub fn write(&self, topic: &str, event: &Event) {
        self.send(topic, &event.key, &event.body);
    }

    /// The same of an event that no generator made.
    pub fn send(&self, topic: &str, key: &[u8], body: &[u8]) {
        let Writer(producer) = self;
        let mut next = Some(BaseRecord::<[u8], [u8]>::to(topic).key(key).payload(body));
        until("the producer has room", || match producer.send(next.take().expect("a record to send")) {
            Ok(()) => Some(()),
            Err((KafkaError::MessageProduction(Code::QueueFull), record)) => {
                producer.poll(Duration::from_millis(1));
                next = Some(record);
                None
            }
            Err((error, _)) => panic!("{error}"),
        });
    }

    /// Waits until all that was sent is there.
    pub fn flush(&self) {
        self.0.flush(LIMIT).unwrap();
    }
}

/// Writes each event to the partition that its index names.
pub fn produce_each(topic: &str, events: &[Event]) {
    for event in events {
        produce_to(topic, event.index as i32, std::slice::from_ref(event));
    }
}

/// Writes events to a partition of choice.
pub fn produce_to(topic: &str, partition: i32, events: &[Event]) {
    let producer: BaseProducer = client(&[]);
    for event in events {
        let record = BaseRecord::<[u8], [u8]>::to(topic).partition(partition).key(&event.key).payload(&event.body);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(LIMIT).unwrap();
}

/// Everything that a plain reader finds in a topic, partition by partition.
pub fn contents(topic: &str) -> Vec<(Partition, Vec<Message>)> {
    contents_at(&shared(), topic)
}

/// The same at other brokers than the shared one.
pub fn contents_at(brokers: &str, topic: &str) -> Vec<(Partition, Vec<Message>)> {
    let more = [("group.id", "plain"), ("enable.partition.eof", "true"), ("enable.auto.commit", "false")];
    let consumer: BaseConsumer = client_of(brokers, &more);
    let metadata = consumer.fetch_metadata(Some(topic), LIMIT).unwrap();
    let count = metadata.topics()[0].partitions().len();
    let mut list = TopicPartitionList::new();
    list.add_partition_range(topic, 0, count as i32 - 1);
    list.set_all_offsets(rdkafka::Offset::Beginning).unwrap();
    consumer.assign(&list).unwrap();
    let mut found = vec![Vec::new(); count];
    let mut left = count;
    // A large topic takes its time: only silence is a failure.
    while left > 0 {
        match consumer.poll(LIMIT).expect("all partitions are read to their ends") {
            Ok(message) => found[message.partition() as usize].push(plain(&message)),
            Err(KafkaError::PartitionEOF(_)) => left -= 1,
            Err(error) => panic!("{error}"),
        }
    }
    let named = |(number, messages)| (Partition { topic: topic.into(), number: number as i32 }, messages);
    found.into_iter().enumerate().map(named).collect()
}

fn plain(message: &BorrowedMessage<'_>) -> Message {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    Message {
        offset: Offset(message.offset() as u64),
        key: message.key().map(<[u8]>::to_vec),
        headers: headers.map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec())).collect(),
        payload: message.payload().map(<[u8]>::to_vec),
        broker_time_us: message.timestamp().to_millis().map(|ms| ms * 1000),
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
