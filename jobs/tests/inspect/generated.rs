//! `generate`: the same bytes wherever they go, and a clean end.

use super::{Head, Scratch};
use caudal_jobs::inspect::generate::To;
use caudal_jobs::inspect::{GenerateArgs, InspectError, generate};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;

const PROFILE: &str = "
name: readings
seed: 7
rate: 1000
sources: [gen-01, gen-02]
start: 2025-01-01T00:00:00Z
duplicates: 0.05
malformed: {share: 0.05, kinds: [cut, invalid_utf8]}
late: {share: 0.02, by: [1m, 2m]}
key: '{source}'
template: {event_id: '{uuid}', at: '{time}', unit: '{source}', kw: {int: [0, 900]}}
";

fn args(scratch: &Scratch, to: To) -> GenerateArgs {
    let profile = scratch.file("profile.yaml", PROFILE);
    GenerateArgs {
        profile,
        to,
        address: None,
        count: Some(500),
        path: Some(scratch.0.join("events.ndjson")),
        unpaced: true,
        topic: None,
        property: Vec::new(),
    }
}

fn run(args: &GenerateArgs) -> Vec<u8> {
    let mut out = Vec::new();
    assert_eq!(generate(args, &mut out).unwrap_or_else(|error| panic!("{error}")), 0);
    out
}

fn said(args: &GenerateArgs) -> String {
    generate(args, &mut Vec::new()).unwrap_err().to_string()
}

#[test]
fn the_same_profile_gives_the_same_bytes_everywhere() {
    let scratch = Scratch::new("same");
    let file = args(&scratch, To::File);
    run(&file);
    let first = std::fs::read(scratch.0.join("events.ndjson")).unwrap();
    run(&file);
    assert_eq!(std::fs::read(scratch.0.join("events.ndjson")).unwrap(), first, "a second time");
    assert_eq!(run(&args(&scratch, To::Stdout)), first, "to the standard output");
    let packed = GenerateArgs { path: Some(scratch.0.join("events.ndjson.gz")), ..file };
    run(&packed);
    let mut unpacked = Vec::new();
    let packed = std::fs::File::open(scratch.0.join("events.ndjson.gz")).unwrap();
    flate2::read::GzDecoder::new(packed).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, first, "compressed");
    assert_eq!(first.iter().filter(|byte| **byte == b'\n').count(), 500);
}

#[test]
fn an_endless_file_and_a_wrong_profile_are_refused() {
    let scratch = Scratch::new("refused");
    let endless = GenerateArgs { count: None, ..args(&scratch, To::File) };
    assert!(said(&endless).contains("say with --count"), "{}", said(&endless));
    let wrong = GenerateArgs { profile: scratch.file("wrong.yaml", "rate: fast\nsources: 0\ntemplate: {}\n"), ..endless };
    assert!(said(&wrong).contains("2 mistakes, nothing was sent"), "{}", said(&wrong));
    let missing = GenerateArgs { profile: PathBuf::from("/nowhere.yaml"), ..wrong };
    assert!(said(&missing).contains("cannot read the profile /nowhere.yaml"), "{}", said(&missing));
    let nowhere = GenerateArgs { address: Some("https://localhost/x".into()), ..args(&scratch, To::Http) };
    assert!(said(&nowhere).contains("is not the address of an intake"), "{}", said(&nowhere));
}

#[test]
fn a_reader_that_goes_away_ends_it() {
    let scratch = Scratch::new("head");
    let endless = GenerateArgs { count: None, ..args(&scratch, To::Stdout) };
    assert!(matches!(generate(&endless, &mut Head(10_000)), Ok(0) | Err(InspectError::Closed)));
}

/// A request's `Idempotency-Key` and body.
fn request(connection: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let (mut key, mut length, mut line) = (String::new(), 0, String::new());
    loop {
        line.clear();
        if connection.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let Some((name, value)) = line.trim_end().split_once(": ") else { if line == "\r\n" { break } else { continue } };
        match name.to_ascii_lowercase().as_str() {
            "idempotency-key" => key = value.to_owned(),
            "content-length" => length = value.parse().unwrap(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).ok()?;
    Some((key, body))
}

/// Takes one connection after another; the first request is answered 503, as by an intake that is paused.
fn intake(listener: TcpListener, enough: usize) -> Vec<(String, Vec<u8>)> {
    let (mut taken, mut refused) = (Vec::new(), false);
    let mut lines = 0;
    while lines < enough {
        let (connection, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(connection);
        while let Some((key, body)) = request(&mut reader) {
            let status = if refused { "200 OK" } else { "503 Service Unavailable" };
            if refused {
                lines += body.iter().filter(|byte| **byte == b'\n').count();
            }
            refused = true;
            taken.push((key, body));
            write!(reader.get_mut(), "HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n[]").unwrap();
        }
    }
    taken
}

#[test]
fn a_body_that_was_not_taken_is_sent_again_under_its_key() {
    let scratch = Scratch::new("http");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/v1/jobs/wind/streams/readings/events", listener.local_addr().unwrap());
    let count = 2_500;
    let server = std::thread::spawn(move || intake(listener, count));
    let http = GenerateArgs { address: Some(address), count: Some(count as u64), ..args(&scratch, To::Http) };
    run(&http);
    let taken = server.join().unwrap();
    assert_eq!(taken[0], taken[1], "the first body comes again");
    let bodies: Vec<u8> = taken[1..].iter().flat_map(|(_, body)| body.clone()).collect();
    let expected = run(&GenerateArgs { count: Some(count as u64), ..args(&scratch, To::Stdout) });
    assert!(bodies == expected, "what is posted is what is printed");
    let mut keys: Vec<&String> = taken[1..].iter().map(|(key, _)| key).collect();
    keys.dedup();
    assert_eq!(keys.len(), taken.len() - 1, "each body has a key of its own");
}
