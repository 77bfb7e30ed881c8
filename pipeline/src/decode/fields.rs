//! A stream's fields and its `where`: the part of decoding that turns a valid message into typed values.
//!
//! Every field that is wrong is reported, not only the first. Expressions are not asked when a place before them was
//! wrong: what they would say of a missing value helps nobody.

use super::convert::Conversion;
use super::decimal::Excess;
use super::event_time::EventTimeRule;
use super::formula::Formula;
use super::place::{Found, Place, Scene};
use super::schema::Violations;
use super::shapes::Scalar;
use super::slots::{self, Slots};
use super::spec::{DecoderSpec, FieldFrom, FieldSpec, SpecError};
use super::text;
use super::time_reader::TimeReader;
use super::types::{SchemaTypes, is_identifier};
use crate::expr::Scope;
use crate::record::{Reason, Rejection};
use crate::value::{Field, FieldType, SCALE_MAX, Value};
use std::collections::BTreeSet;

/// Fields, lookups and filter, compiled.
#[derive(Debug)]
pub(crate) struct Fields {
    list: Vec<Field>,
    steps: Vec<Step>,
    slots: Slots,
    filter: Option<Formula>,
    /// Slots before the fields; none if no expression needs any.
    base: usize,
}

/// How one field gets its value.
#[derive(Debug)]
struct Step {
    source: Source,
    default: Value,
}

#[derive(Debug)]
enum Source {
    Place(Place, Box<Conversion>),
    Formula(Formula),
}

/// What fields are compiled against.
pub(crate) struct Surroundings<'a> {
    pub spec: &'a DecoderSpec,
    pub types: &'a SchemaTypes<'a>,
    /// `None` if there is something wrong with it.
    pub event_time: Option<&'a EventTimeRule>,
    /// The decimal point of numbers written as text.
    pub decimal: u8,
}

impl Fields {
    /// Compiles the fields, or notes all that is wrong with them.
    pub fn new(around: &Surroundings<'_>, errors: &mut Vec<SpecError>) -> Fields {
        let mut slots = Slots::new(around.spec, around.decimal, errors);
        let mut names = Names::new(slots.scope());
        let (mut list, mut steps) = (Vec::new(), Vec::new());
        let specs = around.spec.fields.clone().unwrap_or_else(|| around.types.fields(errors));
        for spec in &specs {
            check_name(&spec.name, slots.is_alias(&spec.name), &list, errors);
            match around.step(spec, &names, errors) {
                Some((step, field_type)) => {
                    names.add(&spec.name, field_type);
                    list.push(Field { name: spec.name.clone(), field_type });
                    steps.push(step);
                }
                None => names.broken.push(spec.name.clone()),
            }
        }
        let filter = around.spec.filter.as_deref().and_then(|text| filter(text, &names, errors));
        let base = slots.len();
        slots.keep_only(&read_slots(&steps, filter.as_ref()));
        Fields { list, steps, slots, filter, base }
    }

    /// Names and types in order.
    pub fn list(&self) -> &[Field] {
        &self.list
    }

    /// A record's values, and whether `where` holds.
    pub fn read(&self, scene: &Scene<'_>) -> Result<(Box<[Value]>, bool), Rejection> {
        let mut violations = Violations::default();
        let mut slots = Vec::with_capacity(self.base + self.steps.len());
        slots.resize(self.base, Value::Null);
        self.slots.fill(scene, &mut slots, &mut violations);
        for (step, field) in self.steps.iter().zip(&self.list) {
            let value = step.value(scene, &slots, &field.name, &mut violations);
            slots.push(if value == Value::Null { step.default.clone() } else { value });
        }
        if !violations.is_empty() {
            return Err(Rejection { reason: Reason::Field, violations: violations.into_vec() });
        }
        let passes = match &self.filter {
            None => true,
            Some(filter) => passes(filter, &slots)?,
        };
        let values = if self.base == 0 { slots } else { slots.split_off(self.base) };
        Ok((values.into_boxed_slice(), passes))
    }
}

/// Whether a record passes `where`: null does not.
pub(crate) fn passes(filter: &Formula, slots: &[Value]) -> Result<bool, Rejection> {
    let value = filter.value(slots).map_err(|message| Rejection::one(Reason::Field, "where", message))?;
    Ok(value == Value::Bool(true))
}

impl Step {
    fn value(&self, scene: &Scene<'_>, slots: &[Value], name: &str, violations: &mut Violations) -> Value {
        let (path, message) = match &self.source {
            Source::Place(place, conversion) => match conversion.value(place.find(scene)) {
                Ok(value) => return value,
                Err(message) => (place.path(scene), format!("`{name}` {message}")),
            },
            Source::Formula(_) if !violations.is_empty() => return Value::Null,
            Source::Formula(formula) => match formula.value(slots) {
                Ok(value) => return value,
                Err(message) => (format!("fields.{name}"), message),
            },
        };
        violations.add(path, message);
        Value::Null
    }
}

/// The names that the next expression may use, and those that have a mistake of their own.
pub(crate) struct Names {
    pub scope: Scope,
    pub broken: Vec<String>,
}

impl Names {
    pub fn new(scope: Scope) -> Names {
        Names { scope, broken: Vec::new() }
    }

    pub fn add(&mut self, name: &str, field_type: FieldType) {
        self.scope.names.push((name.to_owned(), field_type));
    }

    /// Whether an expression uses a name that has a mistake of its own: one report of it is enough.
    pub fn mentions_broken(&self, text: &str) -> bool {
        let words: BTreeSet<&str> = text.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        self.broken.iter().any(|name| words.contains(name.as_str()))
    }
}

/// Compiles `where`.
pub(crate) fn filter(text: &str, names: &Names, errors: &mut Vec<SpecError>) -> Option<Formula> {
    if names.mentions_broken(text) {
        return None;
    }
    let formula = Formula::new(text, &names.scope, None, Excess::Reject, "where").map_err(|found| errors.extend(found)).ok()?;
    let message = match formula.field_type() {
        Some(FieldType::Bool) => return Some(formula),
        None => "the condition is always null, so that no record would pass".to_owned(),
        Some(other) => {
            format!("a condition must be true or false, but this one gives {}: compare it", super::convert::name(other))
        }
    };
    errors.push(SpecError { path: "where".into(), span: None, message });
    None
}

/// A field's name must be one that expressions and stores can use, and its own.
pub(crate) fn check_name(name: &str, is_alias: bool, earlier: &[Field], errors: &mut Vec<SpecError>) {
    let message = if earlier.iter().any(|field| field.name == name) {
        format!("two fields are called `{name}`: rename one")
    } else if is_alias {
        format!("a lookup is called `{name}` too: rename the field or the lookup")
    } else if !is_identifier(name) {
        format!("`{}` is no name for a field: use letters, digits and `_`, not first a digit", text::clip(name))
    } else {
        return;
    };
    errors.push(SpecError { path: format!("fields.{name}"), span: None, message });
}

fn read_slots(steps: &[Step], filter: Option<&Formula>) -> BTreeSet<usize> {
    let of_steps = steps.iter().filter_map(|step| match &step.source {
        Source::Formula(formula) => Some(formula),
        Source::Place(..) => None,
    });
    of_steps.chain(filter).flat_map(|formula| formula.slots().iter().copied()).collect()
}

/// Checks the declared scale and reads the default, which also must not be null.
pub(crate) fn default(spec: &FieldSpec, field_type: FieldType) -> Result<Value, SpecError> {
    let mistake = |below: &str, message| SpecError { path: format!("fields.{}.{below}", spec.name), span: None, message };
    if let FieldType::Decimal(scale) = field_type {
        if scale > SCALE_MAX {
            return Err(mistake("type", format!("a decimal has at most {SCALE_MAX} digits after the point, not {scale}")));
        }
    }
    let Some(text) = &spec.default else { return Ok(Value::Null) };
    Conversion::plain(field_type).value(Found::Text(text)).map_err(|message| mistake("default", format!("the default {message}")))
}

impl Surroundings<'_> {
    fn step(&self, spec: &FieldSpec, names: &Names, errors: &mut Vec<SpecError>) -> Option<(Step, FieldType)> {
        let found = match &spec.from {
            FieldFrom::Reference(reference) => self.place(spec, reference).map_err(|error| errors.push(error)).ok(),
            FieldFrom::Expr(text) => formula(spec, text, names, errors).map(|(f, t)| (Source::Formula(f), t)),
        };
        let (source, field_type) = found?;
        match default(spec, field_type) {
            Ok(default) => Some((Step { source, default }, field_type)),
            Err(error) => {
                errors.push(error);
                None
            }
        }
    }

    fn place(&self, spec: &FieldSpec, reference: &super::spec::Reference) -> Result<(Source, FieldType), SpecError> {
        let mistake = |below: &str, message| SpecError { path: format!("fields.{}{below}", spec.name), span: None, message };
        let place = Place::new(reference, self.spec.explode.is_some()).map_err(|message| mistake(".at", message))?;
        let time = self.event_time.and_then(|rule| rule.reader_of(&place));
        let field_type = self.field_type(spec, &place, time).map_err(|message| mistake(".type", message))?;
        let time = time.cloned().unwrap_or(TimeReader::Rfc3339);
        let conversion = Conversion { field_type, excess: spec.excess_digits.into(), decimal: self.decimal, time };
        Ok((Source::Place(place, Box::new(conversion)), field_type))
    }

    /// The declared type, checked against what is known; else what is known.
    fn field_type(&self, spec: &FieldSpec, place: &Place, time: Option<&TimeReader>) -> Result<FieldType, String> {
        let scalar = self.types.at(place);
        let known = match place {
            Place::Metadata(metadata) => Some(metadata.field_type()),
            _ => scalar.and_then(Scalar::field_type),
        };
        match (spec.field_type, known) {
            (Some(FieldType::Time), Some(FieldType::Decimal(_))) if matches!(time, Some(TimeReader::Unix { .. })) => {
                Ok(FieldType::Time)
            }
            (Some(declared), Some(known)) => slots::fits(known, declared).map(|()| declared),
            (Some(declared), None) => Ok(declared),
            (None, Some(known)) => Ok(known),
            (None, None) => Err(match scalar {
                Some(_) => {
                    "the schema says number, but not how many digits follow the point: add a type, as in `decimal(3)`".into()
                }
                None => "nothing tells the type: add `type: text`, `decimal(3)`, `bool` or `time`".into(),
            }),
        }
    }
}

/// Compiles a field's expression.
pub(crate) fn formula(spec: &FieldSpec, text: &str, names: &Names, errors: &mut Vec<SpecError>) -> Option<(Formula, FieldType)> {
    if names.mentions_broken(text) {
        return None;
    }
    let path = format!("fields.{}.expr", spec.name);
    let formula = Formula::new(text, &names.scope, spec.field_type, spec.excess_digits.into(), &path);
    let formula = formula.map_err(|found| errors.extend(found)).ok()?;
    if formula.field_type().is_none() {
        let message = "the expression is always null: declare a `type`, or correct it".to_owned();
        errors.push(SpecError { path, span: None, message });
    }
    formula.field_type().map(|field_type| (formula, field_type))
}
