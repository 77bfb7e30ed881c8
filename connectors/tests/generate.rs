//! The generator's promises: a pure function of (profile, source, index), and shares that hold.

use caudal_connectors::generate::{Class, Event, Generator, Pace, Profile, Source};
use caudal_pipeline::ports::source::Source as _;
use caudal_pipeline::record::{Offset, PartitionIndex};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

fn wind() -> Json {
    json!({
        "seed": 42, "rate": 200, "count": 100_000, "sources": ["gen-01", "gen-02", "gen-03", "gen-04"],
        "start": "2025-03-30T00:00:00Z",
        "bursts": {"every": "1m", "length": "5s", "factor": 6},
        "duplicates": 0.02,
        "disorder": {"share": 0.1, "max_delay": "5s"},
        "late": {"share": 0.03, "by": ["1m", "10m"]},
        "malformed": {"share": 0.04, "kinds": ["cut", "invalid_utf8", {"wrong_type": "/power/active"}, {"missing_field": "/at"},
            {"out_of_range": {"at": "/power/active", "value": 1e9}}, {"unknown_type": "/kind"}]},
        "silent": [{"source": "gen-03", "from": "10s", "for": "20s"}],
        "values": {"region": {"choice": {"north": 3, "south": 1}}},
        "key": "{region}/{source}",
        "template": {
            "event_id": "{uuid}", "kind": "reading", "at": "{time}", "at_ms": "{time: unix_ms}",
            "unit": "{source}", "region": "{region}", "note": "n° {index} \"{{{region}}}\" {int: [1, 3]}",
            "power": {"active": {"decimal": {"mean": 800, "deviation": 100, "digits": 1, "min": 0, "daily": {"height": 300, "top": "14h"}, "per_source": 20}}},
            "wind": {"walk": {"min": 0, "max": 25, "noise": 0.4, "digits": 2, "period": "5m"}},
            "blades": [{"int": [0, 360]}, {"by_source": ["a", "b"]}],
        },
    })
}

fn generator(profile: &Json) -> Generator {
    Generator::new(Profile::parse(profile).unwrap_or_else(|e| panic!("{e:?}")), 0)
}

fn count(events: &[Event], class: &str) -> f64 {
    events.iter().filter(|e| e.class.name() == class).count() as f64
}

#[test]
fn any_event_is_the_same_alone_and_in_its_place() {
    let generator = generator(&wind());
    let again = self::generator(&wind());
    for event in generator.events().step_by(97).take(400) {
        assert_eq!(again.event(event.source, event.index), event);
    }
}

#[test]
fn the_shares_hold() {
    let events: Vec<Event> = generator(&wind()).events().collect();
    // A silent source swallows its quarter of the events of twenty seconds.
    assert!(events.len() < 100_000 && events.len() > 98_500, "{}", events.len());
    let total = events.len() as f64;
    for (class, share) in [("duplicate", 0.02), ("malformed", 0.04), ("late", 0.03)] {
        let found = count(&events, class) / total;
        assert!((found - share).abs() < 0.003, "{class}: {found} instead of {share}");
    }
    let behind = events.iter().filter(|e| e.class == Class::Valid && e.event_time_us < e.due_us).count() as f64 / total;
    assert!((behind - 0.1 * 0.91).abs() < 0.005, "{behind}");
    for event in &events {
        let delay = event.due_us - event.event_time_us;
        match event.class {
            Class::Valid => assert!((0..=5_000_000).contains(&delay)),
            Class::Late(by) => assert!(by == delay && (60_000_000..=600_000_000).contains(&by)),
            Class::Malformed(_) => assert_eq!(delay, 0),
            Class::DuplicateOf(_) => {}
        }
    }
}

#[test]
fn events_come_in_the_order_in_which_they_are_due_and_silence_is_kept() {
    let generator = generator(&wind());
    let events: Vec<Event> = generator.events().collect();
    assert!(events.is_sorted_by_key(|e| e.due_us));
    let start = generator.start_us();
    let third = |e: &&Event| e.source == 2;
    let within = |e: &Event| (10_000_000..30_000_000).contains(&(e.due_us - start));
    assert!(events.iter().filter(third).all(|e| !within(e)));
    assert!(events.iter().any(|e| e.source == 1 && within(e)));
    assert!(events.iter().filter(third).any(|e| e.due_us - start >= 30_000_000));
}

#[test]
fn a_burst_holds_as_many_events_as_it_says() {
    let generator = generator(&wind());
    let start = generator.start_us();
    let mut seconds = BTreeMap::<i64, usize>::new();
    for event in generator.events().take(40_000) {
        *seconds.entry((event.due_us - start) / 1_000_000).or_default() += 1;
    }
    assert_eq!((seconds[&0], seconds[&4], seconds[&5], seconds[&59], seconds[&60]), (1200, 1200, 200, 200, 1200));
}

#[test]
fn a_duplicate_is_an_earlier_right_message_byte_for_byte() {
    let generator = generator(&wind());
    let mut seen = 0;
    for event in generator.events().take(20_000) {
        let Class::DuplicateOf(original) = event.class else { continue };
        assert!(original < event.index);
        let first = generator.event(event.source, original);
        assert_eq!((&first.body, &first.key, &first.class), (&event.body, &event.key, &Class::Valid));
        seen += 1;
    }
    assert!(seen > 300, "{seen}");
}

#[test]
fn right_events_are_json_and_wrong_ones_are_wrong_as_told() {
    let generator = generator(&wind());
    let mut faults = BTreeMap::<&str, usize>::new();
    for event in generator.events().take(20_000) {
        let parsed = serde_json::from_slice::<Json>(&event.body);
        match event.class {
            Class::Valid | Class::Late(_) | Class::DuplicateOf(_) => {
                let body = parsed.unwrap();
                let time: jiff::Timestamp = body["at"].as_str().unwrap().parse().unwrap();
                assert_eq!(time.as_millisecond(), event.event_time_us.div_euclid(1000));
                assert_eq!(body["at_ms"].as_i64(), Some(event.event_time_us.div_euclid(1000)));
                let (region, unit) = (body["region"].as_str().unwrap(), body["unit"].as_str().unwrap());
                assert_eq!(event.key, format!("{region}/{unit}").into_bytes());
                assert!(body["note"].as_str().unwrap().contains(&format!("\"{{{region}}}\"")), "{body}");
                assert!(body["power"]["active"].as_f64().unwrap() >= 0.0);
                assert!((0.0..=25.0).contains(&body["wind"].as_f64().unwrap()));
                assert_eq!(body["blades"][1], ["a", "b"][event.source % 2]);
            }
            Class::Malformed(name) => {
                *faults.entry(name).or_default() += 1;
                match name {
                    "cut" => assert!(parsed.is_err()),
                    "invalid_utf8" => assert!(std::str::from_utf8(&event.body).is_err()),
                    "wrong_type" => assert!(parsed.unwrap()["power"]["active"].is_string()),
                    "missing_field" => assert!(parsed.unwrap().get("at").is_none()),
                    "out_of_range" => assert_eq!(parsed.unwrap()["power"]["active"].as_f64(), Some(1e9)),
                    "unknown_type" => assert_eq!(parsed.unwrap()["kind"], "unknown.type"),
                    other => panic!("{other}"),
                }
            }
        }
    }
    assert_eq!(faults.len(), 6, "{faults:?}");
}

#[test]
fn another_seed_or_source_gives_other_events() {
    let mut other = wind();
    other["seed"] = json!(43);
    let (one, other) = (generator(&wind()), generator(&other));
    assert!((0..50).all(|i| one.event(0, i).body != other.event(0, i).body));
    assert!((0..50).all(|i| one.event(0, i).body != one.event(1, i).body));
}

/// These bytes are a promise: a job that stands on a generator must replay after an upgrade.
#[test]
fn the_bytes_do_not_change_between_releases() {
    let profile = json!({"seed": 1, "rate": 10, "start": "2025-01-01T00:00:00Z",
        "template": {"id": "{uuid}", "n": {"decimal": {"mean": 5, "deviation": 1, "digits": 2}}, "w": {"walk": {"min": 0, "max": 9, "digits": 1}}}});
    let bodies: Vec<String> = (0..2).map(|i| String::from_utf8(generator(&profile).event(0, i).body).unwrap()).collect();
    assert_eq!(bodies, KEPT);
}

const KEPT: [&str; 2] = [
    r#"{"id":"289d04f4-3c75-48db-96eb-4433e498a123","n":5.37,"w":1.5}"#,
    r#"{"id":"3390f103-f7cf-4f5b-af68-7c68b997a4f8","n":6.42,"w":1.5}"#,
];

#[test]
fn a_paced_source_gives_what_is_due_and_says_when_it_waits() {
    let clock = Arc::new(AtomicI64::new(5_000_000));
    let now = Arc::clone(&clock);
    let profile = json!({"rate": 10, "speed": 2, "count": 60, "sources": 2, "start": {"before_now": "1s"}, "template": {"at": "{time: unix_ms}"}});
    let generator = Generator::new(Profile::parse(&profile).unwrap(), 5_000_000);
    let source = Source::new(generator, Pace::Clock { now: Arc::new(move || now.load(Ordering::Relaxed)), began_us: 5_000_000 });
    let mut reader = source.reader().unwrap();
    for (i, found) in source.discover().unwrap().iter().enumerate() {
        reader.assign(PartitionIndex(i as u32), &found.partition, found.start).unwrap();
    }
    let mut take = |seconds: i64| {
        clock.store(5_000_000 + seconds * 1_000_000, Ordering::Relaxed);
        let mut out = Vec::new();
        reader.poll(usize::MAX, &mut out).unwrap();
        (out.len(), reader.position(PartitionIndex(0)))
    };
    // One second lies before the start; each second of the clock is two of event time.
    let (first, position) = take(0);
    assert_eq!((first, position.at_end, position.end, position.finished), (11, true, Some(Offset(6)), false));
    assert_eq!(take(0).0, 0);
    assert_eq!(take(1).0, 20);
    let (last, position) = take(100);
    assert_eq!((last, position.at_end, position.finished), (29, true, true));
}

#[test]
fn an_unknown_source_stops_with_the_reason() {
    let source = Source::new(generator(&wind()), Pace::Unpaced);
    let mut partition = source.discover().unwrap()[0].partition.clone();
    partition.number = 9;
    let error = source.reader().unwrap().assign(PartitionIndex(0), &partition, Offset(0)).unwrap_err();
    assert!(error.to_string().contains("no source 9"), "{error}");
}

#[test]
fn all_mistakes_are_told_at_once_with_their_places() {
    let profile = json!({
        "rate": -1, "sped": 2, "sources": ["a", "a"], "start": "yesterday", "bursts": {"every": "1m"},
        "duplicates": 0.6, "late": {"share": 0.5, "by": "soon"}, "disorder": {"share": 2, "max_delay": "1s"},
        "malformed": {"share": 0.6, "kinds": ["bent", {"missing_field": "/nowhere"}]},
        "silent": [{"source": "z", "from": "1s", "for": "1s"}],
        "values": {"x": 5},
        "template": {"a": "{uid}", "b": "{", "c": {"int": [6, 1]}, "d": {"decimal": {"men": 3}}, "e": {"choice": []}},
    });
    let mistakes = Profile::parse(&profile).unwrap_err();
    let places: Vec<&str> = mistakes.iter().map(|m| m.path.as_str()).collect();
    for expected in [
        "rate",
        "sped",
        "sources",
        "start",
        "bursts.length",
        "late.by",
        "disorder.share",
        "malformed.kinds[0]",
        "malformed.kinds[0]",
        "silent[0].source",
        "values.x",
        "template.a",
        "template.b",
        "template.c.int",
        "template.d.decimal.men",
        "template.d.decimal.mean",
        "template.e.choice",
        "",
    ] {
        assert!(places.contains(&expected), "`{expected}` is not among {places:?}");
    }
    assert!(Profile::parse(&json!([])).is_err());
    assert!(Profile::parse(&json!({"rate": 1})).is_err());
}
