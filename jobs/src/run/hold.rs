//! Whether this process still has the state of a job, for whoever answers for the job.

use super::clock::running;
use caudal_pipeline::log::{Fence, Taken};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::Thread;
use std::time::Duration;

/// A process's hold on the state of one job, as the process knows it. Clones are the same hold.
#[derive(Clone, Default)]
pub struct Hold(Arc<Mutex<Held>>);

#[derive(Clone, Default)]
struct Held {
    /// As it was taken last.
    fence: Option<Fence>,
    /// When, in running time, the state was last asked that then said it is ours.
    ours_at: Option<Duration>,
    /// Another process was found to have the state.
    lost: bool,
}

impl Hold {
    /// Does what takes the state, first or anew: who is found to have it meanwhile is no other process. What is held after it
    /// is what `take` tells of, or what was held before.
    pub fn taking<T>(&self, take: impl FnOnce(Taken<'_>) -> T) -> T {
        let before = self.lock().fence.take();
        let began = running();
        let outcome = take(&|fence| *self.lock() = Held { fence: Some(fence.clone()), ours_at: Some(began), lost: false });
        let mut now = self.lock();
        if now.fence.is_none() {
            now.fence = before;
        }
        outcome
    }

    /// Whether another process is known to have taken the state.
    pub fn is_known_lost(&self) -> bool {
        self.lock().lost
    }

    /// Whether another process may have taken the state, when what the state said before `since` (running time) says nothing.
    pub fn may_be_lost(&self, since: Duration) -> bool {
        let held = self.lock();
        held.lost || held.ours_at.is_some_and(|at| at < since)
    }

    /// The same as [`Hold::is_known_lost`], after asking the state, so this waits for files or object storage. What does not
    /// answer has lost nothing.
    pub fn is_lost(&self) -> bool {
        let Held { fence, lost, .. } = self.lock().clone();
        let Some(fence) = fence.filter(|_| !lost) else { return lost };
        let began = running();
        let answer = fence.is_lost();
        let mut now = self.lock();
        // Else it was this process that took the next generation.
        if now.fence.as_ref().is_some_and(|now| now.generation() == fence.generation()) {
            match answer {
                Ok(true) => now.lost = true,
                Ok(false) => now.ours_at = now.ours_at.max(Some(began)),
                Err(_) => {}
            }
        }
        now.lost
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().expect("no thread panics while it holds this")
    }
}

/// How often the state is asked whose it is, besides at every append: who repeats epochs or waits for sinks appends nothing.
const ASK: Duration = Duration::from_secs(1);

/// Asks the state, so that [`Hold::is_known_lost`] knows, until this is dropped. On a thread of its own: storage may be slow.
pub struct Asking {
    ends: Arc<AtomicBool>,
    thread: Thread,
}

impl Asking {
    /// Begins.
    pub fn start(hold: &Hold) -> Asking {
        let (hold, ends) = (hold.clone(), Arc::new(AtomicBool::new(false)));
        let ended = ends.clone();
        let asking = std::thread::spawn(move || {
            while !ended.load(Ordering::SeqCst) {
                hold.is_lost();
                std::thread::park_timeout(ASK);
            }
        });
        Asking { ends, thread: asking.thread().clone() }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        // It is not waited for: whom it asks may be away.
        self.thread.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use caudal_pipeline::log::CommitLog;
    use caudal_pipeline::ports::blobs::{Blobs, MemoryBlobs};

    #[test]
    fn what_the_state_said_says_nothing_of_later() {
        let hold = Hold::default();
        assert!(!hold.may_be_lost(Duration::MAX), "nothing was taken");
        let blobs: Arc<dyn Blobs> = Arc::new(MemoryBlobs::default());
        let before = running();
        hold.taking(|taken| CommitLog::open_telling(blobs.clone(), taken).map(drop)).unwrap();
        assert!(!hold.may_be_lost(before));
        let later = running() + Duration::from_nanos(1);
        assert!(hold.may_be_lost(later));
        hold.taking(|_| assert!(hold.may_be_lost(later) && !hold.may_be_lost(before), "it is taken anew, and is not yet"));
        while running() < later {}
        assert!(!hold.is_lost() && !hold.may_be_lost(later), "it was asked again");
        CommitLog::open(blobs.clone()).unwrap();
        assert!(hold.is_lost() && hold.may_be_lost(before));
    }

    #[test]
    fn a_hold_is_lost_to_others_alone() {
        let blobs: Arc<dyn Blobs> = Arc::new(MemoryBlobs::default());
        let hold = Hold::default();
        assert!(!hold.is_lost(), "nothing was taken");
        for _ in 0..2 {
            hold.taking(|taken| CommitLog::open_telling(blobs.clone(), taken).map(drop)).unwrap();
            assert!(!hold.is_lost());
        }
        let other = CommitLog::open(blobs.clone()).unwrap().0;
        assert!(!hold.is_known_lost());
        assert!(hold.is_lost() && hold.is_known_lost());
        // It tries to take what comes after its own, which the other one has.
        assert!(hold.taking(|taken| CommitLog::open_after(2, blobs.clone(), taken).map(drop)).is_err());
        assert!(hold.is_lost(), "as before");
        hold.taking(|taken| CommitLog::open_after(other.generation(), blobs.clone(), taken).map(drop)).unwrap();
        assert!(!hold.is_lost());
    }

    /// Symptom: 503 from a process that nobody had taken over. It asked for the next generation while it took that itself.
    #[test]
    fn who_takes_the_state_anew_while_it_is_asked_has_not_lost_it() {
        let blobs: Arc<dyn Blobs> = Arc::new(MemoryBlobs::default());
        let hold = Hold::default();
        hold.taking(|taken| CommitLog::open_telling(blobs.clone(), taken).map(drop)).unwrap();
        hold.taking(|taken| {
            assert!(!hold.is_lost());
            let (log, _) = CommitLog::open(blobs.clone()).unwrap();
            assert!(!hold.is_lost(), "it is there, and not told of yet");
            taken(log.fence());
        });
        assert!(!hold.is_lost());
    }
}
