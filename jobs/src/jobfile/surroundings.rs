//! What reading a job file needs from outside, passed in: nothing here looks at the process or the disk by itself.

use super::job::Job;
use std::path::Path;

/// The variables, files and overrides of one reading.
pub struct Surroundings<'a> {
    /// An environment variable by name.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// A file's text by path, or why it cannot be read.
    pub file: &'a dyn Fn(&Path) -> Result<String, String>,
    /// What flags and variables change in the file, in the order of precedence: later ones win.
    pub overrides: Vec<Override>,
    /// Whether the memory that the job needs fits its limits, or why not.
    pub fits: &'a dyn Fn(&Job) -> Result<(), String>,
}

/// One value given outside of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Override {
    /// `--set path=value`, without the flag.
    Set(String),
    /// `CAUDAL__PATH__TO__KEY` and its value.
    Variable(String, String),
}

/// The prefix of variables that override a key.
pub const VARIABLE_PREFIX: &str = "CAUDAL__";

impl Override {
    /// The overrides among all variables of a process, sorted by name.
    pub fn of_variables(all: impl IntoIterator<Item = (String, String)>) -> Vec<Override> {
        let mut found: Vec<(String, String)> = all.into_iter().filter(|(name, _)| name.starts_with(VARIABLE_PREFIX)).collect();
        found.sort();
        found.into_iter().map(|(name, value)| Override::Variable(name, value)).collect()
    }
}
