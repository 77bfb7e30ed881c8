//! [`Leading`]: the first n items of an order, whatever order they come in. `top_k` and `ids` are made of it.
//!
//! Equal items are all kept. A candidate is compared before it is built, so that one that comes too late costs a
//! comparison and no allocation; one that comes in order is appended without a search.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// The first so many items, sorted. How many is the caller's to know, and the same in each call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Leading<T>(Vec<T>);

impl<T> Default for Leading<T> {
    fn default() -> Self {
        Leading(Vec::new())
    }
}

impl<T: Ord + Clone> Leading<T> {
    /// The items, in order.
    pub fn items(&self) -> &[T] {
        &self.0
    }

    /// Takes one item. `compare` tells how an item that is held compares with it, `make` builds it.
    pub fn offer(&mut self, limit: usize, compare: impl Fn(&T) -> Ordering, make: impl FnOnce() -> T) {
        let appends = self.0.last().is_none_or(|last| compare(last) != Ordering::Greater);
        if self.0.len() < limit {
            let at = if appends { self.0.len() } else { self.place(compare) };
            self.0.insert(at, make());
        } else if !appends {
            self.0.pop();
            self.0.insert(self.place(compare), make());
        }
    }

    /// Takes the items of another one with the same limit.
    pub fn merge(&mut self, other: &Leading<T>, limit: usize) {
        let appends = match (self.0.last(), other.0.first()) {
            (Some(last), Some(first)) => last <= first,
            _ => true,
        };
        if appends {
            self.0.extend(other.0.iter().take(limit - self.0.len()).cloned());
        } else {
            self.interleave(other, limit);
        }
    }

    fn place(&self, compare: impl Fn(&T) -> Ordering) -> usize {
        self.0.partition_point(|held| compare(held) != Ordering::Greater)
    }

    fn interleave(&mut self, other: &Leading<T>, limit: usize) {
        let mut merged = Vec::with_capacity(limit.min(self.0.len() + other.0.len()));
        let (mut mine, mut theirs) = (std::mem::take(&mut self.0).into_iter().peekable(), other.0.iter().peekable());
        while merged.len() < limit {
            let next = match (mine.peek(), theirs.peek()) {
                (Some(a), Some(b)) if a > *b => theirs.next().cloned(),
                (Some(_), _) => mine.next(),
                (None, _) => theirs.next().cloned(),
            };
            match next {
                Some(item) => merged.push(item),
                None => break,
            }
        }
        self.0 = merged;
    }
}

/// Bytes that a list of `limit` items may hold besides what the items hold: a growing list has twice the room.
pub fn list_bytes_max<T>(limit: usize) -> usize {
    2 * limit * size_of::<T>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leading(limit: usize, items: &[u32]) -> Leading<u32> {
        let mut held = Leading::default();
        for item in items {
            held.offer(limit, |other: &u32| other.cmp(item), || *item);
        }
        held
    }

    #[test]
    fn the_first_are_kept_with_repeats() {
        for items in [[3, 1, 2, 3, 1], [1, 1, 2, 3, 3], [3, 3, 2, 1, 1]] {
            assert_eq!(leading(3, &items).items(), [1, 1, 2]);
            assert_eq!(leading(9, &items).items(), [1, 1, 2, 3, 3]);
        }
    }

    #[test]
    fn merging_is_inserting() {
        let all = [5, 2, 9, 2, 7, 1, 8];
        for limit in 1..=8 {
            for cut in 0..=all.len() {
                let (mut left, right) = (leading(limit, &all[..cut]), leading(limit, &all[cut..]));
                left.merge(&right, limit);
                assert_eq!(left, leading(limit, &all), "limit {limit}, cut {cut}");
            }
        }
    }

    #[test]
    fn an_item_that_is_refused_is_not_built() {
        leading(2, &[1, 2]).offer(2, |held: &u32| held.cmp(&2), || unreachable!("it comes too late"));
    }
}
