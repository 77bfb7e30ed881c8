//! Expressions: the CEL of `where`, `fields.*.expr` and the like, type-checked once and evaluated for every record.
//!
//! ```text
//! text ──lexer──▶ tokens ──parser──▶ tree ──check (types, functions)──▶ code: closures over slots ──eval──▶ Value
//! ```
//!
//! The language is [CEL](https://github.com/google/cel-spec) as far as it concerns single values: literals, dotted names
//! and `$` metadata, `! - * / % + -`, relations, `in [..]`, `&& ||`, `c ? a : b`, conversions, functions of text, of
//! numbers and of time. All types are known before the first record, and every mistake of an expression is reported with
//! its place and a remedy. What is constant is computed once; a constant that has no value (`1 / 0`) is a mistake.
//!
//! Where caudal departs from CEL, on purpose:
//!
//! * **Numbers are decimals**, exact, of a known scale ([`decimal`] has the table). `7 / 2` is `3.500000`, `%` works on all
//!   numbers, there are no doubles and no unsigned numbers. A result of 2^62 or more (unscaled) is an [`EvalError`].
//! * **Fields may be null**, and null is contagious: arithmetic, comparison, functions and a choice on it give null. `==
//!   null`, `!= null` and `has(x)` ask. `&&` and `||` are three-valued: `false && null` is false, `true && null` is null.
//! * **Errors are absorbed** by `&&` and `||` as in CEL: `x != 0 && 1 / x > 2` and its mirror image both hold. Where
//!   nothing decides, an error wins over null.
//! * **No clock**, hence no `now()`: an expression gives the same on every replay. `$received` is when the record came.
//! * Times and durations are microseconds; a duration may be computed and compared, and leaves an expression only as a
//!   number (`decimal(d)`, `d.getSeconds()`).
//!
//! An expression is at most 64 KiB long, its brackets nest at most 100 deep, its chains of `+` and the like reach at most 200, and nothing in it takes more than linear time in its input.
//!
//! ```
//! use caudal_pipeline::expr::{Expr, Scope};
//! use caudal_pipeline::value::{FieldType, Value};
//!
//! let scope = Scope { names: vec![("power_kw".into(), FieldType::Decimal(3)), ("farm".into(), FieldType::Text)] };
//! let kept = Expr::compile("power_kw >= 0 && farm in ['north', 'south']", &scope).unwrap();
//! assert_eq!(kept.result, Some(FieldType::Bool));
//! assert_eq!(kept.eval(&[Value::Decimal(812_300), Value::Text("north".into())]), Ok(Value::Bool(true)));
//! assert_eq!(kept.eval(&[Value::Null, Value::Text("north".into())]), Ok(Value::Null));
//!
//! let mistakes = Expr::compile("power_wk >= 0 && size(farn) > 2", &scope).unwrap_err();
//! assert_eq!(mistakes.len(), 2);
//! assert!(mistakes[0].message.contains("did you mean `power_kw`"));
//! ```

mod ast;
mod check;
mod code;
mod comparison;
mod decimal;
mod expression;
mod fault;
mod functions;
mod lexer;
mod literal;
mod operators;
mod parser;
#[cfg(test)]
mod tests;

pub use expression::{EvalError, Expr, ExprError, Scope};
