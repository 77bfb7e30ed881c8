//! `fields` of a stream: where each value comes from and what type it has.

use super::mistakes::Mistakes;
use super::reader::At;
use super::shape::one_of;
use caudal_pipeline::decode::{ExcessDigits, FieldFrom, FieldSpec, Reference};
use caudal_pipeline::suggest::suggest;
use caudal_pipeline::value::{FieldType, SCALE_MAX};

/// Whose fields they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A stream with a source: values are found by pointers and metadata.
    Source,
    /// A stream made from a stream: values are its parent's fields, by name.
    Child,
}

/// The declared fields; `None` if there are none.
pub fn fields(stream: &At<'_>, owner: Owner, mistakes: &mut Mistakes) -> Option<Vec<FieldSpec>> {
    let fields = stream.get("fields")?;
    if fields.node.is_null() {
        return None;
    }
    Some(fields.entries().filter_map(|(entry, at)| field(&entry.key, &at, owner, mistakes)).collect())
}

fn field(name: &str, at: &At<'_>, owner: Owner, mistakes: &mut Mistakes) -> Option<FieldSpec> {
    let (from, place) = match (at.text(), at.get("at"), at.get("expr")) {
        (Some(text), ..) => (FieldFrom::Reference(Reference(text.into())), at.clone()),
        (None, Some(place), _) => (FieldFrom::Reference(Reference(place.text()?.into())), place),
        (None, None, Some(expr)) => (FieldFrom::Expr(expr.text()?.into()), expr),
        _ => return None,
    };
    if let FieldFrom::Reference(Reference(text)) = &from {
        check_reference(text, owner, &place, mistakes)?;
    }
    Some(FieldSpec {
        name: name.into(),
        from,
        field_type: at.get("type").and_then(|t| field_type(&t, mistakes)),
        excess_digits: if at.text_of("digits").as_deref() == Some("reject") { ExcessDigits::Reject } else { ExcessDigits::Round },
        default: at.text_of("default"),
    })
}

fn check_reference(text: &str, owner: Owner, at: &At<'_>, mistakes: &mut Mistakes) -> Option<()> {
    let pointer = text.starts_with('/') || text.starts_with("./") || text.starts_with('$');
    match (owner, pointer) {
        (Owner::Source, true) | (Owner::Child, false) => Some(()),
        (Owner::Source, false) => {
            at.mistake(
                mistakes,
                format!(
                    "expected a pointer such as `/{text}` or metadata such as `$key`; for an expression write {{expr: '{text}'}}"
                ),
            );
            None
        }
        (Owner::Child, true) => {
            at.mistake(mistakes, format!("a stream made from a stream sees the fields of that stream, by name, not `{text}`"));
            None
        }
    }
}

/// The type that stands at `at`.
pub fn field_type(at: &At<'_>, mistakes: &mut Mistakes) -> Option<FieldType> {
    let text = at.text()?;
    match parse_type(text) {
        Ok(field_type) => Some(field_type),
        Err(message) => {
            at.mistake(mistakes, message);
            None
        }
    }
}

fn parse_type(text: &str) -> Result<FieldType, String> {
    const NAMES: [&str; 5] = ["decimal(3)", "integer", "text", "bool", "time"];
    if let Some(scale) = text.strip_prefix("decimal(").and_then(|t| t.strip_suffix(')')) {
        return match scale.trim().parse::<u8>() {
            Ok(scale) if scale <= SCALE_MAX => Ok(FieldType::Decimal(scale)),
            _ => Err(format!("`{text}`: a decimal has 0 to {SCALE_MAX} digits after the point")),
        };
    }
    match text {
        "integer" => Ok(FieldType::Decimal(0)),
        "text" => Ok(FieldType::Text),
        "bool" => Ok(FieldType::Bool),
        "time" => Ok(FieldType::Time),
        "decimal" | "number" | "float" | "double" => {
            Err(format!("`{text}`: say how many digits after the point count, such as `decimal(3)`"))
        }
        _ => {
            let hint = suggest(text, NAMES).or(alias(text)).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            Err(format!("no type `{text}`: expected {}{hint}", one_of(&NAMES)))
        }
    }
}

fn alias(text: &str) -> Option<&'static str> {
    match text {
        "string" | "str" | "varchar" => Some("text"),
        "int" | "long" | "bigint" => Some("integer"),
        "timestamp" | "datetime" | "date" => Some("time"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_few_and_others_are_led_to_them() {
        for (text, expected) in
            [("decimal(3)", FieldType::Decimal(3)), ("integer", FieldType::Decimal(0)), ("time", FieldType::Time)]
        {
            assert_eq!(parse_type(text), Ok(expected));
        }
        for (text, hint) in [("string", "`text`"), ("decimal", "decimal(3)"), ("decimal(19)", "0 to 18"), ("integr", "`integer`")]
        {
            let message = parse_type(text).expect_err("there is no such type");
            assert!(message.contains(hint), "{message}");
        }
    }
}
