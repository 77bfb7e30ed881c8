//! Measured series (Numenta Anomaly Benchmark) through the file source into hours and days, beside plain loops.
//!
//! Twenty series of machines, streets and advertisements as CSV: times without a zone, gaps, repeated times, values of
//! up to seventeen digits. The recomputation below shares nothing with the engine, not even how a number is read.
//! Without `shared/data/nab` beside the repository the tests print that they were skipped.

use caudal_connectors::embedded::read::Store;
use caudal_jobs::load;
use caudal_jobs::run::{self, STORE_FILE, Settings, Shared};
use caudal_pipeline::record::Verdict;
use caudal_pipeline::value::decimal_text;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Digits after the point that the job keeps of a value.
const SCALE: u32 = 9;
/// A mean has three more.
const MEAN_SCALE: u32 = 12;
/// Seconds of the two windows.
const WINDOWS: [(&str, i64); 2] = [("hourly", 3_600), ("daily", 86_400)];

/// The folder of measured series, in any folder above this one.
fn data() -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = here.ancestors().map(|folder| folder.join("shared/data/nab/data")).find(|folder| folder.is_dir());
    if found.is_none() {
        println!("skipped: there is no shared/data/nab/data in any folder above {}", here.display());
    }
    found
}

fn series(data: &Path, folders: &[&str]) -> Vec<PathBuf> {
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(data.join(folder)).unwrap());
    let mut files: Vec<PathBuf> =
        files.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "csv")).collect();
    files.sort();
    assert!(!files.is_empty(), "{folders:?} hold series");
    files
}

/// A job that reads the files to their ends, each a partition of one stream.
fn run_job(test: &str, files: &[PathBuf], lateness: &str) -> (Store, BTreeMap<Verdict, u64>) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("nab-{test}"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let figures = json!({"mean": "mean(value)", "low": "min(value)", "high": "max(value)", "readings": "count()"});
    let on_complete = json!({"rows": "on_complete"});
    let job = json!({
        "caudal": 1,
        "name": "nab",
        "streams": {"measured": {
            "from": {"file": files},
            "format": "csv",
            "event_time": {"at": "/timestamp", "format": {"pattern": "%Y-%m-%d %H:%M:%S"}},
            "lateness": lateness,
            "fields": {
                "series": {"at": "$topic", "type": "text"},
                "value": {"at": "/value", "type": format!("decimal({SCALE})")},
            },
        }},
        "views": {
            "hourly": {"from": "measured", "window": {"tumbling": "1h"}, "group_by": ["series"], "select": figures},
            "daily": {"from": "hourly", "window": {"tumbling": "1d"}, "group_by": ["series"], "select": "rollup"},
        },
        // A row is there only if the end of the input has completed it.
        "sinks": {"store": {"embedded": {}, "keep": {"views": {"hourly": on_complete, "daily": on_complete}, "dead_letters": "all"}}},
    });
    let file = folder.join("job.yaml");
    std::fs::write(&file, job.to_string()).unwrap();
    let job = load::job(&file, &[]).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let state = folder.join("state");
    let settings = Settings { workers: 2, until_end: true, close: true, ..Settings::in_folder(state.clone()) };
    let shared = Shared::new(Arc::new(job.plan.clone()), state.clone());
    run::job(&job, &settings, &shared, Vec::new()).unwrap_or_else(|error| panic!("{error}"));
    let counts = shared.published().status.counts.iter().map(|((_, verdict), (records, _))| (*verdict, *records)).collect();
    (Store::open(&state.join(STORE_FILE)).unwrap(), counts)
}

/// Values by window name, series and window start in seconds.
type Windows = BTreeMap<(&'static str, String, i64), Vec<i128>>;

/// Every reading of the files in its hour and its day, and how many there are.
fn windows(files: &[PathBuf]) -> (Windows, u64) {
    let (mut windows, mut readings) = (Windows::new(), 0);
    for file in files {
        let text = std::fs::read_to_string(file).unwrap();
        for line in text.lines().skip(1) {
            let (time, value) = line.split_once(',').expect("a time and a value");
            let seconds = seconds(time);
            readings += 1;
            for (name, size) in WINDOWS {
                let start = seconds.div_euclid(size) * size;
                windows.entry((name, file.display().to_string(), start)).or_default().push(scaled(value));
            }
        }
    }
    (windows, readings)
}

/// `2014-02-14 14:30:00` in UTC as seconds since 1970, by counting days.
fn seconds(time: &str) -> i64 {
    let part = |range: std::ops::Range<usize>| time[range].parse::<i64>().unwrap();
    let (year, month, day) = (part(0..4), part(5..7), part(8..10));
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let years: i64 = (1970..year).map(|year| 365 + i64::from(is_leap(year))).sum();
    let lengths = [31, 28 + i64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let months: i64 = lengths[..month as usize - 1].iter().sum();
    (((years + months + day - 1) * 24 + part(11..13)) * 60 + part(14..16)) * 60 + part(17..19)
}

/// The number of a text in units of 10^-SCALE, half to even.
fn scaled(text: &str) -> i128 {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all: i128 = format!("{whole}{fraction}").parse().unwrap();
    let places = fraction.len() as u32;
    sign * if places <= SCALE { all * 10_i128.pow(SCALE - places) } else { divided(all, 10_i128.pow(places - SCALE)) }
}

/// The nearest whole number to `a / b`, half to even; `b` is positive.
fn divided(a: i128, b: i128) -> i128 {
    let (floor, rest) = (a.div_euclid(b), a.rem_euclid(b));
    match (2 * rest).cmp(&b) {
        std::cmp::Ordering::Less => floor,
        std::cmp::Ordering::Greater => floor + 1,
        std::cmp::Ordering::Equal => floor + floor.rem_euclid(2),
    }
}

/// What the store must show of a window, by column.
fn row(values: &[i128]) -> [(&'static str, String); 5] {
    let text = |value: i128, scale: u32| decimal_text(value, scale as u8);
    let sum: i128 = values.iter().sum();
    let mean = divided(sum * 10_i128.pow(MEAN_SCALE - SCALE), values.len() as i128);
    [
        ("mean", text(mean, MEAN_SCALE)),
        ("low", text(*values.iter().min().expect("a window holds a value"), SCALE)),
        ("high", text(*values.iter().max().expect("a window holds a value"), SCALE)),
        ("readings", values.len().to_string()),
        ("state", "complete".to_owned()),
    ]
}

/// The store holds exactly the windows of the files.
fn assert_windows(store: &Store, expected: &Windows) {
    for (name, size) in WINDOWS {
        let rows = store.all_rows(name).unwrap();
        assert_eq!(rows.len(), expected.keys().filter(|key| key.0 == name).count(), "{name}: rows");
        for row_found in rows {
            let text = |column: &str| match &row_found[column] {
                Json::String(text) => text.clone(),
                other => other.to_string(),
            };
            let start = text("window_start").parse::<jiff::Timestamp>().unwrap().as_second();
            assert_eq!(text("window_end").parse::<jiff::Timestamp>().unwrap().as_second(), start + size);
            let key = (name, text("series"), start);
            let values = expected.get(&key).unwrap_or_else(|| panic!("{key:?} is a window of no reading"));
            for (column, value) in row(values) {
                assert_eq!(text(column), value, "{key:?} {column}");
            }
        }
    }
}

#[test]
fn all_measured_series_in_one_stream() {
    let Some(data) = data() else { return };
    let files = series(&data, &["realAWSCloudwatch", "realAdExchange", "realKnownCause", "realTraffic"]);
    // Years lie between the series: none is late beside the others.
    let (store, counts) = run_job("all", &files, "10y");
    let (expected, readings) = windows(&files);
    assert_eq!(counts, BTreeMap::from([(Verdict::Accepted, readings)]));
    assert!(readings > 70_000 && expected.len() > 5_000, "{readings} readings in {} windows", expected.len());
    assert_windows(&store, &expected);
}

#[test]
fn a_single_series_whose_windows_become_final_on_the_way() {
    let Some(data) = data() else { return };
    let files = [data.join("realKnownCause/ambient_temperature_system_failure.csv")];
    let (store, counts) = run_job("single", &files, "1h");
    let (expected, readings) = windows(&files);
    assert_eq!(counts, BTreeMap::from([(Verdict::Accepted, readings)]));
    assert_windows(&store, &expected);
}

#[test]
fn the_recomputation_itself() {
    assert_eq!(seconds("2014-02-14 14:30:00"), 1_392_388_200);
    assert_eq!(seconds("2012-03-01 00:00:01"), 1_330_560_001);
    for (text, value) in
        [("51.846000000000004", 51_846_000_000), ("-0.0000000005", 0), ("0.0000000015", 2), ("20", 20_000_000_000)]
    {
        assert_eq!(scaled(text), value, "{text}");
    }
}
