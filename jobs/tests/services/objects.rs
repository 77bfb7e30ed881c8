//! State in object storage: the binary killed, taken over, and left without its storage for a while.

use crate::binary::Binary;
use crate::process::ends_right;
use crate::running::{own_wind_farm, state};
use crate::{address, broker, load, redis};
use serde_json::json;
use xtask::services::object_storage;

#[test]
fn killed_on_object_storage_taken_over_and_still_right() {
    let (name, set) = own_wind_farm("objects");
    let (folder, server) = (state("objects"), address("CAUDAL_TEST_S3"));
    broker::make_topic(&name, 3);
    let events = load::events("wind-farm", &json!({"count": 9_000, "rate": 0.1, "start": "2026-03-20T20:00:00Z"}));
    let pieces: Vec<_> = events.chunks(events.len().div_ceil(3)).collect();
    let moment = || redis::field(&format!("{{{name}}}:asof"), "v");
    for (piece, workers) in pieces.iter().zip([2, 3]) {
        let before = moment();
        let mut binary = Binary::on_objects(&folder, &server, workers, &set);
        let half = piece.len() / 2;
        broker::produce(&name, &piece[..half]);
        binary.until("the board moves", |_| (moment() > before).then_some(()));
        broker::produce(&name, &piece[half..]);
        let now = moment();
        binary.until("the board moves on", |_| (moment() > now).then_some(()));
        binary.kill();
    }
    let mut older = Binary::on_objects(&folder, &server, 1, &set);
    let before = moment();
    broker::produce(&name, pieces[2]);
    older.until("the board moves", |_| (moment() > before).then_some(()));
    let newer = Binary::on_objects(&folder, &server, 2, &set);
    assert_eq!(older.ended().code(), Some(3), "{}", older.printed());
    assert!(older.printed().contains("generation 4 has taken over this state"), "{}", older.printed());
    ends_right(newer, &name, &set, &events);
}

#[test]
fn storage_that_is_away_for_a_while_is_waited_for() {
    let (name, set) = own_wind_farm("objects-away");
    let folder = state("objects-away");
    let mut server = object_storage::start().unwrap();
    broker::make_topic(&name, 3);
    let events = load::events("wind-farm", &json!({"count": 3_000, "rate": 0.1, "start": "2026-03-20T20:00:00Z"}));
    let (before, after) = events.split_at(events.len() / 2);
    let mut binary = Binary::on_objects(&folder, &server.address, 2, &set);
    broker::produce(&name, before);
    binary.until("the board moves", |_| (!redis::field(&format!("{{{name}}}:asof"), "v").is_empty()).then_some(()));
    server.process.kill();
    broker::produce(&name, after);
    binary.until("it says what it waits for", |binary| binary.printed().contains("storage of the state fails").then_some(()));
    object_storage::restart(&mut server).unwrap();
    ends_right(binary, &name, &set, &events);
}
