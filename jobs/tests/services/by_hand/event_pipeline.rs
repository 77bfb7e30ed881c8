//! event-pipeline by hand: events of three types, which ones and how many in each window.

use super::figures::{micros, window};
use super::judge::{Judged, Place, Read, judge};
use super::wind_farm::is_uuid;
use super::{Column, Row};
use caudal_pipeline::record::{Message, Partition};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};

/// The lateness of the job and its `max_delay`.
const BEHIND_US: i64 = 3_600_000_000 + 2_000_000;
const DAY_S: i64 = 86_400;

/// What counts of an event.
#[derive(Clone, Debug)]
pub struct Event {
    kind: String,
    region: String,
    source: String,
    is_severe: bool,
    persons: i128,
}

/// Every event of the topics, judged.
pub fn judged(messages: &[(Partition, Vec<Message>)], told: &BTreeMap<Place, &'static str>) -> Judged<Event> {
    judge(messages, told, BEHIND_US, |payload| {
        let event: Json = serde_json::from_slice(payload).map_err(|_| (1, "malformed"))?;
        read(&event).map(|read| vec![read]).ok_or((1, "schema"))
    })
}

/// The event, if envelope and payload are as their schemas ask.
fn read(event: &Json) -> Option<Read<Event>> {
    let names = ["correlation_id", "event_id", "event_type", "payload", "region", "schema_version", "source", "timestamp"];
    let found: BTreeSet<&str> = event.as_object()?.keys().map(String::as_str).collect();
    let id = event["event_id"].as_str().filter(|id| is_uuid(id))?;
    let text = |name: &str| event[name].as_str().map(str::to_owned);
    let (kind, region, source, payload) = (text("event_type")?, text("region")?, text("source")?, &event["payload"]);
    let is_wanted = found == BTreeSet::from(names)
        && (event["correlation_id"].is_null() || event["correlation_id"].as_str().is_some_and(is_uuid))
        && ["north", "south", "east", "west", "capital"].contains(&region.as_str())
        && (1..=64).contains(&source.len())
        && event["schema_version"] == "1.0"
        && is_payload(&kind, payload);
    let persons = payload["persons"].as_i64().unwrap_or(0).into();
    let severity = payload["severity"].as_str().unwrap_or("none");
    let is_severe = kind == "security.incident" && ["high", "critical"].contains(&severity);
    let (id, at) = (id.to_owned(), micros(event["timestamp"].as_str()?)?);
    is_wanted.then_some(Read { id, at, passes: true, it: Event { kind, region, source, is_severe, persons } })
}

fn is_payload(kind: &str, payload: &Json) -> bool {
    let one_of = |name: &str, known: &[&str]| payload[name].as_str().is_some_and(|text| known.contains(&text));
    let numbered = |name: &str, prefix: &str| {
        let digits = payload[name].as_str().and_then(|text| text.strip_prefix(prefix));
        digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let between = |name: &str, least: i64, most: i64| payload[name].as_i64().is_some_and(|n| (least..=most).contains(&n));
    match kind {
        "security.incident" => {
            numbered("incident_id", "INC-")
                && one_of("category", &["theft", "assault", "vandalism", "fraud", "cyber"])
                && one_of("severity", &["low", "medium", "high", "critical"])
        }
        "survey.victimization" => {
            between("respondent_age", 16, 120)
                && payload["victim"].is_boolean()
                && payload["reported"].is_boolean()
                && !(payload["victim"] == false && payload["reported"] == true)
        }
        "migration.case" => {
            numbered("case_id", "MIG-")
                && one_of("procedure", &["asylum", "family", "work", "study"])
                && one_of("status", &["opened", "in_review", "granted", "refused"])
                && between("persons", 1, 50)
        }
        _ => false,
    }
}

/// Every row of every view.
pub fn rows(counted: &[Read<Event>]) -> Vec<Row> {
    let kind_and_region = |event: &Event| vec![event.kind.clone(), event.region.clone()];
    let region = |event: &Event| vec![event.region.clone()];
    let severe: Vec<Read<Event>> = counted.iter().filter(|event| event.it.is_severe).cloned().collect();
    let windows = grouped(counted, 5, kind_and_region).into_iter().map(|((group, window), events)| {
        let columns = [vec![("events", Column::Count(events.len()))], ids("event_ids", "event_ids_total", &events)].concat();
        Row { view: "per_window", group, window: Some(window), columns }
    });
    let days = grouped(counted, DAY_S, region).into_iter().map(|((group, window), events)| {
        let sources: BTreeSet<&str> = events.iter().map(|event| event.it.source.as_str()).collect();
        let mut columns = ids("event_ids", "event_ids_total", &events);
        columns.extend([
            ("events", Column::Count(events.len())),
            ("persons", Column::Decimal(events.iter().map(|event| event.it.persons).sum(), 0)),
            ("sources", Column::Count(sources.len())),
            ("sources_overflow", Column::Flag(false)),
        ]);
        Row { view: "daily", group, window: Some(window), columns }
    });
    let severe_days = grouped(&severe, DAY_S, region).into_iter().map(|((group, window), events)| {
        let count = ("incidents", Column::Count(events.len()));
        let columns = [vec![count], ids("incident_ids", "incident_ids_total", &events)].concat();
        Row { view: "daily_severe", group, window: Some(window), columns }
    });
    windows.chain(days).chain(severe_days).collect()
}

type Windows<'a> = BTreeMap<(Vec<String>, (i64, i64)), Vec<&'a Read<Event>>>;

fn grouped(events: &[Read<Event>], seconds: i64, group_of: impl Fn(&Event) -> Vec<String>) -> Windows<'_> {
    let mut windows = Windows::new();
    for event in events {
        windows.entry((group_of(&event.it), window(event.at, seconds))).or_default().push(event);
    }
    windows
}

/// The thousand earliest ids, and how many there are.
fn ids(listed: &'static str, total: &'static str, events: &[&Read<Event>]) -> Vec<(&'static str, Column)> {
    let mut ids: Vec<(i64, &str)> = events.iter().map(|event| (event.at, event.id.as_str())).collect();
    ids.sort_unstable();
    let earliest = ids.iter().take(1000).map(|(_, id)| (*id).to_owned()).collect();
    vec![(listed, Column::Texts(earliest)), (total, Column::Count(ids.len()))]
}
