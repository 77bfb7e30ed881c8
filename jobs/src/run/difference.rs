//! What two versions of a job disagree on: by name, as paths of the job file with both values.

use crate::jobfile::Job;
use caudal_pipeline::dataflow::root_of;
use caudal_pipeline::plan::{Plan, WindowPlan};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};

/// What `new` would have otherwise than `old` promised: a stream, table or view that both have, but not the same; a new
/// view that can have no whole row. Equal meanings are equal, however they are written.
pub fn between(old: &Job, new: &Job) -> Vec<String> {
    let (was, is) = (Sections::of(old), Sections::of(new));
    let mut differences = Vec::new();
    for (name, section) in &was.0 {
        for (key, old) in section {
            if let Some(new) = is.0[name].get(key) {
                compare(&format!("{name}.{key}"), old, new, &mut differences);
            }
        }
    }
    let had = |name: &str| old.plan.views.iter().any(|view| view.name == name);
    for view in new.plan.views.iter().filter(|view| view.window == WindowPlan::Unwindowed && !had(&view.name)) {
        let root = &new.plan.streams[root_of(&new.plan, view.stream)].name;
        if old.plan.streams.iter().any(|stream| stream.name == *root) {
            differences.push(format!(
                "views.{}: new and without windows, so its rows would lack what `{root}` brought before",
                view.name
            ));
        }
    }
    differences
}

/// Streams and views that `new` no longer has.
pub fn removed(old: &Job, new: &Job) -> Vec<String> {
    let names = |plan: &Plan| -> BTreeSet<String> {
        let streams = plan.streams.iter().map(|stream| format!("stream `{}`", stream.name));
        streams.chain(plan.views.iter().map(|view| format!("view `{}`", view.name))).collect()
    };
    names(&old.plan).difference(&names(&new.plan)).cloned().collect()
}

/// Of the sinks that both have, by name: the views of both that `new` keeps and `old` does not, or in another way.
pub fn kept_otherwise<'n>(old: &Job, new: &'n Job) -> Vec<(&'n str, &'n str)> {
    let mut found = Vec::new();
    for sink in &new.sinks {
        let Some(was) = old.sinks.iter().find(|was| was.name == sink.name) else { continue };
        for kept in &sink.keep {
            let view = &new.plan.views[kept.view].name;
            let same = was.keep.iter().any(|was| old.plan.views[was.view].name == *view && was.emission == kept.emission);
            if !same && old.plan.views.iter().any(|was| was.name == *view) {
                found.push((&*sink.name, &**view));
            }
        }
    }
    found
}

/// Tables, streams and views by name, in the form that equal meanings share.
struct Sections(BTreeMap<&'static str, BTreeMap<String, Json>>);

impl Sections {
    fn of(job: &Job) -> Sections {
        let all: Vec<Json> = serde_json::from_str(&job.fingerprint).expect("a fingerprint is a list");
        let [_, tables, streams, views, schemas] = &all[..] else { panic!("a fingerprint has five parts") };
        let mut streams = named(streams);
        for (stream, schema) in job.plan.streams.iter().zip(schemas.as_array().into_iter().flatten()) {
            if let Some(Json::Array(pairs)) = streams.get_mut(&stream.name) {
                pairs.push(Json::Array(vec!["schema".into(), schema.clone()]));
            }
        }
        Sections(BTreeMap::from([("tables", named(tables)), ("streams", streams), ("views", named(views))]))
    }
}

fn named(section: &Json) -> BTreeMap<String, Json> {
    pairs(section).unwrap_or_default().into_iter().map(|(key, value)| (key.to_owned(), value.clone())).collect()
}

/// A map as the fingerprint writes it: a list of pairs.
fn pairs(json: &Json) -> Option<Vec<(&str, &Json)>> {
    let pair = |item: &'_ Json| match item.as_array().map(Vec::as_slice) {
        Some([Json::String(_), _]) => Some(()),
        _ => None,
    };
    let items = json.as_array()?;
    items.iter().map(pair).collect::<Option<Vec<()>>>()?;
    Some(items.iter().filter_map(|item| Some((item.get(0)?.as_str()?, item.get(1)?))).collect())
}

fn compare(path: &str, old: &Json, new: &Json, differences: &mut Vec<String>) {
    if old == new {
        return;
    }
    if path.ends_with(".schema") {
        differences.push(format!("{path}: another schema"));
        return;
    }
    match (pairs(old), pairs(new)) {
        (Some(old), Some(new)) if !old.is_empty() || !new.is_empty() => {
            let before = differences.len();
            let (by_old, by_new): (BTreeMap<_, _>, BTreeMap<_, _>) =
                (old.iter().copied().collect(), new.iter().copied().collect());
            let keys: BTreeSet<&str> = by_old.keys().chain(by_new.keys()).copied().collect();
            for key in keys {
                let at = format!("{path}.{key}");
                match (by_old.get(key), by_new.get(key)) {
                    (Some(old), Some(new)) => compare(&at, old, new, differences),
                    (Some(old), None) => differences.push(format!("{at}: {} → nothing", shown(old))),
                    (None, Some(new)) => differences.push(format!("{at}: nothing → {}", shown(new))),
                    (None, None) => {}
                }
            }
            if differences.len() == before {
                differences.push(format!("{path}: the same in another order"));
            }
        }
        _ => differences.push(format!("{path}: {} → {}", shown(old), shown(new))),
    }
}

/// A value as a person would write it.
fn shown(json: &Json) -> String {
    match (json, pairs(json)) {
        (Json::Array(items), None) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", ")),
        (Json::Array(_), Some(pairs)) => {
            let pair = |(key, value): (&str, &Json)| format!("{key}: {}", shown(value));
            format!("{{{}}}", pairs.into_iter().map(pair).collect::<Vec<_>>().join(", "))
        }
        (Json::String(text), _) => text.clone(),
        (other, _) => other.to_string(),
    }
}
