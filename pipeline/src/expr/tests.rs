//! Tables of expressions: text → type and value, text → place and words of each mistake.

mod deep;
mod oracle;

use super::{EvalError, Expr, Scope};
use crate::time::EventTime;
use crate::value::{FieldType, Value, decimal_text};

/// A record of one wind turbine; `gone` and its like are null.
fn record() -> (Scope, Vec<Value>) {
    let text = |text: &str| Value::Text(text.into());
    let slots = [
        ("power_kw", FieldType::Decimal(3), Value::Decimal(812_500)),
        ("wind", FieldType::Decimal(1), Value::Decimal(-125)),
        ("count", FieldType::Decimal(0), Value::Decimal(7)),
        ("zero", FieldType::Decimal(2), Value::Decimal(0)),
        ("huge", FieldType::Decimal(0), Value::Decimal((1 << 62) - 1)),
        ("tiny", FieldType::Decimal(18), Value::Decimal(3)),
        ("ok", FieldType::Bool, Value::Bool(true)),
        ("g.farm", FieldType::Text, text("north")),
        ("$topic", FieldType::Text, text("wind.readings")),
        ("$header.trace-id", FieldType::Text, text("0f")),
        ("name", FieldType::Text, text(" Añil 🌀 ")),
        ("digits", FieldType::Text, text("-12.345")),
        ("zone", FieldType::Text, text("Europe/Madrid")),
        ("at", FieldType::Time, Value::Time(1_711_846_800_123_456)), // 2024-03-31T01:00:00.123456Z, a Sunday, the hour of the change
        ("gone", FieldType::Decimal(3), Value::Null),
        ("gone_bool", FieldType::Bool, Value::Null),
        ("gone_text", FieldType::Text, Value::Null),
        ("gone_at", FieldType::Time, Value::Null),
    ];
    let names = slots.iter().map(|(name, field_type, _)| (name.to_string(), *field_type)).collect();
    (Scope { names }, slots.into_iter().map(|(.., value)| value).collect())
}

fn outcome(text: &str) -> Result<String, String> {
    let (scope, slots) = record();
    let expr = Expr::compile(text, &scope).unwrap_or_else(|errors| panic!("{text}: {errors:?}"));
    let value = expr.eval(&slots).map_err(|EvalError(words)| words)?;
    let shown = match (&value, expr.result) {
        (Value::Null, _) => "null".to_string(),
        (Value::Bool(v), Some(FieldType::Bool)) => v.to_string(),
        (Value::Decimal(v), Some(FieldType::Decimal(scale))) => decimal_text(i128::from(*v), scale),
        (Value::Text(v), Some(FieldType::Text)) => format!("{v:?}"),
        (Value::Time(v), Some(FieldType::Time)) => EventTime(*v).to_string(),
        other => panic!("{text}: type and value differ: {other:?}"),
    };
    Ok(match expr.result {
        Some(FieldType::Decimal(scale)) => format!("{scale}: {shown}"),
        Some(FieldType::Bool) => shown,
        Some(FieldType::Text) => format!("text: {shown}"),
        Some(FieldType::Time) => format!("time: {shown}"),
        None => format!("none: {shown}"),
    })
}

/// Each expression has this type and value. Decimals are shown as `scale: value`, bools as they are.
fn table(rows: &[(&str, &str)]) {
    for (text, shown) in rows {
        assert_eq!(outcome(text).as_deref(), Ok(*shown), "{text}");
    }
}

/// Each expression compiles and has no value for the record, for this reason.
fn failures(rows: &[(&str, &str)]) {
    for (text, words) in rows {
        let said = outcome(text).expect_err(text);
        assert!(said.contains(words), "{text}: {said}");
    }
}

/// Each expression has exactly one mistake: at this part of the text, with these words.
fn mistakes(rows: &[(&str, &str, &str)]) {
    for (text, part, words) in rows {
        let errors = Expr::compile(text, &record().0).map(|expr| panic!("{expr:?} compiles")).unwrap_err();
        assert_eq!(errors.len(), 1, "{text}: {errors:?}");
        assert_eq!(&text[errors[0].span.clone()], *part, "{text}: {errors:?}");
        assert!(errors[0].message.contains(words), "{text}: {}", errors[0].message);
    }
}

#[test]
fn arithmetic_keeps_all_digits() {
    table(&[
        ("1 + 2.50", "2: 3.50"),
        ("power_kw + wind", "3: 800.000"),
        ("power_kw - wind * 2", "3: 837.500"),
        ("wind * wind", "2: 156.25"),
        ("7 / 2", "6: 3.500000"),
        ("2 / 3", "6: 0.666667"),
        ("-2 / 3.0", "7: -0.6666667"),
        ("0.0000005 / 1", "13: 0.0000005000000"),
        ("tiny / 2", "18: 0.000000000000000002"),
        ("wind % 5", "1: -2.5"),
        ("count % 2 == 1", "true"),
        ("tiny * tiny", "18: 0.000000000000000000"),
        ("0.5e-17 * 0.5", "18: 0.000000000000000002"),
        ("-(-count)", "0: 7"),
        ("--3 - -2", "0: 5"),
        ("2 + 3 * 4 - 10 % 4 / 2", "6: 13.000000"),
        ("(2 + 3) * 4", "0: 20"),
        ("10 - 4 - 3", "0: 3"),
        ("1e3 + 0x10 + .5", "1: 1016.5"),
        ("huge", "0: 4611686018427387903"),
        ("'a' + \"b\" + r'\\n'", "text: \"ab\\\\n\""),
    ]);
}

#[test]
fn what_has_no_value_is_an_error_and_says_where() {
    failures(&[
        ("huge + count", "`huge + count`: the result is too large"),
        ("0 - huge - 1 + 1", "`0 - huge - 1`"),
        ("huge + 0.1", "too large"),
        ("huge * 2", "`huge * 2`"),
        ("huge / 0.5", "too large"),
        ("1 / zero", "`1 / zero`: division by zero"),
        ("1 % zero", "division by zero"),
        ("1 / tiny", "`1 / tiny`: the result is too large"),
        ("ok ? huge : tiny", "too large"),
        ("max(huge, tiny)", "too large"),
        ("int(g.farm)", "`int(g.farm)`: the text is no whole number"),
        ("int(digits)", "no whole number"),
        ("decimal(g.farm, 2)", "no number"),
        ("bool(g.farm)", "neither true nor false"),
        ("timestamp(g.farm)", "RFC 3339"),
        ("duration(g.farm) > duration('1s')", "no duration"),
        ("g.farm.substring(3, 2)", "outside the text"),
        ("g.farm.substring(-1)", "outside the text"),
        ("g.farm.substring(6)", "outside the text"),
        ("g.farm.charAt(6)", "outside the text"),
        ("at.getHours(g.farm)", "no time zone"),
        ("at + duration('3000000d')", "years 1 to 9999"),
        ("timestamp(huge)", "years 1 to 9999"),
    ]);
}

#[test]
fn comparisons_are_exact_across_scales_and_types() {
    table(&[
        ("power_kw > 812.4999999", "true"),
        ("power_kw == 812.5", "true"),
        ("power_kw == 812.50000", "true"),
        ("power_kw != 812.5000001", "true"),
        ("count == 7.0 && 7.0 == count", "true"),
        ("huge > tiny && huge >= huge && tiny <= huge && tiny < huge", "true"),
        ("huge == 4611686018427387903 && 4.611686018427387903 < huge", "true"),
        ("wind < -12.4 && -12.6 < wind", "true"),
        ("g.farm < 'south' && g.farm >= 'north' && g.farm != 'North'", "true"),
        ("false < ok", "true"),
        ("at > timestamp('2024-03-31T02:00:00+01:00')", "true"),
        ("at <= timestamp('2024-03-31T01:00:00.123456Z')", "true"),
        ("duration('90m') == duration('1.5h')", "true"),
        ("count in [1, 7.00, 9]", "true"),
        ("count in [7.5, 1]", "false"),
        ("count in []", "false"),
        ("wind in [zero, power_kw - 825, gone]", "true"),
        ("g.farm in ['south', 'north',]", "true"),
        ("g.farm in ['south', $topic]", "false"),
        ("ok in [false, gone_bool, ok]", "true"),
        ("at in [timestamp(0), at]", "true"),
        ("!(count in [1, 2])", "true"),
        ("count in [1, 7] == true", "true"),
    ]);
}

#[test]
fn null_is_contagious_and_can_be_asked_about() {
    table(&[
        ("null", "none: null"),
        ("gone", "3: null"),
        ("gone + 1", "3: null"),
        ("-gone", "3: null"),
        ("gone > 1", "null"),
        ("gone == gone", "null"),
        ("gone in [1, 2]", "null"),
        ("count in [1, gone]", "null"),
        ("count in [7, gone]", "true"),
        ("gone_text + 'x'", "text: null"),
        ("size(gone_text)", "0: null"),
        ("gone_text.matches('x')", "null"),
        ("gone_at.getHours('Europe/Madrid')", "0: null"),
        ("at - duration('1h') > gone_at", "null"),
        ("max(1, gone)", "3: null"),
        ("gone == null", "true"),
        ("null != gone", "false"),
        ("gone + 1 == null", "true"),
        ("gone_text == null && gone_at == null && gone_bool == null", "true"),
        ("null == null", "true"),
        ("count != null", "true"),
        ("has(count) && !has(gone) && has(g.farm)", "true"),
        ("!gone_bool", "null"),
        ("gone_bool ? 1 : 2", "0: null"),
        ("gone == null ? 0 : gone", "3: 0.000"),
        ("ok ? null : 1.5", "1: null"),
        ("ok ? 'x' : null", "text: \"x\""),
        ("ok ? null : null", "none: null"),
        ("false ? gone_at : at", "time: 2024-03-31T01:00:00.123456Z"),
    ]);
}

#[test]
fn connectives_absorb_errors_and_nulls() {
    table(&[
        ("zero != 0 && 1 / zero > 2", "false"),
        ("1 / zero > 2 && zero != 0", "false"),
        ("1 / zero > 2 || ok", "true"),
        ("gone_bool && false", "false"),
        ("false && gone_bool", "false"),
        ("gone_bool && true", "null"),
        ("gone_bool || true", "true"),
        ("gone_bool || false", "null"),
        ("gone_bool || 1 / zero > 0 || ok", "true"),
        ("ok || 1 / zero > 0 && gone_bool", "true"),
        ("ok && !ok || !(ok && false)", "true"),
        ("false || false || false", "false"),
    ]);
    failures(&[
        ("ok && 1 / zero > 2", "zero"),
        ("1 / zero > 2 || false", "zero"),
        ("gone_bool || 1 / zero > 2", "zero"),
        ("1 / zero > 2 && gone_bool", "zero"),
    ]);
}

#[test]
fn precedence_is_that_of_cel() {
    table(&[
        ("ok || false && false", "true"),
        ("1 + 2 == 3 && 2 < 3", "true"),
        ("false ? 1 : true ? 2 : 3", "0: 2"),
        ("ok ? ok ? 1 : 2 : 3", "0: 1"),
        ("1 < 2 == ok", "true"),
        ("!ok == false", "true"),
        ("-count + 10", "0: 3"),
        ("-2 * -3", "0: 6"),
        ("ok // a comment\n && ok", "true"),
    ]);
}

#[test]
fn names_may_be_dotted_quoted_or_metadata() {
    table(&[
        ("g.farm", "text: \"north\""),
        ("g . farm", "text: \"north\""),
        ("g['farm']", "text: \"north\""),
        ("$topic.startsWith('wind.')", "true"),
        ("$header['trace-id']", "text: \"0f\""),
        ("$header.`trace-id`", "text: \"0f\""),
        ("`power_kw` > 0", "true"),
    ]);
}

#[test]
fn functions_of_numbers() {
    table(&[
        ("abs(wind)", "1: 12.5"),
        ("math.abs(wind)", "1: 12.5"),
        ("sign(wind)", "0: -1"),
        ("round(wind)", "0: -13"),
        ("round(2.5)", "0: 3"),
        ("round(2.49)", "0: 2"),
        ("floor(wind)", "0: -13"),
        ("ceil(wind)", "0: -12"),
        ("trunc(wind)", "0: -12"),
        ("math.floor(-0.5)", "0: -1"),
        ("floor(count)", "0: 7"),
        ("min(power_kw, 3, 4.5)", "3: 3.000"),
        ("max(wind, count)", "1: 7.0"),
        ("math.greatest(1, 2, 3)", "0: 3"),
        ("least(at, timestamp(0))", "time: 1970-01-01T00:00:00Z"),
        ("max(duration('1h'), duration('61m')) == duration('3660s')", "true"),
        ("abs(duration('-1h')) == duration('1h')", "true"),
    ]);
}

#[test]
fn conversions() {
    table(&[
        ("int(wind)", "0: -12"),
        ("int(-0.9)", "0: 0"),
        ("int('12.0')", "0: 12"),
        ("int(at)", "0: 1711846800"),
        ("int(timestamp('1969-12-31T23:59:59.5Z'))", "0: -1"),
        ("decimal(digits, 2)", "2: -12.34"),
        ("decimal(digits, 3) * 2", "3: -24.690"),
        ("decimal(power_kw / 3, 1)", "1: 270.8"),
        ("decimal(count, 2)", "2: 7.00"),
        ("decimal(2.5, 0)", "0: 2"),
        ("decimal(at - timestamp(1711846800))", "6: 0.123456"),
        ("decimal(at)", "6: 1711846800.123456"),
        ("string(power_kw)", "text: \"812.500\""),
        ("string(ok) + string(count)", "text: \"true7\""),
        ("string(at)", "text: \"2024-03-31T01:00:00.123456Z\""),
        ("string(duration('1h30m') - duration('500ms'))", "text: \"5399.5s\""),
        ("string(duration('0'))", "text: \"0s\""),
        ("bool('TRUE')", "true"),
        ("timestamp(1711846800.5)", "time: 2024-03-31T01:00:00.5Z"),
        ("timestamp('2024-03-31T03:00:00.1234567+02:00')", "time: 2024-03-31T01:00:00.123456Z"),
        ("timestamp(at) == at", "true"),
    ]);
}

#[test]
fn functions_of_text() {
    table(&[
        ("size(name)", "0: 8"),
        ("name.size()", "0: 8"),
        ("name.trim()", "text: \"Añil 🌀\""),
        ("name.trim().upperAscii()", "text: \"AñIL 🌀\""),
        ("g.farm.lowerAscii() == 'north'", "true"),
        ("g.farm.contains('ort') && g.farm.endsWith('th') && !g.farm.startsWith('ort')", "true"),
        ("g.farm.matches('^n.*h$') && matches(g.farm, 'or') && !g.farm.matches('^or')", "true"),
        ("name.matches(r'\\p{L}ñ')", "true"),
        ("g.farm.substring(1, 3)", "text: \"or\""),
        ("name.trim().substring(5)", "text: \"🌀\""),
        ("g.farm.substring(5)", "text: \"\""),
        ("name.trim().charAt(1)", "text: \"ñ\""),
        ("g.farm.charAt(5)", "text: \"\""),
        ("name.indexOf('🌀')", "0: 6"),
        ("name.indexOf('x')", "0: -1"),
        ("$topic.replace('.', '/')", "text: \"wind/readings\""),
        ("'aaa'.replace('aa', 'b')", "text: \"ba\""),
        ("(ok ? g.farm : name) == 'north'", "true"),
    ]);
}

#[test]
fn times_and_durations() {
    table(&[
        ("at + duration('1h')", "time: 2024-03-31T02:00:00.123456Z"),
        ("duration('1h') + at == at + duration('60m')", "true"),
        ("at - duration('1d')", "time: 2024-03-30T01:00:00.123456Z"),
        ("at - (at - duration('90s')) == duration('1m30s')", "true"),
        ("(at - timestamp('2024-03-31T00:00:00Z')).getMinutes()", "0: 60"),
        ("duration('3730.5s').getHours() * 100 + duration('3730.5s').getMilliseconds()", "0: 600"),
        ("duration('-1h30m').getSeconds()", "0: -5400"),
        ("-duration('1h') < duration('0s')", "true"),
        ("at.getFullYear()", "0: 2024"),
        ("at.getMonth()", "0: 2"),
        ("at.getDate()", "0: 31"),
        ("at.getDayOfMonth()", "0: 30"),
        ("at.getDayOfWeek()", "0: 0"),
        ("at.getDayOfYear()", "0: 90"),
        ("at.getHours()", "0: 1"),
        ("at.getHours('Europe/Madrid')", "0: 3"),
        ("(at - duration('1s')).getHours('Europe/Madrid')", "0: 1"),
        ("at.getHours(zone)", "0: 3"),
        ("at.getHours('-02:30') * 100 + at.getMinutes('-02:30')", "0: 2230"),
        ("at.getDate('05:30')", "0: 31"),
        ("at.getSeconds() + at.getMilliseconds()", "0: 123"),
    ]);
}

#[test]
fn mistakes_name_the_place_and_the_remedy() {
    mistakes(&[
        ("", "", "empty"),
        ("  ", "  ", "empty"),
        ("power_wk > 0", "power_wk", "did you mean `power_kw`"),
        ("g.fram == 'x'", "g.fram", "did you mean `g.farm`"),
        ("g == 'x'", "g", "there are `g.farm`"),
        ("True", "True", "did you mean `true`"),
        ("power_kw +", "", "expected a value, found the end"),
        ("(power_kw > 0", "", "to close the parenthesis"),
        ("power_kw > 0)", ")", "never opened"),
        ("ok and ok", "and", "`&&`"),
        ("not ok", "ok", "expected an operator"),
        ("gone is null", "is", "`== null`"),
        ("count = 7", "=", "`==`"),
        ("count 7", "7", "found a number"),
        ("count > 1 ? 2", "", "`:`"),
        ("3 ** 2", "*", "no power operator"),
        ("1 < count < 9", "1 < count < 9", "`a < b && b < c`"),
        ("g.farm + count", "g.farm + count", "string(x)"),
        ("g.farm == 3", "g.farm == 3", "quote the number"),
        ("at > '2024-01-01T00:00:00Z'", "at > '2024-01-01T00:00:00Z'", "timestamp("),
        ("at + 60", "at + 60", "duration('1h')"),
        ("at + at", "at + at", "difference"),
        ("at - timestamp(0)", "at - timestamp(0)", "cannot hold a duration"),
        ("ok == 'true'", "ok == 'true'", "without quotes"),
        ("ok + ok", "ok + ok", "does not take a bool and a bool"),
        ("-g.farm", "-g.farm", "this is a text"),
        ("!count", "count", "x != 0"),
        ("count && ok", "count", "wants a bool"),
        ("count ? 1 : 2", "count", "before `?`"),
        ("ok ? 1 : 'x'", "ok ? 1 : 'x'", "one type"),
        ("null + 1", "null", "`== null`"),
        ("gone > null", "null", "`== null`"),
        ("size(null)", "null", "no value"),
        ("count in [1, null]", "null", "x == null ||"),
        ("count in [1, 'a']", "'a'", "searched for a number"),
        ("count in g.farm", "g.farm", "`x in ['a', 'b']`"),
        ("[1, 2]", "[1, 2]", "after `in` only"),
        ("{'a': 1}", "{", "no maps"),
        ("count.x", "count.x", "no field `count.x`"),
        ("(count).x()", "x", "no function `x`"),
        ("'abc'.x", "'abc'.x", "only names have parts"),
        ("g[0]", "0", "not lists"),
        ("'abc'[0]", "'abc'[0]", "only names"),
        ("abz(count)", "abz", "did you mean `abs`"),
        ("meen(count)", "meen", "no `mean`: an aggregate"),
        ("mean(count)", "mean", "aggregate"),
        ("now() > at", "now", "no clock"),
        ("double(count)", "double", "exact decimals"),
        ("g.farm.exists(x, true)", "exists", "single values"),
        ("has(count + 1)", "has(count + 1)", "name of a field"),
        ("startsWith(g.farm, 'n')", "startsWith(g.farm, 'n')", "text.startsWith(part)"),
        ("count.abs()", "count.abs()", "called as abs("),
        ("size()", "size()", "called as size(text)"),
        ("size(count)", "size(count)", "does not take a number"),
        ("g.farm.matches(name)", "name", "written out"),
        ("g.farm.matches('(')", "'('", "unclosed group"),
        ("decimal(digits)", "digits", "how many digits"),
        ("decimal(count, 19)", "19", "0 to 18"),
        ("decimal(count, count)", "count", "written out"),
        ("int(ok)", "ok", "x ? 1 : 0"),
        ("duration(90) > duration('1s')", "90", "with its unit"),
        ("at.getHours('Europe/Madird')", "'Europe/Madird'", "did you mean `Europe/Madrid`"),
        ("at.getHours('+2:00')", "'+2:00'", "no time zone"),
        ("g.farm.substring(1.5)", "1.5", "whole number"),
        ("1 / 0", "1 / 0", "division by zero; it is so for every record"),
        ("count + 9e17 * 9e17", "9e17 * 9e17", "too large"),
        ("timestamp('yesterday') < at", "timestamp('yesterday')", "RFC 3339"),
        ("duration('1 hour') < duration('2h')", "duration('1 hour')", "1h30m"),
        ("99999999999999999999", "99999999999999999999", "too large"),
        ("1.2.3", ".3", "expected an operator"),
        ("3u", "3u", "unsigned"),
        ("'open", "'open", "no closing"),
        ("count # 2", "#", "no meaning"),
        ("b'x' == 'x'", "b'x'", "no bytes"),
        ("$", "$", "without a name"),
    ]);
}

#[test]
fn all_mistakes_are_reported_at_once_in_the_order_of_the_text() {
    let text = "meen(powr_kw) > 1 && g.farm == 3 || sise(g.fram) in ['a', null]";
    let errors = Expr::compile(text, &record().0).unwrap_err();
    let parts: Vec<_> = errors.iter().map(|error| &text[error.span.clone()]).collect();
    assert_eq!(parts, ["meen", "powr_kw", "g.farm == 3", "sise", "g.fram", "null"], "{errors:?}");
}

#[test]
fn an_expression_tells_its_slots_its_text_and_whether_it_holds() {
    let (scope, slots) = record();
    let expr = Expr::compile("g.farm == 'x' || count > 1 && count < gone", &scope).unwrap();
    assert_eq!(expr.slots(), [2, 7, 14]);
    assert_eq!(format!("{expr:?}"), "Expr(\"g.farm == 'x' || count > 1 && count < gone\")");
    assert_eq!(expr.eval(&slots), Ok(Value::Null));
    assert_eq!(expr.holds(&slots), Ok(false));
    assert_eq!(Expr::compile("count > 1", &scope).unwrap().holds(&slots), Ok(true));
    assert!(Expr::compile("1 / zero > 1", &scope).unwrap().holds(&slots).is_err());
    fn travels<T: Send + Sync + 'static>(_: &T) {}
    travels(&expr);
}

#[test]
fn a_slot_of_another_type_is_an_error_and_no_wrong_value() {
    let scope = Scope { names: vec![("x".into(), FieldType::Decimal(2)), ("s".into(), FieldType::Text)] };
    let expr = Expr::compile("x > 1 && s == 'a'", &scope).unwrap();
    let error = expr.eval(&[Value::Text("2".into()), Value::Text("a".into())]).unwrap_err();
    assert!(error.0.contains("slot 0"), "{error}");
    let error = expr.eval(&[Value::Decimal(200), Value::Bool(true)]).unwrap_err();
    assert!(error.0.contains("slot 1"), "{error}");
}
