//! Which partitions a stream has: its topics by name or pattern, and whether they may be read at all.
//!
//! A compacted topic is refused. Compaction removes records that were not the last of their key, whenever it likes,
//! so the same offsets would not give the same records again and a replay would not be exact.

use super::client::{ANSWER_LIMIT, Topics};
use super::error::Trouble;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, OwnedResourceSpecifier, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaResult;
use regex::Regex;

/// The topics of which `pattern` matches the name, without Kafka's own.
pub(super) fn matching(topics: Topics, pattern: &Regex) -> Topics {
    topics.into_iter().filter(|(name, _)| !name.starts_with("__") && pattern.is_match(name)).collect()
}

/// Refuses the first topic whose records may be removed by key.
pub(super) fn refuse_compacted(connection: &ClientConfig, topics: &[&str]) -> Result<(), Trouble> {
    if topics.is_empty() {
        return Ok(());
    }
    let described = describe(connection, topics)
        .map_err(|error| Trouble::Away(format!("cannot read the configuration of topics {}: {error}", topics.join(", "))))?;
    for (asked, answer) in topics.iter().zip(described) {
        match answer {
            Ok(resource) => refuse_if_compacted(&resource)?,
            // A login may read a topic and not its configuration. Whoever set that up is told, and believed.
            Err(error) => {
                tracing::warn!(topic = asked, %error, "cannot see whether the topic is compacted: grant DESCRIBE_CONFIGS on it");
            }
        }
    }
    Ok(())
}

fn describe(connection: &ClientConfig, topics: &[&str]) -> KafkaResult<Vec<Result<ConfigResource, String>>> {
    let admin: AdminClient<DefaultClientContext> = connection.create()?;
    let asked: Vec<ResourceSpecifier> = topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
    let options = AdminOptions::new().request_timeout(Some(ANSWER_LIMIT));
    let answer = admin.describe_configs(&asked, &options);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime without drivers needs nothing");
    let answers = runtime.block_on(answer)?;
    Ok(answers.into_iter().map(|answer| answer.map_err(|code| code.to_string())).collect())
}

fn refuse_if_compacted(resource: &ConfigResource) -> Result<(), Trouble> {
    let OwnedResourceSpecifier::Topic(topic) = &resource.specifier else { return Ok(()) };
    let policy = resource.get("cleanup.policy").and_then(|entry| entry.value.as_deref()).unwrap_or_default();
    if is_compacted(policy) {
        return Err(Trouble::Refused(format!(
            "topic {topic} is compacted (cleanup.policy={policy}): the broker removes records by key, so reading it again would \
             give other records; read a topic with cleanup.policy=delete"
        )));
    }
    Ok(())
}

fn is_compacted(policy: &str) -> bool {
    policy.split(',').any(|part| part.trim() == "compact")
}

/// Whether a pattern is one: `^…$`, and what is wrong with it if not.
pub(super) fn pattern(text: &str) -> Result<Regex, Trouble> {
    let mistake = |cause: String| Trouble::Refused(format!("topics: {text} is not a regular expression: {cause}"));
    Regex::new(text).map_err(|cause| mistake(cause.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_never_takes_kafkas_own_topics() {
        let topics: Topics =
            ["events-a", "events-b", "other-events-a", "__consumer_offsets"].map(|name| (name.to_owned(), vec![0])).into();
        let names = |text: &str| matching(topics.clone(), &pattern(text).unwrap()).into_keys().collect::<Vec<_>>();
        assert_eq!(names("^events-.*$"), ["events-a", "events-b"]);
        assert_eq!(names("^.*$"), ["events-a", "events-b", "other-events-a"]);
        assert!(pattern("^(").is_err());
    }

    #[test]
    fn compaction_is_found_in_any_policy() {
        for (policy, compacted) in
            [("delete", false), ("compact", true), ("delete,compact", true), ("compact, delete", true), ("", false)]
        {
            assert_eq!(is_compacted(policy), compacted, "{policy}");
        }
    }
}
