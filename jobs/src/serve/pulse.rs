//! Whether the process stood still: stopped, frozen, or starved.

use crate::run::clock::running;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often the process notes that it runs.
const BEAT: Duration = Duration::from_millis(250);

/// The time without a note after which it stood still: less than another process needs to find this one gone and take over.
const STOOD_STILL: Duration = Duration::from_secs(1);

/// Notes that the process runs, on a thread of its own, until it is dropped.
pub struct Pulse(Mutex<Beats>);

#[derive(Clone, Copy)]
struct Beats {
    last: Duration,
    went_on: Duration,
}

impl Pulse {
    /// Begins.
    pub fn start() -> Arc<Pulse> {
        let pulse = Arc::new(Pulse::begun_at(running()));
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

    fn begun_at(now: Duration) -> Pulse {
        Pulse(Mutex::new(Beats { last: now, went_on: now }))
    }

    /// The running time at which the process last began to run, or went on after it had stood still.
    pub fn went_on(&self) -> Duration {
        self.beat_at(running())
    }

    fn beat_at(&self, now: Duration) -> Duration {
        let mut beats = self.0.lock().expect("no thread panics while it holds this");
        if now.saturating_sub(beats.last) > STOOD_STILL {
            beats.went_on = now;
        }
        // Of two threads the one that read the time first may come last.
        beats.last = beats.last.max(now);
        beats.went_on
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stood_still_goes_on_when_it_is_next_noted() {
        let ms = Duration::from_millis;
        let pulse = Pulse::begun_at(ms(100));
        assert_eq!([ms(350), ms(1_350), ms(1_300)].map(|now| pulse.beat_at(now)), [ms(100); 3]);
        assert_eq!([ms(2_351), ms(2_400), ms(3_401)].map(|now| pulse.beat_at(now)), [ms(2_351), ms(2_351), ms(3_401)]);
    }
}
