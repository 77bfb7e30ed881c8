//! A tree into typed code: names become slots, types are proven, every mistake is noted and the walk goes on.
//!
//! A part that could not be typed is `None` and silences what contains it, so that one mistake is one message.

use super::ast::{Binary, Kind, Logic, Node};
use super::code::{Code, TextCode, Typed};
use super::comparison;
use super::fault::{Fault, Place};
use super::{ExprError, Scope, functions, operators};
use crate::suggest::suggest;
use crate::value::FieldType;
use std::collections::BTreeSet;
use std::mem::discriminant;
use std::ops::Range;

/// The code of a tree and the slots it reads, or every mistake in the order of the text.
pub(super) fn check(tree: &Node, scope: &Scope) -> Result<(Typed, BTreeSet<usize>), Vec<ExprError>> {
    let mut checker = Checker { scope, slots: BTreeSet::new(), errors: Vec::new() };
    let mut code = checker.node(tree);
    if let Some(Typed::Duration(_)) = code {
        code = checker.error(&tree.span, "a field cannot hold a duration: take its seconds, `decimal(…)` or `(…).getSeconds()`");
    }
    match code {
        Some(code) if checker.errors.is_empty() => Ok((code, checker.slots)),
        _ => {
            checker.errors.sort_by_key(|error| (error.span.start, error.span.end));
            Err(checker.errors)
        }
    }
}

pub(super) struct Checker<'s> {
    pub scope: &'s Scope,
    slots: BTreeSet<usize>,
    errors: Vec<ExprError>,
}

impl Checker<'_> {
    /// Notes a mistake.
    pub fn error<T>(&mut self, span: &Range<usize>, message: impl Into<String>) -> Option<T> {
        self.errors.push(ExprError { span: span.clone(), message: message.into() });
        None
    }

    /// The code, unless constants alone made it fail: that is a mistake, too.
    pub fn settled<T>(&mut self, code: Result<T, Fault>) -> Option<T> {
        code.map_err(|fault| self.errors.push(constant_fault(fault))).ok()
    }

    /// Code of a part, which may be the literal null.
    pub fn node(&mut self, node: &Node) -> Option<Typed> {
        match &node.kind {
            Kind::Null => Some(Typed::Null),
            Kind::Bool(v) => Some(Typed::Bool(Code::Constant(Some(*v)))),
            Kind::Number { unscaled, scale } => Some(Typed::Decimal(Code::Constant(Some(*unscaled)), *scale)),
            Kind::Text(text) => Some(Typed::Text(TextCode::Constant(Some(text.clone())))),
            Kind::Name(name) => self.name(name, &node.span),
            Kind::List(_) => self.error(&node.span, "a list has its place after `in` only: `x in [1, 2]`"),
            Kind::Negate(operand) => self.negate(operand, node),
            Kind::Not(operand) => {
                let truth = self.truth(operand, "`!`")?;
                let code = operators::not(truth);
                self.settled(code).map(Typed::Bool)
            }
            Kind::Logic(logic, terms) => self.connect(*logic, terms),
            Kind::Binary(Binary::In, operands) => self.membership(&operands[0], &operands[1]),
            Kind::Binary(operator, operands) => self.binary(*operator, operands, node),
            Kind::Choice(parts) => self.choice(parts, node),
            Kind::Call(call) => functions::call(self, call, node),
        }
    }

    /// Code of a part that has to have a value: the literal null is refused.
    pub fn value(&mut self, node: &Node) -> Option<Typed> {
        match self.node(node)? {
            Typed::Null => self.error(&node.span, "`null` is no value here: ask with `== null` or `!= null`"),
            code => Some(code),
        }
    }

    fn truth(&mut self, node: &Node, of: &str) -> Option<Code<bool>> {
        match self.value(node)? {
            Typed::Bool(code) => Some(code),
            other => {
                let remedy = match other {
                    Typed::Decimal(..) => "compare it, `x != 0`",
                    Typed::Text(_) => "compare it, `x == 'yes'`",
                    _ => "compare it",
                };
                self.error(&node.span, format!("{of} wants a bool, this is {}: {remedy}", other.words()))
            }
        }
    }

    fn name(&mut self, name: &str, span: &Range<usize>) -> Option<Typed> {
        let Some(slot) = self.scope.names.iter().position(|(known, _)| known == name) else {
            let message = unknown_name(name, self.scope);
            return self.error(span, message);
        };
        self.slots.insert(slot);
        Some(match self.scope.names[slot].1 {
            FieldType::Bool => Typed::Bool(Code::Slot(slot)),
            FieldType::Decimal(scale) => Typed::Decimal(Code::Slot(slot), scale),
            FieldType::Text => Typed::Text(TextCode::Slot(slot)),
            FieldType::Time => Typed::Time(Code::Slot(slot)),
        })
    }

    fn negate(&mut self, operand: &Node, node: &Node) -> Option<Typed> {
        let code = self.value(operand)?;
        let words = code.words();
        let negated = operators::negate(code, Place::from(&node.span));
        match self.settled(negated)? {
            Some(code) => Some(code),
            None => self.error(&node.span, format!("`-` wants a number or a duration, this is {words}")),
        }
    }

    fn connect(&mut self, logic: Logic, terms: &[Node]) -> Option<Typed> {
        let of = if logic == Logic::All { "`&&`" } else { "`||`" };
        let codes: Vec<_> = terms.iter().map(|term| self.truth(term, of)).collect();
        let code = operators::connect(logic, codes.into_iter().collect::<Option<_>>()?);
        self.settled(code).map(Typed::Bool)
    }

    fn binary(&mut self, operator: Binary, operands: &[Node; 2], node: &Node) -> Option<Typed> {
        let asks_null = matches!(operator, Binary::Equal | Binary::NotEqual);
        let side = |checker: &mut Self, node| if asks_null { checker.node(node) } else { checker.value(node) };
        let (left, right) = (side(self, &operands[0]), side(self, &operands[1]));
        let (left, right) = (left?, right?);
        let message = mismatch(operator, &left, &right, operands);
        let place = Place::from(&node.span);
        let code = match operator {
            Binary::Add | Binary::Subtract | Binary::Multiply | Binary::Divide | Binary::Remainder => {
                operators::arithmetic(operator, left, right, place)
            }
            _ => comparison::relation(operator, left, right).map(|code| code.map(Typed::Bool)),
        };
        match self.settled(code)? {
            Some(code) => Some(code),
            None => self.error(&node.span, message),
        }
    }

    fn membership(&mut self, wanted: &Node, list: &Node) -> Option<Typed> {
        let value = self.value(wanted);
        let Kind::List(elements) = &list.kind else {
            return self.error(
                &list.span,
                "the right side of `in` is a list: `x in ['a', 'b']`; for a part of a text use `x.contains('a')`",
            );
        };
        let codes: Vec<_> = elements.iter().map(|element| self.element(element, value.as_ref())).collect();
        let code = comparison::membership(value?, codes.into_iter().collect::<Option<_>>()?);
        self.settled(code).map(Typed::Bool)
    }

    fn element(&mut self, element: &Node, wanted: Option<&Typed>) -> Option<Typed> {
        if let Kind::Null = element.kind {
            return self.error(&element.span, "`null` in a list equals nothing: write `x == null || x in […]`");
        }
        let code = self.value(element)?;
        match wanted {
            Some(wanted) if discriminant(wanted) != discriminant(&code) => {
                self.error(&element.span, format!("the list is searched for {}, this is {}", wanted.words(), code.words()))
            }
            _ => Some(code),
        }
    }

    fn choice(&mut self, parts: &[Node; 3], node: &Node) -> Option<Typed> {
        let [condition, yes, no] = parts;
        let (condition, yes, no) = (self.truth(condition, "the condition before `?`"), self.node(yes), self.node(no));
        let (condition, yes, no) = (condition?, yes?, no?);
        let message = format!("one branch is {}, the other is {}: both must be of one type", yes.words(), no.words());
        let code = operators::choice(condition, yes, no, Place::from(&node.span));
        match self.settled(code)? {
            Some(code) => Some(code),
            None => self.error(&node.span, message),
        }
    }
}

fn constant_fault(fault: Fault) -> ExprError {
    ExprError { span: fault.place.span(), message: format!("{}; it is so for every record", fault.reason.words()) }
}

fn unknown_name(name: &str, scope: &Scope) -> String {
    const LISTED_MAX: usize = 12;
    let known = scope.names.iter().map(|(known, _)| known.as_str());
    if let Some(near) = suggest(name, known.clone().chain(["true", "false", "null"])) {
        return format!("no field `{name}`: did you mean `{near}`?");
    }
    let inside: Vec<_> =
        known.clone().filter(|known| known.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'))).collect();
    let listed: Vec<_> = if inside.is_empty() { known.collect() } else { inside };
    match listed.len() {
        0 => format!("no field `{name}`: there are none here"),
        n if n > LISTED_MAX => format!("no field `{name}`: there are {}, … ({n} in all)", quoted(&listed[..LISTED_MAX])),
        _ => format!("no field `{name}`: there are {}", quoted(&listed)),
    }
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Why an operator does not take two values, and what to write instead.
fn mismatch(operator: Binary, left: &Typed, right: &Typed, operands: &[Node; 2]) -> String {
    use Typed::{Bool, Decimal, Duration, Text, Time};
    let chained = |node: &Node| matches!(&node.kind, Kind::Binary(inner, _) if is_ordering(*inner));
    let remedy = match (left, right) {
        (Bool(_), _) if is_ordering(operator) && chained(&operands[0]) => ": relations do not chain, write `a < b && b < c`",
        (Text(_), Decimal(..)) | (Decimal(..), Text(_)) if operator == Binary::Add => {
            ": to join texts write `string(x)`, to add write `decimal(x, 3)` or `int(x)`"
        }
        (Text(_), Decimal(..)) | (Decimal(..), Text(_)) => {
            ": make the text a number, `decimal(x, 3)` or `int(x)`, or quote the number"
        }
        (Time(_), Text(_)) | (Text(_), Time(_)) => {
            ": write `timestamp('2024-05-01T12:00:00Z')` for a time, `duration('1h')` for a length"
        }
        (Duration(_), Text(_)) | (Text(_), Duration(_)) => ": write `duration('1h')`",
        (Time(_), Decimal(..)) | (Decimal(..), Time(_)) => {
            ": write `duration('1h')` for a length, `timestamp(seconds)` for a time"
        }
        (Duration(_), Decimal(..)) | (Decimal(..), Duration(_)) => ": write `duration('1h')`, or take seconds with `decimal(…)`",
        (Time(_), Time(_)) if operator == Binary::Add => ": only their difference means something",
        (Bool(_), Text(_)) | (Text(_), Bool(_)) => ": write `true` and `false` without quotes, or `bool(x)`",
        _ => "",
    };
    let verb = if matches!(operator, Binary::Equal | Binary::NotEqual) || is_ordering(operator) { "compare" } else { "take" };
    format!("`{}` does not {verb} {} and {}{remedy}", operator.symbol(), left.words(), right.words())
}

fn is_ordering(operator: Binary) -> bool {
    matches!(operator, Binary::Less | Binary::LessOrEqual | Binary::Greater | Binary::GreaterOrEqual)
}
