//! A broker that asks for a login over TLS: the right one works, a wrong one stops the job and says why.

use super::broker::{Broker, body, discovered, plain, reading, stop, take, text};
use caudal_connectors::context::SinkContext;
use caudal_connectors::kafka::config::{Publication, Published, SinkConfig, Start};
use caudal_connectors::kafka::sink::KafkaSink;
use caudal_pipeline::ports::sink::{Sink, SinkError};
use xtask::services::kafka::{self, KafkaOptions, PASSWORD, USER};

fn broker(address: &str, ca: &str, mechanism: &str, password: &str) -> Broker {
    let mut properties = plain(address);
    let login = [
        ("security.protocol", "SASL_SSL"),
        ("ssl.ca.location", ca),
        ("sasl.mechanism", mechanism),
        ("sasl.username", USER),
        ("sasl.password", password),
    ];
    properties.extend(login.map(|(name, value)| (name.to_owned(), value.to_owned())));
    Broker { properties }
}

#[test]
fn logins_over_tls() {
    let running = kafka::start(&KafkaOptions { sasl: true, tls: true, ..KafkaOptions::default() }).unwrap();
    let (address, ca) = (running.address.as_str(), kafka::ca(&running));

    let good = broker(address, &ca, "PLAIN", PASSWORD);
    let topic = good.topic("login", 1, &[]);
    good.produce(&topic, &[body("in")]);
    for mechanism in ["PLAIN", "SCRAM-SHA-256"] {
        let source = broker(address, &ca, mechanism, PASSWORD).source_of(&topic, Start::Earliest);
        assert_eq!(text(&take(&mut *reading(&source), 1)[0].1), "in", "{mechanism}");

        let wrong = broker(address, &ca, mechanism, "wrong");
        let said = stop(discovered(&wrong.source_of(&topic, Start::Earliest)));
        assert!(said.starts_with(&format!("kafka at {address} refuses the connection: ")), "{said}");
        assert!(!said.contains(PASSWORD) && said.contains("sasl.* login"), "{said}");
        let publish = vec![Publication { what: Published::DeadLetters, topic: topic.clone() }];
        let config = SinkConfig { properties: wrong.properties, publish };
        match KafkaSink::new(config, SinkContext::default()).unwrap().prepare() {
            Err(SinkError::Stop(text)) => assert!(text.contains("refuses the connection"), "{text}"),
            other => panic!("{other:?}"),
        }
    }

    // A certificate that nobody we trust has signed.
    let mut stranger = broker(address, &ca, "PLAIN", PASSWORD);
    stranger.properties.remove("ssl.ca.location");
    let said = stop(discovered(&stranger.source_of(&topic, Start::Earliest)));
    assert!(said.contains("refuses the connection") && said.contains("certificate"), "{said}");
}
