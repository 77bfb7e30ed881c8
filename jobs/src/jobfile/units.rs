//! Durations (`10s 1m 250ms 3d 5y`) and sizes (`64KiB 2GiB 10MB`), as job files write them.

use caudal_pipeline::time::Span;

const DURATIONS: [(&str, i64); 8] = [
    ("us", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("m", 60_000_000),
    ("h", 3_600_000_000),
    ("d", 86_400_000_000),
    ("w", 7 * 86_400_000_000),
    ("y", 365 * 86_400_000_000),
];

const SIZES: [(&str, u64); 8] = [
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// A length of time: a whole number with its unit. A year is 365 days.
pub fn duration(text: &str) -> Result<Span, String> {
    let expected = || format!("expected a length of time such as `10s`, `1m`, `1h`, `3d` or `250ms`, found `{text}`");
    let (number, unit) = split(text).ok_or_else(expected)?;
    let (_, us) = DURATIONS.iter().find(|(name, _)| *name == unit).ok_or_else(expected)?;
    let number: i64 = number.parse().map_err(|_| too_large(text))?;
    number.checked_mul(*us).map(Span).ok_or_else(|| too_large(text))
}

/// A number of bytes: a whole number with its unit, or without one.
pub fn bytes(text: &str) -> Result<u64, String> {
    let expected = || format!("expected a size such as `64KiB`, `512MiB` or `2GiB`, found `{text}`");
    let (number, unit) = split(text).ok_or_else(expected)?;
    let unit = if unit.is_empty() { "B" } else { unit };
    let (_, size) = SIZES.iter().find(|(name, _)| *name == unit).ok_or_else(expected)?;
    let number: u64 = number.parse().map_err(|_| too_large(text))?;
    number.checked_mul(*size).ok_or_else(|| too_large(text))
}

fn split(text: &str) -> Option<(&str, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (digits > 0).then(|| (&text[..digits], text[digits..].trim_start()))
}

fn too_large(text: &str) -> String {
    format!("`{text}` is too large")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        for (text, us) in
            [("250ms", 250_000), ("10s", 10_000_000), ("1 h", 3_600_000_000), ("5y", 5 * 365 * 86_400_000_000), ("0s", 0)]
        {
            assert_eq!(duration(text), Ok(Span(us)), "{text}");
        }
        for text in ["10", "s", "1.5h", "-1s", "10 sec", "", "99999999999999999999s", "9999999999y"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_may_be_plain_bytes() {
        for (text, n) in [("2GiB", 2 << 30), ("10MB", 10_000_000), ("4096", 4096), ("1 KiB", 1024)] {
            assert_eq!(bytes(text), Ok(n), "{text}");
        }
        for text in ["GiB", "1.5GiB", "2gb", "-1", "99999999999TiB"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
