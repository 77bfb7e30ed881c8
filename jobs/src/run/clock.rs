//! The only place where the time is read.

use caudal_pipeline::engine::Now;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Wall time and running time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// Running time begins now.
    pub fn start() -> Clock {
        Clock { started: Instant::now() }
    }

    /// Both clocks.
    pub fn now(&self) -> Now {
        Now { wall_us: wall_us(), running_us: i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX) }
    }

    /// The wall clock as a function, for those who only want that.
    pub fn wall() -> Arc<dyn Fn() -> i64 + Send + Sync> {
        Arc::new(wall_us)
    }
}

/// Microseconds since 1970.
pub fn wall_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
