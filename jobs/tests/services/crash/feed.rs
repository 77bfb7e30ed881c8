//! Records that come in all the time, on a thread of their own.

use crate::broker::Writer;
use caudal_connectors::generate::Event;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// A few records, and then a breath: about 150 in a second, so that every life reads what came while nobody lived.
const AT_ONCE: usize = 3;
const BREATH: Duration = Duration::from_millis(20);

/// Sends until it is told to stop.
pub struct Feed {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Feed {
    pub fn start(topic: &str, mut events: impl Iterator<Item = Event> + Send + 'static) -> Feed {
        let ended = Arc::new(AtomicBool::new(false));
        let (topic, told) = (topic.to_owned(), ended.clone());
        let thread = std::thread::spawn(move || {
            let writer = Writer::new();
            let mut sent = 0;
            while !told.load(Ordering::SeqCst) {
                for event in events.by_ref().take(AT_ONCE) {
                    writer.write(&topic, &event);
                    sent += 1;
                }
                std::thread::park_timeout(BREATH);
            }
            writer.flush();
            sent
        });
        Feed { ended, thread }
    }

    /// Stops once all that was sent is in the topic, and tells how many messages that are.
    pub fn stop(self) -> u64 {
        self.ended.store(true, Ordering::SeqCst);
        self.thread.join().expect("the feed does not panic")
    }
}
