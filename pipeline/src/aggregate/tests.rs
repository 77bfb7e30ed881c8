//! Tables: what texts mean, what is wrong with them, what cells come out, how accumulators are saved.

use super::{Acc, Aggregate, AggregateError};
use crate::record::{Id, Origin, Record};
use crate::time::EventTime;
use crate::value::{Cell, Column, ColumnType, Field, FieldType, SCALED_MAX, Value};

fn fields() -> Vec<Field> {
    let field = |name: &str, field_type| Field { name: name.into(), field_type };
    vec![field("power_kw", FieldType::Decimal(1)), field("farm", FieldType::Text), field("starts", FieldType::Decimal(0))]
}

fn aggregate(text: &str) -> Aggregate {
    Aggregate::parse(text, &fields()).unwrap_or_else(|mistakes| panic!("{text}: {mistakes:?}"))
}

fn record(us: i64, power: Option<i64>, farm: &str) -> Record {
    let power = power.map_or(Value::Null, Value::Decimal);
    Record {
        event_time: EventTime(us),
        origin: Origin::default(),
        id: Id::Given(format!("id-{us}").into()),
        content: 0,
        passes: true,
        values: Box::new([power.clone(), Value::Text(farm.into()), power]),
    }
}

fn acc_of(aggregate: &Aggregate, records: &[Record]) -> Acc {
    let mut acc = aggregate.empty();
    records.iter().for_each(|record| aggregate.insert(&mut acc, record));
    acc
}

fn cells(text: &str, records: &[Record]) -> Vec<Cell> {
    let aggregate = aggregate(text);
    let mut out = Vec::new();
    aggregate.finish(&acc_of(&aggregate, records), &mut out);
    out
}

/// `text`, with `^` marks under its mistakes and their messages, in order.
fn mistakes(text: &str) -> Vec<(String, String)> {
    let found = Aggregate::parse(text, &fields()).expect_err(text);
    found.into_iter().map(|AggregateError { span, message }| (text[span].to_owned(), message)).collect()
}

const ALL: [&str; 17] = [
    "count()",
    "count(farm)",
    "sum(power_kw)",
    "mean(power_kw)",
    "variance(power_kw)",
    "stddev(power_kw)",
    "min(farm)",
    "max(power_kw)",
    "arg_min(power_kw, farm)",
    "arg_max(power_kw, farm)",
    "first(farm)",
    "last(farm)",
    "distinct(farm, max: 3)",
    "approx_distinct(farm)",
    "approx_quantile(power_kw, 0.5)",
    "top_k(power_kw, 2)",
    "ids(2)",
];

#[test]
fn an_accumulator_is_small() {
    assert!(size_of::<Acc>() <= 32, "{}", size_of::<Acc>());
}

#[test]
fn an_accumulator_travels_as_differential_data() {
    fn travels<T: differential_dataflow::ExchangeData + std::hash::Hash + Send>() {}
    travels::<Acc>();
}

#[test]
fn names_are_as_written() {
    for text in ALL {
        assert!(text.starts_with(aggregate(text).name()), "{text}");
    }
}

#[test]
fn blanks_and_names_of_numbers_are_free() {
    for (one, other) in [
        ("top_k(power_kw, 2)", " top_k ( power_kw ,k : 2 ) "),
        ("ids(1000)", "ids(n: 1000)"),
        ("distinct(farm, max: 3)", "distinct(max: 3, farm)"),
        ("approx_quantile(power_kw, 0.5)", "approx_quantile(power_kw, q: 0.500)"),
    ] {
        assert_eq!(aggregate(one), aggregate(other));
    }
    assert_ne!(aggregate("min(power_kw)"), aggregate("max(power_kw)"));
    assert_ne!(aggregate("min(power_kw)"), aggregate("min(starts)"));
}

#[test]
fn one_mistake_is_named_with_its_remedy() {
    for (text, place, message) in [
        ("", "", "an aggregate is missing here: write one such as `count()` or `mean(x)`"),
        ("maen(power_kw)", "maen", "there is no aggregate `maen`: did you mean `mean`?"),
        ("mean", "mean", "`mean` needs brackets: write `mean(x)`"),
        ("mean(power_kw", "mean(power_kw", "the closing bracket is missing"),
        ("mean(power_kv)", "power_kv", "there is no field `power_kv`: did you mean `power_kw`?"),
        ("mean(speed)", "speed", "there is no field `speed`: there are power_kw, farm, starts"),
        ("mean(farm)", "farm", "mean needs a decimal field, `farm` is text"),
        ("mean()", "mean", "`mean` lacks a field: write `mean(x)`"),
        ("arg_max(power_kw)", "arg_max", "`arg_max` lacks a second field: write `arg_max(x, y)`"),
        ("arg_max(power_kw, )", "", "an argument is missing here"),
        ("mean(power_kw, starts)", "starts", "one argument too many: write `mean(x)`"),
        ("count(*)", "*", "write `count()` to count records"),
        ("sum(7)", "7", "`7` is a number where a field is expected"),
        (
            "sum(power_kw + starts)",
            "power_kw + starts",
            "`power_kw + starts` is not a field: give it a name under `fields` with `expr`, then use that",
        ),
        (
            "sum(power_kw) / count()",
            "/ count()",
            "`/ count()` follows the aggregate: one column is one aggregate, compute with fields instead",
        ),
        (
            "distinct(farm)",
            "distinct(farm)",
            "`distinct` lacks `max`, a whole number from 1 to 1000000: write `distinct(x, max: 1000)`",
        ),
        ("distinct(farm, mex: 5, max: 5)", "mex", "`distinct` has no `mex`: did you mean `max`?"),
        ("distinct(farm, max: 0)", "0", "`max` is a whole number from 1 to 1000000, `0` is not"),
        ("distinct(farm, max: 5, max: 6)", "max: 6", "`max` is given twice"),
        ("top_k(farm, 10001)", "10001", "`k` is a whole number from 1 to 10000, `10001` is not"),
        ("top_k(farm, 1.5)", "1.5", "`k` is a whole number from 1 to 10000, `1.5` is not"),
        ("ids(-1)", "-1", "`n` is a whole number from 1 to 10000, `-1` is not"),
        (
            "ids(99999999999999999999999)",
            "99999999999999999999999",
            "`n` is a whole number from 1 to 10000, `99999999999999999999999` is not",
        ),
        ("approx_quantile(power_kw, 95)", "95", "`q` is a number from 0 to 1 with at most 9 digits after the point, `95` is not"),
        (
            "sum(farm ? starts : power_kw)",
            "farm ? starts : power_kw",
            "`farm ? starts : power_kw` is not a field: give it a name under `fields` with `expr`, then use that",
        ),
        ("mean(x: power_kw)", "x", "`mean` has no `x`: write `mean(x)`"),
    ] {
        let found = mistakes(text);
        assert!(found.contains(&(place.to_owned(), message.to_owned())), "{text}: {found:?}");
    }
}

#[test]
fn all_mistakes_are_named_at_once_in_the_order_of_the_text() {
    let places = |text| mistakes(text).into_iter().map(|(place, _)| place).collect::<Vec<_>>();
    assert_eq!(places("maen(pwr_kw)"), ["maen", "pwr_kw"]);
    assert_eq!(places("arg_min(pwr, frm) x"), ["pwr", "frm", "x"]);
    assert_eq!(places("approx_quantile(farm, 7)"), ["farm", "7"]);
    assert_eq!(places("top_k(7)"), ["top_k(7)", "7"]);
    assert_eq!(places("größe(né)"), ["größe", "né"]);
}

#[test]
fn any_text_is_an_aggregate_or_a_list_of_mistakes_within_it() {
    const PIECES: [&str; 16] =
        ["mean", "top_k", "ids", "distinct", "(", ")", ",", ":", " ", "power_kw", "farm", "max", "3", "0.5", "é", "*"];
    let (mut state, mut good) = (1u64, 0);
    for round in 0..20_000u64 {
        let mut text = ["", "mean(", "ids(", "distinct(farm,"][(round % 4) as usize].to_owned();
        for _ in 0..round % 7 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.push_str(PIECES[(state >> 60) as usize]);
        }
        match Aggregate::parse(&text, &fields()) {
            Ok(aggregate) => good += usize::from(!aggregate.columns("c").is_empty()),
            Err(mistakes) => {
                assert!(!mistakes.is_empty(), "{text}");
                mistakes.iter().for_each(|mistake| assert!(text.get(mistake.span.clone()).is_some(), "{text}: {mistake:?}"));
            }
        }
    }
    assert!(good > 0, "some texts are aggregates");
}

#[test]
fn columns_follow_the_field() {
    let list = |of| ColumnType::List(Box::new(of));
    for (text, columns) in [
        ("count()", vec![("c", ColumnType::Integer)]),
        ("sum(starts)", vec![("c", ColumnType::Decimal(0))]),
        ("mean(power_kw)", vec![("c", ColumnType::Decimal(4))]),
        ("variance(power_kw)", vec![("c", ColumnType::Decimal(5))]),
        ("stddev(power_kw)", vec![("c", ColumnType::Decimal(4))]),
        ("max(starts)", vec![("c", ColumnType::Integer)]),
        ("arg_max(power_kw, farm)", vec![("c", ColumnType::Text)]),
        ("distinct(farm, max: 3)", vec![("c", ColumnType::Integer), ("c_overflow", ColumnType::Bool)]),
        ("top_k(power_kw, 2)", vec![("c", list(ColumnType::Decimal(1)))]),
        ("ids(2)", vec![("c", list(ColumnType::Text)), ("c_total", ColumnType::Integer)]),
    ] {
        let expected: Vec<Column> =
            columns.into_iter().map(|(name, column_type)| Column { name: name.into(), column_type }).collect();
        assert_eq!(aggregate(text).columns("c"), expected, "{text}");
    }
}

#[test]
fn cells_of_a_few_records() {
    let records = [
        record(3, Some(25), "b"),
        record(1, None, "z"),
        record(2, Some(10), "a"),
        record(5, Some(25), "c"),
        record(4, Some(-10), "a"),
    ];
    let decimal = |unscaled, scale| Cell::Decimal { unscaled, scale };
    let text = |t: &str| Cell::Text(t.into());
    for (aggregate, expected) in [
        ("count()", vec![Cell::Integer(5)]),
        ("count(power_kw)", vec![Cell::Integer(4)]),
        ("sum(power_kw)", vec![decimal(50, 1)]),
        ("mean(power_kw)", vec![decimal(12_500, 4)]),
        ("variance(power_kw)", vec![decimal(275_000, 5)]),
        ("stddev(power_kw)", vec![decimal(16_583, 4)]),
        ("min(power_kw)", vec![decimal(-10, 1)]),
        ("max(farm)", vec![text("z")]),
        ("arg_min(power_kw, farm)", vec![text("a")]),
        ("arg_max(power_kw, farm)", vec![text("b")]),
        ("first(farm)", vec![text("z")]),
        ("first(power_kw)", vec![decimal(10, 1)]),
        ("last(power_kw)", vec![decimal(25, 1)]),
        ("distinct(farm, max: 4)", vec![Cell::Integer(4), Cell::Bool(false)]),
        ("distinct(farm, max: 3)", vec![Cell::Null, Cell::Bool(true)]),
        ("approx_distinct(power_kw)", vec![Cell::Integer(3)]),
        ("approx_quantile(power_kw, 0.5)", vec![decimal(10, 1)]),
        ("top_k(power_kw, 2)", vec![Cell::List(vec![decimal(25, 1), decimal(25, 1)])]),
        ("ids(2)", vec![Cell::List(vec![text("id-1"), text("id-2")]), Cell::Integer(5)]),
    ] {
        assert_eq!(cells(aggregate, &records), expected, "{aggregate}");
    }
}

#[test]
fn nothing_and_nulls_alone_give_the_same_cells() {
    for text in ["sum(power_kw)", "mean(power_kw)", "variance(power_kw)", "stddev(power_kw)", "max(power_kw)", "last(starts)"] {
        assert_eq!(cells(text, &[]), [Cell::Null], "{text}");
        assert_eq!(cells(text, &[record(1, None, "a")]), [Cell::Null], "{text}");
    }
    assert_eq!(cells("top_k(power_kw, 3)", &[]), [Cell::List(vec![])]);
    assert_eq!(cells("variance(power_kw)", &[record(1, Some(5), "a")]), [Cell::Null], "a sample of one");
    assert_eq!(
        cells("variance(power_kw)", &[record(1, Some(5), "a"), record(2, Some(5), "a")]),
        [Cell::Decimal { unscaled: 0, scale: 5 }]
    );
}

/// Two values at both ends of the range: their variance has 129 bits with three more digits, their deviation has not.
#[test]
fn a_variance_beyond_128_bits_is_null_and_its_root_is_not() {
    let ends = [record(1, Some(SCALED_MAX - 1), "a"), record(2, Some(1 - SCALED_MAX), "a")];
    assert_eq!(cells("variance(starts)", &ends), [Cell::Null]);
    // √2 · (2⁶² − 1), to three digits.
    assert_eq!(cells("stddev(starts)", &ends), [Cell::Decimal { unscaled: 6_521_908_912_666_391_104_761, scale: 3 }]);
    assert_eq!(cells("mean(starts)", &ends), [Cell::Decimal { unscaled: 0, scale: 3 }]);
}

#[test]
fn accumulators_are_saved_and_loaded() {
    let records: Vec<Record> = (0..300).map(|i| record(i, (i % 7 != 0).then_some(i * i), &format!("farm-{}", i % 290))).collect();
    for text in ALL {
        let aggregate = aggregate(text);
        for seen in [0, 1, 5, 300] {
            let acc = acc_of(&aggregate, &records[..seen]);
            let bytes = postcard::to_stdvec(&acc).unwrap();
            assert_eq!(postcard::from_bytes::<Acc>(&bytes).unwrap(), acc, "{text} of {seen}");
            assert!(bytes.len() <= aggregate.acc_bytes_max(), "{text} of {seen}: {} bytes", bytes.len());
        }
    }
    let sum = postcard::to_stdvec(&acc_of(&aggregate("variance(power_kw)"), &records[..5])).unwrap();
    assert!(sum.len() < 12, "small sums are saved in few bytes, not {}", sum.len());
}

#[test]
fn memory_is_bounded_by_the_declared_numbers() {
    let bound = |text| aggregate(text).acc_bytes_max();
    assert_eq!(bound("mean(power_kw)"), size_of::<Acc>());
    assert!(bound("ids(1000)") >= 1000 * 64 && bound("ids(1000)") < 1000 * 160, "{}", bound("ids(1000)"));
    assert!(bound("distinct(farm, max: 1000)") > bound("distinct(power_kw, max: 1000)"));
    assert!(bound("approx_distinct(farm)") < 5_000);
}
