//! Figures and columns as people read them.

use std::io::{self, Write};

/// The width that output for people keeps to where it can.
pub const WIDTH: usize = 80;

/// Bytes in the largest unit of which there is one at least, with a digit after the point where it tells something.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let Some((unit, shift)) = UNITS.into_iter().find(|(_, shift)| bytes >> shift > 0) else { return format!("{bytes} B") };
    let tenths = (u128::from(bytes) * 10).div_ceil(1 << shift);
    if tenths < 1000 { format!("{}.{} {unit}", tenths / 10, tenths % 10) } else { format!("{} {unit}", tenths.div_ceil(10)) }
}

/// Breaks `text` at spaces into lines of at most `width` characters; a longer word has a line of its own.
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A table whose columns are as wide as their widest cell; the last one is not padded.
pub fn table(rows: &[Vec<String>], out: &mut dyn Write) -> io::Result<()> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let padded = |(cell, width): (&String, &usize)| format!("{cell:width$}");
        let line = row.iter().zip(&widths).map(padded).collect::<Vec<_>>().join("  ");
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// `1 record`, `2 records`.
pub fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", caudal_pipeline::bound::spaced(number), if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_read_well() {
        for (number, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (64 << 20, "64.0 MiB"),
            (500 << 20, "500 MiB"),
            (1 << 31, "2.0 GiB"),
        ] {
            assert_eq!(bytes(number), text);
        }
        // Rounded up: a bound is never shown smaller than it is.
        assert_eq!(bytes((1 << 30) + 1), "1.1 GiB");
    }

    #[test]
    fn lines_break_at_spaces() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("unbreakable word", 5), ["unbreakable", "word"]);
    }
}
