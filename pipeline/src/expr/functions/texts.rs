//! Functions of text. Positions and sizes count characters (code points), as in CEL; comparisons are exact, nothing is
//! normalised, and only the letters of ASCII change case.

use super::super::code::{Code, Outcome, TextCode, Typed};
use super::super::fault::{Place, Reason};
use super::super::operators::text_in_bounds;
use super::table::{Built, Function, Refusal, Style};
use crate::value::Value;
use compact_str::CompactString;
use regex::Regex;

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "size",
        usage: "size(text) → its number of characters",
        style: Style::Either,
        arguments: 1..=1,
        build: |arguments, _| match arguments.into_iter().next() {
            Some(Typed::Text(text)) => Ok(Typed::Decimal(text.read(|text| Ok(text.chars().count() as i64))?, 0)),
            _ => Err(Refusal::Types),
        },
    },
    Function {
        name: "contains",
        usage: "text.contains(part)",
        style: Style::Method,
        arguments: 2..=2,
        build: |arguments, _| test(arguments, |text, part| text.contains(part)),
    },
    Function {
        name: "startsWith",
        usage: "text.startsWith(part)",
        style: Style::Method,
        arguments: 2..=2,
        build: |arguments, _| test(arguments, |text, part| text.starts_with(part)),
    },
    Function {
        name: "endsWith",
        usage: "text.endsWith(part)",
        style: Style::Method,
        arguments: 2..=2,
        build: |arguments, _| test(arguments, |text, part| text.ends_with(part)),
    },
    Function {
        name: "matches",
        usage: "text.matches('pattern'): whether a part of the text matches; anchor with ^ and $",
        style: Style::Either,
        arguments: 2..=2,
        build: matches,
    },
    Function {
        name: "lowerAscii",
        usage: "text.lowerAscii()",
        style: Style::Method,
        arguments: 1..=1,
        build: |arguments, _| rewritten(arguments, |text| cased(text, str::make_ascii_lowercase)),
    },
    Function {
        name: "upperAscii",
        usage: "text.upperAscii()",
        style: Style::Method,
        arguments: 1..=1,
        build: |arguments, _| rewritten(arguments, |text| cased(text, str::make_ascii_uppercase)),
    },
    Function {
        name: "trim",
        usage: "text.trim()",
        style: Style::Method,
        arguments: 1..=1,
        build: |arguments, _| rewritten(arguments, |text| text.trim().into()),
    },
    Function { name: "replace", usage: "text.replace(old, new)", style: Style::Method, arguments: 3..=3, build: replace },
    Function {
        name: "substring",
        usage: "text.substring(start) or text.substring(start, end), counted from 0, the end outside",
        style: Style::Method,
        arguments: 2..=3,
        build: substring,
    },
    Function {
        name: "charAt",
        usage: "text.charAt(position), counted from 0",
        style: Style::Method,
        arguments: 2..=2,
        build: char_at,
    },
    Function {
        name: "indexOf",
        usage: "text.indexOf(part) → position from 0, or -1",
        style: Style::Method,
        arguments: 2..=2,
        build: index_of,
    },
];

/// The first three arguments, whatever they are.
pub(super) fn three(arguments: Vec<Typed>) -> (Option<Typed>, Option<Typed>, Option<Typed>) {
    let mut arguments = arguments.into_iter();
    (arguments.next(), arguments.next(), arguments.next())
}

fn test(arguments: Vec<Typed>, f: fn(&str, &str) -> bool) -> Built {
    match three(arguments) {
        (Some(Typed::Text(text)), Some(Typed::Text(part)), _) => {
            Ok(Typed::Bool(text.read_with(part, move |text, part| Ok(f(text, part)))?))
        }
        _ => Err(Refusal::Types),
    }
}

fn rewritten(arguments: Vec<Typed>, f: fn(&str) -> CompactString) -> Built {
    match three(arguments) {
        (Some(Typed::Text(text)), ..) => Ok(Typed::Text(text.rewrite(move |text| Ok(f(text)))?)),
        _ => Err(Refusal::Types),
    }
}

fn cased(text: &str, change: fn(&mut str)) -> CompactString {
    let mut text = CompactString::from(text);
    change(&mut text);
    text
}

/// The pattern is compiled here, once, and searches in linear time. It has to be literal for that.
fn matches(arguments: Vec<Typed>, _at: Place) -> Built {
    match three(arguments) {
        (Some(Typed::Text(text)), Some(Typed::Text(TextCode::Constant(Some(pattern)))), _) => {
            let pattern = Regex::new(&pattern).map_err(|error| Refusal::Argument(1, pattern_mistake(&error)))?;
            Ok(Typed::Bool(text.read(move |text| Ok(pattern.is_match(text)))?))
        }
        (Some(Typed::Text(_)), Some(Typed::Text(_)), _) => Err(Refusal::Argument(
            1,
            "the pattern has to be written out as a quoted text, it is compiled before the first record".into(),
        )),
        _ => Err(Refusal::Types),
    }
}

/// The last line of the library's drawing says what is wrong.
fn pattern_mistake(error: &regex::Error) -> String {
    let text = error.to_string();
    let what = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
    format!("the pattern does not compile: {what}")
}

fn replace(arguments: Vec<Typed>, at: Place) -> Built {
    match three(arguments) {
        (Some(Typed::Text(text)), Some(Typed::Text(old)), Some(Typed::Text(new))) => {
            let constant = text.is_constant() && old.is_constant() && new.is_constant();
            let replaced = move |slots: &[Value]| match (text.get(slots)?, old.get(slots)?, new.get(slots)?) {
                (Some(text), Some(old), Some(new)) => {
                    let times = text.matches(&*old).count();
                    text_in_bounds((text.len() - times * old.len()).saturating_add(times.saturating_mul(new.len())), at)?;
                    Ok(Some(text.replace(&*old, &new).into()))
                }
                _ => Ok(None),
            };
            Ok(Typed::Text(TextCode::computed(constant, replaced)?))
        }
        _ => Err(Refusal::Types),
    }
}

fn substring(arguments: Vec<Typed>, at: Place) -> Built {
    match three(arguments) {
        (Some(Typed::Text(text)), Some(Typed::Decimal(start, 0)), None) => part(text, start, None, at),
        (Some(Typed::Text(text)), Some(Typed::Decimal(start, 0)), Some(Typed::Decimal(end, 0))) => {
            part(text, start, Some(end), at)
        }
        (Some(Typed::Text(_)), Some(Typed::Decimal(..)), None | Some(Typed::Decimal(..))) => Err(whole_position()),
        _ => Err(Refusal::Types),
    }
}

fn whole_position() -> Refusal {
    Refusal::Argument(1, "a position is a whole number: write `int(…)`".into())
}

fn part(text: TextCode, start: Code<i64>, end: Option<Code<i64>>, at: Place) -> Built {
    let constant = text.is_constant() && start.is_constant() && end.as_ref().is_none_or(Code::is_constant);
    let cut = move |slots: &[Value]| -> Outcome<CompactString> {
        let (Some(text), Some(start)) = (text.get(slots)?, start.get(slots)?) else { return Ok(None) };
        let end = match &end {
            Some(end) => match end.get(slots)? {
                Some(end) => byte_at(&text, end),
                None => return Ok(None),
            },
            None => Some(text.len()),
        };
        let part = byte_at(&text, start).zip(end).and_then(|(start, end)| text.get(start..end));
        part.map(|part| Some(part.into())).ok_or(at.fault(Reason::NoSuchPosition))
    };
    Ok(Typed::Text(TextCode::computed(constant, cut)?))
}

/// Where the character at a position begins; the end of the text is a position, too.
fn byte_at(text: &str, position: i64) -> Option<usize> {
    let position = usize::try_from(position).ok()?;
    text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(position)
}

/// CEL: the position behind the last character is allowed and gives an empty text.
fn char_at(arguments: Vec<Typed>, at: Place) -> Built {
    match three(arguments) {
        (Some(Typed::Text(text)), Some(Typed::Decimal(position, 0)), _) => {
            let constant = text.is_constant() && position.is_constant();
            let cut = move |slots: &[Value]| -> Outcome<CompactString> {
                let (Some(text), Some(position)) = (text.get(slots)?, position.get(slots)?) else { return Ok(None) };
                let begin = byte_at(&text, position).ok_or(at.fault(Reason::NoSuchPosition))?;
                Ok(Some(text[begin..].chars().take(1).collect()))
            };
            Ok(Typed::Text(TextCode::computed(constant, cut)?))
        }
        (Some(Typed::Text(_)), Some(Typed::Decimal(..)), _) => Err(whole_position()),
        _ => Err(Refusal::Types),
    }
}

fn index_of(arguments: Vec<Typed>, _at: Place) -> Built {
    match three(arguments) {
        (Some(Typed::Text(text)), Some(Typed::Text(part)), _) => {
            let position = |text: &str, part: &str| Ok(text.find(part).map_or(-1, |at| text[..at].chars().count() as i64));
            Ok(Typed::Decimal(text.read_with(part, position)?, 0))
        }
        _ => Err(Refusal::Types),
    }
}
