//! Whether this process still has the state of a job, for whoever answers for the job.

use caudal_pipeline::log::Fence;
use std::sync::{Arc, Mutex};

const LOCK: &str = "no thread panics while it holds this";

/// A process's hold on the state of one job, as the process knows it. Clones are the same hold.
#[derive(Clone, Default)]
pub struct Hold(Arc<Mutex<Option<Fence>>>);

impl Hold {
    /// The state was taken.
    pub fn take(&self, fence: &Fence) {
        *self.0.lock().expect(LOCK) = Some(fence.clone());
    }

    /// This process is about to take the state anew: who is found to have it then is no other process.
    pub fn take_anew(&self) {
        *self.0.lock().expect(LOCK) = None;
    }

    /// Whether another process has taken the state: asks it, so this waits for files or object storage. Where there is no
    /// answer, nothing is known to have been lost.
    pub fn is_lost(&self) -> bool {
        let fence = self.0.lock().expect(LOCK).clone();
        fence.is_some_and(|fence| matches!(fence.newer(), Ok(Some(_))))
    }
}
