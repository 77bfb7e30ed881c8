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

    /// The login or certificate that was refused last, if nothing has shown since that it is taken. It may still pass:
    /// a broker that has just started refuses logins that it has not read yet.
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

    /// Something arrived: a broker answers, and so has let us in.
    pub(super) fn answered(&self) {
        let mut facts = self.facts();
        (facts.down, facts.refusal) = (None, None);
    }

    fn failed(&self, error: &KafkaError, reason: &str) {
        let mut facts = self.facts();
        match code(error) {
            Some(Code::PartitionEOF) => return,
            Some(code) if is_login(code) && !is_lost_on_the_way(reason) => facts.refusal = Some(reason.to_owned()),
            // «1/1 brokers are down» says less than what was said just before.
            Some(Code::AllBrokersDown) => {
                facts.down = Some(if facts.reason.is_empty() { reason.to_owned() } else { facts.reason.clone() });
                return;
            }
            // The broker that refused us is away now: what it would say when it is back is not known.
            _ if facts.refusal.as_deref().is_some_and(|refusal| broker_of(refusal) == broker_of(reason)) => facts.refusal = None,
            _ => {}
        }
        facts.reason = reason.to_owned();
    }

    fn measured(&self, statistics: Statistics) {
        let up = |node: i32| statistics.brokers.values().any(|broker| broker.nodeid == node && broker.is_up());
        let mut facts = self.facts();
        if statistics.brokers.values().any(BrokerStatistics::is_up) {
            (facts.down, facts.refusal) = (None, None);
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

/// Whether a failed login is a connection that was lost while logging in, which librdkafka reports under the same code.
fn is_lost_on_the_way(reason: &str) -> bool {
    ["handshake failed: Local:", "hung up from peer", "Disconnected"].iter().any(|words| reason.contains(words))
}

/// The broker that a reason tells of: it begins with the address.
fn broker_of(reason: &str) -> &str {
    reason.split_once(": ").map_or(reason, |(broker, _)| broker)
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

/// Asks for the partitions of `topic`, or of all topics, until there is an answer or no more time. A refused login is
/// believed only then: it can be that of a broker which has just started.
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

    const REFUSED: &str = "sasl_ssl://a:1/bootstrap: SASL authentication error: invalid credentials";

    #[test]
    fn a_refused_login_is_remembered_until_a_broker_answers() {
        let watch = Watch::default();
        let refuse = || {
            watch.error(KafkaError::Global(Code::Authentication), REFUSED);
            watch.error(KafkaError::Global(Code::AllBrokersDown), "1/1 brokers are down");
            assert_eq!(watch.0.refusal().as_deref(), Some(REFUSED));
        };
        refuse();
        watch.0.answered();
        assert_eq!((watch.0.refusal(), watch.0.down()), (None, None));
        refuse();
        watch.stats_raw(STATISTICS.as_bytes());
        assert_eq!(watch.0.refusal(), None);
    }

    /// A broker that restarts cuts off whoever is logging in: the job stopped for good, told that its login is wrong.
    /// librdkafka gives that the code of a refused login, `__AUTHENTICATION`.
    #[test]
    fn a_connection_that_is_lost_while_logging_in_is_no_refusal() {
        for lost in [
            "SASL PLAIN mechanism handshake failed: Local: Broker transport failure: broker's supported mechanisms: ",
            "SASL PLAIN mechanism handshake failed: Local: Timed out: broker's supported mechanisms: ",
            "Disconnected: hung up from peer in state AUTH_LEGACY",
        ] {
            let watch = Watch::default();
            watch.error(KafkaError::Global(Code::Authentication), &format!("sasl_ssl://a:1/bootstrap: {lost}"));
            assert_eq!(watch.0.refusal(), None, "{lost}");
            assert!(watch.0.reason().contains(lost), "it is told all the same");
        }
        let watch = Watch::default();
        let unknown = "sasl_ssl://a:1/bootstrap: SASL X mechanism handshake failed: Broker: Unsupported SASL mechanism: broker's \
                       supported mechanisms: PLAIN";
        watch.error(KafkaError::Global(Code::Authentication), unknown);
        assert_eq!(watch.0.refusal().as_deref(), Some(unknown));
    }

    #[test]
    fn a_broker_that_refused_and_then_went_away_is_away() {
        let watch = Watch::default();
        watch.error(KafkaError::Global(Code::Authentication), REFUSED);
        let away = |broker: &str| format!("sasl_ssl://{broker}/bootstrap: Connect to ipv4#1.1.1.1:1 failed: Connection refused");
        watch.error(KafkaError::Global(Code::BrokerTransportFailure), &away("b:2"));
        assert_eq!(watch.0.refusal().as_deref(), Some(REFUSED), "another one's absence says nothing of the login");
        watch.error(KafkaError::Global(Code::BrokerTransportFailure), &away("a:1"));
        assert_eq!(watch.0.refusal(), None);
    }

    /// What was refused before is asked again, and an answer counts for more.
    #[test]
    fn a_refusal_that_has_passed_does_not_stop_a_question() {
        use rdkafka::consumer::{BaseConsumer, Consumer};
        let cluster = rdkafka::mocking::MockCluster::new(1).unwrap();
        cluster.create_topic("t", 2, 1).unwrap();
        let brokers = cluster.bootstrap_servers();
        let watch = Watch::default();
        watch.error(KafkaError::Global(Code::Authentication), REFUSED);
        let mut config = rdkafka::ClientConfig::new();
        config.set("bootstrap.servers", &brokers);
        let consumer: BaseConsumer<Watch> = config.create_with_context(watch.clone()).unwrap();
        let found = topics(consumer.client(), &watch.0, &brokers, Some("t"), || drop(consumer.poll(ATTEMPT / 10)));
        assert_eq!(found, Ok(Topics::from([("t".to_owned(), vec![0, 1])])));
        assert_eq!(watch.0.refusal(), None);
    }
}
