//! Accepted events as rows: what came, byte for byte.

use super::values::time;
use caudal_pipeline::ports::sink::EventRow;
use rusqlite::types::Value as Sql;

/// Writes an event, unless the table holds a higher version of it.
pub(super) const UPSERT: &str = "
INSERT INTO events (stream, topic, partition, offset, element, event_time, id, key, payload, version, _expires_us)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
ON CONFLICT (stream, topic, partition, offset, element) DO UPDATE SET
    event_time = excluded.event_time, id = excluded.id, key = excluded.key, payload = excluded.payload,
    version = excluded.version, _expires_us = excluded._expires_us
WHERE excluded.version >= events.version";

/// The values of [`UPSERT`], in order.
pub(super) fn values(row: &EventRow, stream: &str) -> [Sql; 11] {
    let event = &row.event;
    let blob = |bytes: &Option<Vec<u8>>| bytes.clone().map_or(Sql::Null, Sql::Blob);
    [
        Sql::Text(stream.to_owned()),
        Sql::Text(event.partition.topic.to_string()),
        Sql::Integer(event.partition.number.into()),
        // Offsets are below 2^63 in every source.
        Sql::Integer(event.offset.0.cast_signed()),
        Sql::Integer(event.element.into()),
        time(event.event_time),
        Sql::Text(event.id.to_string()),
        blob(&event.key),
        blob(&event.payload),
        Sql::Integer(row.version.0),
        row.expires_us.map_or(Sql::Null, Sql::Integer),
    ]
}
