//! The runner of cases: what its steps do, how it says what differs, and what it says of a case that is written wrongly.
//!
//! To write the answers anew, after reading what changed: `UPDATE_EXPECTED=1 cargo test -p caudal --test cases`.

use caudal_jobs::cases;
use caudal_jobs::jobfile::{Job, Surroundings, read};
use std::path::Path;

fn job(file: &str) -> Job {
    let around = Surroundings {
        variable: &|_| None,
        file: &|path| std::fs::read_to_string(path).map_err(|e| e.to_string()),
        overrides: Vec::new(),
        fits: &|_| Ok(()),
    };
    read(file, &around).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

/// Compares with the folder's `expected.txt`.
fn assert_answer(folder: &str, answer: &str) {
    let path = Path::new(folder).join("expected.txt");
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        std::fs::write(&path, format!("{answer}\n")).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(answer, expected.trim_end(), "\n--- expected\n{expected}\n--- answered\n{answer}");
}

#[test]
fn every_step_does_what_it_says() {
    let report = cases::run(&job("tests/cases/runner/job.yaml"), Path::new("tests/cases/runner"), None).unwrap();
    assert!(report.all_passed(), "\n{report}");
}

#[test]
fn a_broken_expectation_fails_with_what_differs() {
    let folder = "tests/cases/failing";
    let report = cases::run(&job("wind-farm/job.yaml"), Path::new(folder), None).unwrap();
    assert!(!report.all_passed());
    assert_eq!((report.passed(), report.outcomes.len()), (1, 5));
    assert_answer(folder, &report.to_string());
}

/// Symptom: a case that needed more than the job declares waited for a minute, and said that the engine did not finish an epoch.
#[test]
fn a_case_beyond_the_limits_says_so() {
    let folder = "tests/cases/limited";
    let report = cases::run(&job("tests/cases/limited/job.yaml"), Path::new(folder), None).unwrap();
    assert_answer(folder, &report.to_string());
}

#[test]
fn wrong_cases_are_answered_with_line_and_remedy() {
    let folder = "tests/cases/mistakes";
    let error = cases::run(&job("wind-farm/job.yaml"), Path::new(folder), None).unwrap_err();
    assert_answer(folder, &error.to_string());
}

#[test]
fn cases_are_chosen_by_a_part_of_their_name() {
    let job = job("wind-farm/job.yaml");
    let chosen = cases::run(&job, Path::new("tests/cases/failing"), Some("passes")).unwrap();
    assert!(chosen.all_passed() && chosen.outcomes.len() == 1, "{chosen}");
    let none = cases::run(&job, Path::new("tests/cases/failing"), Some("no such case")).unwrap();
    assert!(!none.all_passed());
    assert_eq!(none.to_string(), "wind-farm: no case was run");
}

#[test]
fn a_folder_without_cases_says_so() {
    let error = cases::run(&job("wind-farm/job.yaml"), Path::new("tests/cases"), None).unwrap_err();
    assert!(error.to_string().starts_with("tests/cases/cases: the cases cannot be read"), "{error}");
}
