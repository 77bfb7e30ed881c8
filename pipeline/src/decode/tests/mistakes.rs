//! Mistakes in a spec: all of them at once, each with its path and a remedy.

use super::*;

fn mistakes(spec: &DecoderSpec) -> Vec<String> {
    let errors = Decoder::new(spec).expect_err("the spec has mistakes");
    errors.into_iter().map(|e| format!("{}: {}", e.path, e.message)).collect()
}

#[test]
fn all_mistakes_are_reported_together() {
    let field_of = |name: &str, place: &str, t| field(name, place, t);
    let spec = DecoderSpec {
        max_bytes: 0,
        schema: Some(SchemaSpec::Whole(document(
            r#"{"properties":{"a":{"type":"string","format":"isbn"},"n":{"type":"number"},"b":{"type":"boolean"}}}"#,
        ))),
        id: Some(vec![at("$ofset")]),
        event_time: EventTimeSpec {
            at: Some(at("t")),
            format: TimeFormat::Pattern {
                pattern: "%Y".into(),
                zone: "Europe/Sevilla".into(),
                gap: Gap::Reject,
                fold: Fold::Reject,
            },
            missing: Missing::DeadLetter,
        },
        lookups: vec![LookupSpec { alias: "g".into(), table: 0, key: vec![at("/a")] }],
        fields: Some(vec![
            field_of("one", "no/pointer", Some(FieldType::Text)),
            field_of("two", "/n", None),
            field_of("three", "/unknown", None),
            field_of("four", "/n", Some(FieldType::Decimal(19))),
            field_of("five", "/b", Some(FieldType::Text)),
            field_of("six", "./x", Some(FieldType::Text)),
            FieldSpec { default: Some("x".into()), ..field_of("seven", "/n", Some(FieldType::Decimal(1))) },
            field_of("eight", "/a", None),
            field_of("eight", "/a", None),
            field_of("not-a-name", "/a", None),
        ]),
        ..spec()
    };
    let found = mistakes(&spec);
    for expected in [
        "max_bytes: ",
        "schema: the schema cannot be used",
        "id: unknown `$ofset`",
        "event_time.format: unknown time zone `Europe/Sevilla`",
        "event_time.at: `t` is not a JSON pointer",
        "lookup.g.table: there is no such table",
        "fields.one.at: `no/pointer` is not a JSON pointer: it must begin with `/`",
        "fields.two.type: the schema says number, but not how many digits",
        "fields.three.type: nothing tells the type",
        "fields.four.type: a decimal has at most 18 digits",
        "fields.five.type: what stands there is bool, which is never text",
        "fields.six.at: `./x` starts at an exploded element",
        "fields.seven.default: the default must be a number",
        "fields.eight: two fields are called `eight`",
        "fields.not-a-name: `not-a-name` is no name",
    ] {
        assert_eq!(found.iter().filter(|m| m.starts_with(expected)).count(), 1, "{expected}\n{found:#?}");
    }
    assert_eq!(found.len(), 15, "{found:#?}");
}

#[test]
fn formats_and_explode_must_fit_together() {
    let csv = |delimiter, decimal| Format::Csv { delimiter, decimal, columns: Some(vec!["a".into(), "a".into()]) };
    let spec_csv = DecoderSpec { format: csv(b',', b','), explode: Some("a".into()), id: Some(vec![at("/a")]), ..spec() };
    let found = mistakes(&spec_csv);
    for expected in ["format.csv.decimal", "format.csv.columns", "explode.at: a CSV", "explode.at: `a`", "id: all elements"] {
        assert!(found.iter().any(|m| m.starts_with(expected)), "{expected}\n{found:#?}");
    }
    let element = DecoderSpec { schema: Some(SchemaSpec::Element(Json::Bool(true))), ..spec() };
    assert!(mistakes(&element)[0].contains("no `explode`"));
}

#[test]
fn envelopes_name_their_wrong_parts() {
    let of = [("a".to_owned(), document(r#"{"type":"strin"}"#))].into();
    let schema = SchemaSpec::Envelope { envelope: document(r#"{"minimum":"x"}"#), at: "payload".into(), by: "$key".into(), of };
    let found = mistakes(&DecoderSpec { schema: Some(schema), ..spec() });
    for expected in ["schema: ", "schema.of.a: ", "schema.at: ", "schema.by: "] {
        assert!(found.iter().any(|m| m.starts_with(expected)), "{expected}\n{found:#?}");
    }
}

#[test]
fn a_number_without_scale_cannot_be_implied() {
    let schema = document(r#"{"properties":{"power":{"type":"number"},"id":{"type":"string"}}}"#);
    let found = mistakes(&DecoderSpec { schema: Some(SchemaSpec::Whole(schema)), fields: None, ..spec() });
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("fields: the schema's property `power` is a number of unknown scale"), "{found:?}");
}

#[test]
fn the_event_times_format_must_fit_the_schema() {
    let schema = document(r#"{"properties":{"t":{"type":"integer"}}}"#);
    let with = |format| DecoderSpec {
        schema: Some(SchemaSpec::Whole(schema.clone())),
        event_time: EventTimeSpec { format, ..spec().event_time },
        fields: Some(vec![field("t", "/t", FieldType::Time)]),
        ..spec()
    };
    assert!(mistakes(&with(TimeFormat::Rfc3339)).iter().any(|m| m.contains("use the format unix_ms")));
    let record = one(&with(TimeFormat::UnixMs), r#"{"t":1500}"#).unwrap();
    assert_eq!((record.event_time.0, record.values[0].clone()), (1_500_000, Value::Time(1_500_000)));
}
