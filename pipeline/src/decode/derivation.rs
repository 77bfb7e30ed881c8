//! A stream made from a stream: its fields by name from the parent's, by expression, or simply the parent's.
//!
//! A new field may take a parent's name; from then on, in later fields and in `where`, the name means the new one.
//! Id, event time and origin stay the parent's (SEMANTICS 3), and so there is nothing else here that could fail.

use super::convert;
use super::decimal::{self, Excess};
use super::fields::{self, Names};
use super::formula::Formula;
use super::schema::Violations;
use super::slots::fits;
use super::spec::{DerivationSpec, FieldFrom, FieldSpec, SpecError};
use super::text;
use crate::expr::Scope;
use crate::record::{Reason, Record, Rejection};
use crate::value::{Field, FieldType, Value};

/// Makes a child stream's record from its parent's.
#[derive(Debug)]
pub struct Derivation {
    list: Vec<Field>,
    /// `None` keeps the parent's values.
    steps: Option<Vec<Step>>,
    filter: Option<Formula>,
}

#[derive(Debug)]
struct Step {
    source: Source,
    default: Value,
}

#[derive(Debug)]
enum Source {
    Parent { slot: usize, rescale: Option<(u8, u8, Excess)> },
    Formula(Formula),
}

impl Derivation {
    /// Compiles a spec, or names all its mistakes.
    pub fn new(spec: &DerivationSpec) -> Result<Derivation, Vec<SpecError>> {
        let mut errors = Vec::new();
        let scope = Scope { names: spec.parent.iter().map(|field| (field.name.clone(), field.field_type)).collect() };
        let mut names = Names::new(scope);
        let derived = spec.fields.as_deref().map(|specs| compile(specs, &spec.parent, &mut names, &mut errors));
        let filter = spec.filter.as_deref().and_then(|text| fields::filter(text, &names, &mut errors));
        if !errors.is_empty() {
            return Err(errors);
        }
        let (list, steps) = match derived {
            Some((list, steps)) => (list, Some(steps)),
            None => (spec.parent.clone(), None),
        };
        Ok(Derivation { list, steps, filter })
    }

    /// The child's fields, in order.
    pub fn fields(&self) -> &[Field] {
        &self.list
    }

    /// The child's values and whether its own `where` holds.
    pub fn derive(&self, parent: &Record) -> Result<(Box<[Value]>, bool), Rejection> {
        let Some(steps) = &self.steps else {
            let passes = self.filter.as_ref().map_or(Ok(true), |filter| fields::passes(filter, &parent.values))?;
            return Ok((parent.values.clone(), passes));
        };
        let mut violations = Violations::default();
        let mut slots = Vec::with_capacity(parent.values.len() + steps.len());
        slots.extend_from_slice(&parent.values);
        for (step, field) in steps.iter().zip(&self.list) {
            let value = step.source.value(&slots).unwrap_or_else(|message| {
                violations.add(format!("fields.{}", field.name), message);
                Value::Null
            });
            slots.push(if value == Value::Null { step.default.clone() } else { value });
        }
        if !violations.is_empty() {
            return Err(Rejection { reason: Reason::Field, violations: violations.into_vec() });
        }
        let passes = self.filter.as_ref().map_or(Ok(true), |filter| fields::passes(filter, &slots))?;
        Ok((slots.split_off(parent.values.len()).into_boxed_slice(), passes))
    }
}

impl Source {
    fn value(&self, slots: &[Value]) -> Result<Value, String> {
        match self {
            Source::Formula(formula) => formula.value(slots),
            Source::Parent { slot, rescale } => match (&slots[*slot], rescale) {
                (Value::Decimal(n), Some((from, to, excess))) => {
                    let written = || crate::value::decimal_text((*n).into(), *from);
                    decimal::rescale(*n, *from, *to, *excess)
                        .map(Value::Decimal)
                        .map_err(|e| convert::refusal(&written(), *to, e))
                }
                (value, _) => Ok(value.clone()),
            },
        }
    }
}

fn compile(specs: &[FieldSpec], parent: &[Field], names: &mut Names, errors: &mut Vec<SpecError>) -> (Vec<Field>, Vec<Step>) {
    let (mut list, mut steps) = (Vec::new(), Vec::new());
    for spec in specs {
        fields::check_name(&spec.name, false, &list, errors);
        let found = match &spec.from {
            FieldFrom::Reference(reference) => kept(spec, &reference.0, parent).map_err(|error| errors.push(error)).ok(),
            FieldFrom::Expr(text) => fields::formula(spec, text, names, errors).map(|(f, t)| (Source::Formula(f), t)),
        };
        let checked = found.and_then(|(source, field_type)| {
            let default = fields::default(spec, field_type).map_err(|error| errors.push(error)).ok()?;
            Some((Step { source, default }, field_type))
        });
        hide(&spec.name, names);
        match checked {
            Some((step, field_type)) => {
                names.add(&spec.name, field_type);
                list.push(Field { name: spec.name.clone(), field_type });
                steps.push(step);
            }
            None => names.broken.push(spec.name.clone()),
        }
    }
    (list, steps)
}

/// Takes a name from the parent's field: its slot stays, under a name that no expression can write.
fn hide(name: &str, names: &mut Names) {
    for (taken, _) in names.scope.names.iter_mut().filter(|(n, _)| n == name) {
        taken.insert(0, '\0');
    }
}

/// A parent's field under a new name or with another scale.
fn kept(spec: &FieldSpec, name: &str, parent: &[Field]) -> Result<(Source, FieldType), SpecError> {
    let mistake = |below: &str, message| SpecError { path: format!("fields.{}.{below}", spec.name), span: None, message };
    let Some(slot) = parent.iter().position(|field| field.name == name) else {
        let near = text::nearest(name, parent.iter().map(|field| field.name.as_str()));
        let remedy = near.map_or_else(
            || format!("it has {}", text::list(&parent.iter().map(|field| &field.name).collect::<Vec<_>>())),
            |near| format!("did you mean `{near}`?"),
        );
        return Err(mistake("at", format!("the parent stream has no field `{}`: {remedy}", text::clip(name))));
    };
    let known = parent[slot].field_type;
    let declared = spec.field_type.unwrap_or(known);
    let rescale = match (known, declared) {
        (FieldType::Decimal(from), FieldType::Decimal(to)) if from != to => Some((from, to, spec.excess_digits.into())),
        (known, declared) if known == declared => None,
        (FieldType::Text, declared) => {
            let message =
                format!("the parent's `{name}` is text: convert it with an expression, not the type {}", convert::name(declared));
            return Err(mistake("type", message));
        }
        (known, declared) => {
            fits(known, declared).map_err(|message| mistake("type", message))?;
            None
        }
    };
    Ok((Source::Parent { slot, rescale }, declared))
}
