//! What became of the cases, and how people read it.

use serde::Serialize;
use std::fmt;

/// All cases of a job that were run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The job.
    pub job: String,
    /// In the order of files and of cases within them.
    pub outcomes: Vec<Outcome>,
}

/// One case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Its name.
    pub name: String,
    /// Its file, as the user named it.
    pub file: String,
    /// Its line.
    pub line: usize,
    /// Why it failed; `None` if it passed.
    pub failure: Option<Failure>,
}

/// Where a case went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The step, from 1.
    pub step: usize,
    /// Its line.
    pub line: usize,
    /// What it does: `expect`, `send`.
    pub action: &'static str,
    /// What was expected and what was found, or what happened.
    pub differences: Vec<String>,
}

impl Report {
    /// Cases that passed.
    pub fn passed(&self) -> usize {
        self.outcomes.iter().filter(|outcome| outcome.failure.is_none()).count()
    }

    /// Whether all did, and there was one at least.
    pub fn all_passed(&self) -> bool {
        !self.outcomes.is_empty() && self.passed() == self.outcomes.len()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for outcome in &self.outcomes {
            writeln!(f, "{outcome}")?;
        }
        let (passed, all) = (self.passed(), self.outcomes.len());
        match all {
            0 => write!(f, "{}: no case was run", self.job),
            _ => write!(f, "{}: {passed} of {all} cases passed", self.job),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.failure.is_none() { "ok    " } else { "FAILED" };
        write!(f, "{verdict}  {}   {}:{}", self.name, self.file, self.line)?;
        let Some(failure) = &self.failure else { return Ok(()) };
        write!(f, "\n  step {}, line {}: {}", failure.step, failure.line, failure.action)?;
        failure.differences.iter().flat_map(|text| text.lines()).try_for_each(|line| write!(f, "\n    {line}"))
    }
}
