//! `cargo xtask crash`: the trials of RELIABILITY.md, one row each, and the page made from what they found.
//!
//! A row is one or more tests that print their figures in lines, `figures {…}`. Their JSON is kept in
//! `reliability/<row>.json` with commit, date, seed and number of runs, whether it passed or not; the page is made from these
//! files alone, and a chart, `reliability/<row>.svg`, where the figures have a `series`.

use crate::chart::{self, Series};
use crate::shell;
use serde_json::{Map, Value as Json, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// One row of the page.
pub struct Row {
    /// Its name, as in `--row`.
    pub name: &'static str,
    /// What is tried.
    what: &'static str,
    /// What must come out.
    must_show: &'static str,
    /// Services that it needs, as `cargo xtask services --only` takes them.
    services: Option<&'static str>,
    /// What `cargo` is called with.
    arguments: &'static [&'static str],
    /// The tests of it, by parts of their names, which must all be there; none: it is a bench.
    tests: &'static [&'static str],
    /// Trials where none are asked for, or how much of what there is.
    runs: u64,
    /// What `runs` counts.
    unit: &'static str,
    /// Whether a seed decides what is tried.
    seeded: bool,
}

/// All rows, in the order of the page.
pub const ROWS: &[Row] = &[
    Row {
        name: "in-process",
        what: "an engine on a disk in memory dies in a change of that disk, which has happened, or not: each trial in one of the \
               steps listed below, crossed with 1 to 4 workers before, 1 to 4 after, and the newest checkpoint damaged \
               meanwhile or not; then in random changes or between two turns, again and again. Damaged files are \
               deleted, cut, flipped or replaced by a run that was written elsewhere. In half of the trials the ledger forgets \
               what its sink has written, which lags",
        must_show: "nothing lost, doubled or divergent: each (row, version), each epoch and each dead letter has one value in \
                    every life; the rows, verdicts and bytes at the end equal a batch recomputation and one replay of the \
                    whole log; a store that was written through all lives equals the recomputation",
        services: None,
        arguments: &["test", "--release", "-p", "caudal-pipeline", "--test", "recovery"],
        tests: &["a_run_cut"],
        runs: 1_000,
        unit: "trials",
        seeded: true,
    },
    Row {
        name: "process",
        what: "the whole process among a real Kafka, Redis and Cassandra, while late, repeated, conflicting and broken records \
               come in: kill -9 at random moments, in the middle of a start too, and a start on another number of workers; one \
               life in ten is stopped (SIGSTOP) for a minute while another process takes over, and then goes on (SIGCONT)",
        must_show: "at the end the stores equal what the bytes in the topic come to, recomputed with none of our code (which \
                    records came too late the dead letters tell, and each is checked); readers of Redis, Cassandra and \
                    /metrics, who look all the time, see no version and no count go back, one value a version, and received = \
                    accepted + filtered + duplicate + dead letters in every scrape; a process that comes back, and had the \
                    state, ends with exit code 3",
        services: Some("kafka,redis,cassandra"),
        arguments: &["test", "--release", "--workspace", "--test", "services"],
        tests: &["crash::process"],
        runs: 100,
        unit: "trials",
        seeded: true,
    },
    Row {
        name: "consistency",
        what: "the job bank among the same services, killed, stopped and taken over in the same way, while transfers come in; \
               then on a Redis that Sentinels watch, and on a cluster, whose primary is killed with writes that its replica \
               never saw",
        must_show: "credits and debits, read from the board in Redis in one MULTI all the time, are never unequal, on a \
                    primary that is killed and on the replica that takes its place neither; all that the row `process` must show",
        services: Some("kafka,redis,cassandra"),
        arguments: &["test", "--release", "--workspace", "--test", "services"],
        tests: &["consistency::credits_and_debits", "consistency::failover::"],
        runs: 30,
        unit: "trials",
        seeded: true,
    },
    Row {
        name: "change",
        what: "a job on a real Kafka, Redis and Cassandra, killed and stopped at random, gets a view and loses one; then it means \
               something else under the same names (`where`, an aggregate, a window's size) and is recomputed with --rebuild, \
               killed meanwhile and started again on other workers, once while Redis hangs; then again after the topic has \
               lost its beginning, or all that a partition had",
        must_show: "what both versions have goes on exactly, the new view has every window from its begin; a start that would \
                    break a promise ends with exit code 3 and tells each difference; after a rebuild the stores equal what the \
                    bytes in the topic come to by the new version, recomputed with none of our code: rows that no longer come \
                    out are `gone`, also those that only a store still knew, none is left over, those that come out the same \
                    keep their version, and of a truncated topic older rows stay as they were",
        services: Some("kafka,redis,cassandra"),
        arguments: &["test", "--release", "--workspace", "--test", "services"],
        tests: &["crash::change"],
        runs: 5,
        unit: "trials",
        seeded: true,
    },
    Row {
        name: "faults",
        what: "faults of the disk that the state lies on, of the wall clock, of Kafka and of the stores, one after another \
               while records come in; for as many minutes Cassandra is away at 80 % of what one worker sustains, and one \
               partition of three is away",
        must_show: "each fault is survived, or the process or that sink stops with a clear error and goes on exactly once the \
                    fault is over; in the end the stores equal what the bytes in the topic come to; what readers find in \
                    Redis is as fresh while Cassandra is away as before",
        services: Some("kafka,redis,cassandra"),
        arguments: &["test", "--release", "--workspace", "--test", "services"],
        tests: &[
            "faults::disk::",
            "faults::clock::",
            "faults::brokers::",
            "faults::stores::",
            "lost::a_fail_over_by_sentinels",
            "lost::a_cluster",
            "cut_off::a_table_that_may_not_be_modified",
        ],
        runs: 10,
        unit: "minutes away",
        seeded: true,
    },
    Row {
        name: "restart",
        what: "an engine with 1 and with 10 million keys, a checkpoint every 10 s, or sooner where the ledger fills its memory, \
               at 20 % and at 80 % of the speed at which the keys were loaded, is killed just before the next checkpoint and \
               started again, each in a process of its own on the same folder",
        must_show: "at 20 % load live again within 3 s with 1 million keys and 10 s with 10 million, no key missing or doubled; \
                    at most 1.3 times the memory of before; what a checkpoint writes for each changed row, and how far \
                    the slowest second falls behind; the same at 80 %, told and not judged",
        services: None,
        arguments: &["bench", "--workspace", "--bench", "restart"],
        tests: &[],
        runs: 35,
        unit: "seconds of steady load",
        seeded: false,
    },
    Row {
        name: "load",
        what: "a job that declares how many events come in a second, and how many groups, gets that many from Kafka, then \
               twice the events, then twice the groups as well",
        must_show: "at what is declared the process takes no more memory than `check` printed; at twice that it stops with \
                    exit code 3, names the limit and does not start again under it; under a higher one it goes on, and in \
                    the end every row is what was sent",
        services: Some("kafka"),
        arguments: &["test", "--release", "--workspace", "--test", "services"],
        tests: &["crash::limits"],
        runs: 1_000,
        unit: "events a second declared",
        seeded: false,
    },
    Row {
        name: "hour",
        what: "a constant load with late, repeated and broken records from Kafka into Redis and Cassandra",
        must_show: "of the time after the first quarter the second half needs no more memory, files, bytes and time for a \
                    checkpoint, and lags no more, than the first half and a margin",
        services: Some("kafka,redis,cassandra"),
        arguments: &["test", "--release", "--workspace", "--test", "services"],
        tests: &["crash::hour"],
        runs: 60,
        unit: "minutes",
        seeded: false,
    },
];

/// Figures that are kept, and not on the page.
const RAW: [&str; 2] = ["series", "raw"];

/// What the trials are run with.
pub struct Settings {
    /// Trials a row; each row has its own number otherwise.
    pub runs: Option<u64>,
    /// The seed of the first trial, the next one has the next.
    pub seed: u64,
    /// One row alone.
    pub row: Option<String>,
}

/// Runs the rows, keeps what they found, and makes the page anew. Whether all passed, or what is wrong with the call.
pub fn crash(settings: &Settings) -> Result<bool, String> {
    let wanted = |row: &&Row| settings.row.as_ref().is_none_or(|name| name == row.name);
    let rows: Vec<&Row> = ROWS.iter().filter(wanted).collect();
    if rows.is_empty() {
        let names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        return Err(format!("there is no such row; these are: {}", names.join(", ")));
    }
    let root = root();
    let folder = root.join("reliability");
    std::fs::create_dir_all(&folder).map_err(|cause| format!("cannot make {}: {cause}", folder.display()))?;
    let mut all_passed = true;
    for row in rows {
        let found = run(row, settings)?;
        all_passed &= found["passed"] == true;
        let path = folder.join(format!("{}.json", row.name));
        let text = serde_json::to_string_pretty(&found).expect("figures are plain data");
        write(&path, &(text + "\n"))?;
        if let Some(chart) = chart(&found["figures"]["series"]) {
            write(&folder.join(format!("{}.svg", row.name)), &chart)?;
        }
    }
    write(&root.join("RELIABILITY.md"), &page(kept))?;
    Ok(all_passed)
}

/// What was found when the row was last run.
fn kept(row: &Row) -> Option<Json> {
    let text = std::fs::read_to_string(root().join("reliability").join(format!("{}.json", row.name))).ok()?;
    serde_json::from_str(&text).ok()
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|cause| format!("cannot write {}: {cause}", path.display()))
}

fn root() -> PathBuf {
    // Of this run: checkouts that share a target folder share this program too.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo says where the crate lies");
    Path::new(&here).parent().expect("xtask lies in the workspace").to_owned()
}

fn run(row: &Row, settings: &Settings) -> Result<Json, String> {
    let runs = settings.runs.unwrap_or(row.runs);
    eprintln!("{}: {runs} {}{}", row.name, row.unit, from_seed(row, &settings.seed.into()));
    // What is tried is what is here now, whatever is committed while it runs.
    let commit = said("git", &["rev-parse", "--short=12", "HEAD"]);
    let beside = [":!reliability", ":!RELIABILITY.md"];
    let status = [&["status", "--porcelain", "--untracked-files=no", "--", "."], &beside[..]].concat();
    let changed = said("git", &status).lines().count();
    let mut command = shell::command(env!("CARGO"));
    if let Some(services) = row.services {
        command.args(["xtask", "services", "--only", services, "--", env!("CARGO")]);
    }
    command.args(row.arguments);
    if !row.tests.is_empty() {
        // One after another: times are measured.
        command.arg("--").args(row.tests).args(["--nocapture", "--test-threads=1"]);
    }
    command.env("CAUDAL_TRIALS", runs.to_string()).env("CAUDAL_SEED", settings.seed.to_string());
    let output = command.stderr(Stdio::inherit()).output().map_err(|cause| format!("cannot run cargo: {cause}"))?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let missing: Vec<&str> = row.tests.iter().filter(|name| !has_run(&printed, name)).copied().collect();
    if !missing.is_empty() {
        eprintln!("{}: there is no test that is called {}", row.name, missing.join(", "));
    }
    let figures = figures(&printed).filter(|_| missing.is_empty());
    if !output.status.success() || figures.is_none() {
        eprintln!("{printed}");
    }
    Ok(json!({
        "row": row.name,
        "passed": output.status.success() && figures.is_some(),
        "runs": runs,
        "unit": row.unit,
        "seed": settings.seed,
        "commit": commit,
        "changed_since": changed,
        "date": said("date", &["-u", "+%Y-%m-%d"]),
        "figures": figures.unwrap_or(Json::Null),
    }))
}

/// Whether a test whose name has this in it was begun.
fn has_run(printed: &str, name: &str) -> bool {
    let mut begun = printed.lines().filter_map(|line| line.strip_prefix("test "));
    begun.any(|line| line.contains(name) && !line.contains("... ignored"))
}

/// What the tests of a row have found, in all their lines; the harness may have begun one with a test's name.
fn figures(printed: &str) -> Option<Json> {
    let of = |line: &str| serde_json::from_str::<Map<String, Json>>(line.split_once("figures ")?.1).ok();
    let all: Map<String, Json> = printed.lines().filter_map(of).flatten().collect();
    (!all.is_empty()).then_some(Json::Object(all))
}

/// The chart of a series, whose rows are numbers with spaces between: the first column is the time, named after its unit.
fn chart(series: &Json) -> Option<String> {
    let columns = series["columns"].as_array()?;
    let numbers = |at: usize| -> Vec<f64> {
        let rows = series["rows"].as_array().into_iter().flatten();
        rows.filter_map(|row| row.as_str()?.split(' ').nth(at)?.parse().ok()).collect()
    };
    let name = |at: usize| columns[at].as_str().unwrap_or_default();
    let all: Vec<Series<'_>> = (1..columns.len()).map(|at| Series { name: name(at), values: numbers(at) }).collect();
    Some(chart::svg(name(0), &numbers(0), &all))
}

/// What a row draws at random from, as a part of a sentence.
fn from_seed(row: &Row, seed: &Json) -> String {
    if row.seeded { format!(" from seed {seed}") } else { String::new() }
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(root()).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

/// The page, from what `found` has of each row.
fn page(found: impl Fn(&Row) -> Option<Json>) -> String {
    let mut page = "\
# Reliability

What was tried, and what came out. Made by `cargo xtask crash` from the files in `reliability/`; a row is repeated with
`cargo xtask crash --row NAME --runs N`, one that tells a seed with `--seed S` too.
"
    .to_owned();
    for row in ROWS {
        let _ = write!(page, "\n## {}\n\n{}.\n\nMust show: {}.\n\n", row.name, row.what, row.must_show);
        match found(row) {
            None => page.push_str("Not run yet.\n"),
            Some(found) => page.push_str(&outcome(row, &found)),
        }
    }
    page
}

fn outcome(row: &Row, found: &Json) -> String {
    let word = if found["passed"] == true { "Passed" } else { "**Failed**" };
    let (runs, seed, date) = (&found["runs"], from_seed(row, &found["seed"]), found["date"].as_str().unwrap_or_default());
    let unit = found["unit"].as_str().unwrap_or("trials");
    let dirty = if found["changed_since"] == 0 { "" } else { ", with changes that were not committed" };
    let commit = found["commit"].as_str().unwrap_or_default();
    let mut text = format!("{word}: {runs} {unit}{seed}, {date}, commit {commit}{dirty}.\n");
    if let Json::Object(figures) = &found["figures"] {
        if figures.contains_key("series") {
            let _ = write!(text, "\n![{0}](reliability/{0}.svg)\n", row.name);
        }
        let (faults, others): (Vec<_>, Vec<_>) = figures
            .iter()
            .filter(|(name, _)| !RAW.contains(&name.as_str()))
            .partition(|(_, figure)| figure["outcome"].is_string());
        if !faults.is_empty() {
            text.push_str("\n| fault | outcome | ms to recover | besides |\n|---|---|--:|---|\n");
            faults.iter().for_each(|(name, figures)| fault(name, figures, &mut text));
        }
        if !others.is_empty() {
            text.push_str("\n| figure | |\n|---|--:|\n");
            others.iter().for_each(|(name, figure)| line(name, figure, &mut text));
        }
    }
    text
}

/// A line of the table of faults.
fn fault(name: &str, figures: &Json, text: &mut String) {
    let known = ["outcome", "ms to recover"];
    let besides = figures.as_object().into_iter().flatten().filter(|(name, _)| !known.contains(&name.as_str()));
    let besides = besides.map(|(name, figure)| format!("{name}: {}", shown(figure))).collect::<Vec<_>>().join("; ");
    let [outcome, recovered] = known.map(|name| shown(&figures[name]));
    let _ = writeln!(text, "| {name} | {outcome} | {recovered} | {besides} |");
}

fn line(name: &str, figure: &Json, text: &mut String) {
    match figure {
        Json::Object(inner) => inner.iter().for_each(|(of, figure)| line(&format!("{name}: {of}"), figure, text)),
        figure => drop(writeln!(text, "| {name} | {} |", shown(figure))),
    }
}

/// A figure in a cell of a table.
fn shown(figure: &Json) -> String {
    let inner = |inner: &Map<String, Json>| {
        inner.iter().map(|(name, figure)| format!("{name} {}", shown(figure))).collect::<Vec<_>>().join(", ")
    };
    match figure {
        Json::Null => String::new(),
        Json::Object(figures) => inner(figures),
        Json::String(text) => text.replace('|', "\\|"),
        figure => figure.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_what_passed_what_failed_and_what_was_not_run() {
        let found = json!({"passed": true, "runs": 3, "seed": 7, "commit": "abc", "changed_since": 0, "date": "2026-01-02",
                           "figures": {"cuts": 5, "crashes": {"bind, after": 2}}});
        let with = |found: Json| page(|row| row.seeded.then(|| found.clone()));
        assert!(with(found.clone()).contains("Passed: 3 trials from seed 7, 2026-01-02, commit abc.\n"));
        assert!(with(found.clone()).contains("| cuts | 5 |\n") && with(found).contains("| crashes: bind, after | 2 |\n"));
        let failed =
            json!({"passed": false, "runs": 1, "seed": 1, "commit": "abc", "changed_since": 2, "date": "", "figures": null});
        assert!(with(failed).contains("**Failed**: 1 trials from seed 1, , commit abc, with changes that were not committed."));
        assert!(page(|_| None).contains("Not run yet."));
    }

    /// `UPDATE_EXPECTED=1` makes it anew, as running a row does.
    #[test]
    fn the_page_is_the_one_that_is_made_of_what_was_found() {
        let path = root().join("RELIABILITY.md");
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            write(&path, &page(kept)).unwrap();
        }
        assert!(std::fs::read_to_string(&path).unwrap() == page(kept), "RELIABILITY.md differs: set UPDATE_EXPECTED=1");
    }

    #[test]
    fn figures_of_several_tests_are_put_together() {
        let printed = "test a ... figures {\"a\":1}\nof no figures at all\nfigures {\"b\":{\"c\":2}}\n";
        assert_eq!(figures(printed), Some(json!({"a": 1, "b": {"c": 2}})));
        assert_eq!(figures("nothing"), None);
    }

    #[test]
    fn a_test_that_is_no_longer_there_is_noticed() {
        let printed = "running 1 test\ntest crash::faults::kafka::broker ... figures {}\nok\nnot crash::change\ntest crash::change ... ignored\n";
        assert!(has_run(printed, "crash::faults") && !has_run(printed, "crash::change"));
    }

    #[test]
    fn faults_have_a_table_of_their_own_and_a_series_its_chart() {
        let series = json!({"columns": ["minutes", "MB"], "rows": ["0 1", "1 2"]});
        let figures = json!({"raw": [1, 2], "full": {"outcome": "a | b", "ms to recover": 5, "p": {"p50 ms": 1}}, "rows": 3, "series": series});
        let found = json!({"passed": true, "runs": 2, "unit": "minutes", "figures": figures, "changed_since": 0});
        let page = page(|row| (row.name == "faults").then(|| found.clone()));
        assert!(page.contains("Passed: 2 minutes from seed null, ,"), "{page}");
        assert!(page.contains("| full | a \\| b | 5 | p: p50 ms 1 |\n") && page.contains("| rows | 3 |\n"), "{page}");
        assert!(
            page.contains("![faults](reliability/faults.svg)") && !page.contains("columns") && !page.contains("raw"),
            "{page}"
        );
        assert!(chart(&series).is_some_and(|svg| svg.contains(">minutes<") && svg.contains(">MB<")));
    }
}
