//! What every sink is told about the job: names for the positions that a cut carries.
//!
//! A [`Row`] knows its view by number and its values by position, which is all that the engine needs. A store wants
//! names and types: they come from here, once, when the sink is made. [`row_json`] is the one JSON form of a row
//! that Redis members, Kafka values and NDJSON files share.

use caudal_pipeline::plan::WindowPlan;
use caudal_pipeline::ports::sink::Row;
use caudal_pipeline::time::EventTime;
use caudal_pipeline::value::{Cell, Column, Field};
use serde_json::{Map, Value as Json};

/// The job as a sink sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkContext {
    /// The job's name: the prefix of keys, tables and ids.
    pub job: String,
    /// All views of the plan, in its order.
    pub views: Vec<ViewDescription>,
    /// The names of all streams of the plan, in its order.
    pub streams: Vec<String>,
}

/// A view as a sink sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewDescription {
    /// Its name in the job file and in every store.
    pub name: String,
    /// How event time is cut: stores that split a group's rows by time choose the pieces by it.
    pub window: WindowPlan,
    /// The group's fields, in the order of `Row::group`.
    pub group: Vec<Field>,
    /// The result columns, in the order of `Row::cells`.
    pub columns: Vec<Column>,
}

impl ViewDescription {
    /// The row's group as cells, with the scales that the group's fields declare.
    pub fn group_cells(&self, row: &Row) -> Vec<Cell> {
        self.group.iter().zip(&row.group).map(|(field, value)| Cell::of(value, field.field_type)).collect()
    }
}

/// The row as one JSON object: `window_start`, `window_end`, the group, the columns, `state`, `version`.
///
/// Window bounds are RFC 3339 in UTC and null where the row is unwindowed. `version` is a whole number. The names of
/// group fields and columns are distinct from these four and from one another; the job's check sees to that.
pub fn row_json(view: &ViewDescription, row: &Row) -> Map<String, Json> {
    let mut object = Map::new();
    object.insert("window_start".to_owned(), bound_json(row.start));
    object.insert("window_end".to_owned(), bound_json(row.end));
    for (field, cell) in view.group.iter().zip(view.group_cells(row)) {
        object.insert(field.name.clone(), cell.to_json());
    }
    for (column, cell) in view.columns.iter().zip(&row.cells) {
        object.insert(column.name.clone(), cell.to_json());
    }
    object.insert("state".to_owned(), Json::from(row.state.name()));
    object.insert("version".to_owned(), Json::from(row.version.0));
    object
}

/// A window's bound; the ends of time are null.
fn bound_json(bound: EventTime) -> Json {
    match bound {
        EventTime::MIN | EventTime::MAX => Json::Null,
        EventTime(us) => Cell::Time(us).to_json(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use caudal_pipeline::ports::sink::RowState;
    use caudal_pipeline::time::{Span, Version};
    use caudal_pipeline::value::{ColumnType, FieldType, Value};

    fn power() -> ViewDescription {
        ViewDescription {
            name: "per_minute".to_owned(),
            window: WindowPlan::Tumbling { size: Span::seconds(60) },
            group: vec![
                Field { name: "farm".to_owned(), field_type: FieldType::Text },
                Field { name: "class".to_owned(), field_type: FieldType::Decimal(1) },
            ],
            columns: vec![Column { name: "mean".to_owned(), column_type: ColumnType::Decimal(2) }],
        }
    }

    fn row(start: EventTime, end: EventTime) -> Row {
        Row {
            view: 0,
            group: vec![Value::Text("north".into()), Value::Decimal(15)],
            start,
            end,
            cells: vec![Cell::Decimal { unscaled: 120, scale: 2 }],
            state: RowState::Complete,
            version: Version(7),
            expires_us: None,
        }
    }

    #[test]
    fn a_row_names_its_window_group_and_columns() {
        let json = row_json(&power(), &row(EventTime(0), EventTime(60_000_000)));
        let expected = r#"{"window_start":"1970-01-01T00:00:00Z","window_end":"1970-01-01T00:01:00Z","farm":"north","class":1.5,"mean":1.20,"state":"complete","version":7}"#;
        assert_eq!(Json::Object(json), serde_json::from_str::<Json>(expected).unwrap());
    }

    #[test]
    fn an_unwindowed_row_has_no_bounds() {
        let json = row_json(&power(), &row(EventTime::MIN, EventTime::MAX));
        assert_eq!((&json["window_start"], &json["window_end"]), (&Json::Null, &Json::Null));
    }
}
