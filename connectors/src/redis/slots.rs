//! Which server of a cluster has a key: 16 384 slots, each with one primary.

use redis::Value;
use std::collections::BTreeMap;

const SLOTS: u16 = 16_384;

/// Marks are looked for among so many names; a primary with a single slot is found among a few ten thousand.
const TAGS_MAX: u32 = 1_000_000;

/// The slot of a key: that of what stands between its first braces, if anything does.
pub fn slot_of(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag).filter(|tag| !tag.is_empty());
    crc16(tag.unwrap_or(key).as_bytes()) % SLOTS
}

/// CRC-16/XMODEM, as the cluster's specification has it.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| {
        let shift = |crc: u16, _| if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
        (0..8).fold(crc ^ (u16::from(*byte) << 8), shift)
    })
}

/// Who has which slots, as one of the servers sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slots {
    /// By last slot: first slot and primary.
    ranges: BTreeMap<u16, (u16, String)>,
}

impl Slots {
    /// Reads what CLUSTER SLOTS answers; a server that does not tell a host means the one that was asked.
    pub fn of(answer: &Value, asked: &str) -> Option<Slots> {
        let Value::Array(entries) = answer else { return None };
        let mut ranges = BTreeMap::new();
        for entry in entries {
            let Value::Array(parts) = entry else { return None };
            let [Value::Int(first), Value::Int(last), Value::Array(primary), ..] = &parts[..] else { return None };
            let [host, Value::Int(port), ..] = &primary[..] else { return None };
            let host = match host {
                Value::BulkString(bytes) if !bytes.is_empty() => String::from_utf8(bytes.clone()).ok()?,
                Value::SimpleString(text) if !text.is_empty() => text.clone(),
                _ => asked.to_owned(),
            };
            ranges.insert(u16::try_from(*last).ok()?, (u16::try_from(*first).ok()?, format!("{host}:{port}")));
        }
        Some(Slots { ranges })
    }

    /// `host:port` of the primary; `None` where the slot has none.
    pub fn primary_of(&self, slot: u16) -> Option<&str> {
        let (_, (first, primary)) = self.ranges.range(slot..).next()?;
        (*first <= slot).then_some(primary)
    }

    /// For each primary a tag whose keys it has. The tags change with the slots alone, not with who has them.
    pub fn tags(&self) -> Vec<u32> {
        let primaries: std::collections::BTreeSet<&str> = self.ranges.values().map(|(_, primary)| primary.as_str()).collect();
        let mut tags: BTreeMap<&str, u32> = BTreeMap::new();
        for tag in 0..TAGS_MAX {
            if tags.len() == primaries.len() {
                break;
            }
            if let Some(primary) = self.primary_of(slot_of(&tag.to_string())) {
                tags.entry(primary).or_insert(tag);
            }
        }
        tags.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot_of("{user1000}.following"), slot_of("user1000"));
        assert_eq!(slot_of("foo{}{bar}"), crc16(b"foo{}{bar}") % SLOTS);
        assert_eq!(slot_of("foo{{bar}}zap"), slot_of("{bar"));
        assert_eq!(slot_of("foo{bar}{zap}"), slot_of("bar"));
    }

    #[test]
    fn each_primary_has_a_tag_that_stays_with_its_slots() {
        let host = |name: &str| Value::BulkString(name.into());
        let range = |first, last, name: &str, port| {
            Value::Array(vec![Value::Int(first), Value::Int(last), Value::Array(vec![host(name), Value::Int(port)])])
        };
        let slots = |other: &str| {
            let ranges = vec![range(0, 99, "a", 1), range(100, 16_000, other, 2), range(16_001, 16_383, "", 3)];
            Slots::of(&Value::Array(ranges), "here").unwrap()
        };
        let before = slots("b");
        assert_eq!(
            [0, 99, 100, 16_383].map(|slot| before.primary_of(slot)),
            [Some("a:1"), Some("a:1"), Some("b:2"), Some("here:3")]
        );
        let tags = before.tags();
        let owners: Vec<_> = tags.iter().map(|tag| before.primary_of(slot_of(&tag.to_string())).unwrap()).collect();
        assert_eq!(owners, ["a:1", "b:2", "here:3"]);
        assert_eq!(slots("c").tags(), tags);
        assert_eq!(Slots::default().primary_of(5), None);
    }
}
