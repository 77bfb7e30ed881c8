//! librdkafka's properties: what the job says verbatim, what we say unless the job does, and what neither may change.
//!
//! A property that exactness needs is not overridden in silence: a job that asks for the contrary is told which
//! property, and why.

use super::config::{SinkConfig, SourceConfig};
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use std::collections::BTreeMap;

/// A property that must have this value, and the reason that a contradicting job is told.
struct Required {
    name: &'static str,
    value: &'static str,
    why: &'static str,
}

const fn required(name: &'static str, value: &'static str, why: &'static str) -> Required {
    Required { name, value, why }
}

/// What reading exactly needs.
const SOURCE_REQUIRED: &[Required] = &[
    required("enable.auto.commit", "false", "positions belong to the commit log, not to a consumer group"),
    required("enable.auto.offset.store", "false", "positions belong to the commit log, not to a consumer group"),
    required("auto.offset.reset", "error", "lost offsets must stop the job; where a new job begins is said by `start`"),
    required("isolation.level", "read_committed", "records of aborted transactions never happened"),
    required("enable.partition.eof", "true", "idleness is confirmed by reaching the end of a partition"),
    required("check.crcs", "true", "damaged records must not be counted"),
    required("group.protocol", "classic", "partitions are assigned by hand, not by the broker"),
    required("statistics.interval.ms", "1000", "lag and idleness are read off the client's statistics"),
];

/// What we say unless the job does.
///
/// A reader that is held back fills its queues: `fetch.queue.backoff.ms` decides how soon fetching goes on once there
/// is room (at librdkafka's second the throughput falls to a tenth), and `queued.max.messages.kbytes`, which here
/// counts for each partition, how much memory waits there.
const SOURCE_DEFAULTS: &[(&str, &str)] = &[
    ("client.id", "caudal"),
    ("group.id", "caudal"),
    ("fetch.queue.backoff.ms", "2"),
    ("queued.max.messages.kbytes", "2048"),
    ("fetch.wait.max.ms", "100"),
    ("reconnect.backoff.max.ms", "2000"),
];

/// What writing without loss needs.
const SINK_REQUIRED: &[Required] = &[
    required("enable.idempotence", "true", "a retried record would appear twice or out of order"),
    required("acks", "all", "a record that one broker has seen is not written yet"),
    required("request.required.acks", "all", "a record that one broker has seen is not written yet"),
];

const SINK_DEFAULTS: &[(&str, &str)] = &[
    ("client.id", "caudal"),
    ("linger.ms", "5"),
    ("compression.type", "zstd"),
    ("message.timeout.ms", "30000"),
    ("reconnect.backoff.max.ms", "2000"),
];

/// Aliases of librdkafka: the first is set, the second says the same.
const ALIASES: &[(&str, &str)] = &[("bootstrap.servers", "metadata.broker.list"), ("message.timeout.ms", "delivery.timeout.ms")];

/// Every mistake in the properties of a source: `(property, what is wrong)`.
pub fn check_source(config: &SourceConfig) -> Result<(), Vec<(String, String)>> {
    source(&config.properties).map(|_| ())
}

/// Every mistake in the properties of a sink: `(property, what is wrong)`.
pub fn check_sink(config: &SinkConfig) -> Result<(), Vec<(String, String)>> {
    sink(&config.properties).map(|_| ())
}

/// All that the client of a source is told, ours included: for whoever reads the same topics with a client of their own.
pub fn source_properties(config: &SourceConfig) -> Result<BTreeMap<String, String>, Vec<(String, String)>> {
    let client = source(&config.properties)?;
    Ok(client.config_map().into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// A source's client configuration.
pub(super) fn source(properties: &BTreeMap<String, String>) -> Result<ClientConfig, Vec<(String, String)>> {
    resolve(properties, SOURCE_REQUIRED, SOURCE_DEFAULTS)
}

/// A sink's client configuration.
pub(super) fn sink(properties: &BTreeMap<String, String>) -> Result<ClientConfig, Vec<(String, String)>> {
    let mut mistakes = Vec::new();
    if properties.contains_key("transactional.id") {
        mistakes.push(("transactional.id".to_owned(), "the sink writes without transactions: remove it".to_owned()));
    }
    match resolve(properties, SINK_REQUIRED, SINK_DEFAULTS) {
        Ok(config) if mistakes.is_empty() => Ok(config),
        Ok(_) => Err(mistakes),
        Err(others) => Err(mistakes.into_iter().chain(others).collect()),
    }
}

/// What reads a sink's topics back: the sink's own connection, without what only producers know.
pub(super) fn read_back(properties: &BTreeMap<String, String>) -> ClientConfig {
    let mut config = connection(properties);
    for (name, value) in SOURCE_DEFAULTS {
        config.set(*name, *value);
    }
    // Our records are in no transaction; those of others must not hide them.
    config.set("isolation.level", "read_uncommitted").set("enable.partition.eof", "true");
    config.set("enable.auto.commit", "false").set("auto.offset.reset", "earliest");
    config
}

/// The part of the properties by which any client reaches the brokers.
pub(super) fn connection(properties: &BTreeMap<String, String>) -> ClientConfig {
    const PREFIXES: [&str; 10] = [
        "bootstrap.",
        "metadata.broker.list",
        "security.",
        "sasl.",
        "ssl.",
        "client.",
        "socket.",
        "broker.",
        "enable.ssl",
        "enable.sasl",
    ];
    let mut config = base();
    for (name, value) in properties {
        if PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            config.set(name, value);
        }
    }
    config
}

/// One mistake a line, as a start that fails prints it.
pub(super) fn in_words(mistakes: &[(String, String)]) -> String {
    let lines: Vec<String> = mistakes.iter().map(|(name, text)| format!("kafka property {name}: {text}")).collect();
    lines.join("\n")
}

/// `host:port,…`, for messages.
pub(super) fn bootstrap(properties: &BTreeMap<String, String>) -> &str {
    let named = |name: &str| properties.get(name).map(String::as_str);
    named("bootstrap.servers").or_else(|| named("metadata.broker.list")).unwrap_or_default()
}

fn base() -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set_log_level(RDKafkaLogLevel::Warning);
    config
}

fn resolve(
    properties: &BTreeMap<String, String>,
    required: &[Required],
    defaults: &[(&str, &str)],
) -> Result<ClientConfig, Vec<(String, String)>> {
    let mut mistakes = contradictions(properties, required);
    if bootstrap(properties).is_empty() {
        mistakes.push(("bootstrap.servers".to_owned(), "is missing: name the brokers, host:port,host:port".to_owned()));
    }
    let mut config = base();
    for (name, value) in defaults.iter().filter(|(name, _)| !is_said(properties, name)) {
        config.set(*name, *value);
    }
    for (name, value) in properties {
        if let Err(text) = accepted(name, value) {
            mistakes.push((name.clone(), text));
        }
        config.set(name, value);
    }
    for needed in required.iter().filter(|needed| needed.name != "request.required.acks") {
        config.set(needed.name, needed.value);
    }
    if mistakes.is_empty() { Ok(config) } else { Err(mistakes) }
}

fn contradictions(properties: &BTreeMap<String, String>, required: &[Required]) -> Vec<(String, String)> {
    let contradicting = |needed: &&Required| properties.get(needed.name).is_some_and(|said| !same(said, needed.value));
    let told = |needed: &Required| {
        let said = &properties[needed.name];
        (needed.name.to_owned(), format!("{said} is not possible, it is always {}: {}; remove it", needed.value, needed.why))
    };
    required.iter().filter(contradicting).map(told).collect()
}

/// Whether the job says it, under this name or its alias.
fn is_said(properties: &BTreeMap<String, String>, name: &str) -> bool {
    let alias = ALIASES.iter().find(|(first, _)| *first == name).map(|(_, second)| *second);
    properties.contains_key(name) || alias.is_some_and(|alias| properties.contains_key(alias))
}

/// Whether two spellings mean the same to librdkafka.
fn same(said: &str, needed: &str) -> bool {
    let said = said.trim().to_ascii_lowercase();
    match needed {
        "true" => matches!(said.as_str(), "true" | "t" | "1"),
        "false" => matches!(said.as_str(), "false" | "f" | "0"),
        "all" => matches!(said.as_str(), "all" | "-1"),
        needed => said == needed,
    }
}

/// Whether librdkafka knows the property and takes the value.
fn accepted(name: &str, value: &str) -> Result<(), String> {
    let mut one = base();
    one.set(name, value);
    match one.create_native_config() {
        Ok(_) => Ok(()),
        Err(rdkafka::error::KafkaError::ClientConfig(_, text, ..)) => Err(text.to_lowercase()),
        Err(other) => Err(other.to_string().to_lowercase()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = [("bootstrap.servers", "localhost:9092")].iter().chain(pairs);
        pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_job_wins_over_our_defaults() {
        let config = source(&said(&[("fetch.wait.max.ms", "7"), ("security.protocol", "plaintext")])).unwrap();
        assert_eq!((config.get("fetch.wait.max.ms"), config.get("fetch.queue.backoff.ms")), (Some("7"), Some("2")));
        let config = sink(&said(&[("delivery.timeout.ms", "9")])).unwrap();
        assert_eq!(config.get("message.timeout.ms"), None);
    }

    #[test]
    fn what_exactness_needs_cannot_be_contradicted_but_may_be_repeated() {
        let mistakes = source(&said(&[("enable.auto.commit", "true"), ("auto.offset.reset", "earliest")])).unwrap_err();
        let names: Vec<&str> = mistakes.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["enable.auto.commit", "auto.offset.reset"]);
        assert!(source(&said(&[("enable.auto.commit", "False"), ("check.crcs", "1")])).is_ok());
        assert_eq!(sink(&said(&[("acks", "1")])).unwrap_err()[0].0, "acks");
        assert!(sink(&said(&[("acks", "-1")])).is_ok());
        assert_eq!(sink(&said(&[("transactional.id", "x")])).unwrap_err()[0].0, "transactional.id");
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let properties =
            BTreeMap::from([("fetch.wait.max.ms".to_owned(), "soon".to_owned()), ("fetch.wat".to_owned(), "1".to_owned())]);
        let text = in_words(&source(&properties).unwrap_err());
        for name in ["bootstrap.servers: is missing", "fetch.wait.max.ms: ", "fetch.wat: "] {
            assert!(text.contains(name), "{name} in {text}");
        }
    }
}
