//! Arguments, signals and exit codes. Each verb's work is elsewhere.
//!
//! Exit codes: 0 done; 1 failed while running (a restart may help); 2 wrong usage or job file; 3 refused (a restart
//! will not help); 130 forced by a second signal.

use crate::cases;
use crate::demo::{DemoArgs, DemoError, demo};
use crate::inspect::memory::Running;
use crate::inspect::{self, CheckArgs, ConfigArgs, DeadLettersArgs, GenerateArgs, InspectError};
use crate::jobfile::Job;
use crate::run::{self, Place, RunError, Settings, Shared, Stop, wall_us};
use crate::serve::{self, PublicPort};
use crate::{live, load, telemetry};
use caudal_pipeline::time::Span;
use clap::{Parser, Subcommand};
use std::io::{IsTerminal, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Exact windowed results from event streams: late, duplicated and faulty events included.
#[derive(Parser)]
#[command(name = "caudal", version = concat!(env!("CARGO_PKG_VERSION"), " (build ", env!("CAUDAL_BUILD"), ")"), arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
    /// How log lines are written to stderr.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

#[derive(Subcommand)]
enum Verb {
    /// Show the whole thing on generated, faulty input; nothing else needs to be installed.
    Demo(DemoArgs),
    /// Run jobs until they are stopped.
    Run(RunArgs),
    /// Tell every mistake of a job, draw it, bound its memory, and say what its stores lack.
    Check(CheckArgs),
    /// Run a job's own cases.
    Test(TestArgs),
    /// Make seeded load from a profile: to Kafka, over HTTP, to a file or to stdout.
    Generate(GenerateArgs),
    /// Look at dead letters and export them.
    DeadLetters(DeadLettersArgs),
    /// Print the JSON Schema of the job file, for editors.
    Schema,
    /// Print the resolved job, secrets masked.
    Config(ConfigArgs),
}

/// What `caudal test` is asked for.
#[derive(Clone, Debug, clap::Args)]
struct TestArgs {
    /// The job's folder: `job.yaml` and `cases/*.yaml`.
    folder: PathBuf,
    /// Only cases whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
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
    /// Where state is kept, each job's apart below it: a folder, or s3://BUCKET/PREFIX, reached as AWS_ENDPOINT_URL,
    /// AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ALLOW_HTTP say.
    #[arg(long, env = "CAUDAL_STATE", default_value = ".caudal")]
    state: Place,
    /// Stop once finite sources are read; open rows stay open.
    #[arg(long)]
    until_end: bool,
    /// At the end close the input for ever: everything completes and the state is read-only.
    #[arg(long)]
    close: bool,
    /// Read nothing new: finish what was bound, let the sinks catch up, make a last checkpoint and end. For what comes after
    /// a crash of a build that is to be replaced.
    #[arg(long, conflicts_with_all = ["until_end", "close"])]
    drain: bool,
    /// Recompute what the sources still have with this job file, then go on: rows that come out otherwise are overwritten,
    /// rows that no longer come out are marked gone, in every store.
    #[arg(long, conflicts_with = "drain")]
    rebuild: bool,
    /// Take the state over from a process that holds it.
    #[arg(long)]
    take_over: bool,
    /// Change a value of the job file: `path=value`.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// Seconds between checkpoints.
    #[arg(long, default_value_t = 60)]
    checkpoint_every: u32,
    /// The port for people and programs; opened only if a job takes events over HTTP.
    #[arg(long, env = "CAUDAL_LISTEN", default_value_t = PublicPort::DEFAULT)]
    listen: SocketAddr,
    /// The operators' port: /metrics, /livez, /readyz, /version. Closed unless an address is given.
    #[arg(long, env = "CAUDAL_OPERATORS")]
    operators: Option<SocketAddr>,
}

/// Signals so far: one drains, two force.
static SIGNALS: AtomicUsize = AtomicUsize::new(0);
/// Time between two status blocks on a terminal, and in a pipe.
const SHOW_EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// How often signals are looked for.
const LOOK: Duration = Duration::from_millis(50);

/// The program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(why) = telemetry::init(cli.log_format == LogFormat::Json) {
        complain(format_args!("caudal: {why}"));
        return ExitCode::from(2);
    }
    let mut out = std::io::stdout();
    ExitCode::from(match cli.verb {
        Verb::Demo(args) => run_demo(&args),
        Verb::Run(args) => run_jobs(&args),
        Verb::Test(args) => run_cases(&args),
        Verb::Check(args) => told(inspect::check(&args, &mut out)),
        Verb::Generate(args) => told(inspect::generate(&args, &mut out)),
        Verb::DeadLetters(args) => told(inspect::dead_letters(&args, &mut out)),
        Verb::Schema => told(inspect::schema(&mut out)),
        Verb::Config(args) => told(inspect::config(&args, &mut out)),
    })
}

/// A line on stderr. If nobody reads it any more, the work goes on all the same.
fn complain(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The exit code of a verb that looks; what went wrong goes to stderr.
fn told(outcome: Result<u8, InspectError>) -> u8 {
    outcome.unwrap_or_else(|error| {
        if !matches!(error, InspectError::Closed) {
            complain(format_args!("{error}"));
        }
        error.exit_code()
    })
}

fn run_cases(args: &TestArgs) -> u8 {
    let job = match load::job(&args.folder, &[]) {
        Ok(job) => job,
        Err(mistakes) => {
            complain(format_args!("{mistakes}"));
            return 2;
        }
    };
    match cases::run(&job, &args.folder, args.only.as_deref()) {
        Ok(report) => {
            let json = || serde_json::to_string_pretty(&report).expect("a report is plain data");
            // Whoever has seen enough of the report still gets the exit code.
            let _ = writeln!(std::io::stdout(), "{}", if args.json { json() } else { report.to_string() });
            u8::from(!report.all_passed())
        }
        Err(error) => {
            complain(format_args!("{error}"));
            2
        }
    }
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
    listen_for_signals();
    match demo(args, &mut std::io::stdout(), &asked_to_stop) {
        Ok(()) => 0,
        Err(error) => {
            complain(format_args!("caudal demo: {error}"));
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
    let running = Running::told(args.workers, Span::seconds(args.checkpoint_every.into()));
    for path in &args.jobs {
        match load::job_that_runs(path, &args.set, running) {
            Ok(job) => jobs.push(Arc::new(job)),
            Err(mistakes) => {
                complain(format_args!("{mistakes}"));
                wrong += 1;
            }
        }
    }
    if wrong > 0 {
        return 2;
    }
    listen_for_signals();
    let public = PublicPort::at(args.listen);
    let shared = |job: &Arc<Job>| Shared::new(Arc::new(job.plan.clone()), args.state.of_job(&job.plan.name));
    let all: Vec<Arc<Shared>> = jobs.iter().map(shared).collect();
    // Before a job takes its state, perhaps from another process.
    let _operators = match operators(args.operators, &all) {
        Ok(operators) => operators,
        Err(why) => {
            complain(format_args!("{why}"));
            return 1;
        }
    };
    let start = |(job, shared): (Arc<Job>, &Arc<Shared>)| {
        let (settings, seen) = (settings(args, &job.plan.name, &public), shared.clone());
        Started { shared: shared.clone(), thread: Some(std::thread::spawn(move || run::job(&job, &settings, &seen, Vec::new()))) }
    };
    let mut running: Vec<_> = jobs.into_iter().zip(&all).map(start).collect();
    watch(&all, &mut running)
}

/// A job on its thread.
struct Started {
    shared: Arc<Shared>,
    /// Until it has ended and that was told.
    thread: Option<JoinHandle<Result<(), RunError>>>,
}

impl Started {
    /// The exit code of a job that has just ended; what went wrong is told now, since others may run for days.
    fn newly_ended(&mut self) -> Option<u8> {
        let thread = self.thread.take_if(|thread| thread.is_finished())?;
        let name = &self.shared.plan.name;
        Some(match thread.join() {
            Ok(Ok(())) => 0,
            Ok(Err(error)) => {
                complain(format_args!("{name}: {error}"));
                exit_code(&error)
            }
            Err(_) => {
                complain(format_args!("{name}: stopped on a defect of caudal, told above"));
                1
            }
        })
    }
}

fn operators(address: Option<SocketAddr>, jobs: &[Arc<Shared>]) -> Result<Option<serve::Server>, String> {
    let Some(address) = address else { return Ok(None) };
    let failed =
        |error: std::io::Error| format!("cannot listen on {address} for operators: {error}; choose another with --operators");
    let listener = TcpListener::bind(address).map_err(failed)?;
    serve::operators(listener, jobs.to_vec()).map(Some).map_err(failed)
}

fn settings(args: &RunArgs, name: &str, public: &Arc<PublicPort>) -> Settings {
    Settings {
        state: args.state.of_job(name),
        workers: args.workers.unwrap_or(Running::default().workers),
        take_over: args.take_over,
        until_end: args.until_end,
        close: args.close,
        drain: args.drain,
        rebuild: args.rebuild,
        checkpoint_every: Span::seconds(args.checkpoint_every.into()),
        listen: public.clone(),
    }
}

/// Shows status until every job has ended, and passes signals on. Returns the worst exit code.
fn watch(jobs: &[Arc<Shared>], running: &mut [Started]) -> u8 {
    let terminal = std::io::stdout().is_terminal();
    let every = if terminal { SHOW_EVERY.0 } else { SHOW_EVERY.1 };
    let (started, mut shown, mut lines, mut worst) = (Instant::now(), Instant::now(), 0, 0);
    loop {
        for job in jobs {
            job.stop(asked_to_stop());
            for alarm in job.take_alarms() {
                complain(format_args!("{}: {alarm}", job.plan.name));
                lines = 0;
            }
        }
        for code in running.iter_mut().filter_map(Started::newly_ended) {
            worst = worst.max(code);
            lines = if code == 0 { lines } else { 0 };
        }
        if running.iter().all(|job| job.thread.is_none()) {
            break;
        }
        if shown.elapsed() >= every {
            shown = Instant::now();
            lines = show(jobs, started.elapsed(), terminal, lines);
        }
        std::thread::sleep(LOOK);
    }
    show(jobs, started.elapsed(), terminal, lines);
    worst
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
