//! Prometheus, the Debian package: an own configuration, an own port, scraping what it is told every second.

use super::folder::Folder;
use super::process::{Process, START_LIMIT};
use super::{Running, StartError, ports};

/// Starts a server that scrapes itself and `targets` (`host:port`), and returns once it answers.
pub fn start(targets: &[&str]) -> Result<Running, StartError> {
    let folder = Folder::new("prometheus")?;
    let [port] = ports::free()?;
    let address = format!("127.0.0.1:{port}");
    folder.write("prometheus.yml", &configuration(&address, targets))?;
    let listen = format!("--web.listen-address={address}");
    let command = ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data", &listen];
    let mut process = Process::spawn("prometheus", &folder, &command)?;
    process.wait_until(START_LIMIT, |printed| printed.contains("Server is ready to receive web requests"))?;
    Ok(Running { address, variable: "CAUDAL_TEST_PROMETHEUS", process, folder })
}

fn configuration(own: &str, targets: &[&str]) -> String {
    let quoted = |target: &&str| format!("'{target}'");
    let targets = targets.iter().map(quoted).collect::<Vec<_>>().join(", ");
    format!(
        "global: {{scrape_interval: 1s}}\n\
         scrape_configs:\n\
         - {{job_name: prometheus, static_configs: [{{targets: ['{own}']}}]}}\n\
         - {{job_name: caudal, static_configs: [{{targets: [{targets}]}}]}}\n"
    )
}
