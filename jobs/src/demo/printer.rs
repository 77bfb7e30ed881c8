//! A sink that is the terminal: complete rows of one view, and what corrections change in them.

use crate::jobfile::Job;
use crate::run::context;
use caudal_connectors::context::ViewDescription;
use caudal_pipeline::ports::sink::{Cut, Row, RowState, SetAside, Sink, SinkError};
use caudal_pipeline::time::EventTime;
use caudal_pipeline::value::Cell;
use std::collections::BTreeMap;
use std::sync::mpsc::Sender;

/// Rows shown of one cut: a backlog completes many at once.
const ROWS_MAX: usize = 6;
/// Rows remembered, to show what a correction changed.
const REMEMBERED_MAX: usize = 10_000;
/// Longer lists and texts are cut.
const TEXT_MAX: usize = 24;

type Shown = BTreeMap<(EventTime, Vec<String>), Vec<Cell>>;

/// See the module.
pub struct Printer {
    view: ViewDescription,
    shown: Shown,
    lines: Sender<String>,
}

impl Printer {
    /// Prints the rows of view `view` to `lines`.
    pub fn new(job: &Job, view: usize, lines: Sender<String>) -> Printer {
        Printer { view: context(job).views.swap_remove(view), shown: BTreeMap::new(), lines }
    }

    fn line(&mut self, row: &Row) -> String {
        let group: Vec<String> = self.view.group_cells(row).iter().map(text).collect();
        let key = (row.start, group.clone());
        let before = self.shown.insert(key, row.cells.clone());
        if self.shown.len() > REMEMBERED_MAX {
            self.shown.pop_first();
        }
        let named = |(column, cell): (&caudal_pipeline::value::Column, &Cell)| format!("{} {}", column.name, text(cell));
        let place = format!(" {}  {}", time(row.start), group.join(" "));
        match before {
            None => {
                let cells: Vec<String> = self.view.columns.iter().zip(&row.cells).take(5).map(named).collect();
                format!("{place}  {}  [{}]", cells.join("  "), row.state.name())
            }
            Some(before) => {
                let changed = self.view.columns.iter().zip(before.iter().zip(&row.cells)).filter(|(_, (old, new))| old != new);
                let changed: Vec<String> = changed
                    .take(3)
                    .map(|(column, (old, new))| format!("{} {} → {}", column.name, text(old), text(new)))
                    .collect();
                format!("{place}  {}  [corrected]", changed.join("  "))
            }
        }
    }
}

fn time(time: EventTime) -> String {
    let text = time.to_string();
    text.get(11..19).map_or(text.clone(), str::to_owned)
}

fn text(cell: &Cell) -> String {
    let text = match cell {
        Cell::Text(text) => text.to_string(),
        Cell::List(cells) => format!("{} of them", cells.len()),
        other => other.to_json().to_string(),
    };
    if text.chars().count() > TEXT_MAX { text.chars().take(TEXT_MAX).chain(['…']).collect() } else { text }
}

impl Sink for Printer {
    fn prepare(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    fn write(&mut self, cut: &Cut) -> Result<Vec<SetAside>, SinkError> {
        let rows: Vec<&Row> = cut.rows.iter().filter(|row| row.state != RowState::Gone).collect();
        let left_out = rows.len().saturating_sub(ROWS_MAX);
        for (at, row) in rows.into_iter().enumerate() {
            let line = self.line(row);
            if at >= left_out {
                // Nobody listens any more once the demonstration is over.
                let _ = self.lines.send(line);
            }
        }
        if left_out > 0 {
            let _ = self.lines.send(format!(" … and {left_out} rows before them"));
        }
        Ok(Vec::new())
    }
}
