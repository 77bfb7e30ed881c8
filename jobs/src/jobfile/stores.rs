//! `sinks.<name>.{redis, cassandra, kafka, file, embedded}`: which store, and how it is reached.

use super::job::StoreSpec;
use super::mistakes::Mistakes;
use super::reader::At;
use super::schemas::path_of;
use super::sources::properties;
use caudal_connectors::cassandra::config::{Config as Cassandra, Create, Tls};
use caudal_connectors::file::config::{OutputFormat, SinkConfig as Files};
use caudal_connectors::kafka::config::SinkConfig as Kafka;
use caudal_connectors::redis::config::{Config as Redis, Servers};

/// The port of Cassandra and Scylla where none is named.
const CQL_PORT: u16 = 9042;

/// The store of a sink. What Kafka publishes is added by the one who reads `publish`.
pub fn store(sink: &At<'_>, job_file: &str, mistakes: &mut Mistakes) -> Option<StoreSpec> {
    if let Some(at) = sink.get("redis") {
        return redis(&at, job_file, mistakes).map(StoreSpec::Redis);
    }
    if let Some(at) = sink.get("cassandra") {
        return cassandra(&at, job_file, mistakes).map(StoreSpec::Cassandra);
    }
    if let Some(at) = sink.get("kafka") {
        return Some(StoreSpec::Kafka(Kafka { properties: properties(&at, mistakes)?, publish: Vec::new() }));
    }
    if let Some(at) = sink.get("file") {
        return files(&at, job_file).map(StoreSpec::File);
    }
    sink.has("embedded").then_some(StoreSpec::Embedded)
}

fn path(at: &At<'_>, key: &str, job_file: &str) -> Option<String> {
    Some(path_of(&at.get(key)?, job_file)?.display().to_string())
}

fn redis(at: &At<'_>, job_file: &str, mistakes: &mut Mistakes) -> Option<Redis> {
    let primary = at.get("url").and_then(|url| redis_address(&url, mistakes));
    let [sentinels, cluster] = ["sentinels", "cluster"].map(|key| at.get(key).map(|nodes| redis_addresses(&nodes, mistakes)));
    let several = sentinels.iter().chain(&cluster).flatten().flatten();
    let addresses: Vec<&String> = primary.iter().chain(several).collect();
    if at.has("tls_ca") && !addresses.is_empty() && !addresses.iter().any(|url| url.starts_with("rediss://")) {
        at.mistake_at("tls_ca", mistakes, "the address has no TLS: write it with `rediss://`, or remove this");
    }
    let servers = match (sentinels, cluster) {
        (None, None) => Servers::One(primary?),
        (Some(sentinels), None) => Servers::Sentinel { primary: primary?, sentinels: sentinels? },
        (sentinels, Some(cluster)) => {
            if sentinels.is_some() {
                at.mistake_key("sentinels", mistakes, "a cluster replaces its primaries itself: remove this");
            }
            Servers::Cluster(one_cluster(at, cluster?, mistakes)?)
        }
    };
    Some(Redis {
        servers,
        tls_ca: path(at, "tls_ca", job_file),
        board_groups_max: usize::try_from(at.integer_of("board_groups_max")?).ok()?,
    })
}

fn redis_addresses(nodes: &At<'_>, mistakes: &mut Mistakes) -> Option<Vec<String>> {
    if nodes.texts().is_empty() {
        nodes.mistake(mistakes, "no server: name one, such as `redis://localhost:6379`");
        return None;
    }
    let addresses: Vec<_> = nodes.items().iter().map(|node| redis_address(node, mistakes)).collect();
    addresses.into_iter().collect()
}

/// Servers of a cluster have one login and one database.
fn one_cluster(at: &At<'_>, urls: Vec<String>, mistakes: &mut Mistakes) -> Option<Vec<String>> {
    let parts = |url: &String| -> (String, String) {
        let (login, host) = url.rsplit_once('@').unwrap_or_else(|| url.split_once("//").unwrap_or(("", url)));
        (login.to_owned(), host.split_once('/').map_or("", |(_, db)| db).to_owned())
    };
    let first = parts(urls.first()?);
    if urls.iter().any(|url| parts(url).0 != first.0) {
        at.mistake_at(
            "cluster",
            mistakes,
            "servers of a cluster have one login: write the same user, password and scheme in all",
        );
        return None;
    }
    if urls.iter().any(|url| !matches!(parts(url).1.as_str(), "" | "0")) {
        at.mistake_at("cluster", mistakes, "a cluster has one database: leave the number out");
        return None;
    }
    Some(urls)
}

fn redis_address(at: &At<'_>, mistakes: &mut Mistakes) -> Option<String> {
    let url = at.text()?;
    if !url.starts_with("redis://") && !url.starts_with("rediss://") {
        at.mistake(mistakes, "expected `redis://[user:password@]host:port[/db]`, or `rediss://…` with TLS");
        return None;
    }
    Some(url.to_owned())
}

fn cassandra(at: &At<'_>, job_file: &str, mistakes: &mut Mistakes) -> Option<Cassandra> {
    let points = at.get("contact_points")?;
    let contact_points: Vec<String> = points.texts().iter().map(|p| with_port(p)).collect();
    if contact_points.is_empty() {
        points.mistake(mistakes, "no node: name one, such as `localhost:9042`");
    }
    pair(at, ["username", "password"], mistakes);
    let tls = at.get("tls");
    if let Some(tls) = &tls {
        pair(tls, ["certificate", "key"], mistakes);
    }
    let both = |at: &At<'_>, a: &str, b: &str| Some((at.text_of(a)?, at.text_of(b)?));
    Some(Cassandra {
        contact_points,
        keyspace: at.text_of("keyspace")?,
        create: if at.text_of("create").as_deref() == Some("check") { Create::Check } else { Create::Missing },
        replication: at.get("replication").map(|r| r.text_map()).unwrap_or_default(),
        datacenter: at.text_of("datacenter"),
        credentials: both(at, "username", "password"),
        tls: tls.map(|t| Tls {
            ca: path(&t, "ca", job_file),
            identity: path(&t, "certificate", job_file).zip(path(&t, "key", job_file)),
        }),
        in_flight_max: usize::try_from(at.integer_of("in_flight_max")?).ok()?,
    })
}

fn with_port(point: &str) -> String {
    if point.contains(':') { point.into() } else { format!("{point}:{CQL_PORT}") }
}

fn pair(at: &At<'_>, [a, b]: [&str; 2], mistakes: &mut Mistakes) {
    for (given, needed) in [(a, b), (b, a)] {
        if at.has(given) && !at.has(needed) {
            at.mistake_key(given, mistakes, format!("`{given}` needs `{needed}` as well"));
        }
    }
}

fn files(at: &At<'_>, job_file: &str) -> Option<Files> {
    if at.text().is_some() {
        let folder = path_of(at, job_file)?.display().to_string();
        return Some(Files { folder, format: OutputFormat::Ndjson, gzip: false });
    }
    let format = if at.text_of("format").as_deref() == Some("csv") { OutputFormat::Csv } else { OutputFormat::Ndjson };
    Some(Files { folder: path(at, "folder", job_file)?, format, gzip: at.bool_of("gzip")? })
}
