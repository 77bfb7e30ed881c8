//! A changed job on the state of the one before: what both have goes on, what is new begins, what is gone stops.
//!
//! ```text
//! old job: … Bind(E) ─ Checkpoint(E) of the old job ─▶ carry over ─ Checkpoint(E) of the new job ─ Bind(E+1) … new job
//! ```
//! State and ledger are written once more with every stream and view at its new position. The new job's checkpoint in the
//! log is the commit point: before it the state is the old job's, after it the new one's.

use super::checkpoint::{self, Manifest};
use super::{Engine, EngineError};
use crate::dataflow::root_of;
use crate::ledger::Cursor;
use crate::log::{CommitLog, Fingerprint, Generation, LogRecord, Taken};
use crate::plan::{Plan, ViewInput, ViewPlan};
use crate::ports::blobs::Blobs;
use crate::positions::Positions;
use crate::run::RunError;
use crate::state::Held;
use crate::time::{Epoch, EventTime, Span};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Whose state this is, as far as the log and manifests say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Who wrote the newest checkpoint.
    pub checkpoint: Option<Fingerprint>,
    /// Who bound the first epoch after it: only the same job and build can form it again.
    pub unfinished: Option<Fingerprint>,
}

impl Standing {
    /// Reads it, and takes nothing: whoever holds the state goes on.
    pub fn of(blobs: &Arc<dyn Blobs>) -> Result<Standing, EngineError> {
        Ok(Standing::read(&**blobs, &CommitLog::peek(blobs.clone())?)?.0)
    }

    /// The same, with the newest manifest. Damage is for the start to judge, which has the checkpoint before.
    pub(super) fn read(blobs: &dyn Blobs, records: &[crate::log::Slot]) -> Result<(Standing, Option<Manifest>), EngineError> {
        let (mut newest, mut away) = (None, None);
        for (_, record) in records.iter().rev() {
            let LogRecord::Checkpoint(checkpoint) = record else { continue };
            match checkpoint::read(blobs, checkpoint) {
                Ok(manifest) => {
                    newest = Some(manifest);
                    break;
                }
                Err(why) => away = away.or(why.is_away().then_some(why)),
            }
        }
        if let (None, Some(why)) = (&newest, away) {
            return Err(EngineError::Failed(why.to_string()));
        }
        let from = newest.as_ref().map_or(Epoch(0), |manifest| manifest.epoch);
        let standing = Standing {
            checkpoint: newest.as_ref().map(|manifest| manifest.fingerprint),
            unfinished: super::start::binds_after(records, from).next().map(|bind| bind.by),
        };
        Ok((standing, newest))
    }

    /// State of another job is not misread, and what another build has bound is not formed by this one.
    pub(super) fn check(&self, own: Fingerprint) -> Result<(), EngineError> {
        if let Some(other) = [self.checkpoint, self.unfinished].iter().flatten().find(|found| found.job != own.job) {
            return Err(EngineError::OtherJob { job: other.job });
        }
        match self.unfinished {
            Some(found) if found.build != own.build => Err(EngineError::Refused(format!(
                "another build of caudal ({:016x}, and this one is {:016x}) has bound epochs that are in no checkpoint, and this \
                 one might form them otherwise: run that build with --drain, then this one",
                found.build, own.build
            ))),
            _ => Ok(()),
        }
    }
}

/// A job as far as its state depends on it.
#[derive(Clone, Copy)]
pub struct Described<'a> {
    /// What it is.
    pub plan: &'a Plan,
    /// The names of its sinks.
    pub sinks: &'a [String],
    /// Of all that alters its results.
    pub fingerprint: Fingerprint,
}

/// Makes the state of `old` that of `new`. Streams and views of one name must be the same in both, and every epoch that
/// `old` has bound must be in its newest checkpoint. Takes a generation, so whoever runs is fenced.
pub fn carry_over(blobs: &Arc<dyn Blobs>, old: Described<'_>, new: Described<'_>, taken: Taken<'_>) -> Result<(), EngineError> {
    let (log, records) = CommitLog::open_telling(blobs.clone(), taken)?;
    let found = checkpoint::newest(blobs, log.generation(), &records, |_| ())?;
    let unfinished =
        || EngineError::Refused("the old job has bound epochs that are in no checkpoint: run it with --drain".into());
    let Some((_, manifest, state, ledger)) = found else { return Err(unfinished()) };
    if manifest.fingerprint.job == new.fingerprint.job {
        return Ok(());
    }
    if manifest.fingerprint.job != old.fingerprint.job {
        return Err(EngineError::OtherJob { job: manifest.fingerprint.job });
    }
    if manifest.ended {
        return Err(EngineError::Refused("the input was closed for ever, so the job cannot be changed any more".into()));
    }
    // After a damaged checkpoint of the new job, what follows may be the new job's already.
    let mut after = super::start::binds_after(&records, manifest.epoch);
    if after.any(|bind| bind.by.job != new.fingerprint.job) {
        return Err(unfinished());
    }
    let to = Positions::between(old.plan, new.plan);
    let failed = |error: RunError| EngineError::Failed(format!("the state could not be carried over: {error}"));
    let carried = ledger.carry(&to).map_err(failed)?;
    check_delivered(&manifest, carried.left_out, old, new)?;
    let name = format!("state/{:010}-{:020}", log.generation(), manifest.epoch.0);
    let is_kept = |operator: &str| {
        let (kind, name) = operator.split_once('/').expect("an operator is named after what it is of");
        let has = |plan: &Plan| match kind {
            "ids" => plan.streams.iter().any(|stream| stream.name == name),
            _ => plan.views.iter().any(|view| view.name == name),
        };
        has(new.plan) && has(old.plan)
    };
    let file = state.carry(&**blobs, &name, is_kept, |_, _, _| None, &to).map_err(failed)?;
    let begins = begins(old.plan, new.plan, &to, &manifest);
    let manifest = Manifest { state: file.into_iter().collect(), ledger: carried.runs, begins, ..moved(manifest, new, &to) };
    commit(&**blobs, log, &manifest, failed)
}

/// Makes a manifest whose files are written the newest checkpoint of the log, unless the process before has bound more.
pub(super) fn commit(
    blobs: &dyn Blobs,
    mut log: CommitLog,
    manifest: &Manifest,
    failed: impl Fn(RunError) -> EngineError,
) -> Result<(), EngineError> {
    let checkpoint = checkpoint::write_manifest(blobs, log.generation(), manifest).map_err(|error| failed(error.into()))?;
    let late = log.begin(&LogRecord::Generation(Generation { generation: log.generation(), workers: 0 }))?;
    if !late.is_empty() {
        return Err(EngineError::Failed("the process before has gone on meanwhile: start again".into()));
    }
    log.append(&LogRecord::Checkpoint(checkpoint))?;
    Ok(())
}

/// Refuses to leave out what changed up to an epoch and a sink of both jobs is owed.
pub(super) fn check_delivered(
    manifest: &Manifest,
    left_out: Epoch,
    old: Described<'_>,
    new: Described<'_>,
) -> Result<(), EngineError> {
    let is_behind = |name: &&String| {
        let passed = manifest.cursors.get(*name).is_some_and(|cursor| cursor.has_passed(left_out));
        left_out > Epoch(0) && new.sinks.contains(*name) && !passed
    };
    match old.sinks.iter().find(is_behind) {
        Some(sink) => Err(EngineError::Refused(format!(
            "sink {sink} has not got everything of what the job no longer has: run the old job until it has caught up, or take \
             the sink away with it"
        ))),
        None => Ok(()),
    }
}

/// What a manifest says of streams and views, at their new positions.
pub(super) fn moved(manifest: Manifest, new: Described<'_>, to: &Positions) -> Manifest {
    let by_stream = |(stream, state)| Some((to.stream(stream)?, state));
    let by_view = |(view, of): (u32, _)| Some((to.view(view)?, of));
    let count = |((stream, verdict), count)| Some(((to.stream(stream)?, verdict), count));
    let mut forgotten = vec![EventTime::MIN; new.plan.views.len()];
    for (old, new) in to.views() {
        forgotten[new as usize] = manifest.forgotten[old as usize];
    }
    let Held { ids, rows, open } = manifest.held;
    Manifest {
        fingerprint: new.fingerprint,
        streams: manifest.streams.into_iter().filter_map(by_stream).collect(),
        counts: manifest.counts.into_iter().filter_map(count).collect(),
        row_counts: manifest.row_counts.into_iter().filter_map(|(view, of)| Some((to.view(view)?, of))).collect(),
        watermarks: to.watermarks(&manifest.watermarks),
        held: Held {
            ids: ids.into_iter().filter_map(|(stream, ids)| Some((to.stream(stream)?, ids))).collect(),
            rows: rows.into_iter().filter_map(by_view).collect(),
            open: open.into_iter().filter_map(by_view).collect(),
        },
        cursors: manifest.cursors.iter().map(|(name, cursor): (&String, &Cursor)| (name.clone(), cursor.carry(to))).collect(),
        forgotten,
        ..manifest
    }
}

/// From when views have whole windows, by name: all that a stream has read lies at or before its newest event time, so a
/// window that starts later has all of its records still before it. Of a session that is so a gap later, as no earlier
/// event can reach it.
fn begins(old: &Plan, new: &Plan, to: &Positions, manifest: &Manifest) -> BTreeMap<String, EventTime> {
    let is_old = |view: &ViewPlan| old.views.iter().any(|other| other.name == view.name);
    let mut begins: BTreeMap<String, EventTime> = BTreeMap::new();
    for view in &new.views {
        let below = match &view.from {
            ViewInput::View { view, .. } => begins.get(&new.views[*view].name).copied(),
            ViewInput::Stream { .. } => None,
        };
        let own = if is_old(view) { manifest.begins.get(&view.name).copied() } else { after_all_read(new, view, to, manifest) };
        begins.extend(own.max(below).map(|begin| (view.name.clone(), begin)));
    }
    begins
}

fn after_all_read(new: &Plan, view: &ViewPlan, to: &Positions, manifest: &Manifest) -> Option<EventTime> {
    let root = root_of(new, view.stream) as u32;
    let (_, state) = manifest.streams.iter().find(|(old, _)| to.stream(**old) == Some(root))?;
    let newest = state.partitions.iter().filter_map(|(_, _, newest)| *newest).max()?;
    Some(newest.plus(Span(1)).plus(view.window.gap()))
}

impl Engine {
    /// Sinks that came to a job which had begun, with what each view's rows must end after to be in the ledger for them.
    pub fn new_sinks(&self) -> &BTreeMap<String, Vec<EventTime>> {
        &self.new_sinks
    }
}
