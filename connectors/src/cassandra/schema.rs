//! Keyspace and tables: made where missing and allowed, then compared with what the job needs.

use super::config::{Config, Create};
use super::error::{Fault, fault};
use super::tables::{Table, TableColumn, Tables, quoted};
use scylla::client::session::Session;
use scylla::statement::Statement;
use std::time::Duration;

/// To wait for a table to be made, all nodes agreed.
const DDL_TIMEOUT: Duration = Duration::from_secs(60);

const COLUMNS: &str = "SELECT column_name, type, kind, position, clustering_order FROM system_schema.columns WHERE keyspace_name = ? AND table_name = ?";
const KEYSPACE: &str = "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?";

/// A column as the cluster describes it: name, type, kind, position, order.
pub(super) type Found = (String, String, String, i32, String);

/// The statement that makes the keyspace.
pub fn keyspace_ddl(config: &Config) -> String {
    let text = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let options: Vec<String> = config.replication.iter().map(|(key, value)| format!("{}: {}", text(key), text(value))).collect();
    format!("CREATE KEYSPACE IF NOT EXISTS {} WITH replication = {{{}}}", quoted(&config.keyspace), options.join(", "))
}

/// Makes what is missing if the job may, and refuses what differs, all differences at once.
pub async fn settle(session: &Session, config: &Config, tables: &Tables) -> Result<(), Fault> {
    if !keyspace_exists(session, config).await? {
        make(session, config, &keyspace_ddl(config), &format!("keyspace {}", config.keyspace)).await?;
    }
    let mut wrong = Vec::new();
    for table in &tables.all {
        let mut found = columns(session, config, table).await?;
        if found.is_empty() {
            make(session, config, &table.ddl(&config.keyspace), &format!("table {}.{}", config.keyspace, table.name)).await?;
            found = columns(session, config, table).await?;
        }
        wrong.extend(differences(&config.keyspace, table, &found));
    }
    if wrong.is_empty() { Ok(()) } else { Err(Fault::Refused(wrong.join("; "))) }
}

pub(super) async fn keyspace_exists(session: &Session, config: &Config) -> Result<bool, Fault> {
    let failed = |error| fault(&error, "system_schema.keyspaces");
    let result = session.query_unpaged(KEYSPACE, (&config.keyspace,)).await.map_err(failed)?;
    let rows = result.into_rows_result().map_err(|error| Fault::Away(error.to_string()))?;
    Ok(rows.rows_num() > 0)
}

pub(super) async fn columns(session: &Session, config: &Config, table: &Table) -> Result<Vec<Found>, Fault> {
    let failed = |error| fault(&error, "system_schema.columns");
    let result = session.query_unpaged(COLUMNS, (&config.keyspace, &table.name)).await.map_err(failed)?;
    let unreadable = |error: String| Fault::Away(format!("system_schema.columns: {error}"));
    let rows = result.into_rows_result().map_err(|error| unreadable(error.to_string()))?;
    let found = rows.rows::<Found>().map_err(|error| unreadable(error.to_string()))?;
    found.collect::<Result<_, _>>().map_err(|error| unreadable(error.to_string()))
}

async fn make(session: &Session, config: &Config, ddl: &str, what: &str) -> Result<(), Fault> {
    if config.create == Create::Check {
        return Err(Fault::Refused(format!("{what} does not exist: make it with {ddl}; or write `create: missing`")));
    }
    let mut statement = Statement::new(ddl);
    statement.set_request_timeout(Some(DDL_TIMEOUT));
    match session.query_unpaged(statement, ()).await {
        Ok(_) => Ok(()),
        Err(error) => Err(match fault(&error, what) {
            Fault::Refused(said) => Fault::Refused(format!("{what} could not be made: {said}; to make it yourself: {ddl}")),
            other => other,
        }),
    }
}

/// What is wrong with a table, each with its remedy. Further columns of others are none of our business.
pub(super) fn differences(keyspace: &str, table: &Table, found: &[Found]) -> Vec<String> {
    let place = table.place(keyspace);
    let mut wrong = Vec::new();
    let key = |kind: &str| {
        let mut columns: Vec<_> = found.iter().filter(|column| column.2 == kind).collect();
        columns.sort_by_key(|column| column.3);
        columns.into_iter().map(|column| column.0.clone()).collect::<Vec<_>>().join(", ")
    };
    let wanted = |columns: &[TableColumn]| columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>().join(", ");
    let (found_key, wanted_key) = (
        format!("(({}), {})", key("partition_key"), key("clustering")),
        format!("(({}), {})", wanted(&table.partition), wanted(&table.clustering)),
    );
    if found_key != wanted_key {
        wrong.push(format!(
            "table {place} has the primary key {found_key}, needed is {wanted_key}: a key cannot be altered; drop or rename the table, or rename the view"
        ));
        return wrong;
    }
    for column in table.columns() {
        let name = quoted(&column.name);
        match found.iter().find(|found| found.0 == column.name) {
            None => wrong.push(format!("table {place} lacks a column: ALTER TABLE {place} ADD {name} {}", column.cql_type)),
            Some(found) if found.1 != column.cql_type => wrong.push(format!(
                "column {name} of table {place} is {}, needed is {}: rename the column in the job, or ALTER TABLE {place} DROP {name}",
                found.1, column.cql_type
            )),
            Some(_) => {}
        }
    }
    let order = if table.newest_first { "desc" } else { "asc" };
    let turned = |found: &&Found| found.2 == "clustering" && !found.4.eq_ignore_ascii_case(order);
    if let Some(column) = found.iter().find(turned) {
        wrong.push(format!("table {place} is ordered by {} {}, needed is {order}: drop or rename the table", column.0, column.4));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::SinkContext;

    /// The frontiers' table as a cluster describes it.
    fn found() -> Vec<Found> {
        [
            ("complete_until", "timestamp", "regular", -1, "none"),
            ("epoch", "bigint", "regular", -1, "none"),
            ("final_until", "timestamp", "regular", -1, "none"),
            ("job", "text", "partition_key", 0, "none"),
            ("version", "bigint", "regular", -1, "none"),
            ("view_name", "text", "clustering", 0, "asc"),
        ]
        .map(|(name, cql_type, kind, position, order)| (name.into(), cql_type.into(), kind.into(), position, order.into()))
        .into()
    }

    #[test]
    fn each_difference_is_named_with_its_remedy() {
        let tables = Tables::of(&SinkContext { job: "j".to_owned(), ..SinkContext::default() });
        let table = &tables.all[tables.as_of];
        assert_eq!(differences("k", table, &found()), Vec::<String>::new());

        let mut other = found();
        other.remove(4);
        other[1].1 = "int".to_owned();
        other.push(("theirs".into(), "text".into(), "regular".into(), -1, "none".into()));
        let said = differences("k", table, &other).join("\n");
        assert!(said.contains(r#"ALTER TABLE "k"."j_as_of" ADD "version" bigint"#), "{said}");
        assert!(said.contains(r#"column "epoch" of table "k"."j_as_of" is int, needed is bigint"#), "{said}");
        assert_eq!(said.lines().count(), 2, "{said}");

        let mut keyed = found();
        keyed[5].2 = "regular".to_owned();
        assert!(differences("k", table, &keyed)[0].contains("primary key ((job), )"));
        let mut turned = found();
        turned[5].4 = "desc".to_owned();
        assert!(differences("k", table, &turned)[0].contains("ordered by view_name desc"));
    }
}
