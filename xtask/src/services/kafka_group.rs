//! Three Kafka brokers that are controllers too: a topic's leader can change, and a partition be away by itself.

use super::folder::Folder;
use super::kafka::{KafkaOptions, Node, jars, start_node};
use super::{Running, StartError, maven, ports};

/// Their ids.
pub const IDS: [i32; 3] = [1, 2, 3];

/// Starts the three and returns once each serves clients. A broker's place is that of its id in [`IDS`].
pub fn start() -> Result<Vec<Running>, StartError> {
    maven::require_java()?;
    let jars = jars()?;
    let ports = ports::free::<9>()?;
    let ports: Vec<[u16; 3]> = ports.chunks(3).map(|three| [three[0], three[1], three[2]]).collect();
    let voters: Vec<String> = IDS.iter().zip(&ports).map(|(id, ports)| format!("{id}@127.0.0.1:{}", ports[2])).collect();
    let node = |n: usize| Node { id: n + 1, ports: ports[n], voters: voters.join(",") };
    // At once: a node serves clients when two of them have elected a controller.
    std::thread::scope(|scope| {
        let start = |n: usize| {
            let (jars, node) = (&jars, node(n));
            scope.spawn(move || start_node(jars, &node, &KafkaOptions::default(), Folder::new("kafka")?))
        };
        let starts: Vec<_> = (0..IDS.len()).map(start).collect();
        starts.into_iter().map(|start| start.join().expect("starting a broker does not panic")).collect()
    })
}

/// What clients are given as `bootstrap.servers`.
pub fn addresses(brokers: &[Running]) -> String {
    brokers.iter().map(|broker| broker.address.as_str()).collect::<Vec<_>>().join(",")
}
