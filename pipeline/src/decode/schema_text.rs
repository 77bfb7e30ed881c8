//! A schema's violations in words: lower case, short, always the same for the same value.
//!
//! The library's own texts repeat the whole value, be it a megabyte; these repeat as much as helps to recognise it.

use super::text::{clip, found, list};
use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use serde_json::Value as Json;

/// What is wrong and what was expected.
pub(crate) fn describe(error: &ValidationError<'_>) -> String {
    let value = error.instance();
    kind(error.kind(), value).unwrap_or_else(|| clip(&error.masked().to_string()))
}

fn kind(kind: &Kind, value: &Json) -> Option<String> {
    Some(match kind {
        Kind::Type { kind } => format!("must be of type {}, is {}", types(kind), found(value)),
        Kind::Required { property } => format!("property `{}` is missing", clip(property.as_str().unwrap_or_default())),
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            unexpected_properties(unexpected)
        }
        Kind::AdditionalItems { limit } => format!("must have at most {limit} items, is {}", found(value)),
        Kind::UnevaluatedItems { unexpected } => format!("{} unexpected {}", unexpected.len(), plural(unexpected.len(), "item")),
        Kind::Maximum { limit } => format!("must be at most {}, is {}", found(limit), found(value)),
        Kind::Minimum { limit } => format!("must be at least {}, is {}", found(limit), found(value)),
        Kind::ExclusiveMaximum { limit } => format!("must be less than {}, is {}", found(limit), found(value)),
        Kind::ExclusiveMinimum { limit } => format!("must be more than {}, is {}", found(limit), found(value)),
        Kind::MultipleOf { multiple_of } => format!("must be a multiple of {}, is {}", found(multiple_of), found(value)),
        Kind::MaxLength { limit } => format!("must have at most {limit} characters, is {}", found(value)),
        Kind::MinLength { limit } => format!("must have at least {limit} characters, is {}", found(value)),
        Kind::MaxItems { limit } => format!("must have at most {limit} items, is {}", found(value)),
        Kind::MinItems { limit } => format!("must have at least {limit} items, is {}", found(value)),
        Kind::MaxProperties { limit } => format!("must have at most {limit} properties"),
        Kind::MinProperties { limit } => format!("must have at least {limit} properties"),
        Kind::Pattern { pattern } => format!("must match the pattern `{}`, is {}", clip(pattern), found(value)),
        Kind::Format { format } => format!("must be a valid {}, is {}", clip(format), found(value)),
        Kind::Constant { expected_value } => format!("must be {}, is {}", found(expected_value), found(value)),
        Kind::Enum { options } => format!("must be one of {}, is {}", choices(options), found(value)),
        Kind::UniqueItems => "must not have the same item twice".into(),
        Kind::Contains => "has too few or too many items that match `contains`".into(),
        Kind::AnyOf { context } => format!("matches none of the {} alternatives of `anyOf`", context.len()),
        Kind::OneOfNotValid { context } => format!("matches none of the {} alternatives of `oneOf`", context.len()),
        Kind::OneOfMultipleValid { .. } => "matches more than one alternative of `oneOf`".into(),
        Kind::Not { .. } => format!("matches what `not` forbids, is {}", found(value)),
        Kind::FalseSchema => "nothing is allowed here".into(),
        Kind::PropertyNames { error } => format!("a property's name {}", describe(error)),
        _ => return None,
    })
}

fn types(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(one) => one.to_string(),
        TypeKind::Multiple(set) => set.iter().map(|t| t.to_string()).collect::<Vec<_>>().join(" or "),
    }
}

fn unexpected_properties(names: &[String]) -> String {
    // The library's order follows its own tables.
    let mut names: Vec<&String> = names.iter().collect();
    names.sort();
    let noun = if names.len() == 1 { "property" } else { "properties" };
    format!("unexpected {noun} {}", list(&names))
}

fn choices(options: &Json) -> String {
    let texts: Vec<String> = options.as_array().into_iter().flatten().map(found).collect();
    list(&texts).replace('`', "")
}

fn plural(n: usize, noun: &str) -> String {
    if n == 1 { noun.into() } else { format!("{noun}s") }
}
