//! Asks each source for its partitions, at start and every so often, on a thread of its own: it may have to wait.

use super::{LOCK, Shared, Stop};
use caudal_pipeline::ports::source::{Discovered, Source, SourceError};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// Time between two questions when all is well.
const EVERY: Duration = Duration::from_secs(15);
/// The first wait after a failure; it doubles up to [`EVERY`].
const BACK_OFF: Duration = Duration::from_millis(250);
/// How soon a thread notices that the run is over.
const NOTICE: Duration = Duration::from_millis(50);

/// Partitions of a stream, or why no answer will ever come.
pub type Answer = (u32, Result<Vec<Discovered>, String>);

/// The threads' answers.
pub struct Discovery(Receiver<Answer>);

impl Discovery {
    /// What has come since the last call.
    pub fn new_partitions(&self) -> Vec<Answer> {
        self.0.try_iter().collect()
    }
}

/// Starts a thread for each source.
pub fn start(sources: &BTreeMap<u32, Arc<dyn Source>>, shared: &Arc<Shared>) -> Discovery {
    let (send, receive) = channel();
    for (stream, source) in sources {
        let (stream, source, shared, send) = (*stream, source.clone(), shared.clone(), send.clone());
        shared.discovery.lock().expect(LOCK).insert(stream, "it has not answered yet".to_owned());
        std::thread::spawn(move || ask(stream, &*source, &shared, &send));
    }
    Discovery(receive)
}

fn ask(stream: u32, source: &dyn Source, shared: &Shared, send: &Sender<Answer>) {
    let mut back_off = BACK_OFF;
    while shared.stopping() == Stop::No {
        let wait = match source.discover() {
            Ok(partitions) => {
                shared.discovery.lock().expect(LOCK).remove(&stream);
                back_off = BACK_OFF;
                if send.send((stream, Ok(partitions))).is_err() {
                    return;
                }
                EVERY
            }
            Err(SourceError::Retry(why)) => {
                shared.discovery.lock().expect(LOCK).insert(stream, why);
                back_off = (back_off * 2).min(EVERY);
                back_off
            }
            Err(SourceError::Stop(why)) => {
                let _ = send.send((stream, Err(why)));
                return;
            }
        };
        pause(wait, shared, Stop::Drain);
    }
}

/// Waits, but not once the run is asked to end like this.
pub(super) fn pause(wait: Duration, shared: &Shared, until: Stop) {
    let mut left = wait;
    while !left.is_zero() && shared.stopping() < until {
        let step = left.min(NOTICE);
        std::thread::sleep(step);
        left -= step;
    }
}
