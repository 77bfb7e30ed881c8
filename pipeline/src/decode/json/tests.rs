//! The strict parser: what it reads, what it refuses, and how it names the place.

use super::*;

fn refusal(text: &[u8]) -> (String, String) {
    let malformed = parse(text).unwrap_err();
    (malformed.path, malformed.message)
}

#[test]
fn what_is_valid_is_read_as_written() {
    for text in
        ["null", " [ ] ", "{}", "[1,-0,0.10,1e400,-1.5E+3]", "{\"a\":{\"b\":[true,false]}}", "\"\u{7f}é𝄞\"", "[\"\",\"a\"]"]
    {
        let reference: String = text.chars().filter(|c| *c != ' ').collect();
        assert_eq!(parse(text.as_bytes()).unwrap().to_string(), reference, "{text}");
    }
    assert_eq!(parse(br#""\"\\\/\b\f\n\r\t\u0000\u00e9\ud834\udd1e""#).unwrap(), Json::from("\"\\/\u{8}\u{c}\n\r\t\0é𝄞"));
    assert_eq!(parse(br#"{"\u0061":1}"#).unwrap()["a"].to_string(), "1");
}

#[test]
fn what_is_not_json_is_refused() {
    for text in [
        "",
        " ",
        "nul",
        "NaN",
        "-NaN",
        "Infinity",
        "-Infinity",
        "+1",
        "01",
        "-01",
        "1.",
        ".5",
        "1e",
        "1e+",
        "0x1",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\":1,}",
        "{,}",
        "{a:1}",
        "{'a':1}",
        "{\"a\"}",
        "{\"a\" 1}",
        "\"",
        "\"\n\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ud800\\u0041\"",
        "\"\\ud800\\",
        "\"\\",
        "\"\\u",
        "[",
        "{",
        "{\"a\":",
        "[1}",
        "1 2",
        "{} x",
        "//c\n1",
        "\u{feff}1",
        "truetrue",
        "\u{a0}1",
        "[\0]",
    ] {
        assert!(parse(text.as_bytes()).is_err(), "{text:?}");
    }
}

#[test]
fn a_mistake_is_named_with_its_place() {
    for (text, path, message) in [
        (&b"{\"a\": [1,\n  x]}"[..], "/a/1", "expected a JSON value, found 'x' at byte 12 (line 2, column 3)"),
        (b"{\"a\":{\"b/c\":1,\"b/c\":1}}", "/a/b~1c", "the same key twice in one object at byte 14 (line 1, column 15)"),
        (b"{\"a\":1,\"\\u0061\":2}", "/a", "the same key twice in one object at byte 7 (line 1, column 8)"),
        (b"[\"\xff\"]", "", "invalid UTF-8 at byte 2 (line 1, column 3)"),
        ("[\"é\", NaN]".as_bytes(), "/1", "expected a JSON value, found `NaN` at byte 7 (line 1, column 7)"),
        (b"{} {}", "", "more text after the end of the JSON value at byte 3 (line 1, column 4)"),
        (b"{\"a\":", "/a", "the text ends where a JSON value was expected at byte 5 (line 1, column 6)"),
    ] {
        assert_eq!(refusal(text), (path.to_owned(), message.to_owned()));
    }
}

#[test]
fn deep_nesting_is_refused_and_shallow_is_not() {
    let nested = |open: &str, close: &str, n: usize| open.repeat(n) + "1" + &close.repeat(n);
    assert!(parse(nested("[", "]", MAX_DEPTH).as_bytes()).is_ok());
    assert!(parse(nested("[", "]", MAX_DEPTH + 1).as_bytes()).is_err());
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let (_, message) = refusal(nested(open, close, 10_000).as_bytes());
        assert!(message.starts_with("nested deeper than 128 levels"), "{message}");
    }
    assert!(parse("[".repeat(1_000_000).as_bytes()).is_err());
}

#[test]
fn an_object_that_imitates_a_number_stays_an_object() {
    let value = parse(br#"{"$serde_json::private::Number":"1e5"}"#).unwrap();
    assert!(value.is_object());
}
