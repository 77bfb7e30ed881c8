//! One server that is written to: a connection with our functions behind it.

use super::connection;
use super::error::{self, Refusal};
use super::functions::{self, Call, Form};
use super::replies::Replies;
use caudal_pipeline::ports::sink::SinkError;
use redis::{Connection, FromRedisValue, RedisError};

/// See the module. Not used again once a call has failed: replies of a broken pipeline may still be under way.
pub struct Node {
    connection: Connection,
    form: Form,
}

impl Node {
    /// Over a connection that is there. Makes sure of the functions; warnings go to the log.
    pub fn over(mut connection: Connection, place: &str, job: &str) -> Result<Node, SinkError> {
        connection::check_version(place, &mut connection)?;
        for warning in connection::warnings(place, &mut connection) {
            tracing::warn!(job, "{warning}");
        }
        let failed = |error: RedisError| error::sink_error(place, "load functions", &error);
        let form = functions::load(&mut connection).map_err(failed)?;
        Ok(Node { connection, form })
    }

    /// Sends all calls, then reads all replies. Functions that are gone are loaded again, once: calls may be repeated.
    pub fn run<T: FromRedisValue>(&mut self, calls: &[Call]) -> Result<Vec<T>, RedisError> {
        match self.send(calls) {
            Err(error) if error::refusal(&error) == Refusal::FunctionsMissing => {
                self.form = functions::load(&mut self.connection)?;
                self.send(calls)
            }
            done => done,
        }
    }

    fn send<T: FromRedisValue>(&mut self, calls: &[Call]) -> Result<Vec<T>, RedisError> {
        let mut pipeline = redis::Pipeline::with_capacity(calls.len());
        for call in calls {
            pipeline.add_command(functions::command(self.form, call));
        }
        pipeline.query(&mut Replies(&mut self.connection))
    }
}
