//! One CSV record (RFC 4180) a message, read into an object of texts by column.
//!
//! An empty cell without quotes is null, `""` is empty text: so a nullable number needs no sentinel. Cells stay texts
//! here; where the schema declares a column a number or a boolean they become one, with the format's decimal point,
//! so that the same schema fits both formats.

use super::decimal::{self, Excess};
use serde_json::{Map, Number, Value as Json};

/// What the schema makes of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CellKind {
    /// A number, if it reads as one; else text, and the schema says what is wrong.
    Number,
    /// `true` or `false`, if it reads as one.
    Bool,
}

/// How cells are separated and numbers written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dialect {
    /// Between cells.
    pub delimiter: u8,
    /// The decimal point.
    pub decimal: u8,
}

/// Reads a header line: names that are not empty and occur once.
pub(crate) fn columns(line: &[u8], dialect: Dialect) -> Result<Vec<String>, String> {
    let cells = record(line, dialect)?;
    let names: Vec<String> = cells.into_iter().map(Option::unwrap_or_default).collect();
    unique(&names)?;
    Ok(names)
}

/// Checks that column names are not empty and occur once.
pub(crate) fn unique(names: &[String]) -> Result<(), String> {
    for (i, name) in names.iter().enumerate() {
        if name.is_empty() {
            return Err(format!("column {} has no name", i + 1));
        }
        if names[..i].contains(name) {
            return Err(format!("two columns are called `{name}`"));
        }
    }
    Ok(())
}

/// Reads one record into an object by column name.
pub(crate) fn parse(
    line: &[u8],
    columns: &[String],
    dialect: Dialect,
    kind: impl Fn(&str) -> Option<CellKind>,
) -> Result<Json, String> {
    let cells = record(line, dialect)?;
    if cells.len() != columns.len() {
        return Err(format!("the record has {} cells, but there are {} columns", cells.len(), columns.len()));
    }
    let typed = |(name, cell): (&String, Option<String>)| {
        let value = cell.map_or(Json::Null, |text| typed_cell(text, kind(name), dialect));
        (name.clone(), value)
    };
    Ok(Json::Object(columns.iter().zip(cells).map(typed).collect::<Map<_, _>>()))
}

fn typed_cell(text: String, kind: Option<CellKind>, dialect: Dialect) -> Json {
    match (kind, text.as_str()) {
        (Some(CellKind::Bool), "true") => Json::Bool(true),
        (Some(CellKind::Bool), "false") => Json::Bool(false),
        (Some(CellKind::Number), number) if is_number(number, dialect) => Json::Number(number_of(number, dialect)),
        _ => Json::String(text),
    }
}

fn is_number(text: &str, dialect: Dialect) -> bool {
    decimal::parse(text, 0, dialect.decimal, Excess::Floor) != Err(decimal::DecimalError::NotANumber)
}

/// The number as JSON writes it: a point, no leading zeros.
fn number_of(text: &str, dialect: Dialect) -> Number {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let significant = digits.trim_start_matches('0');
    let zero = if significant.starts_with(|c: char| c.is_ascii_digit()) { "" } else { "0" };
    Number::from_string_unchecked(format!("{sign}{zero}{significant}").replace(char::from(dialect.decimal), "."))
}

/// Cells of exactly one record; a final line end is allowed.
fn record(line: &[u8], dialect: Dialect) -> Result<Vec<Option<String>>, String> {
    let text = std::str::from_utf8(line).map_err(|e| format!("invalid UTF-8 at byte {}", e.valid_up_to()))?;
    let text = text.strip_suffix('\n').map_or(text, |t| t.strip_suffix('\r').unwrap_or(t));
    let mut cells = Vec::new();
    let mut at = 0;
    loop {
        let (cell, end) = if text.as_bytes().get(at) == Some(&b'"') { quoted(text, at)? } else { plain(text, at, dialect)? };
        cells.push(cell);
        match text.as_bytes().get(end) {
            None => return Ok(cells),
            Some(b) if *b == dialect.delimiter => at = end + 1,
            Some(_) => return Err(format!("text after a closing quote at byte {end}")),
        }
    }
}

fn plain(text: &str, start: usize, dialect: Dialect) -> Result<(Option<String>, usize), String> {
    let rest = &text.as_bytes()[start..];
    let end = start + rest.iter().position(|b| *b == dialect.delimiter).unwrap_or(rest.len());
    let cell = &text[start..end];
    if let Some(at) = cell.find(['"', '\n', '\r']) {
        let what = if cell.as_bytes()[at] == b'"' { "a quote within a cell that is not quoted" } else { "a second record" };
        return Err(format!("{what} at byte {}", start + at));
    }
    Ok(((!cell.is_empty()).then(|| cell.to_owned()), end))
}

fn quoted(text: &str, start: usize) -> Result<(Option<String>, usize), String> {
    let mut cell = String::new();
    let mut at = start + 1;
    loop {
        let Some(quote) = text[at..].find('"').map(|n| at + n) else {
            return Err(format!("a quote at byte {start} that is never closed"));
        };
        cell.push_str(&text[at..quote]);
        if text.as_bytes().get(quote + 1) != Some(&b'"') {
            return Ok((Some(cell), quote + 1));
        }
        cell.push('"');
        at = quote + 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMA: Dialect = Dialect { delimiter: b',', decimal: b'.' };
    const SEMICOLON: Dialect = Dialect { delimiter: b';', decimal: b',' };

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("c{i}")).collect()
    }

    fn read(line: &str, n: usize, dialect: Dialect) -> Result<String, String> {
        parse(line.as_bytes(), &names(n), dialect, |_| None).map(|v| v.to_string())
    }

    #[test]
    fn cells_are_texts_and_nulls() {
        for (line, n, expected) in [
            ("a,b\r\n", 2, r#"{"c0":"a","c1":"b"}"#),
            ("a,\"b \"\"x\"\", c\nd\"", 2, "{\"c0\":\"a\",\"c1\":\"b \\\"x\\\", c\\nd\"}"),
            (",\"\",", 3, r#"{"c0":null,"c1":"","c2":null}"#),
            ("é", 1, r#"{"c0":"é"}"#),
        ] {
            assert_eq!(read(line, n, COMMA).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for (line, n) in [("a,b", 3), ("a\nb", 1), ("\"a", 1), ("\"a\"b", 1), ("a\"b", 1), ("a,b,", 2)] {
            assert!(read(line, n, COMMA).is_err(), "{line}");
        }
        assert!(record(b"\xff", COMMA).is_err());
        assert!(columns(b"a;b;a", SEMICOLON).is_err());
        assert!(columns(b"a;;b", SEMICOLON).is_err());
    }

    #[test]
    fn columns_that_the_schema_types_become_numbers() {
        let kind = |name: &str| if name == "c0" { Some(CellKind::Number) } else { Some(CellKind::Bool) };
        for (line, expected) in [
            ("-012,50;true", r#"{"c0":-12.50,"c1":true}"#),
            ("0,5;yes", r#"{"c0":0.5,"c1":"yes"}"#),
            ("00;false", r#"{"c0":0,"c1":false}"#),
            ("12.5;", r#"{"c0":"12.5","c1":null}"#),
        ] {
            assert_eq!(parse(line.as_bytes(), &names(2), SEMICOLON, kind).unwrap().to_string(), expected);
        }
    }
}
