//! `streams`: a decoder for each stream with a source, a derivation for each stream made from a stream.

use super::event_time;
use super::fields::{Owner, fields};
use super::job::SourceSpec;
use super::mistakes::Mistakes;
use super::reader::At;
use super::schemas::Schemas;
use super::shape::listed;
use super::sources::{SourceContext, source};
use super::stream_schema::{self, LoadedSchema};
use super::surroundings::Surroundings;
use caudal_connectors::http::IDEMPOTENCY_HEADER;
use caudal_pipeline::decode::{
    Decoder, DecoderSpec, Derivation, DerivationSpec, FieldFrom, FieldSpec, Format, LookupSpec, Reference, SchemaSpec, SpecError,
};
use caudal_pipeline::plan::{Deduplicate, DeduplicateScope, StreamInput, StreamPlan, TablePlan};
use caudal_pipeline::suggest::suggest;
use caudal_pipeline::time::Span;
use caudal_pipeline::value::Field;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A stream as far as it could be understood.
pub struct BuiltStream<'n> {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub at: At<'n>,
    /// Its plan, if nothing is wrong with it.
    pub plan: Option<StreamPlan>,
    /// Its fields, if they could be told even so.
    pub fields: Option<Vec<Field>>,
    /// Its lateness, if it could be told.
    pub lateness: Option<Span>,
    /// Fields that may be null, as far as the schema tells.
    pub nullable: BTreeSet<String>,
    /// Its source, unless it is made from a stream.
    pub source: Option<SourceSpec>,
    /// Its schema, for the fingerprint.
    pub schema: Option<LoadedSchema>,
}

/// What streams are built with.
pub struct StreamContext<'a> {
    /// Files and variables.
    pub around: &'a Surroundings<'a>,
    /// The job file, as the user named it.
    pub job_file: &'a str,
    /// Tables by name; `None` for one with a mistake.
    pub tables: &'a [(String, Option<TablePlan>)],
}

/// Parents before children; in the order of the file otherwise.
pub fn streams<'n>(all: &At<'n>, context: &StreamContext<'_>, mistakes: &mut Mistakes) -> Vec<BuiltStream<'n>> {
    let mut built: Vec<BuiltStream<'n>> = Vec::new();
    let mut waiting: Vec<(String, At<'n>)> = all.entries().map(|(e, at)| (e.key.clone(), at)).collect();
    while !waiting.is_empty() {
        let before = waiting.len();
        waiting.retain(|(name, at)| {
            let parent = at.get("from").and_then(|f| f.text());
            let position = parent.and_then(|p| built.iter().position(|b| b.name == p));
            let ready = parent.is_none() || position.is_some();
            if ready {
                let stream = match position {
                    Some(parent) => child(name, at, parent, &built, mistakes),
                    None => root(name, at, context, mistakes),
                };
                built.push(stream);
            }
            !ready
        });
        if waiting.len() == before {
            orphans(&waiting, all, mistakes);
            built.extend(waiting.drain(..).map(|(name, at)| unknown(name, at)));
        }
    }
    built
}

/// Streams whose parent does not exist, or is made from them.
fn orphans(waiting: &[(String, At<'_>)], all: &At<'_>, mistakes: &mut Mistakes) {
    for (_, at) in waiting {
        let Some(from) = at.get("from") else { continue };
        let Some(parent) = from.text() else { continue };
        if all.has(parent) {
            from.mistake(
                mistakes,
                format!("`{parent}` is itself made from this stream, directly or not: one of them needs a source"),
            );
        } else {
            let names = all.node.entries().iter().map(|e| e.key.as_str());
            let hint = suggest(parent, names).map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
            from.mistake(mistakes, format!("no stream `{parent}`{hint}"));
        }
    }
}

fn unknown(name: String, at: At<'_>) -> BuiltStream<'_> {
    BuiltStream { name, at, plan: None, fields: None, lateness: None, nullable: BTreeSet::new(), source: None, schema: None }
}

fn root<'n>(name: &str, at: &At<'n>, context: &StreamContext<'_>, mistakes: &mut Mistakes) -> BuiltStream<'n> {
    let mut stream = unknown(name.into(), at.clone());
    let format = format(at);
    if let (Some(format), Some(from)) = (&format, at.get("from")) {
        check_columns(&from, at, format, mistakes);
        let context = SourceContext { around: context.around, job_file: context.job_file, format };
        stream.source = source(&from, &context, mistakes);
    }
    let mut schemas = Schemas::new(context.around, context.job_file);
    let before = mistakes.len();
    let schema = stream_schema::schema(at, &mut schemas, mistakes);
    let schema_failed = mistakes.len() > before;
    let before = mistakes.len();
    let specs = fields(at, Owner::Source, mistakes);
    let lookups = lookups(at, context.tables, mistakes);
    let all_lookups = at.get("lookup").is_none_or(|l| l.node.entries().len() == lookups.len());
    let whole =
        mistakes.len() == before && all_fields(at, specs.as_deref()) && all_lookups && !(schema_failed && specs.is_none());
    let event_time = event_time::event_time(at, mistakes);
    let watermark = event_time::watermark(at, mistakes);
    stream.lateness = watermark.as_ref().map(|(_, lateness)| *lateness);
    let deduplicate = deduplicate(at, stream.lateness, mistakes);
    let explode = explode(at);
    stream.nullable = nullable(specs.as_deref(), schema.as_ref(), explode.is_some());
    stream.schema = schema.clone().map(|spec| LoadedSchema { spec, resources: schemas.resources.clone() });
    let (Some(format), Some(event_time), true) = (format, event_time, whole) else { return stream };
    let Some(max_bytes) = at.bytes_of("max_message").and_then(|n| usize::try_from(n).ok()) else { return stream };
    let spec = DecoderSpec {
        format,
        max_bytes,
        schema,
        schema_resources: schemas.resources,
        explode,
        id: at.get("id").map(|id| id.texts().into_iter().map(Reference).collect()),
        event_time,
        tables: context.tables.iter().filter_map(|(_, t)| t.clone()).collect(),
        lookups,
        fields: specs,
        filter: at.text_of("where"),
    };
    let decoder = compile(at, mistakes, &mut stream.fields, |keep_filter| {
        let filter = spec.filter.clone().filter(|_| keep_filter);
        let decoder = Decoder::new(&DecoderSpec { filter, ..spec.clone() })?;
        let decoder = if over_http(at) { decoder.or_id_from_header(IDEMPOTENCY_HEADER) } else { decoder };
        let fields = decoder.fields().to_vec();
        Ok((decoder, fields))
    });
    if let (Some(decoder), Some((watermark, lateness)), Some(fields), false) = (decoder, watermark, &stream.fields, schema_failed)
    {
        let from = StreamInput::Source(Arc::new(decoder));
        let (name, fields) = (name.into(), fields.clone());
        stream.plan = Some(StreamPlan { name, from, fields, deduplicate, watermark, lateness, archived: false });
    }
    stream
}

/// Compiles, and notes what is wrong. Where only `where` is wrong, the fields are known even so, and views can be checked.
fn compile<T>(
    at: &At<'_>,
    mistakes: &mut Mistakes,
    fields: &mut Option<Vec<Field>>,
    new: impl Fn(bool) -> Result<(T, Vec<Field>), Vec<SpecError>>,
) -> Option<T> {
    match new(true) {
        Ok((compiled, known)) => {
            *fields = Some(known);
            Some(compiled)
        }
        Err(errors) => {
            for e in &errors {
                let place = at.deepest(&e.path);
                place.mistake_within(e.span.as_ref().map_or(0, |s| s.start), mistakes, e.message.clone());
            }
            if errors.iter().all(|e| e.path == "where") {
                *fields = new(false).ok().map(|(_, known)| known);
            }
            None
        }
    }
}

/// Whether every field that is written could be understood.
fn all_fields(at: &At<'_>, specs: Option<&[FieldSpec]>) -> bool {
    at.get("fields").is_none_or(|f| f.node.entries().len() == specs.map_or(0, <[FieldSpec]>::len))
}

/// Keys that a stream made from a stream may have.
const CHILD_KEYS: [&str; 3] = ["from", "where", "fields"];

fn child<'n>(name: &str, at: &At<'n>, parent: usize, built: &[BuiltStream<'n>], mistakes: &mut Mistakes) -> BuiltStream<'n> {
    let mut stream = unknown(name.into(), at.clone());
    let above = &built[parent];
    for entry in at.node.entries().iter().filter(|e| !CHILD_KEYS.contains(&e.key.as_str())) {
        let message = format!("a stream made from a stream has its parent's: set it in `{}` and remove it here", above.name);
        at.mistake_key(&entry.key, mistakes, message);
    }
    let before = mistakes.len();
    let specs = fields(at, Owner::Child, mistakes);
    stream.lateness = above.lateness;
    stream.nullable = inherited(specs.as_deref(), &above.nullable);
    let whole = mistakes.len() == before && all_fields(at, specs.as_deref());
    let (Some(parent_fields), true) = (&above.fields, whole) else { return stream };
    let spec = DerivationSpec { parent: parent_fields.clone(), fields: specs, filter: at.text_of("where") };
    let derivation = compile(at, mistakes, &mut stream.fields, |keep_filter| {
        let filter = spec.filter.clone().filter(|_| keep_filter);
        let derivation = Derivation::new(&DerivationSpec { filter, ..spec.clone() })?;
        let fields = derivation.fields().to_vec();
        Ok((derivation, fields))
    });
    if let (Some(derivation), Some(plan), Some(fields)) = (derivation, &above.plan, &stream.fields) {
        stream.plan = Some(StreamPlan {
            name: name.into(),
            from: StreamInput::Stream(parent, Arc::new(derivation)),
            fields: fields.clone(),
            deduplicate: None,
            watermark: plan.watermark,
            lateness: plan.lateness,
            archived: false,
        });
    }
    stream
}

fn format(at: &At<'_>) -> Option<Format> {
    let at = at.get("format")?;
    let plain = || Format::Csv { delimiter: b',', decimal: b'.', columns: None };
    match (at.text(), at.get("csv")) {
        (Some("json"), _) => Some(Format::Json),
        (Some("csv"), _) => Some(plain()),
        (_, Some(csv)) => Some(Format::Csv {
            delimiter: csv.text_of("delimiter")?.bytes().next()?,
            decimal: csv.text_of("decimal")?.bytes().next()?,
            columns: csv.get("columns").map(|c| c.texts()),
        }),
        _ => None,
    }
}

fn check_columns(from: &At<'_>, stream: &At<'_>, format: &Format, mistakes: &mut Mistakes) {
    let Format::Csv { columns, .. } = format else { return };
    let Some(at) = stream.get("format") else { return };
    match (from.has("file"), columns) {
        (true, Some(_)) => {
            let message = "the first line of a CSV file names its columns: remove `columns`";
            at.get("csv").unwrap_or(at).mistake_key("columns", mistakes, message);
        }
        (false, None) if from.has("kafka") || from.has("http") => {
            at.mistake(mistakes, "a CSV message has no header line: name its columns, {csv: {columns: [time, value]}}");
        }
        _ => {}
    }
}

fn explode(at: &At<'_>) -> Option<String> {
    let at = at.get("explode")?;
    at.text().map(str::to_string).or_else(|| at.text_of("at"))
}

/// Whether events are posted; without an `id`, a request's `Idempotency-Key` tells what repeats.
fn over_http(at: &At<'_>) -> bool {
    at.get("from").is_some_and(|from| from.has("http"))
}

fn deduplicate(at: &At<'_>, lateness: Option<Span>, mistakes: &mut Mistakes) -> Option<Deduplicate> {
    let given = at.get("deduplicate");
    if !at.has("id") && !over_http(at) {
        if at.has("deduplicate") {
            at.mistake_key("deduplicate", mistakes, "without an `id` nothing repeats: add `id`, or remove this");
        }
        return None;
    }
    let within = given.as_ref().and_then(|d| d.duration_of("within"));
    if let (Some(given), Some(within), Some(lateness)) = (&given, within, lateness)
        && within < lateness
    {
        let message = format!(
            "{within} is shorter than the lateness {lateness}: a duplicate could come back as new; write {lateness} or more"
        );
        given.mistake_at("within", mistakes, message);
    }
    let scope = given.and_then(|d| d.text_of("scope"));
    let scope = if scope.as_deref() == Some("partition") { DeduplicateScope::Partition } else { DeduplicateScope::Stream };
    Some(Deduplicate { within: within.or(lateness)?, scope })
}

fn lookups(at: &At<'_>, tables: &[(String, Option<TablePlan>)], mistakes: &mut Mistakes) -> Vec<LookupSpec> {
    let Some(lookups) = at.get("lookup") else { return Vec::new() };
    lookups.entries().filter_map(|(entry, at)| lookup(&entry.key, &at, tables, mistakes)).collect()
}

fn lookup(alias: &str, at: &At<'_>, tables: &[(String, Option<TablePlan>)], mistakes: &mut Mistakes) -> Option<LookupSpec> {
    let name = at.text_of("table")?;
    let Some((_, plan)) = tables.iter().find(|(n, _)| *n == name) else {
        let hint = suggest(&name, tables.iter().map(|(n, _)| n.as_str())).map(|n| format!("; did you mean `{n}`?"));
        at.mistake_at("table", mistakes, format!("no table `{name}`{}", hint.unwrap_or_default()));
        return None;
    };
    let key = at.get("key")?;
    let references: Vec<Reference> = key.texts().into_iter().map(Reference).collect();
    if let Some(plan) = plan
        && plan.key.len() != references.len()
    {
        key.mistake(mistakes, format!("the key of `{name}` is {}: {} given here", listed_columns(&plan.key), references.len()));
        return None;
    }
    let table = tables.iter().filter(|(_, plan)| plan.is_some()).position(|(n, _)| *n == name);
    match (table, plan) {
        (Some(table), Some(_)) => Some(LookupSpec { alias: alias.into(), table, key: references }),
        // The table has a mistake of its own; without it, no expression over the alias can be judged.
        _ => None,
    }
}

fn listed_columns(key: &[String]) -> String {
    listed(&key.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Fields that the schema does not promise and that have no default.
fn nullable(specs: Option<&[FieldSpec]>, schema: Option<&SchemaSpec>, exploded: bool) -> BTreeSet<String> {
    let Some(specs) = specs else { return stream_schema::optional_properties(schema) };
    let without_default = specs.iter().filter(|f| f.default.is_none());
    let may_be_null = without_default.filter(|f| match &f.from {
        FieldFrom::Reference(Reference(pointer)) if pointer.starts_with('/') && !exploded => {
            stream_schema::promises(schema, pointer) == Some(false)
        }
        _ => false,
    });
    may_be_null.map(|f| f.name.clone()).collect()
}

fn inherited(specs: Option<&[FieldSpec]>, parent: &BTreeSet<String>) -> BTreeSet<String> {
    let Some(specs) = specs else { return parent.clone() };
    let from_nullable = specs.iter().filter(|f| f.default.is_none()).filter(|f| match &f.from {
        FieldFrom::Reference(Reference(name)) => parent.contains(name),
        FieldFrom::Expr(_) => false,
    });
    from_nullable.map(|f| f.name.clone()).collect()
}
