//! Which store holds a job's dead letters: the embedded one below the state folder; or else, said with a command that
//! reads them there, another of the job's sinks.

use super::error::InspectError;
use crate::jobfile::resolved::masked;
use crate::jobfile::{Job, SinkSpec, StoreSpec};
use crate::load;
use crate::run::{Place, STORE_FILE};
use caudal_connectors::cassandra;
use caudal_connectors::embedded::read::Store;
use caudal_connectors::kafka::config::Published;
use std::path::{Path, PathBuf};

/// Where dead letters are kept.
#[derive(Clone, Debug, clap::Args)]
pub struct StoreArgs {
    /// Where state is kept, as for `run`.
    #[arg(long, env = "CAUDAL_STATE", default_value = ".caudal")]
    pub state: Place,
    /// The job, by its name or by its file; may be left out if the state is that of one job.
    #[arg(long, value_name = "JOB")]
    pub job: Option<String>,
    /// The embedded store's file itself, wherever it is.
    #[arg(long, value_name = "FILE", conflicts_with = "job")]
    pub store: Option<PathBuf>,
}

/// Opens the embedded store, or says where dead letters are instead.
pub fn open(args: &StoreArgs) -> Result<Store, InspectError> {
    if let Some(file) = &args.store {
        return Ok(Store::open(file)?);
    }
    let job = args.job.as_deref().filter(|job| is_file(job)).map(|file| load::job(Path::new(file), &[])).transpose()?;
    let Some(state) = args.state.folder() else {
        let said = job.map_or_else(|| not_in_objects(&args.state), |job| elsewhere(&job, &args.state.of_job(&job.plan.name)));
        return Err(InspectError::Usage(said));
    };
    let name = match (&job, &args.job) {
        (Some(job), _) => job.plan.name.clone(),
        (None, Some(name)) => name.clone(),
        (None, None) => only_job(state)?,
    };
    let file = state.join(&name).join(STORE_FILE);
    match (file.exists(), job) {
        (true, _) => Ok(Store::open(&file)?),
        (false, Some(job)) => Err(InspectError::Usage(elsewhere(&job, &file.into()))),
        (false, None) => Err(InspectError::Usage(missing(state, &name, &file))),
    }
}

/// A job's name has neither slash nor dot; a folder of that name without a job in it is somebody else's.
fn is_file(job: &str) -> bool {
    let path = Path::new(job);
    path.is_file() || path.join("job.yaml").is_file() || job.contains(['/', '.'])
}

/// Folders of jobs below `state`, by name.
fn jobs(state: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(state).into_iter().flatten().flatten();
    let is_job = |path: &Path| path.join("JOB").is_file() || path.join(STORE_FILE).is_file();
    let names = entries.filter(|entry| is_job(&entry.path())).map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn only_job(state: &Path) -> Result<String, InspectError> {
    let mut found = jobs(state);
    let place = state.display();
    match found.len() {
        1 => Ok(found.remove(0)),
        0 if state.join("JOB").is_file() => Err(InspectError::Usage(format!(
            "{place} is the state of one job: name the folder that it lies in with --state, as for `caudal run`, and the job with --job"
        ))),
        0 => Err(InspectError::Usage(format!(
            "there is no job's state in {place}: name the folder with --state or CAUDAL_STATE, as for `caudal run`, or the \
             embedded store's file with --store"
        ))),
        _ => {
            Err(InspectError::Usage(format!("{place} is the state of several jobs, {}: choose one with --job", found.join(", "))))
        }
    }
}

fn missing(state: &Path, name: &str, file: &Path) -> String {
    let found = jobs(state);
    if found.iter().any(|job| job == name) {
        return format!(
            "{name} has no embedded store: there is no {}. Name the job by its file, as in `--job jobs/{name}`, to be told which \
             of its sinks keeps dead letters and how to read them there",
            file.display()
        );
    }
    let known = if found.is_empty() { String::new() } else { format!("; there is that of {}", found.join(", ")) };
    format!("there is no state of a job {name} in {}{known}", state.display())
}

fn not_in_objects(state: &Place) -> String {
    format!(
        "{state} is object storage, where no embedded store is: name the job by its file, as in `--job jobs/wind-farm`, to be told \
         which of its sinks keeps dead letters and how to read them there"
    )
}

/// What to do instead, for each sink that keeps them. `place` is where they were looked for.
fn elsewhere(job: &Job, place: &Place) -> String {
    let name = &job.plan.name;
    let told: Vec<String> = job.sinks.iter().filter(|sink| sink.dead_letters).map(|sink| told(job, sink)).collect();
    if told.is_empty() {
        return format!("no sink of {name} keeps dead letters: give one of them `keep: {{views: all, dead_letters: all}}`");
    }
    format!("the dead letters of {name} are not in {place}:\n{}", masked(&told.join("\n"), job))
}

fn told(job: &Job, sink: &SinkSpec) -> String {
    let name = &sink.name;
    match &sink.store {
        StoreSpec::Embedded => format!("  sink {name} keeps them there once the job has run: is this its state folder?"),
        StoreSpec::Cassandra(config) => {
            let table = cassandra::dead_letters_table(&config.keyspace, &job.plan.name);
            format!("  sink {name} keeps them in Cassandra, table {table}:\n    {}", cqlsh(job, config, &table))
        }
        StoreSpec::Kafka(config) => {
            let published = config.publish.iter().find(|publication| publication.what == Published::DeadLetters);
            let topic = published.map_or("", |publication| &publication.topic);
            let brokers = config.properties.get("bootstrap.servers").map_or("", String::as_str);
            // A login is in further properties, which are not for a command line.
            let login = if config.properties.len() > 1 { " --consumer.config FILE" } else { "" };
            format!(
                "  sink {name} publishes them to Kafka, topic {topic}:\n    kafka-console-consumer.sh --bootstrap-server {brokers}{login} \
                 --topic {topic} --from-beginning --property print.headers=true"
            )
        }
        StoreSpec::File(config) => {
            let (command, ending) = if config.gzip { ("zcat", ".gz") } else { ("cat", "") };
            format!("  sink {name} writes them to a file:\n    {command} {}/dead_letters.ndjson{ending}", config.folder)
        }
        StoreSpec::Redis(_) => format!("  sink {name} is Redis, which keeps none"),
    }
}

fn cqlsh(job: &Job, config: &cassandra::config::Config, table: &str) -> String {
    let address = config.contact_points.first().map_or("localhost", String::as_str).replace(':', " ");
    let user = config.credentials.as_ref().map(|(user, _)| format!(" -u '{user}'")).unwrap_or_default();
    let tls = if config.tls.is_some() { " --ssl" } else { "" };
    let today = &jiff::Timestamp::now().to_string()[..10];
    let streams: Vec<String> = job.plan.streams.iter().map(|stream| format!("'{}'", stream.name)).collect();
    format!(
        "cqlsh {address}{user}{tls} -e \"SELECT topic, partition, message_offset, reason, paths, messages FROM {table} WHERE day = \
         '{today}' AND stream IN ({}) LIMIT 20\"",
        streams.join(", ")
    )
}
