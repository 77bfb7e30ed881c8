//! How many rows a view's state can hold at once, with how many records in them, and what that takes.

use super::{Part, records, spaced};
use crate::plan::{CalendarUnit, Plan, ViewPlan, WindowPlan};
use crate::time::{SECOND_US, Span};
use crate::value::FieldType;

const HOUR_US: i64 = 3_600 * SECOND_US;
const DAY_US: i64 = 24 * HOUR_US;

/// A text in a group: 64 bytes, its tag and end, and what the allocator adds.
pub(super) const GROUP_TEXT_BYTES: u64 = 96;
/// A row in a window's hash table besides its group and accumulators, as the table is right after growing.
const ROW_BYTES: u64 = 160;
/// The same of a session, which is indexed twice, and of a sliding pane in an ordered map.
const INDEXED_ROW_BYTES: u64 = 320;
/// A lower row in a roll-up: in the map that is saved, and in differential's batches, of which two are merged at a time.
const PART_BYTES: u64 = 480;
/// Lower rows are merged in so many buckets.
const BUCKETS: u64 = 16;
/// A saved row besides group and accumulators: in memory, and its bytes in the file.
const SAVED_ROW_BYTES: u64 = 160;

/// What a view holds at most.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    /// Its groups; `None` if no limit says.
    pub(super) groups: Option<u64>,
    /// Rows in all.
    pub(super) rows: Option<u64>,
    /// Records that are counted in these rows; `None` if a row may hold any number.
    records: Option<u64>,
    /// Rows that hold any number of records besides: sessions that have been going on for long.
    endless: u64,
    row_bytes: u64,
    /// Rows leave with W.
    windowed: bool,
    /// How it came about, for people.
    shape: String,
}

impl Rows {
    /// Of `plan.views[view]`, with `ahead` of event time before W.
    pub fn of(plan: &Plan, view: usize, ahead: Span) -> Rows {
        let view = &plan.views[view];
        let alive = plan.streams[view.stream].lateness.0.saturating_add(ahead.0);
        let groups = if view.group.is_empty() { Some(1) } else { plan.limits.groups };
        let (windows, span, shape) = match &view.window {
            WindowPlan::Unwindowed => return Rows::unwindowed(groups),
            WindowPlan::Tumbling { size } => (alive / size.0 + 2, alive.saturating_add(size.0), format!("windows of {size}")),
            WindowPlan::Calendar { unit, .. } => {
                let (name, shortest, longest) = lengths(*unit);
                (alive / shortest + 2, alive.saturating_add(longest), format!("windows of a {name}"))
            }
            WindowPlan::Sliding { size, every } => {
                let alive = alive.saturating_add(size.0);
                (alive / every.0 + 2, alive.saturating_add(every.0), format!("panes of {every}"))
            }
            WindowPlan::Session { gap } => (alive / gap.0 + 2, alive.saturating_add(gap.0), format!("sessions {gap} apart")),
        };
        let windows = windows.unsigned_abs();
        let records = records(&plan.limits, Span(span));
        let by_groups = groups.map(|groups| groups.saturating_mul(windows));
        // A row has a record at least, so that there are no more rows than records.
        let rows = by_groups.into_iter().chain(records).min();
        let session = matches!(view.window, WindowPlan::Session { .. });
        let indexed = session || matches!(view.window, WindowPlan::Sliding { .. });
        Rows {
            groups,
            rows,
            records,
            endless: if session { groups.or(rows).unwrap_or(0) } else { 0 },
            row_bytes: if indexed { INDEXED_ROW_BYTES } else { ROW_BYTES },
            windowed: true,
            shape: format!("{} {shape}", spaced(windows)),
        }
    }

    fn unwindowed(groups: Option<u64>) -> Rows {
        let shape = "one row a group for ever".to_owned();
        Rows { groups, rows: groups, records: None, endless: 0, row_bytes: ROW_BYTES, windowed: false, shape }
    }

    /// Records in a row where they are spread evenly.
    fn per_row(&self) -> u64 {
        self.records.zip(self.rows).map_or(u64::MAX, |(records, rows)| records.div_ceil(rows.max(1)))
    }

    /// What all rows take: `fixed` bytes each, and what `of` says of a row with so many records in it.
    pub fn bytes(&self, fixed: u64, of: impl Fn(u64) -> u64) -> Option<u64> {
        let full = of(u64::MAX);
        let spread = |rows: u64| rows.saturating_mul(of(self.per_row())).saturating_add(self.endless.saturating_mul(full));
        let held = |rows: u64| spread(rows).min(rows.saturating_mul(full));
        self.rows.map(|rows| rows.saturating_mul(fixed).saturating_add(held(rows)))
    }

    /// What `of` says of a row that may hold all records.
    pub fn fullest(&self, of: impl Fn(u64) -> u64) -> u64 {
        of(self.records.filter(|_| self.endless == 0).unwrap_or(u64::MAX))
    }

    /// The part of a view that is made from a stream.
    pub fn root(&self, view: &ViewPlan) -> Part {
        let bytes = self.bytes(self.row_bytes + group_bytes(view), |n| live(view, n));
        Part { what: format!("rows of {}", view.name), bytes, from: self.from() }
    }

    fn from(&self) -> String {
        match (self.rows, self.groups) {
            (None, _) => format!("{}: declare limits.groups", self.shape),
            (Some(_), Some(1)) => format!("{}{}", self.shape, self.records_each()),
            (Some(rows), None) => format!("{} rows: one for each record; limits.groups would say less", spaced(rows)),
            (Some(_), Some(groups)) => format!("{} × {} groups{}", self.shape, spaced(groups), self.records_each()),
        }
    }

    /// With so many rows more, unless there is one a group for ever.
    pub(super) fn plus(mut self, rows: u64) -> Rows {
        if self.windowed {
            self.rows = self.rows.map(|of_limits| of_limits.saturating_add(rows));
        }
        self
    }

    /// What so many rows come from, for people, and the limit that would allow more.
    pub(super) fn allowed_by(&self) -> (String, &'static str) {
        match (self.groups, self.records) {
            (Some(groups), _) if self.rows < self.records || self.records.is_none() => {
                (format!("{} × {} groups", self.shape, spaced(groups)), "limits.groups")
            }
            _ => ("one for each record".to_owned(), "limits.events_per_s"),
        }
    }

    fn records_each(&self) -> String {
        match self.records {
            Some(_) => format!(", of {} records each", spaced(self.per_row())),
            None => String::new(),
        }
    }

    /// The part of a roll-up of `lower` rows: those that can still change, the base of those that cannot, and the rows
    /// merged from them, by bucket and whole, old ones until differential has merged its batches.
    pub fn rollup(&self, view: &ViewPlan, lower_name: &str, lower: &Rows) -> Part {
        let group = group_bytes(view);
        let parts = lower.bytes(PART_BYTES + 4 * group, |n| live(view, n));
        let merged = self.rows.zip(lower.rows).map(|(rows, parts)| {
            let buckets = rows.saturating_mul(BUCKETS).min(rows.saturating_add(parts));
            let by_bucket = Rows { rows: Some(buckets), ..self.clone() };
            let whole = self.bytes(PART_BYTES + 2 * group, |n| live(view, n)).unwrap_or(0);
            let by_bucket = by_bucket.bytes(PART_BYTES + 2 * group, |n| live(view, n)).unwrap_or(0);
            whole.saturating_mul(3).saturating_add(by_bucket)
        });
        let bytes = parts.zip(merged).map(|(parts, merged)| parts.saturating_add(merged));
        let from = match (lower.rows, self.rows) {
            (Some(lower), Some(rows)) => format!("{} rows of {lower_name}, merged into {}", spaced(lower), spaced(rows)),
            _ => format!("rows of {lower_name}: declare limits.groups"),
        };
        Part { what: format!("roll-up {}", view.name), bytes, from }
    }

    /// What a copy of it takes while it is saved: state rows in memory, and the bytes of the file.
    pub fn saved_bytes(&self, view: &ViewPlan, lower: Option<&Rows>) -> Option<u64> {
        let fixed = SAVED_ROW_BYTES + 3 * group_bytes(view);
        let own = self.bytes(fixed, |n| 2 * saved(view, n))?;
        let parts = lower.map_or(Some(0), |lower| lower.bytes(fixed, |n| 2 * saved(view, n)))?;
        Some(own.saturating_add(parts))
    }
}

/// A calendar unit's name, its shortest and its longest: daylight saving takes an hour, or gives one.
fn lengths(unit: CalendarUnit) -> (&'static str, i64, i64) {
    match unit {
        CalendarUnit::Day => ("day", DAY_US - HOUR_US, DAY_US + HOUR_US),
        CalendarUnit::Week => ("week", 7 * DAY_US - HOUR_US, 7 * DAY_US + HOUR_US),
        CalendarUnit::Month => ("month", 28 * DAY_US - HOUR_US, 31 * DAY_US + HOUR_US),
    }
}

/// A row's accumulators with so many records in them.
pub(super) fn live(view: &ViewPlan, records: u64) -> u64 {
    view.aggregates.iter().map(|aggregate| aggregate.acc_bytes_after(records)).sum()
}

/// The same as saved.
pub(super) fn saved(view: &ViewPlan, records: u64) -> u64 {
    view.aggregates.iter().map(|aggregate| aggregate.saved_bytes_after(records)).sum()
}

/// A row's group.
pub(super) fn group_bytes(view: &ViewPlan) -> u64 {
    let of = |field_type| match field_type {
        FieldType::Text => GROUP_TEXT_BYTES,
        _ => 9,
    };
    32 + view.group.iter().map(|field| of(field.field_type)).sum::<u64>()
}
