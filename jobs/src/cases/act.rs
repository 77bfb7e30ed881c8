//! One case from its first step to its last, or to the first that fails.

use super::compare;
use super::expectation::{self, Expectation};
use super::found;
use super::read::{Action, Case, Step};
use super::report::{Failure, Outcome};
use super::stage::Stage;
use crate::jobfile::Job;
use std::collections::BTreeMap;

/// Runs a case.
pub fn outcome(job: &Job, case: &Case) -> Outcome {
    let failure = match Stage::new(job, &case.setting) {
        Ok(mut stage) => case.steps.iter().enumerate().find_map(|(at, step)| failure(job, &mut stage, at, step)),
        Err(why) => Some(Failure { step: 0, line: case.place.line, action: "start", differences: vec![why] }),
    };
    Outcome { name: case.name.clone(), file: case.place.file.to_string(), line: case.place.line, failure }
}

fn failure(job: &Job, stage: &mut Stage<'_>, at: usize, step: &Step) -> Option<Failure> {
    let (action, result) = match &step.action {
        Action::Send(sent) => ("send", stage.send(sent)),
        Action::Advance(span) => ("advance", stage.pass(*span)),
        Action::Watermark(all) => ("watermark", all.iter().try_for_each(|(stream, until)| stage.pass_until(*stream, *until))),
        Action::Idle(stream) => ("idle", stage.pass(job.plan.streams[*stream].watermark.idle_after)),
        Action::Restart { workers, how } => ("restart", stage.restart(*workers, *how)),
        Action::Expect(_) => ("expect", Ok(())),
    };
    let differences = match (&step.action, result) {
        (_, Err(why)) => vec![why],
        (Action::Expect(expectation), Ok(())) => differences(job, stage, expectation).unwrap_or_else(|why| vec![why]),
        (_, Ok(())) => Vec::new(),
    };
    (!differences.is_empty()).then(|| Failure { step: at + 1, line: step.line, action, differences })
}

fn differences(job: &Job, stage: &Stage<'_>, expectation: &Expectation) -> Result<Vec<String>, String> {
    let plan = &job.plan;
    let mut all = Vec::new();
    for (view, expected) in &expectation.views {
        let plan_view = &plan.views[*view];
        let identity = expectation::identity(plan_view);
        all.extend(compare::rows(&plan_view.name, &identity, expected, found::rows(stage, plan, *view)?));
    }
    if let Some(expected) = &expectation.dead_letters {
        let letters = found::dead_letters(stage, plan)?;
        all.extend(compare::letters(expected, letters.iter().map(|letter| found::letter(letter, plan)).collect()));
    }
    let status = stage.engine().status();
    let mut counts: BTreeMap<usize, String> = BTreeMap::new();
    for (stream, counted, expected) in &expectation.counts {
        let there = found::count(&status, *stream, *counted);
        if there != *expected {
            let text = counts.entry(*stream).or_insert_with(|| format!("counts of {}", plan.streams[*stream].name));
            *text += &format!("\n  {}   expected {expected}   found {there}", counted.name());
        }
    }
    all.extend(counts.into_values());
    for (stream, expected) in &expectation.watermarks {
        let there = status.watermarks[*stream];
        if there != *expected {
            all.push(format!("watermark of {}   expected {expected}   found {there}", plan.streams[*stream].name));
        }
    }
    Ok(all)
}
