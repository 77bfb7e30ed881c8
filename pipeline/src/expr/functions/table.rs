//! Which functions there are, how each is called, and the way from a call to its code.

use super::super::ast::{Binary, Call, Kind, Node};
use super::super::check::Checker;
use super::super::code::Typed;
use super::super::comparison;
use super::super::fault::{Fault, Place};
use super::{conversions, numbers, texts, times};
use crate::suggest::suggest;
use std::ops::RangeInclusive;

/// Whether a function is called as `f(x)`, as `x.f()`, or as one likes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Method,
    Either,
}

/// Why arguments were refused.
pub(super) enum Refusal {
    /// Not these types; the usage says which.
    Types,
    /// One argument, by its position, receiver first.
    Argument(usize, String),
    /// Constants alone made it fail.
    Fault(Fault),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Refusal {
        Refusal::Fault(fault)
    }
}

pub(super) type Built = Result<Typed, Refusal>;

/// A function: arguments include the receiver.
pub(super) struct Function {
    pub name: &'static str,
    pub usage: &'static str,
    pub style: Style,
    pub arguments: RangeInclusive<usize>,
    pub build: fn(Vec<Typed>, Place) -> Built,
}

/// Functions of CEL and of habit that are not there on purpose.
const ABSENT: [(&str, &str); 22] = [
    ("now", "expressions have no clock, so that a replay gives the same: use `$received` or the event time"),
    ("today", "expressions have no clock, so that a replay gives the same: use `$received` or the event time"),
    ("double", "numbers are exact decimals here: write `decimal(x, 6)` with the digits you need"),
    ("float", "numbers are exact decimals here: write `decimal(x, 6)` with the digits you need"),
    ("uint", "there are no unsigned numbers: write `int(x)`"),
    ("bytes", "no field holds bytes"),
    ("type", "types are known before the first record: there is nothing to ask"),
    ("dyn", "types are known before the first record: leave `dyn` out"),
    ("random", "an expression gives the same on every replay, so nothing is random"),
    ("all", "fields hold single values: there are no lists to go through"),
    ("exists", "fields hold single values: there are no lists to go through"),
    ("exists_one", "fields hold single values: there are no lists to go through"),
    ("filter", "fields hold single values: there are no lists to go through"),
    ("map", "fields hold single values: there are no lists to go through"),
    ("split", "fields hold single values: there are no lists to split into"),
    ("join", "fields hold single values: join texts with `+`"),
    ("coalesce", "write `x != null ? x : y`"),
    ("if", "write `condition ? a : b`"),
    ("like", "use contains, startsWith, endsWith or matches"),
    ("sum", "an aggregate has its place in `select` of a view, an expression sees one record"),
    ("mean", "an aggregate has its place in `select` of a view, an expression sees one record"),
    ("count", "an aggregate has its place in `select` of a view, an expression sees one record"),
];

fn functions() -> impl Iterator<Item = &'static Function> {
    conversions::FUNCTIONS.iter().chain(numbers::FUNCTIONS).chain(texts::FUNCTIONS).chain(times::FUNCTIONS)
}

/// The code of a call.
pub(in super::super) fn call(checker: &mut Checker<'_>, call: &Call, node: &Node) -> Option<Typed> {
    let receiver = call.receiver.as_ref().filter(|receiver| !is_namespace(checker, receiver));
    let arguments: Vec<&Node> = receiver.into_iter().chain(&call.arguments).collect();
    if call.name == "has" {
        return has(checker, &arguments, node);
    }
    if let Some((_, why)) = absent(&call.name) {
        return checker.error(&call.name_span, format!("there is no `{}`: {why}", call.name));
    }
    let codes: Vec<_> = arguments.iter().map(|argument| checker.value(argument)).collect();
    let Some(function) = functions().find(|function| function.name == call.name) else {
        return checker.error(&call.name_span, unknown(&call.name));
    };
    let misplaced = match function.style {
        Style::Plain => receiver.is_some(),
        Style::Method => receiver.is_none(),
        Style::Either => false,
    };
    if misplaced || !function.arguments.contains(&arguments.len()) {
        return checker.error(&node.span, format!("`{}` is called as {}", function.name, function.usage));
    }
    let codes = codes.into_iter().collect::<Option<Vec<_>>>()?;
    let types: Vec<_> = codes.iter().map(Typed::words).collect();
    match (function.build)(codes, Place::from(&node.span)) {
        Ok(code) => Some(code),
        Err(Refusal::Fault(fault)) => checker.settled(Err(fault)),
        Err(Refusal::Argument(position, message)) => checker.error(&arguments[position].span, message),
        Err(Refusal::Types) => {
            let message =
                format!("`{}` does not take {}: it is called as {}", function.name, types.join(" and "), function.usage);
            checker.error(&node.span, message)
        }
    }
}

/// CEL keeps some functions under `math`; a field of that name goes first.
fn is_namespace(checker: &Checker<'_>, receiver: &Node) -> bool {
    matches!(&receiver.kind, Kind::Name(name) if name == "math" && !checker.scope.names.iter().any(|(known, _)| known == name))
}

/// `has(name)`: CEL's question whether a field is there.
fn has(checker: &mut Checker<'_>, arguments: &[&Node], node: &Node) -> Option<Typed> {
    match arguments {
        [argument] if matches!(argument.kind, Kind::Name(_)) => {
            let known = comparison::relation(Binary::NotEqual, checker.node(argument)?, Typed::Null);
            checker.settled(known)?.map(Typed::Bool)
        }
        _ => checker.error(&node.span, "`has` is called with the name of a field, has(power_kw); for a value write `… != null`"),
    }
}

fn absent(name: &str) -> Option<&'static (&'static str, &'static str)> {
    ABSENT.iter().find(|(absent, _)| *absent == name)
}

fn unknown(name: &str) -> String {
    let known: Vec<_> = functions().map(|function| function.name).chain(["has"]).collect();
    if let Some(near) = suggest(name, known.iter().copied()) {
        return format!("no function `{name}`: did you mean `{near}`?");
    }
    match suggest(name, ABSENT.iter().map(|(absent, _)| *absent)).and_then(absent) {
        Some((near, why)) => format!("no function `{name}`, and no `{near}`: {why}"),
        None => format!("no function `{name}`: there are {}", known.join(", ")),
    }
}
