//! `tables`: reference data in CSV files.

use super::fields::field_type;
use super::job::TableSource;
use super::mistakes::Mistakes;
use super::reader::At;
use super::schemas::path_of;
use super::surroundings::Surroundings;
use caudal_pipeline::plan::TablePlan;
use caudal_pipeline::suggest::suggest;
use caudal_pipeline::value::{Field, FieldType};

/// Rows of one text, or none, for each column.
pub type Rows = Vec<Vec<Option<String>>>;

/// A table's plan and where its rows are.
pub fn table(
    name: &str,
    at: &At<'_>,
    around: &Surroundings<'_>,
    job_file: &str,
    mistakes: &mut Mistakes,
) -> Option<(TablePlan, TableSource)> {
    let file = at.get("from")?.get("file")?;
    let path = path_of(&file, job_file)?;
    let delimiter = at.text_of("delimiter")?.bytes().next()?;
    let text = match (around.file)(&path) {
        Ok(text) => text,
        Err(e) => {
            file.mistake(mistakes, format!("`{}` cannot be read: {e}", path.display()));
            return None;
        }
    };
    let header = match header(&text, delimiter) {
        Ok(header) => header,
        Err(e) => {
            file.mistake(mistakes, format!("`{}`: {e}", path.display()));
            return None;
        }
    };
    let key = key_columns(at, &header, mistakes);
    let columns = typed_columns(at, &header, mistakes);
    let source = TableSource { path: path.display().to_string(), delimiter };
    let plan = TablePlan { name: name.into(), key: key?, columns };
    if let Err(e) = rows(&text, &source, &plan) {
        file.mistake(mistakes, e);
    }
    Some((plan, source))
}

fn key_columns(at: &At<'_>, header: &[String], mistakes: &mut Mistakes) -> Option<Vec<String>> {
    let key = at.get("key")?;
    for item in key.items() {
        let Some(name) = item.text() else { continue };
        if !header.iter().any(|h| h == name) {
            item.mistake(mistakes, unknown_column(name, header));
        }
    }
    let names = key.texts();
    if names.is_empty() {
        key.mistake(mistakes, "a key needs a column");
    }
    (!names.is_empty()).then_some(names)
}

fn typed_columns(at: &At<'_>, header: &[String], mistakes: &mut Mistakes) -> Vec<Field> {
    let mut columns: Vec<Field> = header.iter().map(|name| Field { name: name.clone(), field_type: FieldType::Text }).collect();
    for (entry, at) in at.get("columns").iter().flat_map(At::entries) {
        match columns.iter_mut().find(|c| c.name == entry.key) {
            Some(column) => column.field_type = field_type(&at, mistakes).unwrap_or(FieldType::Text),
            None => at.mistake(mistakes, unknown_column(&entry.key, header)),
        }
    }
    columns
}

fn unknown_column(name: &str, header: &[String]) -> String {
    match suggest(name, header.iter().map(String::as_str)) {
        Some(near) => format!("no column `{name}` in the file; did you mean `{near}`?"),
        None => format!("no column `{name}` in the file, which has {}", header.join(", ")),
    }
}

fn reader(text: &str, delimiter: u8) -> csv::Reader<&[u8]> {
    let bytes = text.strip_prefix('\u{feff}').unwrap_or(text).as_bytes();
    csv::ReaderBuilder::new().delimiter(delimiter).flexible(false).from_reader(bytes)
}

fn header(text: &str, delimiter: u8) -> Result<Vec<String>, String> {
    let mut reader = reader(text, delimiter);
    let header: Vec<String> = reader.headers().map_err(|e| e.to_string())?.iter().map(str::to_string).collect();
    let repeated = header.iter().enumerate().find(|(i, name)| header[..*i].contains(name));
    match repeated {
        _ if header.iter().all(String::is_empty) => Err("is empty: the first line names the columns".into()),
        Some((_, name)) => Err(format!("two columns are called `{name}`")),
        None => Ok(header),
    }
}

/// A table file's rows, in the order of the plan's columns; an empty field is none.
pub fn rows(text: &str, source: &TableSource, plan: &TablePlan) -> Result<Rows, String> {
    let mut reader = reader(text, source.delimiter);
    let wrong = |e: csv::Error| format!("`{}`: {e}", source.path);
    let header = reader.headers().map_err(wrong)?.clone();
    let find =
        |name: &str| header.iter().position(|h| h == name).ok_or_else(|| format!("`{}` lost its column `{name}`", source.path));
    let places: Vec<usize> = plan.columns.iter().map(|c| find(&c.name)).collect::<Result<_, _>>()?;
    let mut rows = Rows::new();
    for record in reader.records() {
        let record = record.map_err(wrong)?;
        rows.push(places.iter().map(|i| record.get(*i).filter(|t| !t.is_empty()).map(str::to_string)).collect());
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_follow_the_plan_and_empty_fields_are_none() {
        let source = TableSource { path: "t.csv".into(), delimiter: b';' };
        let text = |name: &str| Field { name: name.into(), field_type: FieldType::Text };
        let plan = TablePlan { name: "t".into(), key: vec!["id".into()], columns: vec![text("farm"), text("id")] };
        let read = rows("\u{feff}id;farm\na;north\n'b';\n", &source, &plan);
        assert_eq!(read, Ok(vec![vec![Some("north".into()), Some("a".into())], vec![None, Some("'b'".into())]]));
        assert!(rows("id;farm\na\n", &source, &plan).is_err(), "a row without all its columns");
        assert!(rows("id\na\n", &source, &plan).is_err(), "a file that lost a column");
        assert!(header("", b',').is_err() && header("a,a\n", b',').is_err());
    }
}
