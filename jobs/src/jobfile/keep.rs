//! `keep` and `publish`: what a sink holds, and when rows are written.

use super::job::{Emission, KeptView, StoreSpec};
use super::mistakes::Mistakes;
use super::reader::At;
use super::shape::listed;
use super::sources::check_topic;
use super::views::BuiltView;
use caudal_connectors::kafka::config::{Publication, Published};
use caudal_pipeline::plan::WindowPlan;
use caudal_pipeline::suggest::suggest;

/// What a sink keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Views.
    pub views: Vec<KeptView>,
    /// Every refused record.
    pub dead_letters: bool,
    /// Every accepted event.
    pub events: bool,
}

/// What a sink keeps of these views by its `keep`.
pub fn keep(sink: &At<'_>, store: &StoreSpec, views: &[BuiltView], mistakes: &mut Mistakes) -> Kept {
    let can = abilities(store);
    let everything = || Kept { views: all(store, views), dead_letters: can.dead_letters, events: false };
    let Some(at) = sink.get("keep") else { return everything() };
    if at.text() == Some("all") {
        return everything();
    }
    if !at.node.items().is_empty() {
        return Kept { views: named(&at, store, views, mistakes), ..Kept::default() };
    }
    let wants = |key: &str| at.text_of(key).as_deref() == Some("all");
    for (key, possible) in [("dead_letters", can.dead_letters), ("events", can.events)] {
        if wants(key) && !possible {
            at.mistake_at(
                key,
                mistakes,
                format!("{} keeps no {}: keep them in another sink", store_name(store), key.replace('_', " ")),
            );
        }
    }
    if let Some(alerts) = at.get("alerts").filter(|a| !a.node.items().is_empty()) {
        alerts.mistake(mistakes, "detectors come with a later release: write `all` or `none` for now");
    }
    let kept = at.get("views").map(|v| match v.text() {
        Some("all") => all(store, views),
        Some(_) => Vec::new(),
        None => named(&v, store, views, mistakes),
    });
    Kept { views: kept.unwrap_or_default(), dead_letters: wants("dead_letters"), events: wants("events") }
}

struct Abilities {
    dead_letters: bool,
    events: bool,
}

fn abilities(store: &StoreSpec) -> Abilities {
    match store {
        StoreSpec::Cassandra(_) | StoreSpec::Embedded => Abilities { dead_letters: true, events: true },
        StoreSpec::File(_) => Abilities { dead_letters: true, events: false },
        StoreSpec::Redis(_) | StoreSpec::Kafka(_) => Abilities { dead_letters: false, events: false },
    }
}

/// The store as people call it.
pub fn store_name(store: &StoreSpec) -> &'static str {
    match store {
        StoreSpec::Redis(_) => "Redis",
        StoreSpec::Cassandra(_) => "Cassandra",
        StoreSpec::Kafka(_) => "Kafka",
        StoreSpec::File(_) => "a folder of files",
        StoreSpec::Embedded => "the embedded store",
    }
}

fn all(store: &StoreSpec, views: &[BuiltView]) -> Vec<KeptView> {
    let each = views.iter().enumerate();
    each.map(|(i, v)| KeptView { view: i, emission: default_emission(store, v.window.as_ref()) }).collect()
}

/// A list of names, or a map of names with options.
fn named(at: &At<'_>, store: &StoreSpec, views: &[BuiltView], mistakes: &mut Mistakes) -> Vec<KeptView> {
    let mut kept: Vec<KeptView> = Vec::new();
    let listed = at.node.items().iter().zip(at.items()).filter_map(|(_, item)| Some((item.text()?.to_string(), item, None)));
    let mapped = at.entries().map(|(e, options)| {
        let rows = options.get("rows");
        (e.key.clone(), options, rows)
    });
    for (name, place, rows) in listed.chain(mapped) {
        let Some(view) = view_named(&name, &place, views, mistakes) else { continue };
        if kept.iter().any(|k| k.view == view) {
            place.mistake(mistakes, format!("`{name}` is named twice"));
            continue;
        }
        kept.push(KeptView { view, emission: emission(rows, store, views[view].window.as_ref(), mistakes) });
    }
    kept.sort_by_key(|k| k.view);
    kept
}

fn view_named(name: &str, at: &At<'_>, views: &[BuiltView], mistakes: &mut Mistakes) -> Option<usize> {
    let position = views.iter().position(|v| v.name == name);
    if position.is_none() {
        let hint = suggest(name, views.iter().map(|v| v.name.as_str())).map(|n| format!("; did you mean `{n}`?"));
        at.mistake(mistakes, format!("no view `{name}`{}", hint.unwrap_or_default()));
    }
    position
}

fn default_emission(store: &StoreSpec, window: Option<&WindowPlan>) -> Emission {
    match (store, window) {
        (_, Some(WindowPlan::Unwindowed)) => Emission::OnUpdate,
        (StoreSpec::Redis(_) | StoreSpec::Embedded, _) => Emission::OnUpdate,
        _ => Emission::OnComplete,
    }
}

fn emission(rows: Option<At<'_>>, store: &StoreSpec, window: Option<&WindowPlan>, mistakes: &mut Mistakes) -> Emission {
    let default = default_emission(store, window);
    let Some(rows) = rows else { return default };
    let chosen = match (rows.text(), rows.duration_of("every")) {
        (Some("on_update"), _) => Emission::OnUpdate,
        (Some("on_complete"), _) => Emission::OnComplete,
        (Some("on_final"), _) => Emission::OnFinal,
        (_, Some(every)) => Emission::Every(every),
        _ => default,
    };
    if window == Some(&WindowPlan::Unwindowed) && matches!(chosen, Emission::OnComplete | Emission::OnFinal) {
        rows.mistake(mistakes, "a row without a window is never complete: write on_update or {every: 1s}");
    }
    chosen
}

/// What a Kafka sink publishes.
pub fn publish(sink: &At<'_>, store: &StoreSpec, views: &[BuiltView], mistakes: &mut Mistakes) -> (Kept, Vec<Publication>) {
    let (mut kept, mut publications) = (Kept::default(), Vec::new());
    let Some(at) = sink.get("publish").filter(|p| !p.node.entries().is_empty()) else {
        if !sink.has("publish") || sink.get("publish").is_some() {
            sink.mistake_at(
                "publish",
                mistakes,
                "missing: what goes to which topic, such as {per_minute: {topic: analytics.window}}",
            );
        }
        return (kept, publications);
    };
    for (entry, at) in at.entries() {
        let topic = at.get("topic");
        if let Some(topic) = &topic
            && let Err(message) = check_topic(topic.text().unwrap_or_default())
        {
            topic.mistake(mistakes, message);
        }
        let topic = topic.and_then(|t| t.text().map(str::to_string));
        let what = match entry.key.as_str() {
            "alerts" => None,
            "dead_letters" => Some(Published::DeadLetters),
            name => published_view(name, &at, store, views, &mut kept, mistakes),
        };
        if let Some(key) = at.node.entry("key").filter(|_| matches!(entry.key.as_str(), "alerts" | "dead_letters")) {
            mistakes.note(key.place.clone(), &at.path, "only views are keyed by fields: remove `key`");
        }
        kept.dead_letters |= what == Some(Published::DeadLetters);
        publications.extend(what.zip(topic).map(|(what, topic)| Publication { what, topic }));
    }
    (kept, publications)
}

fn published_view(
    name: &str,
    at: &At<'_>,
    store: &StoreSpec,
    views: &[BuiltView],
    kept: &mut Kept,
    mistakes: &mut Mistakes,
) -> Option<Published> {
    let Some(view) = views.iter().position(|v| v.name == name) else {
        let names = views.iter().map(|v| v.name.as_str()).chain(["alerts", "dead_letters"]);
        let hint = suggest(name, names).map(|n| format!("; did you mean `{n}`?"));
        at.mistake(mistakes, format!("no view `{name}` to publish{}", hint.unwrap_or_default()));
        return None;
    };
    kept.views.push(KeptView { view, emission: emission(at.get("rows"), store, views[view].window.as_ref(), mistakes) });
    let group = views[view].group.as_deref()?;
    let Some(key) = at.get("key") else { return Some(Published::View { view, key: (0..group.len()).collect() }) };
    let mut positions = Vec::new();
    for item in key.items() {
        let name = item.text().unwrap_or_default();
        match group.iter().position(|f| f.name == name) {
            Some(position) => positions.push(position),
            None if group.is_empty() => item.mistake(mistakes, format!("`{}` has no groups: remove `key`", views[view].name)),
            None => {
                let names: Vec<&str> = group.iter().map(|f| f.name.as_str()).collect();
                item.mistake(mistakes, format!("`{name}` is not in the group of `{}`: use {}", views[view].name, listed(&names)));
            }
        }
    }
    Some(Published::View { view, key: positions })
}
