//! `views`: aggregates over streams, and roll-ups over other views.

use super::mistakes::Mistakes;
use super::reader::At;
use super::select::{Selected, merged, selected};
use super::streams::BuiltStream;
use super::windows::{nests, window};
use caudal_pipeline::plan::{ViewInput, ViewPlan, WindowPlan};
use caudal_pipeline::suggest::suggest;
use caudal_pipeline::value::Field;

/// A view as far as it could be understood.
pub struct BuiltView {
    /// Its name.
    pub name: String,
    /// Its plan, if nothing is wrong with it.
    pub plan: Option<ViewPlan>,
    /// Its window, if it could be told.
    pub window: Option<WindowPlan>,
    /// Its group, if it could be told.
    pub group: Option<Vec<Field>>,
    /// Its aggregates by name, if all could be told.
    pub selected: Option<Vec<Selected>>,
    /// The stream at the bottom of it.
    pub stream: Option<usize>,
}

/// Lower views before the roll-ups made from them; in the order of the file otherwise.
pub fn views(all: Option<&At<'_>>, streams: &[BuiltStream<'_>], mistakes: &mut Mistakes) -> Vec<BuiltView> {
    let mut built: Vec<BuiltView> = Vec::new();
    let mut waiting: Vec<(String, At<'_>)> = all.iter().flat_map(|a| a.entries()).map(|(e, at)| (e.key.clone(), at)).collect();
    while !waiting.is_empty() {
        let before = waiting.len();
        waiting.retain(|(name, at)| match input(at, streams, &built) {
            Some(input) => {
                let view = view(name, at, input, streams, &built, mistakes);
                built.push(view);
                false
            }
            None => true,
        });
        if waiting.len() == before {
            orphans(&waiting, streams, &built, mistakes);
            for (name, at) in waiting.drain(..) {
                let window = window(&at, mistakes);
                built.push(BuiltView { name, plan: None, window, group: None, selected: None, stream: None });
            }
        }
    }
    built
}

#[derive(Clone, Copy)]
enum Input {
    Stream(usize),
    View(usize),
}

fn input(at: &At<'_>, streams: &[BuiltStream<'_>], built: &[BuiltView]) -> Option<Input> {
    let from = at.text_of("from")?;
    let stream = streams.iter().position(|s| s.name == from).map(Input::Stream);
    stream.or_else(|| built.iter().position(|v| v.name == from).map(Input::View))
}

/// Views made from nothing that exists, or from themselves.
fn orphans(waiting: &[(String, At<'_>)], streams: &[BuiltStream<'_>], built: &[BuiltView], mistakes: &mut Mistakes) {
    for (_, at) in waiting {
        let Some(from) = at.get("from") else { continue };
        let Some(text) = from.text() else { continue };
        if waiting.iter().any(|(name, _)| name == text) {
            from.mistake(
                mistakes,
                format!("`{text}` is itself made from this view, directly or not: one of them needs a stream"),
            );
            continue;
        }
        let names = streams.iter().map(|s| s.name.as_str()).chain(built.iter().map(|v| v.name.as_str()));
        let hint = suggest(text, names).map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
        from.mistake(mistakes, format!("no stream or view `{text}`{hint}"));
    }
}

fn view(
    name: &str,
    at: &At<'_>,
    input: Input,
    streams: &[BuiltStream<'_>],
    built: &[BuiltView],
    mistakes: &mut Mistakes,
) -> BuiltView {
    let before = mistakes.len();
    let window = window(at, mistakes);
    let (group, selected, stream) = match input {
        Input::Stream(stream) => {
            let fields = streams[stream].fields.as_deref();
            (fields.and_then(|f| group_by(at, f, &streams[stream].name, mistakes)), selected(at, fields, mistakes), Some(stream))
        }
        Input::View(lower) => {
            let lower = &built[lower];
            if let (Some(window), Some(below)) = (&window, &lower.window)
                && let Err(message) = nests(below, window)
            {
                at.mistake_at("window", mistakes, message);
            }
            let group = lower.group.as_deref().and_then(|g| group_by(at, g, &lower.name, mistakes));
            (group, merged(at, lower, mistakes), lower.stream)
        }
    };
    check_columns(at, group.as_ref(), selected.as_deref(), mistakes);
    let mut view = BuiltView { name: name.into(), plan: None, window, group: None, selected: None, stream };
    if mistakes.len() == before
        && let (Some((group, positions)), Some(chosen), Some(window), Some(stream)) = (&group, &selected, &view.window, stream)
    {
        let from = match input {
            Input::Stream(stream) => ViewInput::Stream { stream, group_by: positions.clone() },
            Input::View(view) => {
                ViewInput::View { view, group_by: positions.clone(), merge: chosen.iter().map(|s| s.lower).collect() }
            }
        };
        view.plan = Some(ViewPlan {
            name: name.into(),
            from,
            stream,
            window: window.clone(),
            group: group.clone(),
            aggregates: chosen.iter().map(|s| s.aggregate.clone()).collect(),
            columns: chosen.iter().flat_map(|s| s.aggregate.columns(&s.name)).collect(),
        });
    }
    view.group = group.map(|(fields, _)| fields);
    view.selected = selected;
    view
}

/// The group's fields and their positions below; `None` if one is unknown.
fn group_by(at: &At<'_>, fields: &[Field], below: &str, mistakes: &mut Mistakes) -> Option<(Vec<Field>, Vec<usize>)> {
    let Some(by) = at.get("group_by") else { return if at.has("group_by") { None } else { Some(Default::default()) } };
    let (mut group, mut positions, mut good) = (Vec::new(), Vec::new(), true);
    for item in by.items() {
        let Some(name) = item.text() else { continue };
        match fields.iter().position(|f| f.name == name) {
            Some(position) if positions.contains(&position) => item.mistake(mistakes, format!("`{name}` is in the group twice")),
            Some(position) => {
                positions.push(position);
                group.push(fields[position].clone());
                continue;
            }
            None => item.mistake(mistakes, unknown_field(name, fields, below)),
        }
        good = false;
    }
    good.then_some((group, positions))
}

fn unknown_field(name: &str, fields: &[Field], below: &str) -> String {
    match suggest(name, fields.iter().map(|f| f.name.as_str())) {
        Some(near) => format!("no field `{name}` in `{below}`; did you mean `{near}`?"),
        None if fields.is_empty() => format!("no field `{name}`: `{below}` has none to group by"),
        None => {
            let names: Vec<&str> = fields.iter().map(|f| f.name.as_str()).collect();
            format!("no field `{name}` in `{below}`, which has {}", names.join(", "))
        }
    }
}

/// Columns that every row has in every store.
const RESERVED: [&str; 8] = ["window_start", "window_end", "start", "end", "state", "version", "v", "bucket"];

fn check_columns(at: &At<'_>, group: Option<&(Vec<Field>, Vec<usize>)>, selected: Option<&[Selected]>, mistakes: &mut Mistakes) {
    let mut taken: Vec<String> = Vec::new();
    let reserved = |name: &str| RESERVED.contains(&name.to_ascii_lowercase().as_str());
    for field in group.iter().flat_map(|(fields, _)| fields) {
        if reserved(&field.name) {
            at.mistake_at(
                "group_by",
                mistakes,
                format!("every row has a `{}` of its own: give the field another name", field.name),
            );
        }
        taken.push(field.name.to_ascii_lowercase());
    }
    let Some(select) = at.get("select") else { return };
    let written = || select.node.entries().iter().map(|e| (e.key.clone(), e.key.clone())).collect();
    let chosen = |s: &Selected| s.aggregate.columns(&s.name).into_iter().map(|c| (s.name.clone(), c.name)).collect::<Vec<_>>();
    let columns: Vec<(String, String)> = selected.map_or_else(written, |all| all.iter().flat_map(chosen).collect());
    for (key, column) in columns {
        let lower = column.to_ascii_lowercase();
        if reserved(&column) {
            select.mistake_key(&key, mistakes, format!("every row has a `{column}` of its own: choose another name"));
        } else if taken.contains(&lower) {
            select.mistake_key(&key, mistakes, format!("two columns or group fields are called `{column}`: choose another name"));
        }
        taken.push(lower);
    }
}
