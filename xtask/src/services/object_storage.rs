//! Object storage: S3Proxy, an S3 server over a folder, from the jars that Maven has.
//!
//! Chosen because it really refuses a put with `If-None-Match: *` when the object is there, however many come at once: it
//! links the object's file to its name, which fails if the name exists. Others look first and put then.

use super::folder::Folder;
use super::process::{Process, START_LIMIT};
use super::{Running, StartError, maven, ports};
use std::path::PathBuf;

/// The release that tests run against.
pub const VERSION: &str = "4.1.0";

/// What it needs in another version than Maven would choose: otherwise a class is missing at its start.
const CORRECTED: &str = "com.fasterxml.jackson.core:jackson-annotations:2.21";

/// The login.
pub const ACCESS_KEY: &str = "caudal";

/// Its secret.
pub const SECRET_KEY: &str = "correct-horse";

/// The bucket that is there.
pub const BUCKET: &str = "caudal-tests";

/// Starts a server and returns once it serves clients.
pub fn start() -> Result<Running, StartError> {
    maven::require_java()?;
    let folder = Folder::new("s3")?;
    let [port] = ports::free()?;
    let bucket = folder.path().join("data").join(BUCKET);
    std::fs::create_dir_all(&bucket).map_err(|cause| StartError(format!("cannot create {}: {cause}", bucket.display())))?;
    folder.write("s3proxy.conf", &configuration(&folder, port))?;
    folder.write("logback.xml", LOGGING)?;
    let process = serve(&folder)?;
    Ok(Running { address: format!("127.0.0.1:{port}"), variable: "CAUDAL_TEST_S3", process, folder })
}

/// Starts a stopped server again, on its port and data.
pub fn restart(running: &mut Running) -> Result<(), StartError> {
    running.process.kill();
    running.process = serve(&running.folder)?;
    Ok(())
}

/// The variables that lead a client to the server at `address`.
pub fn variables(address: &str) -> [(&'static str, String); 5] {
    [
        ("AWS_ENDPOINT_URL", format!("http://{address}")),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
    ]
}

/// The folder of its jars, fetched if this is the first time.
pub(super) fn jars() -> Result<PathBuf, StartError> {
    maven::jars(&format!("s3proxy-{VERSION}"), &[&format!("org.gaul:s3proxy:{VERSION}"), CORRECTED])
}

fn serve(folder: &Folder) -> Result<Process, StartError> {
    let class_path = maven::class_path(&jars()?);
    let mut command = vec!["java", "-Xmx256m", "-XX:+UseSerialGC", "-Dlogback.configurationFile=logback.xml"];
    command.extend(["-cp", &class_path, "org.gaul.s3proxy.Main", "--properties", "s3proxy.conf"]);
    let mut process = Process::spawn("s3proxy", folder, &command)?;
    process.wait_until(START_LIMIT, |printed| printed.contains("Server Started"))?;
    Ok(process)
}

const LOGGING: &str = r#"<configuration>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender"><encoder><pattern>%-5level %logger{0} %msg%n</pattern></encoder></appender>
  <root level="INFO"><appender-ref ref="OUT"/></root>
</configuration>
"#;

fn configuration(folder: &Folder, port: u16) -> String {
    format!(
        "s3proxy.endpoint=http://127.0.0.1:{port}\n\
         s3proxy.authorization=aws-v2-or-v4\n\
         s3proxy.identity={ACCESS_KEY}\n\
         s3proxy.credential={SECRET_KEY}\n\
         s3proxy.v4-max-non-chunked-request-size=1073741824\n\
         jclouds.provider=filesystem\n\
         jclouds.filesystem.basedir={}/data\n",
        folder.path().display()
    )
}
