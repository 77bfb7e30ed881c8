//! Readers that look again and again, each on a thread of its own.

use super::lives::Stage;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// A reader with what it remembers.
pub struct Watch<T> {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<T>,
}

impl<T: Send + 'static> Watch<T> {
    /// Looks at this pace until it is stopped. A look that panics has seen what must not be: the lives end at once.
    pub fn start(stage: &Arc<Stage>, pace: Duration, mut memory: T, look: impl Fn(&mut T) + Send + 'static) -> Watch<T> {
        let ended = Arc::new(AtomicBool::new(false));
        let (told, alarm) = (ended.clone(), Alarm(stage.clone()));
        let thread = std::thread::spawn(move || {
            let _alarm = alarm;
            while !told.load(Ordering::SeqCst) {
                look(&mut memory);
                std::thread::park_timeout(pace);
            }
            memory
        });
        Watch { ended, thread }
    }

    /// What it remembers in the end.
    pub fn stop(self) -> T {
        self.ended.store(true, Ordering::SeqCst);
        self.thread.join().expect("it has seen nothing that must not be")
    }
}

struct Alarm(Arc<Stage>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.alarm();
        }
    }
}
