//! `caudal generate`: the load that a profile describes, sent somewhere, with progress on stderr.
//!
//! Event `i` of a source is a pure function of the profile, so the same profile gives the same bytes wherever they go.
//! Events are sent when they are due, as a job's own generator would: what lies before the start of the run comes at
//! once, the rest as the clock passes it. Files are written at once.

use super::error::InspectError;
use super::figures::counted;
use super::targets::{Target, open};
use crate::jobfile::yaml;
use caudal_connectors::generate::{Event, Generator, Profile, config::Start};
use caudal_pipeline::bound::spaced;
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Send seeded load: rate, bursts, duplicates, disorder, late and malformed events, as a profile states them.
///
/// Examples: `caudal generate profile.yaml --to - --count 10`,
/// `caudal generate profile.yaml --to kafka --address localhost:9092`,
/// `caudal generate profile.yaml --to file --path events.ndjson.gz --count 100000`.
#[derive(Clone, Debug, clap::Args)]
pub struct GenerateArgs {
    /// The profile, a YAML file.
    pub profile: PathBuf,
    /// Where to: `kafka`, `http`, `file`, or `-` for the standard output, one event a line.
    #[arg(long, value_enum, default_value = "-")]
    pub to: To,
    /// Brokers as `host:port,…`, or the whole address that takes events:
    /// `http://127.0.0.1:8080/v1/jobs/JOB/streams/STREAM/events`.
    #[arg(long)]
    pub address: Option<String>,
    /// Stop after so many events [default: as many as the profile says].
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// The file to write, NDJSON; compressed if it ends in `.gz`.
    #[arg(long, value_name = "FILE")]
    pub path: Option<PathBuf>,
    /// Send as fast as it is taken, not when events are due.
    #[arg(long)]
    pub unpaced: bool,
    /// The topic of all events [default: the one that the profile gives each kind, or else its name].
    #[arg(long)]
    pub topic: Option<String>,
    /// A librdkafka property, such as `security.protocol=ssl`. May be repeated.
    #[arg(long, value_name = "NAME=VALUE")]
    pub property: Vec<String>,
}

/// Where generated events go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum To {
    /// To Kafka topics.
    Kafka,
    /// To the intake of a running job.
    Http,
    /// To a file, one event a line.
    File,
    /// To the standard output, one event a line.
    #[value(name = "-")]
    Stdout,
}

/// How long a wait lasts before the interrupt and the progress are looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Sends the load.
pub fn generate(args: &GenerateArgs, out: &mut dyn Write) -> Result<u8, InspectError> {
    let profile = read_profile(&args.profile)?;
    if args.to == To::File && args.count.is_none() && !profile.is_finite() {
        return Err(InspectError::Usage(
            "the profile never ends: say with --count how many events the file is to hold".to_owned(),
        ));
    }
    let interrupt = Interrupt::watch();
    let now_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64);
    let generator = Generator::new(profile, now_us);
    let mut target = open(args, generator.profile(), now_us, out)?;
    let pace = Pace::of(&generator, now_us, args.unpaced || args.to == To::File);
    let mut progress = Progress::new(expected(args, &generator));
    let sent = send_all(args, &generator, &mut *target, (&pace, &interrupt), &mut progress);
    let sent = sent.and_then(|()| target.finish());
    progress.end();
    match sent {
        Ok(()) | Err(InspectError::Closed) => Ok(0),
        Err(error) => Err(error),
    }
}

fn send_all(
    args: &GenerateArgs,
    generator: &Generator,
    target: &mut dyn Target,
    (pace, interrupt): (&Pace, &Interrupt),
    progress: &mut Progress,
) -> Result<(), InspectError> {
    let count = args.count.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX);
    for event in generator.events().take(count) {
        let mut left = pace.wait(event.due_us);
        while !left.is_zero() && !interrupt.asked() {
            target.idle()?;
            progress.look();
            std::thread::sleep(left.min(LOOK));
            left = pace.wait(event.due_us);
        }
        if interrupt.asked() {
            return Ok(());
        }
        target.send(&event)?;
        progress.sent(&event);
    }
    Ok(())
}

/// Reads a profile, or tells everything that is wrong with it.
fn read_profile(path: &Path) -> Result<Profile, InspectError> {
    let name = path.display().to_string();
    let text =
        std::fs::read_to_string(path).map_err(|error| InspectError::Usage(format!("cannot read the profile {name}: {error}")))?;
    let mut errors = Vec::new();
    let node = yaml::parse(&name, &text, &mut errors);
    let lines = errors.iter().map(|error| format!("  {}:{}  {}", error.place.line, error.place.column, error.message));
    let mut lines: Vec<String> = lines.collect();
    match node.map(|node| Profile::parse(&node.to_json())) {
        Some(Ok(profile)) if lines.is_empty() => return Ok(profile),
        Some(Err(mistakes)) => lines.extend(mistakes.iter().map(|mistake| format!("  {}   {}", mistake.path, mistake.message))),
        _ => {}
    }
    let mistakes = counted(lines.len() as u64, "mistake", "mistakes");
    Err(InspectError::Usage(format!("{name}: {mistakes}, nothing was sent\n{}", lines.join("\n"))))
}

/// How many events there will be, if that is known. Silent sources may leave some out.
fn expected(args: &GenerateArgs, generator: &Generator) -> Option<u64> {
    args.count.into_iter().chain(generator.profile().count).min()
}

/// When events are due.
struct Pace {
    began: Instant,
    /// The event time that is reached when the run begins; `None` for events that are never waited for.
    anchor_us: Option<i64>,
    speed: i64,
}

impl Pace {
    fn of(generator: &Generator, now_us: i64, unpaced: bool) -> Pace {
        let profile = generator.profile();
        let anchor_us = match profile.start {
            Start::At(us) => us,
            Start::BeforeNow(_) => now_us,
        };
        let speed = i64::try_from(profile.speed).unwrap_or(i64::MAX).max(1);
        Pace { began: Instant::now(), anchor_us: (!unpaced).then_some(anchor_us), speed }
    }

    /// How long an event that is due then must wait.
    fn wait(&self, due_us: i64) -> Duration {
        let Some(anchor_us) = self.anchor_us else { return Duration::ZERO };
        let due = Duration::from_micros(u64::try_from(due_us.saturating_sub(anchor_us) / self.speed).unwrap_or(0));
        due.saturating_sub(self.began.elapsed())
    }
}

/// The wish to stop: SIGINT or SIGTERM. The second one ends the process at once.
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    fn watch() -> Interrupt {
        let asked = Arc::new(AtomicBool::new(false));
        let seen = asked.clone();
        // Without signals, which only a very odd system lacks, the process ends as it always would.
        if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
            std::thread::spawn(move || runtime.block_on(obey(&seen)));
        }
        Interrupt(asked)
    }

    fn asked(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

async fn obey(asked: &AtomicBool) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
        return;
    };
    loop {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        if asked.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    }
}

/// What was sent, told on stderr: in place on a terminal, a line now and then elsewhere.
struct Progress {
    began: Instant,
    told: Instant,
    every: Duration,
    in_place: bool,
    expected: Option<u64>,
    sent: u64,
    classes: BTreeMap<&'static str, u64>,
    /// Sent when last told.
    before: u64,
}

impl Progress {
    fn new(expected: Option<u64>) -> Progress {
        let in_place = std::io::stderr().is_terminal();
        let every = if in_place { Duration::from_millis(500) } else { Duration::from_secs(10) };
        let now = Instant::now();
        Progress { began: now, told: now, every, in_place, expected, sent: 0, classes: BTreeMap::new(), before: 0 }
    }

    fn sent(&mut self, event: &Event) {
        self.sent += 1;
        *self.classes.entry(event.class.name()).or_default() += 1;
        if self.sent.is_multiple_of(1024) {
            self.look();
        }
    }

    fn look(&mut self) {
        let since = self.told.elapsed();
        if since < self.every {
            return;
        }
        let line = format!("{} sent  {}/s{}", spaced(self.sent), per_second(self.sent - self.before, since), self.percent());
        if self.in_place {
            eprint!("\r\x1b[K{line}");
        } else {
            eprintln!("{line}");
        }
        (self.told, self.before) = (Instant::now(), self.sent);
    }

    fn percent(&self) -> String {
        self.expected.filter(|all| *all > 0).map_or_else(String::new, |all| format!("  {} %", self.sent * 100 / all))
    }

    fn end(&self) {
        let took = self.began.elapsed();
        let classes: Vec<String> = self.classes.iter().map(|(class, count)| format!("{} {class}", spaced(*count))).collect();
        let classes = if classes.is_empty() { String::new() } else { format!(": {}", classes.join(", ")) };
        let (clear, sent) = (if self.in_place { "\r\x1b[K" } else { "" }, spaced(self.sent));
        eprintln!("{clear}sent {sent} in {:.1} s ({}/s){classes}", took.as_secs_f64(), per_second(self.sent, took));
    }
}

fn per_second(count: u64, took: Duration) -> String {
    spaced((count as f64 / took.as_secs_f64().max(0.001)).round() as u64)
}
