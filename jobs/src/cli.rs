//! Arguments, signals and exit codes. Each verb's work is elsewhere.
//!
//! Exit codes: 0 done; 1 failed while running (a restart may help); 2 wrong usage or job file; 3 refused (a restart
//! will not help); 130 forced by a second signal.

use crate::demo::{DemoArgs, DemoError, demo};
use crate::run::{self, RunError, Settings, Shared, Stop, wall_us};
use crate::{live, load};
use caudal_pipeline::time::Span;
use clap::{Parser, Subcommand};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Exact windowed results from event streams: late, duplicated and faulty events included.
#[derive(Parser)]
#[command(name = "caudal", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Show the whole thing on generated, faulty input; nothing else needs to be installed.
    Demo(DemoArgs),
    /// Run jobs until they are stopped.
    Run(RunArgs),
}

/// What `caudal run` is asked for.
#[derive(Clone, Debug, clap::Args)]
struct RunArgs {
    /// Job files, or folders that hold `job.yaml`.
    #[arg(required = true)]
    jobs: Vec<PathBuf>,
    /// Worker threads of each job.
    #[arg(long)]
    workers: Option<usize>,
    /// Where state is kept: a folder for each job below it.
    #[arg(long, env = "CAUDAL_STATE", default_value = ".caudal")]
    state: PathBuf,
    /// Stop once finite sources are read; open rows stay open.
    #[arg(long)]
    until_end: bool,
    /// At the end close the input for ever: everything completes and the state is read-only.
    #[arg(long)]
    close: bool,
    /// Take the state over from a process that holds it.
    #[arg(long)]
    take_over: bool,
    /// Change a value of the job file: `path=value`.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// Seconds between checkpoints.
    #[arg(long, default_value_t = 60)]
    checkpoint_every: u32,
}

/// Signals so far: one drains, two force.
static SIGNALS: AtomicUsize = AtomicUsize::new(0);
/// Time between two status blocks on a terminal, and in a pipe.
const SHOW_EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// How often signals are looked for.
const LOOK: Duration = Duration::from_millis(50);

/// The program.
pub fn main() -> ExitCode {
    // A reader that closes its end is no error of ours.
    let cli = Cli::parse();
    listen_for_signals();
    ExitCode::from(match cli.verb {
        Verb::Demo(args) => run_demo(&args),
        Verb::Run(args) => run_jobs(&args),
    })
}

/// SIGTERM and SIGINT ask to drain; a second one forces.
fn listen_for_signals() {
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime for signals");
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let mut terminate = signal(SignalKind::terminate()).expect("a process may listen for SIGTERM");
            let mut interrupt = signal(SignalKind::interrupt()).expect("a process may listen for SIGINT");
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                SIGNALS.fetch_add(1, Ordering::SeqCst);
            }
        });
    });
}

fn asked_to_stop() -> Stop {
    match SIGNALS.load(Ordering::SeqCst) {
        0 => Stop::No,
        1 => Stop::Drain,
        _ => Stop::Force,
    }
}

fn run_demo(args: &DemoArgs) -> u8 {
    match demo(args, &mut std::io::stdout(), &asked_to_stop) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("caudal demo: {error}");
            match error {
                DemoError::Mistakes(_) => 2,
                DemoError::Run(error) => exit_code(&error),
                DemoError::Other(_) | DemoError::Unproven(_) => 1,
            }
        }
    }
}

fn exit_code(error: &RunError) -> u8 {
    if asked_to_stop() == Stop::Force { 130 } else { error.exit_code() }
}

fn run_jobs(args: &RunArgs) -> u8 {
    let mut jobs = Vec::new();
    let mut wrong = 0;
    for path in &args.jobs {
        match load::job(path, &args.set) {
            Ok(job) => jobs.push(Arc::new(job)),
            Err(mistakes) => {
                eprintln!("{mistakes}");
                wrong += 1;
            }
        }
    }
    if wrong > 0 {
        return 2;
    }
    let start = |job: &Arc<crate::jobfile::Job>| {
        let settings = settings(args, &job.plan.name);
        let shared = Shared::new(Arc::new(job.plan.clone()), settings.state.clone());
        let (job, seen) = (job.clone(), shared.clone());
        let name = job.plan.name.clone();
        (name, seen, std::thread::spawn(move || run::job(&job, &settings, &shared, Vec::new())))
    };
    let running: Vec<_> = jobs.iter().map(start).collect();
    watch(
        &running.iter().map(|(_, shared, thread)| (shared.clone(), thread.is_finished())).map(|(s, _)| s).collect::<Vec<_>>(),
        &|| running.iter().all(|(_, _, thread)| thread.is_finished()),
    );
    let mut worst = 0;
    for (name, _, thread) in running {
        match thread.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                eprintln!("{name}: {error}");
                worst = worst.max(exit_code(&error));
            }
            Err(_) => {
                eprintln!("{name}: stopped on a defect of caudal, told above");
                worst = worst.max(1);
            }
        }
    }
    worst
}

fn settings(args: &RunArgs, name: &str) -> Settings {
    let defaults = Settings::in_folder(args.state.join(name));
    Settings {
        workers: args.workers.unwrap_or(defaults.workers),
        take_over: args.take_over,
        until_end: args.until_end,
        close: args.close,
        checkpoint_every: Span::seconds(args.checkpoint_every.into()),
        ..defaults
    }
}

/// Shows status until every job has ended, and passes signals on.
fn watch(jobs: &[Arc<Shared>], ended: &dyn Fn() -> bool) {
    let terminal = std::io::stdout().is_terminal();
    let every = if terminal { SHOW_EVERY.0 } else { SHOW_EVERY.1 };
    let (started, mut shown, mut lines) = (Instant::now(), Instant::now(), 0);
    while !ended() {
        for job in jobs {
            job.stop(asked_to_stop());
            for alarm in job.take_alarms() {
                eprintln!("{}: {alarm}", job.plan.name);
                lines = 0;
            }
        }
        if shown.elapsed() >= every {
            shown = Instant::now();
            lines = show(jobs, started.elapsed(), terminal, lines);
        }
        std::thread::sleep(LOOK);
    }
    show(jobs, started.elapsed(), terminal, lines);
}

/// Prints the block of every job, over the one before on a terminal. Returns its lines.
fn show(jobs: &[Arc<Shared>], up: Duration, terminal: bool, before: usize) -> usize {
    let text: String = jobs.iter().map(|job| live::block(job, up, wall_us())).collect();
    let mut out = std::io::stdout().lock();
    let rewound = if terminal && before > 0 { format!("\x1b[{before}A\x1b[J") } else { String::new() };
    // A terminal that has gone away does not stop the jobs.
    let _ = write!(out, "{rewound}{text}").and_then(|()| out.flush());
    text.lines().count()
}
