//! The sink: rows, dead letters and events, then the newest rows, then the frontiers.

use super::config::Config;
use super::error::{Fault, fault};
use super::statements::{self, Request};
use super::tables::{self, Tables};
use super::writer::Writer;
use super::{held, schema, session};
use crate::context::SinkContext;
use caudal_pipeline::ports::sink::{Cut, HeldRow, SetAside, Sink, SinkError};
use caudal_pipeline::time::EventTime;
use scylla::errors::PrepareError;
use std::sync::Arc;
use tokio::runtime::Runtime;

/// Rows of one job in one keyspace. The client needs a runtime, which lives and ends with the sink's session.
pub struct CassandraSink {
    config: Config,
    context: SinkContext,
    tables: Tables,
    open: Option<Open>,
}

/// A session and what it runs on. The writer is dropped first.
struct Open {
    writer: Writer,
    runtime: Runtime,
}

/// The statements that make everything the job keeps, in order.
pub fn ddl(config: &Config, context: &SinkContext) -> Vec<String> {
    let tables = Tables::of(context);
    std::iter::once(schema::keyspace_ddl(config)).chain(tables.all.iter().map(|table| table.ddl(&config.keyspace))).collect()
}

/// Everything about the job that this store cannot keep, in words: for checking before the start.
pub fn refusals(config: &Config, context: &SinkContext) -> Vec<String> {
    tables::refusals(context, &config.keyspace)
}

impl CassandraSink {
    /// A sink that connects when it is prepared.
    pub fn new(config: Config, context: SinkContext) -> CassandraSink {
        let tables = Tables::of(&context);
        CassandraSink { config, context, tables, open: None }
    }

    fn place(&self) -> String {
        format!("keyspace {} at {}", self.config.keyspace, self.config.contact_points.join(", "))
    }

    fn connect(&self) -> Result<Open, SinkError> {
        let refusals = refusals(&self.config, &self.context);
        if !refusals.is_empty() {
            return Err(SinkError::Stop(refusals.join("; ")));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("cassandra")
            .enable_all()
            .build()
            .map_err(|cause| SinkError::Retry(format!("cannot start a thread for Cassandra: {cause}")))?;
        let writer = runtime.block_on(self.writer()).map_err(|fault| fault.into_sink_error(&format!("use {}", self.place())))?;
        Ok(Open { writer, runtime })
    }

    async fn writer(&self) -> Result<Writer, Fault> {
        let session = session::open(&self.config).await?;
        schema::settle(&session, &self.config, &self.tables).await?;
        let mut inserts = Vec::new();
        for table in &self.tables.all {
            let place = table.place(&self.config.keyspace);
            let mut insert =
                session.prepare(table.insert(&self.config.keyspace)).await.map_err(|error| unprepared(error, &place))?;
            insert.set_is_idempotent(true);
            inserts.push((insert, place));
        }
        Ok(Writer { session: Arc::new(session), inserts: inserts.into(), in_flight_max: self.config.in_flight_max })
    }

    fn write_cut(&self, open: &Open, cut: &Cut) -> Result<Vec<SetAside>, SinkError> {
        let requests = statements::requests(&self.context, &self.tables, cut).map_err(SinkError::Stop)?;
        let mut set_aside = requests.set_aside;
        for part in [requests.rows, requests.latest, requests.as_of.into_iter().collect::<Vec<Request>>()] {
            let refused = open.runtime.block_on(open.writer.write(part));
            let refused = refused.map_err(|fault| fault.into_sink_error(&format!("write to {}", self.place())))?;
            set_aside.extend(
                refused
                    .into_iter()
                    .map(|(origin, cause)| SetAside { row: statements::describe(&self.context, cut, origin), cause }),
            );
        }
        Ok(set_aside)
    }
}

pub(super) fn unprepared(error: PrepareError, place: &str) -> Fault {
    match error {
        PrepareError::AllAttemptsFailed { first_attempt } => fault(&first_attempt.into(), place),
        other => Fault::Away(other.to_string()),
    }
}

impl Sink for CassandraSink {
    fn prepare(&mut self) -> Result<(), SinkError> {
        self.open = None;
        self.open = Some(self.connect()?);
        Ok(())
    }

    fn write(&mut self, cut: &Cut) -> Result<Vec<SetAside>, SinkError> {
        let open = match self.open.take() {
            Some(open) => open,
            None => self.connect()?,
        };
        let set_aside = self.write_cut(&open, cut)?;
        // After an error the next attempt begins with a new session: nodes and tables may be others.
        self.open = Some(open);
        Ok(set_aside)
    }

    fn held(&mut self, view: usize, from: EventTime, take: &mut dyn FnMut(HeldRow)) -> Result<bool, SinkError> {
        let open = match self.open.take() {
            Some(open) => open,
            None => self.connect()?,
        };
        let table = &self.tables.all[self.tables.views[view].0];
        let wanted = held::Wanted { view: &self.context.views[view], place: table.place(&self.config.keyspace), table, from };
        let read = open.runtime.block_on(held::read(&open.writer.session, &wanted, self.config.in_flight_max, take));
        read.map_err(|fault| fault.into_sink_error(&format!("read rows of {}", self.place())))?;
        self.open = Some(open);
        Ok(true)
    }
}
