//! Redis as anyone reads it: with redis-cli.

use crate::address;
use std::io::Write;
use std::process::{Command, Stdio};

/// Where the shared server is.
pub fn shared() -> String {
    address("CAUDAL_TEST_REDIS")
}

/// The options that lead redis-cli to the shared server.
pub fn options() -> String {
    options_for(&shared())
}

fn options_for(address: &str) -> String {
    let (host, port) = address.rsplit_once(':').expect("an address has a port");
    format!("-h {host} -p {port}")
}

/// What one command answers, line by line.
pub fn cli(arguments: &[&str]) -> Vec<String> {
    cli_at(&shared(), arguments)
}

/// The same of another server than the shared one.
pub fn cli_at(address: &str, arguments: &[&str]) -> Vec<String> {
    let options = options_for(address);
    let output = Command::new("redis-cli").args(options.split(' ')).args(arguments).output().expect("redis-cli is installed");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    lines(&output.stdout)
}

/// What several commands answer on one connection.
pub fn commands(text: &str) -> Vec<String> {
    let options = options();
    let mut child = Command::new("redis-cli")
        .args(options.split(' '))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("redis-cli is installed");
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).unwrap();
    lines(&child.wait_with_output().unwrap().stdout)
}

/// A hash as pairs.
pub fn hash(key: &str) -> Vec<(String, String)> {
    let lines = cli(&["HGETALL", key]);
    lines.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

/// One field of a hash; empty when it is not there.
pub fn field(key: &str, field: &str) -> String {
    cli(&["HGET", key, field]).into_iter().next().unwrap_or_default()
}

fn lines(output: &[u8]) -> Vec<String> {
    let text = String::from_utf8(output.to_vec()).expect("what is kept is UTF-8");
    text.lines().map(str::to_owned).filter(|line| !line.is_empty()).collect()
}
