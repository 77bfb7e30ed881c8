//! A server that hangs, and one that is loading: waited for, never for long at once.

use super::{cli_at, config, service, v};
use crate::cuts::{context, cut, row};
use caudal_connectors::redis::RedisSink;
use caudal_pipeline::ports::sink::{Sink, SinkError};
use std::time::{Duration, Instant};
use xtask::services::redis::RedisOptions;
use xtask::services::redis_group::signal;

/// A server that was stopped keeps its connections and takes new ones: only silence tells.
#[test]
fn a_server_that_hangs_is_given_up_and_written_to_when_it_goes_on() {
    let server = service::start(&RedisOptions::default()).unwrap();
    let url = format!("redis://{}", server.address);
    let mut sink = RedisSink::new(config(&url), context("hangs"));
    sink.prepare().unwrap();
    sink.write(&cut(0, 5, vec![row("a", 1, 5)])).unwrap();
    signal(&server, "-STOP").unwrap();
    let rows = || (0..200).map(|minute| row("a", minute, 6)).collect::<Vec<_>>();
    let began = Instant::now();
    let refused = sink.write(&cut(5, 6, rows()));
    let Err(SinkError::Retry(said)) = refused else { panic!("{refused:?}") };
    assert!(said.contains("no answer in time"), "{said}");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    signal(&server, "-CONT").unwrap();
    // What it was sent before may be carried out now; the same again changes nothing.
    sink.prepare().unwrap();
    sink.write(&cut(5, 6, rows())).unwrap();
    assert_eq!(cli_at(&url, &["ZCARD", "hangs:per_minute:{a}"]), ["200"]);
    assert_eq!(cli_at(&url, &["HGET", "{hangs}:asof", "v"]), [v(6)]);
}

/// A server that restarts with much to read answers LOADING to everything until it has.
#[test]
fn a_server_that_is_loading_is_waited_for() {
    let mut server = service::start(&RedisOptions::default()).unwrap();
    let url = format!("redis://{}", server.address);
    let mut sink = RedisSink::new(config(&url), context("loading"));
    sink.prepare().unwrap();
    sink.write(&cut(0, 5, vec![row("a", 1, 5)])).unwrap();
    cli_at(&url, &["EVAL", "for i = 1, 20000 do redis.call('SET', 'filler:' .. i, 'x') end", "0"]);
    assert_eq!(cli_at(&url, &["SAVE"]), ["OK"]);
    server.process.kill();
    // It reads its dump slowly, with 100 µs for each key, and answers meanwhile.
    let file = server.folder.path().join("redis.conf");
    let text = std::fs::read_to_string(&file).unwrap();
    let slow =
        text.replace("appendonly yes", "appendonly no") + "key-load-delay 100\nloading-process-events-interval-bytes 1024\n";
    std::fs::write(&file, slow).unwrap();
    service::restart_at_once(&mut server).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut said_loading = false;
    loop {
        match sink.prepare() {
            Ok(()) => break,
            Err(SinkError::Retry(said)) => said_loading |= said.contains("loading the dataset"),
            other => panic!("{other:?}"),
        }
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
    assert!(said_loading, "it was asked while it was loading");
    sink.write(&cut(5, 6, vec![row("a", 1, 6)])).unwrap();
    assert_eq!(cli_at(&url, &["HGET", "{loading}:asof", "v"]), [v(6)]);
}

/// A primary that was made a replica refuses writes, and keeps what it has while it waits for its primary.
#[test]
fn a_server_that_was_set_down_is_waited_for() {
    let server = service::start(&RedisOptions::default()).unwrap();
    let url = format!("redis://{}", server.address);
    let mut sink = RedisSink::new(config(&url), context("set-down"));
    sink.prepare().unwrap();
    sink.write(&cut(0, 5, vec![row("a", 1, 5)])).unwrap();
    // Nobody is there.
    assert_eq!(cli_at(&url, &["REPLICAOF", "127.0.0.1", "1"]), ["OK"]);
    let refused = sink.write(&cut(5, 6, vec![row("a", 1, 6)]));
    let Err(SinkError::Retry(said)) = refused else { panic!("{refused:?}") };
    assert!(said.contains("READONLY"), "{said}");
    assert_eq!(cli_at(&url, &["REPLICAOF", "NO", "ONE"]), ["OK"]);
    sink.prepare().unwrap();
    sink.write(&cut(5, 6, vec![row("a", 1, 6)])).unwrap();
    assert_eq!(cli_at(&url, &["HGET", "{set-down}:asof", "v"]), [v(6)]);
}
