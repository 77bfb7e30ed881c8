//! What a case expects, read: columns and names are the job's, values are of their columns' types.

use super::read::{Scope, stream, unknown, watermarks};
use super::value;
use crate::jobfile::mistakes::Mistakes;
use crate::jobfile::node::Content;
use crate::jobfile::reader::At;
use caudal_pipeline::plan::ViewPlan;
use caudal_pipeline::record::Reason;
use caudal_pipeline::time::EventTime;
use caudal_pipeline::value::{Cell, ColumnType};

/// Everything that one `expect` compares.
#[derive(Clone, Debug, Default)]
pub struct Expectation {
    /// By the view's position in the plan.
    pub views: Vec<(usize, ExpectedRows)>,
    /// All of them so far.
    pub dead_letters: Option<Vec<ExpectedLetter>>,
    /// Stream, name of the count, number.
    pub counts: Vec<(usize, Counted, u64)>,
    /// Stream and time.
    pub watermarks: Vec<(usize, EventTime)>,
}

/// Rows of a view.
#[derive(Clone, Debug)]
pub struct ExpectedRows {
    /// Whether rows that are not listed may be there.
    pub others_allowed: bool,
    /// The values that are written, by column.
    pub rows: Vec<Vec<(String, Cell)>>,
}

/// A refused record, as far as it is described.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpectedLetter {
    /// Key and text as written.
    pub written: Vec<(String, String)>,
}

/// A count of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// All records.
    Received,
    /// Those that views hold.
    Accepted,
    /// Those for which `where` did not hold.
    Filtered,
    /// Repeated ones.
    Duplicate,
    /// Accepted behind the watermark.
    Late,
    /// All that were refused.
    DeadLetters,
    /// Those refused for this reason.
    Refused(Reason),
}

impl Counted {
    const NAMED: [Counted; 6] =
        [Counted::Received, Counted::Accepted, Counted::Filtered, Counted::Duplicate, Counted::Late, Counted::DeadLetters];

    /// All of them.
    fn all() -> impl Iterator<Item = Counted> + Clone {
        Counted::NAMED.into_iter().chain(Reason::ALL.into_iter().map(Counted::Refused))
    }

    /// As written.
    pub fn name(self) -> &'static str {
        match self {
            Counted::Received => "received",
            Counted::Accepted => "accepted",
            Counted::Filtered => "filtered",
            Counted::Duplicate => "duplicate",
            Counted::Late => "late",
            Counted::DeadLetters => "dead_letters",
            Counted::Refused(reason) => reason.name(),
        }
    }
}

/// The columns by which a row is told from others.
pub fn identity(view: &ViewPlan) -> Vec<&str> {
    ["window_start", "window_end"].into_iter().chain(view.group.iter().map(|field| field.name.as_str())).collect()
}

/// All columns of a view as cases name them.
pub fn columns(view: &ViewPlan) -> Vec<(String, ColumnType)> {
    let bounds = ["window_start", "window_end"].map(|name| (name.to_owned(), ColumnType::Time));
    let group = view.group.iter().map(|field| (field.name.clone(), field.field_type.into()));
    let own = view.columns.iter().map(|column| (column.name.clone(), column.column_type.clone()));
    bounds.into_iter().chain(group).chain(own).chain([("state".to_owned(), ColumnType::Text)]).collect()
}

/// Reads an `expect`.
pub(super) fn read(at: &At<'_>, scope: &Scope<'_>, mistakes: &mut Mistakes) -> Expectation {
    let mut expectation = Expectation::default();
    for (entry, at) in at.get("views").iter().flat_map(At::entries) {
        let views = &scope.job.plan.views;
        match views.iter().position(|view| view.name == entry.key) {
            Some(view) => expectation.views.push((view, rows(&views[view], &at, scope, mistakes))),
            None => at.mistake(mistakes, unknown("view", &entry.key, views.iter().map(|view| view.name.as_str()))),
        }
    }
    expectation.dead_letters = at.get("dead_letters").map(|all| all.items().iter().map(|at| letter(at, mistakes)).collect());
    for (entry, counts) in at.get("counts").iter().flat_map(At::entries) {
        let Some(stream) = stream(scope.job, &entry.key, &counts, mistakes) else { continue };
        expectation.counts.extend(counts.entries().filter_map(|(entry, at)| count(stream, &entry.key, &at, mistakes)));
    }
    if let Some(at) = at.get("watermarks") {
        expectation.watermarks = watermarks(&at, scope, mistakes);
    }
    expectation
}

fn rows(view: &ViewPlan, at: &At<'_>, scope: &Scope<'_>, mistakes: &mut Mistakes) -> ExpectedRows {
    let others_allowed = matches!(at.node.content, Content::Map(_));
    let list = if others_allowed { at.get("contains") } else { Some(at.clone()) };
    let columns = columns(view);
    let row = |at: At<'_>| at.entries().filter_map(|(entry, at)| cell(&columns, &entry.key, &at, scope, mistakes)).collect();
    ExpectedRows { others_allowed, rows: list.iter().flat_map(At::items).map(row).collect() }
}

fn cell(
    columns: &[(String, ColumnType)],
    name: &str,
    at: &At<'_>,
    scope: &Scope<'_>,
    mistakes: &mut Mistakes,
) -> Option<(String, Cell)> {
    let Some((_, column_type)) = columns.iter().find(|(known, _)| known == name) else {
        at.mistake(mistakes, unknown("column", name, columns.iter().map(|(name, _)| name.as_str())));
        return None;
    };
    if name == "state" && !["open", "complete", "final", "gone"].contains(&at.text().unwrap_or_default()) {
        at.mistake(mistakes, "expected `open`, `complete`, `final` or `gone`");
        return None;
    }
    match value::parse(at.node, column_type, scope.start_us) {
        Ok(cell) => Some((name.to_owned(), cell)),
        Err(message) => {
            at.mistake(mistakes, message);
            None
        }
    }
}

fn letter(at: &At<'_>, mistakes: &mut Mistakes) -> ExpectedLetter {
    if let Some(reason) = at.get("reason")
        && let Some(text) = reason.text()
        && !Reason::ALL.iter().any(|known| known.name() == text)
    {
        reason.mistake(mistakes, unknown("reason", text, Reason::ALL.iter().map(|reason| reason.name())));
    }
    let text = |at: &At<'_>| at.text().unwrap_or_default().to_owned();
    ExpectedLetter { written: at.entries().map(|(entry, at)| (entry.key.clone(), text(&at))).collect() }
}

fn count(stream: usize, name: &str, at: &At<'_>, mistakes: &mut Mistakes) -> Option<(usize, Counted, u64)> {
    match Counted::all().find(|counted| counted.name() == name) {
        Some(counted) => Some((stream, counted, at.text()?.parse().ok()?)),
        None => {
            at.mistake(mistakes, unknown("count", name, Counted::all().map(Counted::name)));
            None
        }
    }
}
