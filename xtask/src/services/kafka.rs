//! Apache Kafka 4.1: one node, broker and controller in one, from the jars that Maven has.
//!
//! Three listeners on free ports: the clients' (plain, or with login and TLS as asked), the broker's own, and the
//! controller's. Topics are not made by mentioning them, so that an unknown topic is an unknown topic.

use super::folder::Folder;
use super::process::{Process, START_LIMIT, run};
use super::{Running, StartError, certificates, maven, ports};
use std::path::{Path, PathBuf};

/// The release that tests and benchmarks run against.
pub const VERSION: &str = "4.1.0";

/// The login of a broker that asks for one.
pub const USER: &str = "caudal";

/// Another login, which with [`KafkaOptions::acls`] may do nothing yet.
pub const READER: &str = "reader";

/// The password of both.
pub const PASSWORD: &str = "correct-horse";

/// A cluster id; every cluster is alone on its ports.
const CLUSTER: &str = "Y2F1ZGFsLXRlc3RzLTAwMQ";

/// How the clients' listener is secured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KafkaOptions {
    /// Clients log in with [`USER`] and [`PASSWORD`], by PLAIN or SCRAM-SHA-256; by PLAIN also as [`READER`].
    pub sasl: bool,
    /// The connection is TLS; the authority is [`ca`].
    pub tls: bool,
    /// What a login may do is said by [`acl`]; [`USER`] may do everything. On the listener of [`inside`] everyone may.
    pub acls: bool,
}

/// Starts a broker and returns once it serves clients.
pub fn start(options: &KafkaOptions) -> Result<Running, StartError> {
    maven::require_java()?;
    let jars = jars()?;
    let folder = Folder::new("kafka")?;
    let [clients, broker, controller] = ports::free()?;
    if options.tls {
        certificates::make(&folder)?;
    }
    let node = Node { id: 1, ports: [clients, broker, controller], voters: format!("1@127.0.0.1:{controller}") };
    start_node(&jars, &node, options, folder)
}

/// One of the nodes of a cluster.
pub(super) struct Node {
    pub id: usize,
    /// The clients' listener, the brokers' own, and the controllers'.
    pub ports: [u16; 3],
    /// All controllers, as `id@host:port,…`.
    pub voters: String,
}

/// Starts a node that has its folder and returns once it serves clients.
pub(super) fn start_node(jars: &Path, node: &Node, options: &KafkaOptions, folder: Folder) -> Result<Running, StartError> {
    folder.write("server.properties", &properties(options, folder.path(), node))?;
    format_storage(&maven::class_path(jars), &folder)?;
    let process = serve(jars, &folder)?;
    Ok(Running { address: format!("127.0.0.1:{}", node.ports[0]), variable: "CAUDAL_TEST_KAFKA", process, folder })
}

/// Starts a broker again that was killed, on its data and ports.
pub fn restart(running: &mut Running) -> Result<(), StartError> {
    running.process.kill();
    running.process = serve(&jars()?, &running.folder)?;
    Ok(())
}

/// Runs the broker that a folder describes, until it says that it serves.
fn serve(jars: &Path, folder: &Folder) -> Result<Process, StartError> {
    let class_path = maven::class_path(jars);
    let mut process = Process::spawn("kafka", folder, &java(&class_path, "kafka.Kafka", &["server.properties"]))?;
    process.wait_until(START_LIMIT, |printed| printed.contains("Kafka Server started"))?;
    Ok(process)
}

/// The PEM file of the authority that signed a TLS broker's certificate.
pub fn ca(running: &Running) -> String {
    running.folder.path().join(certificates::CA).display().to_string()
}

/// Where brokers talk to one another, without login.
pub fn inside(running: &Running) -> Result<String, StartError> {
    let path = running.folder.path().join("server.properties");
    let properties = std::fs::read_to_string(&path).map_err(|error| StartError(format!("{}: {error}", path.display())))?;
    let address = properties.split("BROKER://").nth(1).and_then(|rest| rest.split(',').next());
    address.map(str::to_owned).ok_or_else(|| StartError("the broker has no listener of its own".to_owned()))
}

/// Changes what logins may do, with the arguments of Kafka's own tool.
pub fn acl(running: &Running, arguments: &[&str]) -> Result<String, StartError> {
    let (class_path, inside) = (maven::class_path(&tools()?), inside(running)?);
    let arguments = [&["--bootstrap-server", &inside], arguments].concat();
    run(&java(&class_path, "org.apache.kafka.tools.AclCommand", &arguments), running.folder.path())
}

/// The folder of its jars, fetched if this is the first time.
pub(super) fn jars() -> Result<PathBuf, StartError> {
    let kafka = format!("org.apache.kafka:kafka_2.13:{VERSION}");
    // Kafka's jars bring no logger of their own; readiness is read off the log.
    maven::jars(&format!("kafka-{VERSION}"), &[&kafka, "org.slf4j:slf4j-simple:1.7.36"])
}

/// What `kafka-console-consumer.sh` of Kafka's own distribution runs, as the beginning of a shell command.
pub fn console_consumer() -> Result<String, StartError> {
    maven::require_java()?;
    let class_path = maven::class_path(&tools()?);
    Ok(format!("exec java -cp '{class_path}' org.apache.kafka.tools.consumer.ConsoleConsumer"))
}

/// The folder of the jars of Kafka's command line tools, fetched if this is the first time.
pub(super) fn tools() -> Result<PathBuf, StartError> {
    let tools = format!("org.apache.kafka:kafka-tools:{VERSION}");
    maven::jars(&format!("kafka-tools-{VERSION}"), &[&tools, "org.slf4j:slf4j-nop:1.7.36"])
}

/// Makes the metadata of a new cluster, the SCRAM login included.
fn format_storage(class_path: &str, folder: &Folder) -> Result<(), StartError> {
    let scram = format!("SCRAM-SHA-256=[name={USER},password={PASSWORD}]");
    let arguments = ["format", "-t", CLUSTER, "-c", "server.properties", "--add-scram", &scram];
    run(&java(class_path, "kafka.tools.StorageTool", &arguments), folder.path()).map(|_| ())
}

fn java<'a>(class_path: &'a str, class: &'a str, arguments: &[&'a str]) -> Vec<&'a str> {
    let small = ["-Xmx512m", "-XX:+UseSerialGC", "-Djava.awt.headless=true"];
    [&["java"], &small[..], &["-cp", class_path, class], arguments].concat()
}

/// `server.properties`, line by line.
fn properties(options: &KafkaOptions, folder: &Path, node: &Node) -> String {
    let Node { id, ports: [clients, broker, controller], voters } = node;
    let protocol = match (options.sasl, options.tls) {
        (false, false) => "PLAINTEXT",
        (false, true) => "SSL",
        (true, false) => "SASL_PLAINTEXT",
        (true, true) => "SASL_SSL",
    };
    let folder = folder.display();
    let mut text = format!(
        "process.roles=broker,controller\n\
         node.id={id}\n\
         controller.quorum.voters={voters}\n\
         controller.listener.names=CONTROLLER\n\
         inter.broker.listener.name=BROKER\n\
         listeners=CLIENTS://127.0.0.1:{clients},BROKER://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=CLIENTS://127.0.0.1:{clients},BROKER://127.0.0.1:{broker}\n\
         listener.security.protocol.map=CLIENTS:{protocol},BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         log.dirs={folder}/data\n\
         auto.create.topics.enable=false\n\
         message.max.bytes=20971520\n\
         offsets.topic.num.partitions=1\n\
         offsets.topic.replication.factor=1\n\
         share.coordinator.state.topic.num.partitions=1\n\
         share.coordinator.state.topic.replication.factor=1\n\
         transaction.state.log.num.partitions=1\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         group.initial.rebalance.delay.ms=0\n\
         log.initial.task.delay.ms=500\n\
         log.retention.check.interval.ms=1000\n"
    );
    if options.sasl {
        let login = "listener.name.clients";
        text += &format!(
            "{login}.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256\n\
             {login}.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\" user_{READER}=\"{PASSWORD}\";\n\
             {login}.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;\n"
        );
    }
    if options.acls {
        text += &format!(
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
             super.users=User:ANONYMOUS;User:{USER}\n"
        );
    }
    if options.tls {
        text += &format!("ssl.keystore.type=PEM\nssl.keystore.location={folder}/{}\n", certificates::SERVER);
    }
    text
}
