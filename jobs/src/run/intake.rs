//! Events over HTTP: the job's routes on the public port, and what they wait for.
//!
//! ```text
//! request ─▶ local log ─▶ engine ─▶ epoch in the ledger: its positions ─▶ `bound` ─▶ answer
//! ```
//! An epoch reaches the ledger only after its `Bind` is durable, so its positions are a promise (SEMANTICS 22). What is not
//! bound in time is promised (202) only as long as no other process has taken over, which has made its log from ours, without
//! what comes later; and not by a run that closes the input. While the job starts, is at its limit or ends, nothing is taken.

use super::change::Started;
use super::clock::Clock;
use super::sources::Log;
use super::{RunError, Settings, Stop};
use crate::jobfile::{Job, SourceSpec};
use crate::serve::Attached;
use caudal_connectors::http::{Examine, Intake, Limits, router};
use caudal_connectors::local_log::TornTail;
use caudal_pipeline::decode::{Context, Tables};
use caudal_pipeline::engine::{HeldBack, Phase};
use caudal_pipeline::log::Fence;
use caudal_pipeline::plan::{Plan, StreamInput};
use caudal_pipeline::record::{Offset, Partition, PartitionIndex};
use caudal_pipeline::time::Version;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::watch;

/// The job's intakes. When they are dropped, requests that wait are answered 202, or 503 if another process has taken over,
/// and no other is taken.
#[derive(Default)]
pub struct Intakes {
    streams: Vec<Taken>,
    attached: Option<Arc<Attached>>,
}

impl Drop for Intakes {
    fn drop(&mut self) {
        self.streams.clear();
        // Whoever waits has its answer by then.
        self.attached.iter().for_each(|attached| attached.close());
    }
}

struct Taken {
    stream: u32,
    bound: watch::Sender<Vec<u64>>,
    paused: watch::Sender<Option<String>>,
}

impl Intakes {
    /// Puts the intakes of a job, which has taken the state, on the port. They take nothing before the job is live.
    pub fn open(
        started: &Started<'_>,
        logs: BTreeMap<u32, Log>,
        tables: &Tables,
        fence: &Fence,
        attached: &Arc<Attached>,
    ) -> Intakes {
        let Started { job, shared, settings, .. } = *started;
        let (mut streams, mut intakes) = (Vec::new(), Vec::new());
        for (stream, Log { log, .. }) in logs {
            let name = &job.plan.streams[stream as usize].name;
            let (bound, bound_seen) = watch::channel(vec![0; log.partitions()]);
            let (paused, paused_seen) = watch::channel(Some("the job is starting".to_owned()));
            let (failed, fence, closes) = (shared.clone(), fence.clone(), settings.close);
            intakes.push(Intake {
                examine: examine(&job.plan, stream, tables.clone()),
                job: job.plan.name.clone(),
                stream: name.clone(),
                log,
                bound: bound_seen,
                paused: paused_seen,
                will_be_read: Arc::new(move || !closes && matches!(fence.newer(), Ok(None))),
                now: Clock::wall(),
                failed: Arc::new(move |why| failed.fail(why)),
                limits: Limits::default(),
            });
            streams.push(Taken { stream, bound, paused });
        }
        attached.open(router(intakes));
        Intakes { streams, attached: Some(attached.clone()) }
    }

    /// Says whether events are taken now. Called at every turn of the engine.
    pub fn pause(&self, phase: Phase, stopping: Stop, held_back: Option<HeldBack>) {
        let reason = paused(phase, stopping, held_back);
        for taken in &self.streams {
            taken.paused.send_if_modified(|now| {
                let changed = *now != reason;
                now.clone_from(&reason);
                changed
            });
        }
    }

    /// Answers requests whose records lie below these positions, which an epoch in the ledger has reached.
    pub fn bind(&self, positions: &BTreeMap<u32, Vec<(Partition, Offset)>>) {
        for taken in &self.streams {
            if let Some(positions) = positions.get(&taken.stream) {
                taken.bound.send_if_modified(|bound| advance(bound, positions));
            }
        }
    }
}

/// A place on the port for a job with intakes.
pub fn attach(job: &Job, settings: &Settings) -> Result<Option<Arc<Attached>>, RunError> {
    let has_intakes = job.sources.iter().any(|(_, source)| matches!(source, SourceSpec::Http(_)));
    let attached = has_intakes.then(|| settings.listen.attach(&job.plan.name).map(Arc::new)).transpose();
    attached.map_err(|error| cannot_listen(settings.listen.wanted(), &error))
}

/// What a crash had left, in words.
pub fn torn_words(stream: &str, torn: &TornTail) -> String {
    format!(
        "intake of {stream}, partition {}: a crash had left {} bytes of an unfinished append ({}); nobody was promised them, they are kept in {}",
        torn.partition, torn.bytes, torn.cause, torn.kept_in
    )
}

/// Decodes a message as a worker will, for what it is refused for; the first element's reason, if there are more. When it
/// was received decides nothing of that, so any time will do.
fn examine(plan: &Plan, stream: u32, tables: Tables) -> Examine {
    let stream = &plan.streams[stream as usize];
    let StreamInput::Source(decoder) = &stream.from else { panic!("an intake is a source") };
    let (decoder, topic) = (decoder.clone(), Arc::<str>::from(&*stream.name));
    Arc::new(move |number, message| {
        let (partition, opened) = (Partition { topic: topic.clone(), number }, Version(message.broker_time_us.unwrap_or(0)));
        let context = Context { index: PartitionIndex(0), partition: &partition, opened, tables: &tables };
        let mut decoded = Vec::new();
        decoder.decode(message, &context, &mut decoded);
        decoded.into_iter().find_map(|element| element.err().map(|(_, rejection)| rejection))
    })
}

/// Why nothing is taken now.
fn paused(phase: Phase, stopping: Stop, held_back: Option<HeldBack>) -> Option<String> {
    match (phase, stopping) {
        (Phase::Draining | Phase::Done, _) | (_, Stop::Drain | Stop::Force) => Some("the job is ending".to_owned()),
        (Phase::Replaying, Stop::No) => Some("the job is starting".to_owned()),
        (Phase::Live, Stop::No) => held_back.map(|reason| reason.to_string()),
    }
}

/// Takes over what is bound by now; whether that was news. Positions are not known while bound epochs are replayed.
fn advance(bound: &mut [u64], positions: &[(Partition, Offset)]) -> bool {
    let mut news = false;
    for (partition, next) in positions {
        let place = usize::try_from(partition.number).ok().and_then(|number| bound.get_mut(number));
        if let Some(place) = place.filter(|place| **place < next.0) {
            *place = next.0;
            news = true;
        }
    }
    news
}

fn cannot_listen(address: SocketAddr, error: &std::io::Error) -> RunError {
    RunError::Failed(format!(
        "cannot listen on {address} for events: {error}; free the port, or name another address with --listen: beside a process \
         that is to be taken over there must be one"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_taken_while_the_job_is_live_and_keeps_up() {
        for (phase, stopping, held_back, words) in [
            (Phase::Replaying, Stop::No, None, Some("starting")),
            (Phase::Live, Stop::No, None, None),
            (Phase::Live, Stop::No, Some(HeldBack::DiskFull), Some("disk is full")),
            (Phase::Live, Stop::Drain, Some(HeldBack::InFlight), Some("ending")),
            (Phase::Draining, Stop::No, None, Some("ending")),
            (Phase::Replaying, Stop::Force, None, Some("ending")),
            (Phase::Done, Stop::No, None, Some("ending")),
        ] {
            let reason = paused(phase, stopping, held_back);
            let said = reason.as_deref().unwrap_or_default();
            let right = reason.is_some() == words.is_some() && said.contains(words.unwrap_or_default());
            assert!(right, "{phase:?} {stopping:?} {held_back:?}: {reason:?}");
        }
    }

    #[test]
    fn what_is_bound_never_goes_back_and_unknown_partitions_are_not_ours() {
        let at = |number, next| (Partition { topic: "readings".into(), number }, Offset(next));
        let mut bound = vec![0, 5];
        assert!(advance(&mut bound, &[at(1, 7), at(0, 2), at(9, 1), at(-1, 1)]));
        assert_eq!(bound, [2, 7]);
        assert!(!advance(&mut bound, &[at(1, 6), at(0, 2)]));
        assert_eq!(bound, [2, 7]);
    }
}
