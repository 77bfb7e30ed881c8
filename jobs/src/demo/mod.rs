//! `caudal demo`: a ready-made job on generated, faulty input and the embedded store; nothing else is needed.
//!
//! Sources are replaced by the job's generator profile, sinks by the embedded store and a printer of complete rows.
//! Every few seconds, and at the end, the store is compared with a recomputation of everything from nothing.

mod printer;
mod proof;

use crate::jobfile::{GenerateSpec, Job, KeptView, Mistakes, SinkSpec, SourceSpec, StoreSpec, yaml};
use crate::run::{self, Settings, Shared, Stop};
use crate::{live, load};
use caudal_pipeline::plan::WindowPlan;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time between two proofs.
const PROOF_EVERY: Duration = Duration::from_secs(10);
/// The first proof comes as soon as there is something to show.
const FIRST_PROOF: Duration = Duration::from_secs(5);
/// A proof costs as much as all messages so far; beyond this many only the last one is made.
const PROOF_RECORDS_MAX: u64 = 2_000_000;
/// How often the screen is looked after.
const LOOK: Duration = Duration::from_millis(50);

/// The job that runs when none is named, as files of a folder.
const WIND_FARM: [(&str, &str); 4] = [
    ("job.yaml", include_str!("../../wind-farm/job.yaml")),
    ("profile.yaml", include_str!("../../wind-farm/profile.yaml")),
    ("generators.csv", include_str!("../../wind-farm/generators.csv")),
    ("schemas/reading.json", include_str!("../../wind-farm/schemas/reading.json")),
];

/// What a demonstration is asked for.
#[derive(Clone, Debug, clap::Args)]
pub struct DemoArgs {
    /// A job's folder with `job.yaml` and `profile.yaml`; the wind farm if none is named.
    pub job: Option<PathBuf>,
    /// The folder in which everything is kept; a second start goes on there.
    #[arg(long, default_value = "caudal-demo")]
    pub folder: PathBuf,
    /// Stop after so many seconds; without it, at the first interrupt.
    #[arg(long)]
    pub seconds: Option<u64>,
    /// Worker threads.
    #[arg(long)]
    pub workers: Option<usize>,
}

/// Why a demonstration could not be shown.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The job file is wrong.
    #[error("{0}")]
    Mistakes(Mistakes),
    /// Something else is.
    #[error("{0}")]
    Other(String),
    /// It ran and failed.
    #[error(transparent)]
    Run(#[from] run::RunError),
    /// The store was not what the recomputation says.
    #[error("the store differs from a recomputation: {0}")]
    Unproven(String),
}

/// Runs a demonstration until it is stopped or its time is over.
pub fn demo(args: &DemoArgs, out: &mut dyn Write, stop: &dyn Fn() -> Stop) -> Result<(), DemoError> {
    let folder = match &args.job {
        Some(job) => job.clone(),
        None => unpack(&args.folder.join("wind-farm-job"))?,
    };
    let mut job = load::job(&folder, &[]).map_err(DemoError::Mistakes)?;
    generate_instead(&mut job, &folder)?;
    embed_instead(&mut job);
    let job = Arc::new(job);
    let state = args.folder.join(&job.plan.name);
    let mut settings = Settings::in_folder(state.clone());
    settings.workers = args.workers.unwrap_or(settings.workers);
    let shown = shown_view(&job);
    let say = |out: &mut dyn Write, text: String| writeln!(out, "{text}").map_err(|error| DemoError::Other(error.to_string()));
    say(out, format!("{}  job {}  state {}", job.plan.name, folder.display(), state.display()))?;
    let (lines, printed) = std::sync::mpsc::channel();
    let shared = Shared::new(Arc::new(job.plan.clone()), state.clone());
    let extra =
        shown.map(|view| run::Extra { name: "screen".into(), view, store: Box::new(printer::Printer::new(&job, view, lines)) });
    let running = {
        let (job, settings, shared) = (job.clone(), settings.clone(), shared.clone());
        std::thread::spawn(move || run::job(&job, &settings, &shared, extra.into_iter().collect()))
    };
    let (started, mut proven, mut shown_proofs) = (Instant::now(), Instant::now(), 0);
    while !running.is_finished() {
        for line in printed.try_iter() {
            say(out, line)?;
        }
        let due = if shown_proofs == 0 { FIRST_PROOF } else { PROOF_EVERY };
        if proven.elapsed() >= due && live::received(&shared.published().status.counts) < PROOF_RECORDS_MAX {
            match proof::prove(&job, &shared) {
                Ok(Some(proof)) => {
                    say(out, proof)?;
                    shown_proofs += 1;
                }
                Ok(None) => {}
                Err(differs) => {
                    shared.stop(Stop::Force);
                    let _ = running.join();
                    return Err(DemoError::Unproven(differs));
                }
            }
            proven = Instant::now();
        }
        let over = args.seconds.is_some_and(|seconds| started.elapsed() >= Duration::from_secs(seconds));
        shared.stop(if over { Stop::Drain } else { stop() });
        std::thread::sleep(LOOK);
    }
    let ended = running.join().map_err(|_| DemoError::Other("the run has stopped on a defect of caudal, told above".into()))?;
    for line in printed.try_iter() {
        say(out, line)?;
    }
    ended?;
    if let Some(last) = proof::prove(&job, &shared).map_err(DemoError::Unproven)? {
        say(out, last)?;
    }
    say(
        out,
        format!(
            "everything lies in {}: results and dead letters in {}",
            args.folder.display(),
            state.join("store.sqlite").display()
        ),
    )?;
    say(out, "start it again and it goes on where it stopped".into())
}

fn unpack(folder: &Path) -> Result<PathBuf, DemoError> {
    let failed = |path: &Path, error: std::io::Error| DemoError::Other(format!("cannot write {}: {error}", path.display()));
    for (name, text) in WIND_FARM {
        let path = folder.join(name);
        let parent = path.parent().expect("a file in a folder has a parent");
        std::fs::create_dir_all(parent).map_err(|error| failed(parent, error))?;
        if !path.exists() {
            std::fs::write(&path, text).map_err(|error| failed(&path, error))?;
        }
    }
    Ok(folder.to_owned())
}

/// Each stream that reads from outside reads `profiles/<stream>.yaml` instead, or `profile.yaml` if there is one stream.
fn generate_instead(job: &mut Job, folder: &Path) -> Result<(), DemoError> {
    for (stream, source) in &mut job.sources {
        if matches!(source, SourceSpec::Generate(_) | SourceSpec::File(_)) {
            continue;
        }
        let own = folder.join("profiles").join(format!("{}.yaml", job.plan.streams[*stream].name));
        let path = if own.exists() { own } else { folder.join("profile.yaml") };
        let text = std::fs::read_to_string(&path).map_err(|error| {
            DemoError::Other(format!("a demonstration needs a generator profile: cannot read {}: {error}", path.display()))
        })?;
        let name = path.display().to_string();
        let mut errors = Vec::new();
        let node = yaml::parse(&name, &text, &mut errors)
            .filter(|_| errors.is_empty())
            .ok_or_else(|| DemoError::Other(format!("{name} is not YAML")))?;
        *source = SourceSpec::Generate(GenerateSpec { path: Some(name), profile: node.to_json() });
    }
    Ok(())
}

/// Everything is kept in the embedded store.
fn embed_instead(job: &mut Job) {
    let events = job.sinks.iter().any(|sink| sink.events);
    let keep = |view| KeptView { view, emission: crate::jobfile::Emission::OnUpdate };
    job.sinks = vec![SinkSpec {
        name: "store".into(),
        store: StoreSpec::Embedded,
        keep: (0..job.plan.views.len()).map(keep).collect(),
        dead_letters: true,
        events,
        retain: None,
    }];
}

/// The view whose complete rows are printed: the first with windows.
fn shown_view(job: &Job) -> Option<usize> {
    job.plan.views.iter().position(|view| view.window != WindowPlan::Unwindowed)
}
