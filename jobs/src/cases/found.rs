//! What there is at the end of a step, in the words of a case.

use super::expectation::Counted;
use super::stage::Stage;
use caudal_pipeline::engine::Status;
use caudal_pipeline::ledger::{Cursor, Follower};
use caudal_pipeline::plan::{Plan, ViewPlan};
use caudal_pipeline::ports::sink::RowState;
use caudal_pipeline::record::{DeadLetter, Verdict};
use caudal_pipeline::time::EventTime;
use caudal_pipeline::value::Cell;
use std::sync::Arc;

/// A row of a view: all columns by name.
pub type FoundRow = Vec<(String, Cell)>;

/// The rows of a view, those of merged sessions too, in the order of the ledger.
pub fn rows(stage: &Stage<'_>, plan: &Plan, view: usize) -> Result<Vec<FoundRow>, String> {
    let rows = stage.engine().ledger().rows(view as u32).map_err(|error| error.to_string())?;
    let view = &plan.views[view];
    let watermark = stage.engine().status().watermarks[view.stream];
    let lateness = plan.streams[view.stream].lateness;
    let row = |(key, _, value): (caudal_pipeline::ledger::RowKey, _, caudal_pipeline::ledger::RowValue)| {
        let state = match value.state {
            RowState::Gone => "gone",
            _ if key.end.plus(lateness) <= watermark => "final",
            _ if key.end <= watermark => "complete",
            _ => "open",
        };
        let mut row = vec![("window_start".to_owned(), bound(key.start)), ("window_end".to_owned(), bound(key.end))];
        row.extend(group(view, &key.group.values()));
        row.extend(view.columns.iter().map(|column| column.name.clone()).zip(value.cells));
        row.push(("state".to_owned(), Cell::Text(state.into())));
        row
    };
    Ok(rows.into_iter().map(row).collect())
}

fn group(view: &ViewPlan, values: &[caudal_pipeline::value::Value]) -> Vec<(String, Cell)> {
    let cell = |(field, value): (&caudal_pipeline::value::Field, _)| (field.name.clone(), Cell::of(value, field.field_type));
    view.group.iter().zip(values).map(cell).collect()
}

/// A window's bound; the ends of time are null.
fn bound(bound: EventTime) -> Cell {
    if bound == EventTime::MIN || bound == EventTime::MAX { Cell::Null } else { Cell::Time(bound.0) }
}

/// All dead letters so far, in the order in which they were refused.
pub fn dead_letters(stage: &Stage<'_>, plan: &Plan) -> Result<Vec<DeadLetter>, String> {
    let mut follower = Follower::new(Arc::new(plan.clone()), Vec::new(), true);
    let (ledger, mut cursor, mut found) = (stage.engine().ledger(), Cursor::default(), Vec::new());
    while let Some((cut, next)) = follower.cut(&ledger, &cursor).map_err(|error| error.to_string())? {
        found.extend(cut.dead_letters.into_iter().map(|row| row.dead_letter));
        cursor = next;
    }
    Ok(found)
}

/// One count of a stream.
pub fn count(status: &Status, stream: usize, counted: Counted) -> u64 {
    let of_stream = status.counts.iter().filter(|((of, _), _)| *of as usize == stream);
    let matching = of_stream.map(|((_, verdict), (records, late))| match (counted, verdict) {
        (Counted::Received, _)
        | (Counted::Accepted, Verdict::Accepted)
        | (Counted::Filtered, Verdict::Filtered)
        | (Counted::Duplicate, Verdict::Duplicate)
        | (Counted::DeadLetters, Verdict::Rejected(_)) => *records,
        (Counted::Late, Verdict::Accepted) => *late,
        (Counted::Refused(wanted), Verdict::Rejected(reason)) if wanted == *reason => *records,
        _ => 0,
    });
    matching.sum()
}

/// A dead letter by the keys of a case; several values where it has several.
pub fn letter(letter: &DeadLetter, plan: &Plan) -> Vec<(&'static str, Vec<String>)> {
    let violations = &letter.rejection.violations;
    let payload = letter.payload.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
    vec![
        ("stream", vec![plan.streams[letter.stream as usize].name.clone()]),
        ("reason", vec![letter.rejection.reason.name().to_owned()]),
        ("path", violations.iter().map(|violation| violation.path.clone()).collect()),
        ("message", violations.iter().map(|violation| violation.message.clone()).collect()),
        ("topic", vec![letter.partition.topic.to_string()]),
        ("partition", vec![letter.partition.number.to_string()]),
        ("offset", vec![letter.offset.0.to_string()]),
        ("element", vec![letter.element.to_string()]),
        ("payload", vec![payload.into_owned()]),
    ]
}
