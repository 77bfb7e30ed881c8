//! Strict JSON (RFC 8259): one pass from bytes to a value, in which nothing is guessed.
//!
//! Stricter than most parsers where two readers could understand two things: a key that occurs twice in an object is
//! refused, and so is half of a surrogate pair, a byte order mark and anything after the value. Numbers keep their
//! text, so that `0.1` and `1e400` arrive as they were written; their range is the fields' concern. Nesting deeper
//! than [`MAX_DEPTH`] is refused while reading, so that nothing that handles the value later (validation, dropping it)
//! can run out of stack.
//!
//! The parser is our own because a mistake is reported with the pointer of its place, byte, line and column, and
//! because a `serde` visitor cannot tell a number of arbitrary precision from an object that imitates one.

use super::pointer;
use serde_json::{Map, Number, Value as Json};

/// How deep arrays and objects may nest.
pub(crate) const MAX_DEPTH: usize = 128;

/// Why bytes are not JSON, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// Pointer to the value that was being read.
    pub path: String,
    /// What is wrong, with byte, line and column.
    pub message: String,
}

/// Reads one JSON value that takes up all of `bytes`, white space aside.
pub(crate) fn parse(bytes: &[u8]) -> Result<Json, Malformed> {
    let text = std::str::from_utf8(bytes).map_err(|e| not_utf8(bytes, e.valid_up_to()))?;
    let mut parser = Parser { text, bytes, at: 0, depth: 0 };
    let result = parser.document();
    result.map_err(|fault| fault.into_malformed(bytes))
}

fn not_utf8(bytes: &[u8], at: usize) -> Malformed {
    Malformed { path: String::new(), message: format!("invalid UTF-8 {}", place(bytes, at)) }
}

/// `at byte 17 (line 1, column 18)`; columns count characters from 1.
fn place(bytes: &[u8], at: usize) -> String {
    let before = &bytes[..at.min(bytes.len())];
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    let line_start = before.iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
    let column = before[line_start..].iter().filter(|b| (**b as i8) >= -0x40).count() + 1;
    format!("at byte {at} (line {line}, column {column})")
}

/// A mistake on its way up; each level adds its step, so that reading well costs nothing.
struct Fault {
    at: usize,
    what: String,
    steps: Vec<String>,
}

impl Fault {
    fn into_malformed(self, bytes: &[u8]) -> Malformed {
        let path = self.steps.iter().rev().fold(String::new(), |path, step| path + "/" + step);
        Malformed { path, message: format!("{} {}", self.what, place(bytes, self.at)) }
    }

    fn under(mut self, step: &str) -> Fault {
        self.steps.push(pointer::escape(step));
        self
    }
}

struct Parser<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn document(&mut self) -> Result<Json, Fault> {
        if self.text.starts_with('\u{feff}') {
            return self.fail("a byte order mark where JSON should begin");
        }
        self.skip_space();
        if self.at == self.bytes.len() {
            return self.fail("nothing but white space where JSON was expected");
        }
        let value = self.value()?;
        self.skip_space();
        if self.at < self.bytes.len() { self.fail("more text after the end of the JSON value") } else { Ok(value) }
    }

    fn value(&mut self) -> Result<Json, Fault> {
        match self.bytes.get(self.at) {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'"') => self.string().map(Json::String),
            Some(b'-' | b'0'..=b'9') => self.number().map(Json::Number),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            Some(_) => self.unexpected("a JSON value"),
            None => self.fail("the text ends where a JSON value was expected"),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Json, Fault>) -> Result<Json, Fault> {
        if self.depth == MAX_DEPTH {
            return self.fail(format!("nested deeper than {MAX_DEPTH} levels"));
        }
        self.depth += 1;
        self.at += 1;
        self.skip_space();
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn object(&mut self) -> Result<Json, Fault> {
        let mut map = Map::new();
        if self.take(b'}') {
            return Ok(Json::Object(map));
        }
        loop {
            if self.bytes.get(self.at) != Some(&b'"') {
                return self.unexpected("a key in quotes");
            }
            let key_at = self.at;
            let key = self.string()?;
            self.skip_space();
            if !self.take(b':') {
                return self.unexpected("`:`").map_err(|fault: Fault| fault.under(&key));
            }
            self.skip_space();
            let value = match self.value() {
                Ok(value) => value,
                Err(fault) => return Err(fault.under(&key)),
            };
            match map.entry(key) {
                serde_json::map::Entry::Vacant(entry) => drop(entry.insert(value)),
                serde_json::map::Entry::Occupied(entry) => return Err(duplicate(key_at).under(entry.key())),
            }
            self.skip_space();
            if self.take(b'}') {
                return Ok(Json::Object(map));
            }
            if !self.take(b',') {
                return self.unexpected("`,` or `}`");
            }
            self.skip_space();
        }
    }

    fn array(&mut self) -> Result<Json, Fault> {
        let mut items = Vec::new();
        if self.take(b']') {
            return Ok(Json::Array(items));
        }
        loop {
            match self.value() {
                Ok(value) => items.push(value),
                Err(fault) => return Err(fault.under(&items.len().to_string())),
            }
            self.skip_space();
            if self.take(b']') {
                return Ok(Json::Array(items));
            }
            if !self.take(b',') {
                return self.unexpected("`,` or `]`");
            }
            self.skip_space();
        }
    }

    fn number(&mut self) -> Result<Number, Fault> {
        let start = self.at;
        self.take(b'-');
        match self.bytes.get(self.at) {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.skip_digits(),
            _ => return self.unexpected("a digit"),
        }
        if self.bytes[self.at..].first().is_some_and(u8::is_ascii_digit) {
            return self.fail("a number with a leading zero");
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(Number::from_string_unchecked(self.text[start..self.at].to_owned()))
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let start = self.at;
        self.skip_digits();
        if self.at == start { self.unexpected("a digit") } else { Ok(()) }
    }

    fn string(&mut self) -> Result<String, Fault> {
        self.at += 1;
        let start = self.at;
        self.skip_plain();
        if self.take(b'"') {
            return Ok(self.text[start..self.at - 1].to_owned());
        }
        let mut text = String::from(&self.text[start..self.at]);
        loop {
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => text.push(self.escape()?),
                Some(_) => return self.fail("a control character in a string, which must be written `\\u00XX`"),
                None => return self.fail("the text ends within a string"),
            }
            let plain = self.at;
            self.skip_plain();
            text.push_str(&self.text[plain..self.at]);
        }
    }

    fn escape(&mut self) -> Result<char, Fault> {
        let start = self.at;
        self.at += 2;
        match self.bytes.get(start + 1) {
            Some(b'"') => Ok('"'),
            Some(b'\\') => Ok('\\'),
            Some(b'/') => Ok('/'),
            Some(b'b') => Ok('\u{8}'),
            Some(b'f') => Ok('\u{c}'),
            Some(b'n') => Ok('\n'),
            Some(b'r') => Ok('\r'),
            Some(b't') => Ok('\t'),
            Some(b'u') => self.code_point(start),
            _ => {
                self.at = start;
                self.fail("an unknown escape in a string")
            }
        }
    }

    /// The character of `\uXXXX`, or of two that form a surrogate pair; `at` is behind the first `\u`.
    fn code_point(&mut self, start: usize) -> Result<char, Fault> {
        let high = self.hex4(start)?;
        let code = if (0xd800..0xdc00).contains(&high) && self.bytes[self.at..].starts_with(b"\\u") {
            self.at += 2;
            let low = self.hex4(start)?;
            if !(0xdc00..0xe000).contains(&low) {
                return self.fail_at(start, "half of a surrogate pair in a string");
            }
            0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)
        } else {
            high
        };
        char::from_u32(code).map_or_else(|| self.fail_at(start, "half of a surrogate pair in a string"), Ok)
    }

    fn hex4(&mut self, start: usize) -> Result<u32, Fault> {
        let digits = self.bytes.get(self.at..self.at + 4).filter(|d| d.iter().all(u8::is_ascii_hexdigit));
        let Some(digits) = digits else {
            return self.fail_at(start, "`\\u` without four hexadecimal digits");
        };
        self.at += 4;
        Ok(digits.iter().fold(0, |n, d| n * 16 + char::from(*d).to_digit(16).unwrap_or(0)))
    }

    fn word(&mut self, word: &str, value: Json) -> Result<Json, Fault> {
        if !self.text[self.at..].starts_with(word) {
            return self.unexpected("a JSON value");
        }
        self.at += word.len();
        Ok(value)
    }

    /// To the next quote, backslash or control character.
    fn skip_plain(&mut self) {
        let rest = &self.bytes[self.at..];
        self.at += rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..=0x1f)).unwrap_or(rest.len());
    }

    fn skip_digits(&mut self) {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
    }

    fn skip_space(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.bytes.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn unexpected<T>(&self, expected: &str) -> Result<T, Fault> {
        // Within a valid string only ASCII is ever consumed byte by byte, so `at` is a character's beginning.
        let rest = &self.text[self.at..];
        let word: String = rest.chars().take_while(|c| c.is_alphanumeric()).take(12).collect();
        match rest.chars().next() {
            None => self.fail(format!("the text ends where {expected} was expected")),
            Some(_) if word.len() > 1 => self.fail(format!("expected {expected}, found `{word}`")),
            Some(c) => self.fail(format!("expected {expected}, found {c:?}")),
        }
    }

    fn fail<T>(&self, what: impl Into<String>) -> Result<T, Fault> {
        self.fail_at(self.at, what)
    }

    fn fail_at<T>(&self, at: usize, what: impl Into<String>) -> Result<T, Fault> {
        Err(Fault { at, what: what.into(), steps: Vec::new() })
    }
}

fn duplicate(at: usize) -> Fault {
    Fault { at, what: "the same key twice in one object".into(), steps: Vec::new() }
}

#[cfg(test)]
mod tests {
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
}
