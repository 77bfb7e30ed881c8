//! Cassandra as anyone reads it: CQL through a plain session.

use crate::address;
use crate::until;
use caudal_pipeline::time::EventTime;
use caudal_pipeline::value::decimal_text;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::response::PagingState;
use scylla::value::{CqlValue, Row};
use serde_json::{Map, Value as Json};
use std::ops::ControlFlow;
use tokio::runtime::Runtime;

/// Where the shared node is.
pub fn shared() -> String {
    address("CAUDAL_TEST_CASSANDRA")
}

/// A session.
pub struct Cql {
    runtime: Runtime,
    session: Session,
}

impl Cql {
    /// A session with the node at `address`.
    pub fn at(address: &str, login: Option<(&str, &str)>) -> Cql {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut builder = SessionBuilder::new().known_node(address);
        if let Some((user, password)) = login {
            builder = builder.user(user, password);
        }
        // A node that has just started is slow.
        let session = until("cassandra takes a session", || runtime.block_on(builder.build()).ok());
        Cql { runtime, session }
    }

    /// A session with the shared node.
    pub fn shared() -> Cql {
        Cql::at(&shared(), None)
    }

    /// Runs a statement that answers nothing.
    pub fn run(&self, cql: &str) {
        self.runtime.block_on(self.session.query_unpaged(cql, ())).unwrap_or_else(|error| panic!("{cql}: {error}"));
    }

    /// The rows of a query, each as an object: decimals with all their digits, times in RFC 3339, blobs in hexadecimal.
    pub fn rows(&self, cql: &str) -> Vec<Map<String, Json>> {
        self.look(cql).unwrap_or_else(|error| panic!("{cql}: {error}"))
    }

    /// The same, for whoever may come before a table is made, or while the node is busy. Page by page: a node fails a read of
    /// very many rows at once.
    pub fn look(&self, cql: &str) -> Result<Vec<Map<String, Json>>, String> {
        let (mut found, mut from) = (Vec::new(), PagingState::start());
        loop {
            let page = self.runtime.block_on(self.session.query_single_page(cql, (), from));
            let (answer, next) = page.map_err(|error| error.to_string())?;
            let answer = answer.into_rows_result().unwrap();
            let names: Vec<String> = answer.column_specs().iter().map(|column| column.name().to_owned()).collect();
            let object = |row: Row| -> Map<String, Json> {
                let values = row.columns.into_iter().map(|value| value.map_or(Json::Null, |value| json(&value)));
                names.iter().cloned().zip(values).collect()
            };
            found.extend(answer.rows::<Row>().unwrap().map(|row| object(row.unwrap())));
            match next.into_paging_control_flow() {
                ControlFlow::Continue(next) => from = next,
                ControlFlow::Break(()) => return Ok(found),
            }
        }
    }
}

fn json(value: &CqlValue) -> Json {
    match value {
        CqlValue::Boolean(b) => Json::from(*b),
        CqlValue::Int(i) => Json::from(*i),
        CqlValue::BigInt(i) => Json::from(*i),
        CqlValue::Text(text) => Json::from(text.as_str()),
        CqlValue::Timestamp(ms) => Json::from(EventTime(ms.0 * 1000).to_string()),
        CqlValue::Blob(bytes) => Json::from(hexadecimal(bytes)),
        CqlValue::List(items) => items.iter().map(json).collect(),
        CqlValue::Decimal(decimal) => {
            let (bytes, scale) = decimal.as_signed_be_bytes_slice_and_exponent();
            let unscaled = bytes[1..].iter().fold(i128::from(bytes[0] as i8), |sum, byte| sum << 8 | i128::from(*byte));
            let text = decimal_text(unscaled, u8::try_from(scale).expect("a scale that a job may declare"));
            serde_json::from_str(&text).expect("digits are a number")
        }
        other => panic!("no table of ours holds {other:?}"),
    }
}

/// Bytes as two digits each.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
