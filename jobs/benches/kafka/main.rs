//! How many events a second does a job take from a real broker into its store, and what share of reading is that?
//!
//! `cargo xtask services --only kafka -- cargo bench -p caudal --bench kafka`
//!
//! ```text
//! seeded events ─▶ topic, once ─┬▶ floor: the connector's consumer settings, poll and parse, nothing else; 1, 2 threads
//!                               ├▶ plain loop: the same and a set of ids, a map of sums; 1 thread
//!                               └▶ caudal: schema, duplicates, windows ─▶ embedded store; 1, 2 workers
//! paced events ─▶ another topic ─▶ caudal ─▶ embedded store: how long after it was sent is an event in its row?
//! ```
//! All take turns, each run in a process of its own, so that memory and CPU time are its own. Time runs from the start of
//! the consumer or the job until everything is parsed, summed or in the store. That caudal's rows are those of the plain
//! loop is asserted; no time is. The table: medians; share of the floor on one thread; CPU time for each event, and that of
//! all other processes meanwhile. Those are the broker and whoever disturbs: runs in which that figure is not the same
//! cannot be compared.
//!
//! | variable `CAUDAL_BENCH_…` | | default |
//! |---|---|---|
//! | `EVENTS` | in the topic | 2000000 |
//! | `PARTITIONS` | of the topic | 4 |
//! | `REPEAT` | runs of each | 3 |
//! | `COMPRESSION` | of the producer | zstd |
//! | `PROPERTIES` | `name=value,…`, said by the job besides the broker: for trying settings out | |
//! | `PACE`, `SECONDS` | events a second and how long, for the latency | 10000, 10 |
//!
//! `… --bench kafka -- caudal2` runs one of `floor1 floor2 plain caudal1 caudal2 latency`: for a profiler.

#![allow(clippy::disallowed_types, reason = "the baseline has the standard's maps")]

mod caudal;
mod latency;
mod plain;
mod report;
mod stage;
mod topic;

use report::Report;
use stage::{Outcome, STAGES, Stage};
use std::path::Path;
use xtask::services::folder::Folder;

/// Where the broker is.
const BROKER: &str = "CAUDAL_TEST_KAFKA";

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let Ok(broker) = std::env::var(BROKER) else {
        println!("skipped: {BROKER} is not set; run `cargo xtask services --only kafka -- cargo bench -p caudal --bench kafka`");
        return;
    };
    let parameters = Parameters::of_environment(broker);
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => compare(&parameters, &|_| true),
        ["measure", stage, folder, expected] => {
            let expected = expected.parse().expect("written by the process that asks");
            stage::measure(Stage::named(stage), Path::new(folder), expected, &parameters);
        }
        [only] => compare(&parameters, &|stage| stage.name == Stage::named(only).name),
        _ => panic!("name one of the stages, or none"),
    }
}

/// What is told by environment variables.
pub struct Parameters {
    broker: String,
    events: usize,
    partitions: usize,
    repeat: usize,
    compression: String,
    properties: String,
    pace: usize,
    seconds: usize,
}

impl Parameters {
    fn of_environment(broker: String) -> Parameters {
        let text = |name: &str| std::env::var(format!("CAUDAL_BENCH_{name}")).ok();
        let number = |name: &str, default: usize| {
            let read = |text: String| text.replace('_', "").parse().unwrap_or_else(|_| panic!("{name}={text} is not a number"));
            text(name).map_or(default, read)
        };
        Parameters {
            broker,
            events: number("EVENTS", 2_000_000),
            partitions: number("PARTITIONS", 4),
            repeat: number("REPEAT", 3),
            compression: text("COMPRESSION").unwrap_or_else(|| "zstd".to_owned()),
            properties: text("PROPERTIES").unwrap_or_default(),
            pace: number("PACE", 10_000),
            seconds: number("SECONDS", 10),
        }
    }
}

/// Runs what is wanted, and reports.
fn compare(parameters: &Parameters, wanted: &dyn Fn(&Stage) -> bool) {
    let folder = Folder::new("bench").expect("the temporary folder can be written");
    let stages: Vec<&Stage> = STAGES.iter().filter(|stage| wanted(stage)).collect();
    if !stages.is_empty() {
        take_turns(&stages, folder.path(), parameters);
    }
    if wanted(&stage::LATENCY) {
        report::print_latency(parameters, &latency::compare(folder.path(), parameters));
    }
}

/// The topic is written once; then the stages read it, one after the other and again.
fn take_turns(stages: &[&Stage], folder: &Path, parameters: &Parameters) {
    let events = parameters.events;
    let topic = topic::Topic::create(parameters, "all");
    let (distinct, bytes) = topic.fill(parameters);
    caudal::write_job(folder, parameters, &topic.name);
    let Parameters { partitions, compression, .. } = parameters;
    println!(
        "{events} events of {bytes} bytes, {distinct} distinct, {partitions} partitions, {compression}, seed {}",
        topic::SEED
    );
    eprintln!("warming up");
    stage::run(&STAGES[0], folder, distinct);
    let (mut report, mut rows) = (Report::default(), None);
    for turn in 1..=parameters.repeat {
        for stage in stages {
            let outcome = stage::run(stage, folder, distinct);
            eprintln!("{turn} of {}  {:36}  {:>8.0} events/s", parameters.repeat, stage.words, outcome.per_second(events));
            same_rows(stage, &outcome, distinct, &mut rows);
            report.add(stage, outcome);
        }
    }
    report.print(events);
    if let Some((of, rows)) = rows {
        println!("every run counted {distinct} events in {} rows, those of: {of}", rows.len());
    }
}

/// Everything that was distinct is in the rows, and they are those of the first who made any.
fn same_rows(stage: &Stage, outcome: &Outcome, distinct: usize, first: &mut Option<(&'static str, stage::Rows)>) {
    if outcome.rows.is_empty() {
        return;
    }
    let counted: i64 = outcome.rows.iter().map(|(_, [count, ..])| count).sum();
    assert_eq!(counted, distinct as i64, "{}: events in rows", stage.words);
    let (of, rows) = first.get_or_insert_with(|| (stage.words, outcome.rows.clone()));
    let differing = outcome.rows.iter().zip(rows.iter()).find(|(one, other)| one != other);
    assert_eq!((differing, outcome.rows.len()), (None, rows.len()), "{} and {of}: rows", stage.words);
}
