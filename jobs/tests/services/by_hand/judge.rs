//! What becomes of each record, by the words of the README: malformed, against the schema, too late, a duplicate, a
//! conflict, filtered, counted.

use caudal_pipeline::record::{Message, Partition};
use std::collections::BTreeMap;

/// Where a record came from: topic, partition, offset, element.
pub type Place = (String, i32, u64, u32);

/// A record as one reads it.
#[derive(Clone, Debug)]
pub struct Read<T> {
    pub id: String,
    /// Microseconds since 1970.
    pub at: i64,
    /// Whether the job's `where` lets it pass.
    pub passes: bool,
    pub it: T,
}

/// Everything judged.
pub struct Judged<T> {
    pub counted: Vec<Read<T>>,
    pub duplicates: u64,
    pub filtered: u64,
    /// Reasons by place.
    pub refused: BTreeMap<Place, &'static str>,
    /// By partition, the newest time of any record that could be read.
    pub newest: BTreeMap<(String, i32), i64>,
}

/// Judges all messages. `read` gives a message's records, or for how many of them the message is refused as a whole, and
/// why; `told` are the dead letters of the job, of which only those that were too late are believed.
///
/// Such a record must have had reason to be: its partition had shown times that lie `behind` microseconds after it.
/// W is the least of all partitions, so that a record that is not behind its own partition is behind none.
pub fn judge<T>(
    messages: &[(Partition, Vec<Message>)],
    told: &BTreeMap<Place, &'static str>,
    behind: i64,
    read: impl Fn(&[u8]) -> Result<Vec<Read<T>>, (u32, &'static str)>,
) -> Judged<T> {
    let mut judged =
        Judged { counted: Vec::new(), duplicates: 0, filtered: 0, refused: BTreeMap::new(), newest: BTreeMap::new() };
    let mut first: BTreeMap<String, ((String, i32), Vec<u8>)> = BTreeMap::new();
    for (partition, messages) in messages {
        let shelf = (partition.topic.to_string(), partition.number);
        for message in messages {
            let place = |element: u32| (shelf.0.clone(), shelf.1, message.offset.0, element);
            let payload = message.payload.as_deref().expect("no message without a body");
            let records = match read(payload) {
                Ok(records) => records,
                Err((count, reason)) => {
                    judged.refused.extend((0..count).map(|element| (place(element), reason)));
                    continue;
                }
            };
            for (element, record) in (0..).zip(records) {
                let newest = judged.newest.entry(shelf.clone()).or_insert(record.at);
                let earlier = std::mem::replace(newest, record.at.max(*newest));
                if told.get(&place(element)) == Some(&"too_late") {
                    assert!(record.at + behind <= earlier, "{:?} was not late enough", place(element));
                    judged.refused.insert(place(element), "too_late");
                    continue;
                }
                let known = first.entry(record.id.clone()).or_insert_with(|| (shelf.clone(), Vec::new()));
                assert_eq!(known.0, shelf, "{}: which of two partitions was read first, nobody knows", record.id);
                if known.1.is_empty() {
                    known.1 = payload.to_vec();
                    match record.passes {
                        true => judged.counted.push(record),
                        false => judged.filtered += 1,
                    }
                } else if known.1 == payload {
                    judged.duplicates += 1;
                } else {
                    judged.refused.insert(place(element), "conflict");
                }
            }
        }
    }
    judged
}
