//! What a cluster lacks for a job, all at once and without making anything: for checking before the start.

use super::config::Config;
use super::error::Fault;
use super::tables::Tables;
use super::{schema, session};
use crate::context::SinkContext;
use caudal_pipeline::ports::sink::SinkError;

/// What differs between a cluster and what a job needs of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Keyspace and tables that do not exist, each with the statement that makes it.
    pub missing: Vec<(String, String)>,
    /// What there is but differs, each with its remedy.
    pub differing: Vec<String>,
}

/// Connects and compares.
pub fn survey(config: &Config, context: &SinkContext) -> Result<Survey, SinkError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|cause| SinkError::Retry(format!("cannot start a client for Cassandra: {cause}")))?;
    let place = format!("see keyspace {} at {}", config.keyspace, config.contact_points.join(", "));
    runtime.block_on(compare(config, &Tables::of(context))).map_err(|fault| fault.into_sink_error(&place))
}

async fn compare(config: &Config, tables: &Tables) -> Result<Survey, Fault> {
    let session = session::open(config).await?;
    let mut survey = Survey::default();
    if !schema::keyspace_exists(&session, config).await? {
        survey.missing.push((format!("keyspace {}", config.keyspace), schema::keyspace_ddl(config)));
    }
    for table in &tables.all {
        let found = schema::columns(&session, config, table).await?;
        match found.is_empty() {
            true => survey.missing.push((format!("table {}.{}", config.keyspace, table.name), table.ddl(&config.keyspace))),
            false => survey.differing.extend(schema::differences(&config.keyspace, table, &found)),
        }
    }
    Ok(survey)
}
