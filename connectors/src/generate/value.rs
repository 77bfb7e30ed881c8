//! What a placeholder stands for: a drawn value, a function of the event's place and its random stream.
//!
//! Only additions, multiplications, divisions and roundings of IEEE doubles are used: no logarithm or sine, whose last
//! bit differs between machines.

use super::fate::{below, stream};
use caudal_pipeline::value::decimal_text;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use serde_json::Value as Json;

/// Where in the load an event stands.
pub(super) struct Place<'a> {
    pub(super) seed: u64,
    pub(super) source: usize,
    pub(super) source_name: &'a str,
    pub(super) index: u64,
    pub(super) event_time_us: i64,
    /// The event's named values, drawn already.
    pub(super) named: &'a [Token],
}

/// A drawn value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// JSON text that needs no quotes: a number, `true`, an object.
    Raw(String),
    /// Text.
    Text(String),
}

/// What to draw.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Drawn {
    Uuid,
    Time(TimeFormat),
    Source,
    Index,
    Named(usize),
    Int { least: i64, most: i64 },
    Decimal(Decimal),
    Choice { options: Vec<(Json, u64)>, total: u64 },
    BySource(Vec<Json>),
    Walk(Walk),
}

/// How `{time}` is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeFormat {
    Rfc3339,
    UnixMs,
    UnixS,
}

/// A number around a mean, with a daily swing and an offset of its own for each source.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Decimal {
    pub(super) mean: f64,
    pub(super) deviation: f64,
    pub(super) digits: u8,
    pub(super) min: f64,
    pub(super) max: f64,
    /// Height of the swing, and the time of day of its top in microseconds.
    pub(super) daily: Option<(f64, i64)>,
    pub(super) per_source: f64,
}

/// A number that wanders between `min` and `max`, passing a new post every `period_us` of event time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Walk {
    /// Tells the walks of one profile apart.
    pub(super) salt: u64,
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) noise: f64,
    pub(super) digits: u8,
    pub(super) period_us: i64,
}

const DAY_US: i64 = 86_400_000_000;

impl Drawn {
    /// Draws the value for an event at `place`.
    pub(super) fn draw(&self, place: &Place, random: &mut ChaCha8Rng) -> Token {
        match self {
            Drawn::Uuid => Token::Text(uuid(random)),
            Drawn::Time(format) => time(*format, place.event_time_us),
            Drawn::Source => Token::Text(place.source_name.to_owned()),
            Drawn::Index => Token::Raw(place.index.to_string()),
            Drawn::Named(i) => place.named[*i].clone(),
            Drawn::Int { least, most } => Token::Raw(int(*least, *most, random).to_string()),
            Drawn::Decimal(decimal) => Token::Raw(decimal.draw(place, random)),
            Drawn::Choice { options, total } => choice(options, *total, random),
            Drawn::BySource(options) => token(&options[place.source % options.len()]),
            Drawn::Walk(walk) => Token::Raw(walk.draw(place, random)),
        }
    }
}

/// A JSON value as a token.
pub(super) fn token(value: &Json) -> Token {
    match value {
        Json::String(text) => Token::Text(text.clone()),
        other => Token::Raw(other.to_string()),
    }
}

fn uuid(random: &mut ChaCha8Rng) -> String {
    let mut bytes = [0u8; 16];
    random.fill_bytes(&mut bytes);
    uuid::Builder::from_random_bytes(bytes).into_uuid().hyphenated().to_string()
}

fn time(format: TimeFormat, us: i64) -> Token {
    match format {
        TimeFormat::Rfc3339 => Token::Text(rfc3339_ms(us)),
        TimeFormat::UnixMs => Token::Raw(us.div_euclid(1_000).to_string()),
        TimeFormat::UnixS => Token::Raw(us.div_euclid(1_000_000).to_string()),
    }
}

/// Always three digits of a second, as most producers write it.
fn rfc3339_ms(us: i64) -> String {
    let millisecond = us.div_euclid(1_000) * 1_000;
    jiff::Timestamp::from_microsecond(millisecond).map_or_else(|_| us.to_string(), |t| format!("{t:.3}"))
}

fn int(least: i64, most: i64, random: &mut ChaCha8Rng) -> i64 {
    let range = most.abs_diff(least);
    let drawn = random.next_u64();
    // The whole range of 64 bits has one value more than 64 bits can count.
    let step = if range == u64::MAX { drawn } else { below(drawn, range + 1) };
    least.wrapping_add_unsigned(step)
}

fn choice(options: &[(Json, u64)], total: u64, random: &mut ChaCha8Rng) -> Token {
    let mut left = below(random.next_u64(), total);
    for (option, weight) in options {
        if left < *weight {
            return token(option);
        }
        left -= weight;
    }
    unreachable!("the weights add up to the total")
}

impl Decimal {
    fn draw(&self, place: &Place, random: &mut ChaCha8Rng) -> String {
        let mut value = self.mean + self.deviation * bell(random);
        if let Some((height, top_us)) = self.daily {
            value += height * swing((place.event_time_us - top_us).rem_euclid(DAY_US) as f64 / DAY_US as f64);
        }
        if self.per_source != 0.0 {
            value += self.per_source * bell(&mut stream(place.seed ^ 0x0ff5_e700, place.source, 0));
        }
        rounded(value.clamp(self.min, self.max), self.digits)
    }
}

impl Walk {
    fn draw(&self, place: &Place, random: &mut ChaCha8Rng) -> String {
        let (post, along) = (place.event_time_us.div_euclid(self.period_us), place.event_time_us.rem_euclid(self.period_us));
        let (from, to) = (self.post(place, post), self.post(place, post + 1));
        let value = from + (to - from) * (along as f64 / self.period_us as f64) + self.noise * bell(random);
        rounded(value.clamp(self.min, self.max), self.digits)
    }

    fn post(&self, place: &Place, post: i64) -> f64 {
        let drawn = stream(place.seed ^ self.salt, place.source, post.cast_unsigned()).next_u64();
        self.min + (self.max - self.min) * unit(drawn)
    }
}

/// In [0, 1), 53 bits.
fn unit(random: u64) -> f64 {
    (random >> 11) as f64 / (1u64 << 53) as f64
}

/// Nearly normal with deviation 1, between -6 and 6: the sum of twelve uniform draws.
fn bell(random: &mut ChaCha8Rng) -> f64 {
    let mut sum = 0u64;
    for _ in 0..3 {
        let drawn = random.next_u64();
        sum += (0..4).map(|i| (drawn >> (16 * i)) & 0xffff).sum::<u64>();
    }
    sum as f64 / 65_536.0 - 6.0
}

/// A cosine of one turn in parabolas: 1 at 0, -1 at one half, 1 again at 1.
fn swing(turn: f64) -> f64 {
    let quarter = (turn + 0.25) % 1.0;
    let (half, sign) = if quarter < 0.5 { (quarter * 2.0, 1.0) } else { (quarter * 2.0 - 1.0, -1.0) };
    let hump = half * (1.0 - half);
    sign * 16.0 * hump / (5.0 - 4.0 * hump)
}

fn rounded(value: f64, digits: u8) -> String {
    let scaled = (value * 10f64.powi(digits.into())).round();
    decimal_text(scaled as i128, digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_swings_once() {
        for (turn, expected) in [(0.0, 1.0), (0.25, 0.0), (0.5, -1.0), (0.75, 0.0)] {
            assert!((swing(turn) - expected).abs() < 1e-9, "{turn}: {}", swing(turn));
        }
    }

    #[test]
    fn the_bell_has_mean_zero_and_deviation_one() {
        let mut random = stream(3, 0, 0);
        let draws: Vec<f64> = (0..20_000).map(|_| bell(&mut random)).collect();
        let mean = draws.iter().sum::<f64>() / 20_000.0;
        let variance = draws.iter().map(|d| (d - mean) * (d - mean)).sum::<f64>() / 20_000.0;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
    }

    #[test]
    fn whole_numbers_reach_both_ends() {
        let mut random = stream(1, 0, 0);
        let drawn: std::collections::BTreeSet<i64> = (0..200).map(|_| int(-1, 1, &mut random)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [-1, 0, 1]);
        int(i64::MIN, i64::MAX, &mut random);
    }
}
