//! The ledger as another plan sees it: the same effects under the same versions, views and streams at their new
//! positions. What belongs to a view or stream that the other plan does not have is left out.

use super::key::Key;
use super::scan::{Range, Snapshot};
use super::table::Stored;
use super::{EpochInfo, Ledger, RunEntry, board};
use crate::positions::Positions;
use crate::record::{DeadLetter, Event};
use crate::run::{RunError, RunWriter};
use crate::time::Epoch;
use serde::{Deserialize, Serialize};

/// A ledger that was carried over.
pub struct Carried {
    /// What the manifest must list.
    pub runs: Vec<RunEntry>,
    /// The newest epoch of what was left out.
    pub left_out: Epoch,
}

impl Ledger {
    /// Writes everything that is sealed again, at its new positions.
    pub fn carry(&self, to: &Positions) -> Result<Carried, RunError> {
        let mut carried = Carried { runs: Vec::new(), left_out: Epoch(0) };
        let Some(((), snapshot)) = self.snapshot(|_, _| ((), Vec::new())) else { return Ok(carried) };
        let mut carrier = Carrier::default();
        for (old, new) in to.views() {
            carrier.all(&snapshot, &board::whole(old), |key, stored| Some((key.with_view(new), stored)))?;
        }
        carrier.all(&snapshot, &Key::dead_letters(), |key, stored| Some((key, dead_letter(stored, to)?)))?;
        carrier.all(&snapshot, &Key::epochs(), |key, stored| Some((key, epoch(stored, to))))?;
        for (old, new) in to.views() {
            carrier.all(&snapshot, &Key::passings(old), |key, stored| Some((key.with_view(new), stored)))?;
        }
        carried.left_out = carrier.left_out.max(self.newest_of_removed(&snapshot, to)?);
        carried.runs.extend(self.written(carrier, false)?);
        let events = self.read().event_runs.clone();
        for run in events {
            let mut carrier = Carrier::default();
            for entry in super::scan::entries(&run, &*self.blobs, Key::from_bytes(Vec::new()), None, Epoch(0)) {
                carrier.take(entry?, |key, stored| Some((key, event(stored, to)?)));
            }
            carried.left_out = carried.left_out.max(carrier.left_out);
            carried.runs.extend(self.written(carrier, true)?);
        }
        Ok(carried)
    }

    fn written(&self, carrier: Carrier, events: bool) -> Result<Option<RunEntry>, RunError> {
        let Carrier { writer, last, .. } = carrier;
        let run = (writer.entries() > 0).then(|| self.write_run(last, events, writer)).transpose()?;
        Ok(run.map(|run| run.entry.clone()))
    }

    /// The newest epoch in which a row changed of a view that the other plan does not have.
    fn newest_of_removed(&self, snapshot: &Snapshot, to: &Positions) -> Result<Epoch, RunError> {
        let mut newest = Epoch(0);
        for entry in snapshot.scan(&Key::rows()) {
            let (key, stored) = entry?;
            let removed = key.as_row().is_some_and(|row| to.view(row.view).is_none());
            newest = if removed { newest.max(stored.epoch) } else { newest };
        }
        Ok(newest)
    }
}

#[derive(Default)]
struct Carrier {
    writer: RunWriter,
    last: Epoch,
    left_out: Epoch,
}

impl Carrier {
    fn all(
        &mut self,
        snapshot: &Snapshot,
        range: &Range,
        mut change: impl FnMut(Key, Stored) -> Option<(Key, Stored)>,
    ) -> Result<(), RunError> {
        for entry in snapshot.scan(range) {
            self.take(entry?, &mut change);
        }
        Ok(())
    }

    fn take(&mut self, (key, stored): (Key, Stored), change: impl FnOnce(Key, Stored) -> Option<(Key, Stored)>) {
        let epoch = stored.epoch;
        match change(key, stored) {
            Some((key, stored)) => {
                self.last = self.last.max(epoch);
                self.writer.push(key.bytes(), &stored.encode());
            }
            None => self.left_out = self.left_out.max(epoch),
        }
    }
}

fn dead_letter(stored: Stored, to: &Positions) -> Option<Stored> {
    changed(stored, |letter: DeadLetter| Some(DeadLetter { stream: to.stream(letter.stream)?, ..letter }))
}

fn event(stored: Stored, to: &Positions) -> Option<Stored> {
    changed(stored, |event: Event| Some(Event { stream: to.stream(event.stream)?, ..event }))
}

fn epoch(stored: Stored, to: &Positions) -> Stored {
    let new = |info: EpochInfo| Some(EpochInfo { watermarks: to.watermarks(&info.watermarks), ..info });
    changed(stored, new).expect("every epoch is kept")
}

/// The same with another value; nothing stays nothing.
fn changed<T: Serialize + for<'a> Deserialize<'a>>(stored: Stored, change: impl FnOnce(T) -> Option<T>) -> Option<Stored> {
    let Some(bytes) = &stored.value else { return Some(stored) };
    let value = change(postcard::from_bytes(bytes).expect("the ledger holds what it was given"))?;
    let bytes = postcard::to_stdvec(&value).expect("it was plain data");
    Some(Stored { value: Some(bytes.into()), ..stored })
}
