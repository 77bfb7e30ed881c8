//! The Redis sink against a real server, read back with redis-cli as any reader would.
//!
//! `cargo xtask services --only redis -- cargo test -p caudal-connectors --test redis`

mod cuts;
mod held;
#[path = "redis/lost.rs"]
mod lost;
#[path = "redis/read_back.rs"]
mod read_back;
#[path = "redis/trouble.rs"]
mod trouble;

use caudal_connectors::redis::RedisSink;
use caudal_connectors::redis::config::{Config, Servers};
use caudal_pipeline::ports::sink::{Cut, Row, Sink, SinkError};
use caudal_pipeline::time::EventTime;
use cuts::{balance, context, cut, gone, job, latest, now_us, row};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use std::process::Command;
use std::time::{Duration, Instant};
use xtask::services::redis::{self as service, PASSWORD, READER, RedisOptions, USER};

fn address() -> String {
    std::env::var("CAUDAL_TEST_REDIS").expect("CAUDAL_TEST_REDIS is not set: run through `cargo xtask services --only redis --`")
}

fn config(url: &str) -> Config {
    Config { servers: Servers::One(url.to_owned()), tls_ca: None, board_groups_max: 10_000 }
}

fn sink(job: &str) -> RedisSink {
    let mut sink = RedisSink::new(config(&format!("redis://{}", address())), context(job));
    sink.prepare().unwrap();
    sink
}

/// One command through redis-cli; its lines.
fn cli_at(url: &str, arguments: &[&str]) -> Vec<String> {
    let output = Command::new("redis-cli").args(["-u", url, "--raw", "--no-auth-warning"]).args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn cli(arguments: &[&str]) -> Vec<String> {
    cli_at(&format!("redis://{}", address()), arguments)
}

/// `{job}:asof` as redis-cli shows it.
fn asof(job: &str, field: &str) -> String {
    cli(&["HGET", &format!("{{{job}}}:asof"), field]).concat()
}

fn until(what: &str, mut probe: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !probe() {
        assert!(Instant::now() < deadline, "{what} did not happen within 20 s");
        std::thread::yield_now();
    }
}

fn v(version: i64) -> String {
    format!("{version:019}")
}

fn without_board(rows: Vec<Row>, version: i64) -> Cut {
    Cut { latest: vec![], ..cut(0, version, rows) }
}

#[test]
fn readers_find_rows_index_and_board() {
    let job = job("layout");
    let mut sink = sink(&job);
    let rows = vec![row("north", 1, 5), row("north", 2, 5), row("a|b", 1, 5), balance("x", 5)];
    let newest = [&rows[1], &rows[2], &rows[3]].map(latest).to_vec();
    assert_eq!(sink.write(&Cut { latest: newest, ..cut(0, 5, rows) }).unwrap(), []);

    let minute_2 = format!(
        r#"{{"start":"1970-01-01T00:02:00Z","end":"1970-01-01T00:03:00Z","state":"open","v":"{}","mean":5.25,"events":5}}"#,
        v(5)
    );
    assert_eq!(cli(&["ZREVRANGE", &format!("{job}:per_minute:{{north}}"), "0", "0", "WITHSCORES"]), [&minute_2, "120000"]);
    assert_eq!(cli(&["ZCARD", &format!("{job}:per_minute:{{north}}")]), ["2"]);
    assert_eq!(cli(&["ZCARD", &format!("{job}:per_minute:{{a\\|b}}")]), ["1"]);
    let account = cli(&["ZRANGE", &format!("{job}:balance:{{x}}"), "0", "-1", "WITHSCORES"]);
    assert!(account[0].starts_with(r#"{"start":null,"end":null,"state":"open","#) && account[1] == "0", "{account:?}");

    let listed: Vec<String> =
        (0..16).flat_map(|part| cli(&["ZRANGE", &format!("{job}:per_minute:groups:{part}"), "0", "-1", "WITHSCORES"])).collect();
    let mut pairs: Vec<(&str, &str)> = listed.chunks(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect();
    pairs.sort_unstable();
    assert_eq!(pairs, [(r"a\|b", "120000"), ("north", "180000")]);

    assert_eq!(cli(&["HGET", &format!("{{{job}}}:latest:per_minute"), "north"]), [minute_2]);
    assert_eq!((asof(&job, "v"), asof(&job, "epoch")), (v(5), "5".to_owned()));
    assert_eq!(asof(&job, "complete_until:per_minute"), "1970-01-01T00:05:00Z");
    assert_eq!(asof(&job, "final_until:balance"), "-inf");
}

#[test]
fn the_newest_version_wins_in_any_order() {
    let seed = 0x5eed_0001;
    println!("seed {seed:#x}");
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    for round in 0..20 {
        let job = job(&format!("order{round}"));
        let mut sink = sink(&job);
        // Every version of three windows and an account, twice, in any order; version 9 of minute 2 takes it away.
        let mut writes: Vec<Row> =
            (1..=9).flat_map(|v| [row("f", 1, v), row("f", 2, v), row("f", 3, v), balance("f", v)]).collect();
        writes[33] = gone(writes[33].clone());
        writes.extend(writes.clone());
        writes.shuffle(&mut random);
        for rows in writes.chunks(5) {
            sink.write(&without_board(rows.to_vec(), 9)).unwrap();
        }
        let members = cli(&["ZRANGE", &format!("{job}:per_minute:{{f}}"), "0", "-1"]);
        assert_eq!(members.len(), 3, "{members:?}");
        assert!(members.iter().all(|member| member.contains(&v(9))), "{members:?}");
        assert!(members[1].contains(r#""state":"gone""#) && members[1].contains(r#""mean":null"#), "{members:?}");
        let account = cli(&["ZRANGE", &format!("{job}:balance:{{f}}"), "0", "-1"]);
        assert!(account.len() == 1 && account[0].contains(&v(9)), "{account:?}");
    }
}

#[test]
fn sessions_that_begin_within_a_millisecond_are_two_rows() {
    let job = job("sessions");
    let mut sink = sink(&job);
    let at = |us: i64, version| Row { start: EventTime(us), ..row("f", 1, version) };
    sink.write(&without_board(vec![at(1_000_300, 3)], 3)).unwrap();
    sink.write(&without_board(vec![gone(at(1_000_300, 4)), at(1_000_100, 4)], 4)).unwrap();
    let members = cli(&["ZRANGE", &format!("{job}:per_minute:{{f}}"), "0", "-1", "WITHSCORES"]);
    assert_eq!(members.len(), 4, "{members:?}");
    assert_eq!(members.iter().filter(|member| member.contains("gone")).count(), 1);
    assert_eq!((members[1].as_str(), members[3].as_str()), ("1000", "1000"));
}

#[test]
fn the_board_names_what_it_follows() {
    let job = job("board");
    let mut sink = sink(&job);
    let newest = |farm: &str| cli(&["HGET", &format!("{{{job}}}:latest:per_minute"), farm]).concat();
    sink.write(&cut(0, 5, vec![row("a", 1, 5), row("b", 1, 5)])).unwrap();
    sink.write(&cut(5, 7, vec![row("a", 2, 7)])).unwrap();
    assert_eq!(asof(&job, "v"), v(7));

    // The same cut again, as after a crash before the cursor moved: no change.
    sink.write(&cut(5, 7, vec![row("a", 2, 7)])).unwrap();
    assert_eq!((asof(&job, "v"), asof(&job, "lost_after")), (v(7), String::new()));

    // A longer cut from the same cursor: the board is between its ends, nothing is lost.
    sink.write(&cut(5, 9, vec![row("a", 3, 9)])).unwrap();
    assert_eq!((asof(&job, "v"), asof(&job, "lost_after")), (v(9), String::new()));
    assert!(newest("a").contains(&v(9)));

    // A delayed cut of a process that lost its place: the board stays.
    sink.write(&cut(5, 8, vec![row("a", 9, 8), row("b", 9, 8)])).unwrap();
    assert_eq!(asof(&job, "v"), v(9));
    assert!(newest("a").contains(&v(9)) && newest("b").contains(&v(5)));

    // A group without a living row leaves.
    let mut leaving = cut(9, 10, vec![gone(row("b", 1, 10))]);
    leaving.latest[0].row = None;
    sink.write(&leaving).unwrap();
    assert_eq!((asof(&job, "v"), newest("b")), (v(10), String::new()));
}

#[test]
fn a_full_board_says_so() {
    let job = job("full");
    let mut sink = RedisSink::new(Config { board_groups_max: 2, ..config(&format!("redis://{}", address())) }, context(&job));
    sink.prepare().unwrap();
    let expired = Row { expires_us: Some(now_us() - 1_000_000), ..row("b", 1, 5) };
    sink.write(&cut(0, 5, vec![row("a", 1, 5), expired])).unwrap();
    // What has expired makes room, then the room is used up.
    sink.write(&cut(5, 6, vec![row("c", 1, 6)])).unwrap();
    assert_eq!(asof(&job, "truncated:per_minute"), "");
    sink.write(&cut(6, 7, vec![row("a", 2, 7), row("d", 1, 7)])).unwrap();
    let mut groups = cli(&["HKEYS", &format!("{{{job}}}:latest:per_minute")]);
    groups.sort_unstable();
    assert_eq!(groups, ["a", "c"]);
    assert_eq!(asof(&job, "truncated:per_minute"), "2");
}

#[test]
fn keys_live_as_long_as_their_longest_row() {
    let job = job("expiry");
    let mut sink = sink(&job);
    let key = format!("{job}:per_minute:{{f}}");
    let now = now_us();
    let until_s = |minute, version, s: i64| Row { expires_us: Some(now + s * 1_000_000), ..row("f", minute, version) };
    let pexpiretime = || cli(&["PEXPIRETIME", &key]).concat().parse::<i64>().unwrap();
    let ms = |s: i64| (now + s * 1_000_000 + 999) / 1000;

    // Past its expiry and never seen: not written. The others: the longest counts, whatever the order.
    sink.write(&without_board(vec![until_s(1, 2, -5), until_s(3, 2, 300), until_s(4, 2, 200)], 2)).unwrap();
    assert_eq!(cli(&["ZCARD", &key]), ["2"]);
    assert_eq!(pexpiretime(), ms(300));
    sink.write(&without_board(vec![until_s(4, 3, 250)], 3)).unwrap();
    assert_eq!(pexpiretime(), ms(300));

    // Past its expiry over an earlier version: written, then trimmed as expired in that same call.
    sink.write(&without_board(vec![until_s(3, 4, -1)], 4)).unwrap();
    assert_eq!(cli(&["ZRANGE", &key, "0", "-1"]).len(), 1);

    // Stale: neither row nor expiry.
    sink.write(&without_board(vec![until_s(4, 2, 9_000)], 4)).unwrap();
    assert_eq!(pexpiretime(), ms(300));

    // A row that lives for ever keeps the key.
    sink.write(&without_board(vec![row("f", 5, 5)], 5)).unwrap();
    assert_eq!(pexpiretime(), -1);

    // And a key does go.
    let brief = Row { group: vec![caudal_pipeline::value::Value::Text("brief".into())], ..until_s(1, 5, 1) };
    sink.write(&without_board(vec![Row { expires_us: Some(now_us() + 300_000), ..brief }], 5)).unwrap();
    until("the expiry of the key", || cli(&["EXISTS", &format!("{job}:per_minute:{{brief}}")]) == ["0"]);
}

#[test]
fn flushed_functions_are_loaded_again() {
    let mut server = service::start(&RedisOptions::default()).unwrap();
    let url = format!("redis://{}", server.address);
    let mut sink = RedisSink::new(config(&url), context("flushed"));
    sink.prepare().unwrap();
    sink.write(&cut(0, 5, vec![row("a", 1, 5)])).unwrap();
    assert_eq!(cli_at(&url, &["FUNCTION", "FLUSH"]), ["OK"]);
    sink.write(&cut(5, 6, vec![row("a", 1, 6)])).unwrap();
    assert!(cli_at(&url, &["ZRANGE", "flushed:per_minute:{a}", "0", "-1"]).concat().contains(&v(6)));

    assert_eq!(RedisSink::warnings(&config(&url)).unwrap(), Vec::<String>::new());
    cli_at(&url, &["CONFIG", "SET", "maxmemory", "1gb", "maxmemory-policy", "allkeys-lru"]);
    assert!(RedisSink::warnings(&config(&url)).unwrap()[0].contains("allkeys-lru"));

    // Away: the same cut is refused as passing, again and again, and taken once the server is back.
    server.process.kill();
    for _ in 0..2 {
        let refused = sink.write(&cut(6, 7, vec![row("a", 1, 7)]));
        assert!(matches!(refused, Err(SinkError::Retry(_))), "{refused:?}");
    }
    assert!(matches!(sink.prepare(), Err(SinkError::Retry(_))));
    service::restart(&mut server).unwrap();
    sink.prepare().unwrap();
    sink.write(&cut(6, 7, vec![row("a", 1, 7)])).unwrap();
    assert_eq!(cli_at(&url, &["HGET", "{flushed}:asof", "v"]), [v(7)]);
}

#[test]
fn scripts_do_where_functions_are_forbidden() {
    let server = service::start(&RedisOptions { password: true, tls: false }).unwrap();
    let url = |user: &str| format!("redis://{user}:{PASSWORD}@{}", server.address);
    cli_at(&url(USER), &["ACL", "SETUSER", "scripts", "on", &format!(">{PASSWORD}"), "~*", "+@all", "-function", "-fcall"]);
    let mut sink = RedisSink::new(config(&url("scripts")), context("scripted"));
    sink.prepare().unwrap();
    sink.write(&cut(0, 5, vec![row("a", 1, 5)])).unwrap();
    assert_eq!(cli_at(&url(USER), &["SCRIPT", "FLUSH"]), ["OK"]);
    sink.write(&cut(5, 6, vec![row("a", 1, 6)])).unwrap();
    sink.write(&without_board(vec![row("a", 1, 4)], 4)).unwrap();
    assert!(cli_at(&url(USER), &["ZRANGE", "scripted:per_minute:{a}", "0", "-1"]).concat().contains(&v(6)));
    assert_eq!(cli_at(&url(USER), &["FUNCTION", "LIST"]).concat(), "");
}

#[test]
fn a_refused_login_stops_and_is_not_printed() {
    let server = service::start(&RedisOptions { password: true, tls: false }).unwrap();
    let refused = |login: &str| {
        let mut sink = RedisSink::new(config(&format!("redis://{login}{}", server.address)), context("login"));
        match sink.prepare() {
            Err(SinkError::Stop(said)) => said,
            other => panic!("{login} gave {other:?}"),
        }
    };
    for login in ["", &format!("{USER}:wrong-secret@"), &format!("{READER}:{PASSWORD}@")] {
        let said = refused(login);
        assert!(said.contains("user and password") && !said.contains("wrong-secret") && !said.contains(PASSWORD), "{said}");
    }
    let mut sink = RedisSink::new(config(&format!("redis://{USER}:{PASSWORD}@{}", server.address)), context("login"));
    sink.prepare().unwrap();
    sink.write(&cut(0, 5, vec![row("a", 1, 5)])).unwrap();
}

#[test]
fn an_encrypted_server_is_trusted_by_its_authority_alone() {
    let server = service::start(&RedisOptions { password: true, tls: true }).unwrap();
    let url = format!("rediss://{USER}:{PASSWORD}@{}", server.address);
    let secured = Config { tls_ca: Some(service::ca(&server)), ..config(&url) };
    let mut sink = RedisSink::new(secured.clone(), context("tls"));
    sink.prepare().unwrap();
    sink.write(&cut(0, 5, vec![row("a", 1, 5)])).unwrap();
    let read = Command::new("redis-cli")
        .args(["-u", &url, "--no-auth-warning", "--cacert", &service::ca(&server), "HGET", "{tls}:asof", "v"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&read.stdout).trim(), v(5));

    let mut stranger = RedisSink::new(Config { tls_ca: None, ..secured }, context("tls"));
    let Err(SinkError::Stop(said)) = stranger.prepare() else { panic!("an unknown authority must be refused") };
    assert!(said.contains("authority"), "{said}");
}

#[test]
fn a_key_of_another_type_stops_the_sink() {
    let job = job("foreign");
    let mut sink = sink(&job);
    cli(&["SET", &format!("{job}:per_minute:{{a}}"), "mine"]);
    let Err(SinkError::Stop(said)) = sink.write(&cut(0, 5, vec![row("a", 1, 5)])) else { panic!("it must stop") };
    assert!(said.contains("holds something else"), "{said}");
}
