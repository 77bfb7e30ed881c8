//! Reading a profile: every mistake at once, each with its path.

use super::config::{Bursts, Delay, Mistake, Profile, Share, Start};
use super::read_events::templates;
use super::read_faults::{check_fault_places, malformed, silences};
use super::reading::{Reading, join};
use serde_json::Value as Json;

const KEYS: [&str; 18] = [
    "name",
    "seed",
    "rate",
    "bursts",
    "sources",
    "start",
    "count",
    "speed",
    "duplicates",
    "disorder",
    "late",
    "malformed",
    "silent",
    "values",
    "key",
    "topic",
    "template",
    "events",
];

/// The most sources a profile may have.
const SOURCES_MAX: u64 = 100_000;

impl Profile {
    /// Reads a profile, or tells everything that is wrong with it.
    pub fn parse(value: &Json) -> Result<Profile, Vec<Mistake>> {
        let mut reading = Reading::default();
        let profile = profile(value, &mut reading);
        match profile {
            Some(profile) if reading.mistakes.is_empty() => Ok(profile),
            _ => Err(reading.mistakes),
        }
    }
}

fn profile(value: &Json, reading: &mut Reading) -> Option<Profile> {
    let map = reading.map(value, "", &KEYS)?;
    let rate = reading.milli(map, "rate", "");
    let rate_milli = reading.required(rate, map, "rate", "").unwrap_or(1000);
    let sources = sources(map.get("sources"), reading);
    let (values, kinds) = templates(map, reading);
    let speed = reading.whole(map, "speed", "").unwrap_or(1);
    if speed == 0 {
        reading.mistake("speed", "1 or more");
    }
    let profile = Profile {
        seed: reading.whole(map, "seed", "").unwrap_or(0),
        name: reading.text(map, "name", "").unwrap_or_else(|| "generate".to_owned()),
        rate_milli,
        bursts: map.get("bursts").and_then(|b| bursts(b, reading)),
        start: start(map.get("start"), reading),
        count: reading.whole(map, "count", ""),
        speed,
        duplicates: map.get("duplicates").map_or(Share::default(), |d| reading.share(Some(d), "duplicates")),
        disorder: map.get("disorder").and_then(|d| delay(d, "disorder", "max_delay", reading)),
        late: map.get("late").and_then(|l| delay(l, "late", "by", reading)),
        malformed: map.get("malformed").and_then(|m| malformed(m, reading)),
        silent: silences(map.get("silent"), &sources, reading),
        sources,
        values,
        kinds,
    };
    check_shares(&profile, reading);
    check_fault_places(map, &profile, reading);
    Some(profile)
}

fn check_shares(profile: &Profile, reading: &mut Reading) {
    let faulty = [Some(profile.duplicates), profile.malformed.as_ref().map(|m| m.share), profile.late.map(|l| l.share)];
    if faulty.into_iter().flatten().map(|s| u64::from(s.0)).sum::<u64>() > Share::ONE.0.into() {
        reading.mistake("", "the shares of duplicates, late and malformed events add up to more than 1");
    }
}

fn sources(value: Option<&Json>, reading: &mut Reading) -> Vec<String> {
    let named = |names: &Vec<Json>| names.iter().map(|n| n.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
    let names = match value {
        None => Some(vec!["0".to_owned()]),
        Some(Json::Array(names)) => named(names),
        Some(count) => count.as_u64().filter(|n| *n <= SOURCES_MAX).map(|n| (0..n).map(|i| i.to_string()).collect()),
    };
    let names = names.filter(|n| !n.is_empty() && n.len() as u64 <= SOURCES_MAX);
    if names.is_none() {
        reading.mistake("sources", "a number from 1 to 100,000, or a list of names");
    }
    let names = names.unwrap_or_else(|| vec!["0".to_owned()]);
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort_unstable();
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        reading.mistake("sources", format!("`{}` is there twice", pair[0]));
    }
    names
}

fn start(value: Option<&Json>, reading: &mut Reading) -> Start {
    match value {
        None => Start::BeforeNow(0),
        Some(Json::String(text)) if text == "now" => Start::BeforeNow(0),
        Some(Json::String(text)) => match text.parse::<jiff::Timestamp>() {
            Ok(time) => Start::At(time.as_microsecond()),
            Err(_) => {
                reading.mistake("start", "a time with zone (2025-01-01T00:00:00Z), `now`, or {before_now: 10m}");
                Start::At(0)
            }
        },
        Some(other) => {
            let before = reading.map(other, "start", &["before_now"]).cloned();
            let us = before.and_then(|map| {
                let us = reading.duration(&map, "before_now", "start");
                reading.required(us, &map, "before_now", "start")
            });
            Start::BeforeNow(us.unwrap_or(0))
        }
    }
}

fn bursts(value: &Json, reading: &mut Reading) -> Option<Bursts> {
    let map = reading.map(value, "bursts", &["every", "length", "factor"])?;
    let (every, length) = (reading.duration(map, "every", "bursts"), reading.duration(map, "length", "bursts"));
    let factor = reading.milli(map, "factor", "bursts");
    let every = reading.required(every, map, "every", "bursts")?;
    let length = reading.required(length, map, "length", "bursts")?;
    let factor_milli = reading.required(factor, map, "factor", "bursts")?;
    if every <= 0 || length > every {
        reading.mistake("bursts", "`every` is more than nothing, and a burst is no longer than that");
        return None;
    }
    Some(Bursts { every_us: every.unsigned_abs(), length_us: length.unsigned_abs(), factor_milli })
}

fn delay(value: &Json, path: &str, key: &str, reading: &mut Reading) -> Option<Delay> {
    let map = reading.map(value, path, &["share", key])?;
    let share = reading.share(map.get("share"), &join(path, "share"));
    let place = join(path, key);
    let (least_us, most_us) = match map.get(key) {
        Some(Json::Array(ends)) if ends.len() == 2 => {
            (reading.duration_of(&ends[0], &place)?, reading.duration_of(&ends[1], &place)?)
        }
        Some(one) => {
            let us = reading.duration_of(one, &place)?;
            // Disorder is anything up to the delay, lateness the delay itself.
            (if key == "max_delay" { 0 } else { us }, us)
        }
        None => {
            reading.mistake(&place, "missing");
            return None;
        }
    };
    if least_us > most_us {
        reading.mistake(&place, "the shorter one first");
        return None;
    }
    Some(Delay { share, least_us, most_us })
}
