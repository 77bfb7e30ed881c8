//! `sinks`: the stores that keep a copy of the results.

use super::job::{SinkSpec, StoreSpec};
use super::keep::{Kept, keep, publish, store_name};
use super::mistakes::Mistakes;
use super::reader::At;
use super::stores::store;
use super::streams::BuiltStream;
use super::views::BuiltView;
use caudal_connectors::redis::config::Servers;
use caudal_pipeline::time::Span;

/// Cassandra's longest time to live.
const TTL_MAX: Span = Span::seconds(630_720_000);

/// The sinks of a job; without any, the embedded store keeps everything.
pub fn sinks(
    all: Option<&At<'_>>,
    streams: &[BuiltStream<'_>],
    views: &[BuiltView],
    job_file: &str,
    mistakes: &mut Mistakes,
) -> Vec<SinkSpec> {
    let written: Vec<_> = all.iter().flat_map(|a| a.entries()).collect();
    if written.is_empty() {
        return vec![embedded(views)];
    }
    let mut sinks: Vec<SinkSpec> = Vec::new();
    for (entry, at) in written {
        let Some(sink) = sink(&entry.key, &at, streams, views, job_file, mistakes) else { continue };
        check_shared_redis(&at, &sink, &sinks, mistakes);
        sinks.push(sink);
    }
    sinks
}

/// Keys and marks in Redis have the job's name, not the sink's: of two sinks each would find what the other has written.
fn check_shared_redis(at: &At<'_>, sink: &SinkSpec, before: &[SinkSpec], mistakes: &mut Mistakes) {
    let StoreSpec::Redis(config) = &sink.store else { return };
    let shares = |other: &&SinkSpec| matches!(&other.store, StoreSpec::Redis(other) if config.shares_keys_with(other));
    let Some(other) = before.iter().find(shares) else { return };
    let elsewhere = match config.servers {
        Servers::Cluster(_) => "another cluster",
        _ => "another database, such as `…/1`, or another server",
    };
    let message = format!(
        "`{}` writes to the same place: name what both keep in one of them and remove the other, or name {elsewhere}",
        other.name
    );
    at.mistake_at("redis", mistakes, message);
}

fn embedded(views: &[BuiltView]) -> SinkSpec {
    let nothing = super::node::Node::empty_map(super::node::Place::outside(super::defaults::FILE));
    let kept = keep(&At::root(&nothing), &StoreSpec::Embedded, views, &mut Mistakes::default());
    SinkSpec {
        name: "embedded".into(),
        store: StoreSpec::Embedded,
        keep: kept.views,
        dead_letters: true,
        events: false,
        retain: None,
    }
}

fn sink(
    name: &str,
    at: &At<'_>,
    streams: &[BuiltStream<'_>],
    views: &[BuiltView],
    job_file: &str,
    mistakes: &mut Mistakes,
) -> Option<SinkSpec> {
    let written = store(at, job_file, mistakes);
    let mut store = written.clone().or_else(|| kind(at))?;
    let kept = if let StoreSpec::Kafka(kafka) = &mut store {
        let (kept, publications) = publish(at, &StoreSpec::Kafka(kafka.clone()), views, mistakes);
        kafka.publish = publications;
        kept
    } else {
        keep(at, &store, views, mistakes)
    };
    foreign_keys(at, &store, mistakes);
    let retain = at.duration_of("retain");
    check_retain(at, &store, retain, &kept, (streams, views), mistakes);
    check_nullable_groups(at, &store, &kept, (streams, views), mistakes);
    written?;
    Some(SinkSpec { name: name.into(), store, keep: kept.views, dead_letters: kept.dead_letters, events: kept.events, retain })
}

/// The kind of a store whose own keys are wrong: enough to judge the others.
fn kind(at: &At<'_>) -> Option<StoreSpec> {
    use caudal_connectors::{cassandra, file, kafka, redis};
    if at.has("redis") {
        return Some(StoreSpec::Redis(redis::config::Config {
            servers: redis::config::Servers::One(String::new()),
            tls_ca: None,
            board_groups_max: 0,
        }));
    }
    if at.has("cassandra") {
        return Some(StoreSpec::Cassandra(cassandra::config::Config {
            contact_points: Vec::new(),
            keyspace: String::new(),
            create: cassandra::config::Create::Check,
            replication: Default::default(),
            datacenter: None,
            credentials: None,
            tls: None,
            in_flight_max: 1,
        }));
    }
    if at.has("kafka") {
        return Some(StoreSpec::Kafka(kafka::config::SinkConfig { properties: Default::default(), publish: Vec::new() }));
    }
    at.has("file").then(|| {
        let format = file::config::OutputFormat::Ndjson;
        StoreSpec::File(file::config::SinkConfig { folder: String::new(), format, gzip: false })
    })
}

fn foreign_keys(at: &At<'_>, store: &StoreSpec, mistakes: &mut Mistakes) {
    match store {
        StoreSpec::Kafka(_) if at.has("keep") => {
            let message = "Kafka publishes: name what goes to which topic under `publish`, and remove this";
            at.mistake_key("keep", mistakes, message);
        }
        StoreSpec::Kafka(_) => {}
        other if at.has("publish") => {
            at.mistake_key("publish", mistakes, format!("{} has no topics: use `keep`, or a `kafka` sink", store_name(other)));
        }
        _ => {}
    }
    if matches!(store, StoreSpec::Kafka(_) | StoreSpec::File(_)) && at.has("retain") {
        let who = if matches!(store, StoreSpec::Kafka(_)) { "a topic has its own retention" } else { "files are never removed" };
        at.mistake_key("retain", mistakes, format!("{who}: remove this"));
    }
}

type Built<'a> = (&'a [BuiltStream<'a>], &'a [BuiltView]);

fn check_retain(
    at: &At<'_>,
    store: &StoreSpec,
    retain: Option<Span>,
    kept: &Kept,
    (streams, views): Built<'_>,
    mistakes: &mut Mistakes,
) {
    let Some(retain) = retain else { return };
    if matches!(store, StoreSpec::Cassandra(_)) && retain > TTL_MAX {
        at.mistake_at(
            "retain",
            mistakes,
            "longer than Cassandra's time to live can be, 20 years (7300d): write less, or leave it out to keep rows for ever",
        );
    }
    let lateness = kept.views.iter().filter_map(|k| views[k.view].stream).filter_map(|s| Some((streams[s].lateness?, s)));
    if let Some((lateness, stream)) = lateness.max()
        && retain < lateness
    {
        let message = format!(
            "{retain} is shorter than the lateness {lateness} of `{}`: a row could still change after it expired; write {lateness} or more",
            streams[stream].name
        );
        at.mistake_at("retain", mistakes, message);
    }
}

/// A key column of Cassandra is never null.
fn check_nullable_groups(at: &At<'_>, store: &StoreSpec, kept: &Kept, (streams, views): Built<'_>, mistakes: &mut Mistakes) {
    if !matches!(store, StoreSpec::Cassandra(_)) {
        return;
    }
    for view in kept.views.iter().map(|k| &views[k.view]) {
        let Some(stream) = view.stream.map(|s| &streams[s]) else { continue };
        for field in view.group.iter().flatten().filter(|f| stream.nullable.contains(&f.name)) {
            let sink = at.path.rsplit('.').next().unwrap_or_default();
            let place = stream.at.deepest(&format!("fields.{}", field.name));
            let message = format!(
                "may be absent by the schema, but `{}` groups by it and sink `{sink}` makes it a key in Cassandra: \
                 give it a default, {{at: …, default: unknown}}, or require it in the schema",
                view.name
            );
            place.mistake(mistakes, message);
        }
    }
}
