//! `streams.<name>.event_time`, `watermark` and `lateness`: when records happened and how that time passes.

use super::mistakes::Mistakes;
use super::reader::At;
use caudal_pipeline::decode::{EventTimeSpec, Fold, Gap, Missing, Reference, TimeFormat};
use caudal_pipeline::plan::WatermarkPlan;
use caudal_pipeline::time::Span;

/// An epoch may stay open for a second, so less would refuse good records.
const MAX_FUTURE_MIN: Span = Span::seconds(2);

/// When a stream's records happened.
pub fn event_time(stream: &At<'_>, mistakes: &mut Mistakes) -> Option<EventTimeSpec> {
    let Some(at) = stream.get("event_time") else {
        if !stream.has("event_time") {
            let message = "missing: where the event time is found; write {missing: received} to use the time received";
            stream.mistake_at("event_time", mistakes, message);
        }
        return None;
    };
    let received = || EventTimeSpec { at: None, format: TimeFormat::Rfc3339, missing: Missing::Received };
    if let Some(text) = at.text() {
        if text == "$received" {
            return Some(received());
        }
        return Some(EventTimeSpec {
            at: Some(Reference(text.into())),
            format: TimeFormat::Rfc3339,
            missing: Missing::DeadLetter,
        });
    }
    if !at.node.items().is_empty() {
        return None;
    }
    let missing = match at.text_of("missing").as_deref() {
        Some("received") => Missing::Received,
        _ => Missing::DeadLetter,
    };
    match at.text_of("at") {
        Some(text) if text == "$received" => Some(received()),
        Some(text) => Some(EventTimeSpec { at: Some(Reference(text)), format: format(&at, mistakes)?, missing }),
        None if at.has("at") => None,
        None if missing == Missing::Received => Some(received()),
        None => {
            at.mistake_at("at", mistakes, "missing: a pointer such as `/timestamp`; or write `missing: received`");
            None
        }
    }
}

fn format(event_time: &At<'_>, mistakes: &mut Mistakes) -> Option<TimeFormat> {
    let at = event_time.get("format")?;
    match at.text() {
        Some("rfc3339") => Some(TimeFormat::Rfc3339),
        Some("unix_ms") => Some(TimeFormat::UnixMs),
        Some("unix_s") => Some(TimeFormat::UnixS),
        Some(_) => None,
        None => {
            let zone = at.text_of("zone")?;
            check_zone(&at, mistakes)?;
            let gap = if at.text_of("gap").as_deref() == Some("later") { Gap::Later } else { Gap::Reject };
            let fold = match at.text_of("fold").as_deref() {
                Some("earlier") => Fold::Earlier,
                Some("later") => Fold::Later,
                _ => Fold::Reject,
            };
            Some(TimeFormat::Pattern { pattern: at.text_of("pattern")?, zone, gap, fold })
        }
    }
}

/// Notes a `zone` that no time zone is called by.
pub fn check_zone(at: &At<'_>, mistakes: &mut Mistakes) -> Option<jiff::tz::TimeZone> {
    let zone = at.text_of("zone")?;
    match jiff::tz::TimeZone::get(&zone) {
        Ok(zone) => Some(zone),
        Err(_) => {
            at.mistake_at("zone", mistakes, format!("no time zone `{zone}`: write an IANA name such as `Europe/Madrid`"));
            None
        }
    }
}

/// How a stream's watermark follows its records, and its lateness.
pub fn watermark(stream: &At<'_>, mistakes: &mut Mistakes) -> Option<(WatermarkPlan, Span)> {
    let lateness = stream.duration_of("lateness");
    let at = stream.get("watermark")?;
    let max_future = at.duration_of("max_future");
    if max_future.is_some_and(|span| span < MAX_FUTURE_MIN) {
        let message = "shorter than 2s: an epoch may stay open for a second, good records would be refused; write 2s or more";
        at.mistake_at("max_future", mistakes, message);
    }
    let max_delay = at.duration_of("max_delay");
    let lateness_or_less = lateness.filter(|l| l.0 > 0).or(max_delay).filter(|s| s.0 > 0).unwrap_or(Span::seconds(60));
    let plan = WatermarkPlan {
        max_delay: max_delay?,
        idle_after: at.duration_of("idle_after")?,
        max_future: max_future?,
        max_ahead: at.duration_of("max_ahead").unwrap_or(lateness_or_less),
        advance_when_all_idle: at.text_of("all_idle").as_deref() != Some("hold"),
    };
    Some((plan, lateness?))
}
