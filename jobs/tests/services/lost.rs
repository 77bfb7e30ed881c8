//! A Redis that loses writes while a job writes: in the end it holds every row with its version, and the board too.
//!
//! The job keeps the same views in the embedded store, which loses nothing: row by row, both must be equal.

use crate::running::{Running, state};
use caudal_connectors::embedded::read::Store;
use caudal_jobs::jobfile::Job;
use caudal_jobs::load;
use caudal_jobs::run::{STORE_FILE, SinkState, SinkStatus};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use xtask::services::process::signal;
use xtask::services::redis::{self as service, PASSWORD, RedisOptions, USER};
use xtask::services::redis_group::{self as group, NAME};

/// By view, group and start: the version first, then state and columns.
type Rows = BTreeMap<(String, String, String), (String, Map<String, Json>)>;

/// The views and their group fields.
const VIEWS: [(&str, &str); 3] = [("per_second", "unit"), ("by_number", "n"), ("sessions", "n")];

/// A job of the test's own, with this Redis, and its state.
pub fn job(test: &str, redis: &[String]) -> (Arc<Job>, PathBuf) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/lost/job.yaml");
    let set = [format!("sinks.hot.redis={{{}}}", redis.join(", "))];
    let job = load::job(&file, &set).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    (Arc::new(job), state(test))
}

pub fn hot(running: &Running) -> SinkStatus {
    running.shared().sinks().get("hot").cloned().unwrap_or_default()
}

/// Waits until so many rows more than now are written.
pub fn until_more(running: &Running, rows: u64) {
    let before = hot(running).rows;
    running.until("rows are written", |running| (hot(running).rows >= before + rows).then_some(()));
}

/// Waits until a loss has been found, after so many others, and everything is written again.
pub fn until_restored(running: &Running, losses: u64, asof: impl Fn() -> BTreeMap<String, String>) {
    running.until("the loss is found", |running| (hot(running).losses > losses).then_some(()));
    running.until("everything is written again", |running| {
        let asof = asof();
        let whole = asof.contains_key("v") && !asof.contains_key("lost_after");
        (hot(running).state == SinkState::Ok && whole).then_some(())
    });
}

/// What several commands answer on one connection, line by line.
pub fn commands(options: &[&str], text: &str) -> Vec<String> {
    let mut child = Command::new("redis-cli");
    let child = child.args(options).args(["--raw", "--no-auth-warning"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = child.stderr(Stdio::null()).spawn().expect("redis-cli is installed");
    let mut input = child.stdin.take().expect("a pipe");
    let text = text.to_owned();
    let writer = std::thread::spawn(move || drop(input.write_all(text.as_bytes())));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

pub fn asof(options: &[&str], job: &str) -> BTreeMap<String, String> {
    let lines = commands(options, &format!("HGETALL {{{job}}}:asof\n"));
    lines.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

/// All rows by group on some servers.
fn in_redis(servers: &[Vec<&str>]) -> Rows {
    let mut rows = Rows::new();
    for options in servers {
        let keys: Vec<String> = commands(options, "KEYS lost:*:{*}\n").into_iter().filter(|key| !key.contains("::")).collect();
        let read: String = keys.iter().map(|key| format!("ECHO =\nZRANGE {key} 0 -1\n")).collect();
        let answers = commands(options, &read);
        for (key, members) in keys.iter().zip(answers.split(|line| line == "=").skip(1)) {
            let mut parts = key.splitn(3, ':').skip(1);
            let view = parts.next().unwrap().to_owned();
            let group = parts.next().unwrap().trim_matches(['{', '}']).to_owned();
            for member in members {
                let mut columns: Map<String, Json> = serde_json::from_str(member).unwrap();
                let start = columns.remove("start").unwrap().to_string();
                let v = columns.remove("v").unwrap().as_str().unwrap().trim_start_matches('0').to_owned();
                let before = rows.insert((view.clone(), group.clone(), start), (v, columns));
                assert_eq!(before, None, "{key}: one member a window");
            }
        }
    }
    rows
}

fn in_store(folder: &Path) -> Rows {
    let store = Store::open(&folder.join(STORE_FILE)).unwrap();
    let mut rows = Rows::new();
    for (view, field) in VIEWS {
        for mut columns in store.all_rows(view).unwrap() {
            let group = columns.remove(field).unwrap();
            let group = group.as_str().map_or_else(|| group.to_string(), str::to_owned);
            let (start, end) = (columns.remove("window_start").unwrap_or_default(), columns.remove("window_end"));
            let version = columns.remove("version").unwrap().to_string();
            columns.insert("end".to_owned(), end.unwrap_or_default());
            rows.insert((view.to_owned(), group, start.to_string()), (version, columns));
        }
    }
    rows
}

/// Ends the job; then both stores hold the same, which are so many rows.
pub fn assert_same(running: Running, folder: &Path, servers: &[Vec<&str>], board: &[&str]) -> usize {
    let losses = hot(&running).losses;
    running.drain();
    let (expected, found) = (in_store(folder), in_redis(servers));
    let differing = expected.iter().filter(|(key, row)| found.get(*key) != Some(*row));
    for (key, row) in differing.clone().take(3) {
        println!("{key:?}\n  expected {row:?}\n  found    {:?}", found.get(key));
    }
    assert_eq!((differing.count(), found.len()), (0, expected.len()), "of {} rows", expected.len());
    println!("{} rows, {losses} losses", expected.len());

    let mut newest: BTreeMap<(&str, &str), (&str, &str)> = BTreeMap::new();
    let time = |start: &str| start.trim_matches('"').parse::<jiff::Timestamp>().ok();
    for ((view, group, start), (version, _)) in expected.iter().filter(|(_, row)| row.1["state"] != "gone") {
        let known = newest.entry((view, group)).or_insert((start, version));
        if time(start) > time(known.0) {
            *known = (start, version);
        }
    }
    for (view, _) in VIEWS {
        let fields = commands(board, &format!("HGETALL {{lost}}:latest:{view}\n"));
        assert_eq!(fields.len() / 2, newest.keys().filter(|(of, _)| *of == view).count(), "{view}");
        for pair in fields.chunks_exact(2) {
            let row: Map<String, Json> = serde_json::from_str(&pair[1]).unwrap();
            let shown = (row["start"].to_string(), row["v"].as_str().unwrap().trim_start_matches('0').to_owned());
            let (start, version) = newest[&(view, pair[0].as_str())];
            assert_eq!((shown.0.as_str(), shown.1.as_str()), (start, version), "{view} {}", pair[0]);
        }
    }
    expected.len()
}

#[test]
fn an_emptied_redis_and_one_that_restarts_from_nothing() {
    let mut server = service::start(&RedisOptions::default()).unwrap();
    let port = server.address.rsplit_once(':').unwrap().1.to_owned();
    let options = vec!["-p", port.as_str()];
    let (job, folder) = job("lost", &[format!("url: 'redis://{}'", server.address)]);
    let running = Running::start(&job, &folder, 2);
    until_more(&running, 2_000);
    assert_eq!(commands(&options, "FLUSHALL\n"), ["OK"]);
    until_restored(&running, 0, || asof(&options, "lost"));
    until_more(&running, 500);
    // From now on it writes nothing down: all that is left after a restart is the moment before.
    assert_eq!(commands(&options, "CONFIG SET appendonly no\n"), ["OK"]);
    until_more(&running, 500);
    server.process.kill();
    std::fs::remove_dir_all(server.folder.path().join("appendonlydir")).unwrap();
    service::restart(&mut server).unwrap();
    until_restored(&running, 1, || asof(&options, "lost"));
    until_more(&running, 500);
    assert_same(running, &folder, std::slice::from_ref(&options), &options);
}

/// Ends a primary after some writes that its replica never sees.
pub fn kill_with_unsent_writes(
    running: &Running,
    primary: &mut xtask::services::Running,
    replica: &xtask::services::Running,
    options: &[&str],
) {
    signal(replica.process.id(), "-STOP").unwrap();
    // What is on its way to the replica waits there; what comes from now on has nowhere to go.
    commands(options, "CLIENT KILL TYPE replica\n");
    until_more(running, 300);
    primary.process.kill();
    signal(replica.process.id(), "-CONT").unwrap();
}

/// A line for the row `faults`.
fn tell(fault: &str, recovered: Duration, rows: usize) {
    let figures = json!({"outcome": "survived", "ms to recover": recovered.as_millis() as u64, "rows compared": rows});
    println!("figures {}", json!({fault: figures}));
}

#[test]
fn a_fail_over_by_sentinels_with_tls_and_password() {
    let secured = RedisOptions { password: true, tls: true };
    let mut servers = group::start_watched(&secured).unwrap();
    let url = |address: &str| format!("rediss://{USER}:{PASSWORD}@{address}");
    let sentinels: Vec<String> = servers.sentinels.iter().map(|sentinel| url(&sentinel.address)).collect();
    let redis = [
        format!("url: '{}'", url(NAME)),
        format!("sentinels: ['{}']", sentinels.join("', '")),
        format!("tls_ca: '{}'", service::ca(&servers.primary)),
    ];
    let (job, folder) = job("sentinel", &redis);
    let running = Running::start(&job, &folder, 2);
    until_more(&running, 2_000);
    let options = group::cli(&secured, &servers.primary);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    kill_with_unsent_writes(&running, &mut servers.primary, &servers.replica, &options);
    let began = Instant::now();
    let options = group::cli(&secured, &servers.replica);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    until_restored(&running, 0, || asof(&options, "lost"));
    let recovered = began.elapsed();
    until_more(&running, 500);
    let rows = assert_same(running, &folder, std::slice::from_ref(&options), &options);
    tell("redis primary killed (Sentinel)", recovered, rows);
}

#[test]
fn a_cluster_with_tls_and_password_that_moves_slots_and_loses_a_primary() {
    let secured = RedisOptions { password: true, tls: true };
    let mut servers = group::start_cluster(&secured).unwrap();
    let seeds: Vec<String> = servers[..3].iter().map(|server| format!("rediss://{USER}:{PASSWORD}@{}", server.address)).collect();
    let redis = [format!("cluster: ['{}']", seeds.join("', '")), format!("tls_ca: '{}'", service::ca(&servers[0]))];
    let (job, folder) = job("cluster", &redis);
    let running = Running::start(&job, &folder, 2);
    until_more(&running, 2_000);

    // Functions that are gone are loaded again where they are missing.
    for server in &servers[..3] {
        assert_eq!(group::ask(&secured, server, &["FUNCTION", "FLUSH"]).unwrap().trim(), "OK");
    }
    until_more(&running, 1_000);
    assert_eq!((hot(&running).state, hot(&running).retries), (SinkState::Ok, 0), "functions are loaded");

    // A slot on its way: its keys are asked for where it goes, until the map says so.
    let ask = |server: usize, command: &[&str]| group::ask(&secured, &servers[server], command).unwrap().trim().to_owned();
    let slot = ask(0, &["CLUSTER", "KEYSLOT", "{5}"]);
    let owner = (0..3).find(|n| !ask(*n, &["CLUSTER", "GETKEYSINSLOT", &slot, "1"]).is_empty()).expect("a primary has it");
    let next = (owner + 1) % 3;
    let ids: Vec<String> = (0..3).map(|n| ask(n, &["CLUSTER", "MYID"])).collect();
    ask(next, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &ids[owner]]);
    ask(owner, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &ids[next]]);
    // A key that goes, if only to be written anew, is never written here again.
    until_more(&running, 2_000);
    assert_eq!((hot(&running).state, hot(&running).retries), (SinkState::Ok, 0), "keys that are there are written there");
    let port = servers[next].address.rsplit_once(':').unwrap().1;
    let keys = ask(owner, &["CLUSTER", "GETKEYSINSLOT", &slot, "100"]);
    let migrate = ["MIGRATE", "127.0.0.1", port, "", "0", "5000", "AUTH2", USER, PASSWORD, "KEYS"];
    ask(owner, &migrate.into_iter().chain(keys.lines()).collect::<Vec<_>>());
    let count = |server| ask(server, &["CLUSTER", "COUNTKEYSINSLOT", &slot]).parse::<usize>().unwrap();
    assert_eq!(count(owner), 0, "all have gone");
    assert!(count(next) >= keys.lines().count());
    until_more(&running, 1_000);
    for server in [next, owner] {
        ask(server, &["CLUSTER", "SETSLOT", &slot, "NODE", &ids[next]]);
    }
    until_more(&running, 1_000);
    assert_eq!((hot(&running).state, hot(&running).retries), (SinkState::Ok, 0), "it goes where it is sent");

    // One that does not hold the board: what it loses shows on its own mark alone.
    let board = ask(0, &["CLUSTER", "KEYSLOT", "{lost}"]).parse::<u32>().unwrap() / 5_461;
    let lost = if board == 0 { 1 } else { 0 };
    let losses = hot(&running).losses;
    let options: Vec<Vec<String>> = servers.iter().map(|server| group::cli(&secured, server)).collect();
    let options: Vec<Vec<&str>> = options.iter().map(|options| options.iter().map(String::as_str).collect()).collect();
    let (primaries, replicas) = servers.split_at_mut(3);
    kill_with_unsent_writes(&running, &mut primaries[lost], &replicas[lost], &options[lost]);
    let began = Instant::now();
    let board = &options[board as usize];
    until_restored(&running, losses, || asof(board, "lost"));
    let recovered = began.elapsed();
    until_more(&running, 500);
    let mut now: Vec<Vec<&str>> = options[..3].to_vec();
    now[lost] = options[3 + lost].clone();
    let rows = assert_same(running, &folder, &now, board);
    tell("redis primary killed (Cluster)", recovered, rows);
}
