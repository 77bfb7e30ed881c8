//! How long after it was sent an event is in its row of the store, while events come at a constant rate.
//!
//! A station's events keep their order all the way, so its nth event is readable as soon as its rows count n: each event
//! is measured, by its own clock, and no event carries a mark. The producer lingers for 5 ms and waits for `acks=all`; an
//! epoch ends every 100 ms. The store is asked every other millisecond whether it was written.

use super::Parameters;
use super::caudal::{self, Running};
use super::stage::{self, Began, LATENCY, Outcome};
use super::topic::{Events, STATIONS, Topic, producer};
use caudal_connectors::embedded::read::Store;
use caudal_connectors::kafka::config::Topics;
use caudal_jobs::jobfile::{Job, SourceSpec};
use caudal_jobs::run::wall_us;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Events of the first seconds are not measured: connections are made, pages are touched.
const WARM_UP: Duration = Duration::from_secs(2);
/// Between two batches of events, and between two looks at the store.
const BEAT: Duration = Duration::from_millis(2);
const LOCK: &str = "no thread panics while it holds the times";

/// When each station's events were sent.
type Sent = Mutex<Vec<Vec<Instant>>>;

/// Makes a topic and measures a job that reads it.
pub fn compare(folder: &Path, parameters: &Parameters) -> Outcome {
    let topic = Topic::create(parameters, "paced");
    caudal::write_job(folder, parameters, &topic.name);
    eprintln!("{} events a second for {} s", parameters.pace, parameters.seconds);
    stage::run(&LATENCY, folder, 0)
}

/// Sends events and waits for each of them.
pub fn measure(job: &Job, folder: &Path, parameters: &Parameters) -> Outcome {
    let [(_, SourceSpec::Kafka(source))] = &job.sources[..] else { panic!("the job reads from kafka") };
    let Topics::Named(topics) = &source.topics else { panic!("the job names its topic") };
    let running = Running::start(job, folder, None);
    let (store, began) = (running.store(), Began::now());
    let sent: Sent = Mutex::new(vec![Vec::new(); STATIONS]);
    let latencies = std::thread::scope(|scope| {
        let sending = scope.spawn(|| send(&topics[0], &sent, parameters));
        watch(&store, &sent, began.at + WARM_UP, &|| !sending.is_finished())
    });
    let outcome = Outcome::since(&began);
    running.drain();
    Outcome { latencies, ..outcome }
}

fn send(topic: &str, sent: &Sent, parameters: &Parameters) {
    let (producer, mut events, began) = (producer(parameters), Events::new(), Instant::now());
    let whole = WARM_UP + Duration::from_secs(parameters.seconds as u64);
    let total = (whole.as_secs_f64() * parameters.pace as f64) as usize;
    let mut made = 0;
    while made < total {
        let due = (began.elapsed().as_secs_f64() * parameters.pace as f64) as usize;
        while made < due.min(total) {
            let event = events.next(wall_us() / 1000);
            sent.lock().expect(LOCK)[event.station].push(Instant::now());
            event.send(&producer, topic, parameters.partitions);
            made += 1;
        }
        std::thread::sleep(BEAT);
    }
    producer.flush().expect("the broker takes events");
}

/// Milliseconds for each event sent after `from`, sorted, once all are seen and no more are sent.
fn watch(store: &Store, sent: &Sent, from: Instant, sending: &dyn Fn() -> bool) -> Vec<f64> {
    let (mut latencies, mut seen, mut version) = (Vec::new(), vec![0; STATIONS], None);
    loop {
        let more = sending();
        let found = store.as_of().ok().and_then(|views| views.first().map(|view| view.version));
        if found != version {
            version = found;
            let counted = counts(store);
            let now = Instant::now();
            let sent = sent.lock().expect(LOCK);
            for (station, counted) in counted.into_iter().enumerate() {
                let readable = sent[station][seen[station]..counted].iter().filter(|at| **at >= from);
                latencies.extend(readable.map(|at| (now - *at).as_secs_f64() * 1000.0));
                seen[station] = counted;
            }
        }
        let all = sent.lock().expect(LOCK).iter().map(Vec::len).sum::<usize>();
        if !more && seen.iter().sum::<usize>() == all {
            latencies.sort_unstable_by(f64::total_cmp);
            return latencies;
        }
        std::thread::sleep(BEAT);
    }
}

/// Events in the rows of each station.
fn counts(store: &Store) -> Vec<usize> {
    let mut counts = vec![0; STATIONS];
    for ((_, station), [n, ..]) in caudal::rows(store) {
        let number = station.strip_prefix("station-").and_then(|number| number.parse::<usize>().ok());
        counts[number.expect("stations are numbered")] += n as usize;
    }
    counts
}
