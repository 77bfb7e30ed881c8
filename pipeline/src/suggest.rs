//! «Did you mean»: the known name that is nearest to a mistyped one.
//!
//! Near is a small number of typing mistakes: a letter missing, added, changed, or two neighbours swapped. Case does not
//! count. What is too far is not offered, because a wrong suggestion is worse than none.

/// Longer names than this are nobody's typing mistake.
const LENGTH_MAX: usize = 64;

/// The candidate nearest to `name`, if one is near enough; among equals the first.
///
/// ```
/// use caudal_pipeline::suggest::suggest;
/// assert_eq!(suggest("meen", ["sum", "mean", "min"]), Some("mean"));
/// assert_eq!(suggest("power", ["farm", "power_kw"]), Some("power_kw"));
/// assert_eq!(suggest("bananas", ["sum", "mean", "min"]), None);
/// ```
pub fn suggest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted: Vec<char> = name.chars().flat_map(char::to_lowercase).take(LENGTH_MAX + 1).collect();
    if wanted.is_empty() || wanted.len() > LENGTH_MAX {
        return None;
    }
    let ranked = candidates.into_iter().filter_map(|candidate| Some((cost(&wanted, candidate)?, candidate)));
    ranked.min_by_key(|(cost, _)| *cost).map(|(_, candidate)| candidate)
}

/// How far a candidate is, or `None` if it is too far to be offered. A name that was only cut short comes last.
fn cost(wanted: &[char], candidate: &str) -> Option<usize> {
    let known: Vec<char> = candidate.chars().flat_map(char::to_lowercase).take(LENGTH_MAX + 1).collect();
    if known.len() > LENGTH_MAX {
        return None;
    }
    let allowed = (wanted.len().max(known.len()) / 3).clamp(1, 3);
    let typos = distance(wanted, &known);
    if typos <= allowed && typos < known.len() {
        return Some(typos);
    }
    (wanted.len() >= 3 && known.starts_with(wanted)).then(|| allowed + 1 + known.len() - wanted.len())
}

/// The number of typing mistakes between two names (optimal string alignment), in three rows of the usual table.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let changed = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = changed.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_typing_mistakes() {
        for (a, b, typos) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("abc", "ab", 1),
            ("abc", "acb", 1),
            ("abc", "xbc", 1),
            ("ca", "abc", 3),
            ("", "abc", 3),
        ] {
            let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
            assert_eq!(distance(&a, &b), typos, "{a:?} {b:?}");
            assert_eq!(distance(&b, &a), typos, "{b:?} {a:?}");
        }
    }

    #[test]
    fn the_nearest_is_offered_and_the_far_is_not() {
        const KNOWN: [&str; 6] = ["power_kw", "g.farm", "generator_id", "x", "startsWith", "size"];
        for (name, nearest) in [
            ("pwoer_kw", Some("power_kw")),
            ("POWER_KW", Some("power_kw")),
            ("g.fram", Some("g.farm")),
            ("generator", Some("generator_id")),
            ("startswith", Some("startsWith")),
            ("y", None),
            ("", None),
            ("temperature", None),
            (&"x".repeat(100), None),
        ] {
            assert_eq!(suggest(name, KNOWN), nearest, "{name}");
        }
    }

    #[test]
    fn fewer_mistakes_win_and_the_first_wins_a_tie() {
        assert_eq!(suggest("mim", ["max", "min", "mit"]), Some("min"));
        assert_eq!(suggest("min", ["mint", "min"]), Some("min"));
    }
}
