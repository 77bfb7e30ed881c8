//! What expressions may name besides fields, `$` metadata and lookup columns, and how their slots are filled.
//!
//! ```text
//! slot   0 …            | headers … | lookup columns …  | fields …
//! name   $topic $key …  | $header.X | g.farm g.region   | power_kw farm
//! ```
//!
//! Fields come last, so that an expression of field n sees a scope that simply ends before it. Only slots that some
//! expression reads are filled; a stream without expressions has none but its fields.

use super::convert::Conversion;
use super::place::{Metadata, Place, Scene};
use super::spec::{DecoderSpec, FieldFrom, LookupSpec, SpecError};
use super::text;
use super::types::is_identifier;
use super::{convert, schema::Violations};
use crate::expr::Scope;
use crate::value::{FieldType, Value};
use std::collections::BTreeSet;

/// The slots before the fields.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    names: Vec<(String, FieldType)>,
    metadata: Vec<(usize, Metadata)>,
    lookups: Vec<Lookup>,
}

/// One row of reference data for a record.
#[derive(Debug)]
struct Lookup {
    table: usize,
    key: Vec<(Place, Conversion)>,
    /// Slot and column.
    columns: Vec<(usize, usize)>,
}

impl Slots {
    /// Lays out the slots, or notes what is wrong with the lookups. `decimal` is the decimal point of texts.
    pub fn new(spec: &DecoderSpec, decimal: u8, errors: &mut Vec<SpecError>) -> Slots {
        let mut slots = Slots::default();
        if !spec.expressions().is_empty() {
            let headers = spec.expressions().into_iter().flat_map(headers_in).collect::<BTreeSet<_>>();
            for metadata in Metadata::COMMON.into_iter().chain(headers.into_iter().map(Metadata::Header)) {
                slots.metadata.push((slots.names.len(), metadata.clone()));
                slots.names.push((metadata.name(), metadata.field_type()));
            }
        }
        for (n, lookup) in spec.lookups.iter().enumerate() {
            let path = format!("lookup.{}", lookup.alias);
            if spec.lookups[..n].iter().any(|earlier| earlier.alias == lookup.alias) {
                errors.push(SpecError { path: path.clone(), span: None, message: "two lookups have this name".into() });
            }
            if !is_identifier(&lookup.alias) {
                let message = format!("`{}` is no name: use letters, digits and `_`", text::clip(&lookup.alias));
                errors.push(SpecError { path: path.clone(), span: None, message });
            }
            slots.add_lookup(spec, lookup, decimal, &path, errors);
        }
        slots
    }

    fn add_lookup(&mut self, spec: &DecoderSpec, lookup: &LookupSpec, decimal: u8, path: &str, errors: &mut Vec<SpecError>) {
        let mut mistake = |below: &str, message| errors.push(SpecError { path: format!("{path}{below}"), span: None, message });
        let Some(table) = spec.tables.get(lookup.table) else {
            return mistake(".table", "there is no such table: add it under `tables`".into());
        };
        if lookup.key.len() != table.key.len() {
            let (given, needed) = (lookup.key.len(), text::list(&table.key));
            mistake(".key", format!("the key of `{}` has the columns {needed}, but {given} places are given", table.name));
        }
        let mut key = Vec::new();
        for (reference, column) in lookup.key.iter().zip(&table.key) {
            let field_type = table.columns.iter().find(|c| c.name == *column).map(|c| c.field_type);
            match (Place::new(reference, spec.explode.is_some()), field_type) {
                (Ok(place), Some(field_type)) => key.push((place, Conversion { decimal, ..Conversion::plain(field_type) })),
                (Err(message), _) => mistake(".key", message),
                (Ok(_), None) => mistake(".table", format!("table `{}` has no column `{column}` for its key", table.name)),
            }
        }
        let mut columns = Vec::new();
        for (column, field) in table.columns.iter().enumerate() {
            columns.push((self.names.len(), column));
            self.names.push((format!("{}.{}", lookup.alias, field.name), field.field_type));
        }
        self.lookups.push(Lookup { table: lookup.table, key, columns });
    }

    /// How many slots come before the fields.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// The names before the fields.
    pub fn scope(&self) -> Scope {
        Scope { names: self.names.clone() }
    }

    /// Whether a lookup has this name.
    pub fn is_alias(&self, name: &str) -> bool {
        self.names.iter().any(|(n, _)| n.split_once('.').is_some_and(|(alias, _)| alias == name))
    }

    /// Forgets to fill what no expression reads.
    pub fn keep_only(&mut self, read: &BTreeSet<usize>) {
        self.metadata.retain(|(slot, _)| read.contains(slot));
        for lookup in &mut self.lookups {
            lookup.columns.retain(|(slot, _)| read.contains(slot));
        }
        self.lookups.retain(|lookup| !lookup.columns.is_empty());
    }

    /// Fills the slots of one record.
    pub fn fill(&self, scene: &Scene<'_>, slots: &mut [Value], violations: &mut Violations) {
        for (slot, metadata) in &self.metadata {
            match Conversion::plain(metadata.field_type()).value(metadata.find(scene)) {
                Ok(value) => slots[*slot] = value,
                Err(message) => violations.add(metadata.name(), message),
            }
        }
        for lookup in &self.lookups {
            lookup.fill(scene, slots, violations);
        }
    }
}

impl Lookup {
    /// A missing row and a key that is null leave nulls.
    fn fill(&self, scene: &Scene<'_>, slots: &mut [Value], violations: &mut Violations) {
        let mut key = Vec::with_capacity(self.key.len());
        for (place, conversion) in &self.key {
            match conversion.value(place.find(scene)) {
                Ok(value) => key.push(value),
                Err(message) => return violations.add(place.path(scene), format!("as a key {message}")),
            }
        }
        if let Some(row) = scene.context.tables.find(self.table, &key) {
            for (slot, column) in &self.columns {
                slots[*slot] = row[*column].clone();
            }
        }
    }
}

impl DecoderSpec {
    /// The texts of all expressions.
    fn expressions(&self) -> Vec<&str> {
        let of_fields = self.fields.iter().flatten().filter_map(|field| match &field.from {
            FieldFrom::Expr(text) => Some(text.as_str()),
            FieldFrom::Reference(_) => None,
        });
        of_fields.chain(self.filter.as_deref()).collect()
    }
}

/// Headers that an expression seems to name: `$header.X`, `$header['trace-id']`. One too many does no harm.
fn headers_in(expression: &str) -> Vec<String> {
    let after = expression.split("$header").skip(1);
    after.filter_map(|rest| header_name(rest.trim_start())).filter(|name| !name.is_empty()).collect()
}

fn header_name(rest: &str) -> Option<String> {
    let closed = |text: &str, end: char| text.split_once(end).map(|(name, _)| name.to_owned());
    if let Some(member) = rest.strip_prefix('.').map(str::trim_start) {
        return match member.strip_prefix('`') {
            Some(quoted) => closed(quoted, '`'),
            None => Some(member.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()),
        };
    }
    let index = rest.strip_prefix('[')?.trim_start();
    let quote = index.chars().next().filter(|c| ['\'', '"'].contains(c))?;
    closed(&index[1..], quote)
}

/// Checks the declared type of a field against what is known of its place.
pub(crate) fn fits(known: FieldType, declared: FieldType) -> Result<(), String> {
    let fits = match (known, declared) {
        (FieldType::Text, _) => true,
        (FieldType::Decimal(_), FieldType::Decimal(_)) => true,
        (known, declared) => known == declared,
    };
    let (known, declared) = (convert::name(known), convert::name(declared));
    if fits { Ok(()) } else { Err(format!("what stands there is {known}, which is never {declared}: declare the type {known}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_found_in_expressions() {
        for (text, names) in [
            ("$header.region == 'x' && $header . other != \"\"", vec!["region", "other"]),
            ("$header['trace-id'] + $header.`x-y`", vec!["trace-id", "x-y"]),
            ("$topic + header.x", vec![]),
            ("$header", vec![]),
        ] {
            assert_eq!(headers_in(text), names, "{text}");
        }
    }
}
