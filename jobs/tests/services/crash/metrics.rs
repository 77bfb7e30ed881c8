//! `/metrics` of whichever process is on the stage: the verdicts add up in every scrape, and counts never go back, from
//! one life to the next neither.

use super::lives::Stage;
use super::watch::Watch;
use crate::binary::{Binary, get_while, sum};
use std::sync::Arc;
use std::time::Duration;

const PACE: Duration = Duration::from_millis(30);

/// What became of records.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    pub received: u64,
    pub accepted: u64,
    pub filtered: u64,
    pub duplicate: u64,
    pub rejected: u64,
}

impl Counts {
    /// Reads a scrape; nothing while what was bound is repeated.
    pub fn of(metrics: &str) -> Option<Counts> {
        let of = |what: &str| sum(metrics, &format!("caudal_events_{what}_total"), "").map(|count| count as u64);
        Some(Counts {
            received: of("received")?,
            accepted: of("accepted")?,
            filtered: of("filtered")?,
            duplicate: of("duplicate")?,
            rejected: of("rejected")?,
        })
    }

    pub fn assert_they_add_up(&self) {
        assert_eq!(self.received, self.accepted + self.filtered + self.duplicate + self.rejected, "{self:?}");
    }

    fn assert_after(&self, before: &Counts) {
        let pairs = |counts: &Counts| [counts.received, counts.accepted, counts.filtered, counts.duplicate, counts.rejected];
        let goes_on = pairs(before).iter().zip(pairs(self)).all(|(before, now)| *before <= now);
        assert!(goes_on, "counts go back from {before:?} to {self:?}");
    }
}

/// Waits until event time has come so far that a window of each view is complete.
pub fn until_watermark(binary: &mut Binary, time: &str) {
    let seconds = time.parse::<jiff::Timestamp>().unwrap().as_second() as f64;
    binary.until(&format!("the watermark passes {time}"), |binary| {
        (binary.metric("caudal_watermark_timestamp_seconds", "")? > seconds).then_some(())
    });
}

/// Scrapes that had counts.
pub fn watch(stage: &Arc<Stage>) -> Watch<u64> {
    let shared = stage.clone();
    Watch::start(stage, PACE, 0, move |scrapes| {
        let before = shared.now();
        // A process that stands still does not answer, and meanwhile another one comes onto the stage.
        let is_there = || shared.now().life == before.life;
        let answer = before.operators.and_then(|operators| get_while(operators, "/metrics", is_there));
        let Some((200, metrics)) = answer else { return };
        let is_live = sum(&metrics, "caudal_phase", r#"phase="live""#) == Some(1.0);
        let counts = Counts::of(&metrics);
        shared.change(|now| {
            // Another process came onto the stage in the meantime: what this one says is of the past.
            if now.life != before.life {
                return;
            }
            if is_live && now.live.is_none() {
                now.live = Some(now.began.elapsed());
            }
            if let Some(counts) = counts {
                counts.assert_they_add_up();
                counts.assert_after(&now.counts);
                now.counts = counts;
                *scrapes += 1;
            }
        });
    })
}
