//! wind-farm by hand: readings of turbines by farm in minutes, hours and days of Madrid, and when each was last seen.

use super::figures::{divided, madrid_day, micros, scaled, window};
use super::judge::{Judged, Place, Read, judge};
use super::{Column, Row};
use caudal_pipeline::record::{Message, Partition};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};

const HOUR_US: i64 = 3_600_000_000;
/// `max_delay` of the job.
pub const MAX_DELAY_US: i64 = 10_000_000;

/// What counts of a reading.
#[derive(Clone, Debug)]
pub struct Reading {
    generator: String,
    farm: &'static str,
    /// In tenths of a kilowatt.
    power: i128,
}

/// `generators.csv`.
fn farm(generator: &str) -> &'static str {
    match generator {
        "gen-01" | "gen-02" | "gen-03" | "gen-04" => "north",
        "gen-05" | "gen-06" | "gen-07" => "south",
        "gen-08" | "gen-09" | "gen-10" => "coast",
        _ => "unlisted",
    }
}

/// Every reading of the topic, judged.
pub fn judged(messages: &[(Partition, Vec<Message>)], told: &BTreeMap<Place, &'static str>) -> Judged<Reading> {
    judge(messages, told, HOUR_US + MAX_DELAY_US, |payload| {
        let reading: Json = serde_json::from_slice(payload).map_err(|_| (1, "malformed"))?;
        read(&reading).map(|read| vec![read]).ok_or((1, "schema"))
    })
}

/// The reading, if it is as `schemas/reading.json` asks.
fn read(reading: &Json) -> Option<Read<Reading>> {
    let id = reading["event_id"].as_str().filter(|id| is_uuid(id))?;
    let at = micros(reading["timestamp"].as_str()?)?;
    let generator = reading["generator_id"].as_str()?;
    let digits = generator.strip_prefix("gen-")?;
    let status = reading["status"].as_str()?;
    let power = number(&reading["power"]["active"])?;
    let is_wanted = (2..=4).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && (scaled("-100", 6)..=scaled("20000", 6)).contains(&scaled(&power, 6))
        && (reading["power"]["reactive"].is_null() || reading["power"]["reactive"].is_number())
        && (reading["wind_m_s"].is_null()
            || number(&reading["wind_m_s"]).is_some_and(|wind| (0..=90).contains(&scaled(&wind, 0))))
        && ["running", "standstill", "maintenance"].contains(&status);
    let it = Reading { generator: generator.to_owned(), farm: farm(generator), power: scaled(&power, 1) };
    is_wanted.then(|| Read { id: id.to_owned(), at, passes: status != "maintenance", it })
}

fn number(value: &Json) -> Option<String> {
    value.is_number().then(|| value.to_string())
}

/// Thirty-two digits in five groups.
pub fn is_uuid(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

/// Readings by farm and window.
type Windows<'a> = BTreeMap<(&'static str, (i64, i64)), Vec<&'a Read<Reading>>>;

/// Every row of every view.
pub fn rows(counted: &[Read<Reading>]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (view, window_of) in [
        ("per_minute", (|us| window(us, 60)) as fn(i64) -> (i64, i64)),
        ("per_hour", |us| window(us, 3600)),
        ("per_day", madrid_day),
    ] {
        let mut windows = Windows::new();
        for reading in counted {
            windows.entry((reading.it.farm, window_of(reading.at))).or_default().push(reading);
        }
        rows.extend(windows.into_iter().map(|((farm, window), readings)| farm_row(view, farm, window, &readings)));
    }
    let generators: BTreeSet<&str> = counted.iter().map(|reading| reading.it.generator.as_str()).collect();
    rows.extend(generators.into_iter().map(|generator| last_seen(generator, counted)));
    rows
}

fn farm_row(view: &'static str, farm: &str, window: (i64, i64), readings: &[&Read<Reading>]) -> Row {
    let sum: i128 = readings.iter().map(|reading| reading.it.power).sum();
    // Of several with the same power the earliest, of several at the same time the one with the least id.
    let age = |reading: &&&Read<Reading>| (reading.at, reading.id.clone());
    let least = readings.iter().map(|reading| reading.it.power).min().expect("a window holds a reading");
    let most = readings.iter().map(|reading| reading.it.power).max().expect("a window holds a reading");
    let earliest = |power: i128| readings.iter().filter(|reading| reading.it.power == power).min_by_key(age);
    let who = |power: i128| Column::Text(earliest(power).expect("someone has it").it.generator.clone());
    let mut columns = vec![
        ("mean_power", Column::Decimal(divided(sum * 1000, readings.len() as i128), 4)),
        ("max_power", Column::Decimal(most, 1)),
        ("max_generator", who(most)),
        ("min_power", Column::Decimal(least, 1)),
        ("min_generator", who(least)),
        ("readings", Column::Count(readings.len())),
    ];
    if view == "per_minute" {
        let mut ids: Vec<(i64, String)> = readings.iter().map(|reading| (reading.at, reading.id.clone())).collect();
        ids.sort();
        columns.push(("reading_ids_total", Column::Count(ids.len())));
        columns.push(("reading_ids", Column::Texts(ids.into_iter().take(1000).map(|(_, id)| id).collect())));
    }
    Row { view, group: vec![farm.to_owned()], window: Some(window), columns }
}

fn last_seen(generator: &str, counted: &[Read<Reading>]) -> Row {
    let own = || counted.iter().filter(|reading| reading.it.generator == generator);
    let last = own().max_by_key(|reading| (reading.at, reading.id.clone())).expect("it was seen");
    let columns = vec![
        ("farm", Column::Text(last.it.farm.to_owned())),
        ("last_seen", Column::Time(last.at)),
        ("last_power", Column::Decimal(last.it.power, 1)),
        ("readings", Column::Count(own().count())),
    ];
    Row { view: "last_seen", group: vec![generator.to_owned()], window: None, columns }
}
