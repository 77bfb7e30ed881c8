//! `ids(n)`: the n earliest ids by (event time, id), and how many there are in all.

use super::compiled::{TEXT_BYTES_MAX, count_cell};
use super::leading::{Leading, list_bytes_max};
use crate::record::{Id, Origin, Record};
use crate::time::EventTime;
use crate::value::Cell;
use compact_str::{CompactString, format_compact};
use serde::{Deserialize, Serialize};

/// The earliest ids seen, and how many records.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ids {
    total: u64,
    earliest: Leading<(EventTime, Id)>,
}

impl Ids {
    /// Takes a record's id.
    pub fn insert(&mut self, record: &Record, n: usize) {
        let key = (record.event_time, &record.id);
        self.total += 1;
        self.earliest.offer(n, |held| (held.0, &held.1).cmp(&key), || (record.event_time, record.id.clone()));
    }

    /// Takes the ids of another one.
    pub fn merge(&mut self, other: &Ids, n: usize) {
        self.total += other.total;
        self.earliest.merge(&other.earliest, n);
    }

    /// The ids as texts, and the total.
    pub fn cells(&self) -> [Cell; 2] {
        let texts = self.earliest.items().iter().map(|(_, id)| Cell::Text(id_text(id))).collect();
        [Cell::List(texts), count_cell(self.total)]
    }

    /// Memory outside of the accumulator.
    pub(super) fn heap_bytes_max(n: usize) -> usize {
        size_of::<Ids>() + list_bytes_max::<(EventTime, Id)>(n) + n * TEXT_BYTES_MAX
    }
}

/// An id as readers see it: the text it was given, or else where the record comes from, `partition:offset`, followed
/// by `:element` for all but the first element of an exploded message.
pub fn id_text(id: &Id) -> CompactString {
    match id {
        Id::Given(text) => text.clone(),
        Id::Origin(Origin { partition, offset, element: 0 }) => format_compact!("{}:{}", partition.0, offset.0),
        Id::Origin(Origin { partition, offset, element }) => format_compact!("{}:{}:{element}", partition.0, offset.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Offset, PartitionIndex};

    #[test]
    fn ids_read_as_texts() {
        let origin = |element| Id::Origin(Origin { partition: PartitionIndex(3), offset: Offset(17), element });
        for (id, text) in [(origin(0), "3:17"), (origin(2), "3:17:2"), (Id::Given("wind-7".into()), "wind-7")] {
            assert_eq!(id_text(&id), text);
        }
    }
}
