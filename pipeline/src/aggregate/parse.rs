//! From the text of a job file to a [`Kind`]: `name(field, …, number)`.
//!
//! Reading is lenient and checking is complete: a text is first cut into a name and arguments whatever they are, then
//! each piece is held against the aggregate's [`Signature`], so that one look shows all mistakes of a text. A number
//! may be named (`max: 1000`) or stand in its place.

use super::call::{Call, Piece};
use super::compiled::{Input, Kind};
use super::signatures::{Accepts, SIGNATURES, Signature};
use crate::value::{Field, FieldType};
use std::ops::Range;

/// A mistake in an aggregate's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AggregateError {
    /// Bytes of the text.
    pub span: Range<usize>,
    /// What and remedy.
    pub message: String,
}

/// Parses an aggregate of a stream with these fields, or names all mistakes in the order of the text.
pub(super) fn parse(text: &str, fields: &[Field]) -> Result<Kind, Vec<AggregateError>> {
    let mut check = Check { fields, mistakes: Vec::new() };
    let kind = check.call(text);
    check.mistakes.sort_by_key(|mistake| (mistake.span.start, mistake.span.end));
    match kind {
        Some(kind) if check.mistakes.is_empty() => Ok(kind),
        _ => Err(check.mistakes),
    }
}

/// Mistakes so far, and what they are mistakes against.
struct Check<'f> {
    fields: &'f [Field],
    mistakes: Vec<AggregateError>,
}

impl Check<'_> {
    fn mistake(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.mistakes.push(AggregateError { span, message: message.into() });
    }

    fn call(&mut self, text: &str) -> Option<Kind> {
        let whole = Piece::whole(text);
        let name = whole.before('(');
        let Some(signature) = SIGNATURES.iter().find(|signature| signature.name == name.text) else {
            self.unknown_aggregate(name);
            self.brackets(whole, None)
                .into_iter()
                .flat_map(|call| call.arguments)
                .for_each(|argument| self.perhaps_a_field(argument));
            return None;
        };
        let call = self.brackets(whole, Some(signature))?;
        let arguments = self.arguments(signature, whole, call.arguments)?;
        Some((signature.build)(&arguments.fields, arguments.number))
    }

    fn unknown_aggregate(&mut self, name: Piece<'_>) {
        let message = if name.text.is_empty() {
            "an aggregate is missing here: write one such as `count()` or `mean(x)`".to_owned()
        } else {
            let names = || SIGNATURES.iter().map(|signature| signature.name);
            match suggest(name.text, names()) {
                Some(near) => format!("there is no aggregate `{}`: did you mean `{near}`?", name.text),
                None => format!("there is no aggregate `{}`: there are {}", name.text, names().collect::<Vec<_>>().join(", ")),
            }
        };
        self.mistake(name.span(), message);
    }

    /// The call's arguments. The lack of brackets is a mistake only where the aggregate is known.
    fn brackets<'t>(&mut self, whole: Piece<'t>, known: Option<&Signature>) -> Option<Call<'t>> {
        let Some(call) = Call::cut(whole) else {
            if let Some(signature) = known {
                self.mistake(whole.span(), format!("`{}` needs brackets: write `{}`", signature.name, signature.usage));
            }
            return None;
        };
        match call.rest {
            None => self.mistake(whole.span(), "the closing bracket is missing"),
            Some(Piece { text: "", .. }) => {}
            Some(rest) => {
                let message =
                    format!("`{}` follows the aggregate: one column is one aggregate, compute with fields instead", rest.text);
                self.mistake(rest.span(), message);
            }
        }
        Some(call)
    }

    /// Holds the arguments against the signature. What comes back is complete, unless there are mistakes.
    fn arguments(&mut self, signature: &Signature, whole: Piece<'_>, arguments: Vec<Piece<'_>>) -> Option<Arguments> {
        let (mut inputs, mut number, mut places) = (Vec::new(), None, 0);
        for argument in arguments {
            if let Some((name, value)) = argument.named() {
                if self.is_number(signature, name) {
                    self.number_once(signature, argument, value, &mut number);
                }
            } else if places < signature.fields.len() {
                inputs.extend(self.field(signature, signature.fields[places], argument));
                places += 1;
            } else if signature.number.is_some() && number.is_none() {
                self.number_once(signature, argument, argument, &mut number);
            } else {
                self.mistake(argument.span(), format!("one argument too many: write `{}`", signature.usage));
            }
        }
        if places < signature.required {
            let lacks = if places == 0 { "a field" } else { "a second field" };
            self.mistake(whole.before('(').span(), format!("`{}` lacks {lacks}: write `{}`", signature.name, signature.usage));
        }
        if let (Some(expected), None) = (&signature.number, number) {
            let message =
                format!("`{}` lacks `{}`, {}: write `{}`", signature.name, expected.name, expected.range(), signature.usage);
            self.mistake(whole.span(), message);
        }
        let complete = inputs.len() >= signature.required && number.is_some() == signature.number.is_some();
        complete.then(|| Arguments { fields: inputs, number: number.unwrap_or_default() })
    }

    /// Whether `name` is what the signature calls its number; else a mistake.
    fn is_number(&mut self, signature: &Signature, name: Piece<'_>) -> bool {
        let message = match &signature.number {
            Some(number) if number.name == name.text => return true,
            Some(number) => format!("`{}` has no `{}`: did you mean `{}`?", signature.name, name.text, number.name),
            None => format!("`{}` has no `{}`: write `{}`", signature.name, name.text, signature.usage),
        };
        self.mistake(name.span(), message);
        false
    }

    /// Reads the number, which may come only once. A bad one counts as given: one mistake is enough.
    fn number_once(&mut self, signature: &Signature, argument: Piece<'_>, value: Piece<'_>, number: &mut Option<u64>) {
        let expected = signature.number.as_ref().expect("only asked where the aggregate has a number");
        if number.is_some() {
            self.mistake(argument.span(), format!("`{}` is given twice", expected.name));
            return;
        }
        let read = expected.read(value.text);
        if read.is_none() {
            self.mistake(value.span(), format!("`{}` is {}, `{}` is not", expected.name, expected.range(), value.text));
        }
        *number = Some(read.unwrap_or_default());
    }

    /// Looks a field up and checks its type.
    fn field(&mut self, signature: &Signature, accepts: Accepts, argument: Piece<'_>) -> Option<Input> {
        let Some(slot) = self.fields.iter().position(|field| field.name == argument.text) else {
            let message = self.no_such_field(signature.name, argument.text);
            self.mistake(argument.span(), message);
            return None;
        };
        let field_type = self.fields[slot].field_type;
        if accepts == Accepts::Decimal && !matches!(field_type, FieldType::Decimal(_)) {
            let message = format!("{} needs a decimal field, `{}` is {}", signature.name, argument.text, type_words(field_type));
            self.mistake(argument.span(), message);
        }
        Some(Input { slot, field_type })
    }

    /// Complains of an argument of an unknown aggregate only if it can be nothing but a misspelt field.
    fn perhaps_a_field(&mut self, argument: Piece<'_>) {
        let known = self.fields.iter().any(|field| field.name == argument.text);
        let misspelt = argument.named().is_none() && !is_number(argument.text) && !is_expression(argument.text);
        if !known && misspelt && !argument.text.is_empty() {
            let message = self.no_such_field("", argument.text);
            self.mistake(argument.span(), message);
        }
    }

    fn no_such_field(&self, aggregate: &str, text: &str) -> String {
        if text.is_empty() {
            return "an argument is missing here".to_owned();
        }
        if (aggregate, text) == ("count", "*") {
            return "write `count()` to count records".to_owned();
        }
        if is_number(text) {
            return format!("`{text}` is a number where a field is expected");
        }
        if is_expression(text) {
            return format!("`{text}` is not a field: give it a name under `fields` with `expr`, then use that");
        }
        let names = || self.fields.iter().map(|field| field.name.as_str());
        match suggest(text, names()) {
            Some(near) => format!("there is no field `{text}`: did you mean `{near}`?"),
            None if self.fields.is_empty() => format!("there is no field `{text}`: the stream has none"),
            None => format!("there is no field `{text}`: there are {}", names().collect::<Vec<_>>().join(", ")),
        }
    }
}

/// What a call is given, checked.
struct Arguments {
    fields: Vec<Input>,
    number: u64,
}

fn is_number(text: &str) -> bool {
    text.trim_start_matches(['-', '+', '.']).starts_with(|c: char| c.is_ascii_digit())
}

fn is_expression(text: &str) -> bool {
    text.contains(|c: char| c.is_whitespace() || "+*/%()<>=!?&|'\"[]".contains(c))
}

fn type_words(field_type: FieldType) -> &'static str {
    match field_type {
        FieldType::Bool => "a boolean",
        FieldType::Decimal(_) => "a decimal",
        FieldType::Text => "text",
        FieldType::Time => "a time",
    }
}

/// The candidate nearest to a name, if it is near enough to be meant.
fn suggest<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let near = |candidate: &&str| {
        distance(name, candidate) < candidate.chars().count() && distance(name, candidate) <= (name.chars().count() / 3).max(2)
    };
    candidates.into_iter().filter(near).min_by_key(|candidate| distance(name, candidate))
}

/// How many characters must be changed, left out or put in.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, c) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, d) in b.iter().enumerate() {
            let cost = (diagonal + usize::from(c != *d)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], cost);
        }
    }
    row[b.len()]
}
