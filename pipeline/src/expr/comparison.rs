//! Relations and membership as code. Numbers of different scales compare exactly; `false` is less than `true`; texts
//! compare by their bytes, which for UTF-8 is by code points.

use super::ast::Binary;
use super::code::{Code, Scalar, TextCode, Typed};
use super::decimal::power_of_ten;
use super::fault::Fault;
use super::operators::connected;
use crate::value::SCALE_MAX;
use compact_str::CompactString;
use std::cmp::Ordering;

/// `== != < <= > >=`; `Ok(None)` if the types do not compare. A literal null may be asked about with `==` and `!=`.
pub(super) fn relation(operator: Binary, left: Typed, right: Typed) -> Result<Option<Code<bool>>, Fault> {
    use Typed::{Bool, Decimal, Duration, Null, Text, Time};
    match (operator, left, right) {
        (Binary::Equal, Null, value) | (Binary::Equal, value, Null) => Ok(Some(value.is_null())),
        (Binary::NotEqual, Null, value) | (Binary::NotEqual, value, Null) => value.is_null().map(|null| Ok(!null)).map(Some),
        (_, Bool(a), Bool(b)) => scalars(operator, a, b).map(Some),
        (_, Time(a), Time(b)) | (_, Duration(a), Duration(b)) => scalars(operator, a, b).map(Some),
        (_, Decimal(a, a_scale), Decimal(b, b_scale)) => numbers(operator, (a, a_scale), (b, b_scale)).map(Some),
        (_, Text(a), Text(b)) => texts(operator, a, b).map(Some),
        _ => Ok(None),
    }
}

/// A closure for each operator, so that none is chosen while records pass.
fn scalars<T: Scalar + Ord>(operator: Binary, a: Code<T>, b: Code<T>) -> Result<Code<bool>, Fault> {
    match operator {
        Binary::Equal => a.zip(b, |a, b| Ok(a == b)),
        Binary::NotEqual => a.zip(b, |a, b| Ok(a != b)),
        Binary::Less => a.zip(b, |a, b| Ok(a < b)),
        Binary::LessOrEqual => a.zip(b, |a, b| Ok(a <= b)),
        Binary::Greater => a.zip(b, |a, b| Ok(a > b)),
        _ => a.zip(b, |a, b| Ok(a >= b)),
    }
}

fn texts(operator: Binary, a: TextCode, b: TextCode) -> Result<Code<bool>, Fault> {
    match operator {
        Binary::Equal => a.read_with(b, |a, b| Ok(a == b)),
        Binary::NotEqual => a.read_with(b, |a, b| Ok(a != b)),
        _ => a.read_with(b, move |a, b| Ok(satisfies(operator, a.cmp(b)))),
    }
}

fn satisfies(operator: Binary, order: Ordering) -> bool {
    match operator {
        Binary::Equal => order.is_eq(),
        Binary::NotEqual => order.is_ne(),
        Binary::Less => order.is_lt(),
        Binary::LessOrEqual => order.is_le(),
        Binary::Greater => order.is_gt(),
        _ => order.is_ge(),
    }
}

fn numbers(operator: Binary, (a, a_scale): (Code<i64>, u8), (b, b_scale): (Code<i64>, u8)) -> Result<Code<bool>, Fault> {
    let (a, a_scale) = lifted(a, a_scale, b_scale);
    let (b, b_scale) = lifted(b, b_scale, a_scale);
    if a_scale == b_scale {
        return scalars(operator, a, b);
    }
    let scale = a_scale.max(b_scale);
    let (up_a, up_b) = (power_of_ten(scale - a_scale), power_of_ten(scale - b_scale));
    a.zip(b, move |a, b| Ok(satisfies(operator, (i128::from(a) * up_a).cmp(&(i128::from(b) * up_b)))))
}

/// A constant written at the scale of what it is compared with, if it can be: then `x > 0` compares 64 bits.
fn lifted(code: Code<i64>, from: u8, to: u8) -> (Code<i64>, u8) {
    let at_scale = match &code {
        Code::Constant(Some(v)) => exactly(*v, from, to),
        _ => None,
    };
    at_scale.map_or((code, from), |v| (Code::Constant(Some(v)), to))
}

/// The same number at another scale, if it is one that 64 bits hold.
fn exactly(v: i64, from: u8, to: u8) -> Option<i64> {
    let v = i128::from(v);
    let down = power_of_ten(from.saturating_sub(to));
    if v % down == 0 { i64::try_from(v / down * power_of_ten(to.saturating_sub(from))).ok() } else { None }
}

/// `x in [..]`. The elements are known to be of the type of what is looked for.
pub(super) fn membership(wanted: Typed, elements: Vec<Typed>) -> Result<Code<bool>, Fault> {
    match Constants::of(&wanted, &elements) {
        Some(constants) => constants.contain(wanted),
        None => search(wanted, elements),
    }
}

/// Searches a list in which something varies, as `x == a || x == b` would.
fn search(wanted: Typed, elements: Vec<Typed>) -> Result<Code<bool>, Fault> {
    match wanted {
        Typed::Text(wanted) => {
            let elements: Vec<_> = elements
                .into_iter()
                .filter_map(|element| if let Typed::Text(code) = element { Some(code) } else { None })
                .collect();
            Code::computed(false, move |slots| {
                let Some(wanted) = wanted.get(slots)? else { return Ok(None) };
                connected(true, elements.iter().map(|element| Ok(element.get(slots)?.map(|text| *text == *wanted))))
            })
        }
        Typed::Bool(wanted) => {
            let elements: Vec<_> = elements
                .into_iter()
                .filter_map(|element| if let Typed::Bool(code) = element { Some(code) } else { None })
                .collect();
            Code::computed(false, move |slots| {
                let Some(wanted) = wanted.get(slots)? else { return Ok(None) };
                connected(true, elements.iter().map(|element| Ok(element.get(slots)?.map(|truth| truth == wanted))))
            })
        }
        wanted => {
            let elements: Vec<_> = elements.into_iter().filter_map(measure).collect();
            let Some((wanted, factor)) = measure(wanted) else { return Ok(Code::Constant(None)) };
            Code::computed(false, move |slots| {
                let Some(wanted) = wanted.get(slots)? else { return Ok(None) };
                let wanted = i128::from(wanted) * factor;
                connected(
                    true,
                    elements.iter().map(|(element, factor)| Ok(element.get(slots)?.map(|v| i128::from(v) * factor == wanted))),
                )
            })
        }
    }
}

/// What is held by 64 bits, with the factor that brings all scales to the largest.
fn measure(value: Typed) -> Option<(Code<i64>, i128)> {
    match value {
        Typed::Decimal(code, scale) => Some((code, power_of_ten(SCALE_MAX - scale))),
        Typed::Time(code) | Typed::Duration(code) => Some((code, 1)),
        _ => None,
    }
}

/// A list of constants of one type, ready to be searched.
enum Constants {
    Bools(Vec<bool>),
    /// Times, durations, or numbers at the scale of what is looked for.
    Numbers(Vec<i64>),
    Texts(Vec<CompactString>),
}

impl Constants {
    /// The constants of a list's elements; `None` if one is not constant or not of the type of `wanted`.
    fn of(wanted: &Typed, elements: &[Typed]) -> Option<Constants> {
        match wanted {
            Typed::Bool(_) => collected(elements, |element| match element {
                Typed::Bool(Code::Constant(Some(v))) => Some(Some(*v)),
                _ => None,
            })
            .map(Constants::Bools),
            Typed::Text(_) => collected(elements, |element| match element {
                Typed::Text(TextCode::Constant(Some(text))) => Some(Some(text.clone())),
                _ => None,
            })
            .map(Constants::Texts),
            _ => collected(elements, |element| match (wanted, element) {
                (Typed::Decimal(_, to), Typed::Decimal(Code::Constant(Some(v)), from)) => Some(exactly(*v, *from, *to)),
                (Typed::Time(_), Typed::Time(Code::Constant(Some(v)))) => Some(Some(*v)),
                (Typed::Duration(_), Typed::Duration(Code::Constant(Some(v)))) => Some(Some(*v)),
                _ => None,
            })
            .map(Constants::Numbers),
        }
    }

    /// Whether a value is among them.
    fn contain(self, wanted: Typed) -> Result<Code<bool>, Fault> {
        match (self, wanted) {
            (Constants::Bools(set), Typed::Bool(code)) => code.map(move |v| Ok(set.contains(&v))),
            (Constants::Texts(set), Typed::Text(code)) => {
                code.read(move |text| Ok(set.binary_search_by(|known| known.as_str().cmp(text)).is_ok()))
            }
            (Constants::Numbers(set), Typed::Decimal(code, _) | Typed::Time(code) | Typed::Duration(code)) => {
                code.map(move |v| Ok(set.binary_search(&v).is_ok()))
            }
            _ => unreachable!("the constants were collected for this very type"),
        }
    }
}

/// Sorted; an element that no value of the type can equal is left out.
fn collected<T: Ord>(elements: &[Typed], constant: impl Fn(&Typed) -> Option<Option<T>>) -> Option<Vec<T>> {
    let mut set = Vec::with_capacity(elements.len());
    for element in elements {
        set.extend(constant(element)?);
    }
    set.sort();
    set.dedup();
    Some(set)
}
