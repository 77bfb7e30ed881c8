//! How old what Redis shows is: a reader looks at the board's version all the time, which is when its epoch was opened.

use crate::crash::lives::Stage;
use crate::crash::resp::{Connection, Reply};
use crate::crash::watch::Watch;
use crate::redis;
use serde_json::{Value as Json, json};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const PACE: Duration = Duration::from_millis(2);

/// Each version that was seen first: when, and how long after its epoch was opened.
#[derive(Default)]
pub struct Ages {
    newest: u64,
    seen: Vec<(Instant, Duration)>,
}

/// Watches the board of a job in the shared Redis.
pub fn watch(stage: &Arc<Stage>, job: &str) -> Watch<Ages> {
    let connection = Mutex::new(Connection::open(&redis::shared()));
    let command = ["HGET", &format!("{{{job}}}:asof"), "v"].map(str::to_owned).to_vec();
    Watch::start(stage, PACE, Ages::default(), move |ages| {
        let mut connection = connection.lock().expect("one thread looks");
        let Some(Reply::Text(version)) = connection.ask(std::slice::from_ref(&command)).pop() else { return };
        let version: u64 = version.parse().expect("a version is digits");
        if version > std::mem::replace(&mut ages.newest, version) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
            ages.seen.push((Instant::now(), now.saturating_sub(Duration::from_micros(version))));
        }
    })
}

impl Ages {
    /// Those that were seen within a time, sorted.
    pub fn between(&self, from: Option<Instant>, to: Instant) -> Sorted {
        let within = self.seen.iter().filter(|(at, _)| from.is_none_or(|from| *at >= from) && *at < to);
        let mut ages: Vec<Duration> = within.map(|(_, age)| *age).collect();
        ages.sort();
        Sorted(ages)
    }
}

/// See [`Ages::between`].
pub struct Sorted(Vec<Duration>);

impl Sorted {
    fn percentile(&self, percent: usize) -> Option<Duration> {
        self.0.get((self.0.len() * percent / 100).min(self.0.len().saturating_sub(1))).copied()
    }

    pub fn figures(&self) -> Json {
        let ms = |percent| self.percentile(percent).map(|age| age.as_millis() as u64);
        json!({"p50 ms": ms(50), "p99 ms": ms(99), "versions": self.0.len()})
    }

    /// Not twice as old, beside noise.
    pub fn assert_not_worse_than(&self, before: &Sorted, noise: Duration) {
        for percent in [50, 99] {
            let [now, was] = [self, before].map(|ages| ages.percentile(percent).expect("versions are seen"));
            assert!(now <= 2 * was + noise, "p{percent}: {now:?}, before {was:?}");
        }
    }
}
