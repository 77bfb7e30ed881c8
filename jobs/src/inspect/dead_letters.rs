//! `caudal dead-letters`: what was refused, as the embedded store keeps it.

use super::base64::encode;
use super::error::InspectError;
use super::figures::{counted, table, wrapped};
use super::letter_store::{StoreArgs, open};
use caudal_connectors::embedded::read::{DeadLetterQuery, Store, StoredDeadLetter};
use caudal_pipeline::bound::spaced;
use caudal_pipeline::record::Reason;
use caudal_pipeline::suggest::suggest;
use caudal_pipeline::time::Version;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::io::Write;

/// List, show and export the records that a job refused, with the reason, the place and the original bytes.
#[derive(Clone, Debug, clap::Args)]
pub struct DeadLettersArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: DeadLettersVerb,
}

/// What to do with dead letters.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum DeadLettersVerb {
    /// A line each: when, which, why.
    List {
        /// Where they are.
        #[command(flatten)]
        store: StoreArgs,
        /// Which.
        #[command(flatten)]
        filter: FilterArgs,
        /// At most so many, the oldest first.
        #[arg(long, default_value_t = 100, value_name = "N")]
        limit: usize,
        /// One JSON object a line, without the bytes.
        #[arg(long)]
        json: bool,
    },
    /// One with everything that is wrong with it, and its bytes.
    Show {
        /// Its name as `list` prints it: `readings:wind.readings/3@18213`.
        name: String,
        /// Where they are.
        #[command(flatten)]
        store: StoreArgs,
        /// As one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// All with key, headers and bytes: one JSON object a line, bytes as base64.
    Export {
        /// Where they are.
        #[command(flatten)]
        store: StoreArgs,
        /// Which.
        #[command(flatten)]
        filter: FilterArgs,
    },
}

/// Which dead letters.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct FilterArgs {
    /// Of this stream only.
    #[arg(long)]
    pub stream: Option<String>,
    /// For this reason only: too_large, tombstone, malformed, explode, schema, field, event_time, too_far_in_future,
    /// too_late, conflict.
    #[arg(long)]
    pub reason: Option<String>,
    /// In this state only: open, redriven or resolved.
    #[arg(long)]
    pub status: Option<String>,
    /// Refused at this time or later, as `2026-01-31T12:00:00Z`.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Refused before this time, as `2026-01-31T12:00:00Z`.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// From this topic, file or generator only.
    #[arg(long)]
    pub topic: Option<String>,
    /// From this partition only.
    #[arg(long)]
    pub partition: Option<i32>,
    /// From this offset only.
    #[arg(long)]
    pub offset: Option<u64>,
}

/// A message in a list is cut after so many characters.
const MESSAGE_CHARS: usize = 60;
/// Bytes in a line of a hex dump.
const HEX_BYTES: usize = 16;

/// Reads dead letters.
pub fn dead_letters(args: &DeadLettersArgs, out: &mut dyn Write) -> Result<u8, InspectError> {
    match &args.verb {
        DeadLettersVerb::List { store, filter, limit, json } => list(&open(store)?, &query(filter)?, (*limit, *json), out)?,
        DeadLettersVerb::Show { name, store, json } => show(&open(store)?, name, *json, out)?,
        DeadLettersVerb::Export { store, filter } => export(&open(store)?, &query(filter)?, out)?,
    }
    Ok(0)
}

fn query(filter: &FilterArgs) -> Result<DeadLetterQuery, InspectError> {
    one_of("--reason", filter.reason.as_deref(), &Reason::ALL.map(Reason::name))?;
    one_of("--status", filter.status.as_deref(), &["open", "redriven", "resolved"])?;
    Ok(DeadLetterQuery {
        stream: filter.stream.clone(),
        reason: filter.reason.clone(),
        state: filter.status.clone(),
        since: time("--since", filter.since.as_deref())?,
        until: time("--until", filter.until.as_deref())?,
        topic: filter.topic.clone(),
        partition: filter.partition,
        offset: filter.offset,
        ..DeadLetterQuery::default()
    })
}

fn one_of(flag: &str, given: Option<&str>, known: &[&str]) -> Result<(), InspectError> {
    let Some(given) = given.filter(|given| !known.contains(given)) else { return Ok(()) };
    let hint = suggest(given, known.iter().copied()).map(|name| format!("; did you mean `{name}`?"));
    Err(InspectError::Usage(format!("{flag} {given}: one of {}{}", known.join(", "), hint.unwrap_or_default())))
}

fn time(flag: &str, given: Option<&str>) -> Result<Option<Version>, InspectError> {
    let Some(given) = given else { return Ok(None) };
    let time: jiff::Timestamp = given
        .parse()
        .map_err(|_| InspectError::Usage(format!("{flag} {given}: a time with zone, such as 2026-01-31T12:00:00Z")))?;
    Ok(Some(Version(time.as_microsecond())))
}

fn list(store: &Store, query: &DeadLetterQuery, (limit, json): (usize, bool), out: &mut dyn Write) -> Result<(), InspectError> {
    let letters = store.dead_letters(&DeadLetterQuery { limit: Some(limit), ..query.clone() })?;
    if json {
        return letters.iter().try_for_each(|letter| writeln!(out, "{}", head(letter)).map_err(InspectError::from));
    }
    if letters.is_empty() {
        writeln!(out, "no dead letters")?;
    } else {
        let titles = ["when", "stream", "origin", "reason", "path", "message"].map(str::to_owned).to_vec();
        let rows: Vec<Vec<String>> = std::iter::once(titles).chain(letters.iter().map(line)).collect();
        table(&rows, out)?;
    }
    writeln!(out, "{}", counts(store, query, letters.len())?)?;
    Ok(())
}

fn line(letter: &StoredDeadLetter) -> Vec<String> {
    let (path, message) = letter.violations.first().cloned().unwrap_or_default();
    let name = letter.name();
    let origin = name.split_once(':').map_or(name.as_str(), |(_, origin)| origin);
    let message: String = visible(&message).replace('\n', " ");
    let message = match message.char_indices().nth(MESSAGE_CHARS) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message,
    };
    let more = if letter.violations.len() > 1 { format!(" (+{})", letter.violations.len() - 1) } else { String::new() };
    let reason = if letter.state == "open" { letter.reason.clone() } else { format!("{} ({})", letter.reason, letter.state) };
    let when = letter.received_at.split('.').next().unwrap_or_default().trim_end_matches('Z').replace('T', " ");
    vec![when, letter.stream.clone(), origin.to_owned(), reason, visible(&path), format!("{message}{more}")]
}

/// How many there are in all: `readings 96: schema 71, malformed 23, too_late 2`.
fn counts(store: &Store, query: &DeadLetterQuery, shown: usize) -> Result<String, InspectError> {
    let mut streams: BTreeMap<String, Vec<(String, u64)>> = BTreeMap::new();
    for (stream, reason, count) in store.dead_letter_counts()? {
        streams.entry(stream).or_default().push((reason, count));
    }
    let all: u64 = streams.values().flatten().map(|(_, count)| count).sum();
    let of_stream = |(stream, reasons): (&String, &Vec<(String, u64)>)| {
        let mut reasons = reasons.clone();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let total: u64 = reasons.iter().map(|(_, count)| count).sum();
        let reasons: Vec<String> = reasons.iter().map(|(reason, count)| format!("{reason} {}", spaced(*count))).collect();
        format!("{stream} {}: {}", spaced(total), reasons.join(", "))
    };
    let streams: Vec<String> = streams.iter().map(of_stream).collect();
    let filtered = *query != DeadLetterQuery::default();
    let shown = if shown as u64 == all { String::new() } else { format!("{} shown of ", spaced(shown as u64)) };
    let kept = counted(all, "dead letter", "dead letters");
    let note = if filtered { ", before filters" } else { "" };
    Ok(if streams.is_empty() { format!("{shown}{kept}") } else { format!("{shown}{kept}{note} ▸ {}", streams.join(" · ")) })
}

/// Everything but the bytes.
fn head(letter: &StoredDeadLetter) -> Json {
    let violations: Vec<Json> =
        letter.violations.iter().map(|(path, message)| json!({"path": path, "message": message})).collect();
    json!({
        "name": letter.name(), "stream": letter.stream, "topic": letter.topic, "partition": letter.partition,
        "offset": letter.offset, "element": letter.element, "state": letter.state, "version": letter.version.0,
        "received_at": letter.received_at, "reason": letter.reason, "violations": violations,
    })
}

/// All of it; bytes as base64.
fn whole(letter: &StoredDeadLetter) -> Json {
    let mut json = head(letter);
    let bytes = |bytes: &Option<Vec<u8>>| bytes.as_deref().map_or(Json::Null, |bytes| Json::from(encode(bytes)));
    let headers: Vec<Json> =
        letter.headers.iter().map(|(name, value)| json!({"name": name, "value_base64": encode(value)})).collect();
    json["key_base64"] = bytes(&letter.key);
    json["headers"] = Json::Array(headers);
    json["payload_base64"] = bytes(&letter.payload);
    json["broker_time_us"] = Json::from(letter.broker_time_us);
    json
}

fn export(store: &Store, query: &DeadLetterQuery, out: &mut dyn Write) -> Result<(), InspectError> {
    let mut written = Ok(());
    store.each_dead_letter(query, |letter| {
        if written.is_ok() {
            written = writeln!(out, "{}", whole(&letter));
        }
    })?;
    Ok(written?)
}

fn show(store: &Store, name: &str, json: bool, out: &mut dyn Write) -> Result<(), InspectError> {
    let query = DeadLetterQuery::named(name)
        .ok_or_else(|| InspectError::Usage(format!("`{name}` is no dead letter's name: `list` prints them, STREAM:ORIGIN")))?;
    let letter = store.dead_letters(&query)?.into_iter().next();
    let letter = letter.ok_or_else(|| InspectError::Usage(format!("there is no dead letter {name}")))?;
    if json {
        writeln!(out, "{}", whole(&letter))?;
        return Ok(());
    }
    let mut facts = vec![
        ("reason", letter.reason.clone()),
        ("state", letter.state.clone()),
        ("received", letter.received_at.clone()),
        ("version", letter.version.0.to_string()),
    ];
    if let Some(us) = letter.broker_time_us {
        facts.push(("broker time", caudal_pipeline::time::EventTime(us).to_string()));
    }
    if let Some(key) = &letter.key {
        facts.push(("key", short(key)));
    }
    facts.extend(letter.headers.iter().map(|(name, value)| ("header", format!("{}: {}", visible(name), short(value)))));
    writeln!(out, "{}", letter.name())?;
    for (what, fact) in facts {
        writeln!(out, "  {what:<12} {fact}")?;
    }
    writeln!(out, "\n{}", counted(letter.violations.len() as u64, "violation", "violations"))?;
    for (path, message) in &letter.violations {
        let place = if path.is_empty() { "(whole)".to_owned() } else { visible(path) };
        writeln!(out, "  {place}")?;
        wrapped(&visible(message), 76).iter().try_for_each(|line| writeln!(out, "    {line}"))?;
    }
    write_payload(letter.payload.as_deref(), out)
}

fn write_payload(payload: Option<&[u8]>, out: &mut dyn Write) -> Result<(), InspectError> {
    let Some(bytes) = payload else {
        writeln!(out, "\nno bytes: a tombstone")?;
        return Ok(());
    };
    writeln!(out, "\n{}", counted(bytes.len() as u64, "byte", "bytes"))?;
    match std::str::from_utf8(bytes) {
        Ok(text) => writeln!(out, "{}", visible(text))?,
        Err(_) => {
            bytes.chunks(HEX_BYTES).enumerate().try_for_each(|(n, line)| writeln!(out, "{}", hex_line(n * HEX_BYTES, line)))?
        }
    }
    Ok(())
}

fn hex_line(at: usize, bytes: &[u8]) -> String {
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let text: String =
        bytes.iter().map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' }).collect();
    format!("{at:08x}  {:<47}  {text}", hex.join(" "))
}

/// Bytes on one line: text where it is, hex where not.
fn short(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => visible(text).replace('\n', "\\n"),
        Err(_) => format!("hex {}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
    }
}

/// Text that does nothing to a terminal: control characters are escaped, all but line ends and tabs.
fn visible(text: &str) -> String {
    let escaped = |c: char| if c.is_control() && c != '\n' && c != '\t' { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escaped).collect()
}
