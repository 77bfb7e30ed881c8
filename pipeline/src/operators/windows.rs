//! The views of one stream: (window, group) → accumulators, and the row changes of each epoch.
//!
//! A window is complete when the watermark passes its end and final a lateness later; what is final is dropped without
//! a word: expiry is never a change. Three states do the thinking: [`spans`](super::spans) for windows that do not
//! overlap (and for none), [`sliding`](super::sliding) for shared panes, [`sessions`](super::sessions).

use super::sessions::Sessions;
use super::sliding::Sliding;
use super::spans::Spans;
use super::{EpochOperator, Partial, Tick};
use crate::aggregate::{Acc, Aggregate};
use crate::group::Group;
use crate::plan::{CalendarUnit, Plan, ViewInput, WindowPlan};
use crate::state::{Expiry, Save, SaveState, StateRows};
use crate::time::{Epoch, EventTime, Span};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Accumulators of one row, one for each aggregate of the view; shared between state and whoever still reads them.
pub type Accs = Arc<[Acc]>;

/// What happened to a row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Change {
    /// It has this value now.
    Value(Accs),
    /// It no longer exists: a merged session.
    Gone,
    /// The same row (group and start) now ends elsewhere; its new value comes beside this.
    Moved,
}

/// One change of one row in one epoch; at most one for each (view, group, start, end).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RowChange {
    /// Position of the view in the plan.
    pub view: u32,
    /// First microsecond after the window.
    pub end: EventTime,
    /// The group.
    pub group: Group,
    /// First microsecond of the window.
    pub start: EventTime,
    /// What happened.
    pub change: Change,
    /// A session that was complete under an earlier end: moving its end re-opens it.
    pub was_complete: bool,
}

/// Cuts event time into windows.
#[derive(Clone, Debug)]
pub enum WindowAssigner {
    /// Adjoining spans from 1970 on.
    Tumbling(Span),
    /// Local days, weeks or months. The last window found is tried first.
    Calendar {
        /// The unit.
        unit: CalendarUnit,
        /// Where.
        zone: TimeZone,
        /// The window of the last call.
        last: (EventTime, EventTime),
    },
    /// All of time.
    Unwindowed,
}

impl WindowAssigner {
    /// The assigner of a plan whose windows do not overlap.
    ///
    /// # Panics
    /// For sliding and session windows, which are cut by their own states, and for an unknown zone: a plan is checked.
    pub fn new(plan: &WindowPlan) -> WindowAssigner {
        match plan {
            WindowPlan::Tumbling { size } => WindowAssigner::Tumbling(*size),
            WindowPlan::Calendar { unit, zone } => WindowAssigner::Calendar {
                unit: *unit,
                zone: TimeZone::get(zone).expect("a plan's time zones exist"),
                last: (EventTime::MAX, EventTime::MAX),
            },
            WindowPlan::Sliding { every, .. } => WindowAssigner::Tumbling(*every),
            WindowPlan::Unwindowed => WindowAssigner::Unwindowed,
            WindowPlan::Session { .. } => panic!("sessions have no fixed windows"),
        }
    }

    /// The window that holds `time`.
    pub fn assign(&mut self, time: EventTime) -> (EventTime, EventTime) {
        match self {
            WindowAssigner::Tumbling(size) => {
                let start = time.0.div_euclid(size.0) * size.0;
                (EventTime(start), EventTime(start + size.0))
            }
            WindowAssigner::Unwindowed => (EventTime::MIN, EventTime::MAX),
            WindowAssigner::Calendar { unit, zone, last } => {
                if !(last.0 <= time && time < last.1) {
                    *last = calendar_window(*unit, zone, time);
                }
                *last
            }
        }
    }
}

/// Whole local days: their lengths follow the clocks (23 and 25 hours where daylight saving begins and ends).
fn calendar_window(unit: CalendarUnit, zone: &TimeZone, time: EventTime) -> (EventTime, EventTime) {
    let in_range = "event times are checked to lie in years 1 to 9999";
    let date = jiff::Timestamp::from_microsecond(time.0).expect(in_range).to_zoned(zone.clone()).date();
    let (first, next) = match unit {
        CalendarUnit::Day => (date, date.tomorrow()),
        CalendarUnit::Week => {
            let monday =
                date.checked_sub(jiff::Span::new().days(i64::from(date.weekday().to_monday_zero_offset()))).expect(in_range);
            (monday, monday.checked_add(jiff::Span::new().days(7)))
        }
        CalendarUnit::Month => {
            let first = date.first_of_month();
            (first, first.checked_add(jiff::Span::new().months(1)))
        }
    };
    let start_of = |date: jiff::civil::Date| {
        let zoned = date.to_zoned(zone.clone()).expect(in_range);
        EventTime(zoned.timestamp().as_microsecond())
    };
    (start_of(first), next.map_or(EventTime::MAX, start_of))
}

/// The state of one view.
enum ViewState {
    Spans(Spans),
    Sliding(Sliding),
    Sessions(Sessions),
}

struct View {
    stream: usize,
    name: String,
    state: ViewState,
}

/// All root views of one stream.
pub struct Windows {
    views: BTreeMap<u32, View>,
    pending: BTreeMap<Epoch, Vec<Partial>>,
    save: SaveState,
}

/// What a view's state needs to know of its plan.
#[derive(Clone)]
pub(super) struct ViewRules {
    pub view: u32,
    pub stream: usize,
    pub aggregates: Vec<Aggregate>,
    pub lateness: Span,
}

impl ViewRules {
    /// Merges `from` into `into`.
    pub fn merge(&self, into: &mut Accs, from: &[Acc]) {
        for ((aggregate, into), from) in self.aggregates.iter().zip(make_mut(into)).zip(from) {
            aggregate.merge(into, from);
        }
    }

    /// Until when a row of a window that ends at `end` is part of the state.
    pub fn expiry(&self, end: EventTime) -> Expiry {
        Expiry { stream: self.stream as u32, until: end.plus(self.lateness) }
    }

    /// Whether a window that ends at `end` is final at `watermark`.
    pub fn is_final(&self, end: EventTime, watermark: EventTime) -> bool {
        end.plus(self.lateness) <= watermark
    }
}

/// The accumulators for writing: copied only while an earlier value of the row is still being read.
fn make_mut(accs: &mut Accs) -> &mut [Acc] {
    if Arc::get_mut(accs).is_none() {
        *accs = accs.iter().cloned().collect();
    }
    Arc::get_mut(accs).expect("the only reference")
}

impl Windows {
    /// The root views of stream `stream`, starting with the rows that live on this worker.
    pub fn new(plan: &Plan, stream: usize, loaded: &StateRows, save: SaveState) -> Windows {
        let mut views = BTreeMap::new();
        for (index, view) in plan.views.iter().enumerate() {
            if !matches!(view.from, ViewInput::Stream { stream: from, .. } if from == stream) {
                continue;
            }
            let (aggregates, lateness) = (view.aggregates.clone(), plan.streams[stream].lateness);
            let rules = ViewRules { view: index as u32, stream, aggregates, lateness };
            let name = format!("view/{}", view.name);
            let mut state = match &view.window {
                WindowPlan::Sliding { size, every } => ViewState::Sliding(Sliding::new(rules, *size, *every)),
                WindowPlan::Session { gap } => ViewState::Sessions(Sessions::new(rules, *gap)),
                _ => ViewState::Spans(Spans::new(rules)),
            };
            for row in loaded.rows(&name) {
                match &mut state {
                    ViewState::Spans(spans) => spans.load(&row),
                    ViewState::Sliding(sliding) => sliding.load(&row),
                    ViewState::Sessions(sessions) => sessions.load(&row),
                }
            }
            views.insert(index as u32, View { stream, name, state });
        }
        Windows { views, pending: BTreeMap::new(), save }
    }
}

impl EpochOperator for Windows {
    type In = Partial;
    type Out = RowChange;

    fn take(&mut self, epoch: Epoch, batch: &mut Vec<Partial>) {
        self.pending.entry(epoch).or_default().append(batch);
    }

    fn close(&mut self, tick: &Tick, out: &mut Vec<RowChange>) {
        for partial in self.pending.remove(&tick.epoch).unwrap_or_default() {
            let view = self.views.get_mut(&partial.view).expect("partials are made for this stream's views");
            match &mut view.state {
                ViewState::Spans(spans) => spans.insert(partial),
                ViewState::Sliding(sliding) => sliding.insert(partial),
                ViewState::Sessions(sessions) => sessions.insert(partial),
            }
        }
        for (index, view) in &mut self.views {
            let (before, after) = (tick.before[view.stream], tick.after[view.stream]);
            match &mut view.state {
                ViewState::Spans(spans) => spans.close(after, out),
                ViewState::Sliding(sliding) => sliding.close(before, after, out),
                ViewState::Sessions(sessions) => sessions.close(before, after, out),
            }
            let (rows, open) = match &view.state {
                ViewState::Spans(spans) => spans.held(after),
                ViewState::Sliding(sliding) => sliding.held(after),
                ViewState::Sessions(sessions) => sessions.held(),
            };
            self.save.hold_rows(tick.epoch, *index, rows, open);
            let rows = match (tick.save, &mut view.state) {
                (Save::Nothing, _) => continue,
                (Save::Changed, ViewState::Spans(spans)) => spans.save(),
                (Save::Changed, ViewState::Sliding(sliding)) => sliding.save(),
                (Save::Changed, ViewState::Sessions(sessions)) => sessions.save(),
                (Save::Whole, ViewState::Spans(spans)) => spans.save_whole(),
                (Save::Whole, ViewState::Sliding(sliding)) => sliding.save_whole(),
                (Save::Whole, ViewState::Sessions(sessions)) => sessions.save_whole(),
            };
            self.save.put(&view.name, rows);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> EventTime {
        EventTime(text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
    }

    #[test]
    fn days_in_madrid_have_23_and_25_hours() {
        let mut days = WindowAssigner::new(&WindowPlan::Calendar { unit: CalendarUnit::Day, zone: "Europe/Madrid".into() });
        for (time, start, hours) in [
            ("2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", 23),
            ("2026-10-25T00:30:00Z", "2026-10-24T22:00:00Z", 25),
            ("2026-07-01T21:59:59.999999Z", "2026-06-30T22:00:00Z", 24),
        ] {
            let (first, end) = days.assign(at(time));
            assert_eq!((first, (end.0 - first.0) / 3_600_000_000), (at(start), hours), "{time}");
        }
    }

    #[test]
    fn weeks_begin_on_monday_and_months_on_the_first() {
        let mut weeks = WindowAssigner::new(&WindowPlan::Calendar { unit: CalendarUnit::Week, zone: "UTC".into() });
        assert_eq!(weeks.assign(at("2026-11-22T23:00:00Z")), (at("2026-11-16T00:00:00Z"), at("2026-11-23T00:00:00Z")));
        let mut months = WindowAssigner::new(&WindowPlan::Calendar { unit: CalendarUnit::Month, zone: "UTC".into() });
        assert_eq!(months.assign(at("2024-02-29T00:00:00Z")), (at("2024-02-01T00:00:00Z"), at("2024-03-01T00:00:00Z")));
    }

    #[test]
    fn times_before_1970_fall_into_the_window_that_holds_them() {
        let mut minutes = WindowAssigner::new(&WindowPlan::Tumbling { size: Span::seconds(60) });
        assert_eq!(minutes.assign(EventTime(-1)), (EventTime(-60_000_000), EventTime(0)));
    }
}
