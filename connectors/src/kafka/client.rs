//! What a client says about itself while it runs: refused logins, lost brokers, ends of partitions.
//!
//! librdkafka retries for ever and reports failures as events on the side; a call that times out does not say why.
//! So every client here carries a [`Watch`], which writes such events into a [`Health`] that whoever waits can ask.

use super::error::{Trouble, code, is_denied, is_login};
use rdkafka::client::{Client, ClientContext};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How long a question to the brokers may take in all.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// How long one attempt at it may take; between attempts the client's events are read.
pub(super) const ATTEMPT: Duration = Duration::from_secs(1);

/// What is known of the connection and of the partitions read over it.
#[derive(Debug, Default)]
pub(super) struct Health {
    facts: Mutex<Facts>,
}

#[derive(Debug, Default)]
struct Facts {
    refusal: Option<String>,
    down: Option<String>,
    reason: String,
    partitions: BTreeMap<String, BTreeMap<i32, Fetching>>,
}

/// What the statistics say of one partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fetching {
    /// The offset after the last record that a reader of committed records can see.
    pub(super) end: Option<u64>,
    /// Whether the broker that it is read from answers.
    pub(super) reachable: bool,
}

impl Health {
    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().expect("no thread panics while it holds this lock")
    }

    /// The login or certificate that was refused, if one was.
    pub(super) fn refusal(&self) -> Option<String> {
        self.facts().refusal.clone()
    }

    /// Why no broker can be reached now, if that is so.
    pub(super) fn down(&self) -> Option<String> {
        self.facts().down.clone()
    }

    /// What the client said last about a failure.
    pub(super) fn reason(&self) -> String {
        self.facts().reason.clone()
    }

    /// What the latest statistics say of a partition.
    pub(super) fn fetching(&self, topic: &str, partition: i32) -> Option<Fetching> {
        self.facts().partitions.get(topic).and_then(|partitions| partitions.get(&partition)).copied()
    }

    /// Something arrived: a broker answers.
    pub(super) fn answered(&self) {
        self.facts().down = None;
    }

    fn failed(&self, error: &KafkaError, reason: &str) {
        let mut facts = self.facts();
        match code(error) {
            Some(Code::PartitionEOF) => return,
            Some(code) if is_login(code) => facts.refusal = Some(reason.to_owned()),
            // «1/1 brokers are down» says less than what was said just before.
            Some(Code::AllBrokersDown) => {
                facts.down = Some(if facts.reason.is_empty() { reason.to_owned() } else { facts.reason.clone() });
                return;
            }
            _ => {}
        }
        facts.reason = reason.to_owned();
    }

    fn measured(&self, statistics: Statistics) {
        let up = |node: i32| statistics.brokers.values().any(|broker| broker.nodeid == node && broker.is_up());
        let mut facts = self.facts();
        if statistics.brokers.values().any(BrokerStatistics::is_up) {
            facts.down = None;
        }
        facts.partitions.clear();
        for (topic, of_topic) in &statistics.topics {
            let known = of_topic.partitions.values().filter(|partition| partition.partition >= 0);
            let fetching =
                known.map(|p| (p.partition, Fetching { end: u64::try_from(p.ls_offset).ok(), reachable: up(p.broker) }));
            facts.partitions.insert(topic.clone(), fetching.collect());
        }
    }
}

/// The few numbers of librdkafka's statistics that are used here.
#[derive(Debug, Deserialize)]
struct Statistics {
    #[serde(default)]
    brokers: BTreeMap<String, BrokerStatistics>,
    #[serde(default)]
    topics: BTreeMap<String, TopicStatistics>,
}

#[derive(Debug, Deserialize)]
struct BrokerStatistics {
    nodeid: i32,
    state: String,
}

#[derive(Debug, Deserialize)]
struct TopicStatistics {
    #[serde(default)]
    partitions: BTreeMap<String, PartitionStatistics>,
}

#[derive(Debug, Deserialize)]
struct PartitionStatistics {
    partition: i32,
    broker: i32,
    ls_offset: i64,
}

impl BrokerStatistics {
    fn is_up(&self) -> bool {
        matches!(self.state.as_str(), "UP" | "UPDATE")
    }
}

/// A client's context: its events go to the health, its log lines to the log.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch(pub(super) Arc<Health>);

impl ClientContext for Watch {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice | RDKafkaLogLevel::Debug => {
                tracing::debug!(target: "librdkafka", facility, "{message}");
            }
            _ => tracing::warn!(target: "librdkafka", facility, "{message}"),
        }
    }

    fn stats_raw(&self, statistics: &[u8]) {
        match serde_json::from_slice(statistics) {
            Ok(statistics) => self.0.measured(statistics),
            Err(cause) => tracing::warn!(%cause, "cannot read the kafka client's statistics"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.failed(&error, reason);
    }
}

impl ConsumerContext for Watch {}

/// The partitions of a topic, or of all topics.
pub(super) type Topics = BTreeMap<String, Vec<i32>>;

/// Asks for the partitions of `topic`, or of all topics, until there is an answer, a refusal, or no more time.
///
/// `events` serves the client's events; it may wait a little, and does when there is none.
pub(super) fn topics<C: ClientContext>(
    client: &Client<C>,
    health: &Health,
    brokers: &str,
    topic: Option<&str>,
    events: impl Fn(),
) -> Result<Topics, Trouble> {
    let deadline = Instant::now() + ANSWER_LIMIT;
    loop {
        events();
        if let Some(reason) = health.refusal() {
            return Err(refused(brokers, &reason));
        }
        let failure = match client.fetch_metadata(topic, ATTEMPT) {
            Ok(metadata) => {
                health.answered();
                match listed(&metadata, topic) {
                    Ok(topics) => return Ok(topics),
                    Err(failure) => failure,
                }
            }
            Err(error) => {
                let reason = Some(health.reason()).filter(|reason| !reason.is_empty());
                Trouble::Away(format!("cannot reach kafka at {brokers}: {}", reason.unwrap_or_else(|| error.to_string())))
            }
        };
        // Even a refusal is asked again: a broker that has just started does not know its topics yet.
        if Instant::now() > deadline || health.down().is_some() && Instant::now() + ANSWER_LIMIT / 2 > deadline {
            events();
            return Err(health.refusal().map_or(failure, |reason| refused(brokers, &reason)));
        }
    }
}

fn refused(brokers: &str, reason: &str) -> Trouble {
    Trouble::Refused(format!(
        "kafka at {brokers} refuses the connection: {reason}; check security.protocol, the sasl.* login and the ssl.* certificates"
    ))
}

fn listed(metadata: &rdkafka::metadata::Metadata, asked: Option<&str>) -> Result<Topics, Trouble> {
    let mut topics = Topics::new();
    for topic in metadata.topics() {
        match (topic.error().map(Code::from), asked) {
            (None, _) => {
                topics.insert(topic.name().to_owned(), topic.partitions().iter().map(|partition| partition.id()).collect());
            }
            (Some(error), Some(name)) => return Err(unlisted(name, error)),
            // Of all topics, those with an error are left to the next time.
            (Some(_), None) => {}
        }
    }
    Ok(topics)
}

fn unlisted(name: &str, error: Code) -> Trouble {
    match error {
        Code::UnknownTopicOrPartition | Code::UnknownTopic => {
            Trouble::Refused(format!("topic {name} does not exist: create it, or correct its name in the job file"))
        }
        Code::InvalidTopic => Trouble::Refused(format!("{name} cannot be the name of a topic")),
        error if is_denied(error) => {
            Trouble::Refused(format!("topic {name} may not be seen by this login: grant DESCRIBE and READ on it"))
        }
        error => Trouble::Away(format!("topic {name} is not available now: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATISTICS: &str = r#"{
        "brokers": {"a:1/1": {"nodeid": 1, "state": "UP", "x": 0}, "a:2/2": {"nodeid": 2, "state": "CONNECT"}},
        "topics": {"t": {"partitions": {
            "0": {"partition": 0, "broker": 1, "ls_offset": 12},
            "1": {"partition": 1, "broker": 2, "ls_offset": -1001},
            "-1": {"partition": -1, "broker": -1, "ls_offset": -1001}}}}}"#;

    #[test]
    fn statistics_tell_ends_and_which_partitions_are_reachable() {
        let watch = Watch::default();
        watch.stats_raw(STATISTICS.as_bytes());
        assert_eq!(watch.0.fetching("t", 0), Some(Fetching { end: Some(12), reachable: true }));
        assert_eq!(watch.0.fetching("t", 1), Some(Fetching { end: None, reachable: false }));
        assert_eq!((watch.0.fetching("t", -1), watch.0.fetching("u", 0)), (None, None));
    }

    #[test]
    fn lost_brokers_are_down_until_one_answers() {
        let watch = Watch::default();
        watch.error(KafkaError::Global(Code::BrokerTransportFailure), "a:1: connection refused");
        assert_eq!(watch.0.down(), None);
        watch.error(KafkaError::Global(Code::AllBrokersDown), "1/1 brokers are down");
        assert_eq!(watch.0.down().as_deref(), Some("a:1: connection refused"));
        watch.stats_raw(STATISTICS.as_bytes());
        assert_eq!(watch.0.down(), None);
    }

    #[test]
    fn a_refused_login_is_remembered() {
        let watch = Watch::default();
        watch.error(KafkaError::Global(Code::Authentication), "invalid credentials");
        watch.error(KafkaError::Global(Code::AllBrokersDown), "1/1 brokers are down");
        assert_eq!(watch.0.refusal().as_deref(), Some("invalid credentials"));
    }
}
