//! The log's records and their bytes.
//!
//! `"caudlog1" | seq u64 | generation u64 | hash of the previous record u64 | crc32c of all but itself u32 | body (postcard)`

use crate::record::{Offset, Partition, PartitionIndex};
use crate::time::{Epoch, EventTime, Version};
use serde::{Deserialize, Serialize};

const MAGIC: &[u8; 8] = b"caudlog1";
const HEAD_LEN: usize = 8 + 8 + 8 + 8;

/// One record of the commit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogRecord {
    /// A process has started.
    Generation(Generation),
    /// An epoch is bound.
    Bind(Bind),
    /// A checkpoint is complete: the one commit point.
    Checkpoint(Checkpoint),
}

/// Everything that alters results, beside the records (SEMANTICS 16).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// The job's meaning.
    pub job: u64,
    /// The program: codecs, time zones, operators.
    pub build: u64,
}

/// A start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// The process's generation.
    pub generation: u64,
    /// Workers it runs with; results do not depend on it.
    pub workers: u32,
}

/// What forms an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// Which.
    pub epoch: Epoch,
    /// When it was opened: the version of its effects and its only clock.
    pub opened: Version,
    /// The job and build that formed it, and so the only ones that form it again.
    pub by: Fingerprint,
    /// Content hash of the tables in force: blob `tables/{hash:016x}`; 0 for none.
    pub tables: u64,
    /// One for each stream of the plan that has a source.
    pub streams: Vec<StreamBind>,
    /// The input ends with it: everything completes and the state is read-only.
    pub closes: bool,
}

/// What a stream contributes to an epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamBind {
    /// Position in the plan.
    pub stream: u32,
    /// W(e), which rules lateness from the next epoch on.
    pub watermark: EventTime,
    /// Partitions read from this epoch on, and where they begin; numbered on from those known.
    pub added: Vec<(Partition, Offset)>,
    /// Partitions that moved or changed idleness.
    pub partitions: Vec<PartitionBind>,
}

/// How far a partition was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionBind {
    /// Which.
    pub index: PartitionIndex,
    /// The next offset to read.
    pub next: Offset,
    /// Messages in this epoch.
    pub count: u64,
    /// Of their offsets and bytes, in order: a rewritten topic is noticed at replay.
    pub hash: u64,
    /// Largest event time so far of a record that passed the future test.
    pub newest: Option<EventTime>,
    /// Whether it no longer holds the watermark back.
    pub idle: bool,
}

/// A complete checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// State as of the end of this epoch.
    pub epoch: Epoch,
    /// The manifest's blob.
    pub manifest: String,
    /// Hash of the manifest's bytes.
    pub hash: u64,
}

pub(super) fn encode(seq: u64, generation: u64, previous: u64, record: &LogRecord) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    for number in [seq, generation, previous] {
        bytes.extend(number.to_le_bytes());
    }
    let body = postcard::to_stdvec(record).expect("a log record has no type that postcard cannot write");
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&bytes), &body);
    bytes.extend(checksum.to_le_bytes());
    bytes.extend(body);
    bytes
}

/// A record as it was written.
pub(super) struct Decoded {
    /// Of the process that wrote it.
    pub(super) generation: u64,
    /// Hash of the record before.
    pub(super) previous: u64,
    /// It.
    pub(super) record: LogRecord,
}

pub(super) fn decode(seq: u64, bytes: &[u8]) -> Result<Decoded, String> {
    let (head, rest) = bytes.split_at_checked(HEAD_LEN).ok_or("it is cut")?;
    let (checksum, body) = rest.split_at_checked(4).ok_or("it is cut")?;
    if &head[..8] != MAGIC {
        return Err("it is not a log record of this format".into());
    }
    let number = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes"));
    if crc32c::crc32c_append(crc32c::crc32c(head), body).to_le_bytes() != checksum {
        return Err("its checksum does not fit".into());
    }
    if number(8) != seq {
        return Err(format!("it belongs to slot {}", number(8)));
    }
    let record = postcard::from_bytes(body).map_err(|e| format!("its body cannot be read: {e}"))?;
    Ok(Decoded { generation: number(16), previous: number(24), record })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_flipped_byte_and_any_cut_is_found() {
        let bytes =
            encode(7, 1, 9, &LogRecord::Checkpoint(Checkpoint { epoch: Epoch(3), manifest: "manifest/3".into(), hash: 5 }));
        assert!(decode(7, &bytes).is_ok());
        assert!(decode(8, &bytes).is_err());
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            assert!(decode(7, &flipped).is_err(), "byte {at}");
            assert!(decode(7, &bytes[..at]).is_err(), "cut at {at}");
        }
    }
}
