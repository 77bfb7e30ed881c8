//! A request's body as records, each with the bytes as they came.
//!
//! Only what is needed to tell records apart is looked at: a record that is no JSON is for the stream to refuse, with
//! its bytes kept as a dead letter. A body that cannot be told apart is refused whole, naming the place.

/// How records are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// One value, or an array of records.
    Json,
    /// One record a line.
    Lines,
}

impl Form {
    /// The form that a content type asks for; no content type is JSON.
    pub(super) fn of(content_type: Option<&str>) -> Option<Form> {
        let Some(content_type) = content_type else { return Some(Form::Json) };
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/json" => Some(Form::Json),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/json-lines" => Some(Form::Lines),
            other if other.starts_with("application/") && other.ends_with("+json") => Some(Form::Json),
            _ => None,
        }
    }
}

/// The records of a body, or what is wrong with it and where.
pub(super) fn records(body: &[u8], form: Form) -> Result<Vec<&[u8]>, String> {
    let records = match form {
        Form::Lines => body.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()).collect(),
        Form::Json if body.trim_ascii_start().starts_with(b"[") => elements(body)?,
        Form::Json => Vec::from_iter(Some(body.trim_ascii()).filter(|record| !record.is_empty())),
    };
    if records.is_empty() {
        return Err("the body holds no record".to_owned());
    }
    Ok(records)
}

/// The elements of the array that a body is.
fn elements(body: &[u8]) -> Result<Vec<&[u8]>, String> {
    let open = body.iter().position(|b| *b == b'[').expect("asked for an array only");
    let (mut found, mut start, mut depth) = (Vec::new(), open + 1, 0usize);
    let mut at = open + 1;
    while at < body.len() {
        match body[at] {
            b'"' => at = string_end(body, at).ok_or_else(|| format!("byte {at}: a text is not closed"))?,
            b'[' | b'{' => depth += 1,
            b'}' if depth == 0 => return Err(format!("byte {at}: `}}` closes nothing")),
            b']' | b'}' if depth > 0 => depth -= 1,
            b',' if depth == 0 => {
                found.push(element(body, start, at, found.len())?);
                start = at + 1;
            }
            b']' => {
                if !(found.is_empty() && body[start..at].trim_ascii().is_empty()) {
                    found.push(element(body, start, at, found.len())?);
                }
                let rest = at + 1 + body[at + 1..].iter().take_while(|b| b.is_ascii_whitespace()).count();
                return if rest == body.len() { Ok(found) } else { Err(format!("byte {rest}: something follows the array")) };
            }
            _ => {}
        }
        at += 1;
    }
    Err(format!("byte {}: the array is not closed", body.len()))
}

fn element(body: &[u8], start: usize, end: usize, number: usize) -> Result<&[u8], String> {
    let element = body[start..end].trim_ascii();
    if element.is_empty() { Err(format!("byte {start}: element {number} of the array is empty")) } else { Ok(element) }
}

/// Where the text that begins at `start` is closed.
fn string_end(body: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    while at < body.len() {
        match body[at] {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(body: &str, form: Form) -> Result<Vec<String>, String> {
        records(body.as_bytes(), form).map(|r| r.iter().map(|r| String::from_utf8_lossy(r).into_owned()).collect())
    }

    #[test]
    fn a_body_is_one_record_an_array_or_lines() {
        for (body, form, expected) in [
            (" {\"a\": [1,2]} \n", Form::Json, vec!["{\"a\": [1,2]}"]),
            ("not json", Form::Json, vec!["not json"]),
            (
                " [1, {\"a\":\"],\\\"[\"} ,[2,[3]],\"\\\\\"]\n",
                Form::Json,
                vec!["1", "{\"a\":\"],\\\"[\"}", "[2,[3]]", "\"\\\\\""],
            ),
            ("{}\r\n\n  \n{\"b\":1}", Form::Lines, vec!["{}", "{\"b\":1}"]),
            ("[1,2]", Form::Lines, vec!["[1,2]"]),
        ] {
            assert_eq!(split(body, form).unwrap(), expected, "{body}");
        }
    }

    #[test]
    fn what_cannot_be_told_apart_is_refused_with_its_place() {
        for (body, words) in [
            ("", "no record"),
            (" \n", "no record"),
            ("[]", "no record"),
            ("[1", "byte 2: the array is not closed"),
            ("[1,", "byte 3: the array"),
            ("[1,,2]", "byte 3: element 1"),
            ("[1,]", "byte 3: element 1"),
            ("[,1]", "byte 1: element 0"),
            ("[1] x", "byte 4: something follows"),
            ("[\"a]", "byte 1: a text is not closed"),
            ("[}]", "byte 1: `}`"),
        ] {
            let said = split(body, Form::Json).unwrap_err();
            assert!(said.contains(words), "{body}: {said}");
        }
    }

    #[test]
    fn content_types_are_known_by_their_essence() {
        for (content_type, form) in [
            (None, Some(Form::Json)),
            (Some("Application/JSON; charset=utf-8"), Some(Form::Json)),
            (Some("application/cloudevents+json"), Some(Form::Json)),
            (Some("application/x-ndjson"), Some(Form::Lines)),
            (Some("application/x-www-form-urlencoded"), None),
            (Some("text/plain"), None),
            (Some(""), None),
        ] {
            assert_eq!(Form::of(content_type), form, "{content_type:?}");
        }
    }
}
