//! When each message is due: a whole-number function of its index, and its inverse.
//!
//! Sources take turns, so message `i` of source `s` is the event `i * sources + s` of all. Between bursts events come
//! at the plain rate, within them at `factor` times that. «Work» is the integral of the factor over time: events are
//! evenly spaced in work, and work turns into time cycle by cycle.

use super::config::Profile;

/// Thousandths: a factor of one.
const ONE: u128 = 1000;

/// When each message of each source is due, relative to the start.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    rate_milli: u128,
    sources: u128,
    count: Option<u64>,
    cycle_us: u128,
    burst_us: u128,
    factor: u128,
}

impl Schedule {
    pub(super) fn new(profile: &Profile) -> Schedule {
        let (cycle, burst, factor) = profile.bursts.map_or((1_000_000, 0, 1000), |b| (b.every_us, b.length_us, b.factor_milli));
        Schedule {
            rate_milli: profile.rate_milli.into(),
            sources: profile.sources.len() as u128,
            count: profile.count,
            cycle_us: cycle.into(),
            burst_us: burst.into(),
            factor: factor.into(),
        }
    }

    /// Microseconds after the start at which message `index` of `source` is due.
    pub(super) fn due_us(&self, source: usize, index: u64) -> u64 {
        let event = u128::from(index) * self.sources + source as u128;
        // Work is microseconds times a factor in thousandths; an event takes one second's work divided by the rate.
        let work = event * 1_000_000 * ONE * 1000 / self.rate_milli;
        let (in_burst, in_cycle) =
            (self.burst_us * self.factor, self.burst_us * self.factor + (self.cycle_us - self.burst_us) * ONE);
        let (cycles, rest) = (work / in_cycle, work % in_cycle);
        let within = if rest < in_burst { rest / self.factor } else { self.burst_us + (rest - in_burst) / ONE };
        u64::try_from(cycles * self.cycle_us + within).unwrap_or(u64::MAX)
    }

    /// How many messages source `source` has; `None` when it never ends.
    pub(super) fn len(&self, source: usize) -> Option<u64> {
        let count = self.count?;
        let sources = self.sources as u64;
        Some(count.saturating_sub(source as u64).div_ceil(sources))
    }

    /// The first index at or after `from` that is due at `us` or later.
    pub(super) fn first_due_from(&self, source: usize, from: u64, us: u64) -> u64 {
        if self.due_us(source, from) >= us {
            return from;
        }
        let mut step = 1u64;
        while self.due_us(source, from.saturating_add(step)) < us && from.saturating_add(step) < u64::MAX {
            step = step.saturating_mul(2);
        }
        let (mut before, mut after) = (from, from.saturating_add(step));
        while after - before > 1 {
            let middle = before + (after - before) / 2;
            if self.due_us(source, middle) < us { before = middle } else { after = middle }
        }
        after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(rate_milli: u128, bursts: Option<(u128, u128, u128)>) -> Schedule {
        let (cycle_us, burst_us, factor) = bursts.unwrap_or((1_000_000, 0, 1000));
        Schedule { rate_milli, sources: 2, count: Some(7), cycle_us, burst_us, factor }
    }

    #[test]
    fn sources_take_turns_at_an_even_pace() {
        let s = schedule(4_000, None);
        assert_eq!(
            (0..3).flat_map(|i| [s.due_us(0, i), s.due_us(1, i)]).collect::<Vec<_>>(),
            [0, 250_000, 500_000, 750_000, 1_000_000, 1_250_000]
        );
        assert_eq!((s.len(0), s.len(1)), (Some(4), Some(3)));
    }

    #[test]
    fn a_burst_packs_its_events_closer() {
        // Ten a second; for the first of every ten seconds five times as many: 50 + 90 in a cycle.
        let s = schedule(10_000, Some((10_000_000, 1_000_000, 5_000)));
        let all: Vec<u64> = (0..70).flat_map(|i| [s.due_us(0, i), s.due_us(1, i)]).collect();
        assert_eq!(all.iter().filter(|us| **us < 1_000_000).count(), 50);
        assert!(all.is_sorted() && all[139] < 10_000_000 && s.due_us(0, 70) == 10_000_000);
    }

    #[test]
    fn the_inverse_finds_the_first_index_due() {
        let s = schedule(10_000, Some((10_000_000, 1_000_000, 5_000)));
        for us in (0..40_000_000).step_by(37_003) {
            let i = s.first_due_from(1, 0, us);
            assert!(s.due_us(1, i) >= us && (i == 0 || s.due_us(1, i - 1) < us), "{us}");
        }
        assert_eq!(s.first_due_from(0, 100, 0), 100);
    }
}
