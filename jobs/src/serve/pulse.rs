//! Whether the process stood still: stopped, frozen, or starved.

use crate::run::clock::running;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often the process notes that it runs.
const BEAT: Duration = Duration::from_millis(100);

/// The time without a note after which it stood still: longer than a busy machine keeps a thread waiting, as a rule.
const STOOD_STILL: Duration = Duration::from_millis(500);

/// Notes that the process runs, on a thread of its own, until it is dropped.
pub struct Pulse(Mutex<Beats>);

struct Beats {
    last: Duration,
    went_on: Duration,
}

impl Pulse {
    /// Begins.
    pub fn start() -> Arc<Pulse> {
        Pulse::start_at(running())
    }

    fn start_at(now: Duration) -> Arc<Pulse> {
        let pulse = Arc::new(Pulse(Mutex::new(Beats { last: now, went_on: now })));
        let still_wanted = Arc::downgrade(&pulse);
        std::thread::spawn(move || {
            while let Some(pulse) = still_wanted.upgrade() {
                pulse.went_on();
                drop(pulse);
                std::thread::sleep(BEAT);
            }
        });
        pulse
    }

    /// The running time at which the process last began to run, or went on after it had stood still.
    pub fn went_on(&self) -> Duration {
        self.0.lock().expect("no thread panics while it holds this").beat_at(running())
    }
}

#[cfg(test)]
impl Pulse {
    /// One of a process that has just gone on.
    pub fn after_standing_still() -> Arc<Pulse> {
        Pulse::start_at(Duration::ZERO)
    }

    /// As if the process had stood still until now.
    pub fn stand_still(&self) {
        self.0.lock().expect("no thread panics while it holds this").last = Duration::ZERO;
    }
}

impl Beats {
    fn beat_at(&mut self, now: Duration) -> Duration {
        if now - self.last > STOOD_STILL {
            self.went_on = now;
        }
        self.last = now;
        self.went_on
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn who_stood_still_goes_on_when_it_is_next_noted() {
        let ms = Duration::from_millis;
        let mut beats = Beats { last: ms(100), went_on: ms(100) };
        assert_eq!([ms(350), ms(850)].map(|now| beats.beat_at(now)), [ms(100); 2]);
        assert_eq!([ms(1_351), ms(1_400), ms(1_901)].map(|now| beats.beat_at(now)), [ms(1_351), ms(1_351), ms(1_901)]);
    }

    #[test]
    fn it_beats_by_itself() {
        let pulse = Pulse::start();
        let last = || pulse.0.lock().unwrap().last;
        let (first, began) = (last(), Instant::now());
        while last() < first + 2 * BEAT {
            assert!(began.elapsed() < Duration::from_secs(60), "nothing beats");
            std::thread::yield_now();
        }
    }
}
