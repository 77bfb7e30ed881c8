//! Requests to the cluster: bounded in number, fewer under overload, each repeated as long as that may help.

use super::error::{Fault, fault};
use super::statements::{Origin, Request};
use scylla::client::session::Session;
use scylla::errors::ExecutionError;
use scylla::statement::batch::{Batch, BatchStatement, BatchType};
use scylla::statement::prepared::PreparedStatement;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Attempts of one request within a cut; then the driver of the sink backs off and the cut begins again.
pub(super) const ATTEMPTS_MAX: u32 = 7;

/// The pause before the second attempt; doubled each time.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// What one cut's requests share.
pub struct Writer {
    /// The cluster.
    pub session: Arc<Session>,
    /// One INSERT for each table, with the table's name for messages.
    pub inserts: Arc<[(PreparedStatement, String)]>,
    /// Requests in flight at most.
    pub in_flight_max: usize,
}

/// Writes that no server takes, with what it said.
pub type Refused = Vec<(Origin, String)>;

impl Writer {
    /// Returns once every request is written or its row refused for its size; on any other fault what is in flight is
    /// dropped, to be repeated with the cut.
    pub async fn write(&self, requests: Vec<Request>) -> Result<Refused, Fault> {
        let mut waiting: VecDeque<(Request, u32)> = requests.into_iter().map(|request| (request, 0)).collect();
        let mut in_flight = JoinSet::new();
        let mut window = Window::new(self.in_flight_max);
        let mut refused = Refused::new();
        loop {
            while in_flight.len() < window.size() {
                let Some((request, attempt)) = waiting.pop_front() else { break };
                in_flight.spawn(attempted(self.session.clone(), self.inserts.clone(), request, attempt));
            }
            let Some(done) = in_flight.join_next().await else { return Ok(refused) };
            let (request, attempt, outcome) = done.expect("a request neither panics nor is cancelled");
            match outcome {
                Ok(()) => window.grow(),
                Err(Fault::Busy(_)) if attempt + 1 < ATTEMPTS_MAX => {
                    window.halve();
                    waiting.push_back((request, attempt + 1));
                }
                // Which of them is too large shows one by one.
                Err(Fault::TooLarge(_)) if request.writes.len() > 1 => {
                    let alone = |write| (Request { table: request.table, writes: vec![write] }, 0);
                    waiting.extend(request.writes.into_iter().map(alone));
                }
                Err(Fault::TooLarge(cause)) => {
                    refused.extend(request.writes.into_iter().map(|(origin, _)| (origin, cause.clone())))
                }
                Err(fault) => return Err(fault),
            }
        }
    }
}

async fn attempted(
    session: Arc<Session>,
    inserts: Arc<[(PreparedStatement, String)]>,
    request: Request,
    attempt: u32,
) -> (Request, u32, Result<(), Fault>) {
    if attempt > 0 {
        tokio::time::sleep(FIRST_PAUSE * 2u32.pow(attempt - 1)).await;
    }
    let (insert, table) = &inserts[request.table];
    let outcome = send(&session, insert, &request).await.map_err(|error| fault(&error, table));
    (request, attempt, outcome)
}

async fn send(session: &Session, insert: &PreparedStatement, request: &Request) -> Result<(), ExecutionError> {
    if let [(_, values)] = &request.writes[..] {
        return session.execute_unpaged(insert, values).await.map(|_| ());
    }
    let statements = vec![BatchStatement::PreparedStatement(insert.clone()); request.writes.len()];
    let mut batch = Batch::new_with_statements(BatchType::Unlogged, statements);
    batch.set_is_idempotent(true);
    let values: Vec<_> = request.writes.iter().map(|(_, values)| values).collect();
    session.batch(&batch, values).await.map(|_| ())
}

/// How many requests may be in flight: one more for every windowful that went well, half at every overload.
struct Window {
    max: usize,
    size: usize,
    went_well: usize,
}

impl Window {
    fn new(max: usize) -> Window {
        Window { max: max.max(1), size: max.max(1), went_well: 0 }
    }

    fn size(&self) -> usize {
        self.size
    }

    fn grow(&mut self) {
        self.went_well += 1;
        if self.went_well >= self.size {
            self.went_well = 0;
            self.size = (self.size + 1).min(self.max);
        }
    }

    fn halve(&mut self) {
        self.went_well = 0;
        self.size = (self.size / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overload_halves_and_success_adds_one() {
        let mut window = Window::new(8);
        window.halve();
        window.halve();
        assert_eq!(window.size(), 2);
        window.grow();
        assert_eq!(window.size(), 2);
        window.grow();
        assert_eq!(window.size(), 3);
        (0..100).for_each(|_| window.grow());
        assert_eq!(window.size(), 8);
        (0..9).for_each(|_| window.halve());
        assert_eq!(window.size(), 1);
    }
}
