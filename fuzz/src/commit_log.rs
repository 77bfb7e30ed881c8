//! The bytes of a commit log's record: as they are, and as a body that head and checksum vouch for.
//!
//! Promises: no panic; what is read as slot 7's record is read as no other slot's.

use caudal_pipeline::log::decode_record;

const SEQ: u64 = 7;

/// Reads the bytes as a record, and as a record's body.
pub fn check(bytes: &[u8]) {
    for record in [bytes.to_vec(), sealed(bytes)] {
        if decode_record(SEQ, &record).is_ok() {
            assert!(decode_record(SEQ + 1, &record).is_err(), "a record belongs to one slot");
        }
    }
}

/// A record with this body.
pub fn sealed(body: &[u8]) -> Vec<u8> {
    let mut record = b"caudlog1".to_vec();
    for number in [SEQ, 1, 0] {
        record.extend(number.to_le_bytes());
    }
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&record), body);
    record.extend(checksum.to_le_bytes());
    record.extend(body);
    record
}
