//! Marks: how a server shows that it has gone back.
//!
//! A server loses what it wrote last, never something in between: a replica that takes over, a log or a dump that is read
//! at a restart, and a server that was emptied all hold what was written up to some moment. So it is enough that what is
//! written last in each cut is a mark with the cut's version and step, and that each cut looks whether the mark holds at
//! least those that it follows. Both are the cursor's, so nothing has to be remembered between two processes. The pages
//! of a cut, which move no cursor, mark themselves by number, each naming the one before.
//!
//! In a cluster each primary loses writes of its own, so each has a mark. Its name has a tag whose slot the primary has, so
//! that the replica that takes over has it too. The ids and offsets of replication would tell a fail-over as well, but
//! neither a server that was emptied nor, where there is no replica, a restart that lost nothing from one that did.
//!
//! `{job}:asof` is the mark of its server. It also says `lost_after` while a republication is under way, and cuts that
//! know nothing of it are refused: if a crash took the cursor that did, it begins again.

use super::functions::{Call, Operation};
use super::member;
use caudal_pipeline::ports::sink::Cut;
use caudal_pipeline::time::Version;

/// What became of a call that marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is there, this too.
    Written,
    /// Refused: the board holds this version.
    Other(String),
    /// Refused: the board is newer already.
    Newer(String),
    /// Refused: this is the version up to which earlier cuts are there.
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

/// The call that says that writes were lost.
pub fn lost(key: String) -> Call {
    Call { operation: Operation::Lost, keys: vec![key], arguments: vec![member::version_text(Version(0))] }
}

/// What a call says of earlier cuts and pages.
pub fn arguments(cut: &Cut) -> [String; 6] {
    let look = match cut.republished {
        None => "check",
        Some(republished) if republished.begins => "begins",
        Some(_) => "continues",
    };
    let ends = if cut.republished.is_some_and(|republished| republished.ends) { "ends" } else { "" };
    let place = |version, step: u32| format!("{}{step:010}", member::version_text(version));
    let this_place = place(cut.version, cut.step);
    let page = |number: u32| format!("{this_place}:{number}");
    let before = cut.page.checked_sub(1).map(page).unwrap_or_default();
    let this = if cut.more { page(cut.page) } else { String::new() };
    let previous = place(cut.previous_version, cut.previous_step);
    [look.to_owned(), ends.to_owned(), previous, this_place, before, this]
}

#[cfg(test)]
mod tests {
    use super::*;
    use caudal_pipeline::ports::sink::Republished;

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
            previous_version: Version(4),
            version: Version(9),
            step: 2,
            page,
            more,
            republished,
            ..Cut::default()
        };
        let of = |cut: &Cut| arguments(cut).map(|argument| argument.trim_start_matches('0').to_owned());
        assert_eq!(of(&cut(0, false, None)), ["check", "", "40000000000", "90000000002", "", ""]);
        assert_eq!(of(&cut(0, true, None))[4..], ["", "90000000002:0"]);
        assert_eq!(of(&cut(2, false, None))[4..], ["90000000002:1", ""]);
        let republished = |begins, ends| Some(Republished { begins, ends });
        assert_eq!(of(&cut(0, false, republished(true, true)))[..2], ["begins", "ends"]);
        assert_eq!(of(&cut(0, false, republished(false, false)))[..2], ["continues", ""]);
    }
}
