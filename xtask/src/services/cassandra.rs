//! Apache Cassandra 5.0: one node from the jars that Maven has, on ports of its own.
//!
//! `Murmur3Partitioner`, one token, no gossip to wait for: ready in seconds. Everything lies in the service's folder,
//! so a node can be stopped and started again on its data.

use super::folder::Folder;
use super::process::{Process, START_LIMIT};
use super::{Running, StartError, certificates, maven, ports};
use std::net::TcpStream;
use std::path::PathBuf;

/// The release that tests and benchmarks run against.
pub const VERSION: &str = "5.0.5";

/// The login that a node with authentication is born with; it may do anything.
pub const SUPERUSER: (&str, &str) = ("cassandra", "cassandra");

/// How the node is secured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CassandraOptions {
    /// Clients log in ([`SUPERUSER`] at first) and may do what they were granted.
    pub login: bool,
    /// The connection is TLS; the authority is [`ca`].
    pub tls: bool,
    /// Takes no write of more than 256 KiB, instead of 16 MiB.
    pub small_writes: bool,
}

/// A node that has its ports and does not run yet.
pub struct Prepared {
    /// Where it will be.
    pub address: String,
    port: u16,
    login: bool,
    folder: Folder,
}

/// Starts a node and returns once it serves clients.
pub fn start(options: &CassandraOptions) -> Result<Running, StartError> {
    prepare(options)?.start()
}

/// Makes all that a node needs, and starts nothing.
pub fn prepare(options: &CassandraOptions) -> Result<Prepared, StartError> {
    maven::require_java()?;
    let folder = Folder::new("cassandra")?;
    let [clients, storage] = ports::free()?;
    if options.tls {
        certificates::make(&folder)?;
    }
    folder.write("cassandra.yaml", &configuration(options, &folder, clients, storage))?;
    folder.write("logback.xml", LOGGING)?;
    Ok(Prepared { address: format!("127.0.0.1:{clients}"), port: clients, login: options.login, folder })
}

impl Prepared {
    /// Starts it and returns once it serves clients.
    pub fn start(self) -> Result<Running, StartError> {
        let process = serve(&self.folder, self.port, self.login)?;
        Ok(Running { address: self.address, variable: "CAUDAL_TEST_CASSANDRA", process, folder: self.folder })
    }
}

/// Starts a stopped node again, on its ports and data.
pub fn restart(running: &mut Running) -> Result<(), StartError> {
    running.process.kill();
    let port = running.address.rsplit(':').next().and_then(|port| port.parse().ok());
    let port = port.ok_or_else(|| StartError(format!("{} has no port", running.address)))?;
    running.process = serve(&running.folder, port, false)?;
    Ok(())
}

/// The PEM file of the authority that signed a TLS node's certificate.
pub fn ca(running: &Running) -> String {
    running.folder.path().join(certificates::CA).display().to_string()
}

/// The folder of its jars, fetched if this is the first time.
pub(super) fn jars() -> Result<PathBuf, StartError> {
    maven::jars(&format!("cassandra-{VERSION}"), &[&format!("org.apache.cassandra:cassandra-all:{VERSION}")])
}

/// Starts the daemon and waits for its port; `first_login` waits for the superuser too, who is made a little later.
fn serve(folder: &Folder, port: u16, first_login: bool) -> Result<Process, StartError> {
    let jars = jars()?;
    let class_path = maven::class_path(&jars);
    let place = folder.path().display();
    let settings = [
        format!("-Dcassandra.config=file://{place}/cassandra.yaml"),
        format!("-Dcassandra.storagedir={place}/data"),
        format!("-Dlogback.configurationFile={place}/logback.xml"),
        // Where JNA and netty unpack their libraries: removed with the folder.
        format!("-Djava.io.tmpdir={place}"),
    ];
    let opened: Vec<String> = OPENED.iter().map(|package| format!("--add-opens={package}=ALL-UNNAMED")).collect();
    let exported: Vec<String> = EXPORTED.iter().map(|package| format!("--add-exports={package}=ALL-UNNAMED")).collect();
    let mut command = vec!["java"];
    command.extend(QUICK);
    command.extend(settings.iter().chain(&opened).chain(&exported).map(String::as_str));
    command.extend(["-cp", &class_path, "org.apache.cassandra.service.CassandraDaemon"]);
    let mut process = Process::spawn("cassandra", folder, &command)?;
    process.wait_until(START_LIMIT, |printed| {
        let listening = TcpStream::connect(("127.0.0.1", port)).is_ok();
        listening && (!first_login || printed.contains("Created default superuser"))
    })?;
    Ok(process)
}

/// For a short life on a small machine. What was acknowledged survives a killed process (`commitlog_sync: batch`).
const QUICK: &[&str] = &[
    "-Xms1g",
    "-Xmx1g",
    "-XX:+UseSerialGC",
    "-Djava.awt.headless=true",
    "-Djdk.attach.allowAttachSelf=true",
    "-Dcassandra-foreground=yes",
    "-Dcassandra.ring_delay_ms=1",
    "-Dcassandra.skip_wait_for_gossip_to_settle=0",
    "-Dcassandra.superuser_setup_delay_ms=0",
    "-Dcassandra.jmx.local.port=0",
];

/// What Cassandra's own `jvm17-server.options` opens.
const OPENED: &[&str] = &[
    "java.base/java.io",
    "java.base/java.lang",
    "java.base/java.lang.module",
    "java.base/java.lang.reflect",
    "java.base/java.math",
    "java.base/java.net",
    "java.base/java.nio",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.util.jar",
    "java.base/sun.nio.ch",
    "jdk.management/com.sun.management.internal",
];

/// What it exports.
const EXPORTED: &[&str] = &[
    "java.base/java.lang.ref",
    "java.base/jdk.internal.misc",
    "java.base/jdk.internal.ref",
    "java.base/sun.nio.ch",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.rmi/sun.rmi.transport.tcp",
    "java.sql/java.sql",
    "jdk.unsupported/sun.misc",
];

const LOGGING: &str = r#"<configuration>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender"><encoder><pattern>%-5level %logger{0} %msg%n</pattern></encoder></appender>
  <root level="INFO"><appender-ref ref="OUT"/></root>
</configuration>
"#;

/// `cassandra.yaml`: what has no default, and what a test wants otherwise.
fn configuration(options: &CassandraOptions, folder: &Folder, clients: u16, storage: u16) -> String {
    let place = folder.path().display();
    let mut text = format!(
        "cluster_name: caudal-tests\n\
         num_tokens: 1\n\
         partitioner: org.apache.cassandra.dht.Murmur3Partitioner\n\
         endpoint_snitch: SimpleSnitch\n\
         listen_address: 127.0.0.1\n\
         rpc_address: 127.0.0.1\n\
         native_transport_port: {clients}\n\
         storage_port: {storage}\n\
         commitlog_sync: batch\n\
         commitlog_segment_size: 32MiB\n\
         auto_snapshot: false\n\
         incremental_backups: false\n\
         seed_provider:\n\
         \x20 - class_name: org.apache.cassandra.locator.SimpleSeedProvider\n\
         \x20   parameters: [{{seeds: '127.0.0.1:{storage}'}}]\n"
    );
    if options.login {
        text += "authenticator: PasswordAuthenticator\n\
                 authorizer: CassandraAuthorizer\n\
                 role_manager: CassandraRoleManager\n\
                 permissions_validity: 0ms\n\
                 roles_validity: 0ms\n\
                 credentials_validity: 0ms\n";
    }
    if options.small_writes {
        text += "max_mutation_size: 256KiB\n";
    }
    if options.tls {
        text += &format!(
            "client_encryption_options:\n\
             \x20 enabled: true\n\
             \x20 ssl_context_factory: {{class_name: org.apache.cassandra.security.PEMBasedSslContextFactory}}\n\
             \x20 keystore: {place}/{}\n",
            certificates::SERVER
        );
    }
    text
}
