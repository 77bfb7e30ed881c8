//! The only place where the time is read.

use caudal_pipeline::engine::Now;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Wall time and running time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Duration,
}

impl Clock {
    /// Running time begins now.
    pub fn start() -> Clock {
        Clock { started: running() }
    }

    /// Both clocks.
    pub fn now(&self) -> Now {
        Now {
            wall_us: wall_us(),
            running_us: i64::try_from(running().saturating_sub(self.started).as_micros()).unwrap_or(i64::MAX),
        }
    }

    /// The wall clock as a function, for those who only want that.
    pub fn wall() -> Arc<dyn Fn() -> i64 + Send + Sync> {
        Arc::new(wall_us)
    }
}

/// Running time: CLOCK_BOOTTIME, which goes on while the machine sleeps, so that the wall clock of a laptop that wakes
/// up has not jumped (SEMANTICS 1).
#[cfg(target_os = "linux")]
pub fn running() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(now).expect("time since boot is not negative")
}

/// Running time as far as this system has it.
#[cfg(not(target_os = "linux"))]
pub fn running() -> Duration {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}

/// Microseconds since 1970.
pub fn wall_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
