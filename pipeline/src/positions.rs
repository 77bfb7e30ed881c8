//! Where the streams and views of one plan are in another: a job that changed keeps what it keeps by name.

use crate::plan::{Plan, StreamInput};
use crate::time::EventTime;
use std::collections::BTreeMap;

/// From the positions of an old plan to those of a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Positions {
    streams: BTreeMap<u32, u32>,
    views: BTreeMap<u32, u32>,
    /// For each stream of the new plan: where it was, or else its parent in the new plan.
    origins: Vec<Origin>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Was(usize),
    ChildOf(usize),
    New,
}

impl Positions {
    /// Of what has the same name in both plans.
    pub fn between(old: &Plan, new: &Plan) -> Positions {
        let was = |name: &str| old.streams.iter().position(|stream| stream.name == name);
        let origin = |stream: &crate::plan::StreamPlan| match (was(&stream.name), &stream.from) {
            (Some(at), _) => Origin::Was(at),
            (None, StreamInput::Stream(parent, _)) => Origin::ChildOf(*parent),
            (None, StreamInput::Source(_)) => Origin::New,
        };
        let pairs = |old: Vec<&str>, new: Vec<&str>| -> BTreeMap<u32, u32> {
            let of = |(at, name): (usize, &&str)| Some((at as u32, new.iter().position(|other| other == name)? as u32));
            old.iter().enumerate().filter_map(of).collect()
        };
        Positions {
            streams: pairs(names(&old.streams, |s| &s.name), names(&new.streams, |s| &s.name)),
            views: pairs(names(&old.views, |v| &v.name), names(&new.views, |v| &v.name)),
            origins: new.streams.iter().map(origin).collect(),
        }
    }

    /// Where a stream of the old plan is now.
    pub fn stream(&self, old: u32) -> Option<u32> {
        self.streams.get(&old).copied()
    }

    /// Where a view of the old plan is now.
    pub fn view(&self, old: u32) -> Option<u32> {
        self.views.get(&old).copied()
    }

    /// The views of both plans, old and new position, in the order of the new plan.
    pub fn views(&self) -> Vec<(u32, u32)> {
        let mut pairs: Vec<(u32, u32)> = self.views.iter().map(|(old, new)| (*old, *new)).collect();
        pairs.sort_by_key(|(_, new)| *new);
        pairs
    }

    /// One W for each stream of the new plan, from one for each of the old; none from none.
    pub fn watermarks(&self, old: &[EventTime]) -> Vec<EventTime> {
        if old.is_empty() {
            return Vec::new();
        }
        let mut new: Vec<EventTime> = Vec::with_capacity(self.origins.len());
        for origin in &self.origins {
            new.push(match origin {
                Origin::Was(at) => old[*at],
                Origin::ChildOf(parent) => new[*parent],
                Origin::New => EventTime::MIN,
            });
        }
        new
    }
}

fn names<T>(of: &[T], name: impl Fn(&T) -> &String) -> Vec<&str> {
    of.iter().map(|each| name(each).as_str()).collect()
}
