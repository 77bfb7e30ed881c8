//! The engine of one case: its sources, state and clock are in memory, and only the case moves the clock.
//!
//! Between two steps everything that was sent is read, bound and in the ledger, and one empty epoch is open. Virtual time
//! never depends on how fast threads are: each round waits, in real time, until all is read, then lets one second pass,
//! which ends the open epoch, and waits until that epoch is in the ledger.

use super::event::Sent;
use super::feed::{Feed, Unread};
use super::read::{Ending, Setting};
use crate::jobfile::{Job, SourceSpec, tables};
use caudal_connectors::kafka::config::Topics;
use caudal_pipeline::engine::{Engine, EngineConfig, Now, Phase};
use caudal_pipeline::log::Fingerprint;
use caudal_pipeline::plan::Plan;
use caudal_pipeline::ports::blobs::MemoryBlobs;
use caudal_pipeline::ports::source::Source;
use caudal_pipeline::time::{Epoch, EventTime, Span};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The engine ends an empty epoch after this.
const ROUND: Span = Span::seconds(1);
/// How long the engine waits for its workers in one turn, in real time.
const TURN: Duration = Duration::from_millis(1);
/// After so much real time without an end, something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// See the module.
pub struct Stage<'j> {
    job: &'j Job,
    plan: Arc<Plan>,
    feeds: BTreeMap<u32, Feed>,
    tables: Vec<tables::Rows>,
    blobs: Arc<MemoryBlobs>,
    engine: Option<Engine>,
    workers: usize,
    now: Now,
    opened_us: i64,
}

impl<'j> Stage<'j> {
    /// Starts the job with empty sources and no state.
    pub fn new(job: &'j Job, setting: &Setting) -> Result<Stage<'j>, String> {
        let feed = |(stream, spec): &(usize, SourceSpec)| {
            let partitions = setting.partitions.get(stream).copied().unwrap_or(1);
            (*stream as u32, Feed::new(topic(spec, &job.plan.streams[*stream].name), partitions))
        };
        let mut stage = Stage {
            job,
            plan: Arc::new(job.plan.clone()),
            feeds: job.sources.iter().map(feed).collect(),
            tables: table_rows(job)?,
            blobs: Arc::default(),
            engine: None,
            workers: setting.workers,
            now: Now { wall_us: setting.start_us, running_us: 0 },
            opened_us: 0,
        };
        stage.start()?;
        Ok(stage)
    }

    /// The running engine.
    pub fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("an engine runs between two steps")
    }

    /// Sends messages, and goes on until everything is in the ledger.
    pub fn send(&mut self, sent: &[Sent]) -> Result<(), String> {
        for one in sent {
            let feed = &self.feeds[&(one.stream as u32)];
            (0..one.times).for_each(|_| feed.push(one.topic.as_deref(), one.partition, one.message.clone()));
        }
        self.discover();
        let mut last = None;
        loop {
            self.read()?;
            self.pass(ROUND)?;
            let unread = self.unread();
            // What is held back stays unread until another partition goes on, which is for the next steps to see to.
            if self.engine().status().quiet || (unread.held_back > 0 && last == Some(unread)) {
                return Ok(());
            }
            last = Some(unread);
        }
    }

    /// Lets time pass while nothing arrives.
    pub fn pass(&mut self, span: Span) -> Result<(), String> {
        self.now.wall_us += span.0;
        self.now.running_us += span.0;
        if self.now.running_us - self.opened_us < ROUND.0 {
            return self.turn();
        }
        let before = self.engine().status().epoch;
        self.opened_us = self.now.running_us;
        self.until("finish an epoch", move |engine| engine.status().epoch > before)
    }

    /// Lets time pass until the stream's event time is complete up to `until`.
    pub fn pass_until(&mut self, stream: usize, until: EventTime) -> Result<(), String> {
        let plan = &self.job.plan.streams[stream];
        let (name, idle_after) = (plan.name.clone(), plan.watermark.idle_after);
        let watermark = |stage: &Stage<'_>| stage.engine().status().watermarks[stream];
        let (mut stood, mut moving) = (Span(0), false);
        loop {
            let before = watermark(self);
            if before >= until {
                return Ok(());
            }
            if stood.0 > 2 * idle_after.0 + ROUND.0 {
                return Err(format!("event time of `{name}` stays at {before}: {}", self.reason(stream, before)));
            }
            let left = if before == EventTime::MIN { idle_after } else { Span(until.0 - before.0) };
            // Once idle, event time follows the clock; until then, only small steps are sure not to pass the goal.
            let step = if moving { left } else { left.min(idle_after) }.max(ROUND);
            self.pass(step)?;
            let after = watermark(self);
            moving = before != EventTime::MIN && after.0 - before.0 == step.0;
            stood = if after > before { Span(0) } else { Span(stood.0 + step.0) };
        }
    }

    fn reason(&self, stream: usize, watermark: EventTime) -> &'static str {
        match self.job.plan.streams[stream].watermark.advance_when_all_idle {
            _ if self.unread().held_back > 0 => "a partition that runs too far ahead of another is held back",
            false => "`all_idle: hold` stops it while nothing arrives; send an event",
            true if watermark == EventTime::MIN => "no event has arrived yet; send one",
            true => "something is not read",
        }
    }

    /// Ends the engine and starts another one from its state.
    pub fn restart(&mut self, workers: Option<usize>, how: Ending) -> Result<(), String> {
        if how == Ending::Stop {
            let engine = self.engine.as_mut().expect("an engine runs between two steps");
            engine.stop(false);
            engine.do_not_wait_for_sinks();
            self.until("stop", |engine| engine.phase() == Phase::Done)?;
        }
        self.end();
        self.workers = workers.unwrap_or(self.workers);
        self.start()
    }

    fn start(&mut self) -> Result<(), String> {
        let config = EngineConfig {
            plan: self.plan.clone(),
            fingerprint: Fingerprint::default(),
            workers: self.workers,
            blobs: self.blobs.clone(),
            sources: self.feeds.iter().map(|(stream, feed)| (*stream, Arc::new(feed.clone()) as Arc<dyn Source>)).collect(),
            tables: self.tables.clone(),
            checkpoint_every: Span::seconds(60),
            in_flight_bytes_max: 1 << 30,
            retain: (0..self.plan.views.len()).map(|view| (view, None)).collect(),
            // A sink that never writes anything: so the ledger keeps all dead letters.
            sinks: vec!["cases".to_owned()],
        };
        self.engine = Some(Engine::start(config).map_err(|error| error.to_string())?);
        self.until("replay", |engine| engine.phase() != Phase::Replaying)?;
        self.discover();
        self.turn()?;
        self.opened_us = self.now.running_us;
        self.pass(ROUND)
    }

    fn end(&mut self) {
        if let Some(engine) = self.engine.take() {
            engine.shut_down();
        }
    }

    /// Tells the engine of the partitions that exist.
    fn discover(&mut self) {
        let engine = self.engine.as_mut().expect("an engine runs between two steps");
        for (stream, feed) in &self.feeds {
            engine.discovered(*stream, feed.discover().expect("memory can be looked at"));
        }
    }

    /// Waits until everything is read that is not held back.
    fn read(&mut self) -> Result<(), String> {
        let began = Instant::now();
        while self.unread().waiting > 0 {
            self.turn()?;
            if began.elapsed() > PATIENCE {
                return Err(format!("the engine does not read what was sent within {} s", PATIENCE.as_secs()));
            }
        }
        Ok(())
    }

    fn unread(&self) -> Unread {
        self.feeds.values().map(Feed::unread).fold(Unread::default(), |all, one| Unread {
            waiting: all.waiting + one.waiting,
            held_back: all.held_back + one.held_back,
        })
    }

    fn until(&mut self, what: &str, done: impl Fn(&Engine) -> bool) -> Result<(), String> {
        let began = Instant::now();
        loop {
            self.turn()?;
            if done(self.engine()) {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                let Epoch(epoch) = self.engine().status().epoch;
                return Err(format!("the engine did not {what} within {} s, the last epoch is {epoch}", PATIENCE.as_secs()));
            }
        }
    }

    fn turn(&mut self) -> Result<(), String> {
        let engine = self.engine.as_mut().expect("an engine runs between two steps");
        engine.turn(self.now, TURN).map_err(|error| error.to_string())?;
        match engine.over_limit() {
            Some(why) => Err(format!("reading would stop here: {why}")),
            None => Ok(()),
        }
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

/// The topic that messages come from where a case names none.
fn topic<'a>(spec: &'a SourceSpec, stream: &'a str) -> &'a str {
    match spec {
        SourceSpec::Kafka(config) => match &config.topics {
            Topics::Named(names) => names.first().map_or(stream, String::as_str),
            Topics::Pattern(_) => stream,
        },
        _ => stream,
    }
}

fn table_rows(job: &Job) -> Result<Vec<tables::Rows>, String> {
    let rows = |(plan, source): (_, &crate::jobfile::TableSource)| {
        let text = std::fs::read_to_string(&source.path).map_err(|error| format!("cannot read {}: {error}", source.path))?;
        tables::rows(&text, source, plan)
    };
    job.plan.tables.iter().zip(&job.tables).map(rows).collect()
}
