//! A cut's rows as calls: all rows of a group together, all groups of one part of an index together.

use super::functions::{Call, Operation};
use super::{keys, member};
use crate::context::SinkContext;
use caudal_pipeline::ports::sink::{Row, RowState, SetAside};
use std::collections::BTreeMap;

/// Rows of one group written by one call.
const ROWS_MAX: usize = 64;

/// Groups listed by one call.
const GROUPS_MAX: usize = 256;

/// A larger value is refused by a server as it comes (`proto-max-bulk-len`).
pub const MEMBER_BYTES_MAX: usize = 512 << 20;

/// The calls that write `rows`, and the rows that no server takes.
pub fn calls(context: &SinkContext, rows: &[Row], bytes_max: usize) -> (Vec<Call>, Vec<SetAside>) {
    let mut by_group: BTreeMap<(usize, String), Vec<(&Row, String)>> = BTreeMap::new();
    let mut set_aside = Vec::new();
    for row in rows {
        let view = &context.views[row.view];
        let group = keys::group_text(&view.group, &row.group);
        let member = member::member(view, row);
        if member.len() > bytes_max || group.len() > bytes_max {
            let cause = format!("{} bytes, more than the {bytes_max} that Redis takes", member.len().max(group.len()));
            let group: String = group.chars().take(100).collect();
            set_aside.push(SetAside { row: format!("{} {group} {}", view.name, row.start), cause });
            continue;
        }
        by_group.entry((row.view, group)).or_default().push((row, member));
    }
    let mut calls = Vec::new();
    for ((view, group), rows) in &by_group {
        let key = keys::rows(&context.job, &context.views[*view].name, group);
        calls.extend(rows.chunks(ROWS_MAX).map(|rows| rows_call(&key, rows)));
    }
    calls.extend(index_calls(context, &by_group));
    (calls, set_aside)
}

fn rows_call(key: &str, rows: &[(&Row, String)]) -> Call {
    let mut arguments = Vec::with_capacity(rows.len() * 5);
    for (row, member) in rows {
        arguments.push(member::identity(row.start));
        arguments.push(member::row_score(row.start));
        arguments.push(member::version_text(row.version));
        arguments.push(expires_text(row));
        arguments.push(member.clone());
    }
    Call { operation: Operation::Rows, keys: vec![key.to_owned()], arguments }
}

/// When it expires, in milliseconds; empty for never.
pub fn expires_text(row: &Row) -> String {
    row.expires_us.map(|us| member::expires_ms(us).to_string()).unwrap_or_default()
}

/// The newest row of each group decides its place in the index; a group whose rows are all gone keeps its place.
fn index_calls(context: &SinkContext, by_group: &BTreeMap<(usize, String), Vec<(&Row, String)>>) -> Vec<Call> {
    let mut by_part: BTreeMap<String, Vec<(&str, &Row)>> = BTreeMap::new();
    for ((view, group), rows) in by_group {
        let newest = rows.iter().map(|(row, _)| *row).filter(|row| row.state != RowState::Gone).max_by_key(|row| row.end);
        if let Some(newest) = newest {
            let part = keys::groups(&context.job, &context.views[*view].name, group);
            by_part.entry(part).or_default().push((group, newest));
        }
    }
    let call = |key: &String, entries: &[(&str, &Row)]| {
        let mut arguments = vec![forget_below(entries)];
        for (group, newest) in entries {
            arguments.extend([member::group_score(newest.end), expires_text(newest), (*group).to_owned()]);
        }
        Call { operation: Operation::Groups, keys: vec![key.clone()], arguments }
    };
    by_part.iter().flat_map(|(key, entries)| entries.chunks(GROUPS_MAX).map(move |entries| call(key, entries))).collect()
}

/// The window end whose retention event time has passed. A row expires at version + end + retain − W, so that
/// end − (expiry − version) is W − retain; empty when nothing expires.
fn forget_below(entries: &[(&str, &Row)]) -> String {
    let passed = entries.iter().filter_map(|(_, row)| {
        let left = row.expires_us?.checked_sub(row.version.0)?;
        row.end.0.checked_sub(left)
    });
    passed.max().map(|us| us.div_euclid(1000).to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::ViewDescription;
    use caudal_pipeline::plan::WindowPlan;
    use caudal_pipeline::time::{EventTime, Span, Version};
    use caudal_pipeline::value::{Field, FieldType, Value};

    fn context() -> SinkContext {
        let view = ViewDescription {
            name: "v".to_owned(),
            window: WindowPlan::Tumbling { size: Span::seconds(60) },
            group: vec![Field { name: "g".to_owned(), field_type: FieldType::Text }],
            columns: vec![],
        };
        SinkContext { job: "j".to_owned(), views: vec![view], streams: vec![] }
    }

    fn row(group: &str, minute: i64, state: RowState) -> Row {
        let (start, end) = (EventTime(minute * 60_000_000), EventTime((minute + 1) * 60_000_000));
        let version = Version(1_000_000_000);
        Row { view: 0, group: vec![Value::Text(group.into())], start, end, cells: vec![], state, version, expires_us: None }
    }

    #[test]
    fn a_group_is_one_call_and_its_newest_living_row_indexes_it() {
        let rows = [
            row("a", 1, RowState::Complete),
            row("b", 1, RowState::Gone),
            row("a", 2, RowState::Open),
            row("a", 3, RowState::Gone),
        ];
        let (calls, set_aside) = calls(&context(), &rows, MEMBER_BYTES_MAX);
        assert!(set_aside.is_empty());
        let seen: Vec<(&str, usize)> = calls.iter().map(|call| (call.keys[0].as_str(), call.arguments.len())).collect();
        assert_eq!(seen, [("j:v:{a}", 15), ("j:v:{b}", 5), (keys::groups("j", "v", "a").as_str(), 4)]);
        assert_eq!(calls[2].arguments, ["", "180000", "", "a"]);
    }

    #[test]
    fn the_index_forgets_by_event_time() {
        // W is 30 s before the end, retention 100 s: what ended 100 s before W is forgotten.
        let expiring = Row { expires_us: Some(1_000_000_000 + 130_000_000), ..row("a", 9, RowState::Open) };
        let (calls, _) = calls(&context(), &[expiring], MEMBER_BYTES_MAX);
        assert_eq!(calls[1].arguments[0], (600_000 - 130_000).to_string());
    }

    #[test]
    fn a_row_that_no_server_takes_is_set_aside() {
        let (calls, set_aside) = calls(&context(), &[row("a", 1, RowState::Open), row(&"b".repeat(200), 1, RowState::Open)], 150);
        assert_eq!((calls.len(), set_aside.len()), (2, 1));
        assert!(set_aside[0].row.starts_with("v bbb") && set_aside[0].row.len() < 140, "{:?}", set_aside[0]);
    }
}
