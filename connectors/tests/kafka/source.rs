//! Reading: bytes, positions, growth, and what must stop a job.

use super::broker::{Broker, Sent, body, discovered, drain, failure, reading, starts, stop, take, text, until};
use caudal_connectors::kafka::config::{SourceConfig, Start, Topics};
use caudal_connectors::kafka::source::KafkaSource;
use caudal_pipeline::ports::source::{Source, SourceError};
use caudal_pipeline::record::{Offset, Partition, PartitionIndex};
use std::sync::Arc;

const FIRST: PartitionIndex = PartitionIndex(0);

#[test]
fn messages_come_with_key_headers_time_and_their_very_bytes() {
    let broker = Broker::shared();
    let topic = broker.topic("whole", 1, &[]);
    let headers: &[(&str, &[u8])] = &[("trace", b"1"), ("trace", b"\xff"), ("empty", b"")];
    broker.produce(
        &topic,
        &[
            Sent { key: Some(b"k\x00"), body: Some(b"\xff{"), headers, time_ms: Some(1_700_000_000_123), ..Sent::default() },
            Sent { body: Some(b"same headers"), headers, ..Sent::default() },
            Sent { key: Some(b"tombstone"), ..Sent::default() },
            body("no headers"),
        ],
    );
    let messages = take(&mut *reading(&broker.source_of(&topic, Start::Earliest)), 4);
    let first = &messages[0].1;
    let expected =
        [("trace", &b"1"[..]), ("trace", b"\xff"), ("empty", b"")].map(|(name, value)| (name.to_owned(), value.to_vec()));
    assert_eq!(first.headers[..], expected);
    assert_eq!((first.key.as_deref(), first.payload.as_deref()), (Some(&b"k\x00"[..]), Some(&b"\xff{"[..])));
    assert_eq!((first.offset, first.broker_time_us), (Offset(0), Some(1_700_000_000_123_000)));
    assert!(Arc::ptr_eq(&first.headers, &messages[1].1.headers), "the same headers are kept once");
    assert_eq!((messages[2].1.key.as_deref(), &messages[2].1.payload), (Some(&b"tombstone"[..]), &None));
    assert_eq!((messages[3].1.headers.len(), &messages[3].1.key), (0, &None));
}

#[test]
fn every_compression_is_read() {
    let broker = Broker::shared();
    let topic = broker.topic("compressed", 1, &[]);
    let texts: Vec<String> =
        (0..200).map(|i| format!("{i} is a text that is worth compressing compressing compressing")).collect();
    let records: Vec<Sent<'_>> = texts.iter().map(|text| body(text)).collect();
    let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
    for codec in codecs {
        broker.produce_with(&topic, &records, &[("compression.type", codec), ("linger.ms", "50")]);
    }
    let messages = take(&mut *reading(&broker.source_of(&topic, Start::Earliest)), texts.len() * codecs.len());
    for (position, (_, message)) in messages.iter().enumerate() {
        assert_eq!((message.offset.0, text(message)), (position as u64, texts[position % texts.len()].clone()));
    }
}

#[test]
fn aborted_transactions_never_happened() {
    let broker = Broker::shared();
    let topic = broker.topic("transactions", 1, &[]);
    broker.transactions(&topic, &[(&[body("a")], true), (&[body("aborted")], false), (&[body("b")], true)]);
    let mut reader = reading(&broker.source_of(&topic, Start::Earliest));
    assert_eq!(drain(&mut *reader, 1), ["a", "b"]);
    // The last offset is a marker: the end lies behind it, and is reached all the same.
    until("the end is known", || {
        reader.poll(1, &mut Vec::new()).unwrap();
        reader.position(FIRST).end.filter(|end| *end == Offset(6))
    });
}

#[test]
fn a_topic_that_grows_loses_nothing_even_from_latest() {
    let broker = Broker::shared();
    let topic = broker.topic("growing", 1, &[]);
    broker.produce(&topic, &[body("before")]);
    let source = broker.source_of(&topic, Start::Latest);
    let mut reader = reading(&source);
    assert_eq!(starts(&source), [(0, Offset(1))]);

    broker.grow(&topic, 3);
    broker.produce(&topic, &[Sent { partition: 2, ..body("into the new one") }]);
    let found = until("three partitions", || source.discover().ok().filter(|found| found.len() == 3));
    assert_eq!(found.iter().map(|found| found.start).collect::<Vec<_>>(), [Offset(1), Offset(0), Offset(0)]);
    for (index, found) in found.iter().enumerate().skip(1) {
        reader.assign(PartitionIndex(index as u32), &found.partition, found.start).unwrap();
    }
    assert_eq!(drain(&mut *reader, 3), ["into the new one"]);
}

#[test]
fn a_job_with_state_begins_a_partition_it_does_not_know_at_its_first_record() {
    let broker = Broker::shared();
    let topic = broker.topic("resumed", 1, &[]);
    broker.produce(&topic, &[body("while the job was down")]);
    assert_eq!(starts(&broker.source_of(&topic, Start::Latest)), [(0, Offset(1))]);
    assert_eq!(starts(&broker.source_of(&topic, Start::Latest).resumed()), [(0, Offset(0))]);
}

#[test]
fn a_pattern_finds_topics_now_and_later() {
    let broker = Broker::shared();
    let first = broker.topic("pattern", 1, &[]);
    let source = broker.source(Topics::Pattern(format!("^{first}(-later)?$")), Start::Earliest);
    let topics = |source: &KafkaSource| -> Vec<String> {
        source.discover().unwrap().into_iter().map(|found| found.partition.topic.to_string()).collect()
    };
    assert_eq!(topics(&source), [&*first]);
    broker.topic_named(&format!("{first}-later"), 2, &[]);
    broker.topic_named(&format!("{first}-other"), 1, &[]);
    let later = format!("{first}-later");
    until("the new topic", || (topics(&source) == [&*first, &*later, &*later]).then_some(()));
}

#[test]
fn a_job_without_state_begins_where_it_is_told() {
    let broker = Broker::shared();
    // The records are of 1970: retention must not take them.
    let topic = broker.topic("starts", 2, &[("retention.ms", "-1")]);
    let at = |time_ms: i64| Sent { time_ms: Some(time_ms), ..body("x") };
    broker.produce(&topic, &[at(1_000), at(2_000), at(3_000)]);
    for (start, offset) in [
        (Start::Earliest, 0),
        (Start::Latest, 3),
        (Start::Timestamp(2_000_000), 1),
        (Start::Timestamp(2_000_001), 2),
        (Start::Timestamp(9_000_000), 3),
        (Start::Timestamp(0), 0),
    ] {
        // The second partition is empty: it begins at its end, whatever is asked.
        assert_eq!(starts(&broker.source_of(&topic, start)), [(0, Offset(offset)), (1, Offset(0))], "{start:?}");
    }
    broker.delete_before(&topic, 0, 2);
    assert_eq!(starts(&broker.source_of(&topic, Start::Earliest)), [(0, Offset(2)), (1, Offset(0))]);
}

#[test]
fn lost_offsets_stop_the_job_and_say_which() {
    let broker = Broker::shared();
    let topic = broker.topic("lost", 1, &[]);
    broker.produce(&topic, &vec![body("x"); 10]);
    broker.delete_before(&topic, 0, 5);
    let source = broker.source_of(&topic, Start::Earliest);
    let partition = Partition { topic: topic.as_str().into(), number: 0 };
    for (next, kept) in [(2, 0), (11, 0)] {
        let mut reader = source.reader().unwrap();
        reader.assign(FIRST, &partition, Offset(next)).unwrap();
        let text = stop::<()>(Err(failure(&mut *reader)));
        assert!(
            text.starts_with(&format!("topic {topic}, partition 0, offset {next}: records that were not read yet are gone")),
            "{text}"
        );
        // It stays so: polling on does not step over the gap.
        let mut messages = Vec::new();
        stop(reader.poll(1 << 20, &mut messages));
        assert_eq!(messages.len(), kept);
    }
}

#[test]
fn what_was_read_last_comes_once_more_if_it_is_still_there() {
    let broker = Broker::shared();
    let topic = broker.topic("after", 1, &[]);
    broker.produce(&topic, &[body("0"), body("1"), body("2"), body("3")]);
    let source = broker.source_of(&topic, Start::Earliest);
    let partition = Partition { topic: topic.as_str().into(), number: 0 };
    let after = |last| {
        let mut reader = source.reader().unwrap();
        reader.assign_after(FIRST, &partition, Offset(last)).unwrap();
        reader
    };
    assert_eq!(drain(&mut *after(1), 1), ["1", "2", "3"]);
    assert_eq!(drain(&mut *after(3), 1), ["3"]);
    // Retention has reached what was read, and nothing more.
    broker.delete_before(&topic, 0, 2);
    assert_eq!(drain(&mut *after(1), 1), ["2", "3"]);
    // Paused meanwhile, it stays so.
    let mut paused = after(1);
    paused.pause(FIRST, true);
    let mut messages = Vec::new();
    paused.poll(1 << 20, &mut messages).unwrap();
    assert_eq!(messages, []);
    paused.pause(FIRST, false);
    assert_eq!(drain(&mut *paused, 1), ["2", "3"]);
    // All of it is gone, which was read.
    broker.delete_before(&topic, 0, 4);
    assert_eq!(drain(&mut *after(3), 1), Vec::<String>::new());
    // More is gone than was read.
    let text = stop::<()>(Err(failure(&mut *after(2))));
    assert!(
        text.starts_with(&format!("topic {topic}, partition 0, offset 3: records that were not read yet are gone")),
        "{text}"
    );
}

#[test]
fn a_topic_that_would_not_replay_or_does_not_exist_stops_the_job() {
    let broker = Broker::shared();
    let compacted = broker.topic("compacted", 1, &[("cleanup.policy", "compact,delete")]);
    let text = stop(discovered(&broker.source_of(&compacted, Start::Earliest)));
    assert!(text.starts_with(&format!("topic {compacted} is compacted (cleanup.policy=compact,delete)")), "{text}");
    let text = stop(discovered(&broker.source_of("no-such-topic", Start::Earliest)));
    assert!(text.starts_with("topic no-such-topic does not exist"), "{text}");
}

#[test]
fn the_end_is_reached_left_and_reached_again() {
    let broker = Broker::shared();
    let topic = broker.topic("ends", 2, &[]);
    broker.produce(&topic, &[body("1"), body("2")]);
    let mut reader = reading(&broker.source_of(&topic, Start::Earliest));
    assert!(!reader.position(FIRST).at_end);
    let mut messages = Vec::new();
    until("the first message alone", || {
        // A budget of one byte lets one message through.
        reader.poll(1, &mut messages).unwrap();
        (messages.len() == 1).then_some(())
    });
    assert!(!reader.position(FIRST).at_end, "one is left");
    assert_eq!(drain(&mut *reader, 2), ["2"]);
    until("both ends are known", || {
        reader.poll(1, &mut Vec::new()).unwrap();
        let ends = [0, 1].map(|index| reader.position(PartitionIndex(index)).end);
        (ends == [Some(Offset(2)), Some(Offset(0))]).then_some(())
    });
    broker.produce(&topic, &[body("3")]);
    assert_eq!(text(&take(&mut *reader, 1)[0].1), "3");
    assert_eq!(drain(&mut *reader, 2), Vec::<String>::new());
    assert!(!reader.position(FIRST).finished);
}

#[test]
fn a_paused_partition_waits_and_loses_nothing() {
    let broker = Broker::shared();
    let topic = broker.topic("paused", 2, &[]);
    let mut reader = reading(&broker.source_of(&topic, Start::Earliest));
    reader.pause(FIRST, true);
    broker.produce(&topic, &[body("held"), body("back"), Sent { partition: 1, ..body("free") }]);
    assert_eq!(text(&take(&mut *reader, 1)[0].1), "free");
    let mut messages = Vec::new();
    until("the other partition's end", || {
        reader.poll(1 << 20, &mut messages).unwrap();
        reader.position(PartitionIndex(1)).at_end.then_some(())
    });
    assert_eq!(messages, []);
    reader.pause(FIRST, false);
    assert_eq!(drain(&mut *reader, 2), ["held", "back"]);
}

#[test]
fn the_same_offsets_give_the_same_messages() {
    let broker = Broker::shared();
    let topic = broker.topic("replayed", 1, &[]);
    let texts: Vec<String> = (0..1_000).map(|i| i.to_string()).collect();
    broker.produce(&topic, &texts.iter().map(|text| body(text)).collect::<Vec<_>>());
    let source = broker.source_of(&topic, Start::Earliest);
    let mut reader = reading(&source);
    let whole = take(&mut *reader, 1_000);
    // Once by the same reader, once by another that is held back all the time.
    reader.assign(FIRST, &Partition { topic: topic.as_str().into(), number: 0 }, Offset(400)).unwrap();
    assert_eq!(take(&mut *reader, 600), whole[400..]);
    let mut other = reading(&source);
    let mut messages = Vec::new();
    until("all of them, a few at a time", || {
        other.poll(500, &mut messages).unwrap();
        (messages.len() == 1_000).then_some(())
    });
    assert_eq!(messages, whole);
}

#[test]
fn properties_that_contradict_exactness_are_named() {
    let mut properties = super::broker::plain("127.0.0.1:1");
    properties.insert("isolation.level".to_owned(), "read_uncommitted".to_owned());
    let config = SourceConfig { topics: Topics::Named(vec!["t".to_owned()]), start: Start::Earliest, properties };
    let text = stop(KafkaSource::new(config).map(|_| ()));
    assert!(text.starts_with("kafka property isolation.level: read_uncommitted is not possible"), "{text}");
}

#[test]
fn a_broker_that_is_away_is_waited_for() {
    let away = Broker { properties: super::broker::plain("127.0.0.1:1") };
    match away.source_of("t", Start::Earliest).discover() {
        Err(SourceError::Retry(text)) => assert!(text.starts_with("cannot reach kafka at 127.0.0.1:1: "), "{text}"),
        other => panic!("{other:?}"),
    }
}
