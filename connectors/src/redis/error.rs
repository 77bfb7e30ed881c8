//! Whose fault a refusal is: worth trying again, or the end of this sink until someone acts.

use caudal_pipeline::ports::sink::SinkError;
use redis::{ErrorKind, RedisError};

/// Codes of a server that is busy with itself and will be back.
const PASSING: [&str; 12] = [
    "LOADING",
    "READONLY",
    "MASTERDOWN",
    "TRYAGAIN",
    "CLUSTERDOWN",
    "BUSY",
    "NOREPLICAS",
    "OOM",
    "MISCONF",
    "UNKILLABLE",
    "EXECABORT",
    "FAILOVER",
];

/// What a server's refusal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Away or busy.
    Passing,
    /// Login, permission, certificate.
    Login,
    /// The functions are not, or no longer, in the server.
    FunctionsMissing,
    /// The server has no functions, or has them switched off for us.
    NoFunctions,
    /// A key of ours holds something else.
    ForeignKey,
    /// The server belongs to a cluster and sends us elsewhere.
    Cluster,
    /// Anything else: trying again is harmless and may help.
    Unknown,
}

/// Sorts an error by its code and words.
pub fn refusal(error: &RedisError) -> Refusal {
    let said = error.to_string();
    match error.kind() {
        ErrorKind::AuthenticationFailed => return Refusal::Login,
        ErrorKind::Io if said.contains("certificate") => return Refusal::Login,
        ErrorKind::Io => return Refusal::Passing,
        _ => {}
    }
    match error.clone().into_server_errors() {
        Some(errors) => errors.iter().map(|(_, e)| by_code(e.code(), e.details().unwrap_or_default())).max_by_key(gravity),
        None => Some(Refusal::Unknown),
    }
    .unwrap_or(Refusal::Unknown)
}

fn by_code(code: &str, details: &str) -> Refusal {
    let details = details.to_lowercase();
    match code {
        _ if PASSING.contains(&code) => Refusal::Passing,
        "NOSCRIPT" => Refusal::FunctionsMissing,
        "NOAUTH" | "WRONGPASS" | "DENIED" => Refusal::Login,
        // A function that its user may not call, and a command that its user may not run.
        "NOPERM" => Refusal::Login,
        "WRONGTYPE" => Refusal::ForeignKey,
        "MOVED" | "ASK" | "CROSSSLOT" => Refusal::Cluster,
        "ERR" if details.contains("invalid password") || details.contains("without any password configured") => Refusal::Login,
        "ERR" if details.contains("function not found") => Refusal::FunctionsMissing,
        "ERR" if details.contains("unknown command") => Refusal::NoFunctions,
        // What a function's own call was refused with arrives as text.
        "ERR" if details.contains("wrongtype") => Refusal::ForeignKey,
        "ERR" if details.contains("noperm") || details.contains("acl failure") => Refusal::Login,
        // The same in Redis 7.0.
        "ERR" if details.contains("the user executing the script can't") => Refusal::Login,
        _ => Refusal::Unknown,
    }
}

/// Of several errors in one pipeline the gravest decides.
pub fn gravity(refusal: &Refusal) -> u8 {
    match refusal {
        Refusal::Unknown => 0,
        Refusal::Passing => 1,
        Refusal::FunctionsMissing => 2,
        Refusal::NoFunctions | Refusal::ForeignKey | Refusal::Cluster | Refusal::Login => 3,
    }
}

/// The error as the sink's driver acts on it.
pub fn sink_error(place: &str, attempted: &str, error: &RedisError) -> SinkError {
    // The system's words for it are those of a resource that is not available.
    let cause = if error.is_timeout() { "no answer in time".to_owned() } else { words(error) };
    let said = format!("cannot {attempted} at {place}: {cause}");
    match refusal(error) {
        Refusal::Login if error.to_string().contains("certificate") => {
            SinkError::Stop(format!("{said}; name the authority that signed the server's certificate in `tls_ca`"))
        }
        Refusal::Login => SinkError::Stop(format!(
            "{said}; check user and password in the sink's url: the user needs +fcall +function|load (or +evalsha +script|load) and what they call, on the job's keys, and +scan where its rows are read back"
        )),
        Refusal::NoFunctions => {
            SinkError::Stop(format!("{said}; the server must be Redis 7 or newer, or Valkey, or allow scripts"))
        }
        Refusal::ForeignKey => SinkError::Stop(format!(
            "{said}; a key of this job holds something else: remove it, or use another database or job name"
        )),
        Refusal::Cluster => SinkError::Stop(format!(
            "{said}; this server is a member of a cluster: name it and others under `cluster`, in place of `url`"
        )),
        Refusal::Passing | Refusal::FunctionsMissing | Refusal::Unknown => SinkError::Retry(said),
    }
}

/// What the server says; of many commands that were sent together and refused, the gravest refusal.
fn words(error: &RedisError) -> String {
    let refused = error.clone().into_server_errors().unwrap_or_default();
    let weight = |code: &str, details: Option<&str>| gravity(&by_code(code, details.unwrap_or_default()));
    match refused.iter().max_by_key(|(_, e)| weight(e.code(), e.details())) {
        Some((_, e)) if refused.len() > 1 => {
            format!("{}: {}, for {} commands", e.code(), e.details().unwrap_or_default(), refused.len())
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_apart() {
        for (code, details, expected) in [
            ("LOADING", "Redis is loading the dataset in memory", Refusal::Passing),
            ("READONLY", "You can't write against a read only replica.", Refusal::Passing),
            ("MASTERDOWN", "Link with MASTER is down", Refusal::Passing),
            ("OOM", "command not allowed", Refusal::Passing),
            ("NOAUTH", "Authentication required.", Refusal::Login),
            ("WRONGPASS", "invalid username-password pair", Refusal::Login),
            ("NOPERM", "this user has no permissions", Refusal::Login),
            ("ERR", "ACL failure in script: User u has no permissions to run the 'zadd' command", Refusal::Login),
            ("ERR", "The user executing the script can't run this command or subcommand script: f", Refusal::Login),
            ("ERR", "Function not found", Refusal::FunctionsMissing),
            ("NOSCRIPT", "No matching script.", Refusal::FunctionsMissing),
            ("ERR", "unknown command 'FUNCTION'", Refusal::NoFunctions),
            ("WRONGTYPE", "Operation against a key", Refusal::ForeignKey),
            ("MOVED", "1 127.0.0.1:2", Refusal::Cluster),
            ("ERR", "max number of clients reached", Refusal::Unknown),
        ] {
            assert_eq!(by_code(code, details), expected, "{code} {details}");
        }
    }

    #[test]
    fn a_broken_connection_is_tried_again() {
        let error = RedisError::from(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
        assert!(matches!(sink_error("redis://h", "connect", &error), SinkError::Retry(_)));
        let error = RedisError::from(std::io::Error::from(std::io::ErrorKind::WouldBlock));
        let SinkError::Retry(said) = sink_error("redis://h", "write rows", &error) else { panic!("silence may pass") };
        assert_eq!(said, "cannot write rows at redis://h: no answer in time");
    }
}
