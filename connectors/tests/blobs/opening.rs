//! The ways people begin wrongly with a bucket.

use super::flaky::{Fate, Flaky};
use super::{address, objects, place};
use caudal_connectors::object_storage::config::Config;
use caudal_connectors::object_storage::{ObjectStorageError, StateBucket};
use caudal_pipeline::ports::blobs::Blobs;
use xtask::services::object_storage::variables;

fn refusal(config: &Config, job: &str) -> ObjectStorageError {
    StateBucket::open(config, job).map(|_| ()).unwrap_err()
}

#[test]
fn a_prefix_belongs_to_one_job_and_is_opened_again_and_again() {
    let config = place(&address(), "owner");
    let state = StateBucket::open(&config, "wind").unwrap();
    state.blobs().create("log/1", b"bound").unwrap();
    let again = StateBucket::open(&config, "wind").unwrap();
    assert_eq!(again.blobs().read("log/1").unwrap(), b"bound");
    let error = refusal(&config, "bank");
    assert!(error.to_string().contains("belongs to the job `wind`, not to `bank`") && !error.restart_may_help(), "{error}");
    assert!(error.to_string().contains(&config.to_string()), "{error}");
}

#[test]
fn a_prefix_with_other_objects_is_refused_and_left_as_it_is() {
    let address = address();
    let others = objects(&address, "foreign");
    others.create("photos/1", b"").unwrap();
    let error = refusal(&place(&address, "foreign"), "wind");
    assert!(error.to_string().contains("`photos/1`"), "{error}");
    assert_eq!(others.list("").unwrap(), ["photos/1"]);
}

#[test]
fn what_is_missing_or_denied_is_said() {
    let address = address();
    let with = |name: &str, value: &str| {
        let changed = variables(&address).map(|(n, v)| (n.to_owned(), if n == name { value.to_owned() } else { v }));
        Config::parse("s3://caudal-tests/denied", changed).unwrap()
    };
    let nowhere = Config::parse("s3://no-such-bucket/a", variables(&address).map(|(n, v)| (n.to_owned(), v))).unwrap();
    for (config, said) in [
        (nowhere, "there is no bucket no-such-bucket"),
        (with("AWS_SECRET_ACCESS_KEY", "wrong"), "AWS_SECRET_ACCESS_KEY must be allowed"),
        (with("AWS_ALLOW_HTTP", "false"), "AWS_ALLOW_HTTP=true"),
    ] {
        let error = refusal(&config, "wind");
        assert!(error.to_string().contains(said) && !error.restart_may_help(), "{error}");
    }
}

/// Then two processes could each believe that a slot of the log is theirs.
#[test]
fn storage_that_overwrites_is_refused() {
    let flaky = Flaky::to(&address());
    // Look, put, list, look; and then the put that must be refused.
    flaky.plan([Fate::Passed, Fate::Passed, Fate::Passed, Fate::Passed, Fate::Answered(200)]);
    let error = refusal(&place(&flaky.address, "overwrites"), "wind");
    assert!(matches!(error, ObjectStorageError::NotConditional { .. }), "{error}");
    flaky.assert_all_happened();
}
