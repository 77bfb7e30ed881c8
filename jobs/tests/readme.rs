//! The job in the README is one that caudal takes, word for word.

use caudal_jobs::load;
use std::path::{Path, PathBuf};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the repository").to_owned()
}

/// The example had a field whose type nobody could know: the first thing that a reader copied was refused.
#[test]
fn the_job_of_the_readme_is_read_without_a_mistake() {
    let text = std::fs::read_to_string(repository().join("README.md")).unwrap();
    let (_, after) = text.split_once("```yaml\n").expect("the README shows a job");
    let (job, after) = after.split_once("```").expect("the block ends");
    assert!(!after.contains("```yaml"), "one job: another would not be read here");

    let folder = std::env::temp_dir().join(format!("caudal-readme-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(folder.join("schemas")).unwrap();
    // The schema that it names is that of the job which it shortens.
    let schema = repository().join("jobs/wind-farm/schemas/reading.json");
    std::fs::copy(schema, folder.join("schemas/reading.json")).unwrap();
    std::fs::write(folder.join("job.yaml"), job).unwrap();
    let job = load::job(&folder, &[]).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!((job.plan.name.as_str(), job.plan.views.len(), job.sinks.len()), ("wind-farm", 2, 1));
    std::fs::remove_dir_all(folder).unwrap();
}
