//! A server that hangs, one that is loading, and connections of which the other end is gone: waited for, never for long at once.

use super::{cli_at, config, service, v};
use crate::cuts::{context, cut, row};
use caudal_connectors::redis::RedisSink;
use caudal_pipeline::ports::sink::{Sink, SinkError};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use xtask::services::process::signal;
use xtask::services::redis::RedisOptions;

/// A server that was stopped keeps its connections and takes new ones: only silence tells.
#[test]
fn a_server_that_hangs_is_given_up_and_written_to_when_it_goes_on() {
    let server = service::start(&RedisOptions::default()).unwrap();
    let url = format!("redis://{}", server.address);
    let mut sink = RedisSink::new(config(&url), context("hangs"));
    sink.prepare().unwrap();
    sink.write(&cut(0, 5, vec![row("a", 1, 5)])).unwrap();
    signal(server.process.id(), "-STOP").unwrap();
    // What it was sent before may be carried out once it goes on; the same again changes nothing.
    given_up_and_written_again(&mut sink, &url, "hangs", || signal(server.process.id(), "-CONT").unwrap());
}

/// A write that nobody answers ends in time, and is made again when someone does.
fn given_up_and_written_again(sink: &mut RedisSink, url: &str, job: &str, mend: impl FnOnce()) {
    let rows = || (0..200).map(|minute| row("a", minute, 6)).collect::<Vec<_>>();
    let began = Instant::now();
    let refused = sink.write(&cut(5, 6, rows()));
    let Err(SinkError::Retry(said)) = refused else { panic!("{refused:?}") };
    assert!(said.contains("no answer in time"), "{said}");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    mend();
    sink.prepare().unwrap();
    sink.write(&cut(5, 6, rows())).unwrap();
    assert_eq!(cli_at(url, &["ZCARD", &format!("{job}:per_minute:{{a}}")]), ["200"]);
    assert_eq!(cli_at(url, &["HGET", &format!("{{{job}}}:asof"), "v"]), [v(6)]);
}

/// What lies between this machine and a server. A router that forgets a connection, or a server that lost its power and is back,
/// leaves this end open with nobody behind it: a process on this machine cannot be made to, since its system tells its peers.
struct Wire {
    address: SocketAddr,
    /// Of each connection, whether it is lost: nothing passes any more, and neither end is told.
    connections: Arc<Mutex<Vec<Arc<AtomicBool>>>>,
}

impl Wire {
    fn to(server: &str) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, connections, server) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<_>>>::default(), server.to_owned());
        let all = connections.clone();
        // It ends with the tests.
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let (far, lost) = (TcpStream::connect(&server).unwrap(), Arc::new(AtomicBool::new(false)));
                all.lock().unwrap().push(lost.clone());
                let (to_near, to_far) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                let of_back = lost.clone();
                std::thread::spawn(move || pass(near, to_far, &lost));
                std::thread::spawn(move || pass(far, to_near, &of_back));
            }
        });
        Wire { address, connections }
    }

    /// All connections that there are now lead nowhere; new ones are well. Returns how many.
    fn lose(&self) -> usize {
        let now: Vec<_> = self.connections.lock().unwrap().drain(..).collect();
        now.iter().for_each(|lost| lost.store(true, Ordering::SeqCst));
        now.len()
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, lost: &AtomicBool) {
    let mut bytes = [0; 1 << 16];
    while let Ok(n @ 1..) = from.read(&mut bytes) {
        if !lost.load(Ordering::SeqCst) && to.write_all(&bytes[..n]).is_err() {
            return;
        }
    }
    if lost.load(Ordering::SeqCst) {
        // Nobody hears that this end has closed.
        std::mem::forget((from, to));
    } else {
        let _ = to.shutdown(std::net::Shutdown::Both);
    }
}

/// Unlike a server that hangs, it answers whoever asks anew.
#[test]
fn a_connection_with_nobody_behind_it_is_given_up_and_made_anew() {
    let server = service::start(&RedisOptions::default()).unwrap();
    let (direct, wire) = (format!("redis://{}", server.address), Wire::to(&server.address));
    let mut sink = RedisSink::new(config(&format!("redis://{}", wire.address)), context("half-open"));
    sink.prepare().unwrap();
    sink.write(&cut(0, 5, vec![row("a", 1, 5)])).unwrap();
    assert!(wire.lose() > 0);
    given_up_and_written_again(&mut sink, &direct, "half-open", || {
        assert_eq!(cli_at(&direct, &["HGET", "{half-open}:asof", "v"]), [v(5)], "nothing came through");
    });
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
