//! Reference data as of one version: typed rows by key.

use super::convert::Conversion;
use super::place::Found;
use super::text;
use crate::plan::TablePlan;
use crate::value::{FieldType, Value};
use hashbrown::HashTable;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A table's rows: one text or none for each column.
pub type TableRows = Vec<Vec<Option<String>>>;

/// Reference data as of one version. Cheap to clone; the rows are shared.
#[derive(Clone, Debug, Default)]
pub struct Tables(Arc<[Table]>);

#[derive(Debug, Default)]
struct Table {
    rows: HashTable<Row>,
}

#[derive(Debug)]
struct Row {
    key: Box<[Value]>,
    values: Box<[Value]>,
}

impl Tables {
    /// Builds the tables from their rows: for each table of the plan, rows of one text (or none) for each column.
    ///
    /// An empty text is null unless the column is text. A duplicate or missing key or a value of the wrong type is an
    /// error naming table, row (counted from 1) and column.
    pub fn new(plans: &[TablePlan], rows: &[TableRows]) -> Result<Tables, Vec<String>> {
        let mut errors = Vec::new();
        if plans.len() != rows.len() {
            errors.push(format!("the job has {} tables, but rows of {} were given", plans.len(), rows.len()));
        }
        let tables: Vec<Table> = plans.iter().zip(rows).map(|(plan, rows)| Table::new(plan, rows, &mut errors)).collect();
        if errors.is_empty() { Ok(Tables(tables.into())) } else { Err(errors) }
    }

    /// The row of `table` with this key.
    pub(crate) fn find(&self, table: usize, key: &[Value]) -> Option<&[Value]> {
        let row = self.0.get(table)?.rows.find(hash(key), |row| *row.key == *key)?;
        Some(&row.values)
    }
}

impl Table {
    fn new(plan: &TablePlan, rows: &[Vec<Option<String>>], errors: &mut Vec<String>) -> Table {
        let mut table = Table { rows: HashTable::with_capacity(rows.len()) };
        let positions = match key_positions(plan) {
            Ok(positions) => positions,
            Err(error) => {
                errors.push(error);
                return table;
            }
        };
        let columns: Vec<Conversion> = plan.columns.iter().map(|column| Conversion::plain(column.field_type)).collect();
        for (n, cells) in rows.iter().enumerate() {
            let added = typed(plan, &columns, cells).and_then(|values| table.insert(plan, &positions, values));
            if let Err(what) = added {
                errors.push(format!("table `{}`, row {}: {what}", plan.name, n + 1));
            }
        }
        table
    }

    fn insert(&mut self, plan: &TablePlan, positions: &[usize], values: Box<[Value]>) -> Result<(), String> {
        let key: Box<[Value]> = positions.iter().map(|p| values[*p].clone()).collect();
        if let Some(missing) = key.iter().position(|value| *value == Value::Null) {
            return Err(format!("column `{}` is part of the key and must not be empty", plan.key[missing]));
        }
        let hash = hash(&key);
        if self.rows.find(hash, |row| row.key == key).is_some() {
            return Err(format!("another row has the same key {}", text::list(&plan.key)));
        }
        self.rows.insert_unique(hash, Row { key, values }, |row| self::hash(&row.key));
        Ok(())
    }
}

fn key_positions(plan: &TablePlan) -> Result<Vec<usize>, String> {
    let position = |name: &String| {
        let found = plan.columns.iter().position(|column| column.name == *name);
        found.ok_or_else(|| format!("table `{}` has no column `{name}` for its key", plan.name))
    };
    plan.key.iter().map(position).collect()
}

fn typed(plan: &TablePlan, columns: &[Conversion], cells: &[Option<String>]) -> Result<Box<[Value]>, String> {
    if cells.len() != columns.len() {
        return Err(format!("it has {} cells, but there are {} columns", cells.len(), columns.len()));
    }
    let value = |((column, conversion), cell): ((&crate::value::Field, &Conversion), &Option<String>)| {
        let found = match cell.as_deref() {
            None => Found::Nothing,
            Some("") if column.field_type != FieldType::Text => Found::Nothing,
            Some(text) => Found::Text(text),
        };
        conversion.value(found).map_err(|e| format!("column `{}` {e}", column.name))
    };
    plan.columns.iter().zip(columns).zip(cells).map(value).collect()
}

/// A hash that is the same everywhere, so that nothing depends on the process.
fn hash(key: &[Value]) -> u64 {
    key.iter().fold(0, |seed, value| match value {
        Value::Null => xxh3_64_with_seed(&[0], seed),
        Value::Bool(b) => xxh3_64_with_seed(&[1, u8::from(*b)], seed),
        Value::Decimal(n) | Value::Time(n) => xxh3_64_with_seed(&n.to_le_bytes(), seed),
        Value::Text(text) => xxh3_64_with_seed(text.as_bytes(), seed),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Field;

    fn plan() -> TablePlan {
        let field = |name: &str, field_type| Field { name: name.into(), field_type };
        TablePlan {
            name: "generators".into(),
            key: vec!["id".into(), "unit".into()],
            columns: vec![
                field("id", FieldType::Text),
                field("rated", FieldType::Decimal(1)),
                field("unit", FieldType::Decimal(0)),
            ],
        }
    }

    fn cells(row: &[&str]) -> Vec<Option<String>> {
        row.iter().map(|cell| (*cell != "-").then(|| cell.to_string())).collect()
    }

    #[test]
    fn rows_are_found_by_their_key() {
        let rows = vec![cells(&["a", "12.5", "1"]), cells(&["a", "", "2"]), cells(&["", "1", "3"])];
        let tables = Tables::new(&[plan()], &[rows]).unwrap();
        let key = |id: &str, unit| [Value::Text(id.into()), Value::Decimal(unit)];
        assert_eq!(tables.find(0, &key("a", 1)).unwrap()[1], Value::Decimal(125));
        assert_eq!(tables.find(0, &key("a", 2)).unwrap()[1], Value::Null);
        assert_eq!(tables.find(0, &key("", 3)).unwrap()[1], Value::Decimal(10));
        assert_eq!(tables.find(0, &key("b", 1)), None);
        assert_eq!(tables.find(1, &key("a", 1)), None);
    }

    #[test]
    fn every_wrong_row_is_named() {
        let rows = vec![
            cells(&["a", "1", "1"]),
            cells(&["a", "2", "1.0"]),
            cells(&["a", "x", "2"]),
            cells(&["a", "1"]),
            cells(&["-", "1", "4"]),
        ];
        let errors = Tables::new(&[plan()], &[rows]).unwrap_err();
        assert_eq!(errors.len(), 4, "{errors:#?}");
        for (error, words) in
            errors.iter().zip(["row 2: another row", "row 3: column `rated`", "row 4: it has 2 cells", "row 5: column `id`"])
        {
            assert!(error.contains(words), "{error}");
        }
    }
}
