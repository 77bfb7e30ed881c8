//! `views.<name>.select`: aggregates over a stream's fields, or merged ones over a view's columns.

use super::mistakes::Mistakes;
use super::reader::At;
use super::views::BuiltView;
use caudal_pipeline::aggregate::Aggregate;
use caudal_pipeline::suggest::suggest;
use caudal_pipeline::value::Field;

/// One aggregate of a view.
#[derive(Clone)]
pub struct Selected {
    /// As the user calls it.
    pub name: String,
    /// What is computed.
    pub aggregate: Aggregate,
    /// In a roll-up: its position in the view below.
    pub lower: usize,
}

/// The aggregates over a stream's fields; `None` if the fields are unknown or one aggregate is wrong.
pub fn selected(view: &At<'_>, fields: Option<&[Field]>, mistakes: &mut Mistakes) -> Option<Vec<Selected>> {
    let select = view.get("select")?;
    if select.text() == Some("rollup") {
        select.mistake(mistakes, "`rollup` merges the columns of a view: this view is made from a stream, name its columns");
        return None;
    }
    if select.node.entries().is_empty() {
        select.mistake(mistakes, "no column: write one such as `events: count()`");
        return None;
    }
    let fields = fields?;
    let all: Vec<Option<Selected>> = select.entries().map(|(entry, at)| aggregate(&entry.key, &at, fields, mistakes)).collect();
    all.into_iter().collect()
}

fn aggregate(name: &str, at: &At<'_>, fields: &[Field], mistakes: &mut Mistakes) -> Option<Selected> {
    let text = at.text()?;
    if merge_argument(text).is_some() {
        at.mistake(mistakes, format!("{text}: only a view made from a view merges; name an aggregate over the stream's fields"));
        return None;
    }
    match Aggregate::parse(text, fields) {
        Ok(aggregate) => Some(Selected { name: name.into(), aggregate, lower: 0 }),
        Err(errors) => {
            for e in errors {
                let message = if e.message.starts_with(text) { e.message } else { format!("{text}: {}", e.message) };
                at.mistake_within(e.span.start, mistakes, message);
            }
            None
        }
    }
}

/// The merged aggregates of a roll-up; `None` if those below are unknown or one is wrong.
pub fn merged(view: &At<'_>, lower: &BuiltView, mistakes: &mut Mistakes) -> Option<Vec<Selected>> {
    let select = view.get("select")?;
    if select.text() == Some("rollup") {
        let all = lower.selected.as_ref()?.iter().enumerate();
        return Some(all.map(|(i, s)| Selected { lower: i, ..s.clone() }).collect());
    }
    if select.node.entries().is_empty() {
        select.mistake(mistakes, "no column: write `select: rollup`, or one such as `events: merge(events)`");
        return None;
    }
    let all: Vec<Option<Selected>> = select.entries().map(|(entry, at)| merge(&entry.key, &at, lower, mistakes)).collect();
    all.into_iter().collect()
}

fn merge(name: &str, at: &At<'_>, lower: &BuiltView, mistakes: &mut Mistakes) -> Option<Selected> {
    let text = at.text()?;
    let below = lower.selected.as_ref();
    let Some(wanted) = merge_argument(text) else {
        at.mistake(mistakes, format!("{text}: {}", plain_over_view(text, lower)));
        return None;
    };
    let position = below?.iter().position(|s| s.name == wanted);
    let Some(position) = position else {
        let hint = suggest(wanted, below?.iter().map(|s| s.name.as_str())).map(|n| format!("; did you mean `merge({n})`?"));
        at.mistake(mistakes, format!("{text}: no column `{wanted}` in `{}`{}", lower.name, hint.unwrap_or_default()));
        return None;
    };
    Some(Selected { name: name.into(), aggregate: below?[position].aggregate.clone(), lower: position })
}

/// `merge(column)` → `column`.
fn merge_argument(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix("merge")?.trim_start().strip_prefix('(')?.strip_suffix(')')?.trim();
    let name = inner.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    (name && !inner.is_empty()).then_some(inner)
}

/// Why an aggregate over a view's column is not what anyone wants.
fn plain_over_view(text: &str, lower: &BuiltView) -> String {
    let (function, rest) = text.split_once('(').unwrap_or((text, ""));
    let argument = rest.trim_end_matches(')').split(',').next().unwrap_or("").trim();
    let columns = lower.selected.as_deref().unwrap_or_default();
    let known = columns.iter().find(|s| s.name == argument).or_else(|| columns.iter().find(|s| text.trim() == s.name));
    let remedy = match (known, columns.first()) {
        (Some(s), _) => format!("write merge({}), which is exact", s.name),
        (None, Some(s)) => format!("write `select: rollup`, or merge({}) and the like", s.name),
        (None, None) => "write `select: rollup`, or merge(column)".into(),
    };
    match (function.trim(), known) {
        ("mean", Some(_)) => format!("a mean of means is not the mean: {remedy}"),
        _ => format!("a view made from a view merges its columns: {remedy}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merge_takes_one_name() {
        for (text, argument) in [
            ("merge(a_b)", Some("a_b")),
            (" merge ( x )", Some("x")),
            ("merge()", None),
            ("merge(mean(x))", None),
            ("mean(x)", None),
        ] {
            assert_eq!(merge_argument(text), argument, "{text}");
        }
    }
}
