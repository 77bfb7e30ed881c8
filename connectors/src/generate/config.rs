//! What a profile says, checked.

use super::fault::Fault;
use super::template::Template;
use super::value::Drawn;

/// One thing that is wrong with a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Dotted path in the profile: `bursts.every`; empty for the whole.
    pub path: String,
    /// What is wrong and what was expected.
    pub message: String,
}

/// When the first event happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At this time, microseconds since 1970.
    At(i64),
    /// So many microseconds before the generator is first started: a replay must be told when that was.
    BeforeNow(i64),
}

/// Seeded load, as described in a job file under `generate` or in a file for `caudal generate`.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// The same seed gives the same bytes.
    pub seed: u64,
    /// Thousandths of an event per second, over all sources, outside bursts.
    pub rate_milli: u64,
    /// Times of more events.
    pub bursts: Option<Bursts>,
    /// Their names; each is a partition.
    pub sources: Vec<String>,
    /// The name of the whole: the topic of its partitions.
    pub name: String,
    /// When the first event happens.
    pub start: Start,
    /// How many events over all sources, those swallowed by silence included; endless without.
    pub count: Option<u64>,
    /// Event time passes this much faster than the pace's clock.
    pub speed: u64,
    /// Share of messages that repeat an earlier one byte for byte.
    pub duplicates: Share,
    /// Events that are out of order, by up to so much.
    pub disorder: Option<Delay>,
    /// Events that come long after they happened.
    pub late: Option<Delay>,
    /// Events that are wrong.
    pub malformed: Option<Malformed>,
    /// Sources that send nothing for a while.
    pub silent: Vec<Silence>,
    /// Named values, drawn once for each event.
    pub(super) values: Vec<(String, Drawn)>,
    /// What events look like.
    pub(super) kinds: Vec<Kind>,
}

/// Every `every_us`, for `length_us`, the rate is `factor_milli` thousandths of the usual one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bursts {
    /// From the beginning of one burst to the next.
    pub every_us: u64,
    /// How long each is.
    pub length_us: u64,
    /// Thousandths of the usual rate.
    pub factor_milli: u64,
}

/// A probability in billionths, so that draws compare whole numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(pub u32);

impl Share {
    /// Always.
    pub const ONE: Share = Share(1_000_000_000);
}

/// A share of events whose event time lies back by something between `least_us` and `most_us`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay {
    /// How many.
    pub share: Share,
    /// At least so much.
    pub least_us: i64,
    /// At most so much.
    pub most_us: i64,
}

/// A share of events that are wrong, in one of these ways each.
#[derive(Clone, Debug, PartialEq)]
pub struct Malformed {
    /// How many.
    pub share: Share,
    /// In which ways, equally often.
    pub faults: Vec<Fault>,
}

/// A source that sends nothing for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence {
    /// Position in `sources`.
    pub source: usize,
    /// Since the start.
    pub from_us: u64,
    /// Since the start; not included.
    pub until_us: u64,
}

/// One kind of event.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kind {
    pub(super) weight: u64,
    pub(super) topic: Option<String>,
    pub(super) key: Template,
    pub(super) body: Template,
}

impl Profile {
    /// Whether it ends by itself.
    pub fn is_finite(&self) -> bool {
        self.count.is_some()
    }
}
