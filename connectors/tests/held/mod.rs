//! One suite over every store that holds rows: what it gives back is what a reader sees there, value by value.
//!
//! Random cuts are written and kept in a model: for each row its newest version. Then sinks that have never written read
//! everything back, from several points in time.

use super::cuts::MINUTE_US;
use caudal_connectors::context::{SinkContext, ViewDescription};
use caudal_pipeline::plan::WindowPlan;
use caudal_pipeline::ports::sink::{Cut, HeldRow, Row, RowState, Sink, ViewProgress};
use caudal_pipeline::time::{Epoch, EventTime, Span, Version};
use caudal_pipeline::value::{Cell, Column, ColumnType, Field, FieldType, SCALED_MAX, Value};
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

const CUTS: i64 = 12;
const ROWS_OF_A_CUT: usize = 150;

/// What a store cannot hold.
#[derive(Clone, Copy, Default)]
pub struct Limits {
    /// Nulls in a group, but for texts and times.
    pub no_null_numbers: bool,
    /// Ends of windows finer than this, in microseconds.
    pub end_us: Option<i64>,
}

/// By view, group and start: the end, the newest version, and whether that is gone.
type Model = BTreeMap<(usize, Vec<Value>, EventTime), (EventTime, Version, bool)>;

/// Views of all kinds, with groups of all types.
pub fn context(job: &str) -> SinkContext {
    use FieldType::{Bool, Decimal, Text, Time};
    let view = |name: &str, window, types: &[FieldType]| ViewDescription {
        name: name.to_owned(),
        window,
        group: types.iter().enumerate().map(|(n, t)| Field { name: format!("g{n}"), field_type: *t }).collect(),
        columns: vec![
            Column { name: "total".to_owned(), column_type: ColumnType::Decimal(2) },
            Column { name: "note".to_owned(), column_type: ColumnType::Text },
        ],
    };
    let minute = WindowPlan::Tumbling { size: Span::seconds(60) };
    let views = vec![
        view("minutes", minute.clone(), &[Text, Decimal(2), Decimal(0), Bool, Time]),
        view("minute", minute.clone(), &[Text]),
        view("sessions", WindowPlan::Session { gap: Span::seconds(30) }, &[Text, Text]),
        view("all_minutes", minute, &[]),
        view("balance", WindowPlan::Unwindowed, &[Text, Decimal(1)]),
        view("sum", WindowPlan::Unwindowed, &[]),
    ];
    SinkContext { job: job.to_owned(), views, streams: vec!["readings".to_owned()] }
}

/// The suite. `sink` makes one that is neither prepared nor has written.
pub fn contract(seed: u64, context: &SinkContext, limits: Limits, mut sink: impl FnMut() -> Box<dyn Sink>) {
    println!("seed {seed:#x}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    assert_holds(context, &Model::new(), sink(), "a store with nothing");

    let mut model = Model::new();
    let mut writer = sink();
    writer.prepare().unwrap();
    for number in 1..=CUTS {
        let mut rows = random_rows(&mut random, context, limits, &model, Version(number * 1000));
        if number == 1 {
            rows.extend(a_day(Version(1000)));
        }
        note(&mut model, &rows, limits);
        let cut = Cut {
            from: Epoch(number as u64 - 1),
            to: Epoch(number as u64),
            version: Version(number * 1000),
            previous_version: Version((number - 1) * 1000),
            progress: vec![ViewProgress::default(); context.views.len()],
            rows,
            ..Cut::default()
        };
        assert_eq!(writer.write(&cut).unwrap(), []);
        // As after a crash before the cursor moved.
        assert_eq!(writer.write(&cut).unwrap(), []);
    }
    assert!(model.values().any(|(.., gone)| *gone) && model.values().filter(|(.., gone)| !gone).count() > 1500);
    assert_holds(context, &model, sink(), "another sink");
    assert_holds(context, &model, writer, "the one that wrote");
}

fn assert_holds(context: &SinkContext, model: &Model, mut sink: Box<dyn Sink>, what: &str) {
    let minute = |n: i64| EventTime(n * MINUTE_US);
    let later = |n: i64| EventTime(n * MINUTE_US + 1);
    for from in [EventTime::MIN, later(-3), minute(0), minute(3), later(3), minute(700), EventTime::MAX] {
        for view in 0..context.views.len() {
            let mut found = Vec::new();
            assert!(sink.held(view, from, &mut |row| found.push(row)).unwrap(), "{what}");
            // A row may come more than once.
            found.sort();
            found.dedup();
            let held = |((of, group, start), (end, version, gone)): (&(usize, Vec<Value>, EventTime), &_)| {
                let (end, version) = (*end, *version);
                let here = *of == view && *start >= from && !gone;
                here.then(|| HeldRow { group: group.clone(), start: *start, end, version })
            };
            let mut expected: Vec<HeldRow> = model.iter().filter_map(held).collect();
            expected.sort();
            let missing: Vec<&HeldRow> = expected.iter().filter(|row| !found.contains(row)).take(3).collect();
            let beyond: Vec<&HeldRow> = found.iter().filter(|row| !expected.contains(row)).take(3).collect();
            let name = &context.views[view].name;
            assert!(
                missing.is_empty() && beyond.is_empty(),
                "{what}: {name} from {from}: missing {missing:?}, beyond {beyond:?}"
            );
        }
    }
}

/// More rows of one group than any store gives at once.
fn a_day(version: Version) -> impl Iterator<Item = Row> {
    let group = vec![Value::Text("long".into())];
    (0..1440).map(move |n| row(1, group.clone(), EventTime(n * MINUTE_US), EventTime((n + 1) * MINUTE_US), version))
}

fn row(view: usize, group: Vec<Value>, start: EventTime, end: EventTime, version: Version) -> Row {
    let cells = vec![Cell::Decimal { unscaled: version.0.into(), scale: 2 }, Cell::Text(r#"","state":"gone","v":"0"}"#.into())];
    Row { view, group, start, end, cells, state: RowState::Open, version, expires_us: None }
}

/// New rows, newer and older versions of some that are there, and some that go, each row once.
fn random_rows(random: &mut ChaCha8Rng, context: &SinkContext, limits: Limits, model: &Model, version: Version) -> Vec<Row> {
    let known: Vec<_> = model.iter().collect();
    let mut rows = BTreeMap::new();
    for _ in 0..ROWS_OF_A_CUT {
        let made = match known.choose(random).filter(|_| random.random_ratio(1, 3)) {
            Some(((view, group, start), (end, ..))) => {
                // A delayed one that changes nothing, unless it is the newest all the same. No other row has its version.
                let number = version.0 / 1000;
                let delayed = Version(random.random_range(0..number) * 1000 + number);
                let version = if random.random_ratio(1, 5) { delayed } else { version };
                row(*view, group.clone(), *start, *end, version)
            }
            None => {
                let view = random.random_range(0..context.views.len());
                let group =
                    context.views[view].group.iter().map(|field| random_value(random, field.field_type, limits)).collect();
                let (start, end) = random_window(random, &context.views[view].window);
                row(view, group, start, end, version)
            }
        };
        let gone = random.random_ratio(1, 6);
        let state = if gone { RowState::Gone } else { *[RowState::Open, RowState::Complete].choose(random).unwrap() };
        let cells = if gone { vec![Cell::Null; 2] } else { made.cells.clone() };
        rows.insert((made.view, made.group.clone(), made.start), Row { state, cells, ..made });
    }
    rows.into_values().collect()
}

fn note(model: &mut Model, rows: &[Row], limits: Limits) {
    for row in rows {
        let grain = limits.end_us.filter(|_| row.end != EventTime::MAX).unwrap_or(1);
        let new = (EventTime(row.end.0.div_euclid(grain) * grain), row.version, row.state == RowState::Gone);
        let kept = model.entry((row.view, row.group.clone(), row.start)).or_insert(new);
        if row.version >= kept.1 {
            *kept = new;
        }
    }
}

fn random_window(random: &mut ChaCha8Rng, window: &WindowPlan) -> (EventTime, EventTime) {
    match window {
        WindowPlan::Unwindowed => (EventTime::MIN, EventTime::MAX),
        // Many begin within one millisecond.
        WindowPlan::Session { .. } => {
            let start = random.random_range(-4..6) * MINUTE_US + random.random_range(0..2000);
            (EventTime(start), EventTime(start + 30_000_000 + random.random_range(0..5_000)))
        }
        _ => {
            let start = random.random_range(-5..10) * MINUTE_US;
            (EventTime(start), EventTime(start + MINUTE_US))
        }
    }
}

fn random_value(random: &mut ChaCha8Rng, field_type: FieldType, limits: Limits) -> Value {
    const TEXTS: [&str; 24] = [
        "",
        "north",
        "a|b",
        "|",
        r"\",
        r"\\",
        r"\|",
        r"\N",
        r"\E",
        r"\\N",
        "N",
        "}",
        "{",
        "}{",
        "{}",
        "*",
        "?[a]",
        "a:b",
        "ü€😀",
        "\n",
        "\0",
        "'\"",
        " ",
        "null",
    ];
    let numeric = matches!(field_type, FieldType::Bool | FieldType::Decimal(_));
    if random.random_ratio(1, 8) && !(numeric && limits.no_null_numbers) {
        return Value::Null;
    }
    let mut number = |ends: &[i64]| if random.random() { *ends.choose(random).unwrap() } else { random.random_range(-200..200) };
    match field_type {
        FieldType::Bool => Value::Bool(random.random()),
        FieldType::Decimal(_) => {
            Value::Decimal(number(&[0, 1, -1, 9, 10, -10, 127, 128, -128, -129, SCALED_MAX - 1, 1 - SCALED_MAX]))
        }
        FieldType::Time => Value::Time(number(&[0, 1, -1, 999_999, 1_795_000_000_000_000, 253_402_300_799_999_999])),
        FieldType::Text => Value::Text((*TEXTS.choose(random).unwrap()).into()),
    }
}
