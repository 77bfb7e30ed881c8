//! A generator as a source: a partition for each of its sources, offset = index.

use super::event::Generator;
use caudal_pipeline::ports::source::{self, Discovered, Position, Reader, SourceError};
use caudal_pipeline::record::{Message, Offset, Partition, PartitionIndex};
use std::sync::Arc;

/// When events become ready.
#[derive(Clone)]
pub enum Pace {
    /// As fast as they are polled.
    Unpaced,
    /// As this clock (microseconds since 1970) passes them, the profile's `speed` times as fast as it.
    Clock {
        /// Tells the time.
        now: Arc<dyn Fn() -> i64 + Send + Sync>,
        /// The clock when the generator was first started. What lies before that comes at once.
        began_us: i64,
    },
}

impl Pace {
    /// Event time up to which events are due; `None` for all.
    fn due_until(&self, generator: &Generator) -> Option<i64> {
        match self {
            Pace::Unpaced => None,
            Pace::Clock { now, began_us } => {
                let passed = now().saturating_sub(*began_us).max(0);
                let speed = i64::try_from(generator.profile().speed).unwrap_or(i64::MAX);
                Some(generator.anchor_us().saturating_add(passed.saturating_mul(speed)))
            }
        }
    }
}

/// Seeded load as a source of messages.
pub struct Source {
    generator: Generator,
    pace: Pace,
}

impl Source {
    /// The generator's load at this pace.
    pub fn new(generator: Generator, pace: Pace) -> Source {
        Source { generator, pace }
    }
}

impl source::Source for Source {
    fn discover(&self) -> Result<Vec<Discovered>, SourceError> {
        let topic: Arc<str> = self.generator.profile().name.as_str().into();
        let partition = |number| Partition { topic: Arc::clone(&topic), number };
        let count = i32::try_from(self.generator.profile().sources.len()).expect("a profile has up to 100,000 sources");
        Ok((0..count).map(|number| Discovered { partition: partition(number), start: Offset(0), end: None }).collect())
    }

    fn reader(&self) -> Result<Box<dyn Reader>, SourceError> {
        Ok(Box::new(GeneratorReader { generator: self.generator.clone(), pace: self.pace.clone(), assigned: Vec::new() }))
    }
}

struct Assigned {
    tag: PartitionIndex,
    source: usize,
    next: u64,
    /// When `next` is due; `None` when there is no next.
    due_us: Option<i64>,
    paused: bool,
}

struct GeneratorReader {
    generator: Generator,
    pace: Pace,
    assigned: Vec<Assigned>,
}

impl GeneratorReader {
    /// The partition whose next event is the earliest that is due: sources keep step in event time.
    fn earliest(&self, due_until: Option<i64>) -> Option<usize> {
        let ready = |a: &Assigned| a.due_us.filter(|due| !a.paused && due_until.is_none_or(|until| *due <= until));
        let all = self.assigned.iter().enumerate();
        all.filter_map(|(i, a)| Some((ready(a)?, a.source, i))).min().map(|(_, _, i)| i)
    }

    /// The first index at or after `from` that `source` sends, and when it is due.
    fn next(&self, source: usize, from: u64) -> (u64, Option<i64>) {
        let next = self.generator.next_sent(source, from);
        let exists = self.generator.len(source).is_none_or(|len| next < len);
        (next, exists.then(|| self.generator.due_us(source, next)))
    }
}

impl Reader for GeneratorReader {
    fn assign(&mut self, index: PartitionIndex, partition: &Partition, next: Offset) -> Result<(), SourceError> {
        let profile = self.generator.profile();
        let source = usize::try_from(partition.number).ok().filter(|s| *s < profile.sources.len());
        let Some(source) = source.filter(|_| *partition.topic == *profile.name) else {
            return Err(SourceError::Stop(format!(
                "the generator `{}` has no source {} of `{}`: its profile was changed after the job had started",
                profile.name, partition.number, partition.topic
            )));
        };
        let (next, due_us) = self.next(source, next.0);
        self.assigned.retain(|a| a.tag != index);
        self.assigned.push(Assigned { tag: index, source, next, due_us, paused: false });
        Ok(())
    }

    fn poll(&mut self, budget_bytes: usize, out: &mut Vec<(PartitionIndex, Message)>) -> Result<(), SourceError> {
        let due_until = self.pace.due_until(&self.generator);
        let mut taken = 0;
        while taken < budget_bytes
            && let Some(i) = self.earliest(due_until)
        {
            let Assigned { tag, source, next, .. } = self.assigned[i];
            let event = self.generator.event(source, next);
            (self.assigned[i].next, self.assigned[i].due_us) = self.next(source, next + 1);
            let message = Message {
                offset: Offset(next),
                key: Some(event.key),
                payload: Some(event.body),
                broker_time_us: Some(event.due_us),
                ..Message::default()
            };
            taken += message.len_bytes();
            out.push((tag, message));
        }
        Ok(())
    }

    fn pause(&mut self, index: PartitionIndex, paused: bool) {
        self.assigned.iter_mut().filter(|a| a.tag == index).for_each(|a| a.paused = paused);
    }

    fn position(&self, index: PartitionIndex) -> Position {
        let Some(assigned) = self.assigned.iter().find(|a| a.tag == index) else { return Position::default() };
        let len = self.generator.len(assigned.source);
        let finished = assigned.due_us.is_none();
        match self.pace.due_until(&self.generator) {
            None => Position { at_end: finished, end: len.map(Offset), finished },
            Some(until) => {
                let due = self.generator.first_due(assigned.source, until.saturating_add(1)).min(len.unwrap_or(u64::MAX));
                Position { at_end: finished || assigned.next >= due, end: Some(Offset(due)), finished }
            }
        }
    }
}
