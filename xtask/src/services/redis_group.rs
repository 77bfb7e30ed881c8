//! Several Redis servers that stand in for one another: a primary with a replica, watched by three Sentinels, or a
//! cluster of three primaries with a replica each.

use super::folder::Folder;
use super::process::{Process, START_LIMIT, run};
use super::redis::{PASSWORD, RedisOptions, USER, access, start_with};
use super::{Running, StartError, certificates, ports};
use std::time::Duration;

/// The name under which Sentinels know the primary.
pub const NAME: &str = "main";

/// A primary, its replica, and who watches them. All share an authority.
#[derive(Debug)]
pub struct Watched {
    /// As it was started.
    pub primary: Running,
    /// As it was started.
    pub replica: Running,
    /// Three of them.
    pub sentinels: Vec<Running>,
}

/// Starts all five and returns once the replica has caught up and each Sentinel knows the others.
pub fn start_watched(options: &RedisOptions) -> Result<Watched, StartError> {
    let [primary_port, replica_port, sentinel_ports @ ..] = ports::free::<5>()?;
    let replication = replication(options);
    let primary = start_with(options, primary_port, &replication, None)?;
    let replica =
        start_with(options, replica_port, &format!("{replication}replicaof 127.0.0.1 {primary_port}\n"), Some(&primary))?;
    let sentinel = |port| start_sentinel(options, port, primary_port, &primary);
    let sentinels = sentinel_ports.into_iter().map(sentinel).collect::<Result<Vec<_>, _>>()?;
    let watched = Watched { primary, replica, sentinels };
    for sentinel in &watched.sentinels {
        let sentinels = format!("num-other-sentinels\n{}\n", watched.sentinels.len() - 1);
        until("Sentinels know one another", || {
            let told = ask(options, sentinel, &["SENTINEL", "MASTER", NAME])?;
            Ok(told.contains(&sentinels) && told.contains("num-slaves\n1\n"))
        })?;
    }
    until("the replica has caught up", || {
        Ok(ask(options, &watched.replica, &["INFO", "replication"])?.contains("master_link_status:up"))
    })?;
    Ok(watched)
}

/// Starts six servers and returns once they are one cluster: three primaries, each followed by the server three further.
pub fn start_cluster(options: &RedisOptions) -> Result<Vec<Running>, StartError> {
    let ports = ports::free::<12>()?;
    let mut servers: Vec<Running> = Vec::new();
    for pair in ports.chunks(2) {
        let lines = format!(
            "{}cluster-enabled yes\ncluster-port {}\ncluster-node-timeout 3000\ncluster-replica-validity-factor 0\n{}",
            replication(options),
            pair[1],
            if options.tls { "tls-cluster yes\n" } else { "" }
        );
        servers.push(start_with(options, pair[0], &lines, servers.first())?);
    }
    let slots = ["0 5460", "5461 10922", "10923 16383"];
    for (server, slots) in servers.iter().zip(slots) {
        let command: Vec<&str> = ["CLUSTER", "ADDSLOTSRANGE"].into_iter().chain(slots.split(' ')).collect();
        ask(options, server, &command)?;
    }
    for (n, server) in servers.iter().enumerate() {
        ask(options, server, &["CLUSTER", "SET-CONFIG-EPOCH", &(n + 1).to_string()])?;
    }
    for pair in ports.chunks(2).skip(1) {
        let [port, bus] = [pair[0], pair[1]].map(|port| port.to_string());
        ask(options, &servers[0], &["CLUSTER", "MEET", "127.0.0.1", &port, &bus])?;
    }
    for server in &servers {
        until("the servers know one another", || {
            let info = ask(options, server, &["CLUSTER", "INFO"])?;
            Ok(info.contains("cluster_known_nodes:6") && info.contains("cluster_slots_assigned:16384"))
        })?;
    }
    for (replica, primary) in servers[3..].iter().zip(&servers) {
        let id = ask(options, primary, &["CLUSTER", "MYID"])?;
        ask(options, replica, &["CLUSTER", "REPLICATE", id.trim()])?;
    }
    for server in &servers {
        until("the cluster is well", || {
            let well = ask(options, server, &["CLUSTER", "INFO"])?.contains("cluster_state:ok");
            let nodes = ask(options, server, &["CLUSTER", "NODES"])?;
            Ok(well && nodes.lines().filter(|line| line.contains("slave")).count() == 3)
        })?;
    }
    for replica in &servers[3..] {
        until("the replica has caught up", || {
            Ok(ask(options, replica, &["INFO", "replication"])?.contains("master_link_status:up"))
        })?;
    }
    Ok(servers)
}

/// One command through redis-cli, as [`USER`] where there is a login.
pub fn ask(options: &RedisOptions, server: &Running, command: &[&str]) -> Result<String, StartError> {
    let arguments = cli(options, server);
    let whole: Vec<&str> =
        std::iter::once("redis-cli").chain(arguments.iter().map(String::as_str)).chain(command.iter().copied()).collect();
    let answer = run(&whole, server.folder.path())?;
    let refused = answer.split_once(' ').is_some_and(|(code, _)| code.len() > 2 && code.bytes().all(|c| c.is_ascii_uppercase()));
    if refused { Err(StartError(format!("{}: {answer}", command.join(" ")))) } else { Ok(answer) }
}

/// The options that lead redis-cli there.
pub fn cli(options: &RedisOptions, server: &Running) -> Vec<String> {
    let port = server.address.rsplit_once(':').expect("an address has a port").1;
    let mut arguments = vec!["-p".to_owned(), port.to_owned(), "--raw".to_owned()];
    if options.password {
        arguments.extend(["--no-auth-warning", "--user", USER, "-a", PASSWORD].map(str::to_owned));
    }
    if options.tls {
        arguments.extend(["--tls".to_owned(), "--cacert".to_owned(), super::redis::ca(server)]);
    }
    arguments
}

/// What a server needs to follow another one. Nothing is synced: a kill loses nothing that the system has, and a slow disk
/// would have a server that stands still for a sync taken for a dead one.
fn replication(options: &RedisOptions) -> String {
    let mut lines = "appendfsync no\nrepl-diskless-sync-delay 0\nrepl-ping-replica-period 1\n".to_owned();
    if options.password {
        lines += &format!("masteruser {USER}\nmasterauth {PASSWORD}\n");
    }
    if options.tls {
        lines += "tls-replication yes\n";
    }
    lines
}

fn start_sentinel(options: &RedisOptions, port: u16, primary: u16, other: &Running) -> Result<Running, StartError> {
    let folder = Folder::new("sentinel")?;
    let mut text = access(options, &folder, port);
    if options.tls {
        certificates::copy(&other.folder, &folder)?;
        text += "tls-replication yes\n";
    }
    text += &format!(
        "sentinel monitor {NAME} 127.0.0.1 {primary} 2\nsentinel down-after-milliseconds {NAME} 2000\nsentinel failover-timeout {NAME} 4000\n"
    );
    if options.password {
        text += &format!(
            "sentinel auth-user {NAME} {USER}\nsentinel auth-pass {NAME} {PASSWORD}\nsentinel sentinel-user {USER}\nsentinel sentinel-pass {PASSWORD}\n"
        );
    }
    folder.write("sentinel.conf", &text)?;
    let mut process = Process::spawn("redis-server", &folder, &["redis-server", "sentinel.conf", "--sentinel"])?;
    process.wait_until(START_LIMIT, |printed| printed.contains("+monitor"))?;
    Ok(Running { address: format!("127.0.0.1:{port}"), variable: "CAUDAL_TEST_REDIS", process, folder })
}

fn until(what: &str, mut holds: impl FnMut() -> Result<bool, StartError>) -> Result<(), StartError> {
    let deadline = std::time::Instant::now() + START_LIMIT;
    while !holds()? {
        if std::time::Instant::now() > deadline {
            return Err(StartError(format!("still not: {what}")));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
