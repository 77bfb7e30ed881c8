//! Small tables: each limit moves the parts that it bounds, by as much as it should, and no other.

use super::*;
use crate::aggregate::Aggregate;
use crate::decode::{
    Decoder, DecoderSpec, EventTimeSpec, ExcessDigits, FieldFrom, FieldSpec, Format, Missing, Reference, TimeFormat,
};
use crate::plan::{CalendarUnit, Deduplicate, DeduplicateScope, WatermarkPlan, WindowPlan};
use crate::value::Field;
use std::collections::BTreeMap;
use std::sync::Arc;

const HOUR: Span = Span::seconds(3600);
const MINUTE: WindowPlan = WindowPlan::Tumbling { size: Span::seconds(60) };

fn stream() -> StreamPlan {
    let field = |name: &str, field_type| FieldSpec {
        name: name.into(),
        from: FieldFrom::Reference(Reference(format!("/{name}"))),
        field_type: Some(field_type),
        excess_digits: ExcessDigits::Round,
        default: None,
    };
    let spec = DecoderSpec {
        format: Format::Json,
        max_bytes: 1 << 20,
        schema: None,
        schema_resources: BTreeMap::new(),
        explode: None,
        id: Some(vec![Reference("/id".into())]),
        event_time: EventTimeSpec { at: Some(Reference("/t".into())), format: TimeFormat::UnixMs, missing: Missing::DeadLetter },
        tables: vec![],
        lookups: vec![],
        fields: Some(vec![field("g", FieldType::Text), field("x", FieldType::Decimal(2))]),
        filter: None,
    };
    let decoder = Decoder::new(&spec).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    StreamPlan {
        name: "s".into(),
        fields: decoder.fields().to_vec(),
        from: StreamInput::Source(Arc::new(decoder)),
        deduplicate: Some(Deduplicate { within: HOUR, scope: DeduplicateScope::Stream }),
        watermark: WatermarkPlan {
            max_delay: Span::seconds(10),
            idle_after: Span::seconds(30),
            max_future: Span::seconds(60),
            max_ahead: HOUR,
            advance_when_all_idle: true,
        },
        lateness: HOUR,
        archived: false,
    }
}

fn view(name: &str, from: ViewInput, window: WindowPlan, calls: &[&str]) -> ViewPlan {
    let fields = stream().fields;
    let group: Vec<Field> = fields[..1].to_vec();
    let aggregates: Vec<Aggregate> =
        calls.iter().map(|call| Aggregate::parse(call, &fields).unwrap_or_else(|wrong| panic!("{wrong:?}"))).collect();
    ViewPlan { name: name.into(), from, stream: 0, window, group, aggregates, columns: vec![] }
}

fn root(window: WindowPlan, calls: &[&str]) -> ViewPlan {
    view("v", ViewInput::Stream { stream: 0, group_by: vec![0] }, window, calls)
}

fn plan(views: Vec<ViewPlan>) -> Plan {
    let limits = Limits { memory_bytes: None, events_per_s: Some(1_000), groups: Some(100) };
    Plan { name: "j".into(), limits, tables: vec![], streams: vec![stream()], views }
}

fn setting() -> Setting {
    Setting { in_flight_bytes_max: 64 << 20, checkpoint_every: Span::seconds(60), boards: vec![] }
}

fn part(plan: &Plan, what: &str) -> Part {
    let parts = bound(plan, &setting());
    parts.iter().find(|part| part.what == what).unwrap_or_else(|| panic!("no {what} in {parts:#?}")).clone()
}

fn bytes(plan: &Plan, what: &str) -> u64 {
    part(plan, what).bytes.unwrap_or_else(|| panic!("{what} is not bounded"))
}

#[test]
fn twice_the_groups_take_twice_the_rows() {
    for window in [MINUTE, WindowPlan::Unwindowed, WindowPlan::Sliding { size: HOUR, every: Span::seconds(60) }] {
        // Nothing here grows with the records in a row.
        let once = plan(vec![root(window, &["count()", "mean(x)"])]);
        let mut twice = once.clone();
        twice.limits.groups = Some(200);
        assert_eq!(bytes(&twice, "rows of v"), 2 * bytes(&once, "rows of v"));
        assert_eq!(bytes(&twice, "ids of s"), bytes(&once, "ids of s"));
        assert!(bytes(&twice, "checkpoint") > bytes(&once, "checkpoint") && bytes(&twice, "ledger") > bytes(&once, "ledger"));
    }
}

#[test]
fn ids_follow_the_rate_and_the_horizons() {
    let once = plan(vec![]);
    let ids = bytes(&once, "ids of s");
    // An hour and a quarter within, an hour and ten seconds ahead, and one epoch's records.
    assert_eq!(ids, (1_000 * (4_500 + 3_610) + 100_000) * ID_BYTES);
    let mut faster = once.clone();
    faster.limits.events_per_s = Some(2_000);
    assert_eq!(bytes(&faster, "ids of s"), (2_000 * (4_500 + 3_610) + 100_000) * ID_BYTES);
    let mut level = once.clone();
    level.streams[0].watermark.max_ahead = Span(0);
    assert_eq!(ids - bytes(&level, "ids of s"), 1_000 * 3_600 * ID_BYTES);
    let mut longer = once;
    longer.streams[0].deduplicate = Some(Deduplicate { within: Span(2 * HOUR.0), scope: DeduplicateScope::Stream });
    assert_eq!(bytes(&longer, "ids of s") - ids, 1_000 * 4_500 * ID_BYTES);
}

#[test]
fn rows_that_list_their_records_are_bounded_by_the_records_there_are() {
    let listed = plan(vec![root(MINUTE, &["ids(1000)"])]);
    let counted = plan(vec![root(MINUTE, &["count()"])]);
    let records: u64 = 1_000 * (3_600 + 3_610 + 60) + 100_000;
    let lists = bytes(&listed, "rows of v") - bytes(&counted, "rows of v");
    assert!(lists >= records * 64 && lists <= records * 200, "{lists}");
    // With many groups a row has few records, and an empty list is cheap.
    let mut many = listed.clone();
    many.limits.groups = Some(100_000);
    assert!(bytes(&many, "rows of v") < 10 * bytes(&listed, "rows of v"));
    assert!(part(&listed, "rows of v").from.contains("123 windows of 1m × 100 groups"), "{:?}", part(&listed, "rows of v"));
}

#[test]
fn what_is_not_declared_is_named() {
    let mut none =
        plan(vec![root(MINUTE, &["count()"]), ViewPlan { name: "u".into(), ..root(WindowPlan::Unwindowed, &["count()"]) }]);
    none.limits = Limits::default();
    for (what, limit) in [("ids of s", "limits.events_per_s"), ("rows of v", "limits.groups"), ("rows of u", "limits.groups")] {
        let part = part(&none, what);
        assert!(part.bytes.is_none() && part.from.contains(limit), "{part:?}");
    }
    assert_eq!(total(&bound(&none, &setting())), None);
    // The rate bounds the rows of windows, too: each holds a record. It says nothing about rows that stay for ever.
    none.limits.events_per_s = Some(10);
    assert!(part(&none, "rows of v").bytes.is_some() && part(&none, "rows of u").bytes.is_none());
    // A view without groups has one row a window.
    none.views.iter_mut().for_each(|view| view.group.clear());
    assert!(total(&bound(&none, &setting())).is_some());
}

#[test]
fn calendar_windows_sessions_and_roll_ups_have_their_rows() {
    let lower = root(MINUTE, &["count()"]);
    let upper = view(
        "day",
        ViewInput::View { view: 0, group_by: vec![0], merge: vec![0] },
        WindowPlan::Calendar { unit: CalendarUnit::Day, zone: "Europe/Madrid".into() },
        &["count()"],
    );
    let both = plan(vec![lower, upper]);
    let roll_up = part(&both, "roll-up day");
    assert_eq!(roll_up.from, "12 300 rows of v, merged into 200");
    assert!(roll_up.bytes.expect("bounded") > 12_400 * 480);
    let sessions = plan(vec![root(WindowPlan::Session { gap: Span::seconds(30) }, &["count()"])]);
    assert!(
        part(&sessions, "rows of v").from.starts_with("245 sessions 30s apart × 100 groups"),
        "{:?}",
        part(&sessions, "rows of v")
    );
}

#[test]
fn a_long_session_may_hold_any_number_of_records() {
    let mut sessions = plan(vec![root(WindowPlan::Session { gap: HOUR }, &["ids(1000)"])]);
    sessions.limits.events_per_s = Some(1);
    assert!(bytes(&sessions, "rows of v") >= 100 * Aggregate::parse("ids(1000)", &[]).expect("known").acc_bytes_max() as u64);
}

#[test]
fn boards_and_messages_in_flight_have_their_parts() {
    let plan = plan(vec![root(MINUTE, &["count()"])]);
    let boards = |groups_max| Setting { boards: vec![("hot".into(), 0, groups_max)], ..setting() };
    let board = |setting: &Setting| bound(&plan, setting).into_iter().find(|part| part.what == "board of hot").expect("a board");
    assert_eq!(board(&boards(50)).bytes.map(|bytes| 2 * bytes), board(&boards(10_000)).bytes);
    assert!(bytes(&plan, "in flight") > 64 << 20);
    for (memory, expected) in [(None, 256), (Some(2u64 << 30), 32), (Some(1 << 20), 8), (Some(1 << 40), 256)] {
        assert_eq!(in_flight_bytes_max(&Limits { memory_bytes: memory, ..Limits::default() }), expected << 20);
    }
}

#[test]
fn numbers_are_spaced_by_threes() {
    for (number, text) in [(0, "0"), (999, "999"), (1_000, "1 000"), (55_208, "55 208"), (123_456_789, "123 456 789")] {
        assert_eq!(spaced(number), text);
    }
}
