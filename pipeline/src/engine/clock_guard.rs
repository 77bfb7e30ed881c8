//! A wall clock that jumps is not believed at once: versions would run ahead of all later ones (SEMANTICS 1).
//!
//! More than five minutes between two looks, against running time, and no epoch opens until the clock has gone evenly
//! for a minute; then it is believed. What is small passes: versions only ever grow.

use super::Now;
use crate::time::Span;

/// A difference that is a jump.
const JUMP: Span = Span::seconds(300);
/// How evenly it must go, and for how long, to be believed.
const EVENLY: Span = Span::seconds(1);
const STANDS: Span = Span::seconds(60);

/// What a look at the clocks says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belief {
    /// Nothing to tell.
    Steady,
    /// It has jumped by so much just now.
    Jumped(Span),
    /// It has jumped before and is not believed yet.
    Waiting,
    /// It is believed from now on.
    Believed,
}

/// Watches the wall clock against running time.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClockGuard {
    /// Wall time minus running time, microseconds, as last believed or last seen.
    offset_us: Option<i64>,
    /// Since when it has gone evenly after a jump, in running time.
    waiting_since_us: Option<i64>,
}

impl ClockGuard {
    /// Whether epochs may open.
    pub fn trusted(&self) -> bool {
        self.waiting_since_us.is_none()
    }

    /// Takes both clocks.
    pub fn look(&mut self, now: Now) -> Belief {
        let offset = now.wall_us - now.running_us;
        let moved = offset - self.offset_us.replace(offset).unwrap_or(offset);
        match self.waiting_since_us {
            None if moved.abs() <= JUMP.0 => Belief::Steady,
            Some(_) if moved.abs() <= EVENLY.0 => self.wait(now),
            _ => {
                self.waiting_since_us = Some(now.running_us);
                Belief::Jumped(Span(moved))
            }
        }
    }

    fn wait(&mut self, now: Now) -> Belief {
        if self.waiting_since_us.is_some_and(|since| now.running_us - since < STANDS.0) {
            return Belief::Waiting;
        }
        self.waiting_since_us = None;
        Belief::Believed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(guard: &mut ClockGuard, wall_s: i64, running_s: i64) -> Belief {
        guard.look(Now { wall_us: wall_s * 1_000_000, running_us: running_s * 1_000_000 })
    }

    #[test]
    fn a_jump_is_believed_once_the_clock_has_stood_for_a_minute() {
        let mut guard = ClockGuard::default();
        assert_eq!(look(&mut guard, 1_000, 0), Belief::Steady);
        assert_eq!(look(&mut guard, 1_240, 1), Belief::Steady, "under five minutes");
        assert_eq!(look(&mut guard, 9_000, 2), Belief::Jumped(Span::seconds(7_759)));
        assert!(!guard.trusted());
        assert_eq!(look(&mut guard, 9_030, 32), Belief::Waiting);
        assert_eq!(look(&mut guard, 5_000, 33), Belief::Jumped(Span::seconds(-4_031)), "and again, backwards");
        assert_eq!(look(&mut guard, 5_059, 92), Belief::Waiting);
        assert_eq!(look(&mut guard, 5_060, 93), Belief::Believed);
        assert!(guard.trusted());
    }
}
