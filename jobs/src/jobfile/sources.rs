//! `streams.<name>.from`: where messages come from.

use super::job::{GenerateSpec, HttpSpec, SourceSpec};
use super::mistakes::Mistakes;
use super::reader::At;
use super::schemas::path_of;
use super::surroundings::Surroundings;
use super::yaml;
use caudal_connectors::file::config::{Framing, SourceConfig as FileSource};
use caudal_connectors::kafka::config::{SourceConfig as KafkaSource, Start, Topics};
use caudal_pipeline::decode::Format;
use std::collections::BTreeMap;

/// What a source needs to know besides its own keys.
pub struct SourceContext<'a> {
    /// Files and variables.
    pub around: &'a Surroundings<'a>,
    /// The job file, as the user named it.
    pub job_file: &'a str,
    /// How messages are read: a file is cut accordingly.
    pub format: &'a Format,
}

/// The source that stands at `from`.
pub fn source(from: &At<'_>, context: &SourceContext<'_>, mistakes: &mut Mistakes) -> Option<SourceSpec> {
    if let Some(kafka) = from.get("kafka") {
        return kafka_source(&kafka, mistakes).map(SourceSpec::Kafka);
    }
    if let Some(files) = from.get("file") {
        return file_source(&files, context, mistakes).map(SourceSpec::File);
    }
    if let Some(profile) = from.get("generate") {
        return generate(&profile, context, mistakes).map(SourceSpec::Generate);
    }
    let partitions = from.get("http")?.integer_of("partitions")?;
    Some(SourceSpec::Http(HttpSpec { partitions: u32::try_from(partitions).ok()? }))
}

fn kafka_source(at: &At<'_>, mistakes: &mut Mistakes) -> Option<KafkaSource> {
    let topics = at.get("topics").and_then(|t| topics(&t, mistakes));
    let start = at.get("start").and_then(|s| start(&s, mistakes));
    let properties = properties(at, mistakes);
    Some(KafkaSource { topics: topics?, start: start?, properties: properties? })
}

fn topics(at: &At<'_>, mistakes: &mut Mistakes) -> Option<Topics> {
    let names = at.texts();
    match names.as_slice() {
        [] => {
            at.mistake(mistakes, "no topic: name one, or write a pattern such as '^wind[.].*$'");
            return None;
        }
        [pattern] if pattern.starts_with('^') && pattern.ends_with('$') => return Some(Topics::Pattern(pattern.clone())),
        _ => {}
    }
    let mut good = true;
    for item in at.items() {
        let wrong = item.text().and_then(|name| topic_mistake(name, names.len()));
        if let Some(message) = wrong {
            item.mistake(mistakes, message);
            good = false;
        }
    }
    good.then_some(Topics::Named(names))
}

fn topic_mistake(name: &str, count: usize) -> Option<String> {
    match name.strip_prefix('^') {
        Some(_) if count > 1 => Some("a pattern stands alone: put all into one, such as '^(a|b)$'".into()),
        Some(rest) => Some(format!("a pattern ends with `$`: '^{rest}$'")),
        None => check_topic(name).err(),
    }
}

/// Kafka's rule for names of topics.
pub fn check_topic(name: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !name.is_empty() && name.len() <= 249 && name.chars().all(allowed) && name != "." && name != ".." {
        return Ok(());
    }
    Err(format!("`{name}` cannot be a topic: letters, digits, `.`, `_` and `-`, at most 249"))
}

fn start(at: &At<'_>, mistakes: &mut Mistakes) -> Option<Start> {
    match at.text() {
        Some("earliest") => return Some(Start::Earliest),
        Some("latest") => return Some(Start::Latest),
        _ => {}
    }
    let time = at.get("timestamp")?;
    match time.text()?.parse::<jiff::Timestamp>() {
        Ok(timestamp) => Some(Start::Timestamp(timestamp.as_microsecond())),
        Err(_) => {
            time.mistake(mistakes, "expected a time with its offset, such as `2026-01-31T00:00:00Z`");
            None
        }
    }
}

/// Properties of librdkafka; `None` if a needed one is missing.
pub fn properties(at: &At<'_>, mistakes: &mut Mistakes) -> Option<BTreeMap<String, String>> {
    let properties = at.get("properties")?;
    if !properties.has("bootstrap.servers") {
        properties.mistake(mistakes, "missing: `bootstrap.servers`, such as `localhost:9092`");
        return None;
    }
    Some(properties.text_map())
}

fn file_source<'n>(at: &At<'n>, context: &SourceContext<'_>, mistakes: &mut Mistakes) -> Option<FileSource> {
    let path = |item: At<'n>| path_of(&item, context.job_file).map(|p| (item.clone(), p.display().to_string()));
    let named: Vec<(At<'n>, String)> = at.items().into_iter().filter_map(path).collect();
    if named.is_empty() {
        at.mistake(mistakes, "no file: name one at least");
        return None;
    }
    for (n, (item, path)) in named.iter().enumerate() {
        if named[..n].iter().any(|(_, earlier)| earlier == path) {
            item.mistake(mistakes, "this file is named twice");
        }
    }
    let paths = named.into_iter().map(|(_, path)| path).collect();
    let framing = match context.format {
        Format::Json => Framing::Lines,
        Format::Csv { delimiter, .. } => Framing::Csv { delimiter: *delimiter },
    };
    Some(FileSource { paths, framing })
}

fn generate(at: &At<'_>, context: &SourceContext<'_>, mistakes: &mut Mistakes) -> Option<GenerateSpec> {
    if at.text().is_none() {
        return Some(GenerateSpec { path: None, profile: at.node.to_json() });
    }
    let path = path_of(at, context.job_file)?;
    let shown = path.display().to_string();
    let text = match (context.around.file)(&path) {
        Ok(text) => text,
        Err(e) => {
            at.mistake(mistakes, format!("profile `{shown}` cannot be read: {e}"));
            return None;
        }
    };
    let mut errors = Vec::new();
    let profile = yaml::parse(&shown, &text, &mut errors);
    for e in errors {
        mistakes.note(e.place, &at.path, e.message);
    }
    Some(GenerateSpec { path: Some(shown), profile: profile?.to_json() })
}
