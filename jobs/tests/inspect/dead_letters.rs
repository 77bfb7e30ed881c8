//! `dead-letters` on a store that the embedded sink has written.

use super::Scratch;
use caudal_connectors::context::SinkContext;
use caudal_connectors::embedded::{Config, Sink};
use caudal_jobs::inspect::dead_letters::{DeadLettersVerb, FilterArgs};
use caudal_jobs::inspect::letter_store::StoreArgs;
use caudal_jobs::inspect::{DeadLettersArgs, InspectError, dead_letters};
use caudal_jobs::run::Place;
use caudal_pipeline::ports::sink::{Cut, DeadLetterRow, Sink as _};
use caudal_pipeline::record::{DeadLetter, Offset, Partition, Reason, Rejection, Violation};
use caudal_pipeline::time::{Epoch, Version};

/// 2026-01-31T12:00:00Z.
const NOON_US: i64 = 1_769_860_800_000_000;

fn letter(offset: u64, reason: Reason, violations: &[(&str, &str)], payload: Option<&[u8]>) -> DeadLetterRow {
    let violations = violations.iter().map(|(path, message)| Violation { path: (*path).into(), message: (*message).into() });
    let dead_letter = DeadLetter {
        stream: 0,
        partition: Partition { topic: "wind.readings".into(), number: 3 },
        offset: Offset(offset),
        element: 0,
        rejection: Rejection { reason, violations: violations.collect() },
        key: Some(b"gen-07".to_vec()),
        headers: vec![("trace".into(), vec![0xff, 0x01])],
        payload: payload.map(<[u8]>::to_vec),
        broker_time_us: Some(NOON_US - 1_000_000),
    };
    DeadLetterRow { version: Version(NOON_US + offset as i64 * 1_000_000), dead_letter }
}

fn store(scratch: &Scratch) -> StoreArgs {
    let state = scratch.0.join("state");
    let context = SinkContext { job: "wind-farm".into(), views: vec![], streams: vec!["readings".into()] };
    let mut sink = Sink::new(Config { path: state.join("wind-farm/store.sqlite") }, context);
    sink.prepare().unwrap();
    let dead_letters = vec![
        letter(
            17,
            Reason::Schema,
            &[("/power/active", "\"much\" is not a number"), ("/unit", "missing")],
            Some(b"{\"power\":{\"active\":\"much\"}}"),
        ),
        letter(18, Reason::Malformed, &[("", "byte 3 is not UTF-8")], Some(b"{\"a\xff\x1b[2J")),
        letter(19, Reason::Tombstone, &[("", "no body at all")], None),
        letter(20, Reason::Schema, &[("/unit", "missing")], Some(b"{\"n\":\"\x1b[31mred\"}")),
    ];
    sink.write(&Cut { to: Epoch(1), version: Version(NOON_US + 60_000_000), dead_letters, ..Cut::default() }).unwrap();
    StoreArgs { state: state.into(), job: None, store: None }
}

fn run(verb: DeadLettersVerb) -> String {
    let mut out = Vec::new();
    assert_eq!(dead_letters(&DeadLettersArgs { verb }, &mut out).unwrap_or_else(|error| panic!("{error}")), 0);
    String::from_utf8(out).unwrap()
}

fn refused(verb: DeadLettersVerb) -> InspectError {
    dead_letters(&DeadLettersArgs { verb }, &mut Vec::new()).unwrap_err()
}

fn list(store: &StoreArgs, filter: FilterArgs) -> DeadLettersVerb {
    DeadLettersVerb::List { store: store.clone(), filter, limit: 100, json: false }
}

#[test]
fn a_list_tells_when_which_and_why() {
    let scratch = Scratch::new("list");
    let store = store(&scratch);
    let expected = "\
when                 stream    origin            reason     path           message
2026-01-31 12:00:17  readings  wind.readings/3@17  schema     /power/active  \"much\" is not a number (+1)
";
    let text = run(list(&store, FilterArgs::default()));
    let lines: Vec<&str> = text.lines().collect();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(lines[0]), words(expected.lines().next().unwrap()));
    assert_eq!(words(lines[1]), words(expected.lines().nth(1).unwrap()));
    assert_eq!(lines.len(), 6, "{text}");
    assert_eq!(lines[5], "4 dead letters ▸ readings 4: schema 2, malformed 1, tombstone 1");

    let filter =
        FilterArgs { reason: Some("schema".into()), since: Some("2026-01-31T12:00:18Z".into()), ..FilterArgs::default() };
    let text = run(list(&store, filter));
    assert!(text.contains("@20") && !text.contains("@17") && text.contains("1 shown of 4 dead letters"), "{text}");
    let none = FilterArgs { offset: Some(1), ..FilterArgs::default() };
    assert!(run(list(&store, none)).starts_with("no dead letters\n"));

    let json = DeadLettersVerb::List { store, filter: FilterArgs::default(), limit: 2, json: true };
    let rows: Vec<serde_json::Value> = run(json).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0]["name"], "readings:wind.readings/3@17");
    assert_eq!(rows[0]["violations"][1]["path"], "/unit");
    assert!(rows[0].get("payload_base64").is_none());
}

#[test]
fn one_is_shown_with_all_that_is_wrong_and_its_bytes() {
    let scratch = Scratch::new("show");
    let store = store(&scratch);
    let show = |offset: u64| {
        run(DeadLettersVerb::Show { name: format!("readings:wind.readings/3@{offset}"), store: store.clone(), json: false })
    };
    let text = show(17);
    for said in [
        "2 violations",
        "/power/active",
        "\"much\" is not a number",
        "/unit",
        "header       trace: hex ff01",
        "key          gen-07",
    ] {
        assert!(text.contains(said), "{said} in\n{text}");
    }
    assert!(text.ends_with("27 bytes\n{\"power\":{\"active\":\"much\"}}\n"), "{text}");
    // Bytes that are no text are shown in hex, and nothing reaches the terminal as a command.
    assert!(show(18).contains("00000000  7b 22 61 ff 1b 5b 32 4a"), "{}", show(18));
    assert!(show(19).contains("no bytes: a tombstone"));
    assert!(show(20).contains("\\u{1b}[31mred") && !show(20).contains('\u{1b}'), "{}", show(20));
}

#[test]
fn an_export_holds_everything_needed_to_send_it_again() {
    let scratch = Scratch::new("export");
    let store = store(&scratch);
    let text = run(DeadLettersVerb::Export { store, filter: FilterArgs::default() });
    let rows: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 4);
    assert_eq!(rows[0]["key_base64"], "Z2VuLTA3");
    assert_eq!(rows[0]["headers"], serde_json::json!([{"name": "trace", "value_base64": "/wE="}]));
    assert_eq!(rows[1]["payload_base64"], "eyJh/xtbMko=");
    assert_eq!(rows[2]["payload_base64"], serde_json::Value::Null);
}

#[test]
fn what_cannot_be_asked_is_told_with_its_remedy() {
    let scratch = Scratch::new("wrong");
    let store = store(&scratch);
    let filter = FilterArgs { reason: Some("shema".into()), ..FilterArgs::default() };
    assert!(refused(list(&store, filter)).to_string().contains("did you mean `schema`?"));
    let filter = FilterArgs { since: Some("yesterday".into()), ..FilterArgs::default() };
    assert!(refused(list(&store, filter)).to_string().contains("2026-01-31T12:00:00Z"));
    for (name, said) in [("17", "is no dead letter's name"), ("readings:wind.readings/3@1", "there is no dead letter")] {
        let error = refused(DeadLettersVerb::Show { name: name.into(), store: store.clone(), json: false });
        assert!(error.to_string().contains(said), "{error}");
    }
}

/// `--state` and CAUDAL_STATE mean what they mean for `run`: the folder above those of the jobs.
#[test]
fn the_store_is_found_below_the_state_of_all_jobs() {
    let scratch = Scratch::new("found");
    let store = store(&scratch);
    let listed = |args: &StoreArgs| run(list(args, FilterArgs::default())).contains("4 dead letters");
    let told = |args: &StoreArgs| {
        let error = refused(list(args, FilterArgs::default()));
        assert_eq!(error.exit_code(), 2, "{error}");
        error.to_string()
    };
    let named = |job: &str| StoreArgs { job: Some(job.into()), ..store.clone() };
    assert!(listed(&store) && listed(&named("wind-farm")));
    let state = store.state.folder().unwrap();
    let file = state.join("wind-farm/store.sqlite");
    assert!(listed(&StoreArgs { store: Some(file), ..store.clone() }), "by its file");
    assert!(told(&named("wind")).contains("no state of a job wind in"), "{}", told(&named("wind")));
    assert!(told(&named("wind")).contains("there is that of wind-farm"));

    let other = state.join("tides");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("JOB"), "tides\n").unwrap();
    assert!(told(&store).contains("several jobs, tides, wind-farm: choose one with --job"), "{}", told(&store));
    assert!(listed(&named("wind-farm")));
    assert!(told(&named("tides")).contains("as in `--job jobs/tides`"), "{}", told(&named("tides")));

    let own = StoreArgs { state: other.into(), ..store.clone() };
    assert!(told(&own).contains("is the state of one job: name the folder that it lies in"), "{}", told(&own));
    let nowhere = StoreArgs { state: scratch.0.join("nowhere").into(), ..store.clone() };
    assert!(told(&nowhere).contains("CAUDAL_STATE"), "{}", told(&nowhere));
    let objects = StoreArgs { state: "s3://state/caudal".parse().unwrap(), ..store.clone() };
    assert!(told(&objects).contains("s3://state/caudal is object storage"), "{}", told(&objects));
}

/// The ready-made jobs keep theirs in Cassandra and Kafka: where, and how to read them, is told.
#[test]
fn where_other_sinks_keep_them_is_told_with_a_command() {
    let scratch = Scratch::new("elsewhere");
    let told = |state: Place, job: &str| {
        let job = Some(format!("{}/{job}", env!("CARGO_MANIFEST_DIR")));
        let error = refused(list(&StoreArgs { state, job, store: None }, FilterArgs::default()));
        assert_eq!(error.exit_code(), 2, "{error}");
        error.to_string()
    };
    let text = told(scratch.0.clone().into(), "event-pipeline");
    for said in [
        "the dead letters of event-pipeline are not in ",
        "sink cold keeps them in Cassandra, table caudal.event_pipeline_dead_letters:\n    cqlsh localhost 9042 -e \"SELECT ",
        " AND stream IN ('events', 'severe_incidents') LIMIT 20\"",
        "sink bus publishes them to Kafka, topic deadletter.validation:\n    kafka-console-consumer.sh --bootstrap-server localhost:9092 ",
        " --topic deadletter.validation --from-beginning",
    ] {
        assert!(text.contains(said), "{said} in\n{text}");
    }
    let text = told("s3://state/caudal".parse().unwrap(), "event-pipeline");
    assert!(
        text.contains("the dead letters of event-pipeline are not in s3://state/caudal/event-pipeline:\n  sink cold"),
        "{text}"
    );
    let file = scratch.file(
        "job.yaml",
        "caudal: 1\nname: silent\nstreams:\n  s:\n    from: {http: {}}\n    event_time: /t\n    lateness: 1h\n    fields: {f: {at: /f, type: \
         text}}\nviews:\n  v: {from: s, window: {tumbling: 1m}, group_by: [f], select: {n: count()}}\nsinks:\n  hot: {redis: {url: \
         'redis://localhost'}}\n",
    );
    let args = StoreArgs { state: scratch.0.clone().into(), job: Some(file.display().to_string()), store: None };
    let said = refused(list(&args, FilterArgs::default())).to_string();
    assert!(said.contains("no sink of silent keeps dead letters"), "{said}");
}
