//! `min` and `max` keep a value; `arg_min`, `arg_max`, `first` and `last` keep a record's value and its claim to win.
//!
//! Ties are broken by (event time, id), both of the record itself: of several records with the same extreme, the
//! earliest wins, for `arg_max` as for `arg_min`. Ids are unique where deduplication spans the stream; should two
//! records agree even in id, the smaller shown value wins, so that no order of arrival can ever show.

use super::compiled::{Input, TEXT_BYTES_MAX};
use crate::record::{Id, Record};
use crate::time::EventTime;
use crate::value::Value;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// Which end of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extreme {
    /// `min`.
    Least,
    /// `max`.
    Greatest,
}

impl Extreme {
    /// Its name in a job file.
    pub fn name(self) -> &'static str {
        match self {
            Extreme::Least => "min",
            Extreme::Greatest => "max",
        }
    }
}

/// Keeps the more extreme of what is held and what is offered; null is neither.
#[inline]
pub fn keep_extreme(extreme: Extreme, held: &mut Value, offered: &Value) {
    let better = match extreme {
        Extreme::Least => *held == Value::Null || offered < held,
        // Null is the least of all values, so it needs no case of its own.
        Extreme::Greatest => offered > held,
    };
    if better && *offered != Value::Null {
        held.clone_from(offered);
    }
}

/// What decides which record wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contest {
    /// The least of this field, then the earliest.
    ArgMin(Input),
    /// The greatest of this field, then the earliest.
    ArgMax(Input),
    /// The earliest where the shown field is not null.
    First,
    /// The latest where the shown field is not null.
    Last,
}

/// The record that won, as far as it must be remembered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Winner {
    /// What it won by; null where only time counts.
    pub key: Value,
    /// When it happened.
    pub event_time: EventTime,
    /// What it is called.
    pub id: Id,
    /// What is shown.
    pub value: Value,
}

/// A record's claim to win, borrowed.
#[derive(Clone, Copy)]
struct Claim<'a> {
    key: &'a Value,
    event_time: EventTime,
    id: &'a Id,
    value: &'a Value,
}

impl Winner {
    fn claim(&self) -> Claim<'_> {
        Claim { key: &self.key, event_time: self.event_time, id: &self.id, value: &self.value }
    }
}

impl Claim<'_> {
    fn keep(self) -> Winner {
        Winner { key: self.key.clone(), event_time: self.event_time, id: self.id.clone(), value: self.value.clone() }
    }

    fn by_time(&self, other: &Claim<'_>) -> Ordering {
        (self.event_time, self.id, self.value).cmp(&(other.event_time, other.id, other.value))
    }
}

impl Contest {
    /// Its name in a job file.
    pub fn name(&self) -> &'static str {
        match self {
            Contest::ArgMin(_) => "arg_min",
            Contest::ArgMax(_) => "arg_max",
            Contest::First => "first",
            Contest::Last => "last",
        }
    }

    /// Memory outside of the accumulator, when `shown` is the field that is shown.
    pub(super) fn heap_bytes_max(&self, shown: &Input) -> usize {
        let key = match self {
            Contest::ArgMin(x) | Contest::ArgMax(x) => x.heap_bytes_max(),
            Contest::First | Contest::Last => 0,
        };
        size_of::<Winner>() + TEXT_BYTES_MAX + key + shown.heap_bytes_max()
    }

    /// A record's claim; `None` where the field that decides is null.
    fn claim<'r>(&self, shown: &Input, record: &'r Record) -> Option<Claim<'r>> {
        let value = shown.of(record);
        let (key, decides) = match self {
            Contest::ArgMin(x) | Contest::ArgMax(x) => (x.of(record), x.of(record)),
            Contest::First | Contest::Last => (&Value::Null, value),
        };
        (*decides != Value::Null).then_some(Claim { key, event_time: record.event_time, id: &record.id, value })
    }

    fn beats(&self, claim: &Claim<'_>, held: &Claim<'_>) -> bool {
        let order = match self {
            Contest::ArgMin(_) => claim.key.cmp(held.key).then_with(|| claim.by_time(held)),
            Contest::ArgMax(_) => held.key.cmp(claim.key).then_with(|| claim.by_time(held)),
            Contest::First => claim.by_time(held),
            Contest::Last => held.by_time(claim),
        };
        order == Ordering::Less
    }

    fn offer(&self, held: &mut Option<Box<Winner>>, claim: &Claim<'_>) {
        match held {
            Some(winner) if self.beats(claim, &winner.claim()) => **winner = claim.keep(),
            Some(_) => {}
            None => *held = Some(Box::new(claim.keep())),
        }
    }
}

/// Lets a record contest, showing its field `shown` if it wins.
pub fn offer_winner(contest: &Contest, held: &mut Option<Box<Winner>>, shown: &Input, record: &Record) {
    if let Some(claim) = contest.claim(shown, record) {
        contest.offer(held, &claim);
    }
}

/// Lets the winner among other records contest.
pub fn merge_winner(contest: &Contest, held: &mut Option<Box<Winner>>, other: &Option<Box<Winner>>) {
    if let Some(winner) = other {
        contest.offer(held, &winner.claim());
    }
}
