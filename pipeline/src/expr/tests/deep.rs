//! Hostile texts: very deep, very long, very repetitive. All are refused or evaluated on a small stack.

use super::super::{Expr, Scope};
use crate::value::{FieldType, Value};

/// Runs on a stack half as large as threads usually have.
fn on_a_small_stack(f: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(1024 * 1024).spawn(f).unwrap().join().unwrap();
}

fn scope() -> Scope {
    Scope { names: vec![("x".into(), FieldType::Decimal(1)), ("s".into(), FieldType::Text), ("b".into(), FieldType::Bool)] }
}

#[test]
fn what_is_too_deep_or_too_long_is_refused_with_a_remedy() {
    on_a_small_stack(|| {
        for (text, words) in [
            ("(".repeat(10_000) + "x" + &")".repeat(10_000), "100 levels"),
            ("(".repeat(60_000), "100 levels"),
            ("[".repeat(60_000), "100 levels"),
            ("!".repeat(60_000) + "b", "200 levels"),
            ("-".repeat(60_000) + "x", "200 levels"),
            ("x".to_string() + &" + x".repeat(10_000), "200 levels"),
            ("s".to_string() + &".trim()".repeat(5_000), "200 levels"),
            ("b ? x : ".repeat(5_000) + "x", "100 levels"),
            ("abs(".repeat(10_000), "100 levels"),
            ("x ".repeat(40_000), "80000 bytes"),
            ("s".to_string() + &".s".repeat(30_000), "no field"),
        ] {
            let errors = Expr::compile(&text, &scope()).unwrap_err();
            assert!(errors[0].message.contains(words), "{}…: {}", &text[..20], errors[0].message);
        }
    });
}

#[test]
fn what_people_write_fits() {
    on_a_small_stack(|| {
        let slots = [Value::Decimal(15), Value::Text("a".into()), Value::Bool(false)];
        let value =
            |text: &str| Expr::compile(text, &scope()).unwrap_or_else(|errors| panic!("{errors:?}")).eval(&slots).unwrap();
        assert_eq!(value(&("1 + (".repeat(90) + "x" + &")".repeat(90))), Value::Decimal(915));
        assert_eq!(value(&("x".to_string() + &" + x".repeat(150))), Value::Decimal(15 * 151));
        assert_eq!(value(&("b ? 0 : ".repeat(90) + "x")), Value::Decimal(15));
        assert_eq!(value(&("b".to_string() + &" || b".repeat(10_000))), Value::Bool(false));
        assert_eq!(value(&format!("s in [{}'a']", "'b', ".repeat(10_000))), Value::Bool(true));
        assert_eq!(value(&format!("max({}x)", "1, ".repeat(10_000))), Value::Decimal(15));
        assert_eq!(value(&("!".repeat(150) + "b")), Value::Bool(false));
    });
}

/// What a list is searched for is compiled once, however deep lists nest: otherwise this would double 60 times.
#[test]
fn nested_membership_does_not_multiply() {
    let text = "(".repeat(60) + "b" + &" in [b, true])".repeat(60);
    let expr = Expr::compile(&text, &scope()).unwrap();
    assert_eq!(expr.eval(&[Value::Null, Value::Null, Value::Bool(false)]), Ok(Value::Bool(true)));
}

#[test]
fn texts_do_not_grow_without_bound() {
    let grown = "s".to_string() + &".replace('a', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa')".repeat(100);
    let expr = Expr::compile(&grown, &scope()).unwrap();
    let error = expr.eval(&[Value::Null, Value::Text("a".into()), Value::Null]).unwrap_err();
    assert!(error.0.contains("1 MiB"), "{error}");
    let long = Value::Text("a".repeat(700_000).into());
    let error = Expr::compile("s + s", &scope()).unwrap().eval(&[Value::Null, long, Value::Null]).unwrap_err();
    assert!(error.0.contains("1 MiB"), "{error}");
}

/// Any text whatever is compiled or refused, never more, and its mistakes lie within it on borders of characters.
#[test]
fn random_texts_never_break_the_compiler() {
    const PARTS: [&str; 40] = [
        "x",
        "s",
        "b",
        "(",
        ")",
        "[",
        "]",
        ",",
        ".",
        " + ",
        " - ",
        "*",
        "/",
        "%",
        "!",
        " == ",
        " != ",
        "<",
        " in ",
        "?",
        ":",
        " && ",
        " || ",
        "null",
        "true",
        "1",
        "2.5",
        "0x1",
        "1e",
        "'a'",
        "'",
        "r\"b\"",
        "\\",
        "size(",
        "duration('1h')",
        "timestamp(0)",
        "é",
        "`",
        "$",
        "// ",
    ];
    let mut random = super::oracle::Random::new(0x00C0_FFEE);
    for _ in 0..20_000 {
        let text: String = (0..random.below(12)).map(|_| PARTS[random.below(PARTS.len() as u64) as usize]).collect();
        match Expr::compile(&text, &scope()) {
            Ok(expr) => drop(expr.eval(&[Value::Decimal(5), Value::Text("é".into()), Value::Null])),
            Err(errors) => {
                assert!(!errors.is_empty(), "{text:?}");
                for error in errors {
                    assert!(text.get(error.span.clone()).is_some(), "{text:?}: {error:?}");
                }
            }
        }
    }
}
