//! bank while a Redis loses its primary, and with it writes that the replica never saw. Whoever reads a board on either
//! server, at any moment, finds money neither made nor lost; in the end everything is there.

use super::{HOT, KEYSPACE, assert_balanced, transfers};
use crate::broker;
use crate::cql::Cql;
use crate::crash::feed::Feed;
use crate::crash::lives::Stage;
use crate::crash::redis::{asks_board, board, views};
use crate::crash::resp::{Connection, Reply};
use crate::crash::trials::Trials;
use crate::crash::watch::Watch;
use crate::expected::{Expected, Rows, assert_same};
use crate::lost::{asof, hot, kill_with_unsent_writes, until_more, until_restored};
use crate::running::{Running, job, state};
use crate::stored::{DeadLetters, in_redis_at};
use caudal_jobs::jobfile::Job;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use xtask::services::redis::RedisOptions;
use xtask::services::redis_group::{self as group, NAME};

const PACE: Duration = Duration::from_millis(5);
/// A server that is stopped is asked again later.
const PATIENCE: Duration = Duration::from_millis(200);

/// A server as a reader sees it.
struct Server {
    address: String,
    connection: Option<Connection>,
    looks: u64,
    /// Looks while the board said that it lacks something.
    lacking: u64,
    versions: BTreeSet<u64>,
}

impl Server {
    fn at(address: &str) -> Server {
        Server { address: address.to_owned(), connection: None, looks: 0, lacking: 0, versions: BTreeSet::new() }
    }

    /// Looks once; an error says that the server is away.
    fn look(&mut self, job: &str, views: &[(String, bool)]) -> std::io::Result<()> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let mut connection = Connection::open_within(&self.address, PATIENCE)?;
                // Of a replica in a cluster; any other server refuses it, and answers all the same.
                connection.try_ask(&[vec!["READONLY".to_owned()]])?;
                connection
            }
        };
        let answers = connection.try_ask(&asks_board(job, views))?;
        self.connection = Some(connection);
        // A replica that takes over leads nobody for a moment.
        if !matches!(answers.last(), Some(Reply::List(_))) {
            return Ok(());
        }
        let Some(board) = board(answers, views) else { return Ok(()) };
        let rows = board.views.values().flatten().map(|(group, member)| (group.as_str(), member.as_str()));
        assert_balanced(&board.version.to_string(), rows);
        self.looks += 1;
        self.lacking += u64::from(board.lacks);
        self.versions.insert(board.version);
        Ok(())
    }
}

/// A primary and the replica that takes its place.
struct Pair<'a> {
    primary: &'a mut xtask::services::Running,
    replica: &'a xtask::services::Running,
}

/// Runs the job, kills the primary that has the board, and judges; `others` are the other servers with rows.
fn across(fail_over: &str, job: &Arc<Job>, pair: Pair<'_>, others: &[String]) {
    let options = RedisOptions::default();
    let cli = |server: &xtask::services::Running| group::cli(&options, server);
    let (name, kept) = (job.plan.name.clone(), views(job));
    let stage = Stage::new();
    let servers = [&*pair.primary, pair.replica].map(|server| Server::at(&server.address)).into_iter().collect::<Vec<_>>();
    let looked = name.clone();
    let watch = Watch::start(&stage, PACE, servers, move |servers| {
        for server in servers {
            // One that is away is asked again.
            drop(server.look(&looked, &kept));
        }
    });
    let feed = Feed::start(&name, transfers(Trials::asked().seed));
    let state = state(&name);
    let running = Running::start(job, &state, 2);
    until_more(&running, 1_000);
    let primary = cli(pair.primary);
    let primary: Vec<&str> = primary.iter().map(String::as_str).collect();
    kill_with_unsent_writes(&running, pair.primary, pair.replica, &primary);
    let (began, replica) = (Instant::now(), cli(pair.replica));
    let replica: Vec<&str> = replica.iter().map(String::as_str).collect();
    until_restored(&running, 0, || asof(&replica, &name));
    let recovered = began.elapsed();
    until_more(&running, 1_000);
    let sent = feed.stop();
    running.until_read(sent);
    let losses = hot(&running).losses;
    let status = running.drain();
    stage.assert_well();
    let seen = watch.stop();

    let dead_letters = DeadLetters::in_cassandra(&Cql::shared(), KEYSPACE, job);
    let expected = Expected::of(job, &[&name], &dead_letters, &status.watermarks);
    let mut rows = 0;
    for view in job.plan.views.iter().filter(|view| HOT.contains(&view.name.as_str())) {
        let addresses = others.iter().chain([&pair.replica.address]);
        let found: Rows = addresses.flat_map(|address| in_redis_at(address, job, view)).collect();
        let all = expected.all(&view.name);
        rows += all.len();
        assert_same(fail_over, &all, &found);
    }
    let [before, after] = &seen[..] else { unreachable!("two were looked at") };
    println!(
        "figures {}",
        json!({fail_over: {
            "boards on which credits and debits differ": 0, "losses found": losses, "ms to recover": recovered.as_millis() as u64,
            "looks at the primary": before.looks, "at its replica, then primary": after.looks,
            "at its replica, then primary, while it lacked writes": after.lacking, "versions seen": before.versions.len() + after.versions.len(),
            "messages": sent, "rows compared": rows,
        }})
    );
    assert!(before.versions.len() > 10 && after.versions.len() > 10, "too tame");
}

/// The job on these servers, with a topic of its own.
fn own(test: &str, redis: &[String]) -> Arc<Job> {
    let name = broker::own(test);
    broker::make_topic(&name, 2);
    let set = [
        format!("name={name}"),
        format!("streams.entries.from.kafka.topics=[{name}]"),
        format!("sinks.cold.cassandra.keyspace={KEYSPACE}"),
        format!("sinks.hot.redis={{{}}}", redis.join(", ")),
    ];
    job("bank", &set)
}

#[test]
fn credits_and_debits_are_equal_across_a_fail_over_by_sentinels() {
    let mut servers = group::start_watched(&RedisOptions::default()).unwrap();
    let sentinels: Vec<String> = servers.sentinels.iter().map(|sentinel| format!("redis://{}", sentinel.address)).collect();
    let redis = [format!("url: 'redis://{NAME}'"), format!("sentinels: ['{}']", sentinels.join("', '"))];
    let job = own("sentinel-bank", &redis);
    across("Sentinel", &job, Pair { primary: &mut servers.primary, replica: &servers.replica }, &[]);
}

#[test]
fn credits_and_debits_are_equal_across_a_fail_over_in_a_cluster() {
    let options = RedisOptions::default();
    let mut servers = group::start_cluster(&options).unwrap();
    let seeds: Vec<String> = servers[..3].iter().map(|server| format!("redis://{}", server.address)).collect();
    let job = own("cluster-bank", &[format!("cluster: ['{}']", seeds.join("', '"))]);
    let board = format!("{{{}}}:asof", job.plan.name);
    let slot = group::ask(&options, &servers[0], &["CLUSTER", "KEYSLOT", &board]).unwrap().trim().parse::<usize>().unwrap();
    let lost = usize::from(slot > 5_460) + usize::from(slot > 10_922);
    let others: Vec<String> = (0..3).filter(|n| *n != lost).map(|n| servers[n].address.clone()).collect();
    let (primaries, replicas) = servers.split_at_mut(3);
    across("Cluster", &job, Pair { primary: &mut primaries[lost], replica: &replicas[lost] }, &others);
}
