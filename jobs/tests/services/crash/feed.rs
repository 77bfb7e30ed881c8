//! Records that come in all the time, on a thread of their own.

use crate::broker::{self, Writer};
use caudal_connectors::generate::Event;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Records in a second, so that every life reads what came while nobody lived.
const RATE: u64 = 150;
const BREATH: Duration = Duration::from_millis(20);

/// Sends until it is told to stop.
pub struct Feed {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

struct Shared {
    ended: AtomicBool,
    /// In a second.
    rate: AtomicU64,
    sent: AtomicU64,
}

impl Feed {
    pub fn start(topic: &str, events: impl Iterator<Item = Event> + Send + 'static) -> Feed {
        Feed::start_at(&broker::shared(), topic, events)
    }

    /// The same at other brokers than the shared one.
    pub fn start_at(brokers: &str, topic: &str, events: impl Iterator<Item = Event> + Send + 'static) -> Feed {
        Feed::start_with(brokers, topic, RATE, events)
    }

    /// The same with so many records in a second.
    pub fn start_with(brokers: &str, topic: &str, rate: u64, mut events: impl Iterator<Item = Event> + Send + 'static) -> Feed {
        let shared = Shared { ended: AtomicBool::new(false), rate: AtomicU64::new(rate), sent: AtomicU64::new(0) };
        let shared = Arc::new(shared);
        let (topic, told, writer) = (topic.to_owned(), shared.clone(), Writer::at(brokers));
        let thread = std::thread::spawn(move || {
            let mut last = Instant::now();
            let mut due = 0.0;
            while !told.ended.load(Ordering::SeqCst) {
                let now = Instant::now();
                let rate = told.rate.load(Ordering::SeqCst) as f64;
                // What it could not send in its time is not made up for: the load is never more than what is asked.
                due = (due + (now - last).as_secs_f64() * rate).min(rate / 10.0);
                last = now;
                for event in events.by_ref().take(due as usize) {
                    writer.write(&topic, &event);
                    told.sent.fetch_add(1, Ordering::SeqCst);
                }
                due = due.fract();
                std::thread::park_timeout(BREATH);
            }
            writer.flush();
        });
        Feed { shared, thread }
    }

    /// Messages handed over until now.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::SeqCst)
    }

    /// Goes on at another rate.
    pub fn set_rate(&self, records_per_s: u64) {
        self.shared.rate.store(records_per_s, Ordering::SeqCst);
    }

    /// Stops once all that was sent is in the topic, and tells how many messages that are.
    pub fn stop(self) -> u64 {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.thread.join().expect("the feed does not panic");
        self.shared.sent.load(Ordering::SeqCst)
    }
}
