//! Faults of the disk that the state lies on, one after another in one job's life.

use super::scene::{Places, Scene, asked, lasts, ms};
use super::shim::Fault;
use crate::crash::process::readings;
use serde_json::json;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

/// What is left when the disk is nearly full: some epochs.
const SPACE: i64 = 64 << 10;
/// A slow disk's fsync takes so much longer.
const SLOW: Duration = Duration::from_millis(250);

#[test]
fn a_disk_that_is_full_read_only_broken_or_slow() {
    let (seed, long) = asked();
    let time = long.map_or(Duration::from_secs(3), |_| Duration::from_secs(30));
    let mut scene = Scene::begin("disk", Places::shared(), readings(seed));
    full(&mut scene, time);
    full_and_asked_to_end(&mut scene);
    read_only(&mut scene);
    fsync_fails(&mut scene, "file", 1);
    fsync_fails(&mut scene, "folder", 2);
    slow(&mut scene, time);
    log_slot_taken(&mut scene);
    scene.end("faults of the disk");
}

fn fill(scene: &mut Scene) -> String {
    scene.shim.set(Fault::Space, SPACE);
    scene.shim.set(Fault::Full, 1);
    scene.until("reading stops", |binary| (binary.metric("caudal_intake_paused", r#"reason="disk_full""#)? == 1.0).then_some(()));
    scene.says(&["No space left", "reading stops until there is space"])
}

/// Reading stops, and goes on by itself once there is space.
fn full(scene: &mut Scene, time: Duration) {
    let said = fill(scene);
    lasts(scene, time);
    let paused = scene.binary.metric("caudal_intake_paused", r#"reason="disk_full""#);
    assert_eq!(paused, Some(1.0), "nothing is read that could not be kept");
    scene.shim.set(Fault::Full, 0);
    let recovered = scene.caught_up();
    scene.figure("disk full", json!({"outcome": "survived", "said": said, "ms to recover": ms(recovered)}));
}

/// Asked to end meanwhile, it ends in order in the space that was set aside for that.
fn full_and_asked_to_end(scene: &mut Scene) {
    fill(scene);
    scene.binary.signal();
    let began = std::time::Instant::now();
    let status = scene.binary.ended();
    let took = began.elapsed();
    assert_eq!(status.code(), Some(0), "{}", scene.binary.printed());
    // What it deleted at its end may have made room for the next one.
    scene.shim.set(Fault::Space, 0);
    scene.start();
    let said = scene.ends(1, &["no space left", "free some"]);
    scene.shim.set(Fault::Full, 0);
    let recovered = scene.start_again();
    scene.figure(
        "disk full, asked to end",
        json!({"outcome": "ended in order, exit code 0", "ms to end": ms(took),
               "a start meanwhile": format!("exit code 1: {said}"), "ms to recover": ms(recovered)}),
    );
}

fn read_only(scene: &mut Scene) {
    scene.shim.set(Fault::ReadOnly, 1);
    let said = scene.ends(1, &["Read-only file system"]);
    scene.start();
    let at_start = scene.ends(3, &["not allowed to", "check owner and mode of the state folder"]);
    scene.shim.set(Fault::ReadOnly, 0);
    let recovered = scene.start_again();
    scene.figure(
        "state folder read-only",
        json!({"outcome": format!("stopped, exit code 1: {said}"),
               "a start meanwhile": format!("exit code 3: {at_start}"), "ms to recover": ms(recovered)}),
    );
}

/// After a failed fsync nobody knows what the disk holds: only a new start reads it again.
fn fsync_fails(scene: &mut Scene, of: &str, kind: i64) {
    scene.shim.set(Fault::SyncFails, kind);
    let said = scene.ends(1, &["Input/output error"]);
    scene.shim.set(Fault::SyncFails, 0);
    let recovered = scene.start_again();
    let figures = json!({"outcome": format!("stopped, exit code 1: {said}"), "ms to recover": ms(recovered)});
    scene.figure(&format!("fsync of a {of} fails"), figures);
}

fn slow(scene: &mut Scene, time: Duration) {
    scene.shim.set(Fault::SyncDelayUs, SLOW.as_micros() as i64);
    let before = scene.stage.now().counts.received;
    lasts(scene, time);
    let stage = scene.stage.clone();
    scene.until("it goes on", |_| (stage.now().counts.received > before).then_some(()));
    scene.shim.set(Fault::SyncDelayUs, 0);
    let recovered = scene.caught_up();
    let what = format!("an fsync takes {} ms longer", SLOW.as_millis());
    scene.figure("slow disk", json!({"outcome": "survived", "what": what, "ms to recover": ms(recovered)}));
}

/// A file that none of our processes wrote lies where the next record of the log would.
fn log_slot_taken(scene: &mut Scene) {
    let foreign = take_a_slot(scene);
    let said = scene.ends(3, &["log record", "another process"]);
    scene.start();
    let at_start = scene.ends(3, &["log record", "is damaged"]);
    std::fs::remove_file(foreign).unwrap();
    let recovered = scene.start_again();
    scene.figure(
        "log slot taken",
        json!({"outcome": format!("stopped, exit code 3: {said}"),
               "a start meanwhile": format!("exit code 3: {at_start}"), "ms to recover": ms(recovered)}),
    );
}

fn take_a_slot(scene: &mut Scene) -> PathBuf {
    let log = scene.job_state().join("blobs/log");
    scene.until("a slot is free", |_| {
        let slots = std::fs::read_dir(&log).unwrap().flatten();
        let newest = slots.filter_map(|slot| slot.file_name().to_str()?.parse::<u64>().ok()).max()?;
        let path = log.join(format!("{:020}", newest + 3));
        let mut file = OpenOptions::new().write(true).create_new(true).open(&path).ok()?;
        file.write_all(b"not of the log").unwrap();
        Some(path)
    })
}
