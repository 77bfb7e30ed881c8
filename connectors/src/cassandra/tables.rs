//! The tables of a job: names, columns, keys, and their CQL. Pure: nothing here talks to a server.

use super::bucket;
use crate::context::{SinkContext, ViewDescription};
use caudal_pipeline::plan::WindowPlan;
use caudal_pipeline::value::{ColumnType, FieldType};
use std::collections::BTreeMap;

/// The longest name that Cassandra gives a table or keyspace.
const NAME_MAX: usize = 48;

/// Columns that every view's table may have of its own.
const RESERVED: [&str; 6] = ["bucket", "window_start", "window_start_us", "window_end", "state", "version"];

/// A column by name and CQL type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableColumn {
    /// Its name, unquoted.
    pub name: String,
    /// Its type, as `system_schema` spells it.
    pub cql_type: String,
}

/// One table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name, unquoted.
    pub name: String,
    /// The partition key.
    pub partition: Vec<TableColumn>,
    /// The clustering key.
    pub clustering: Vec<TableColumn>,
    /// Whether the clustering key runs backwards.
    pub newest_first: bool,
    /// All other columns.
    pub regular: Vec<TableColumn>,
}

/// All tables of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    /// In the order of statements prepared for them.
    pub all: Vec<Table>,
    /// For each view: its rows' table and its newest rows' table, by position in `all`.
    pub views: Vec<(usize, Option<usize>)>,
    /// Position in `all`.
    pub dead_letters: usize,
    /// Position in `all`.
    pub as_of: usize,
    /// Position in `all`.
    pub events: usize,
}

impl Tables {
    /// The tables that a job's views need.
    pub fn of(context: &SinkContext) -> Tables {
        let mut all = Vec::new();
        let mut views = Vec::new();
        for view in &context.views {
            all.push(rows_table(&context.job, view));
            let rows = all.len() - 1;
            let latest = (view.window != WindowPlan::Unwindowed).then(|| {
                all.push(latest_table(&context.job, view));
                all.len() - 1
            });
            views.push((rows, latest));
        }
        all.push(dead_letters_table(&context.job));
        all.push(as_of_table(&context.job));
        all.push(events_table(&context.job));
        Tables { views, dead_letters: all.len() - 3, as_of: all.len() - 2, events: all.len() - 1, all }
    }
}

fn column(name: &str, cql_type: &str) -> TableColumn {
    TableColumn { name: name.to_owned(), cql_type: cql_type.to_owned() }
}

fn columns<const N: usize>(columns: [(&str, &str); N]) -> Vec<TableColumn> {
    columns.into_iter().map(|(name, cql_type)| column(name, cql_type)).collect()
}

/// The table of a job's dead letters, with its keyspace, as CQL names it.
pub fn dead_letters_name(keyspace: &str, job: &str) -> String {
    format!("{keyspace}.{}", table_name(job, "dead_letters"))
}

fn table_name(job: &str, what: &str) -> String {
    format!("{job}_{what}").replace('-', "_")
}

/// The group as key columns.
fn group_key(view: &ViewDescription) -> Vec<TableColumn> {
    view.group.iter().map(|field| column(&field.name, key_type(field.field_type))).collect()
}

fn key_type(field_type: FieldType) -> &'static str {
    match field_type {
        FieldType::Bool => "boolean",
        FieldType::Decimal(0) => "bigint",
        FieldType::Decimal(_) => "decimal",
        // Times in a key as text: `timestamp` would merge groups that differ by microseconds.
        FieldType::Text | FieldType::Time => "text",
    }
}

fn cql_type(column_type: &ColumnType) -> String {
    match column_type {
        ColumnType::Bool => "boolean".to_owned(),
        ColumnType::Integer => "bigint".to_owned(),
        ColumnType::Decimal(_) => "decimal".to_owned(),
        ColumnType::Text => "text".to_owned(),
        ColumnType::Time => "timestamp".to_owned(),
        ColumnType::List(of) => format!("frozen<list<{}>>", cql_type(of)),
    }
}

fn view_columns(view: &ViewDescription) -> impl Iterator<Item = TableColumn> {
    view.columns.iter().map(|c| TableColumn { name: c.name.clone(), cql_type: cql_type(&c.column_type) })
}

fn rows_table(job: &str, view: &ViewDescription) -> Table {
    let mut partition = group_key(view);
    if bucket::format(&view.window).is_some() || partition.is_empty() {
        partition.push(column("bucket", "text"));
    }
    let (clustering, bounds) = match view.window {
        WindowPlan::Unwindowed => (vec![], vec![]),
        WindowPlan::Session { .. } => (columns([("window_start", "timestamp"), ("window_start_us", "int")]), window_end()),
        _ => (columns([("window_start", "timestamp")]), window_end()),
    };
    let own = columns([("state", "text"), ("version", "bigint")]);
    let regular = bounds.into_iter().chain(own).chain(view_columns(view)).collect();
    Table { name: table_name(job, &view.name), partition, clustering, newest_first: true, regular }
}

fn window_end() -> Vec<TableColumn> {
    columns([("window_end", "timestamp")])
}

fn latest_table(job: &str, view: &ViewDescription) -> Table {
    let mut partition = group_key(view);
    if partition.is_empty() {
        partition.push(column("bucket", "text"));
    }
    let own = columns([("window_start", "timestamp"), ("window_end", "timestamp"), ("state", "text"), ("version", "bigint")]);
    let regular = own.into_iter().chain(view_columns(view)).collect();
    Table { name: table_name(job, &format!("{}_latest", view.name)), partition, clustering: vec![], newest_first: true, regular }
}

fn dead_letters_table(job: &str) -> Table {
    Table {
        name: table_name(job, "dead_letters"),
        partition: columns([("day", "text"), ("stream", "text")]),
        clustering: columns([("topic", "text"), ("partition", "int"), ("message_offset", "bigint"), ("element", "int")]),
        newest_first: false,
        regular: columns([
            ("refused_at", "timestamp"),
            ("state", "text"),
            ("reason", "text"),
            ("paths", "frozen<list<text>>"),
            ("messages", "frozen<list<text>>"),
            ("message_key", "blob"),
            ("header_names", "frozen<list<text>>"),
            ("header_values", "frozen<list<blob>>"),
            ("payload", "blob"),
            ("broker_time", "timestamp"),
            ("version", "bigint"),
        ]),
    }
}

fn as_of_table(job: &str) -> Table {
    Table {
        name: table_name(job, "as_of"),
        partition: columns([("job", "text")]),
        clustering: columns([("view_name", "text")]),
        newest_first: false,
        regular: columns([
            ("complete_until", "timestamp"),
            ("final_until", "timestamp"),
            ("epoch", "bigint"),
            ("version", "bigint"),
        ]),
    }
}

fn events_table(job: &str) -> Table {
    Table {
        name: table_name(job, "events"),
        partition: columns([("stream", "text"), ("day", "text")]),
        clustering: columns([
            ("event_time", "timestamp"),
            ("topic", "text"),
            ("partition", "int"),
            ("message_offset", "bigint"),
            ("element", "int"),
        ]),
        newest_first: true,
        regular: columns([("id", "text"), ("message_key", "blob"), ("payload", "blob"), ("version", "bigint")]),
    }
}

/// A name as CQL takes it, whatever it holds.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn joined<'a>(columns: impl IntoIterator<Item = &'a TableColumn>, text: impl Fn(&TableColumn) -> String) -> String {
    columns.into_iter().map(text).collect::<Vec<_>>().join(", ")
}

impl Table {
    /// All columns in the order of an INSERT's values.
    pub fn columns(&self) -> impl Iterator<Item = &TableColumn> {
        self.partition.iter().chain(&self.clustering).chain(&self.regular)
    }

    /// `keyspace.table`, quoted.
    pub fn place(&self, keyspace: &str) -> String {
        format!("{}.{}", quoted(keyspace), quoted(&self.name))
    }

    /// The statement that makes it.
    pub fn ddl(&self, keyspace: &str) -> String {
        let name = |column: &TableColumn| quoted(&column.name);
        let lines = self.columns().map(|column| format!("  {} {},\n", quoted(&column.name), column.cql_type)).collect::<String>();
        let mut key = format!("({})", joined(&self.partition, name));
        let mut order = String::new();
        if !self.clustering.is_empty() {
            key += &format!(", {}", joined(&self.clustering, name));
        }
        if self.newest_first && !self.clustering.is_empty() {
            let descending = joined(&self.clustering, |column| format!("{} DESC", quoted(&column.name)));
            order = format!(" WITH CLUSTERING ORDER BY ({descending})");
        }
        format!("CREATE TABLE IF NOT EXISTS {} (\n{lines}  PRIMARY KEY ({key})\n){order}", self.place(keyspace))
    }

    /// The statement that writes one row: all columns, then the timestamp, then the TTL (0 for none).
    pub fn insert(&self, keyspace: &str) -> String {
        let names = joined(self.columns(), |column| quoted(&column.name));
        let marks = vec!["?"; self.columns().count()].join(", ");
        format!("INSERT INTO {} ({names}) VALUES ({marks}) USING TIMESTAMP ? AND TTL ?", self.place(keyspace))
    }
}

/// Everything about the names that no table can have, in words.
pub fn refusals(context: &SinkContext, keyspace: &str) -> Vec<String> {
    let mut refusals = Vec::new();
    if !is_name(keyspace) {
        refusals.push(format!("keyspace {keyspace}: a name is up to {NAME_MAX} letters, digits and underscores"));
    }
    for view in &context.views {
        let group = view.group.iter().map(|field| &field.name);
        for name in group.chain(view.columns.iter().map(|column| &column.name)).filter(|name| RESERVED.contains(&name.as_str())) {
            refusals.push(format!("views.{}: every table in Cassandra has a `{name}` of its own: rename it", view.name));
        }
        let (WindowPlan::Tumbling { size: step } | WindowPlan::Sliding { every: step, .. } | WindowPlan::Session { gap: step }) =
            view.window
        else {
            continue;
        };
        if step.0 % 1000 != 0 || step.0 == 0 {
            refusals.push(format!(
                "views.{}.window: {step} is not whole milliseconds, which is what Cassandra's timestamps hold",
                view.name
            ));
        }
    }
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for table in Tables::of(context).all {
        if !is_name(&table.name) {
            refusals.push(format!(
                "table {}: a name is up to {NAME_MAX} letters, digits and underscores: shorten job or view",
                table.name
            ));
        }
        *seen.entry(table.name).or_default() += 1;
    }
    let twice = seen.into_iter().filter(|(_, count)| *count > 1);
    refusals.extend(twice.map(|(name, count)| format!("table {name} would hold {count} different things: rename a view")));
    refusals
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_MAX && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use caudal_pipeline::time::Span;
    use caudal_pipeline::value::{Column, Field};

    fn view(name: &str, window: WindowPlan) -> ViewDescription {
        ViewDescription {
            name: name.to_owned(),
            window,
            group: vec![Field { name: "farm".to_owned(), field_type: FieldType::Text }],
            columns: vec![
                Column { name: "mean".to_owned(), column_type: ColumnType::Decimal(2) },
                Column { name: "ids".to_owned(), column_type: ColumnType::List(Box::new(ColumnType::Text)) },
            ],
        }
    }

    fn context(views: Vec<ViewDescription>) -> SinkContext {
        SinkContext { job: "wind-farm".to_owned(), views, streams: vec![] }
    }

    #[test]
    fn a_view_is_a_table_newest_first_and_a_table_of_latest_rows() {
        let tables = Tables::of(&context(vec![view("per_minute", WindowPlan::Tumbling { size: Span::seconds(60) })]));
        assert_eq!(
            tables.all[0].ddl("caudal"),
            "CREATE TABLE IF NOT EXISTS \"caudal\".\"wind_farm_per_minute\" (\n  \"farm\" text,\n  \"bucket\" text,\n  \"window_start\" timestamp,\n  \
             \"window_end\" timestamp,\n  \"state\" text,\n  \"version\" bigint,\n  \"mean\" decimal,\n  \"ids\" frozen<list<text>>,\n  \
             PRIMARY KEY ((\"farm\", \"bucket\"), \"window_start\")\n) WITH CLUSTERING ORDER BY (\"window_start\" DESC)"
        );
        assert_eq!(tables.all[1].name, "wind_farm_per_minute_latest");
        assert!(tables.all[1].ddl("caudal").contains("PRIMARY KEY ((\"farm\"))\n)"));
        assert_eq!((tables.views[0], tables.dead_letters, tables.as_of, tables.events), ((0, Some(1)), 2, 3, 4));
        assert_eq!(
            tables.all[3].insert("caudal"),
            "INSERT INTO \"caudal\".\"wind_farm_as_of\" (\"job\", \"view_name\", \"complete_until\", \"final_until\", \"epoch\", \"version\") \
             VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?"
        );
    }

    #[test]
    fn an_unwindowed_view_is_one_row_a_group() {
        let tables = Tables::of(&context(vec![view("balance", WindowPlan::Unwindowed)]));
        assert_eq!(tables.views, [(0, None)]);
        assert!(tables.all[0].ddl("k").contains("PRIMARY KEY ((\"farm\"))\n)"));
        let alone = ViewDescription { group: vec![], ..view("total", WindowPlan::Unwindowed) };
        assert!(Tables::of(&context(vec![alone])).all[0].ddl("k").contains("PRIMARY KEY ((\"bucket\"))\n)"));
    }

    #[test]
    fn names_that_cannot_be_are_all_reported() {
        let tumbling = WindowPlan::Tumbling { size: Span(1500) };
        let mut clash = view("a_latest", tumbling.clone());
        clash.columns.push(Column { name: "version".to_owned(), column_type: ColumnType::Integer });
        let long = view(&"x".repeat(40), WindowPlan::Unwindowed);
        let refusals = refusals(&context(vec![view("a", tumbling), clash, long]), "bad-keyspace");
        let about = |part: &str| refusals.iter().filter(|refusal| refusal.contains(part)).count();
        assert_eq!(
            (about("bad-keyspace"), about("`version`"), about("whole milliseconds"), about("different things"), about("shorten")),
            (1, 1, 2, 1, 1),
            "{refusals:?}"
        );
    }
}
