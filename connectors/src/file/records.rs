//! Telling records apart in a stream of bytes: lines, or CSV records.
//!
//! A record's offset is that of its first byte. A record ends with LF or CRLF, which do not belong to it, or with the
//! input. A record of more than [`RECORD_BYTES_MAX`] is handed over without its end, which is counted.

use super::config::Framing;
use std::io::{self, BufRead, Read};

/// The longest record that is kept whole.
pub(super) const RECORD_BYTES_MAX: usize = 64 << 20;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FramedRecord {
    /// The offset of its first byte.
    pub(super) start: u64,
    /// Its bytes, without the line end.
    pub(super) bytes: Vec<u8>,
    /// How many bytes were left out.
    pub(super) left_out: u64,
}

/// The records of an input.
pub(super) struct Records<R> {
    input: R,
    framing: Framing,
    offset: u64,
    bytes_max: usize,
}

impl<R: BufRead> Records<R> {
    /// The records of `input`, whose first byte is the one at `offset` and begins a record.
    pub(super) fn new(input: R, framing: Framing, offset: u64) -> Records<R> {
        Records { input, framing, offset, bytes_max: RECORD_BYTES_MAX }
    }

    /// Where the next record begins.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Passes over a byte order mark, if the input begins with one.
    pub(super) fn skip_mark(&mut self) -> io::Result<()> {
        if self.input.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
            self.input.consume(3);
            self.offset += 3;
        }
        Ok(())
    }

    /// Passes over the rest of the line in which the input begins.
    pub(super) fn skip_line(&mut self) -> io::Result<()> {
        self.offset += self.input.skip_until(b'\n')? as u64;
        Ok(())
    }

    /// The next record that is not empty; `None` at the end.
    pub(super) fn next_record(&mut self) -> io::Result<Option<FramedRecord>> {
        loop {
            let start = self.offset;
            let mut record = FramedRecord { start, bytes: Vec::new(), left_out: 0 };
            let mut quotes = Quotes::new(self.framing);
            loop {
                let line_start = record.bytes.len();
                let more = self.read_line(&mut record)?;
                if !more || !quotes.open_after(&record.bytes[line_start..]) {
                    break;
                }
            }
            if self.offset == start {
                return Ok(None);
            }
            strip_line_end(&mut record);
            if !record.bytes.is_empty() {
                return Ok(Some(record));
            }
        }
    }

    /// Appends one line with its end to the record; whether there was one.
    fn read_line(&mut self, record: &mut FramedRecord) -> io::Result<bool> {
        let room = self.bytes_max.saturating_sub(record.bytes.len());
        let kept = (&mut self.input).take(room as u64).read_until(b'\n', &mut record.bytes)?;
        self.offset += kept as u64;
        if kept == room && !record.bytes.ends_with(b"\n") {
            let skipped = self.input.skip_until(b'\n')? as u64;
            self.offset += skipped;
            record.left_out += skipped;
            return Ok(kept as u64 + skipped > 0);
        }
        Ok(kept > 0)
    }
}

fn strip_line_end(record: &mut FramedRecord) {
    if record.bytes.ends_with(b"\n") {
        record.bytes.pop();
        if record.bytes.ends_with(b"\r") {
            record.bytes.pop();
        }
    }
}

/// Whether a CSV record goes on after a line break: whether a quoted field is open.
struct Quotes {
    delimiter: Option<u8>,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    FieldStart,
    Plain,
    Quoted,
    /// After a quote within a quoted field: it ends the field, unless another follows.
    QuoteSeen,
}

impl Quotes {
    fn new(framing: Framing) -> Quotes {
        let delimiter = match framing {
            Framing::Lines => None,
            Framing::Csv { delimiter } => Some(delimiter),
        };
        Quotes { delimiter, place: Place::FieldStart }
    }

    /// Reads on; whether a quoted field is open at the end of `line`.
    fn open_after(&mut self, line: &[u8]) -> bool {
        let Some(delimiter) = self.delimiter else { return false };
        for &byte in line {
            self.place = match (self.place, byte) {
                (Place::FieldStart, b'"') | (Place::QuoteSeen, b'"') => Place::Quoted,
                (Place::Quoted, b'"') => Place::QuoteSeen,
                (Place::Quoted, _) => Place::Quoted,
                (_, b) if b == delimiter => Place::FieldStart,
                _ => Place::Plain,
            };
        }
        self.place == Place::Quoted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSV: Framing = Framing::Csv { delimiter: b';' };

    fn all(text: &[u8], framing: Framing, bytes_max: usize) -> Vec<(u64, String, u64)> {
        // A tiny buffer, so that every boundary falls somewhere.
        let mut records = Records { bytes_max, ..Records::new(io::BufReader::with_capacity(3, text), framing, 100) };
        records.skip_mark().unwrap();
        let mut found = Vec::new();
        while let Some(r) = records.next_record().unwrap() {
            found.push((r.start, String::from_utf8_lossy(&r.bytes).into_owned(), r.left_out));
        }
        assert_eq!(records.offset(), 100 + text.len() as u64);
        found
    }

    fn check(text: &str, framing: Framing, expected: &[(u64, &str)]) {
        let expected: Vec<_> = expected.iter().map(|(o, t)| (100 + o, (*t).to_owned(), 0)).collect();
        assert_eq!(all(text.as_bytes(), framing, 1000), expected, "{text:?}");
    }

    #[test]
    fn lines_end_with_either_line_end_or_the_input() {
        check("", Framing::Lines, &[]);
        check("\n\r\n\n", Framing::Lines, &[]);
        check("a", Framing::Lines, &[(0, "a")]);
        check("a\r\nbb\n\nc\r", Framing::Lines, &[(0, "a"), (3, "bb"), (7, "c\r")]);
        check("\u{feff}a\n\"\nb", Framing::Lines, &[(3, "a"), (5, "\""), (7, "b")]);
    }

    #[test]
    fn a_quoted_csv_field_holds_line_breaks_and_a_stray_quote_does_not_open_one() {
        check("a;\"b\nc\"\nd", CSV, &[(0, "a;\"b\nc\""), (8, "d")]);
        check("\"a \"\"x\"\"\n\";1\r\n2", CSV, &[(0, "\"a \"\"x\"\"\n\";1"), (14, "2")]);
        check("5\" pipe;1\nb\n", CSV, &[(0, "5\" pipe;1"), (10, "b")]);
        check("\"\"\n\"\"\"\n\"\nc", CSV, &[(0, "\"\""), (3, "\"\"\"\n\""), (9, "c")]);
        check("\"never closed\nb\n", CSV, &[(0, "\"never closed\nb")]);
        check("a,\"b\nc\n", CSV, &[(0, "a,\"b"), (5, "c")]);
    }

    #[test]
    fn what_is_too_long_loses_its_end_and_says_how_much() {
        let found = all(b"0123456789\nab\n", Framing::Lines, 4);
        assert_eq!(found, [(100, "0123".to_owned(), 7), (111, "ab".to_owned(), 0)]);
        let found = all(b"\"12\n45\n78\n\";x\nab\n", CSV, 5);
        assert_eq!(found, [(100, "\"12\n4".to_owned(), 12)]);
    }
}
