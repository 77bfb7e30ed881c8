//! A row as the JSON text that readers find, and the parts of it that the functions in the server look at.

use crate::context::ViewDescription;
use caudal_pipeline::ports::sink::{Row, RowState};
use caudal_pipeline::time::{EventTime, Version};
use caudal_pipeline::value::Cell;
use serde::Deserialize;

/// The names that every member has; no column may be called so.
pub const RESERVED: [&str; 5] = ["start", "end", "state", "v", "expires"];

/// A version in as many digits as any has, so that the order of texts is the order of versions.
pub fn version_text(version: Version) -> String {
    format!("{:019}", version.0.max(0))
}

/// What a row's JSON begins with: the window's start, by which a later version finds it.
pub fn identity(start: EventTime) -> String {
    format!("{{\"start\":{},", bound(start))
}

/// The whole row. The functions read `v` and `expires` by their place, so these five come first and in this order.
pub fn member(view: &ViewDescription, row: &Row) -> String {
    let mut text = identity(row.start);
    text += &format!("\"end\":{},\"state\":\"{}\",\"v\":\"{}\"", bound(row.end), row.state.name(), version_text(row.version));
    if let Some(expires_us) = row.expires_us {
        text += &format!(",\"expires\":{}", expires_ms(expires_us));
    }
    for (column, cell) in view.columns.iter().zip(&row.cells) {
        text += &format!(",{}:{}", serde_json::Value::from(column.name.as_str()), cell.to_json());
    }
    text.push('}');
    text
}

/// What every member begins with, read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The window's start; `EventTime::MIN` where there is none.
    pub start: EventTime,
    /// Its end; `EventTime::MAX` where there is none.
    pub end: EventTime,
    /// Whether the row is gone.
    pub gone: bool,
    /// The row's version.
    pub version: Version,
}

/// The head of a member; `None` if it is none of ours.
pub fn head(member: &[u8]) -> Option<Head> {
    #[derive(Deserialize)]
    struct Written {
        start: Option<String>,
        end: Option<String>,
        state: String,
        v: String,
    }
    let written: Written = serde_json::from_slice(member).ok()?;
    let bound = |text: Option<String>, none| text.map_or(Some(none), |text| EventTime::displayed_as(&text));
    Some(Head {
        start: bound(written.start, EventTime::MIN)?,
        end: bound(written.end, EventTime::MAX)?,
        gone: written.state == RowState::Gone.name(),
        version: Version(written.v.parse().ok()?),
    })
}

/// Microseconds to the millisecond that is not earlier, and never zero or less: Redis deletes what expires then.
pub fn expires_ms(expires_us: i64) -> i64 {
    (expires_us.div_euclid(1000) + i64::from(expires_us.rem_euclid(1000) > 0)).max(1)
}

/// The score of a row in its group's key: its window's start in milliseconds, 0 when it has none.
pub fn row_score(start: EventTime) -> String {
    if start == EventTime::MIN { "0".to_owned() } else { start.0.div_euclid(1000).to_string() }
}

/// The score of a group in its view's index: its newest window's end in milliseconds, infinite when unwindowed.
pub fn group_score(end: EventTime) -> String {
    if end == EventTime::MAX { "+inf".to_owned() } else { end.0.div_euclid(1000).to_string() }
}

fn bound(bound: EventTime) -> String {
    match bound {
        EventTime::MIN | EventTime::MAX => "null".to_owned(),
        EventTime(us) => Cell::Time(us).to_json().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use caudal_pipeline::plan::WindowPlan;
    use caudal_pipeline::time::Span;
    use caudal_pipeline::value::{Column, ColumnType};

    #[test]
    fn a_member_is_the_whole_row() {
        let view = ViewDescription {
            name: "per_minute".to_owned(),
            window: WindowPlan::Tumbling { size: Span::seconds(60) },
            group: vec![],
            columns: vec![
                Column { name: "mean \"x\"".to_owned(), column_type: ColumnType::Decimal(2) },
                Column { name: "ids".to_owned(), column_type: ColumnType::List(Box::new(ColumnType::Text)) },
            ],
        };
        let mut row = Row {
            view: 0,
            group: vec![],
            start: EventTime(0),
            end: EventTime(60_000_000),
            cells: vec![Cell::Decimal { unscaled: 120, scale: 2 }, Cell::List(vec![Cell::Text("a".into()), Cell::Null])],
            state: RowState::Open,
            version: Version(7),
            expires_us: Some(1_001),
        };
        assert_eq!(
            member(&view, &row),
            r#"{"start":"1970-01-01T00:00:00Z","end":"1970-01-01T00:01:00Z","state":"open","v":"0000000000000000007","expires":2,"mean \"x\"":1.20,"ids":["a",null]}"#
        );
        let read = Head { start: row.start, end: row.end, gone: false, version: row.version };
        assert_eq!(head(member(&view, &row).as_bytes()), Some(read));
        row = Row { start: EventTime::MIN, end: EventTime::MAX, state: RowState::Gone, cells: vec![], expires_us: None, ..row };
        assert_eq!(member(&view, &row), r#"{"start":null,"end":null,"state":"gone","v":"0000000000000000007"}"#);
        assert!(member(&view, &row).starts_with(&identity(row.start)));
        let read = Head { start: row.start, end: row.end, gone: true, version: row.version };
        assert_eq!(head(member(&view, &row).as_bytes()), Some(read));
        assert_eq!(head(br#"{"start":null}"#), None);
    }

    #[test]
    fn expiry_is_never_in_the_past_of_time_itself() {
        for (us, ms) in [(-5, 1), (0, 1), (1_000, 1), (1_001, 2), (5_000_000, 5_000)] {
            assert_eq!(expires_ms(us), ms);
        }
    }
}
