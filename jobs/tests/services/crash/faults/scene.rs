//! A job under load on which faults fall one after another, with readers who look all the time, and the judgement at
//! the end: the one of the row `process`.

use super::shim::Shim;
use crate::binary::{Binary, Launch};
use crate::cql::Cql;
use crate::crash::feed::Feed;
use crate::crash::lives::{Stage, pause};
use crate::crash::metrics::{self, Counts};
use crate::crash::process::{KEYSPACE, compared};
use crate::crash::seen::Seen;
use crate::crash::trials::Trials;
use crate::crash::watch::Watch;
use crate::crash::{cassandra, redis};
use crate::load::folder;
use crate::running::{addresses, job, own_wind_farm, state};
use crate::{broker, cql};
use caudal_connectors::generate::Event;
use caudal_jobs::jobfile::Job;
use serde_json::{Map, Value as Json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Nothing takes this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(600);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Where the job reads and writes, and what is set besides. Redis is the shared one.
pub struct Places {
    pub brokers: String,
    pub cassandra: String,
    pub set: Vec<String>,
    pub workers: usize,
    /// Given the brokers and a name.
    pub make_topic: fn(&str, &str),
}

impl Places {
    /// The shared services.
    pub fn shared() -> Places {
        Places {
            brokers: broker::shared(),
            cassandra: cql::shared(),
            set: Vec::new(),
            workers: 2,
            make_topic: |brokers, name| broker::make_topic_at(brokers, name, 3, 1),
        }
    }
}

/// See the module.
pub struct Scene {
    pub name: String,
    pub feed: Feed,
    pub shim: Shim,
    pub binary: Binary,
    pub stage: Arc<Stage>,
    places: Places,
    set: Vec<String>,
    job: Arc<Job>,
    state: PathBuf,
    readers: (Watch<Seen>, Watch<Seen>, Watch<u64>),
    figures: Map<String, Json>,
    /// Bytes of what the process has printed that belong to earlier faults.
    heard: usize,
}

impl Scene {
    /// Begins with these records, and is live.
    pub fn begin(test: &str, places: Places, events: impl Iterator<Item = Event> + Send + 'static) -> Scene {
        let (name, mut set) = own_wind_farm(test);
        set.extend([
            format!("streams.readings.from.kafka.properties.bootstrap.servers={}", places.brokers),
            format!("sinks.cold.cassandra.contact_points=['{}']", places.cassandra),
        ]);
        set.extend_from_slice(&places.set);
        let (job, stage) = (job("wind-farm", &set), Stage::new());
        let state = state(test);
        (places.make_topic)(&places.brokers, &name);
        let cold = cassandra::watch_at(&stage, &job, KEYSPACE, Cql::at(&places.cassandra, None));
        let readers = (redis::watch(&stage, &job, |_| ()), cold, metrics::watch(&stage));
        let feed = Feed::start_at(&places.brokers, &name, events);
        let shim = Shim::new(&state);
        let binary = binary(&state, &places, &set, &shim);
        stage.enters(&binary);
        let mut scene =
            Scene { name, feed, shim, binary, stage, places, set, job, state, readers, figures: Map::new(), heard: 0 };
        scene.caught_up();
        scene
    }

    /// Looks until `look` finds something while the process goes on. After a long fault there is much to catch up with.
    pub fn until<T>(&mut self, what: &str, mut look: impl FnMut(&Binary) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.stage.assert_well();
            if let Some(found) = look(&self.binary) {
                return found;
            }
            assert!(self.binary.is_running(), "it ended before: {what}\n{}", self.binary.printed());
            assert!(Instant::now() < deadline, "still not: {what}\n{}", self.binary.printed());
            pause(LOOK_AGAIN);
        }
    }

    /// Waits until the process has printed a line with all these words since the last fault, and returns it.
    pub fn says(&mut self, words: &[&str]) -> String {
        let heard = self.heard;
        let line = self.until(&format!("it says {words:?}"), |binary| line_with(&binary.printed()[heard..], words));
        self.without_places(&line)
    }

    /// For the page: what differs from run to run is left out.
    fn without_places(&self, line: &str) -> String {
        let line = line.replace(&self.job_state().display().to_string(), "STATE").replace(&crate::redis::shared(), "SERVER");
        let begins = [format!("{}: ", self.name), " WARN ".to_owned(), " ERROR ".to_owned()];
        let line = begins.iter().find_map(|begin| Some(line.split_once(begin)?.1)).unwrap_or(&line);
        line.split_once(&format!("caudal_job=\"{}\"", self.name)).map_or(line, |(before, _)| before).trim().to_owned()
    }

    /// Waits until all that was sent before now is counted, and written to both stores; how long that took.
    pub fn caught_up(&mut self) -> Duration {
        let (began, sent) = (Instant::now(), self.feed.sent().max(1) as f64);
        let counted = self.until("all that was sent is counted", |binary| {
            let received = binary.metric("caudal_events_received_total", "")?;
            let epoch = binary.metric("caudal_epoch_timestamp_seconds", "")?;
            (received >= sent).then_some(epoch)
        });
        for sink in [r#"sink="hot""#, r#"sink="cold""#] {
            self.until(&format!("everything is written: {sink}"), |binary| {
                let written = binary.metric("caudal_sink_frontier_timestamp_seconds", sink)?;
                (written >= counted && binary.metric("caudal_sink_up", sink)? == 1.0).then_some(())
            });
        }
        began.elapsed()
    }

    /// Waits until the process has ended by itself with this code, and returns the line with all these words.
    pub fn ends(&mut self, code: i32, words: &[&str]) -> String {
        let status = self.binary.ended();
        let printed = self.binary.printed();
        assert_eq!(status.code(), Some(code), "{printed}");
        let line = line_with(&printed, words).unwrap_or_else(|| panic!("it says nothing of {words:?}:\n{printed}"));
        self.without_places(&line)
    }

    /// Starts the next process, which may not come far.
    pub fn start(&mut self) {
        self.binary = binary(&self.state, &self.places, &self.set, &self.shim);
        self.stage.enters(&self.binary);
        self.heard = 0;
    }

    /// Starts the next process; how long it took until it had caught up.
    pub fn start_again(&mut self) -> Duration {
        let began = Instant::now();
        self.start();
        self.caught_up();
        began.elapsed()
    }

    /// Where the job keeps its state.
    pub fn job_state(&self) -> PathBuf {
        self.state.join("state").join(&self.name)
    }

    /// What a fault did.
    pub fn figure(&mut self, fault: &str, figures: Json) {
        println!("{fault}: {figures}");
        self.figures.insert(fault.to_owned(), figures);
        self.heard = self.binary.printed().len();
    }

    /// Stops the load; in the end every store holds what the topic comes to by hand, and no reader has seen worse.
    pub fn end(mut self, group: &str) {
        self.stage.assert_well();
        metrics::until_watermark(&mut self.binary, "2026-03-28T23:05:00Z");
        self.feed.set_rate(0);
        self.caught_up();
        let sent = self.feed.stop();
        self.binary.until_received(sent);
        let scrape = self.binary.get("/metrics").expect("the port is open").1;
        let (status, printed) = self.binary.terminate();
        assert_eq!(status.code(), Some(0), "{printed}");
        let looks = (self.readers.0.stop().looks(), self.readers.1.stop().looks(), self.readers.2.stop());
        let counts = Counts::of(&scrape).expect("it has counts");
        let topic = broker::contents_at(&self.places.brokers, &self.name);
        let rows = compared(&Cql::at(&self.places.cassandra, None), &self.job, topic, sent, &counts);
        let said = format!(
            "{sent} records, {rows} rows compared: lost 0, duplicated 0, divergent 0; looks at redis {}, cassandra {}, /metrics {}",
            looks.0, looks.1, looks.2
        );
        self.figures.insert(format!("after {group}"), Json::from(said));
        println!("figures {}", Json::Object(self.figures));
    }
}

fn binary(state: &std::path::Path, places: &Places, set: &[String], shim: &Shim) -> Binary {
    let set = [&addresses("wind-farm")[..], set].concat();
    let jobs = [folder("wind-farm").join("job.yaml")];
    Launch { environment: shim.environment(), ..Launch::of(state, places.workers, &jobs, &set) }.start()
}

fn line_with(printed: &str, words: &[&str]) -> Option<String> {
    printed.lines().rev().find(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned)
}

/// The seed of a scene's records, and how many minutes the long faults last where the row is run for its page.
pub fn asked() -> (u64, Option<Duration>) {
    let minutes = std::env::var("CAUDAL_TRIALS").ok().map(|text| text.parse::<u64>().expect("a number"));
    (Trials::asked().seed, minutes.map(|minutes| Duration::from_secs(60 * minutes)))
}

/// For people.
pub fn ms(time: Duration) -> u64 {
    time.as_millis() as u64
}

/// Waits for so long, and looks whether all is well.
pub fn lasts(scene: &mut Scene, time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        pause(Duration::from_millis(200).min(end - Instant::now().min(end)));
        scene.stage.assert_well();
        assert!(scene.binary.is_running(), "it ended by itself:\n{}", scene.binary.printed());
    }
}
