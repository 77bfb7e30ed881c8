//! Which topics exist, asked without making any: for checking before the start.

use super::client::{Watch, topics};
use super::error::Trouble;
use super::properties;
use caudal_pipeline::ports::sink::SinkError;
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long the client waits for an event before it asks the brokers again.
const EVENT_WAIT: Duration = Duration::from_millis(100);

/// Those of `names` that the brokers do not have. All topics are listed: asking for one by name could make it.
pub fn missing_topics<'n>(properties: &BTreeMap<String, String>, names: &[&'n str]) -> Result<Vec<&'n str>, SinkError> {
    let watch = Watch::default();
    let consumer: BaseConsumer<Watch> = properties::read_back(properties)
        .create_with_context(watch.clone())
        .map_err(|error| Trouble::Refused(format!("cannot make a kafka client from the sink's properties: {error}")))?;
    let listed = topics(consumer.client(), &watch.0, properties::bootstrap(properties), None, || {
        let _ = consumer.poll(EVENT_WAIT);
    })?;
    Ok(names.iter().copied().filter(|name| !listed.contains_key(*name)).collect())
}
