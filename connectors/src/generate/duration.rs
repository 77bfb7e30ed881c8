//! Lengths of time as people write them: `1h30m`, `250ms`.

/// Microseconds of a text such as `10s`, `1h30m`, `500ms`; `None` if it is none or does not fit.
pub(super) fn parse_us(text: &str) -> Option<i64> {
    let mut rest = text.trim();
    let mut total = 0i64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: i64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        total = total.checked_add(number.checked_mul(unit_us(rest[..unit].trim())?)?)?;
        rest = &rest[unit..];
    }
    Some(total)
}

fn unit_us(unit: &str) -> Option<i64> {
    Some(match unit {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_or_refused() {
        for (text, us) in [("10s", 10_000_000), ("1h30m", 5_400_000_000), ("500ms", 500_000), ("0s", 0), ("2d", 172_800_000_000)]
        {
            assert_eq!(parse_us(text), Some(us), "{text}");
        }
        for text in ["", "10", "s", "-1s", "1.5s", "1x", "99999999999999999999s", "9999999999d"] {
            assert_eq!(parse_us(text), None, "{text}");
        }
    }
}
