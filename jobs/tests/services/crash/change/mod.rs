//! The row `change`: a job that changes while its stores run on, and a job that is recomputed under the same names.
//!
//! ```text
//! readings ─▶ Kafka ─▶ first ─✂ first ─✂ ─▶ a view more, one less ─✂ … ─▶ other meaning: refused, --rebuild ─✂ --rebuild …
//!                                                       │                  topic truncated: refused, --rebuild ─✂ …
//!                                                       ▼                                          │
//!                               stores = recomputation by plain code          stores = recomputation by the new version
//! ```
//! Each trial has a topic, a state and a Redis of its own. Lives end by kill -9 or SIGTERM at a random moment, in the
//! middle of a change too; a start with `--rebuild` is killed while it recomputes and started again on other workers.
//! `versions` are the job files, `readings` what is sent and what that comes to, `stores` what is there.

mod readings;
mod stores;
mod versions;

use super::feed::Feed;
use super::lives::{Stage, pause};
use super::process::{KEYSPACE, add, looks};
use super::seen::Seen;
use super::trials::Random;
use super::watch::Watch;
use crate::binary::{Binary, Launch};
use crate::cql::Cql;
use crate::running::state;
use crate::{broker, cql};
use caudal_jobs::load;
use caudal_pipeline::record::{Message, Partition};
use readings::{Key, Place, Sent, judged, rows};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use stores::{Found, Stores, dead_letters};
use versions::{COLD_ONLY, GAP_S, LATENESS_S, Places, Version};
use xtask::services::Running;
use xtask::services::process::signal;
use xtask::services::redis::{self as service, RedisOptions};

/// What was removed lies less than this beyond what is left: lateness, `max_delay`, and `max_ahead`, which is the lateness.
const REACH_S: i64 = LATENESS_S + 2 + LATENESS_S;

/// Readings in a second.
const RATE: u64 = 300;
/// After so many readings W is beyond the longest window, the lateness and what may have run ahead.
const ENOUGH: u64 = 1_000;

/// What happened in all trials.
#[derive(Default)]
struct Told {
    changes: u64,
    changes_cut: u64,
    rebuilds: u64,
    rebuilds_cut: u64,
    refused: u64,
    truncated: u64,
    store_away: u64,
    same: u64,
    other: u64,
    gone: u64,
    /// Equal rows that were written again, as the ledger had forgotten them.
    only_in_stores: u64,
    /// Rows that were there before and are marked gone.
    marked_gone: u64,
    /// Rows before those that a truncated topic gives anew.
    as_they_were: u64,
    compared: u64,
    readings: u64,
    longest_rebuild: Duration,
    longest_with_store_away: Duration,
}

#[test]
fn a_changed_job_and_a_recomputed_one_leave_the_stores_right() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let (trials, seed) = (number("CAUDAL_TRIALS"), number("CAUDAL_SEED").unwrap_or(1));
    // A store that hangs takes a client a quarter of a minute to notice.
    let long = trials.is_some();
    let (mut told, mut seen) = (Told::default(), (Vec::new(), Vec::new()));
    for seed in seed..seed + trials.unwrap_or(1) {
        println!("seed {seed}");
        let (hot, cold) = Trial::new(seed, long, &mut told).run();
        seen.0.push(hot);
        seen.1.push(cold);
    }
    let mut figures = told.figures();
    add(&mut figures, looks("redis", &Seen::together(seen.0)));
    add(&mut figures, looks("cassandra", &Seen::together(seen.1)));
    println!("figures {figures}");
    assert!(told.rebuilds_cut > 0 && told.same > 0 && told.other > 0 && told.marked_gone > 0, "too tame");
    assert!(told.only_in_stores > 0 && told.as_they_were > 0 && (told.store_away > 0) == long, "too tame");
}

/// One job through its versions.
struct Trial<'a> {
    told: &'a mut Told,
    seed: u64,
    /// Whether a store is away, too.
    long: bool,
    random: Random,
    places: Places,
    state: PathBuf,
    redis: Running,
    stage: Arc<Stage>,
    sent: Sent,
    messages: u64,
    /// Everything that has ever been in the topic.
    topic: BTreeMap<Place, (Partition, Message)>,
}

impl<'a> Trial<'a> {
    fn new(seed: u64, long: bool, told: &'a mut Told) -> Trial<'a> {
        let name = broker::own(&format!("change-{seed}"));
        broker::make_topic(&name, 3);
        let redis = service::start(&RedisOptions::default()).unwrap();
        let places = Places {
            name: name.clone(),
            kafka: broker::shared(),
            redis: redis.address.clone(),
            cassandra: cql::shared(),
            keyspace: KEYSPACE.to_owned(),
        };
        let state = state(&format!("change-{seed}"));
        std::fs::create_dir_all(&state).unwrap();
        let (random, sent) = (Random::new(seed), Sent::new(seed));
        Trial { told, seed, long, random, places, state, redis, stage: Stage::new(), sent, messages: 0, topic: BTreeMap::new() }
    }

    /// All of it; what readers saw of Redis and of Cassandra.
    fn run(mut self) -> (Seen, Seen) {
        let first = Version::first();
        let readers = self.watch(&first);
        let goes_on = Version { more: vec!["all", "even"], ..first.clone() };
        let begin = self.changes(&first, &goes_on);
        let other = self.other(&goes_on);
        self.recomputed(&goes_on, &other, begin);
        self.truncated(&other);
        self.stage.assert_well();
        (readers.0.stop(), readers.1.stop())
    }

    fn watch(&self, version: &Version) -> (Watch<Seen>, Watch<Seen>) {
        let job = load::job(&self.file(version), &[]).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let hot = super::redis::watch_at(&self.stage, &job, &self.places.redis, |_| ());
        (hot, super::cassandra::watch_at(&self.stage, &job, KEYSPACE, Cql::shared()))
    }

    /// A view is added and one removed: what both have goes on exactly. Tells from when on the new one has all.
    fn changes(&mut self, first: &Version, goes_on: &Version) -> f64 {
        // 1. The first version, whose last life ends in any way.
        let feed = self.feed();
        let mut watermark = 0.0;
        for life in 1..=2 {
            let mut binary = self.start(first, &[]);
            binary.until_received(life * 300 + self.random.below(300));
            // Once each partition has given something.
            watermark = binary.until("it has a watermark", |binary| binary.metric("caudal_watermark_timestamp_seconds", ""));
            self.ends(binary);
        }
        // 2. The next one, killed in the middle of its start too.
        for _ in 0..self.random.below(3) {
            let mut binary = self.start(goes_on, &[]);
            pause(Duration::from_millis(self.random.below(700)));
            self.told.changes_cut += u64::from(binary.metric("caudal_events_received_total", "").is_none());
            binary.kill();
        }
        let mut binary = self.start(goes_on, &[]);
        let begin = |binary: &Binary| binary.metric("caudal_view_begin_timestamp_seconds", r#"view="even""#);
        let from = binary.until("the new view has its begin", begin);
        self.ends(binary);
        let mut binary = self.start(goes_on, &[]);
        assert_eq!(binary.until("the new view has its begin", begin), from);
        self.told.changes += 1;
        let goal = binary.metric("caudal_events_received_total", "").unwrap_or(0.0) as u64;
        binary.until_received(goal.max(feed.sent()) + 300);
        self.sent_all(feed);
        self.settled(binary);
        // 3. What both have is exact, the new one from its begin; of the old one stays what was final.
        let stores = self.stores(&[goes_on.views(), vec!["odd"]].concat());
        let readings = judged(&self.contents()).readings;
        let mut expected = rows(goes_on, &readings);
        expected.retain(|(view, _, start), _| view != "even" || start.is_some_and(|ms| ms as f64 / 1e3 >= from));
        assert!(expected.keys().any(|key| key.0 == "even"), "the new view has rows");
        self.told.compared += stores.assert_hold(goes_on, &expected) as u64;
        self.assert_dead_letters(&[]);
        let final_until = (watermark * 1e3) as i64 - LATENESS_S * 1000;
        for (key, columns) in
            rows(first, &readings).iter().filter(|(key, columns)| key.0 == "odd" && columns["end"] <= final_until)
        {
            for rows in [&stores.redis, &stores.cassandra] {
                assert_eq!(rows.get(key).map(|row| &row.columns), Some(columns), "{key:?} of the view that is no longer there");
            }
        }
        from
    }

    /// A version with another meaning under the same names.
    fn other(&mut self, of: &Version) -> Version {
        let mut other = of.clone();
        let what = self.random.below(7) + 1;
        if what & 1 > 0 {
            other.at_least = 40 + self.random.below(40) as i64;
        }
        if what & 2 > 0 {
            other.most = "min";
        }
        if what & 4 > 0 {
            other.spans_s = [20, 120][self.random.below(2) as usize];
        }
        other
    }

    /// It is refused, and recomputed: then the stores are the new version's, new view included, and nothing is left over.
    fn recomputed(&mut self, before: &Version, version: &Version, begin: f64) {
        // 1. Reading when it ends, so that something may be bound that is in no checkpoint.
        let feed = self.feed();
        let mut binary = self.start(before, &[]);
        assert_eq!(binary.until("it begins", |binary| binary.metric("caudal_view_begin_timestamp_seconds", "")), begin);
        binary.until_received(feed.sent() + self.messages);
        self.ends(binary);
        let were = self.stores(&version.views());
        self.refused(version, &[], &version.differences(before));
        // 2. Recomputed, while Redis does not answer. Nothing is sent, so that nothing else mends what it leaves.
        self.sent_all(feed);
        let binary = self.rebuilt(version, self.long);
        assert_eq!(binary.metric("caudal_view_begin_timestamp_seconds", ""), None, "all views are whole");
        self.settled(binary);
        // 3. All that is in the topic counts.
        let stores = self.stores(&version.views());
        let expected = rows(version, &judged(&self.contents()).readings);
        self.told.compared += stores.assert_hold(version, &expected) as u64;
        self.assert_dead_letters(&[]);
        self.count(&were, &stores, |_| true);
    }

    /// The topic has lost its beginning: what still has all its readings is recomputed, older rows are as they were.
    fn truncated(&mut self, before: &Version) {
        let stores = |trial: &Trial<'_>| trial.stores(&before.views());
        let version = Version { at_least: before.at_least + 15, ..before.clone() };
        let windowed = Version { more: vec!["even"], ..version.clone() };
        // 1. Some partitions lose some of what they had; in one trial of three the last one all of it.
        let (mut lost, all_of_one) = (Vec::new(), self.seed.is_multiple_of(3));
        for (partition, messages) in &self.contents() {
            let (number, whole) = (partition.number, partition.number == 2 && all_of_one);
            if number == 0 || whole || self.random.below(2) == 0 {
                let percent = if whole { 100 } else { 20 + self.random.below(30) };
                broker::delete_before(&self.places.name, number, messages.len() as u64 * percent / 100);
                lost.push(number);
            }
        }
        if all_of_one {
            // It may have had anything up to its newest reading: windows that lack it may still change. They no longer may
            // once enough has come after it.
            self.refused(&windowed, &["--rebuild"], &["has rows that may still change".to_owned()]);
            let feed = self.feed();
            let mut binary = self.start(before, &[]);
            binary.until_received(self.messages + ENOUGH);
            self.sent_all(feed);
            binary.until_received(self.messages);
            let (status, printed) = binary.terminate();
            assert_eq!(status.code(), Some(0), "{printed}");
        }
        let were = stores(self);
        let first = judged(&self.contents()).first;
        let from = |partition: &i32| (first[partition] + REACH_S * 1000) * 1000;
        let from_us = lost.iter().map(from).max().expect("one has lost some");
        self.told.truncated += 1;
        // 2. What has no window cannot be recomputed, and all else can.
        self.refused(&version, &["--rebuild"], &["views.all".to_owned()]);
        let version = windowed;
        let unchanged = rows(before, &judged(&self.ever()).readings);
        let feed = self.feed();
        let binary = self.rebuilt(&version, false);
        let begin = binary.metric("caudal_view_begin_timestamp_seconds", r#"view="spans""#);
        assert_eq!(begin.map(|seconds| (seconds * 1e6).round() as i64), Some(from_us), "R and what may have run ahead");
        self.sent_all(feed);
        self.settled(binary);
        // 3. Older rows to the byte and the version, the others as the new version has them.
        let stores = stores(self);
        let gap_us = |view: &str| if view == "naps" { GAP_S * 1_000_000 } else { 0 };
        let is_old = |key: &Key| key.0 == "all" || key.2.is_some_and(|start| start * 1000 < from_us + gap_us(&key.0));
        let contents = self.contents();
        let mut expected = rows(&version, &judged(&contents).readings);
        expected.retain(|key, _| !is_old(key));
        for (were, are) in [(&were.redis, &stores.redis), (&were.cassandra, &stores.cassandra)] {
            let old = |rows: &stores::Rows| -> stores::Rows {
                rows.iter().filter(|(key, _)| is_old(key)).map(|(key, row)| (key.clone(), row.clone())).collect()
            };
            let (were, are) = (old(were), old(are));
            assert_eq!(were.iter().find(|(key, row)| are.get(*key) != Some(*row)), None, "an older row has changed");
            // Complete only now, with what it had.
            let mut come = are.iter().filter(|(key, _)| !were.contains_key(*key));
            assert_eq!(come.find(|(key, row)| unchanged.get(*key) != Some(&row.columns)), None, "an older row has come");
            self.told.as_they_were += are.len() as u64;
            let there = are.into_iter().filter(|(key, row)| !row.gone && key.0 != "all");
            expected.extend(there.map(|(key, Found { columns, .. })| (key, columns)));
        }
        self.told.compared += stores.assert_hold(&version, &expected) as u64;
        self.assert_dead_letters(&contents);
        self.count(&were, &stores, |key| !is_old(key));
    }

    fn file(&self, version: &Version) -> PathBuf {
        let path = self.state.join("job.yaml");
        std::fs::write(&path, version.file(&self.places)).unwrap();
        path
    }

    /// A life on another number of workers.
    fn start(&mut self, version: &Version, more: &[&str]) -> Binary {
        let (jobs, workers) = ([self.file(version)], 1 + self.random.below(4) as usize);
        self.stage.assert_well();
        Launch { more, ..Launch::of(&self.state, workers, &jobs, &[]) }.start()
    }

    /// A life ends, by kill -9 or as asked to.
    fn ends(&mut self, mut binary: Binary) {
        if self.random.below(2) == 0 {
            binary.kill();
        } else {
            let (status, printed) = binary.terminate();
            assert_eq!(status.code(), Some(0), "{printed}");
        }
    }

    fn feed(&self) -> Feed {
        Feed::start_with(&self.places.kafka, &self.places.name, RATE, self.sent.clone())
    }

    fn sent_all(&mut self, feed: Feed) {
        let messages = feed.stop();
        self.messages += messages;
        self.told.readings += messages;
    }

    /// Everything is read, and written: it ends in order.
    fn settled(&mut self, mut binary: Binary) {
        let lost = self.messages - self.contents().iter().map(|(_, messages)| messages.len() as u64).sum::<u64>();
        binary.until_received(self.messages - lost);
        let (status, printed) = binary.terminate();
        assert_eq!(status.code(), Some(0), "{printed}");
    }

    /// What lies in the topic, which is kept for what is lost later.
    fn contents(&mut self) -> Vec<(Partition, Vec<Message>)> {
        let topic = broker::contents(&self.places.name);
        for (partition, messages) in &topic {
            let placed =
                messages.iter().map(|message| ((partition.number, message.offset.0), (partition.clone(), message.clone())));
            self.topic.extend(placed);
        }
        topic
    }

    /// Everything that has ever been in the topic.
    fn ever(&self) -> Vec<(Partition, Vec<Message>)> {
        let mut all: BTreeMap<Partition, Vec<Message>> = BTreeMap::new();
        for (partition, message) in self.topic.values() {
            all.entry(partition.clone()).or_default().push(message.clone());
        }
        all.into_iter().collect()
    }

    fn stores(&self, views: &[&str]) -> Stores {
        Stores::read(&self.places, views)
    }

    /// Each record that was ever refused is told once, also by a version that was recomputed since; so is one that
    /// repeats a record which a truncated topic has lost, and contradicts another that this has kept.
    fn assert_dead_letters(&self, truncated: &[(Partition, Vec<Message>)]) {
        let refused = [judged(&self.ever()).refused, judged(truncated).refused].into_iter().flatten();
        let refused: BTreeMap<Place, String> = refused.map(|(place, reason)| (place, reason.to_owned())).collect();
        assert_eq!(dead_letters(&self.places), refused, "dead letters");
    }

    /// A start ends with exit code 3 and names these.
    fn refused(&mut self, version: &Version, more: &[&str], paths: &[String]) {
        let mut binary = self.start(version, more);
        assert_eq!(binary.ended().code(), Some(3), "{}", binary.printed());
        let said = binary.printed();
        assert!(paths.iter().all(|path| said.contains(path)), "{paths:?}:\n{said}");
        self.told.refused += 1;
    }

    /// Recomputed, after some starts that were killed meanwhile.
    fn rebuilt(&mut self, version: &Version, with_store_away: bool) -> Binary {
        let more = ["--rebuild"];
        for _ in 0..1 + self.random.below(3) {
            let mut binary = self.start(version, &more);
            if self.random.below(2) == 0 {
                binary.until("it recomputes", |binary| binary.printed().contains("recomputing from").then_some(()));
            }
            pause(Duration::from_millis(self.random.below(400)));
            binary.kill();
            let said = binary.printed();
            self.told.rebuilds_cut += u64::from(!said.contains("recomputed: "));
            self.tell(&said);
        }
        if with_store_away {
            signal(self.redis.process.id(), "-STOP").unwrap();
        }
        let began = Instant::now();
        let mut binary = self.start(version, &more);
        if with_store_away {
            binary.until("it waits for the store", |binary| binary.printed().contains("the rebuild waits").then_some(()));
            signal(self.redis.process.id(), "-CONT").unwrap();
            self.told.store_away += 1;
        }
        binary.until("it is recomputed", |binary| binary.printed().contains("recomputed: ").then_some(()));
        let longest = if with_store_away { &mut self.told.longest_with_store_away } else { &mut self.told.longest_rebuild };
        *longest = (*longest).max(began.elapsed());
        let is_live = |said: &str| said.split_once("recomputed: ").is_some_and(|(_, rest)| rest.contains("the job is live"));
        binary.until("it reads", |binary| is_live(&binary.printed()).then_some(()));
        self.told.rebuilds += 1;
        self.tell(&binary.printed());
        binary
    }

    /// Adds what a rebuild said of rows.
    fn tell(&mut self, said: &str) {
        let Some((_, rest)) = said.split_once("recomputed: ") else { return };
        let numbers: Vec<u64> = rest.split([' ', ',']).filter_map(|word| word.parse().ok()).take(3).collect();
        let [other, gone, same] = numbers[..] else { panic!("three numbers: {rest}") };
        self.told.other += other;
        self.told.gone += gone;
        self.told.same += same;
    }

    /// Counts what became of rows that were there: those that came out the same were not written again, but for those
    /// that only Cassandra knew; those that do not come out any more are marked.
    fn count(&mut self, were: &Stores, are: &Stores, recomputed: impl Fn(&Key) -> bool) {
        for (were, are) in [(&were.redis, &are.redis), (&were.cassandra, &are.cassandra)] {
            for (key, was) in were.iter().filter(|(key, row)| !row.gone && recomputed(key)) {
                let is = are.get(key).unwrap_or_else(|| panic!("{key:?} was deleted"));
                self.told.marked_gone += u64::from(is.gone);
                if !is.gone && is.columns == was.columns && is.version != was.version {
                    assert!(COLD_ONLY.contains(&key.0.as_str()), "{key:?} came out the same, and was written again");
                    self.told.only_in_stores += 1;
                }
            }
        }
    }
}

impl Told {
    fn figures(&self) -> Json {
        json!({
            "changes": self.changes,
            "changes cut": self.changes_cut,
            "starts refused, with the differences": self.refused,
            "rebuilds": self.rebuilds,
            "rebuilds cut": self.rebuilds_cut,
            "rebuilds from a truncated topic": self.truncated,
            "rebuilds that waited for a store": self.store_away,
            "records": self.readings,
            "recomputed rows: same": self.same,
            "recomputed rows: other or new": self.other,
            "recomputed rows: gone": self.gone,
            "rows that only a store knew, the same, and written again": self.only_in_stores,
            "rows of stores marked gone": self.marked_gone,
            "rows older than what was recomputed, as they were": self.as_they_were,
            "rows compared": self.compared,
            "left over": 0,
            "differing": 0,
            "longest rebuild (ms)": self.longest_rebuild.as_millis() as u64,
            "longest rebuild while a store is away (ms)": self.longest_with_store_away.as_millis() as u64,
        })
    }
}
