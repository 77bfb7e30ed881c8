//! Redis 7, the Debian package: one server, everything kept in its log so that it can be stopped and started.

use super::folder::Folder;
use super::process::{Process, START_LIMIT};
use super::{Running, StartError, certificates, ports};

/// The login of a server that asks for one: may do anything.
pub const USER: &str = "caudal";

/// Its password.
pub const PASSWORD: &str = "correct-horse";

/// A login that may read and run nothing else.
pub const READER: &str = "reader";

/// How the server is secured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RedisOptions {
    /// Clients log in with [`USER`] and [`PASSWORD`].
    pub password: bool,
    /// The connection is TLS; the authority is [`ca`].
    pub tls: bool,
}

/// Starts a server and returns once it serves clients.
pub fn start(options: &RedisOptions) -> Result<Running, StartError> {
    let [port] = ports::free()?;
    start_with(options, port, "", None)
}

/// The same on this port, with more lines in its configuration, and the certificate of another one.
pub fn start_with(options: &RedisOptions, port: u16, lines: &str, other: Option<&Running>) -> Result<Running, StartError> {
    let folder = Folder::new("redis")?;
    match other {
        _ if !options.tls => {}
        None => certificates::make(&folder)?,
        Some(other) => certificates::copy(&other.folder, &folder)?,
    }
    folder.write("redis.conf", &(configuration(options, &folder, port) + lines))?;
    let process = serve(&folder)?;
    Ok(Running { address: format!("127.0.0.1:{port}"), variable: "CAUDAL_TEST_REDIS", process, folder })
}

/// Starts a stopped server again, on its port and data.
pub fn restart(running: &mut Running) -> Result<(), StartError> {
    running.process.kill();
    running.process = serve(&running.folder)?;
    Ok(())
}

/// The same, without waiting until it serves clients: it may be loading.
pub fn restart_at_once(running: &mut Running) -> Result<(), StartError> {
    running.process.kill();
    running.process = Process::spawn("redis-server", &running.folder, &["redis-server", "redis.conf"])?;
    Ok(())
}

/// The PEM file of the authority that signed a TLS server's certificate.
pub fn ca(running: &Running) -> String {
    running.folder.path().join(certificates::CA).display().to_string()
}

fn serve(folder: &Folder) -> Result<Process, StartError> {
    let mut process = Process::spawn("redis-server", folder, &["redis-server", "redis.conf"])?;
    process.wait_until(START_LIMIT, |printed| printed.contains("Ready to accept connections"))?;
    Ok(process)
}

/// `redis.conf`, line by line.
fn configuration(options: &RedisOptions, folder: &Folder, port: u16) -> String {
    format!("appendonly yes\nappendfsync always\nsave \"\"\n{}", access(options, folder, port))
}

/// Where it listens and to whom.
pub(super) fn access(options: &RedisOptions, folder: &Folder, port: u16) -> String {
    let mut text = format!("bind 127.0.0.1\ndir {}\n", folder.path().display());
    text += &match options.tls {
        false => format!("port {port}\n"),
        true => format!(
            "port 0\ntls-port {port}\ntls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {}\ntls-auth-clients no\n",
            certificates::SERVER_CERTIFICATE,
            certificates::SERVER_KEY,
            certificates::CA
        ),
    };
    if options.password {
        text += &format!(
            "user default off\nuser {USER} on >{PASSWORD} ~* &* +@all\nuser {READER} on >{PASSWORD} ~* +@read +ping +info\n"
        );
    }
    text
}
