//! The replies to a pipeline, read until the first that does not come.
//!
//! The client library goes on after a reply that did not come in time and waits as long for each of the others: a server
//! that hangs would hold up a pipeline of 512 calls for two hours, with nobody told. Refusals are another matter: they
//! are replies, and all of them are read.

use redis::{Connection, ConnectionLike, RedisResult, Value};

/// A connection as a pipeline uses it.
pub struct Replies<'a>(pub &'a mut Connection);

impl Replies<'_> {
    /// Sends commands and reads so many replies, refusals among them.
    pub fn of(&mut self, commands: &[u8], count: usize) -> RedisResult<Vec<Value>> {
        self.0.send_packed_command(commands)?;
        (0..count).map(|_| self.next()).collect()
    }

    fn next(&mut self) -> RedisResult<Value> {
        loop {
            match self.0.recv_response()? {
                // News that nobody asked for may come between replies.
                Value::Push { .. } => {}
                reply => return Ok(reply),
            }
        }
    }
}

impl ConnectionLike for Replies<'_> {
    fn req_packed_command(&mut self, command: &[u8]) -> RedisResult<Value> {
        self.0.req_packed_command(command)
    }

    fn req_packed_commands(&mut self, commands: &[u8], offset: usize, count: usize) -> RedisResult<Vec<Value>> {
        let replies = self.of(commands, offset + count)?;
        Ok(replies.into_iter().skip(offset).collect())
    }

    fn get_db(&self) -> i64 {
        self.0.get_db()
    }

    fn check_connection(&mut self) -> bool {
        self.0.check_connection()
    }

    fn is_open(&self) -> bool {
        self.0.is_open()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redis::{Client, IntoConnectionInfo, Pipeline, RedisConnectionInfo};
    use std::net::TcpListener;
    use std::time::{Duration, Instant};

    /// A server that hung held up its sink for as long as every single reply may take, one after the other.
    #[test]
    fn a_server_that_never_answers_is_waited_for_once() {
        const LIMIT: Duration = Duration::from_millis(100);
        // Connections are taken by the system; nobody reads them.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let info = format!("redis://{}", silent.local_addr().unwrap()).into_connection_info().unwrap();
        let info = info.set_redis_settings(RedisConnectionInfo::default().set_skip_set_lib_name());
        let mut connection = Client::open(info).unwrap().get_connection_with_timeout(LIMIT).unwrap();
        connection.set_read_timeout(Some(LIMIT)).unwrap();
        let mut pipeline = Pipeline::new();
        for _ in 0..100 {
            pipeline.cmd("PING");
        }
        let began = Instant::now();
        let error = pipeline.query::<Vec<String>>(&mut Replies(&mut connection)).unwrap_err();
        assert!(error.is_timeout(), "{error}");
        assert!(began.elapsed() < 20 * LIMIT, "{:?} for 100 replies", began.elapsed());
    }
}
