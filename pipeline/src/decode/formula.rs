//! Expressions within a spec: compiled against the names in scope, with their mistakes placed below the stream.

use super::convert;
use super::decimal::{self, Excess};
use super::spec::SpecError;
use crate::expr::{Expr, Scope};
use crate::value::{FieldType, Value};
use std::fmt;

/// A compiled expression and the type that its values take.
pub(crate) struct Formula {
    text: String,
    expr: Expr,
    field_type: Option<FieldType>,
    excess: Excess,
}

impl fmt::Debug for Formula {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Formula({:?})", self.text)
    }
}

impl Formula {
    /// Compiles `text`; its values take the `declared` type, where there is one, else their own.
    pub fn new(
        text: &str,
        scope: &Scope,
        declared: Option<FieldType>,
        excess: Excess,
        path: &str,
    ) -> Result<Formula, Vec<SpecError>> {
        let expr = Expr::compile(text, scope).map_err(|errors| {
            let placed = |e: crate::expr::ExprError| SpecError { path: path.to_owned(), span: Some(e.span), message: e.message };
            errors.into_iter().map(placed).collect::<Vec<_>>()
        })?;
        let field_type =
            agree(expr.result, declared).map_err(|message| vec![SpecError { path: path.to_owned(), span: None, message }])?;
        Ok(Formula { text: text.to_owned(), expr, field_type, excess })
    }

    /// The type of its values; `None` if it is always null.
    pub fn field_type(&self) -> Option<FieldType> {
        self.field_type
    }

    /// Which slots it reads.
    pub fn slots(&self) -> &[usize] {
        self.expr.slots()
    }

    /// The value, or why there is none.
    pub fn value(&self, slots: &[Value]) -> Result<Value, String> {
        let value = self.expr.eval(slots).map_err(|e| e.0)?;
        match (value, self.expr.result, self.field_type) {
            (Value::Decimal(n), Some(FieldType::Decimal(from)), Some(FieldType::Decimal(to))) => {
                let written = || crate::value::decimal_text(n.into(), from);
                decimal::rescale(n, from, to, self.excess).map(Value::Decimal).map_err(|e| convert::refusal(&written(), to, e))
            }
            (value, _, _) => Ok(value),
        }
    }
}

fn agree(result: Option<FieldType>, declared: Option<FieldType>) -> Result<Option<FieldType>, String> {
    match (result, declared) {
        (None, declared) => Ok(declared),
        (result, None) => Ok(result),
        (Some(FieldType::Decimal(_)), Some(FieldType::Decimal(scale))) => Ok(Some(FieldType::Decimal(scale))),
        (Some(result), Some(declared)) if result == declared => Ok(Some(declared)),
        (Some(result), Some(declared)) => Err(format!(
            "the expression gives {}, but {} is declared: change the type or the expression",
            convert::name(result),
            convert::name(declared)
        )),
    }
}
