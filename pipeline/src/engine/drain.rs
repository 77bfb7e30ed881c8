//! How a run ends: what was read is finished, sinks catch up, a last checkpoint.

use super::epochs::{self, Now};
use super::{CURSORS, Engine, EngineError, InFlight, Phase};
use crate::ledger::Cursor;
use crate::time::{Epoch, Span};
use crate::worker::Command;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Engine {
    /// Ends the run: nothing more is read, what was read is finished and checkpointed. With `close`, everything
    /// completes and the state is read-only from then on.
    pub fn stop(&mut self, close: bool) {
        self.close |= close && !self.ended;
        self.stopping = true;
        if self.phase == Phase::Live {
            self.phase = Phase::Draining;
        }
    }

    /// Whether every sink has written everything up to `epoch`.
    fn sinks_have_passed(&self, epoch: Epoch) -> bool {
        let cursors = self.cursors.lock().expect(CURSORS);
        self.config.sinks.iter().all(|name| self.given_up.contains(name) || has_passed(&cursors, name, epoch))
    }

    /// Sinks that have not written everything that there is for them.
    pub fn sinks_behind(&self) -> Vec<String> {
        let cursors = self.cursors.lock().expect(CURSORS);
        self.config.sinks.iter().filter(|name| !has_passed(&cursors, name, self.effects_end)).cloned().collect()
    }

    /// Whether the newest checkpoint knows which sinks have written everything up to `epoch`: a changed job, or one that is
    /// recomputed, goes by that.
    fn passing_is_saved(&self, epoch: Epoch) -> bool {
        let cursors = self.cursors.lock().expect(CURSORS);
        let saved =
            |name: &String| self.checkpoint.kept.back().is_some_and(|(_, _, saved)| has_passed(&saved.cursors, name, epoch));
        self.config.sinks.iter().all(|name| !has_passed(&cursors, name, epoch) || saved(name))
    }

    /// While draining, the last checkpoint waits for the sinks; a dead store would hold it for ever, so whoever drives
    /// the engine ends the wait. What a sink has not written stays in the ledger.
    pub fn do_not_wait_for_sinks(&mut self) {
        self.patient = false;
    }

    /// The same for one sink: its store has refused it for good.
    pub fn do_not_wait_for(&mut self, sink: &str) {
        self.given_up.insert(sink.to_owned());
    }

    /// After the last epoch: one more that completes everything if asked, then a last checkpoint, then done.
    pub(super) fn drain(&mut self, now: Now) -> Result<(), EngineError> {
        if self.phase == Phase::Live && self.checkpoint.last_us.is_none() {
            self.checkpoint.last_us = Some(now.running_us);
        }
        if self.phase != Phase::Draining || !self.in_flight.is_empty() || self.checkpoint.epoch.is_some() {
            return Ok(());
        }
        self.ledger.finish();
        let to_complete = self.close && !self.ended;
        if self.patient && !to_complete && !self.sinks_have_passed(self.effects_end) {
            return Ok(());
        }
        let saved = self.status.checkpoint.map(|(epoch, _)| epoch);
        if to_complete {
            self.ended = true;
            self.last_epoch(now, true);
        } else if self.last_opened.0 == Epoch(0)
            || saved == Some(self.last_opened.0)
                && self.checkpoint.is_sound()
                && (self.ended || self.passing_is_saved(self.effects_end))
        {
            if self.pruned()? {
                self.phase = Phase::Done;
            }
        } else {
            self.checkpoint.wanted = true;
            self.last_epoch(now, false);
        }
        Ok(())
    }

    /// An empty epoch: to save at, and to complete everything if the input is closed.
    fn last_epoch(&mut self, now: Now, close: bool) {
        let epoch = self.last_opened.0.next();
        // A clock that is not believed must not get into the log by the last epoch either.
        let now = if self.guard.trusted() { now } else { Now { wall_us: 0, ..now } };
        let opened = epochs::opening_time(now, self.last_opened.1);
        self.last_opened = (epoch, opened);
        if close {
            self.effects_end = epoch;
            let longest = self.longest_wait();
            self.sources.values_mut().for_each(|source| source.clock.close(longest));
        }
        for (stream, watermark) in &self.at_least {
            self.sources.get_mut(stream).expect("a source stream").clock.restore(*watermark, None);
        }
        let opened_at_us = Some(now.running_us);
        self.in_flight.insert(epoch, InFlight { opened, opened_at_us, closes: close, ..InFlight::default() });
        let nothing = Some(Arc::new(Vec::new()));
        self.tell(&Command::Open(self.opening(epoch, opened, nothing)));
    }

    /// No window of this job becomes final later than this after an event in it.
    fn longest_wait(&self) -> Span {
        let of = |view: &crate::plan::ViewPlan| {
            let longest = view.window.longest().unwrap_or_default();
            Span(longest.0.saturating_add(self.config.plan.streams[view.stream].lateness.0))
        };
        self.config.plan.views.iter().map(of).max().unwrap_or_default()
    }
}

/// Before the first epoch there is nothing to write.
fn has_passed(cursors: &BTreeMap<String, Cursor>, name: &String, epoch: Epoch) -> bool {
    epoch == Epoch(0) || cursors.get(name).is_some_and(|cursor| cursor.has_passed(epoch))
}
