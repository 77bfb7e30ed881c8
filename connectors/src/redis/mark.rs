//! Marks: how a server shows that it has gone back.
//!
//! A server loses what it wrote last, never something in between: a replica that takes over, a log or a dump that is read
//! at a restart, and a server that was emptied all hold what was written up to some moment. So it is enough that what is
//! written last in each cut is a mark with the cut's place (the process's generation, version, step), and that each cut
//! looks whether the mark holds at least the place that it follows. That is the cursor's, so nothing has to be remembered
//! between two processes. The first cut of a process puts the mark where it is itself, also behind where the process before
//! had come to; the generation goes first in a place, so that whoever is late moves it no more, but for a first
//! cut of its own: that looks like a loss, and rows are written again for nothing. So from then on the mark speaks of what
//! this process has written. The pages of a cut, which move no cursor, mark themselves by number, each naming
//! the one before.
//!
//! In a cluster each primary loses writes of its own, so each has a mark. Its name has a tag whose slot the primary has, so
//! that the replica that takes over has it too. The ids and offsets of replication would tell a fail-over as well, but
//! neither a server that was emptied nor, where there is no replica, a restart that lost nothing from one that did.
//!
//! `{job}:asof` is the mark of its server. While a republication is under way each mark also says which cut began it, in
//! `again`. Cuts that know nothing of it, or continue another, are refused: if a crash took the cursor that did, it begins
//! anew. On the board readers see `lost_after` until it has ended and the frontiers are as far as it.

use super::functions::{Call, Operation};
use super::member;
use caudal_pipeline::ports::sink::{Cut, Place};

/// What became of a call that marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is there, this too.
    Written,
    /// Refused: the board holds this version.
    Other(String),
    /// Refused: the board is newer already.
    Newer(String),
    /// Refused: this is the version up to which the process's cuts are there, or cuts of another were.
    Lost(String),
}

impl Outcome {
    /// Reads the function's reply.
    pub fn of(reply: &[String]) -> Option<Outcome> {
        let [what, stored] = reply else { return None };
        match what.as_str() {
            "written" => Some(Outcome::Written),
            "other" => Some(Outcome::Other(stored.clone())),
            "newer" => Some(Outcome::Newer(stored.clone())),
            "lost" => Some(Outcome::Lost(stored.clone())),
            _ => None,
        }
    }
}

/// The call that marks a cut, or a page of one, as written.
pub fn call(key: String, cut: &Cut) -> Call {
    Call { operation: Operation::Mark, keys: vec![key], arguments: arguments(cut).to_vec() }
}

/// The call that says to a mark that this cut begins to give again what was lost, and on the board to readers too.
pub fn lost(key: String, cut: &Cut, readers: bool) -> Call {
    let told = if readers { "readers" } else { "" };
    let arguments = arguments(cut).into_iter().chain([told.to_owned()]).collect();
    Call { operation: Operation::Lost, keys: vec![key], arguments }
}

/// What a call says of earlier cuts and pages.
pub fn arguments(cut: &Cut) -> [String; 6] {
    let begun = cut.republished.map(|republished| place_text(republished.begun)).unwrap_or_default();
    let ends = if cut.republished.is_some_and(|republished| republished.ends) { "ends" } else { "" };
    let this_place = place_text(cut.place());
    let page = |number: u32| format!("{this_place}:{number}");
    let before = cut.page.checked_sub(1).map(page).unwrap_or_default();
    let this = if cut.more { page(cut.page) } else { String::new() };
    [begun, ends.to_owned(), place_text(cut.previous()), this_place, before, this]
}

fn place_text(place: Place) -> String {
    format!("{:020}{}{:010}", place.generation, member::version_text(place.version), place.step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use caudal_pipeline::ports::sink::Republished;
    use caudal_pipeline::time::Version;

    #[test]
    fn replies_are_read() {
        let reply = |what: &str| Outcome::of(&[what.to_owned(), "5".to_owned()]);
        assert_eq!(reply("written"), Some(Outcome::Written));
        assert_eq!(reply("other"), Some(Outcome::Other("5".to_owned())));
        assert_eq!(reply("newer"), Some(Outcome::Newer("5".to_owned())));
        assert_eq!(reply("lost"), Some(Outcome::Lost("5".to_owned())));
        assert_eq!(reply("odd"), None);
    }

    #[test]
    fn a_page_names_the_one_before() {
        let cut = |page, more, republished| Cut {
            previous_generation: 1,
            previous_version: Version(4),
            generation: 3,
            version: Version(9),
            step: 2,
            page,
            more,
            republished,
            ..Cut::default()
        };
        let of = |cut: &Cut| arguments(cut).map(|argument| argument.trim_start_matches('0').to_owned());
        let (previous, this) = ("100000000000000000040000000000", "300000000000000000090000000002");
        assert_eq!(of(&cut(0, false, None)), ["", "", previous, this, "", ""]);
        assert_eq!(of(&cut(0, true, None))[4..], [String::new(), format!("{this}:0")]);
        assert_eq!(of(&cut(2, false, None))[4..], [format!("{this}:1"), String::new()]);
        let begun = Place { generation: 3, version: Version(9), step: 2 };
        assert_eq!(of(&cut(0, false, Some(Republished { begun, ends: true })))[..2], [this, "ends"]);
        let begun = Place { generation: 1, version: Version(4), step: 0 };
        assert_eq!(of(&cut(0, false, Some(Republished { begun, ends: false })))[..2], [previous, ""]);
    }
}
