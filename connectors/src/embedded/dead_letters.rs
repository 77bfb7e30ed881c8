//! Dead letters as rows: everything needed to look at a record and to send it again.

use super::values::time;
use caudal_pipeline::ports::sink::DeadLetterRow;
use caudal_pipeline::time::EventTime;
use rusqlite::types::Value as Sql;
use serde_json::{Value as Json, json};

/// Writes a dead letter, unless the table holds a higher version of it.
pub(super) const UPSERT: &str = "
INSERT INTO dead_letters (stream, topic, partition, offset, element, state, version, received_at, reason, path, message, violations,
    key, headers, payload, broker_time_us)
VALUES (?1, ?2, ?3, ?4, ?5, 'open', ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
ON CONFLICT (stream, topic, partition, offset, element) DO UPDATE SET
    version = excluded.version, received_at = excluded.received_at, reason = excluded.reason, path = excluded.path,
    message = excluded.message, violations = excluded.violations, key = excluded.key, headers = excluded.headers,
    payload = excluded.payload, broker_time_us = excluded.broker_time_us
WHERE excluded.version >= dead_letters.version";

/// The values of [`UPSERT`], in order.
pub(super) fn values(row: &DeadLetterRow, stream: &str) -> [Sql; 15] {
    let letter = &row.dead_letter;
    let first = letter.rejection.violations.first();
    let violations: Vec<Json> =
        letter.rejection.violations.iter().map(|v| json!({"path": v.path, "message": v.message})).collect();
    let blob = |bytes: &Option<Vec<u8>>| bytes.clone().map_or(Sql::Null, Sql::Blob);
    [
        Sql::Text(stream.to_owned()),
        Sql::Text(letter.partition.topic.to_string()),
        Sql::Integer(letter.partition.number.into()),
        // Offsets are below 2^63 in every source.
        Sql::Integer(letter.offset.0.cast_signed()),
        Sql::Integer(letter.element.into()),
        Sql::Integer(row.version.0),
        time(EventTime(row.version.0)),
        Sql::Text(letter.rejection.reason.name().to_owned()),
        Sql::Text(first.map(|v| v.path.clone()).unwrap_or_default()),
        Sql::Text(first.map(|v| v.message.clone()).unwrap_or_default()),
        Sql::Text(Json::Array(violations).to_string()),
        blob(&letter.key),
        Sql::Text(headers_json(&letter.headers).to_string()),
        blob(&letter.payload),
        letter.broker_time_us.map_or(Sql::Null, Sql::Integer),
    ]
}

/// Headers as `[{"name", "value"}]`; a value that is no UTF-8 is `hex` instead.
pub(super) fn headers_json(headers: &[(String, Vec<u8>)]) -> Json {
    let one = |(name, value): &(String, Vec<u8>)| match std::str::from_utf8(value) {
        Ok(text) => json!({"name": name, "value": text}),
        Err(_) => json!({"name": name, "hex": value.iter().map(|b| format!("{b:02x}")).collect::<String>()}),
    };
    Json::Array(headers.iter().map(one).collect())
}

/// The bytes again.
pub(super) fn headers_from_json(text: &str) -> Vec<(String, Vec<u8>)> {
    let headers: Vec<Json> = serde_json::from_str(text).unwrap_or_default();
    let value = |header: &Json| match (header["value"].as_str(), header["hex"].as_str()) {
        (Some(text), _) => text.as_bytes().to_vec(),
        (None, hex) => {
            let hex = hex.unwrap_or_default();
            (0..hex.len() / 2).filter_map(|i| u8::from_str_radix(hex.get(2 * i..2 * i + 2)?, 16).ok()).collect()
        }
    };
    headers.iter().map(|h| (h["name"].as_str().unwrap_or_default().to_owned(), value(h))).collect()
}
