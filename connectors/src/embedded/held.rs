//! Reading the rows of a view back as values: what a rebuild finds there.
//!
//! All rows are gone through, one at a time: the key begins with the group, and times as texts do not sort where one has
//! finer digits than the other.

use super::error::sink_error;
use super::schema::quoted;
use super::values::{group_value, time_of};
use crate::context::ViewDescription;
use caudal_pipeline::ports::sink::{HeldRow, SinkError};
use caudal_pipeline::time::{EventTime, Version};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use std::path::Path;

/// Gives the rows of `view` that start at `from` or later and are not gone.
pub(super) fn read(
    connection: &Connection,
    path: &Path,
    view: &ViewDescription,
    from: EventTime,
    take: &mut dyn FnMut(HeldRow),
) -> Result<(), SinkError> {
    let failed = |e: rusqlite::Error| sink_error(path, "read rows of", &e);
    let mut statement = connection.prepare(&select(view)).map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let Some(held) = held(view, row).map_err(failed)? else {
            return Err(SinkError::Stop(format!(
                "the table `{}` in {} has a row that this job cannot have written: remove it, or move the file away to have it written anew",
                view.name,
                path.display()
            )));
        };
        if held.start >= from {
            take(held);
        }
    }
    Ok(())
}

fn select(view: &ViewDescription) -> String {
    let names = view.group.iter().map(|field| field.name.as_str()).chain(["window_start", "window_end", "version"]);
    let names: Vec<String> = names.map(quoted).collect();
    format!("SELECT {} FROM {} WHERE state <> 'gone'", names.join(", "), quoted(&view.name))
}

fn held(view: &ViewDescription, row: &Row) -> rusqlite::Result<Option<HeldRow>> {
    let mut group = Vec::with_capacity(view.group.len());
    for (position, field) in view.group.iter().enumerate() {
        let Some(value) = group_value(row.get_ref(position)?, field.field_type) else { return Ok(None) };
        group.push(value);
    }
    let time = |stored: ValueRef| stored.as_str().ok().and_then(time_of);
    let (start, end) = (time(row.get_ref(group.len())?), time(row.get_ref(group.len() + 1)?));
    let version = Version(row.get(group.len() + 2)?);
    Ok(start.zip(end).map(|(start, end)| HeldRow { group, start, end, version }))
}
