//! Sorted places merged in key order; of each key the value in the newest place.

use crate::run::RunError;
use std::iter::Peekable;

/// Entries of one place, keys ascending.
pub(crate) type Head<'a, K, V> = Box<dyn Iterator<Item = Result<(K, V), RunError>> + 'a>;

/// See the module. After an error it ends.
pub(crate) struct Newest<'a, K, V> {
    heads: Vec<Peekable<Head<'a, K, V>>>,
}

impl<'a, K, V> Newest<'a, K, V> {
    /// Of places from the oldest to the newest.
    pub fn of(heads: Vec<Head<'a, K, V>>) -> Newest<'a, K, V> {
        Newest { heads: heads.into_iter().map(Iterator::peekable).collect() }
    }
}

impl<K: Ord, V> Iterator for Newest<'_, K, V> {
    type Item = Result<(K, V), RunError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut smallest: Option<(usize, &K)> = None;
        let mut failed = None;
        for (at, head) in self.heads.iter_mut().enumerate() {
            match head.peek() {
                Some(Ok((key, _))) if smallest.is_none_or(|(_, smallest)| key < smallest) => smallest = Some((at, key)),
                Some(Err(error)) => failed = Some(error.clone()),
                _ => {}
            }
        }
        if let Some(error) = failed {
            self.heads.clear();
            return Some(Err(error));
        }
        let (at, _) = smallest?;
        let mut newest = self.heads[at].next()?;
        for head in &mut self.heads[at + 1..] {
            let same = |entry: &Result<(K, V), RunError>| matches!((entry, &newest), (Ok((key, _)), Ok((of_newest, _))) if key == of_newest);
            if let Some(newer) = head.next_if(same) {
                newest = newer;
            }
        }
        Some(newest)
    }
}

/// How many of the newest runs to merge; fewer than two is not worth it. `sizes` are oldest first.
///
/// Runs are merged like the digits of a binary counter: the newest ones for as long as together they are at least as
/// large as the next older one. So there are about log₂(all / newest) of them, and an entry is rewritten as often.
pub(crate) fn newest_to_merge(sizes: &[u64]) -> usize {
    let (mut count, mut together) = (0, 0);
    for size in sizes.iter().rev() {
        if count > 0 && together < *size {
            break;
        }
        together += size;
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_place_has_the_say_and_an_error_ends_it() {
        let place = |entries: &[(u8, u8)]| -> Head<'static, u8, u8> {
            let entries: Vec<_> = entries.iter().copied().map(Ok).collect();
            Box::new(entries.into_iter())
        };
        let merged = Newest::of(vec![place(&[(1, 1), (3, 1), (5, 1)]), place(&[(3, 2), (4, 2)]), place(&[(1, 3), (4, 3)])]);
        let merged: Result<Vec<_>, _> = merged.collect();
        assert_eq!(merged.unwrap(), [(1, 3), (3, 2), (4, 3), (5, 1)]);

        let damaged = || Err(RunError::Damaged { name: "r".into(), what: "cut" });
        let torn: Head<'static, u8, u8> = Box::new([Ok((2, 1)), damaged(), Ok((9, 1))].into_iter());
        let mut merged = Newest::of(vec![place(&[(1, 1), (8, 1)]), torn]);
        assert_eq!([merged.next().unwrap().unwrap(), merged.next().unwrap().unwrap()], [(1, 1), (2, 1)]);
        assert!(merged.next().unwrap().is_err() && merged.next().is_none());
    }

    #[test]
    fn runs_merge_like_a_binary_counter() {
        for (sizes, merged) in
            [(vec![], 0), (vec![5], 1), (vec![5, 5], 2), (vec![100, 5], 1), (vec![100, 8, 5, 5], 3), (vec![16, 8, 5, 5], 4)]
        {
            assert_eq!(newest_to_merge(&sizes), merged, "{sizes:?}");
        }
    }
}
