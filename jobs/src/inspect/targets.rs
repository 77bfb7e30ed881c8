//! Where generated load goes: Kafka, a job's HTTP intake, a file, the standard output.

mod http;

use super::error::InspectError;
use super::generate::{GenerateArgs, To};
use caudal_connectors::generate::{Event, Profile};
use caudal_connectors::kafka::producer::{Outgoing, Producer};
use caudal_pipeline::ports::sink::SinkError;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Brokers where none are named.
const BROKERS: &str = "localhost:9092";

/// Takes events.
pub trait Target {
    /// Takes one; it may be kept back a little, to go with others.
    fn send(&mut self, event: &Event) -> Result<(), InspectError>;
    /// Sends what was kept back: nothing comes for a while.
    fn idle(&mut self) -> Result<(), InspectError>;
    /// Sends the rest and waits until it is taken.
    fn finish(&mut self) -> Result<(), InspectError>;
}

/// The target that the arguments name.
pub fn open<'o>(
    args: &GenerateArgs,
    profile: &Profile,
    began_us: i64,
    out: &'o mut dyn Write,
) -> Result<Box<dyn Target + 'o>, InspectError> {
    Ok(match args.to {
        To::Kafka => Box::new(Kafka::open(args, profile)?),
        To::Http => {
            let address = args.address.as_deref().ok_or_else(|| InspectError::Usage(http::ADDRESS.to_owned()))?;
            Box::new(http::Http::open(address, &format!("{}-{}-{began_us}", profile.name, profile.seed))?)
        }
        To::File => {
            let path = args.path.as_deref().ok_or_else(|| InspectError::Usage("name the file with --path".to_owned()))?;
            file(path)?
        }
        To::Stdout => Box::new(Lines { out: BufWriter::new(out), name: "the standard output".to_owned() }),
    })
}

/// Events to topics, by key.
struct Kafka {
    producer: Producer,
    topic: Option<String>,
    default_topic: String,
    /// Topics that are known to exist.
    known: Vec<String>,
}

impl Kafka {
    fn open(args: &GenerateArgs, profile: &Profile) -> Result<Kafka, InspectError> {
        let brokers = args.address.clone().or_else(|| std::env::var("KAFKA_BROKERS").ok()).unwrap_or_else(|| BROKERS.to_owned());
        let mut properties = BTreeMap::from([("bootstrap.servers".to_owned(), brokers)]);
        for given in &args.property {
            let Some((name, value)) = given.split_once('=') else {
                return Err(InspectError::Usage(format!("--property {given}: expected name=value")));
            };
            properties.insert(name.to_owned(), value.to_owned());
        }
        Ok(Kafka {
            producer: Producer::new(&properties)?,
            topic: args.topic.clone(),
            default_topic: profile.name.clone(),
            known: Vec::new(),
        })
    }
}

impl Target for Kafka {
    fn send(&mut self, event: &Event) -> Result<(), InspectError> {
        let topic = self.topic.as_deref().or(event.topic.as_deref()).unwrap_or(&self.default_topic);
        if !self.known.iter().any(|known| known == topic) {
            self.producer.partitions(topic)?;
            self.known.push(topic.to_owned());
        }
        let message = Outgoing { topic, partition: None, key: Some(&event.key), payload: Some(&event.body) };
        self.producer.send(message).map_err(InspectError::from)
    }

    fn idle(&mut self) -> Result<(), InspectError> {
        self.producer.in_flight();
        Ok(())
    }

    fn finish(&mut self) -> Result<(), InspectError> {
        self.producer.flush().map_err(|error| match error {
            SinkError::Retry(why) | SinkError::Lost(why) | SinkError::Stop(why) => InspectError::Failed(why),
        })
    }
}

/// Events as lines.
struct Lines<W: Write> {
    out: BufWriter<W>,
    name: String,
}

impl<W: Write> Lines<W> {
    fn failed(&self, error: io::Error) -> InspectError {
        match error.kind() {
            io::ErrorKind::BrokenPipe => InspectError::Closed,
            _ => InspectError::Failed(format!("cannot write to {}: {error}", self.name)),
        }
    }
}

impl<W: Write> Target for Lines<W> {
    fn send(&mut self, event: &Event) -> Result<(), InspectError> {
        let written = self.out.write_all(&event.body).and_then(|()| self.out.write_all(b"\n"));
        written.map_err(|error| self.failed(error))
    }

    fn idle(&mut self) -> Result<(), InspectError> {
        self.out.flush().map_err(|error| self.failed(error))
    }

    fn finish(&mut self) -> Result<(), InspectError> {
        self.idle()
    }
}

/// A compressed file: its end is written by [`Target::finish`].
struct Compressed(Lines<GzEncoder<File>>);

impl Target for Compressed {
    fn send(&mut self, event: &Event) -> Result<(), InspectError> {
        self.0.send(event)
    }

    fn idle(&mut self) -> Result<(), InspectError> {
        Ok(())
    }

    fn finish(&mut self) -> Result<(), InspectError> {
        self.0.idle()?;
        let ended = self.0.out.get_mut().try_finish();
        ended.map_err(|error| self.0.failed(error))
    }
}

fn file(path: &Path) -> Result<Box<dyn Target>, InspectError> {
    let name = path.display().to_string();
    let file = File::create(path).map_err(|error| InspectError::Usage(format!("cannot make the file {name}: {error}")))?;
    if path.extension().is_some_and(|extension| extension == "gz") {
        let encoder = GzEncoder::new(file, Compression::default());
        return Ok(Box::new(Compressed(Lines { out: BufWriter::new(encoder), name })));
    }
    Ok(Box::new(Lines { out: BufWriter::new(file), name }))
}
