//! The outside of an expression: compiled once against a [`Scope`], evaluated for each record.

use super::check;
use super::code::Typed;
use super::fault::Fault;
use super::parser;
use crate::value::{FieldType, Value};
use std::fmt;
use std::ops::Range;

/// What names an expression may use.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Dotted name (`power_kw`, `g.farm`, `$topic`) → type; the slot is the position.
    pub names: Vec<(String, FieldType)>,
}

/// A mistake in an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExprError {
    /// Bytes of the expression's text.
    pub span: Range<usize>,
    /// What and remedy.
    pub message: String,
}

impl fmt::Display for ExprError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ExprError {}

/// Why an expression had no value for one record: overflow, division by zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvalError(
    /// In words, with the part of the expression that failed.
    pub String,
);

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for EvalError {}

/// A compiled expression.
pub struct Expr {
    /// Its result type; `None` if it is always null.
    pub result: Option<FieldType>,
    text: Box<str>,
    slots: Vec<usize>,
    code: Typed,
}

impl Expr {
    /// Parses, checks types against `scope`, compiles to closures. Mistakes come in the order of the text.
    pub fn compile(text: &str, scope: &Scope) -> Result<Expr, Vec<ExprError>> {
        let tree = parser::parse(text)?;
        let (code, slots) = check::check(&tree, scope)?;
        let result = code.field_type();
        Ok(Expr { result, text: text.into(), slots: slots.into_iter().collect(), code })
    }

    /// The value for one record. Slots are in the order of `scope.names`, one for each. Null propagates.
    pub fn eval(&self, slots: &[Value]) -> Result<Value, EvalError> {
        self.code.value(slots).map_err(|fault| self.explain(fault))
    }

    /// Whether a condition holds: null, as in any `where`, is false. So is every expression that is not a condition.
    pub fn holds(&self, slots: &[Value]) -> Result<bool, EvalError> {
        match &self.code {
            Typed::Bool(code) => code.get(slots).map(|truth| truth == Some(true)).map_err(|fault| self.explain(fault)),
            _ => Ok(false),
        }
    }

    /// Which slots it reads, sorted.
    pub fn slots(&self) -> &[usize] {
        &self.slots
    }

    /// The text it was compiled from.
    pub fn text(&self) -> &str {
        &self.text
    }

    #[cold]
    fn explain(&self, fault: Fault) -> EvalError {
        EvalError(fault.explain(&self.text))
    }
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expr({:?})", self.text)
    }
}
