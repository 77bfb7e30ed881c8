//! Seeded load: events that look like the real ones, with faults in stated shares, and the truth about each.
//!
//! A profile says how many sources send, how fast, what an event looks like and which share of the events is wrong.
//! Message `i` of a source is a pure function of (profile, source, `i`): replay from any index gives the same bytes,
//! on any machine, which is why a job can stand on a generator as it stands on Kafka. Nothing here keeps state,
//! so a duplicate is found by computing the earlier message anew, and a walk is interpolated between fixed posts.
//!
//! ```text
//! index ─schedule─▶ due time ─fate─▶ class ─template─▶ bytes (+ fault) ─▶ Message
//! ```
//!
//! Replay is exact: partition = source, offset = index.
//! Indices are sparse where a source is silent.
//!
//! ```
//! use caudal_connectors::generate::{Generator, Profile};
//!
//! let profile = Profile::parse(&serde_json::json!({
//!     "seed": 7, "rate": 100, "count": 1000, "sources": ["gen-01", "gen-02"],
//!     "start": "2025-01-01T00:00:00Z",
//!     "duplicates": 0.02,
//!     "template": {"id": "{uuid}", "at": "{time}", "unit": "{source}", "kw": {"decimal": {"mean": 800, "deviation": 90, "digits": 1}}},
//! })).unwrap();
//! let generator = Generator::new(profile, 0);
//! assert_eq!(generator.events().count(), 1000);
//! assert_eq!(generator.event(1, 400), generator.event(1, 400));
//! ```

pub mod config;
mod duration;
mod event;
mod fate;
mod fault;
mod parse;
mod read_events;
mod read_faults;
mod read_shapes;
mod reading;
mod schedule;
mod source;
mod template;
mod value;

pub use config::{Mistake, Profile};
pub use event::{Class, Event, Events, Generator};
pub use source::{Pace, Source};
