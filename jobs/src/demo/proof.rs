//! The proof: what the store holds equals a recomputation of every message from nothing, as of one epoch.

use crate::jobfile::{Job, SourceSpec, tables};
use crate::recompute::{Input, recompute};
use crate::run::{STORE_FILE, Shared, context};
use caudal_connectors::context::row_json;
use caudal_connectors::embedded::read::{DeadLetterQuery, Store};
use caudal_connectors::generate::{Generator, Profile};
use caudal_pipeline::decode::Tables;
use caudal_pipeline::engine::Status;
use caudal_pipeline::record::{Message, Offset, Partition, Reason, Verdict};
use serde_json::{Map, Value as Json};
use std::collections::{BTreeMap, BTreeSet};

/// A line that says what was proven; `None` if the store and the figures are not of one epoch just now. The error
/// says what differs.
pub fn prove(job: &Job, shared: &Shared) -> Result<Option<String>, String> {
    let folder = shared.state.folder().expect("the demonstration keeps its state in a folder");
    let file = folder.join(STORE_FILE);
    // The run makes it once it has begun.
    if !file.exists() {
        return Ok(None);
    }
    let store = Store::open(&file).map_err(|error| error.to_string())?;
    let Some((status, stored)) = of_one_epoch(job, shared, &store)? else { return Ok(None) };
    let decided = decided(job, &store)?.into_iter().filter(|(place, _)| is_before(place, &status)).collect();
    let tables = load_tables(job)?;
    let input = Input {
        plan: &shared.plan,
        tables: &tables,
        messages: messages(job, shared, &status)?,
        decided,
        watermarks: status.watermarks.clone(),
    };
    let output = recompute(&input);
    let found: BTreeMap<(u32, Verdict), u64> = status.counts.iter().map(|(key, (records, _))| (*key, *records)).collect();
    if found != output.counts {
        return Err(format!("counted {found:?}, recomputed {:?}", output.counts));
    }
    let context = context(job);
    let expected = output.rows.iter().map(|row| (row.view, row_json(&context.views[row.view], row)));
    let expected: BTreeSet<(usize, String)> = expected.map(|(view, row)| (view, comparable(row))).collect();
    if let Some((view, row)) = expected.symmetric_difference(&stored).next() {
        let side = if expected.contains(&(*view, row.clone())) { "is missing in the store" } else { "is in the store only" };
        return Err(format!("a row of {} {side}: {row}", context.views[*view].name));
    }
    // What a stream made from a stream got is in its parent's count already.
    let received = found.into_iter().filter(|((stream, _), _)| job.sources.iter().any(|(source, _)| *source as u32 == *stream));
    Ok(Some(line(&received.collect(), expected.len())))
}

/// Figures and rows as of the same epoch.
type Seen = (Status, BTreeSet<(usize, String)>);

fn of_one_epoch(job: &Job, shared: &Shared, store: &Store) -> Result<Option<Seen>, String> {
    for _ in 0..20 {
        let epoch = |store: &Store| store.as_of().map(|all| all.first().map(|as_of| as_of.epoch)).map_err(|e| e.to_string());
        let Some(before) = epoch(store)? else { return Ok(None) };
        let mut rows = BTreeSet::new();
        for (at, view) in job.plan.views.iter().enumerate() {
            let all = store.all_rows(&view.name).map_err(|error| error.to_string())?;
            let there = all.into_iter().filter(|row| row.get("state").and_then(Json::as_str) != Some("gone"));
            rows.extend(there.map(|row| (at, comparable(row))));
        }
        let status = shared.status_at(before);
        if epoch(store)? == Some(before)
            && let Some(status) = status
        {
            return Ok(Some((status, rows)));
        }
    }
    Ok(None)
}

fn comparable(mut row: Map<String, Json>) -> String {
    row.remove("state");
    row.remove("version");
    Json::Object(row).to_string()
}

fn is_before(place: &crate::recompute::Place, status: &Status) -> bool {
    let (stream, partition, offset, _) = place;
    let positions = status.positions.get(stream);
    positions.is_some_and(|all| all.iter().any(|(name, next)| name == partition && *offset < next.0))
}

/// Refusals that depended on arrival, with their places.
fn decided(job: &Job, store: &Store) -> Result<BTreeMap<crate::recompute::Place, Reason>, String> {
    let mut decided = BTreeMap::new();
    for reason in [Reason::TooLate, Reason::TooFarInFuture, Reason::Conflict] {
        let query = DeadLetterQuery { reason: Some(reason.name().into()), ..DeadLetterQuery::default() };
        for letter in store.dead_letters(&query).map_err(|error| error.to_string())? {
            let stream = job.plan.streams.iter().position(|stream| stream.name == letter.stream);
            let stream =
                stream.ok_or_else(|| format!("the store holds a dead letter of {}, which is no stream", letter.stream))?;
            let partition = Partition { topic: letter.topic.as_str().into(), number: letter.partition };
            decided.insert((stream as u32, partition, letter.offset, letter.element), reason);
        }
    }
    Ok(decided)
}

/// The messages of each stream's partitions.
type Sent = BTreeMap<u32, Vec<(Partition, Vec<Message>)>>;

/// The generator's messages up to where the epoch had read.
fn messages(job: &Job, shared: &Shared, status: &Status) -> Result<Sent, String> {
    let mut all = BTreeMap::new();
    for (stream, source) in &job.sources {
        let SourceSpec::Generate(spec) = source else { return Err("only generated input can be recomputed".into()) };
        let profile = Profile::parse(&spec.profile).map_err(|_| "the profile is wrong".to_owned())?;
        let generator = Generator::new(profile, shared.began_us(&job.plan.streams[*stream].name).unwrap_or_default());
        let partitions = status.positions.get(&(*stream as u32)).cloned().unwrap_or_default();
        let read = |(partition, next): (Partition, Offset)| {
            let sent = generated(&generator, partition.number as usize, next.0);
            (partition, sent)
        };
        all.insert(*stream as u32, partitions.into_iter().map(read).collect());
    }
    Ok(all)
}

fn generated(generator: &Generator, source: usize, next: u64) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut index = generator.next_sent(source, 0);
    while index < next {
        let event = generator.event(source, index);
        messages.push(Message { offset: Offset(index), key: Some(event.key), payload: Some(event.body), ..Message::default() });
        index = generator.next_sent(source, index + 1);
    }
    messages
}

fn load_tables(job: &Job) -> Result<Tables, String> {
    let rows = job.tables.iter().zip(&job.plan.tables).map(|(source, plan)| {
        let text = std::fs::read_to_string(&source.path).map_err(|error| error.to_string())?;
        tables::rows(&text, source, plan)
    });
    let rows = rows.collect::<Result<Vec<_>, String>>()?;
    Tables::new(&job.plan.tables, &rows).map_err(|mistakes| mistakes.join(", "))
}

fn line(counts: &BTreeMap<(u32, Verdict), u64>, rows: usize) -> String {
    let of = |class: fn(&Verdict) -> bool| counts.iter().filter(|((_, v), _)| class(v)).map(|(_, n)| n).sum::<u64>();
    let (accepted, filtered) = (of(|v| *v == Verdict::Accepted), of(|v| *v == Verdict::Filtered));
    let (duplicate, rejected) = (of(|v| *v == Verdict::Duplicate), of(|v| matches!(v, Verdict::Rejected(_))));
    let all = accepted + filtered + duplicate + rejected;
    format!(
        " proof: {all} records = {accepted} counted + {filtered} filtered + {duplicate} duplicate + {rejected} dead letters ✔  \
         {rows} rows equal a batch recomputation ✔"
    )
}
