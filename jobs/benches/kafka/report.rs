//! The table at the end: medians, and between which runs they lie.

use super::Parameters;
use super::stage::{Outcome, STAGES, Stage};
use std::collections::BTreeMap;

/// Outcomes of all runs, by stage.
#[derive(Default)]
pub struct Report(BTreeMap<&'static str, Vec<Outcome>>);

impl Report {
    /// Takes one more.
    pub fn add(&mut self, stage: &Stage, outcome: Outcome) {
        self.0.entry(stage.name).or_default().push(outcome);
    }

    /// A line for each stage; the share of the floor is that of its rate on one thread, CPU time is by event.
    pub fn print(&self, events: usize) {
        if self.0.is_empty() {
            return;
        }
        println!(
            "{:36}  {:>8}  {:>17}  {:>5}  {:>6}  {:>6}  {:>7}",
            "", "events/s", "least – most", "floor", "CPU µs", "others", "peak MB"
        );
        let floor = self.0.get(STAGES[0].name).map(|runs| median(runs, |run| run.per_second(events)));
        for stage in &STAGES {
            let Some(runs) = self.0.get(stage.name) else { continue };
            let per_second = median(runs, |run| run.per_second(events));
            let rates = sorted(runs, |run| run.per_second(events));
            let spread = format!("{:.0} – {:.0}", rates[0], rates[rates.len() - 1]);
            let of_floor = floor.map_or(String::new(), |floor| format!("{:.2}", per_second / floor));
            let cpu_us = median(runs, |run| run.cpu_seconds * 1e6 / events as f64);
            let others_us = median(runs, |run| run.others_seconds * 1e6 / events as f64);
            let peak = median(runs, |run| run.peak_mb as f64);
            print!("{:36}  {per_second:>8.0}  {spread:>17}  {of_floor:>5}", stage.words);
            println!("  {cpu_us:>6.2}  {others_us:>6.2}  {peak:>7.0}");
        }
    }
}

/// Of the one run that is paced.
pub fn print_latency(parameters: &Parameters, outcome: &Outcome) {
    let sorted = &outcome.latencies;
    assert!(!sorted.is_empty(), "events are measured after the warm-up: give SECONDS");
    let at = |thousandth: usize| sorted[(sorted.len() * thousandth / 1000).min(sorted.len() - 1)];
    println!(
        "sent → readable in the store at {} events/s: p50 {:.0} ms, p99 {:.0} ms, at most {:.0} ms",
        parameters.pace,
        at(500),
        at(990),
        at(1000)
    );
}

fn sorted(runs: &[Outcome], figure: impl Fn(&Outcome) -> f64) -> Vec<f64> {
    let mut figures: Vec<f64> = runs.iter().map(figure).collect();
    figures.sort_unstable_by(f64::total_cmp);
    figures
}

fn median(runs: &[Outcome], figure: impl Fn(&Outcome) -> f64) -> f64 {
    sorted(runs, figure)[runs.len() / 2]
}
