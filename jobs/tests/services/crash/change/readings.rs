//! What is sent, without end, and what the bytes in the topic come to by plain code.
//!
//! No reading is late by more than the lateness, whatever was read before it: so no cut of the topic into epochs makes one
//! too late, and a recomputation, which decides that anew, must come to the same.

use super::versions::{ABOVE_S, EVEN_S, FINE_S, GAP_S, ODD_S, Version};
use crate::crash::trials::Random;
use caudal_connectors::generate::{Class, Event};
use caudal_pipeline::record::{Message, Partition};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

const START_MS: i64 = 1_774_656_000_000;
const UNITS: u64 = 9;
/// Between two readings of event time, at most.
const STEP_MS: u64 = 4_000;
/// How late one may be; repeated ones come a few readings later.
const LATE_MS: u64 = 90_000;
/// One of so many last readings is sent again.
const REMEMBERED: usize = 12;

/// Readings that one feed after another takes.
#[derive(Clone)]
pub struct Sent(Arc<Mutex<Next>>);

struct Next {
    random: Random,
    count: u64,
    now_ms: i64,
    last: VecDeque<(String, String)>,
}

impl Sent {
    pub fn new(seed: u64) -> Sent {
        Sent(Arc::new(Mutex::new(Next { random: Random::new(seed), count: 0, now_ms: START_MS, last: VecDeque::new() })))
    }
}

impl Iterator for Sent {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let (unit, body) = self.0.lock().expect("no feed panics").reading();
        let (key, body) = (unit.into_bytes(), body.into_bytes());
        Some(Event { source: 0, index: 0, due_us: 0, event_time_us: 0, topic: None, key, body, class: Class::Valid })
    }
}

impl Next {
    /// The next unit and body: late, repeated, with a known id and other bytes, broken, or none of these.
    fn reading(&mut self) -> (String, String) {
        let chance = self.random.below(100);
        if let Some((unit, body)) = self.last.get(self.random.below(REMEMBERED as u64) as usize).cloned() {
            match chance {
                0..5 => return (unit, body),
                5..7 => return (unit, body.replace("\"n\":", "\"n\":1")),
                _ => {}
            }
        }
        self.count += 1;
        self.now_ms += 1 + self.random.below(STEP_MS) as i64;
        let late = if (7..17).contains(&chance) { self.random.below(LATE_MS) as i64 } else { 0 };
        let (unit, n) = (format!("u{}", self.random.below(UNITS)), self.random.below(100));
        let body = format!(r#"{{"id":"r{:08}","at":{},"unit":"{unit}","n":{n}}}"#, self.count, self.now_ms - late);
        match chance {
            17 => return (unit, body[..body.len() / 2].to_owned()),
            18 => return (unit, body.replace("\"n\":", "\"n\":\"many\",\"m\":")),
            _ => {}
        }
        self.last.push_front((unit.clone(), body.clone()));
        self.last.truncate(REMEMBERED);
        (unit, body)
    }
}

/// So many first records tell where a partition begins.
const FIRST: usize = 32;

/// A reading that counts, unless the job filters it.
#[derive(Clone, Debug)]
pub struct Reading {
    pub at_ms: i64,
    pub unit: String,
    pub n: i64,
}

/// Partition and offset.
pub type Place = (i32, u64);

/// All that lies in the topic, judged.
#[derive(Default)]
pub struct Judged {
    pub readings: Vec<Reading>,
    pub duplicates: u64,
    /// Reasons by place.
    pub refused: BTreeMap<Place, &'static str>,
    /// Of the first that can be read of each partition the latest.
    pub first: BTreeMap<i32, i64>,
}

/// Judges it. A unit keeps to its partition, so the order there decides what came first.
pub fn judged(topic: &[(Partition, Vec<Message>)]) -> Judged {
    let mut judged = Judged::default();
    let mut known: BTreeMap<String, &[u8]> = BTreeMap::new();
    let mut read: BTreeMap<i32, usize> = BTreeMap::new();
    for (partition, messages) in topic {
        for message in messages {
            let place = (partition.number, message.offset.0);
            let payload = message.payload.as_deref().expect("no message without a body");
            let Ok(json) = serde_json::from_slice::<Json>(payload) else {
                judged.refused.insert(place, "malformed");
                continue;
            };
            let Some(n) = json["n"].as_i64() else {
                judged.refused.insert(place, "field");
                continue;
            };
            let (at_ms, text) =
                (json["at"].as_i64().expect("a time"), |name: &str| json[name].as_str().expect("a text").to_owned());
            let read = read.entry(place.0).or_insert(0usize);
            *read += 1;
            if *read <= FIRST {
                let first = judged.first.entry(place.0).or_insert(at_ms);
                *first = at_ms.max(*first);
            }
            match known.insert(text("id"), payload) {
                None => judged.readings.push(Reading { at_ms, unit: text("unit"), n }),
                Some(first) => {
                    known.insert(text("id"), first);
                    if first == payload {
                        judged.duplicates += 1;
                    } else {
                        judged.refused.insert(place, "conflict");
                    }
                }
            }
        }
    }
    judged
}

/// View, unit and start, in milliseconds; a row without a window has none.
pub type Key = (String, String, Option<i64>);
/// The figures of a row by name, `end` in milliseconds among them.
pub type Columns = BTreeMap<String, i64>;

/// By unit and window, with both of its ends.
type Windows<'a> = BTreeMap<(String, Option<(i64, i64)>), Vec<&'a Reading>>;

/// Every row of a version.
pub fn rows(version: &Version, readings: &[Reading]) -> BTreeMap<Key, Columns> {
    let counted: Vec<&Reading> = readings.iter().filter(|reading| reading.n >= version.at_least).collect();
    let mut rows = BTreeMap::new();
    for view in version.views() {
        let sized = match view {
            "spans" => Some(version.spans_s),
            "above" => Some(ABOVE_S),
            "fine" => Some(FINE_S),
            "odd" => Some(ODD_S),
            "even" => Some(EVEN_S),
            _ => None,
        };
        let mut windows = Windows::new();
        if view == "naps" {
            windows = sessions(&counted);
        } else {
            for reading in &counted {
                let window = sized.map(|size| {
                    let start = reading.at_ms.div_euclid(size * 1000) * size * 1000;
                    (start, start + size * 1000)
                });
                windows.entry((reading.unit.clone(), window)).or_default().push(reading);
            }
        }
        for ((unit, window), of) in windows {
            let mut columns = Columns::from([
                ("events".to_owned(), of.len() as i64),
                ("total".to_owned(), of.iter().map(|reading| reading.n).sum()),
            ]);
            columns.extend(window.map(|(_, end)| ("end".to_owned(), end)));
            if view == "spans" {
                let all = of.iter().map(|reading| reading.n);
                let most = if version.most == "max" { all.max() } else { all.min() };
                columns.insert("most".to_owned(), most.expect("a window has a reading"));
            }
            rows.insert((view.to_owned(), unit, window.map(|(start, _)| start)), columns);
        }
    }
    rows
}

/// A session ends where nothing comes for the gap.
fn sessions<'a>(counted: &[&'a Reading]) -> Windows<'a> {
    let mut sorted = counted.to_vec();
    sorted.sort_by_key(|reading| (reading.unit.clone(), reading.at_ms));
    let units: BTreeSet<&String> = sorted.iter().map(|reading| &reading.unit).collect();
    let mut sessions = BTreeMap::new();
    for unit in units {
        let of: Vec<&Reading> = sorted.iter().filter(|reading| reading.unit == *unit).copied().collect();
        for run in of.chunk_by(|a, b| b.at_ms - a.at_ms < GAP_S * 1000) {
            let (first, last) = (run[0].at_ms, run[run.len() - 1].at_ms);
            sessions.insert((unit.clone(), Some((first, last + GAP_S * 1000))), run.to_vec());
        }
    }
    sessions
}

#[test]
fn nothing_is_later_than_the_lateness_and_everything_occurs() {
    let mut newest = START_MS;
    let messages: Vec<Message> = (0..).zip(Sent::new(3).take(5_000)).map(|(n, event)| message(n, event)).collect();
    for message in &messages {
        let Ok(json) = serde_json::from_slice::<Json>(message.payload.as_deref().unwrap()) else { continue };
        let at = json["at"].as_i64().unwrap();
        assert!(at > newest - super::versions::LATENESS_S * 1000, "late by {} ms", newest - at);
        newest = newest.max(at);
    }
    let judged = judged(&[(Partition { topic: "readings".into(), number: 0 }, messages)]);
    assert!(judged.readings.len() > 4_000 && judged.duplicates > 100);
    for reason in ["malformed", "field", "conflict"] {
        assert!(judged.refused.values().any(|other| *other == reason), "{reason}");
    }
}

#[cfg(test)]
fn message(offset: u64, event: Event) -> Message {
    let offset = caudal_pipeline::record::Offset(offset);
    Message { offset, key: Some(event.key), headers: [].into(), payload: Some(event.body), broker_time_us: None }
}
