//! A stream's watermark: how far its event time is believed to be complete (SEMANTICS 3).
//!
//! `W = min over partitions that are not idle of (newest event time − max_delay)`, and it never goes back. A partition
//! that was never seen holds W at −∞ until a record or confirmed idleness. Once every partition is idle, W follows
//! running time, so that the last window of a quiet stream completes.
//!
//! Only live epochs are decided here; a replayed epoch obeys the W that was bound.

use crate::plan::WatermarkPlan;
use crate::time::{EventTime, Span};

/// What one partition showed while an epoch was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Largest event time of a record that passed the future test.
    pub newest: Option<EventTime>,
    /// Fetches have confirmed that nothing more is there, and reading was neither paused nor failing.
    pub quiet: bool,
}

/// A stream's clock.
#[derive(Clone, Debug)]
pub struct StreamClock {
    plan: WatermarkPlan,
    watermark: EventTime,
    partitions: Vec<PartitionClock>,
    /// The smallest event time with which a partition began.
    began: Option<EventTime>,
}

/// One partition's part in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct PartitionClock {
    newest: Option<EventTime>,
    idle: bool,
    /// Running time, microseconds, since which it has been quiet.
    quiet_since: Option<i64>,
}

impl StreamClock {
    /// A clock that has seen nothing.
    pub fn new(plan: WatermarkPlan) -> StreamClock {
        StreamClock { plan, watermark: EventTime::MIN, partitions: Vec::new(), began: None }
    }

    /// W as of the last epoch.
    pub fn watermark(&self) -> EventTime {
        self.watermark
    }

    /// A new partition joins, unseen: it holds the watermark where it is.
    pub fn add_partition(&mut self) {
        self.partitions.push(PartitionClock::default());
    }

    /// Takes over what a bound epoch said. Downtime resets idleness, so nothing is idle after a start.
    pub fn restore(&mut self, watermark: EventTime, partition: Option<(usize, Option<EventTime>)>) {
        self.watermark = self.watermark.max(watermark);
        if let Some((index, newest)) = partition {
            self.partitions[index].newest = newest;
            self.begin(newest);
        }
    }

    /// The newest event time of a partition.
    pub fn newest(&self, index: usize) -> Option<EventTime> {
        self.partitions[index].newest
    }

    /// Whether a partition is idle.
    pub fn idle(&self, index: usize) -> bool {
        self.partitions[index].idle
    }

    /// Takes what partition `index` showed until `running_us`.
    pub fn observe(&mut self, index: usize, seen: Seen, running_us: i64) {
        if self.partitions[index].newest.is_none() {
            self.begin(seen.newest);
        }
        let partition = &mut self.partitions[index];
        partition.newest = partition.newest.max(seen.newest);
        if seen.newest.is_some() || !seen.quiet {
            partition.idle = false;
            partition.quiet_since = if seen.quiet { Some(running_us) } else { None };
            return;
        }
        let since = *partition.quiet_since.get_or_insert(running_us);
        partition.idle = running_us - since >= self.plan.idle_after.0;
    }

    /// W at the end of an epoch that was closed at `running_us`.
    pub fn advance(&mut self, running_us: i64) -> EventTime {
        let candidate = if self.partitions.iter().any(|p| !p.idle) {
            self.partitions.iter().filter(|p| !p.idle).map(|p| self.claim(p)).min()
        } else {
            self.all_idle(running_us)
        };
        self.watermark = self.watermark.max(candidate.unwrap_or(EventTime::MIN));
        self.watermark
    }

    /// The input has ended: every window that holds an event is complete, if none ends more than `longest` after it.
    pub fn close(&mut self, longest: Span) {
        let newest = self.partitions.iter().filter_map(|p| p.newest).max();
        self.watermark = self.watermark.max(newest.map_or(EventTime::MIN, |newest| newest.plus(longest)));
    }

    fn begin(&mut self, newest: Option<EventTime>) {
        self.began = [self.began, newest].into_iter().flatten().min();
    }

    /// Partitions more than `max_ahead` beyond the slowest that is not idle: to be paused. One that was never seen
    /// counts as where the stream began: while it holds W at −∞, everything that is read stays.
    pub fn too_far_ahead(&self, index: usize) -> bool {
        let slowest = self.partitions.iter().filter(|p| !p.idle).filter_map(|p| p.newest.or(self.began)).min();
        match (self.partitions[index].newest, slowest) {
            (Some(newest), Some(slowest)) => newest > slowest.plus(self.plan.max_ahead),
            _ => false,
        }
    }

    fn claim(&self, partition: &PartitionClock) -> EventTime {
        partition.newest.map_or(EventTime::MIN, |newest| newest.minus(self.plan.max_delay))
    }

    /// Everything is idle: the largest event time, and the time for which that has been so.
    fn all_idle(&self, running_us: i64) -> Option<EventTime> {
        let newest = self.partitions.iter().filter_map(|p| p.newest).max()?;
        let since = self.partitions.iter().filter_map(|p| p.quiet_since).max()?;
        let beyond = if self.plan.advance_when_all_idle { (running_us - since - self.plan.idle_after.0).max(0) } else { 0 };
        Some(EventTime(newest.minus(self.plan.max_delay).0.saturating_add(beyond)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000;

    fn clock(partitions: usize) -> StreamClock {
        let mut clock = StreamClock::new(WatermarkPlan {
            max_delay: Span::seconds(10),
            idle_after: Span::seconds(30),
            max_future: Span::seconds(60),
            max_ahead: Span::seconds(100),
            advance_when_all_idle: true,
        });
        (0..partitions).for_each(|_| clock.add_partition());
        clock
    }

    fn at(seconds: i64) -> Seen {
        Seen { newest: Some(EventTime(seconds * S)), quiet: true }
    }
    const QUIET: Seen = Seen { newest: None, quiet: true };
    const LAG: Seen = Seen { newest: None, quiet: false };

    #[test]
    fn the_slowest_partition_holds_it_and_an_unseen_one_at_minus_infinity() {
        let mut clock = clock(2);
        clock.observe(0, at(100), 0);
        clock.observe(1, QUIET, 0);
        assert_eq!(clock.advance(0), EventTime::MIN);
        clock.observe(1, at(50), S);
        assert_eq!(clock.advance(S), EventTime(40 * S));
        clock.observe(1, at(20), 2 * S);
        assert_eq!(clock.advance(2 * S), EventTime(40 * S), "it never goes back");
    }

    #[test]
    fn an_idle_partition_no_longer_holds_it_unless_it_lags() {
        let mut clock = clock(2);
        for second in 0..=31 {
            clock.observe(0, at(100 + second), second * S);
            clock.observe(1, if second == 5 { LAG } else { QUIET }, second * S);
            assert_eq!(clock.advance(second * S), EventTime::MIN, "lag at 5 s reset the wait");
        }
        for second in 32..=36 {
            clock.observe(0, at(100 + second), second * S);
            clock.observe(1, QUIET, second * S);
        }
        assert_eq!(clock.advance(36 * S), EventTime(126 * S));
    }

    #[test]
    fn when_all_are_idle_it_follows_running_time() {
        let mut clock = clock(1);
        clock.observe(0, at(100), 0);
        assert_eq!(clock.advance(0), EventTime(90 * S));
        for second in 1..=45 {
            clock.observe(0, QUIET, second * S);
        }
        assert_eq!(clock.advance(45 * S), EventTime((90 + 15) * S));
    }

    #[test]
    fn a_partition_far_ahead_of_the_slowest_is_told() {
        let mut clock = clock(2);
        clock.observe(0, at(1000), 0);
        assert!(!clock.too_far_ahead(0), "it has only begun");
        clock.observe(0, at(1100), 0);
        assert!(!clock.too_far_ahead(0));
        clock.observe(0, at(1101), 0);
        assert!(clock.too_far_ahead(0), "the other one was never seen, and may be anywhere");
        clock.observe(1, at(1001), 0);
        assert!(!clock.too_far_ahead(0));
        clock.observe(0, at(1102), 0);
        assert!(clock.too_far_ahead(0) && !clock.too_far_ahead(1));
    }
}
