//! One record as bytes: length and checksum, then offset, time, key, headers and payload.

use caudal_pipeline::record::{Message, Offset};
use std::sync::Arc;

/// Bytes before a frame's body: its length and its checksum.
pub(super) const HEAD_BYTES: usize = 8;

/// The largest body, so that a flipped length cannot ask for all memory.
pub(super) const BODY_BYTES_MAX: usize = 128 << 20;

/// A record to be appended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewRecord {
    /// Its key, if it has one.
    pub key: Option<Vec<u8>>,
    /// Its headers in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Its body; `None` is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// When it was received, microseconds since 1970.
    pub time_us: i64,
}

/// What was found where a frame should be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A whole frame of this many bytes.
    Frame(Message, usize),
    /// The bytes end before the frame does.
    Short,
    /// No frame: why.
    Wrong(&'static str),
}

/// Appends a record's frame to `out` and returns its size.
pub(super) fn encode(offset: Offset, record: &NewRecord, out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD_BYTES]);
    out.extend_from_slice(&offset.0.to_le_bytes());
    out.extend_from_slice(&record.time_us.to_le_bytes());
    put_optional(record.key.as_deref(), out);
    put_len(record.headers.len(), out);
    for (name, value) in &record.headers {
        put(name.as_bytes(), out);
        put(value, out);
    }
    put_optional(record.payload.as_deref(), out);
    let body = &out[start + HEAD_BYTES..];
    let (len, sum) = (body.len() as u32, crc32c::crc32c(body));
    out[start..start + 4].copy_from_slice(&len.to_le_bytes());
    out[start + 4..start + 8].copy_from_slice(&sum.to_le_bytes());
    out.len() - start
}

/// Reads the frame that `bytes` begins with.
pub(super) fn decode(bytes: &[u8]) -> Found {
    let Some((len, sum)) = head(bytes) else { return Found::Short };
    if len > BODY_BYTES_MAX {
        return Found::Wrong("a frame's length is out of range");
    }
    let Some(body) = bytes.get(HEAD_BYTES..HEAD_BYTES + len) else { return Found::Short };
    if crc32c::crc32c(body) != sum {
        return Found::Wrong("a frame's checksum does not match");
    }
    match body_message(body) {
        Some(message) => Found::Frame(message, HEAD_BYTES + len),
        None => Found::Wrong("a frame does not hold a record"),
    }
}

/// A frame's body length and checksum.
pub(super) fn head(bytes: &[u8]) -> Option<(usize, u32)> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    let sum = rest.first_chunk::<4>()?;
    Some((u32::from_le_bytes(*len) as usize, u32::from_le_bytes(*sum)))
}

/// Bytes of a record's frame, known before it is written.
pub(super) fn len_bytes(record: &NewRecord) -> usize {
    let headers: usize = record.headers.iter().map(|(n, v)| 8 + n.len() + v.len()).sum();
    HEAD_BYTES + 16 + 4 + 8 + headers + record.key.as_ref().map_or(0, Vec::len) + record.payload.as_ref().map_or(0, Vec::len)
}

/// The length that stands for «none».
const NONE: u32 = u32::MAX;

fn put_len(len: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&(len as u32).to_le_bytes());
}

fn put(bytes: &[u8], out: &mut Vec<u8>) {
    put_len(bytes.len(), out);
    out.extend_from_slice(bytes);
}

fn put_optional(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    match bytes {
        Some(bytes) => put(bytes, out),
        None => out.extend_from_slice(&NONE.to_le_bytes()),
    }
}

fn body_message(mut body: &[u8]) -> Option<Message> {
    let rest = &mut body;
    let offset = Offset(u64::from_le_bytes(take::<8>(rest)?));
    let time_us = i64::from_le_bytes(take::<8>(rest)?);
    let key = take_optional(rest)?;
    let count = u32::from_le_bytes(take::<4>(rest)?);
    let headers: Option<Vec<(String, Vec<u8>)>> =
        (0..count).map(|_| Some((String::from_utf8(take_optional(rest)??).ok()?, take_optional(rest)??))).collect();
    let payload = take_optional(rest)?;
    body.is_empty().then_some(())?;
    Some(Message { offset, key, headers: Arc::from(headers?), payload, broker_time_us: Some(time_us) })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*first)
}

fn take_optional(rest: &mut &[u8]) -> Option<Option<Vec<u8>>> {
    let len = u32::from_le_bytes(take::<4>(rest)?);
    if len == NONE {
        return Some(None);
    }
    let bytes = rest.get(..len as usize)?;
    *rest = &rest[len as usize..];
    Some(Some(bytes.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> NewRecord {
        let headers = vec![("a".to_owned(), vec![]), ("a".to_owned(), vec![0xff; 3])];
        NewRecord { key: Some(vec![]), headers, payload: Some(b"{}".to_vec()), time_us: -5 }
    }

    #[test]
    fn a_frame_reads_back_and_its_size_is_known() {
        for record in [record(), NewRecord::default(), NewRecord { payload: Some(vec![]), ..record() }] {
            let mut bytes = vec![7];
            let size = encode(Offset(9), &record, &mut bytes);
            assert_eq!((size, bytes.len()), (len_bytes(&record), size + 1));
            let Found::Frame(message, len) = decode(&bytes[1..]) else { panic!("no frame") };
            assert_eq!((len, message.offset, &message.key, &message.payload), (size, Offset(9), &record.key, &record.payload));
            assert_eq!((&message.headers[..], message.broker_time_us), (&record.headers[..], Some(record.time_us)));
        }
    }

    #[test]
    fn every_cut_is_short_and_every_flip_is_wrong() {
        let mut bytes = Vec::new();
        encode(Offset(9), &record(), &mut bytes);
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut]), Found::Short, "cut at {cut}");
        }
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(decode(&bytes), Found::Frame(..)), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
