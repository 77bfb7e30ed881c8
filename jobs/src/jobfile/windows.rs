//! `views.<name>.window`, and which windows nest in which.

use super::event_time::check_zone;
use super::mistakes::Mistakes;
use super::reader::At;
use super::units;
use caudal_pipeline::plan::{CalendarUnit, WindowPlan};
use caudal_pipeline::time::Span;

const DAY: Span = Span::seconds(86_400);

/// The window of a view.
pub fn window(view: &At<'_>, mistakes: &mut Mistakes) -> Option<WindowPlan> {
    let at = view.get("window")?;
    if at.text() == Some("none") {
        return Some(WindowPlan::Unwindowed);
    }
    let (tumbling, sliding, session) = (at.get("tumbling"), at.duration_of("sliding"), at.duration_of("session"));
    let only = |key: &str, kind: &str, wrong: bool, mistakes: &mut Mistakes| {
        if wrong && at.has(key) {
            at.mistake_key(key, mistakes, format!("`{key}` belongs to `{kind}` windows: remove it"));
        }
    };
    only("every", "sliding", !at.has("sliding"), mistakes);
    only("zone", "tumbling", !at.has("tumbling"), mistakes);
    match (tumbling, sliding, session) {
        (Some(size), ..) => self::tumbling(&at, &size, mistakes),
        (_, Some(size), _) => self::sliding(&at, size, mistakes),
        (.., Some(gap)) if gap.0 > 0 => Some(WindowPlan::Session { gap }),
        _ => None,
    }
}

fn tumbling(at: &At<'_>, size: &At<'_>, mistakes: &mut Mistakes) -> Option<WindowPlan> {
    let text = size.text()?;
    let span = units::duration(text).ok().filter(|s| s.0 > 0);
    let unit = match span {
        _ if text == "1mo" => Some(CalendarUnit::Month),
        Some(span) if span == DAY => Some(CalendarUnit::Day),
        Some(span) if span.0 == 7 * DAY.0 => Some(CalendarUnit::Week),
        _ => None,
    };
    match (at.has("zone"), unit, span) {
        (true, Some(unit), _) => {
            check_zone(at, mistakes)?;
            Some(WindowPlan::Calendar { unit, zone: at.text_of("zone")? })
        }
        (true, None, Some(_)) => {
            at.mistake_at(
                "zone",
                mistakes,
                format!("a zone needs days (1d), weeks (7d) or months (1mo), not {text}: change the size or remove `zone`"),
            );
            None
        }
        (false, Some(CalendarUnit::Month), _) => Some(WindowPlan::Calendar { unit: CalendarUnit::Month, zone: "UTC".into() }),
        (false, _, Some(size)) => Some(WindowPlan::Tumbling { size }),
        (_, None, None) | (false, Some(_), None) => None,
    }
}

fn sliding(at: &At<'_>, size: Span, mistakes: &mut Mistakes) -> Option<WindowPlan> {
    let Some(every) = at.duration_of("every") else {
        if !at.has("every") {
            at.mistake_at("every", mistakes, "missing: the distance between the ends of sliding windows, such as `1m`");
        }
        return None;
    };
    if size.0 <= 0 || every.0 <= 0 {
        return None;
    }
    if size.0 % every.0 != 0 {
        at.mistake_at("sliding", mistakes, format!("{size} is not a multiple of `every: {every}`: {}", near(size, every)));
        return None;
    }
    Some(WindowPlan::Sliding { size, every })
}

fn near(size: Span, every: Span) -> String {
    let low = Span(size.0 / every.0 * every.0);
    let high = Span(low.0 + every.0);
    if low.0 == 0 { format!("write {high}") } else { format!("write {low} or {high}") }
}

/// Whether each lower window lies within one upper window, or why not.
pub fn nests(lower: &WindowPlan, upper: &WindowPlan) -> Result<(), String> {
    use WindowPlan::{Calendar, Session, Sliding, Tumbling, Unwindowed};
    match (lower, upper) {
        (Sliding { .. }, _) => {
            Err("sliding windows overlap, a roll-up would count records twice: make the view from the stream".into())
        }
        (Session { .. }, _) => Err("sessions have no fixed place in a larger window: make the view from the stream".into()),
        (_, Sliding { .. } | Session { .. }) => {
            Err("a roll-up is tumbling or `none`: for sliding windows and sessions make the view from the stream".into())
        }
        (_, Unwindowed) => Ok(()),
        (Unwindowed, _) => Err("the view below has no window, its rows have no time: make the view from the stream".into()),
        (Tumbling { size: low }, Tumbling { size: high }) => multiple(*low, *high),
        (Tumbling { size }, Calendar { unit, zone }) => in_calendar(*size, *unit, zone),
        (Calendar { unit, zone }, Calendar { unit: upper, zone: other }) => calendars((*unit, zone), (*upper, other)),
        (Calendar { zone, .. }, Tumbling { size }) => {
            Err(format!("days of {zone} do not nest in windows of {size}: give this window a calendar size and `zone: {zone}`"))
        }
    }
}

fn multiple(low: Span, high: Span) -> Result<(), String> {
    match high.0 % low.0 {
        0 => Ok(()),
        _ => Err(format!("windows of {low} do not nest in windows of {high}: {}", near(high, low))),
    }
}

fn in_calendar(size: Span, unit: CalendarUnit, zone: &str) -> Result<(), String> {
    let unit = unit_name(unit);
    if DAY.0 % size.0 != 0 {
        return Err(format!("windows of {size} do not nest in {unit}s: the view below needs a size that divides a day"));
    }
    let Ok(zone) = jiff::tz::TimeZone::get(zone) else { return Ok(()) };
    match offsets(&zone).into_iter().find(|offset| offset * 1_000_000 % size.0 != 0) {
        None => Ok(()),
        Some(_) => {
            let name = zone.iana_name().unwrap_or("this zone");
            Err(format!("windows of {size} do not nest in a {unit} of {name}, which does not begin at a multiple of {size}"))
        }
    }
}

/// Seconds from UTC that a zone has, or will have by the rules of today, in the years 1970 to 2100.
fn offsets(zone: &jiff::tz::TimeZone) -> Vec<i64> {
    let end = jiff::Timestamp::from_second(4_102_444_800).unwrap_or(jiff::Timestamp::MAX);
    let first = i64::from(zone.to_offset(jiff::Timestamp::UNIX_EPOCH).seconds());
    let later = zone.following(jiff::Timestamp::UNIX_EPOCH).take_while(|t| t.timestamp() < end);
    let mut all: Vec<i64> = std::iter::once(first).chain(later.map(|t| i64::from(t.offset().seconds()))).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn calendars((low, zone): (CalendarUnit, &str), (high, other): (CalendarUnit, &str)) -> Result<(), String> {
    if zone != other {
        return Err(format!(
            "a {} of {zone} does not nest in a {} of {other}: use one zone for both",
            unit_name(low),
            unit_name(high)
        ));
    }
    match (low, high) {
        (CalendarUnit::Day, _) => Ok(()),
        (a, b) if a == b => Ok(()),
        _ => Err(format!("a {} does not nest in a {}: make this view from one by day", unit_name(low), unit_name(high))),
    }
}

fn unit_name(unit: CalendarUnit) -> &'static str {
    match unit {
        CalendarUnit::Day => "day",
        CalendarUnit::Week => "week",
        CalendarUnit::Month => "month",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tumbling(text: &str) -> WindowPlan {
        WindowPlan::Tumbling { size: units::duration(text).expect("a duration") }
    }

    fn calendar(unit: CalendarUnit, zone: &str) -> WindowPlan {
        WindowPlan::Calendar { unit, zone: zone.into() }
    }

    #[test]
    fn lower_windows_must_lie_within_one_upper_window() {
        use CalendarUnit::{Day, Month, Week};
        let good = [
            (tumbling("1m"), tumbling("1h")),
            (tumbling("1h"), tumbling("1h")),
            (tumbling("1h"), calendar(Day, "Europe/Madrid")),
            (tumbling("15m"), calendar(Month, "Asia/Kathmandu")),
            (calendar(Day, "UTC"), calendar(Month, "UTC")),
            (tumbling("1m"), WindowPlan::Unwindowed),
        ];
        for (lower, upper) in good {
            assert_eq!(nests(&lower, &upper), Ok(()), "{lower:?} in {upper:?}");
        }
        let bad = [
            (tumbling("7m"), tumbling("1h")),
            (tumbling("1h"), tumbling("1m")),
            (tumbling("1h"), calendar(Day, "Asia/Kolkata")),
            (tumbling("7h"), calendar(Day, "UTC")),
            (calendar(Week, "UTC"), calendar(Month, "UTC")),
            (calendar(Day, "UTC"), calendar(Day, "Europe/Madrid")),
            (calendar(Day, "UTC"), tumbling("7d")),
            (WindowPlan::Unwindowed, tumbling("1h")),
            (WindowPlan::Session { gap: Span(1) }, tumbling("1h")),
            (tumbling("1m"), WindowPlan::Sliding { size: Span(2), every: Span(1) }),
        ];
        for (lower, upper) in bad {
            assert!(nests(&lower, &upper).is_err(), "{lower:?} in {upper:?}");
        }
    }
}
