//! Whose fault a failure is, and whether trying again helps.
//!
//! librdkafka has some three hundred codes; what the ports want to know is one bit. Everything that a broker, a
//! network or a leader election can cause is worth waiting for. What only a person can change is a refusal, and is
//! told with its remedy.

use caudal_pipeline::ports::sink::SinkError;
use caudal_pipeline::ports::source::SourceError;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;

/// Why something did not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Away, busy or changing: wait and try again.
    Away(String),
    /// Refused: a person must change something.
    Refused(String),
}

impl From<Trouble> for SourceError {
    fn from(trouble: Trouble) -> SourceError {
        match trouble {
            Trouble::Away(text) => SourceError::Retry(text),
            Trouble::Refused(text) => SourceError::Stop(text),
        }
    }
}

impl From<Trouble> for SinkError {
    fn from(trouble: Trouble) -> SinkError {
        match trouble {
            Trouble::Away(text) => SinkError::Retry(text),
            Trouble::Refused(text) => SinkError::Stop(text),
        }
    }
}

/// The code inside an error, where it has one.
pub(super) fn code(error: &KafkaError) -> Option<Code> {
    match error {
        KafkaError::PartitionEOF(_) => Some(Code::PartitionEOF),
        error => error.rdkafka_error_code(),
    }
}

/// Codes by which a broker says who may come in.
pub(super) fn is_login(code: Code) -> bool {
    matches!(code, Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL)
}

/// Codes by which a broker denies what we want of a topic, the cluster or our identity.
pub(super) fn is_denied(code: Code) -> bool {
    matches!(code, Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed | Code::TransactionalIdAuthorizationFailed)
}

/// What a failed read of one partition means. `next` is the offset that was to be read.
pub(super) fn reading(topic: &str, partition: i32, next: u64, error: &KafkaError, reason: &str) -> Trouble {
    let place = format!("topic {topic}, partition {partition}, offset {next}");
    let Some(code) = code(error) else { return Trouble::Away(format!("cannot read {place}: {error}")) };
    match code {
        Code::AutoOffsetReset | Code::OffsetOutOfRange => Trouble::Refused(format!(
            "{place}: records that were not read yet are gone from the broker ({reason}); retention removed them, or the topic was \
             made anew. Going on would leave a gap: lengthen the topic's retention, and start again with a new state to begin at \
             what is there"
        )),
        Code::LogTruncation => Trouble::Refused(format!(
            "{place}: the broker lost records that were read before ({reason}), as in an unclean leader election; replay is not \
             exact any more: start again with a new state"
        )),
        Code::BadMessage | Code::BadCompression => {
            Trouble::Refused(format!("{place}: the broker's copy is damaged ({reason}); restore it from a replica"))
        }
        Code::NotImplemented | Code::UnsupportedFeature => {
            Trouble::Refused(format!("{place}: compressed or encoded in a way that this build cannot read ({reason})"))
        }
        Code::MessageSizeTooLarge => Trouble::Refused(format!(
            "{place}: a message is larger than this client may receive ({reason}); raise receive.message.max.bytes and \
             fetch.message.max.bytes in the stream's kafka properties"
        )),
        code if is_denied(code) => {
            Trouble::Refused(format!("{place}: reading is not allowed ({reason}); grant READ on the topic to this login"))
        }
        _ => Trouble::Away(format!("cannot read {place}: {reason}")),
    }
}

/// What a failed write to one topic means; too large is the row's own matter and is not asked here.
pub(super) fn writing(topic: &str, error: &KafkaError) -> Trouble {
    let Some(code) = code(error) else { return Trouble::Away(format!("cannot write to topic {topic}: {error}")) };
    match code {
        code if is_denied(code) => {
            Trouble::Refused(format!("writing to topic {topic} is not allowed: grant WRITE on it to this login"))
        }
        Code::UnknownTopic | Code::UnknownTopicOrPartition => {
            Trouble::Refused(format!("topic {topic} does not exist: create it, or name another under publish"))
        }
        Code::PolicyViolation | Code::InvalidRecord | Code::InvalidTimestamp => {
            Trouble::Refused(format!("topic {topic} refuses what is written to it: {code}; see the topic's configuration"))
        }
        code => Trouble::Away(format!("cannot write to topic {topic}: {code}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(trouble: &Trouble) -> bool {
        matches!(trouble, Trouble::Refused(_))
    }

    #[test]
    fn what_only_a_person_can_change_is_refused() {
        let read = |code| reading("t", 0, 7, &KafkaError::MessageConsumption(code), "said so");
        for code in [Code::AutoOffsetReset, Code::LogTruncation, Code::BadMessage, Code::TopicAuthorizationFailed] {
            assert!(refused(&read(code)), "{code}");
        }
        for code in [Code::BrokerTransportFailure, Code::NotLeaderForPartition, Code::UnknownTopicOrPartition] {
            assert!(!refused(&read(code)), "{code}");
        }
        let write = |code| writing("t", &KafkaError::MessageProduction(code));
        assert!(refused(&write(Code::UnknownTopicOrPartition)) && !refused(&write(Code::MessageTimedOut)));
    }

    #[test]
    fn lost_offsets_name_topic_partition_and_offset() {
        let Trouble::Refused(text) = reading("readings", 3, 41, &KafkaError::MessageConsumption(Code::AutoOffsetReset), "gone")
        else {
            panic!("lost offsets are a refusal")
        };
        assert!(text.starts_with("topic readings, partition 3, offset 41: records that were not read yet are gone"), "{text}");
    }
}
