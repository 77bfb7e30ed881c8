//! What caudal is compared with: a consumer that only parses, and one that sums in hash maps.

use super::Parameters;
use super::stage::{Began, Outcome, Rows};
use caudal_connectors::kafka::config::{SourceConfig, Topics};
use caudal_connectors::kafka::source_properties;
use caudal_jobs::jobfile::{Job, SourceSpec};
use caudal_pipeline::time::EventTime;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value as Json;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// How long a poll waits for a message.
const WAIT: Duration = Duration::from_millis(100);

/// Messages between two looks at the clock: those after the last one take less than a millisecond.
const CLOCK_EVERY: usize = 64;

/// Poll and parse, nothing else, on threads that share the partitions.
pub fn floor(job: &Job, threads: usize, parameters: &Parameters) -> Outcome {
    let (source, began) = (source(job), Began::now());
    let shares = std::thread::scope(|scope| {
        let share = |thread| (thread..parameters.partitions).step_by(threads).collect::<Vec<_>>();
        let parse = |payload: &[u8]| drop(std::hint::black_box(value(payload)));
        let run = |thread| scope.spawn(move || consume(source, &share(thread), parse));
        let running: Vec<_> = (0..threads).map(run).collect();
        running.into_iter().map(|thread| thread.join().expect("reading does not panic")).collect::<Vec<Share>>()
    });
    outcome(&began, &shares, parameters)
}

/// What someone would write in an afternoon: a set of ids, a map of sums; no time, lateness, state or store.
pub fn plain_loop(job: &Job, parameters: &Parameters) -> Outcome {
    let began = Began::now();
    let (mut ids, mut rows) = (HashSet::new(), HashMap::<(i64, String), (i64, f64, f64)>::new());
    let share = consume(source(job), &(0..parameters.partitions).collect::<Vec<_>>(), |payload| {
        let event = value(payload);
        let text = |name: &str| event[name].as_str().expect("a text").to_owned();
        if ids.insert(text("id")) {
            let (minute, reading) = (event["t"].as_i64().expect("a time") / 60_000, event["reading"].as_f64().expect("a number"));
            let row = rows.entry((minute, text("station"))).or_default();
            *row = (row.0 + 1, row.1 + reading, row.2.max(reading));
        }
    });
    let outcome = outcome(&began, &[share], parameters);
    let start = |minute: i64| EventTime(minute * 60_000_000).to_string();
    let of = |((minute, station), (n, total, highest))| ((start(minute), station), [n, thousandths(total), thousandths(highest)]);
    let mut rows: Rows = rows.into_iter().map(of).collect();
    rows.sort_unstable();
    Outcome { rows, ..outcome }
}

/// Readings have three digits after the point, which sums of floating point keep if they are rounded in the end.
pub fn thousandths(x: f64) -> i64 {
    (x * 1000.0).round() as i64
}

/// What one consumer has read, and when it had the last of it: that this was the end is told up to a tenth of a second later.
struct Share {
    read: usize,
    last: Instant,
}

fn outcome(began: &Began, shares: &[Share], parameters: &Parameters) -> Outcome {
    assert_eq!(shares.iter().map(|share| share.read).sum::<usize>(), parameters.events, "events in the topic");
    let last = shares.iter().map(|share| share.last).max().expect("somebody reads");
    Outcome { seconds: (last - began.at).as_secs_f64(), ..Outcome::since(began) }
}

/// Reads these partitions from their first message to their end.
fn consume(source: &SourceConfig, partitions: &[usize], mut each: impl FnMut(&[u8])) -> Share {
    let Topics::Named(topics) = &source.topics else { panic!("the job names its topic") };
    let properties = source_properties(source).expect("the job was taken with them");
    let consumer: BaseConsumer = ClientConfig::from_iter(properties).create().expect("the properties are right");
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition_offset(&topics[0], *partition as i32, Offset::Beginning).expect("an offset");
    }
    consumer.assign(&list).expect("partitions can be assigned");
    let (mut share, mut ended) = (Share { read: 0, last: Instant::now() }, 0);
    while ended < partitions.len() {
        match consumer.poll(WAIT) {
            None => {}
            Some(Ok(message)) => {
                each(message.payload().expect("it has a body"));
                share.read += 1;
                if share.read % CLOCK_EVERY == 0 {
                    share.last = Instant::now();
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(error)) => panic!("{error}"),
        }
    }
    share
}

fn source(job: &Job) -> &SourceConfig {
    match &job.sources[..] {
        [(_, SourceSpec::Kafka(source))] => source,
        _ => panic!("the job reads from kafka"),
    }
}

fn value(payload: &[u8]) -> Json {
    serde_json::from_slice(payload).expect("it is JSON")
}
