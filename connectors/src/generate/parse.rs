//! Reading a profile: every mistake at once, each with its path.

use super::config::{Bursts, Delay, Kind, Malformed, Mistake, Profile, Share, Silence, Start};
use super::duration::parse_us;
use super::fault::Fault;
use super::template::{Scope, Template};
use super::value::{Decimal, Drawn, Walk};
use serde_json::{Map, Value as Json};

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

/// Collects mistakes.
#[derive(Default)]
pub(super) struct Reading {
    mistakes: Vec<Mistake>,
}

impl Reading {
    /// Notes a mistake.
    pub(super) fn mistake(&mut self, path: &str, message: impl Into<String>) {
        self.mistakes.push(Mistake { path: path.to_owned(), message: message.into() });
    }

    /// A mapping with none but these keys.
    fn map<'a>(&mut self, value: &'a Json, path: &str, keys: &[&str]) -> Option<&'a Map<String, Json>> {
        let Some(map) = value.as_object() else {
            self.mistake(path, format!("a mapping with {}", keys.join(", ")));
            return None;
        };
        for key in map.keys().filter(|key| !keys.contains(&key.as_str())) {
            self.mistake(&join(path, key), format!("unknown key: known are {}", keys.join(", ")));
        }
        Some(map)
    }

    fn duration(&mut self, map: &Map<String, Json>, key: &str, path: &str) -> Option<i64> {
        self.duration_of(map.get(key)?, &join(path, key))
    }

    fn duration_of(&mut self, value: &Json, path: &str) -> Option<i64> {
        let us = value.as_str().and_then(parse_us);
        if us.is_none() {
            self.mistake(path, "a length of time: 500ms, 10s, 1h30m");
        }
        us
    }

    fn number(&mut self, map: &Map<String, Json>, key: &str, path: &str) -> Option<f64> {
        let value = map.get(key)?;
        let number = value.as_f64().filter(|n| n.is_finite());
        if number.is_none() {
            self.mistake(&join(path, key), "a number");
        }
        number
    }

    fn whole(&mut self, map: &Map<String, Json>, key: &str, path: &str) -> Option<u64> {
        let value = map.get(key)?;
        if value.as_u64().is_none() {
            self.mistake(&join(path, key), "a whole number, zero or more");
        }
        value.as_u64()
    }

    fn text(&mut self, map: &Map<String, Json>, key: &str, path: &str) -> Option<String> {
        let value = map.get(key)?;
        if value.as_str().is_none() {
            self.mistake(&join(path, key), "a text");
        }
        value.as_str().map(str::to_owned)
    }

    /// A positive number in thousandths.
    fn milli(&mut self, map: &Map<String, Json>, key: &str, path: &str) -> Option<u64> {
        let number = self.number(map, key, path)?;
        if !(0.001..=1e9).contains(&number) {
            self.mistake(&join(path, key), "a number from 0.001 to 1,000,000,000");
            return None;
        }
        Some((number * 1000.0).round() as u64)
    }

    fn share(&mut self, value: Option<&Json>, path: &str) -> Share {
        let Some(value) = value else {
            self.mistake(path, "missing: a share from 0 to 1");
            return Share::default();
        };
        match value.as_f64().filter(|s| (0.0..=1.0).contains(s)) {
            Some(share) => Share((share * f64::from(Share::ONE.0)).round() as u32),
            None => {
                self.mistake(path, "a share from 0 to 1");
                Share::default()
            }
        }
    }

    fn required<T>(&mut self, value: Option<T>, map: &Map<String, Json>, key: &str, path: &str) -> Option<T> {
        if !map.contains_key(key) {
            self.mistake(&join(path, key), "missing");
        }
        value
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
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

/// A fault's place must be in some template: else the fault would never happen.
fn check_fault_places(map: &Map<String, Json>, profile: &Profile, reading: &mut Reading) {
    let bodies: Vec<&Json> = match map.get("events").and_then(Json::as_array) {
        Some(events) => events.iter().filter_map(|e| e.get("template")).collect(),
        None => map.get("template").into_iter().collect(),
    };
    for (i, fault) in profile.malformed.iter().flat_map(|m| &m.faults).enumerate() {
        let (Fault::WrongType(at) | Fault::MissingField(at) | Fault::OutOfRange(at, _) | Fault::UnknownType(at)) = fault else {
            continue;
        };
        if !bodies.iter().any(|body| body.pointer(at).is_some()) {
            reading.mistake(&format!("malformed.kinds[{i}]"), format!("no template has anything at `{at}`"));
        }
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

fn malformed(value: &Json, reading: &mut Reading) -> Option<Malformed> {
    let map = reading.map(value, "malformed", &["share", "kinds"])?;
    let share = reading.share(map.get("share"), "malformed.share");
    let faults = match map.get("kinds") {
        None => vec![Fault::Cut, Fault::InvalidUtf8],
        Some(Json::Array(kinds)) if !kinds.is_empty() => {
            let place = |i: usize| format!("malformed.kinds[{i}]");
            kinds.iter().enumerate().filter_map(|(i, kind)| fault(kind, &place(i), reading)).collect()
        }
        Some(_) => {
            reading.mistake("malformed.kinds", "a list with at least one kind");
            return None;
        }
    };
    (!faults.is_empty()).then_some(Malformed { share, faults })
}

fn fault(value: &Json, path: &str, reading: &mut Reading) -> Option<Fault> {
    let found = match value {
        Json::String(name) if name == "cut" => Some(Fault::Cut),
        Json::String(name) if name == "invalid_utf8" => Some(Fault::InvalidUtf8),
        Json::Object(map) if map.len() == 1 => map.iter().next().and_then(|(name, at)| placed_fault(name, at)),
        _ => None,
    };
    if found.is_none() {
        reading.mistake(
            path,
            "one of cut, invalid_utf8, {wrong_type: /at}, {missing_field: /at}, {out_of_range: {at: /at, value: 1e9}}, {unknown_type: /at}",
        );
    }
    found
}

fn placed_fault(name: &str, at: &Json) -> Option<Fault> {
    let pointer = |at: &Json| at.as_str().filter(|p| p.starts_with('/')).map(str::to_owned);
    match name {
        "wrong_type" => pointer(at).map(Fault::WrongType),
        "missing_field" => pointer(at).map(Fault::MissingField),
        "unknown_type" => pointer(at).map(Fault::UnknownType),
        "out_of_range" => Some(Fault::OutOfRange(pointer(at.get("at")?)?, at.get("value")?.clone())),
        _ => None,
    }
}

fn silences(value: Option<&Json>, sources: &[String], reading: &mut Reading) -> Vec<Silence> {
    let Some(value) = value else { return Vec::new() };
    let Some(list) = value.as_array() else {
        reading.mistake("silent", "a list of {source, from, for}");
        return Vec::new();
    };
    let place = |i: usize| format!("silent[{i}]");
    list.iter().enumerate().filter_map(|(i, s)| silence(s, &place(i), sources, reading)).collect()
}

fn silence(value: &Json, path: &str, sources: &[String], reading: &mut Reading) -> Option<Silence> {
    let map = reading.map(value, path, &["source", "from", "for"])?;
    let (from, length) = (reading.duration(map, "from", path), reading.duration(map, "for", path));
    let from = reading.required(from, map, "from", path)?;
    let length = reading.required(length, map, "for", path)?;
    let name = map.get("source").map(|s| s.as_str().map_or_else(|| s.to_string(), str::to_owned));
    let Some(source) = name.and_then(|name| sources.iter().position(|s| *s == name)) else {
        reading.mistake(&join(path, "source"), format!("the name of a source: {}", sources[..sources.len().min(5)].join(", ")));
        return None;
    };
    Some(Silence { source, from_us: from.unsigned_abs(), until_us: from.unsigned_abs().saturating_add(length.unsigned_abs()) })
}

fn templates(map: &Map<String, Json>, reading: &mut Reading) -> (Vec<(String, Drawn)>, Vec<Kind>) {
    let mut scope = Scope { names: &[], reading, walks: 0 };
    let values = values(map.get("values"), &mut scope);
    let names: Vec<String> = values.iter().map(|(name, _)| name.clone()).collect();
    let mut scope = Scope { names: &names, walks: scope.walks, reading: scope.reading };
    let key = map.get("key").cloned().unwrap_or_else(|| Json::from("{source}"));
    let kinds = match (map.get("events"), map.get("template")) {
        (None, Some(_)) => kind(&Json::Object(only(map, &["topic", "template"])), "", &key, &mut scope).into_iter().collect(),
        (Some(Json::Array(events)), None) if !events.is_empty() => {
            let place = |i: usize| format!("events[{i}]");
            events.iter().enumerate().filter_map(|(i, e)| kind(e, &place(i), &key, &mut scope)).collect()
        }
        _ => {
            scope.reading.mistake("template", "either `template`, or `events` as a list of {weight, topic, key, template}");
            Vec::new()
        }
    };
    if kinds.iter().map(|k| k.weight).sum::<u64>() == 0 && !kinds.is_empty() {
        scope.reading.mistake("events", "the weights add up to nothing");
    }
    (values, kinds)
}

fn only(map: &Map<String, Json>, keys: &[&str]) -> Map<String, Json> {
    map.iter().filter(|(key, _)| keys.contains(&key.as_str())).map(|(k, v)| (k.clone(), v.clone())).collect()
}

fn values(value: Option<&Json>, scope: &mut Scope) -> Vec<(String, Drawn)> {
    let Some(value) = value else { return Vec::new() };
    let Some(map) = value.as_object() else {
        scope.reading.mistake("values", "a mapping of names to placeholders");
        return Vec::new();
    };
    let mut found = Vec::new();
    for (name, value) in map {
        let path = format!("values.{name}");
        let drawn = match value {
            Json::Object(one) => scope.placeholder(one, &path),
            Json::String(text) => {
                text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).and_then(|t| scope.drawn(t, None, &path))
            }
            _ => None,
        };
        match drawn {
            Some(drawn) => found.push((name.clone(), drawn)),
            None => scope.reading.mistake(&path, "a placeholder: {choice: [north, south]}, {int: [1, 6]}, '{uuid}'"),
        }
    }
    found
}

fn kind(value: &Json, path: &str, default_key: &Json, scope: &mut Scope) -> Option<Kind> {
    let map = scope.reading.map(value, path, &["weight", "topic", "key", "template"])?;
    let weight = scope.reading.whole(map, "weight", path).unwrap_or(1);
    let topic = scope.reading.text(map, "topic", path);
    let place = join(path, "key");
    let key = match map.get("key").unwrap_or(default_key) {
        Json::String(text) => Template::text(text, &place, scope),
        _ => {
            scope.reading.mistake(&place, "a text, with placeholders or without");
            Template::default()
        }
    };
    let place = join(path, "template");
    match map.get("template") {
        Some(body @ Json::Object(_)) => Some(Kind { weight, topic, key, body: Template::json(body, &place, scope) }),
        _ => {
            scope.reading.mistake(&place, "the event as a mapping");
            None
        }
    }
}

/// `choice: [a, b]`, or `choice: {a: 3, b: 1}` with weights.
pub(super) fn choice(value: &Json, path: &str, reading: &mut Reading) -> Option<Drawn> {
    let options: Option<Vec<(Json, u64)>> = match value {
        Json::Array(options) => Some(options.iter().map(|o| (o.clone(), 1)).collect()),
        Json::Object(weights) => weights.iter().map(|(o, w)| Some((Json::from(o.as_str()), w.as_u64()?))).collect(),
        _ => None,
    };
    let total = options.iter().flatten().try_fold(0u64, |sum, (_, w)| sum.checked_add(*w));
    match (options, total) {
        (Some(options), Some(total)) if total > 0 => Some(Drawn::Choice { options, total }),
        _ => {
            reading.mistake(path, "a list of values, or a mapping of texts to whole weights");
            None
        }
    }
}

impl Decimal {
    pub(super) fn parse(value: &Json, path: &str, reading: &mut Reading) -> Option<Decimal> {
        let map = reading.map(value, path, &["mean", "deviation", "digits", "min", "max", "daily", "per_source"])?;
        let mean = reading.number(map, "mean", path);
        let mean = reading.required(mean, map, "mean", path)?;
        let daily = map.get("daily").and_then(|d| daily(d, &join(path, "daily"), reading));
        let decimal = Decimal {
            mean,
            deviation: reading.number(map, "deviation", path).unwrap_or(0.0),
            digits: digits(map, path, reading),
            min: reading.number(map, "min", path).unwrap_or(f64::MIN),
            max: reading.number(map, "max", path).unwrap_or(f64::MAX),
            daily,
            per_source: reading.number(map, "per_source", path).unwrap_or(0.0),
        };
        if decimal.min > decimal.max {
            reading.mistake(path, "`min` is above `max`");
            return None;
        }
        Some(decimal)
    }
}

impl Walk {
    pub(super) fn parse(value: &Json, path: &str, salt: u64, reading: &mut Reading) -> Option<Walk> {
        let map = reading.map(value, path, &["min", "max", "noise", "digits", "period"])?;
        let (min, max) = (reading.number(map, "min", path), reading.number(map, "max", path));
        let min = reading.required(min, map, "min", path)?;
        let max = reading.required(max, map, "max", path)?;
        let period_us = reading.duration(map, "period", path).unwrap_or(600_000_000);
        if min > max || period_us == 0 {
            reading.mistake(path, "`min` is not above `max`, and `period` is more than nothing");
            return None;
        }
        let noise = reading.number(map, "noise", path).unwrap_or(0.0);
        Some(Walk { salt, min, max, noise, digits: digits(map, path, reading), period_us })
    }
}

fn daily(value: &Json, path: &str, reading: &mut Reading) -> Option<(f64, i64)> {
    let map = reading.map(value, path, &["height", "top"])?;
    let height = reading.number(map, "height", path);
    let height = reading.required(height, map, "height", path)?;
    Some((height, reading.duration(map, "top", path).unwrap_or(12 * 3_600_000_000)))
}

fn digits(map: &Map<String, Json>, path: &str, reading: &mut Reading) -> u8 {
    let digits = reading.whole(map, "digits", path).unwrap_or(0);
    if digits > 9 {
        reading.mistake(&join(path, "digits"), "0 to 9 digits after the point");
    }
    digits.min(9) as u8
}
