//! Reading what is drawn: choices, decimals and walks.

use super::reading::{Reading, join};
use super::value::{Decimal, Drawn, Walk};
use serde_json::{Map, Value as Json};

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
