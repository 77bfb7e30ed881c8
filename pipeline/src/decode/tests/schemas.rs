//! Validation in place: envelopes, and fields that a schema implies.

use super::*;
use std::collections::BTreeMap;

fn envelope() -> DecoderSpec {
    let envelope = r#"{"type":"object","required":["event_id","event_type","payload"],"properties":{
        "event_id":{"type":"string","format":"uuid"},"event_type":{"type":"string"},"region":{"enum":["north","south"]}}}"#;
    let incident = r#"{"type":"object","required":["severity"],"properties":{"severity":{"type":"integer","minimum":1,"maximum":5},"note":{"type":"string"}}}"#;
    let survey =
        r#"{"type":"object","properties":{"severity":{"type":["integer","null"]},"score":{"type":"number","multipleOf":0.01}}}"#;
    let of = [("incident", incident), ("survey", survey)].map(|(name, schema)| (name.to_owned(), document(schema)));
    let schema = SchemaSpec::Envelope {
        envelope: document(envelope),
        at: "/payload".into(),
        by: "/event_type".into(),
        of: BTreeMap::from(of),
    };
    DecoderSpec { schema: Some(schema), fields: None, ..spec() }
}

#[test]
fn the_payload_is_judged_by_the_schema_that_the_envelope_names() {
    const ID: &str = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff";
    let verdict = |body: &str| one(&envelope(), body.replace("ID", ID)).map_err(|rejection| words(&rejection));
    assert!(verdict(r#"{"event_id":"ID","event_type":"incident","payload":{"severity":5}}"#).is_ok());
    assert!(verdict(r#"{"event_id":"ID","event_type":"survey","payload":{"severity":null,"score":0.55}}"#).is_ok());
    for (body, expected) in [
        (
            r#"{"event_id":"x","region":"west","event_type":"incident","payload":{"severity":6}}"#,
            "schema: /event_id must be a valid uuid, is \"x\"; /payload/severity must be at most 5, is 6; /region must be one of \
             \"north\", \"south\", is \"west\"",
        ),
        (
            r#"{"event_id":"ID","event_type":"other","payload":{}}"#,
            "schema: /event_type must be one of `incident`, `survey`, is \"other\"",
        ),
        (
            r#"{"event_id":"ID","payload":1}"#,
            "schema:  property `event_type` is missing; /event_type must be one of `incident`, `survey`, is nothing",
        ),
        (
            r#"{"event_id":"ID","event_type":"incident"}"#,
            "schema:  property `payload` is missing; /payload the payload is missing",
        ),
        (r#"{"event_id":"ID","event_type":"incident","payload":null}"#, "schema: /payload must be of type object, is null"),
    ] {
        assert_eq!(verdict(body).unwrap_err(), expected);
    }
}

#[test]
fn without_fields_a_stream_has_its_schemas_scalars() {
    let names = |spec: &DecoderSpec| {
        let decoder = Decoder::new(spec).unwrap_or_else(|errors| panic!("{errors:#?}"));
        let fields = decoder.fields().iter().map(|f| format!("{} {}", f.name, convert::name(f.field_type)));
        fields.collect::<Vec<_>>().join(", ")
    };
    assert_eq!(names(&envelope()), "event_id text, event_type text, region text, severity decimal(0)");
    let schema = document(
        r#"{"properties":{"site":{"type":"string"},"n":{"type":"integer"},"a-b":{"type":"string"},
        "rows":{"items":{"properties":{"v":{"type":"number","multipleOf":0.001},"n":{"type":"boolean"}}}}}}"#,
    );
    let whole = DecoderSpec { schema: Some(SchemaSpec::Whole(schema)), fields: None, ..spec() };
    assert_eq!(names(&whole), "n decimal(0), site text");
    let exploded = DecoderSpec { explode: Some("/rows".into()), ..whole };
    assert_eq!(names(&exploded), "n bool, site text, v decimal(3)");
    let record = outcomes(&exploded, r#"{"site":"s","n":1,"rows":[{"v":1.5,"n":true}]}"#).remove(0).unwrap();
    assert_eq!(*record.values, [Value::Bool(true), text("s"), Value::Decimal(1500)]);
}

#[test]
fn listed_fields_take_their_types_from_the_schema() {
    let spec = DecoderSpec {
        fields: Some(vec![field("kind", "/event_type", None), field("severity", "/payload/severity", None)]),
        ..envelope()
    };
    let types: Vec<FieldType> = Decoder::new(&spec).unwrap().fields().iter().map(|f| f.field_type).collect();
    assert_eq!(types, [FieldType::Text, FieldType::Decimal(0)]);
}

#[test]
fn csv_cells_are_typed_by_the_schema_before_it_judges_them() {
    let schema =
        document(r#"{"properties":{"v":{"type":"number","minimum":0},"ok":{"type":"boolean"},"n":{"type":["integer","null"]}}}"#);
    let spec = DecoderSpec {
        format: Format::Csv { delimiter: b';', decimal: b',', columns: Some(vec!["v".into(), "ok".into(), "n".into()]) },
        schema: Some(SchemaSpec::Whole(schema)),
        fields: Some(vec![field("v", "/v", FieldType::Decimal(2)), field("ok", "/ok", None), field("n", "/n", None)]),
        ..spec()
    };
    assert_eq!(*one(&spec, "1,5;true;").unwrap().values, [Value::Decimal(150), Value::Bool(true), Value::Null]);
    assert_eq!(
        words(&one(&spec, "-1,5;yes;2,5\n").unwrap_err()),
        "schema: /n must be of type null or integer, is 2.5; /ok must be of type boolean, is \"yes\"; /v must be at least 0, is -1.5"
    );
}

#[test]
fn a_schema_that_never_matches_rejects_every_record() {
    let spec = DecoderSpec { schema: Some(SchemaSpec::Whole(Json::Bool(false))), ..spec() };
    assert_eq!(words(&one(&spec, "{}").unwrap_err()), "schema:  nothing is allowed here");
}
