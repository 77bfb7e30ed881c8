//! Functions of numbers: exact, like the operators.

use super::super::code::{Code, Typed};
use super::super::decimal::{fit, power_of_ten};
use super::super::fault::{Place, Reason};
use super::table::{Built, Function, Refusal, Style};
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    Function { name: "abs", usage: "abs(number or duration)", style: Style::Plain, arguments: 1..=1, build: abs },
    Function { name: "sign", usage: "sign(number) → -1, 0 or 1", style: Style::Plain, arguments: 1..=1, build: sign },
    Function {
        name: "round",
        usage: "round(number) → integer, halves away from zero; decimal(x, digits) rounds to digits, halves to even",
        style: Style::Plain,
        arguments: 1..=1,
        build: |arguments, at| whole(arguments, at, rounded),
    },
    Function {
        name: "floor",
        usage: "floor(number) → integer",
        style: Style::Plain,
        arguments: 1..=1,
        build: |arguments, at| whole(arguments, at, i64::div_euclid),
    },
    Function {
        name: "ceil",
        usage: "ceil(number) → integer",
        style: Style::Plain,
        arguments: 1..=1,
        build: |arguments, at| whole(arguments, at, |v, unit| -(-v).div_euclid(unit)),
    },
    Function {
        name: "trunc",
        usage: "trunc(number) → integer",
        style: Style::Plain,
        arguments: 1..=1,
        build: |arguments, at| whole(arguments, at, |v, unit| v / unit),
    },
    Function { name: "min", usage: MIN, style: Style::Plain, arguments: 1..=ANY, build: least },
    Function { name: "max", usage: MAX, style: Style::Plain, arguments: 1..=ANY, build: greatest },
    Function { name: "least", usage: MIN, style: Style::Plain, arguments: 1..=ANY, build: least },
    Function { name: "greatest", usage: MAX, style: Style::Plain, arguments: 1..=ANY, build: greatest },
];

const MIN: &str = "min(x, y, …) of numbers, of times or of durations; the same as least";
const MAX: &str = "max(x, y, …) of numbers, of times or of durations; the same as greatest";
const ANY: usize = usize::MAX;

fn abs(arguments: Vec<Typed>, _at: Place) -> Built {
    match arguments.into_iter().next() {
        Some(Typed::Decimal(code, scale)) => Ok(Typed::Decimal(code.map(|v: i64| Ok(v.abs()))?, scale)),
        Some(Typed::Duration(code)) => Ok(Typed::Duration(code.map(|v: i64| Ok(v.abs()))?)),
        _ => Err(Refusal::Types),
    }
}

fn sign(arguments: Vec<Typed>, _at: Place) -> Built {
    match arguments.into_iter().next() {
        Some(Typed::Decimal(code, _)) => Ok(Typed::Decimal(code.map(|v: i64| Ok(v.signum()))?, 0)),
        _ => Err(Refusal::Types),
    }
}

/// A number made whole by what `f` does with the scaled value and the value of one.
fn whole(arguments: Vec<Typed>, _at: Place, f: fn(i64, i64) -> i64) -> Built {
    match arguments.into_iter().next() {
        Some(Typed::Decimal(code, scale)) => {
            let unit = power_of_ten(scale) as i64;
            Ok(Typed::Decimal(code.map(move |v| Ok(f(v, unit)))?, 0))
        }
        _ => Err(Refusal::Types),
    }
}

/// Half away from zero, as CEL's `math.round`.
fn rounded(v: i64, unit: i64) -> i64 {
    let (whole, rest) = (v / unit, v % unit);
    if rest.unsigned_abs() * 2 >= unit.unsigned_abs() { whole + v.signum() } else { whole }
}

fn least(arguments: Vec<Typed>, at: Place) -> Built {
    extreme(arguments, at, |new, best| new < best)
}

fn greatest(arguments: Vec<Typed>, at: Place) -> Built {
    extreme(arguments, at, |new, best| new > best)
}

/// The best of several values of one kind; null if any is. Numbers come out at the largest scale.
fn extreme(arguments: Vec<Typed>, at: Place, better: fn(i128, i128) -> bool) -> Built {
    let scale = arguments.iter().map(|argument| if let Typed::Decimal(_, scale) = argument { *scale } else { 0 }).max();
    let scale = scale.unwrap_or(0);
    let (mut decimals, mut times, mut durations) = (Vec::new(), Vec::new(), Vec::new());
    let count = arguments.len();
    for argument in arguments {
        match argument {
            Typed::Decimal(code, own) => decimals.push((code, power_of_ten(scale - own))),
            Typed::Time(code) => times.push((code, 1)),
            Typed::Duration(code) => durations.push((code, 1)),
            _ => return Err(Refusal::Types),
        }
    }
    let best = |codes: Vec<(Code<i64>, i128)>| {
        let constant = codes.iter().all(|(code, _)| code.is_constant());
        Code::computed(constant, move |slots: &[Value]| {
            let mut best: Option<i128> = None;
            let mut null = false;
            for (code, factor) in &codes {
                match code.get(slots)? {
                    Some(v) => best = Some(i128::from(v) * factor).filter(|v| best.is_none_or(|best| better(*v, best))).or(best),
                    None => null = true,
                }
            }
            match best.filter(|_| !null) {
                Some(v) => fit(v).map(Some).ok_or(at.fault(Reason::Overflow)),
                None => Ok(None),
            }
        })
    };
    match count {
        _ if decimals.len() == count => Ok(Typed::Decimal(best(decimals)?, scale)),
        _ if times.len() == count => Ok(Typed::Time(best(times)?)),
        _ if durations.len() == count => Ok(Typed::Duration(best(durations)?)),
        _ => Err(Refusal::Types),
    }
}
