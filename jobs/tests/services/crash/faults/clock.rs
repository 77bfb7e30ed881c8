//! The wall clock is set, forward and back. Versions are read off it, and never go back.

use super::scene::{Places, Scene, asked, ms};
use super::shim::Fault;
use crate::crash::process::readings;
use serde_json::json;
use std::time::Instant;

const MINUTE_US: i64 = 60_000_000;

#[test]
fn a_wall_clock_that_is_set_forward_and_back() {
    let (seed, long) = asked();
    let mut scene = Scene::begin("clock", Places::shared(), readings(seed));
    for minutes in [3, -1] {
        set(&mut scene, minutes);
    }
    // More than five minutes is not believed for another one.
    if long.is_some() {
        for minutes in [60, -2] {
            set(&mut scene, minutes);
        }
    }
    scene.end("setting the clock");
}

/// Sets the clock so far ahead of the right time, and waits until what has been sent by then counts.
fn set(scene: &mut Scene, minutes: i64) {
    let before = scene.shim.set(Fault::ClockUs, minutes * MINUTE_US) / MINUTE_US;
    let began = Instant::now();
    let word = if minutes > before { "forward" } else { "back" };
    let is_long = (minutes - before).abs() > 5;
    let said = is_long.then(|| scene.says(&["the wall clock has jumped by"]));
    if is_long {
        scene.says(&["the wall clock is believed again"]);
    }
    scene.caught_up();
    let said = said.unwrap_or_else(|| "nothing: it passes".to_owned());
    scene.figure(
        &format!("clock set {word} by {} min", (minutes - before).abs()),
        json!({"outcome": "survived", "said": said, "ms to recover": ms(began.elapsed())}),
    );
}
