//! One server that is written to: a connection with our functions behind it.

use super::connection;
use super::error::{self, Refusal};
use super::functions::{self, Call, Form};
use super::replies::Replies;
use caudal_pipeline::ports::sink::SinkError;
use redis::{Connection, RedisError, Value};

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
    pub fn run(&mut self, calls: &[Call]) -> Result<Vec<Value>, RedisError> {
        match self.send(calls) {
            Err(error) if error::refusal(&error) == Refusal::FunctionsMissing => {
                self.load()?;
                self.send(calls)
            }
            done => done,
        }
    }

    fn send(&mut self, calls: &[Call]) -> Result<Vec<Value>, RedisError> {
        let form = self.form;
        let mut pipeline = redis::Pipeline::with_capacity(calls.len());
        for call in calls {
            pipeline.add_command(functions::command(form, call));
        }
        pipeline.query(&mut Replies(&mut self.connection))
    }

    /// Loads the functions, because they are not there.
    pub fn load(&mut self) -> Result<(), RedisError> {
        self.form = functions::load(&mut self.connection)?;
        Ok(())
    }

    /// Sends calls and returns their replies, refusals among them.
    pub fn each<'a>(&mut self, calls: impl Iterator<Item = &'a Call>) -> Result<Vec<Value>, RedisError> {
        let (mut bytes, mut count) = (Vec::new(), 0);
        for call in calls {
            functions::command(self.form, call).write_packed_command(&mut bytes);
            count += 1;
        }
        Replies(&mut self.connection).of(&bytes, count)
    }

    /// The reply to a call whose slot is on its way here.
    pub fn asking(&mut self, call: &Call) -> Result<Value, RedisError> {
        let mut bytes = redis::cmd("ASKING").get_packed_command();
        functions::command(self.form, call).write_packed_command(&mut bytes);
        let replies = Replies(&mut self.connection).of(&bytes, 2)?;
        Ok(replies.into_iter().next_back().expect("two replies were read"))
    }
}
