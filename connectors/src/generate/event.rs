//! One event: what it is, when it is due, and what should become of it.

use super::config::{Kind, Profile, Start};
use super::fate::{Fate, below, draw, stream};
use super::schedule::Schedule;
use super::value::{Place, Token};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

/// The truth about an event: what a job with matching settings makes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Class {
    /// A right event; it may be out of order by up to the profile's `disorder`.
    Valid,
    /// Byte for byte the message at this index of the same source.
    DuplicateOf(u64),
    /// A wrong event, by the name of its fault.
    Malformed(&'static str),
    /// A right event that comes so many microseconds after it happened.
    Late(i64),
}

impl Class {
    /// The name, for counting.
    pub fn name(&self) -> &'static str {
        match self {
            Class::Valid => "valid",
            Class::DuplicateOf(_) => "duplicate",
            Class::Malformed(_) => "malformed",
            Class::Late(_) => "late",
        }
    }
}

/// A generated message and the truth about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Position of its source, which is its partition's number.
    pub source: usize,
    /// Its offset.
    pub index: u64,
    /// When it is sent, microseconds since 1970.
    pub due_us: i64,
    /// When it happened, as its body says; a duplicate happened when its original did.
    pub event_time_us: i64,
    /// The topic that its kind asks for, if it asks for one.
    pub topic: Option<String>,
    /// The message's key.
    pub key: Vec<u8>,
    /// The message's body.
    pub body: Vec<u8>,
    /// What should become of it.
    pub class: Class,
}

/// A profile with a start: any event of it, at once.
#[derive(Clone, Debug)]
pub struct Generator {
    profile: Arc<Profile>,
    schedule: Schedule,
    start_us: i64,
    anchor_us: i64,
}

impl Generator {
    /// The profile's load as started at `began_us` (microseconds since 1970). A profile whose start is not fixed
    /// replays only if it is given the same `began_us` again: keep it with the job's state.
    pub fn new(profile: Profile, began_us: i64) -> Generator {
        let (start_us, anchor_us) = match profile.start {
            Start::At(us) => (us, us),
            Start::BeforeNow(us) => (began_us.saturating_sub(us), began_us),
        };
        Generator { schedule: Schedule::new(&profile), profile: Arc::new(profile), start_us, anchor_us }
    }

    /// The profile.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// When the first event happens, microseconds since 1970.
    pub fn start_us(&self) -> i64 {
        self.start_us
    }

    /// The event time that a paced source has reached when it is first started.
    pub(super) fn anchor_us(&self) -> i64 {
        self.anchor_us
    }

    /// The number of indices of a source; `None` when it never ends.
    pub fn len(&self, source: usize) -> Option<u64> {
        self.schedule.len(source)
    }

    /// When index `index` of `source` is due, microseconds since 1970 in event time.
    pub fn due_us(&self, source: usize, index: u64) -> i64 {
        self.start_us.saturating_add_unsigned(self.schedule.due_us(source, index))
    }

    /// The first index of `source` that is due at `us` or later.
    pub fn first_due(&self, source: usize, us: i64) -> u64 {
        match u64::try_from(us.saturating_sub(self.start_us)) {
            Ok(after_start) => self.schedule.first_due_from(source, 0, after_start),
            Err(_) => 0,
        }
    }

    /// The first index at or after `index` at which `source` is not silent.
    pub fn next_sent(&self, source: usize, mut index: u64) -> u64 {
        loop {
            let due = self.schedule.due_us(source, index);
            match self.profile.silent.iter().find(|s| s.source == source && s.from_us <= due && due < s.until_us) {
                Some(silence) => index = self.schedule.first_due_from(source, index, silence.until_us),
                None => return index,
            }
        }
    }

    /// The event at `index` of `source`. Asked for an index at which the source is silent or has ended, it tells what
    /// would have been sent.
    pub fn event(&self, source: usize, index: u64) -> Event {
        let mut random = stream(self.profile.seed, source, index);
        match draw(&self.profile, &mut random) {
            Fate::Repeat { back } => match self.original(source, index, back) {
                Some(original) => self.repeat(source, index, original),
                None => self.fresh(source, index, 0, Class::Valid, &mut random),
            },
            Fate::Valid { behind_us } => self.fresh(source, index, behind_us, Class::Valid, &mut random),
            Fate::Late { by_us } => self.fresh(source, index, by_us, Class::Late(by_us), &mut random),
            Fate::Malformed { fault } => self.wrong(source, index, fault, &mut random),
        }
    }

    /// All events in the order in which they are due.
    pub fn events(&self) -> Events {
        let mut events = Events { generator: self.clone(), next: BinaryHeap::new() };
        (0..self.profile.sources.len()).for_each(|source| events.queue(source, 0));
        events
    }

    fn fresh(&self, source: usize, index: u64, behind_us: i64, class: Class, random: &mut ChaCha8Rng) -> Event {
        let due_us = self.due_us(source, index);
        let event_time_us = due_us.saturating_sub(behind_us);
        let bare = self.place(source, index, event_time_us, &[]);
        let named: Vec<Token> = self.profile.values.iter().map(|(_, drawn)| drawn.draw(&bare, random)).collect();
        let place = Place { named: &named, ..bare };
        let kind = self.kind(random);
        let (mut key, mut body) = (Vec::new(), Vec::with_capacity(256));
        kind.key.write(&place, random, &mut key);
        kind.body.write(&place, random, &mut body);
        Event { source, index, due_us, event_time_us, topic: kind.topic.clone(), key, body, class }
    }

    fn wrong(&self, source: usize, index: u64, fault: usize, random: &mut ChaCha8Rng) -> Event {
        let mut event = self.fresh(source, index, 0, Class::Valid, random);
        let faults = self.profile.malformed.as_ref().map_or(&[][..], |m| &m.faults);
        event.class = Class::Malformed(faults[fault].apply(&mut event.body, random));
        event
    }

    fn repeat(&self, source: usize, index: u64, original: u64) -> Event {
        let event = self.event(source, original);
        Event { index, due_us: self.due_us(source, index), class: Class::DuplicateOf(original), ..event }
    }

    /// The nearest right message at `back` places before `index` or earlier: sent, in time, and no repeat itself.
    fn original(&self, source: usize, index: u64, back: u64) -> Option<u64> {
        let from = index.checked_sub(back)?;
        (from.saturating_sub(100)..=from).rev().find(|i| {
            let fate = draw(&self.profile, &mut stream(self.profile.seed, source, *i));
            matches!(fate, Fate::Valid { .. }) && self.next_sent(source, *i) == *i
        })
    }

    fn place<'a>(&'a self, source: usize, index: u64, event_time_us: i64, named: &'a [Token]) -> Place<'a> {
        let source_name = &self.profile.sources[source];
        Place { seed: self.profile.seed, source, source_name, index, event_time_us, named }
    }

    fn kind(&self, random: &mut ChaCha8Rng) -> &Kind {
        let total: u64 = self.profile.kinds.iter().map(|k| k.weight).sum();
        let mut left = below(random.next_u64(), total);
        for kind in &self.profile.kinds {
            if left < kind.weight {
                return kind;
            }
            left -= kind.weight;
        }
        unreachable!("the weights add up to the total")
    }
}

/// All events of a generator in the order in which they are due.
pub struct Events {
    generator: Generator,
    next: BinaryHeap<Reverse<(i64, usize, u64)>>,
}

impl Events {
    fn queue(&mut self, source: usize, from: u64) {
        let index = self.generator.next_sent(source, from);
        if self.generator.len(source).is_none_or(|len| index < len) {
            self.next.push(Reverse((self.generator.due_us(source, index), source, index)));
        }
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let Reverse((_, source, index)) = self.next.pop()?;
        self.queue(source, index + 1);
        Some(self.generator.event(source, index))
    }
}
