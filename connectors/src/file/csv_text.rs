//! Rows as CSV: an empty cell is null, `""` is empty text, as the CSV reader has it.

use crate::context::ViewDescription;
use serde_json::{Map, Value as Json};

/// The columns of a view's file, in order.
pub(super) fn names(view: &ViewDescription) -> Vec<&str> {
    let group = view.group.iter().map(|f| f.name.as_str());
    let columns = view.columns.iter().map(|c| c.name.as_str());
    ["window_start", "window_end"].into_iter().chain(group).chain(columns).chain(["state", "version"]).collect()
}

/// The header line.
pub(super) fn header(view: &ViewDescription) -> String {
    line(names(view).into_iter().map(|name| cell(&Json::from(name))))
}

/// A row's line.
pub(super) fn row(view: &ViewDescription, object: &Map<String, Json>) -> String {
    line(names(view).into_iter().map(|name| object.get(name).map(cell).unwrap_or_default()))
}

fn line(cells: impl Iterator<Item = String>) -> String {
    let mut line = cells.collect::<Vec<_>>().join(",");
    line.push_str("\r\n");
    line
}

fn cell(value: &Json) -> String {
    let text = match value {
        Json::Null => return String::new(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    let plain = !text.is_empty() && !text.contains([',', '"', '\r', '\n']);
    if plain { text } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}
