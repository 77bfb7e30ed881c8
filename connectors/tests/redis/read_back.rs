//! Rows are read back as they were written: from one server, by Sentinels, from all primaries of a cluster.

use super::{address, cli, config};
use crate::cuts::{context, cut, job, row};
use crate::held;
use caudal_connectors::redis::RedisSink;
use caudal_connectors::redis::config::{Config, Servers};
use caudal_pipeline::ports::sink::{Cut, Row, Sink, SinkError};
use caudal_pipeline::time::EventTime;
use caudal_pipeline::value::FieldType;
use xtask::services::redis::RedisOptions;
use xtask::services::redis_group::{NAME, ask, start_cluster, start_watched};

fn contract(seed: u64, job: &str, config: &Config) {
    let context = held::context(job);
    held::contract(seed, &context, held::Limits::default(), || Box::new(RedisSink::new(config.clone(), context.clone())));
}

/// How many rows of the first view a new sink finds.
fn count(config: &Config, job: &str) -> Result<usize, SinkError> {
    let mut found = 0;
    RedisSink::new(config.clone(), context(job)).held(0, EventTime::MIN, &mut |_| found += 1)?;
    Ok(found)
}

#[test]
fn one_server_gives_back_what_was_written() {
    contract(0x5eed_0013, &job("held"), &config(&format!("redis://{}", address())));
}

#[test]
fn sentinels_lead_to_it() {
    let servers = start_watched(&RedisOptions::default()).unwrap();
    let sentinels = servers.sentinels.iter().map(|sentinel| format!("redis://{}", sentinel.address)).collect();
    let servers = Servers::Sentinel { primary: format!("redis://{NAME}"), sentinels };
    contract(0x5eed_0014, "held", &Config { servers, ..config("") });
}

#[test]
fn a_cluster_gives_back_what_all_its_primaries_have() {
    let options = RedisOptions::default();
    let servers = start_cluster(&options).unwrap();
    let seeds = servers.iter().map(|server| format!("redis://{}", server.address)).collect();
    let config = Config { servers: Servers::Cluster(seeds), ..config("") };
    contract(0x5eed_0015, "held", &config);

    // While slots are on their way a key may be missed: neither where it was nor where it is to be.
    let other = ask(&options, &servers[1], &["CLUSTER", "MYID"]).unwrap();
    ask(&options, &servers[0], &["CLUSTER", "SETSLOT", "7", "MIGRATING", other.trim()]).unwrap();
    let refused = count(&config, "held");
    assert!(matches!(&refused, Err(SinkError::Retry(said)) if said.contains("on their way")), "{refused:?}");
    ask(&options, &servers[0], &["CLUSTER", "SETSLOT", "7", "STABLE"]).unwrap();
    assert_eq!(count(&config, "held").unwrap(), 0);
}

/// Pieces go by score, which is in milliseconds.
#[test]
fn more_rows_begin_within_a_millisecond_than_are_read_at_once() {
    let job = job("piece");
    let config = config(&format!("redis://{}", address()));
    let rows: Vec<Row> = (0..900).map(|us| Row { start: EventTime(5_000_000 + us), ..row("f", 1, 5) }).collect();
    let mut sink = RedisSink::new(config.clone(), context(&job));
    sink.write(&Cut { latest: vec![], ..cut(0, 5, rows) }).unwrap();
    assert_eq!(count(&config, &job).unwrap(), 900);
    let mut found = Vec::new();
    sink.held(0, EventTime(5_000_700), &mut |row| found.push(row.start.0)).unwrap();
    found.sort_unstable();
    assert_eq!(found, (5_000_700..5_000_900).collect::<Vec<_>>());
}

#[test]
fn keys_that_are_not_of_this_job_stop_or_are_passed_over() {
    let job = job("not-ours");
    let config = config(&format!("redis://{}", address()));
    RedisSink::new(config.clone(), context(&job)).write(&cut(0, 5, vec![row("north", 1, 5), row("a|b", 1, 5)])).unwrap();
    // Another view's, whose name is longer, and another job's.
    cli(&["ZADD", &format!("{job}:per_minute_too:{{x}}"), "0", "x"]);
    cli(&["ZADD", &format!("{job}x:per_minute:{{x}}"), "0", "x"]);
    assert_eq!(count(&config, &job).unwrap(), 2);

    // The group was a text and is a number now: what is there cannot be reached any more.
    let mut changed = context(&job);
    changed.views[0].group[0].field_type = FieldType::Decimal(0);
    let read = RedisSink::new(config.clone(), changed).held(0, EventTime::MIN, &mut |_| {});
    assert!(matches!(&read, Err(SinkError::Stop(said)) if said.contains("rename the view")), "{read:?}");

    cli(&["ZADD", &format!("{job}:per_minute:{{south}}"), "0", "theirs"]);
    let read = count(&config, &job);
    assert!(matches!(&read, Err(SinkError::Stop(said)) if said.contains(":per_minute:{south}")), "{read:?}");
}
