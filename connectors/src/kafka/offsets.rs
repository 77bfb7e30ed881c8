//! Where reading begins in a partition that the job's state does not know yet.
//!
//! The configured start holds for the partitions that exist when a job begins. One that appears later begins at its
//! first record: whatever it holds was written while the job was running, and `latest` would skip what came between
//! its making and its discovery.

use super::client::{ANSWER_LIMIT, Watch};
use super::config::Start;
use super::error::Trouble;
use caudal_pipeline::record::{Offset, Partition};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};

/// Which of Kafka's offsets to ask for.
pub(super) fn asked(start: Start, appeared_later: bool) -> KafkaOffset {
    match start {
        Start::Latest if appeared_later => KafkaOffset::Beginning,
        Start::Earliest => KafkaOffset::Beginning,
        Start::Latest => KafkaOffset::End,
        // Brokers keep milliseconds: the first of them that is not before the microsecond asked for.
        Start::Timestamp(us) => KafkaOffset::Offset(us.max(0).div_euclid(1_000) + i64::from(us.max(0) % 1_000 != 0)),
    }
}

/// The next offset to read of each partition, by one question to each broker.
pub(super) fn starts(
    consumer: &BaseConsumer<Watch>,
    partitions: &[Partition],
    asked: KafkaOffset,
) -> Result<Vec<Offset>, Trouble> {
    let found = look_up(consumer, partitions, asked)?;
    // Nothing as young as the time asked for: what comes next will be.
    let none: Vec<Partition> =
        partitions.iter().zip(&found).filter(|(_, offset)| offset.is_none()).map(|(partition, _)| partition.clone()).collect();
    let mut ends = ends(consumer, &none)?.into_iter();
    Ok(found.into_iter().map(|offset| offset.unwrap_or_else(|| ends.next().expect("one for each without"))).collect())
}

/// The next offset that will be written to each partition. A leader that does not know it yet, just after it was
/// elected, does not answer (KIP-207), so that this never goes back unless the topic does.
pub(super) fn ends(consumer: &BaseConsumer<Watch>, partitions: &[Partition]) -> Result<Vec<Offset>, Trouble> {
    let ends = look_up(consumer, partitions, KafkaOffset::End)?;
    let named = ends.into_iter().zip(partitions).map(|(end, partition)| {
        end.ok_or_else(|| {
            Trouble::Away(format!("topic {}, partition {}: the broker names no offset", partition.topic, partition.number))
        })
    });
    named.collect()
}

fn look_up(consumer: &BaseConsumer<Watch>, partitions: &[Partition], asked: KafkaOffset) -> Result<Vec<Option<Offset>>, Trouble> {
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    let away = |what: &str| Trouble::Away(format!("cannot look up where to begin: {what}"));
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        list.add_partition_offset(&partition.topic, partition.number, asked).map_err(|error| away(&error.to_string()))?;
    }
    let answer = consumer.offsets_for_times(list, ANSWER_LIMIT).map_err(|error| away(&error.to_string()))?;
    let of = |partition: &Partition| {
        let place = format!("topic {}, partition {}", partition.topic, partition.number);
        let element = answer.find_partition(&partition.topic, partition.number).ok_or_else(|| away(&place))?;
        element.error().map_err(|error| away(&format!("{place}: {error}")))?;
        match element.offset() {
            KafkaOffset::Offset(offset) => Ok(u64::try_from(offset).ok().map(Offset)),
            _ => Ok(None),
        }
    };
    partitions.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_that_appears_later_begins_at_its_first_record() {
        for (start, later, offset) in [
            (Start::Earliest, false, KafkaOffset::Beginning),
            (Start::Latest, false, KafkaOffset::End),
            (Start::Latest, true, KafkaOffset::Beginning),
            (Start::Timestamp(5_000), false, KafkaOffset::Offset(5)),
            (Start::Timestamp(5_001), true, KafkaOffset::Offset(6)),
        ] {
            assert_eq!(asked(start, later), offset, "{start:?}, later: {later}");
        }
    }
}
