//! (contract; to be replaced by the real module)
use crate::value::{FieldType, Value};
use std::ops::Range;

/// What names an expression may use.
#[derive(Clone, Debug, Default)]
pub struct Scope { /// Dotted name (`power_kw`, `g.farm`, `$topic`) → type; the slot is the position.
    pub names: Vec<(String, FieldType)> }

/// A mistake in an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExprError { /// Bytes of the expression's text.
    pub span: Range<usize>, /// What and remedy.
    pub message: String }

/// Why an expression had no value for one record: overflow, division by zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvalError(/// In words.
    pub String);

/// A compiled expression.
pub struct Expr { /// Its result type; `None` if it is always null.
    pub result: Option<FieldType> }

impl Expr {
    /// Parses, checks types against `scope`, compiles to closures.
    pub fn compile(_text: &str, _scope: &Scope) -> Result<Expr, Vec<ExprError>> { unimplemented!() }
    /// Slots are in the order of `scope.names`. Null propagates.
    pub fn eval(&self, _slots: &[Value]) -> Result<Value, EvalError> { unimplemented!() }
    /// Which slots it reads, sorted.
    pub fn slots(&self) -> &[usize] { unimplemented!() }
}
