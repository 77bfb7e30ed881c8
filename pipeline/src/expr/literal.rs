//! What is written literally: numbers and quoted texts, by CEL's rules.
//!
//! Numbers are exact decimals that keep the digits that were written. Quotes are `'` or `"`, single or tripled (then the
//! text may span lines), and `r` before them turns escapes off. Bytes literals are refused: no field holds bytes.

use super::decimal;
use crate::value::{SCALE_MAX, SCALED_MAX};
use compact_str::CompactString;

/// A number as written: its unscaled value and its digits after the point.
pub(super) fn number(text: &str) -> Result<(i64, u8), String> {
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        let value = i64::from_str_radix(digits, 16).map_err(|_| format!("`{text}` is no hexadecimal number below 2^62"))?;
        return in_range(text, Some(value)).map(|value| (value, 0));
    }
    if text.ends_with(['u', 'U']) {
        return Err(format!("`{text}`: there are no unsigned numbers, leave out the `u`"));
    }
    let parsed =
        decimal::parse(text).ok_or_else(|| match text.starts_with(|c: char| c.is_ascii_digit()) && has_letter(text) {
            true => format!("`{text}` is no number; a name does not begin with a digit unless it is in back quotes"),
            false => format!("`{text}` is no number"),
        })?;
    let scale = written_scale(text);
    let Ok(scale @ 0..=18) = u8::try_from(scale) else {
        return Err(format!("`{text}` has {scale} digits after the point, and {SCALE_MAX} is the most that decimals keep"));
    };
    in_range(text, parsed.at_scale(scale)).map(|value| (value, scale))
}

fn has_letter(text: &str) -> bool {
    text.contains(|c: char| c.is_ascii_alphabetic() || c == '_')
}

fn in_range(text: &str, value: Option<i64>) -> Result<i64, String> {
    value
        .filter(|value| *value < SCALED_MAX)
        .ok_or_else(|| format!("`{text}` is too large: without its point it must be below 2^62"))
}

/// Digits after the point once the exponent is applied: 3 for `1.250`, 4 for `1.5e-3`, 0 for `1.5e3`.
fn written_scale(text: &str) -> i64 {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let fraction = mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.len() as i64);
    (fraction - exponent.parse::<i64>().unwrap_or(0)).max(0)
}

/// How a quoted text begins.
pub(super) struct Opening {
    raw: bool,
    bytes: bool,
    /// Length of the prefix letters.
    prefix: usize,
    quote: &'static str,
}

impl Opening {
    /// The opening of a quoted text, if one begins here.
    pub fn of(rest: &str) -> Option<Opening> {
        let prefix = rest.bytes().take(2).take_while(|b| matches!(b, b'r' | b'R' | b'b' | b'B')).count();
        let quote = ["'''", "\"\"\"", "'", "\""].into_iter().find(|quote| rest[prefix..].starts_with(quote))?;
        let letters = rest[..prefix].to_ascii_lowercase();
        Some(Opening { raw: letters.contains('r'), bytes: letters.contains('b'), prefix, quote })
    }

    /// Reads on to the closing quote: the length of all of it and what it stands for.
    pub fn read(&self, rest: &str) -> (usize, Result<CompactString, String>) {
        let start = self.prefix + self.quote.len();
        let Some(length) = self.closing(&rest[start..]) else {
            let line = rest[start..].find('\n').filter(|_| self.quote.len() == 1).map_or(rest.len(), |end| start + end);
            return (line, Err(format!("the text has no closing {}", self.quote)));
        };
        let body = &rest[start..start + length];
        let content = match (self.bytes, self.raw) {
            (true, _) => Err("there are no bytes in an expression: leave out the `b`".into()),
            (_, true) => Ok(body.into()),
            _ => unescape(body),
        };
        (start + length + self.quote.len(), content)
    }

    /// Where the closing quote is. In raw texts a backslash stands for itself, and still nothing escapes the quote.
    fn closing(&self, body: &str) -> Option<usize> {
        let mut at = 0;
        while at < body.len() {
            let here = &body[at..];
            if here.starts_with(self.quote) {
                return Some(at);
            }
            let mut chars = here.chars();
            match chars.next()? {
                '\\' if !self.raw => at += 1 + chars.next().map_or(0, char::len_utf8),
                '\n' | '\r' if self.quote.len() == 1 => return None,
                c => at += c.len_utf8(),
            }
        }
        None
    }
}

fn unescape(body: &str) -> Result<CompactString, String> {
    let mut plain = CompactString::with_capacity(body.len());
    let mut rest = body;
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        let (c, length) = escape(&rest[at + 1..])?;
        plain.push(c);
        rest = &rest[at + 1 + length..];
    }
    plain.push_str(rest);
    Ok(plain)
}

/// The character that the text after a backslash stands for, and how many bytes it took.
fn escape(rest: &str) -> Result<(char, usize), String> {
    let simple = |c| Ok((c, 1));
    match rest.bytes().next() {
        Some(b'a') => simple('\u{7}'),
        Some(b'b') => simple('\u{8}'),
        Some(b'f') => simple('\u{c}'),
        Some(b'n') => simple('\n'),
        Some(b'r') => simple('\r'),
        Some(b't') => simple('\t'),
        Some(b'v') => simple('\u{b}'),
        Some(c @ (b'\\' | b'?' | b'"' | b'\'' | b'`')) => simple(char::from(c)),
        Some(b'x' | b'X') => code_point(rest, 1, 2, 16),
        Some(b'u') => code_point(rest, 1, 4, 16),
        Some(b'U') => code_point(rest, 1, 8, 16),
        Some(b'0'..=b'3') => code_point(rest, 0, 3, 8),
        _ => {
            let odd: String = rest.chars().take(1).collect();
            Err(format!("`\\{odd}` is no escape: write `\\\\` for a backslash, or r'…' for a text without escapes"))
        }
    }
}

fn code_point(rest: &str, skip: usize, digits: usize, radix: u32) -> Result<(char, usize), String> {
    let written = rest.get(skip..skip + digits).filter(|text| text.chars().all(|c| c.is_digit(radix)));
    let Some(written) = written else {
        let letter: String = rest.chars().take(skip).collect();
        return Err(format!("the escape `\\{letter}` needs {digits} digits of base {radix}"));
    };
    let point = u32::from_str_radix(written, radix).ok().and_then(char::from_u32);
    point.map(|c| (c, skip + digits)).ok_or_else(|| format!("`\\{}` is no character of Unicode", &rest[..skip + digits]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_the_digits_that_were_written() {
        for (text, value) in [
            ("0", (0, 0)),
            ("007", (7, 0)),
            ("1.250", (1250, 3)),
            (".5", (5, 1)),
            ("1.5e3", (1500, 0)),
            ("1.5e-3", (15, 4)),
            ("12E1", (120, 0)),
            ("0x1F", (31, 0)),
            ("4611686018427387903", (SCALED_MAX - 1, 0)),
            ("0.000000000000000001", (1, 18)),
            ("1.0e18", (1_000_000_000_000_000_000, 0)),
        ] {
            assert_eq!(number(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_says_why() {
        for (text, part) in [
            ("4611686018427387904", "too large"),
            ("1e19", "too large"),
            ("1e999999999999999999999", "too large"),
            ("0.0000000000000000001", "19 digits"),
            ("0x", "hexadecimal"),
            ("0xfffffffffffffffff", "hexadecimal"),
            ("0x7fffffffffffffff", "too large"),
            ("3u", "unsigned"),
            ("3rd", "back quotes"),
            ("1.e", "no number"),
        ] {
            let message = number(text).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    #[test]
    fn texts_are_unescaped_unless_raw() {
        for (text, content) in [
            ("''", ""),
            (r#""it's""#, "it's"),
            (r"'a\tb\\c\'d\x41\u00e9\U0001F300\101'", "a\tb\\c'dAé🌀A"),
            (r"r'\d+\'", r"\d+\"),
            (r#"R"\n""#, r"\n"),
            ("'''a\n'b''c'''", "a\n'b''c"),
            (r#"r"""\"""""#, r"\"),
        ] {
            let (length, read) = Opening::of(text).expect(text).read(text);
            assert_eq!(read.as_deref(), Ok(content), "{text}");
            assert!(length <= text.len());
        }
    }

    #[test]
    fn broken_texts_say_why() {
        for (text, part) in [
            ("'abc", "no closing '"),
            ("'a\nb'", "no closing '"),
            (r"'abc\'", "no closing '"),
            (r"'\q'", "no escape"),
            (r"'\u12'", "4 digits"),
            (r"'\ud800'", "no character"),
            (r"'\uD8€'", "4 digits"),
            ("b'x'", "no bytes"),
            ("'''a''", "no closing '''"),
        ] {
            let (length, read) = Opening::of(text).expect(text).read(text);
            let message = read.unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
            assert!(length <= text.len());
        }
    }
}
