//! A place in a job in its own terms: `streams.readings.watermark.max_delay`, `sinks.cold.keep[1]`.

/// One key further down. A key with a dot of its own (a property of a client library) cannot be a part of a path: the
/// line and column say which it is.
pub fn key(at: &str, key: &str) -> String {
    match (at, key.contains('.')) {
        (_, true) => at.into(),
        ("", false) => key.into(),
        _ => format!("{at}.{key}"),
    }
}

/// One item of a list.
pub fn item(at: &str, index: usize) -> String {
    format!("{at}[{index}]")
}
