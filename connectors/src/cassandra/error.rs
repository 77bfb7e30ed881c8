//! What a cluster's refusal means for the statement, the row, the cut or the sink.

use caudal_pipeline::ports::sink::SinkError;
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Too much at once, or too slow: fewer in flight, and again. It may have taken effect, which does no harm.
    Busy(String),
    /// Not enough of the cluster is there.
    Away(String),
    /// This row alone will never be taken.
    TooLarge(String),
    /// Login, permission or table: someone must act.
    Refused(String),
}

impl Fault {
    /// The fault as the sink's driver acts on it.
    pub fn into_sink_error(self, attempted: &str) -> SinkError {
        match self {
            Fault::Busy(said) | Fault::Away(said) => SinkError::Retry(format!("cannot {attempted}: {said}")),
            Fault::TooLarge(said) | Fault::Refused(said) => SinkError::Stop(format!("cannot {attempted}: {said}")),
        }
    }
}

/// Sorts what became of a statement on `table`.
pub fn fault(error: &ExecutionError, table: &str) -> Fault {
    let said = error.to_string();
    match error {
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(db, message)) => by_server(db, message, table),
        // The node is silent, which no smaller window would change.
        ExecutionError::RequestTimeout(_) => Fault::Away(said),
        ExecutionError::BadQuery(_) | ExecutionError::LastAttemptError(RequestAttemptError::SerializationError(_)) => {
            Fault::Refused(format!("the driver does not accept a row for {table}: {said}"))
        }
        _ => by_words(said),
    }
}

fn by_server(db: &DbError, message: &str, table: &str) -> Fault {
    let said = format!("{db}: {message}");
    match db {
        DbError::Unauthorized => {
            Fault::Refused(format!("{message}; let the job's role do it: GRANT MODIFY, SELECT ON {table} TO …"))
        }
        DbError::AuthenticationError if is_undecided(message) => Fault::Away(said),
        DbError::AuthenticationError => Fault::Refused(format!("{message}; check user and password of the sink")),
        DbError::Invalid | DbError::ServerError if is_too_large(message) => Fault::TooLarge(message.to_owned()),
        DbError::Invalid
        | DbError::SyntaxError
        | DbError::ConfigError
        | DbError::ProtocolError
        | DbError::AlreadyExists { .. } => Fault::Refused(format!(
            "{table} does not take what this job writes ({message}); compare it with what `caudal check --ddl` prints"
        )),
        DbError::Unavailable { .. } | DbError::IsBootstrapping | DbError::Unprepared { .. } => Fault::Away(said),
        // Overload, timeouts, failures of replicas, a server in trouble.
        _ => Fault::Busy(said),
    }
}

fn is_too_large(message: &str) -> bool {
    let message = message.to_lowercase();
    ["oversized", "too large", "longer than maximum", "exceeds", "larger than"].iter().any(|words| message.contains(words))
}

/// Whether a node could not look the login up, its replicas being away: nobody has judged it, though the code is that of
/// a wrong password.
fn is_undecided(message: &str) -> bool {
    let message = message.to_lowercase();
    ["unable to perform authentication", "cannot achieve consistency"].iter().any(|words| message.contains(words))
}

/// Errors of connecting and of metadata nest the cause in many ways: its words are what is stable.
pub fn by_words(said: String) -> Fault {
    let lower = said.to_lowercase();
    if is_undecided(&lower) {
        Fault::Away(said)
    } else if lower.contains("authentication") || lower.contains("bad credentials") {
        Fault::Refused(format!("{said}; check user and password of the sink"))
    } else if lower.contains("certificate") {
        Fault::Refused(format!(
            "{said}; name the authority that signed the nodes' certificates, which must name the nodes' addresses"
        ))
    } else {
        Fault::Away(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_told_apart() {
        let of = |db: DbError, message: &str| by_server(&db, message, "k.t");
        assert!(matches!(of(DbError::Overloaded, ""), Fault::Busy(_)));
        assert!(matches!(of(DbError::ServerError, "java.lang.RuntimeException"), Fault::Busy(_)));
        assert!(matches!(of(DbError::IsBootstrapping, ""), Fault::Away(_)));
        assert!(matches!(of(DbError::Invalid, "Unconfigured table t"), Fault::Refused(_)));
        assert!(matches!(of(DbError::Invalid, "Key length of 70000 is longer than maximum of 65535"), Fault::TooLarge(_)));
        let Fault::Refused(said) = of(DbError::Unauthorized, "User x has no MODIFY permission") else { panic!("refused") };
        assert!(said.contains("GRANT MODIFY, SELECT ON k.t"), "{said}");
    }

    #[test]
    fn connecting_is_tried_again_unless_the_login_is_wrong() {
        assert!(matches!(by_words("Connection refused (os error 111)".to_owned()), Fault::Away(_)));
        assert!(matches!(by_words("Database returned an error: Authentication failed".to_owned()), Fault::Refused(_)));
        let wrong = "Provided username caudal and/or password are incorrect";
        assert!(matches!(by_server(&DbError::AuthenticationError, wrong, "k.t"), Fault::Refused(_)));
        assert!(matches!(by_words("invalid peer certificate: UnknownIssuer".to_owned()), Fault::Refused(_)));
    }

    /// A cluster that starts lets a node answer before the replicas of its roles are there: the sink stopped for good, told
    /// to check its password.
    #[test]
    fn a_login_that_cannot_be_looked_up_now_is_tried_again() {
        let said = "Unable to perform authentication: Cannot achieve consistency level LOCAL_ONE";
        assert!(matches!(by_server(&DbError::AuthenticationError, said, "k.t"), Fault::Away(_)));
        assert!(matches!(by_words(format!("Database returned an error: Authentication failed: {said}")), Fault::Away(_)));
    }
}
