//! All producers fall silent: the last window completes all the same, with time.

use crate::cql::Cql;
use crate::expected::Expected;
use crate::running::{Running, job, own_wind_farm, state};
use crate::stored::{DeadLetters, assert_cassandra, assert_redis, watermarks};
use crate::{broker, load};
use caudal_pipeline::time::EventTime;
use serde_json::json;

#[test]
fn the_last_window_completes_though_nothing_more_comes() {
    let (name, mut set) = own_wind_farm("silence");
    set.extend([
        "streams.readings.watermark.idle_after=1s".to_owned(),
        "streams.readings.watermark.max_delay=1s".to_owned(),
        "views.per_minute.window.tumbling=2s".to_owned(),
        "limits.memory=8GiB".to_owned(),
        "sinks.cold.keep={views: [per_minute, last_seen], dead_letters: all}".to_owned(),
    ]);
    let job = job("wind-farm", &set);
    broker::make_topic(&name, 3);
    let events = load::events("wind-farm", &json!({"count": 2_000, "start": "2026-03-21T10:00:00Z"}));
    broker::produce(&name, &events);
    let running = Running::start(&job, &state("silence"), 2);
    let newest = events.iter().map(|event| event.event_time_us).max().expect("there are events");
    let end = EventTime((newest / 2_000_000 + 1) * 2_000_000);
    running.until("the board says that the last window is complete", |_| (watermarks(&job)[0] >= end).then_some(()));
    let status = running.drain();

    let cql = Cql::shared();
    let dead_letters = DeadLetters::in_cassandra(&cql, "caudal_tests", &job);
    let expected = Expected::of(&job, &[&name], &dead_letters, &status.watermarks);
    expected.assert_counts(&status, &dead_letters);
    assert_redis(&job, &["per_minute", "per_hour", "last_seen"], &expected, &status.watermarks);
    assert_cassandra(&cql, "caudal_tests", &job, &expected, &status.watermarks);
    let latest = cql.rows(&format!("SELECT window_end FROM caudal_tests.{}_per_minute_latest", name.replace('-', "_")));
    assert!(latest.iter().any(|row| row["window_end"] == end.to_string()), "{end} in {latest:?}");
}
