//! Bugs on purpose, to test the tests: with the feature `planted` one of them can be switched on for the process. Without
//! it there is none, and nothing of this is compiled in.

/// A bug that the recovery trials must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// An epoch that is repeated gets its version anew.
    VersionAnew,
    /// Files that no manifest lists are read.
    OrphanAdopted,
    /// Of records with one id, the first to arrive counts.
    ArrivalOrder,
    /// Rows that were loaded are sent out.
    LoadingEmits,
}

#[cfg(feature = "planted")]
mod switch {
    use super::Bug;
    use std::sync::Mutex;

    static PLANTED: Mutex<Option<Bug>> = Mutex::new(None);

    /// Switches a bug on, or the one that is on off.
    pub fn plant(bug: Option<Bug>) {
        *PLANTED.lock().expect("no thread panics while it holds this lock") = bug;
    }

    /// Whether this bug is on.
    pub fn is(bug: Bug) -> bool {
        *PLANTED.lock().expect("no thread panics while it holds this lock") == Some(bug)
    }
}

#[cfg(not(feature = "planted"))]
mod switch {
    /// There is none.
    pub const fn is(_bug: super::Bug) -> bool {
        false
    }
}

pub use switch::*;
