//! One record an array element: paths, attribution of violations, ids and content.

use super::*;

const BODY: &str = r#"{"site":"s","t":"2026-01-01T00:00:00Z","readings":[{"id":1,"v":1.5},{"id":2,"v":"x"},{"id":3}]}"#;

fn exploding() -> DecoderSpec {
    DecoderSpec {
        explode: Some("/readings".into()),
        id: Some(vec![at("/site"), at("./id")]),
        fields: Some(vec![field("site", "/site", FieldType::Text), field("v", "./v", FieldType::Decimal(1))]),
        ..spec()
    }
}

/// For each element its id, or its number and what is wrong with it.
fn summary(spec: &DecoderSpec, body: &str) -> Vec<String> {
    let line = |outcome: Result<Record, (u32, Rejection)>| match outcome {
        Ok(Record { id: Id::Given(id), .. }) => id.replace('\u{1f}', "+"),
        Ok(record) => format!("{:?}", record.id),
        Err((element, rejection)) => format!("{element} {}", words(&rejection)),
    };
    outcomes(spec, body).into_iter().map(line).collect()
}

#[test]
fn each_element_has_one_outcome_in_order() {
    assert_eq!(summary(&exploding(), BODY), ["s+1", "1 field: /readings/1/v `v` must be a number, is \"x\"", "s+3"]);
    let records = outcomes(&exploding(), BODY);
    let third = records[2].as_ref().unwrap();
    assert_eq!(third.origin.element, 2);
    assert_eq!(*third.values, [text("s"), Value::Null]);
    assert_eq!(third.content, xxhash_rust::xxh3::xxh3_64(br#"{"id":3}"#));
}

#[test]
fn content_does_not_depend_on_white_space_or_the_other_elements() {
    let content = |body: &str| outcomes(&exploding(), body)[0].as_ref().unwrap().content;
    let alone = content(r#"{"site":"s","readings":[{"v":1.50,"id":1}]}"#);
    assert_eq!(content(r#"{"site":"s", "readings":[ {"id": 1, "v":1.50}, 2]}"#), alone);
    assert_ne!(content(r#"{"site":"s","readings":[{"id":1,"v":1.5}]}"#), alone);
}

#[test]
fn without_elements_there_is_one_outcome() {
    for (body, expected) in [
        ("{}", "0 explode: /readings the array to explode is missing"),
        (r#"{"readings":[]}"#, "0 explode: /readings the array to explode is empty"),
        (r#"{"readings":{}}"#, "0 explode: /readings must be an array to explode, is an object"),
        ("{", "0 malformed:  the text ends where a key in quotes was expected at byte 1 (line 1, column 2)"),
    ] {
        assert_eq!(summary(&exploding(), body), [expected]);
    }
}

#[test]
fn a_violation_within_an_element_is_that_elements_alone() {
    let schema = r#"{"properties":{"site":{"minLength":2},"readings":{"items":{"properties":{"v":{"type":"number"}}}}}}"#;
    let spec = DecoderSpec { schema: Some(SchemaSpec::Whole(document(schema))), ..exploding() };
    let wrong = "1 schema: /readings/1/v must be of type number, is \"x\"";
    assert_eq!(summary(&spec, &BODY.replace("\"s\"", "\"ss\"")), ["ss+1", wrong, "ss+3"]);
    let site = "/site must have at least 2 characters, is \"s\"";
    assert_eq!(summary(&spec, BODY), [format!("0 schema: {site}"), format!("{wrong}; {site}"), format!("2 schema: {site}")]);
}

#[test]
fn an_elements_own_schema_gives_paths_in_the_message() {
    let schema = r#"{"required":["v"],"properties":{"v":{"type":"number"}}}"#;
    let spec = DecoderSpec { schema: Some(SchemaSpec::Element(document(schema))), ..exploding() };
    assert_eq!(
        summary(&spec, BODY),
        ["s+1", "1 schema: /readings/1/v must be of type number, is \"x\"", "2 schema: /readings/2 property `v` is missing"]
    );
}

#[test]
fn the_message_itself_can_be_the_array() {
    let spec = DecoderSpec { explode: Some(String::new()), id: Some(vec![at(".")]), fields: Some(vec![]), ..spec() };
    assert_eq!(
        summary(&spec, r#"["a",2,[]]"#),
        ["a", "2", "2 field: /2 a part of the id must be text or a number, is an array of 0"]
    );
}
