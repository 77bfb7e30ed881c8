//! The row `process`: wind-farm, unchanged, with late, repeated, conflicting and broken readings.

use super::feed::Feed;
use super::lives::{Lives, Stage, Subject};
use super::metrics::Counts;
use super::seen::Seen;
use super::trials::Trials;
use super::{cassandra, metrics, redis};
use crate::cql::Cql;
use crate::expected::Expected;
use crate::running::{job, own_wind_farm, state};
use crate::stored::{DeadLetters, assert_cassandra, assert_redis, watermarks};
use crate::{broker, by_hand, load};
use caudal_connectors::generate::Event;
use caudal_jobs::jobfile::Job;
use caudal_pipeline::record::{Message, Partition, Verdict};
use serde_json::{Value as Json, json};

pub const KEYSPACE: &str = "caudal_tests";
/// Views that Redis keeps.
const HOT: &[&str] = &["per_minute", "per_hour", "last_seen"];
/// One reading in so many comes once more with the same id and other bytes.
const CONFLICTS: u64 = 97;

#[test]
fn killed_stopped_and_taken_over_at_any_moment_every_store_is_right() {
    let trials = Trials::asked();
    let (name, set) = own_wind_farm("crash");
    let job = job("wind-farm", &set);
    broker::make_topic(&name, 3);
    let stage = Stage::new();
    let readers = (redis::watch(&stage, &job, |_| ()), cassandra::watch(&stage, &job, KEYSPACE), metrics::watch(&stage));
    let feed = Feed::start(&name, readings(trials.seed));
    let (mut binary, told) = Lives::new(Subject { job: "wind-farm", set, state: state("crash") }, trials, &stage).run();
    metrics::until_watermark(&mut binary, "2026-03-28T23:05:00Z");
    let messages = feed.stop();
    binary.until_received(messages);
    let scrape = binary.get("/metrics").expect("the port is open").1;
    let (status, printed) = binary.terminate();
    assert_eq!(status.code(), Some(0), "{printed}");
    let (hot, cold, scrapes) = (readers.0.stop(), readers.1.stop(), readers.2.stop());

    let counts = Counts::of(&scrape).expect("it has counts");
    let rows = compared(&Cql::shared(), &job, broker::contents(&name), messages, &counts);
    let mut figures = told.figures();
    add(&mut figures, json!({"records": messages, "rows compared": rows, "scrapes that add up": scrapes}));
    add(&mut figures, looks("redis", &hot));
    add(&mut figures, looks("cassandra", &cold));
    add(&mut figures, json!({"lost": 0, "duplicated": 0, "divergent": 0}));
    println!("figures {figures}");
    assert!(hot.looks() > 20 && cold.looks() > 20 && scrapes > 20, "too tame");
}

/// A second of event time each, from ten minutes before midnight in Madrid, so that minutes, hours and a day
/// complete, and some readings are too late.
pub fn readings(seed: u64) -> impl Iterator<Item = Event> + Send {
    readings_at(seed, 1)
}

/// The same with so many in a second of event time.
pub fn readings_at(seed: u64, rate: u64) -> impl Iterator<Item = Event> + Send {
    let late = json!({"share": 0.03, "by": ["15s", "6h"]});
    let changes = json!({"seed": seed, "rate": rate, "start": "2026-03-28T22:50:00Z", "late": late});
    let events = load::generator("wind-farm", &changes).events();
    (0..).zip(events).flat_map(|(n, event)| {
        let conflict = || Event { body: [&event.body[..], b" "].concat(), ..event.clone() };
        let conflict = (n % CONFLICTS == 0).then(conflict);
        std::iter::once(event).chain(conflict)
    })
}

/// Everything in the stores is what the topic comes to, with the engine's parts and by hand; how many rows that are.
pub fn compared(cql: &Cql, job: &Job, topic: Vec<(Partition, Vec<Message>)>, sent: u64, counts: &Counts) -> usize {
    let dead_letters = DeadLetters::in_cassandra(cql, KEYSPACE, job);
    let watermarks = watermarks(job);
    let expected = Expected::of_messages(job, topic, &dead_letters, &watermarks);
    assert_eq!(expected.received(), sent, "the topic holds what was sent");
    assert_redis(job, HOT, &expected, &watermarks);
    assert_cassandra(cql, KEYSPACE, job, &expected, &watermarks);
    expected.assert_originals(&dead_letters);

    let refused = by_hand::refused(&dead_letters);
    let judged = by_hand::wind_farm::judged(&expected.messages, &refused);
    counts.assert_they_add_up();
    assert_eq!((counts.received, counts.rejected), (sent, refused.len() as u64), "received, and dead letters");
    by_hand::assert_counts(&judged, &refused, |verdict| match verdict {
        Verdict::Accepted => counts.accepted,
        Verdict::Filtered => counts.filtered,
        _ => counts.duplicate,
    });
    let rows = by_hand::wind_farm::rows(&judged.counted);
    by_hand::assert_stores(cql, KEYSPACE, job, HOT, &rows, by_hand::watermark(job, "per_minute"));
    for reason in ["conflict", "schema", "malformed", "too_late"] {
        assert!(refused.values().any(|other| *other == reason), "the load has {reason}");
    }
    rows.len()
}

/// What a reader has seen.
pub fn looks(store: &str, seen: &Seen) -> Json {
    json!({store: {"looks": seen.looks(), "rows read": seen.rows(), "versions seen": seen.versions()}})
}

/// Figures beside figures.
pub fn add(figures: &mut Json, more: Json) {
    let (Json::Object(figures), Json::Object(more)) = (figures, more) else { panic!("figures are objects") };
    figures.extend(more);
}
