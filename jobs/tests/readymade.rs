//! The ready-made jobs: each is read without a mistake and fits its limits, in its folder and with nothing set in the
//! environment.

use caudal_connectors::generate::{Generator, Profile};
use caudal_jobs::cases;
use caudal_jobs::inspect::memory;
use caudal_jobs::jobfile::{Job, Surroundings, read, yaml};
use caudal_pipeline::decode::{Context, Tables};
use caudal_pipeline::plan::StreamInput;
use caudal_pipeline::record::{Message, Offset, Partition, PartitionIndex};
use caudal_pipeline::time::Version;
use std::path::{Path, PathBuf};

const JOBS: [&str; 3] = ["event-pipeline", "wind-farm", "bank"];

fn folder(job: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(job)
}

fn job(name: &str) -> Job {
    let around = Surroundings {
        variable: &|_| None,
        file: &|path| std::fs::read_to_string(path).map_err(|e| e.to_string()),
        overrides: Vec::new(),
        fits: &|job| memory::fits(job, memory::Running::default()),
    };
    let file = folder(name).join("job.yaml").display().to_string();
    read(&file, &around).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn profile(name: &str) -> Profile {
    let file = folder(name).join("profile.yaml").display().to_string();
    let text = std::fs::read_to_string(&file).unwrap();
    let mut errors = Vec::new();
    let node = yaml::parse(&file, &text, &mut errors);
    assert!(errors.is_empty(), "{errors:?}");
    Profile::parse(&node.unwrap().to_json()).unwrap_or_else(|mistakes| panic!("{file}: {mistakes:#?}"))
}

#[test]
fn every_job_is_read_without_a_mistake() {
    for name in JOBS {
        let job = job(name);
        assert_eq!(job.plan.name, name);
        assert!(job.sinks.len() >= 2, "{name} keeps its results in two stores at least");
    }
}

/// What the generator calls right is right for the job, and what it calls wrong is refused.
#[test]
fn every_profile_sends_what_its_job_expects() {
    for name in JOBS {
        let job = job(name);
        let StreamInput::Source(decoder) = &job.plan.streams[0].from else { panic!("{name}: the first stream has a source") };
        let rows = job.plan.tables.iter().zip(&job.tables).map(|(plan, source)| {
            caudal_jobs::jobfile::tables::rows(&std::fs::read_to_string(&source.path).unwrap(), source, plan).unwrap()
        });
        let tables = Tables::new(&job.plan.tables, &rows.collect::<Vec<_>>()).unwrap();
        let generator = Generator::new(profile(name), 1_774_000_000_000_000);
        let partition = Partition { topic: generator.profile().name.as_str().into(), number: 0 };
        let context = Context { index: PartitionIndex(0), partition: &partition, opened: Version(0), tables: &tables };
        let (mut right, mut wrong) = (0, 0);
        for event in generator.events().take(4_000) {
            let (offset, key, payload) = (Offset(event.index), Some(event.key), Some(event.body));
            let message = Message { offset, key, payload, ..Message::default() };
            let mut out = Vec::new();
            decoder.decode(&message, &context, &mut out);
            let refused = out.iter().filter(|outcome| outcome.is_err()).count();
            if event.class.name() == "malformed" {
                // Of an exploded message all elements are refused, or none.
                assert_eq!(
                    refused,
                    out.len(),
                    "{name}: {:?} {:?}",
                    event.class,
                    String::from_utf8_lossy(&message.payload.unwrap())
                );
                wrong += 1;
            } else {
                assert_eq!(refused, 0, "{name}: {out:?} of {:?}", String::from_utf8_lossy(&message.payload.unwrap()));
                right += 1;
            }
        }
        assert!(right > 3_000 && wrong > 50, "{name}: {right} right, {wrong} wrong");
    }
}

#[test]
fn all_cases_of_all_jobs_pass() {
    for name in JOBS {
        let report = cases::run(&job(name), &folder(name), None).unwrap_or_else(|error| panic!("{error}"));
        assert!(report.all_passed(), "\n{report}");
        assert!(report.outcomes.len() >= 10, "{name} has lost its cases");
    }
}
