//! Whether a refusal of SQLite passes.

use caudal_pipeline::ports::sink::SinkError;
use rusqlite::ErrorCode;
use std::path::Path;

/// Sorts a refusal: busy, full and interrupted pass, the rest does not.
pub(super) fn sink_error(path: &Path, attempted: &str, error: &rusqlite::Error) -> SinkError {
    let path = path.display();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            SinkError::Retry(format!("cannot {attempted} {path}: another program holds it locked"))
        }
        Some(ErrorCode::DiskFull) => SinkError::Retry(format!("cannot {attempted} {path}: no space left on the disk")),
        Some(ErrorCode::SystemIoFailure | ErrorCode::OperationInterrupted | ErrorCode::OutOfMemory) => {
            SinkError::Retry(format!("cannot {attempted} {path}: {error}"))
        }
        Some(ErrorCode::NotADatabase) => SinkError::Stop(format!("{path} is not an SQLite file: move it away or name another")),
        Some(ErrorCode::DatabaseCorrupt) => {
            SinkError::Stop(format!("{path} is damaged ({error}): move it away, the rows that the ledger keeps are written anew"))
        }
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            SinkError::Stop(format!("not allowed to {attempted} {path}: check its owner and mode ({error})"))
        }
        _ => SinkError::Stop(format!("cannot {attempted} {path}: {error}")),
    }
}

/// Whether a single row is what SQLite will never take.
pub(super) fn is_of_one_row(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::TooBig)
}
