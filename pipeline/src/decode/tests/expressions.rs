//! Expressions within streams: fields, lookups, `where`, and streams made from streams.

use super::*;

fn tables() -> (TablePlan, Tables) {
    let column = |name: &str, field_type| Field { name: name.into(), field_type };
    let plan = TablePlan {
        name: "generators".into(),
        key: vec!["id".into()],
        columns: vec![column("id", FieldType::Text), column("farm", FieldType::Text), column("rated", FieldType::Decimal(0))],
    };
    let row = |cells: [&str; 3]| cells.iter().map(|cell| Some(cell.to_string())).collect();
    let rows = vec![row(["g1", "north", "2000"]), row(["g2", "south", "1500"])];
    let tables = Tables::new(std::slice::from_ref(&plan), &[rows]).unwrap();
    (plan, tables)
}

fn wind() -> DecoderSpec {
    DecoderSpec {
        tables: vec![tables().0],
        lookups: vec![LookupSpec { alias: "g".into(), table: 0, key: vec![at("/generator")] }],
        fields: Some(vec![
            formula("farm", "g.farm"),
            field("power", "/power", FieldType::Decimal(3)),
            FieldSpec { field_type: Some(FieldType::Decimal(1)), ..formula("tenth", "power") },
        ]),
        filter: Some("power >= 0.0 && farm != 'south'".into()),
        ..spec()
    }
}

fn read(spec: &DecoderSpec, body: &str) -> Result<(Vec<Value>, bool), String> {
    let decoder = Decoder::new(spec).unwrap_or_else(|errors| panic!("{errors:#?}"));
    let outcome = run(&decoder, &message(body), &tables().1).remove(0);
    outcome.map(|record| (record.values.to_vec(), record.passes)).map_err(|(_, rejection)| words(&rejection))
}

#[test]
fn lookups_fields_and_where_work_together() {
    let wind = wind();
    let (null, d) = (Value::Null, Value::Decimal);
    for (body, values, passes) in [
        (r#"{"generator":"g1","power":812.345}"#, [text("north"), d(812_345), d(8_123)], true),
        (r#"{"generator":"g2","power":812.35}"#, [text("south"), d(812_350), d(8_124)], false),
        (r#"{"generator":"g1","power":-1}"#, [text("north"), d(-1_000), d(-10)], false),
        (r#"{"generator":"g9","power":1}"#, [null.clone(), d(1_000), d(10)], false),
        (r#"{"power":null}"#, [null.clone(), null.clone(), null.clone()], false),
    ] {
        assert_eq!(read(&wind, body), Ok((values.to_vec(), passes)), "{body}");
    }
    assert_eq!(
        read(&wind, r#"{"generator":7,"power":"x"}"#),
        Err("field: /generator as a key must be text, is 7; /power `power` must be a number, is \"x\"".into())
    );
}

#[test]
fn metadata_and_headers_are_names_too() {
    let spec = DecoderSpec {
        fields: Some(vec![formula("source", "$topic + '/' + $header['trace-id']"), formula("n", "$partition + $offset")]),
        filter: Some("$received > timestamp('2025-01-01T00:00:00Z')".into()),
        ..spec()
    };
    let decoder = Decoder::new(&spec).unwrap_or_else(|errors| panic!("{errors:#?}"));
    let sent = Message { headers: [("trace-id".to_owned(), b"x".to_vec())].into(), ..message("{}") };
    let record = run(&decoder, &sent, &Tables::default()).remove(0).unwrap();
    assert_eq!((record.values.to_vec(), record.passes), (vec![text("readings/x"), Value::Decimal(45)], true));
}

#[test]
fn an_expression_without_a_value_rejects_the_record() {
    let spec = DecoderSpec { fields: Some(vec![field("a", "/a", FieldType::Decimal(0)), formula("ratio", "10 / a")]), ..spec() };
    assert!(read(&spec, r#"{"a":2}"#).is_ok());
    assert!(read(&spec, r#"{"a":0}"#).unwrap_err().starts_with("field: fields.ratio "));
    let filtered =
        DecoderSpec { fields: Some(vec![field("a", "/a", FieldType::Decimal(0))]), filter: Some("10 / a > 1".into()), ..spec };
    assert!(read(&filtered, r#"{"a":0}"#).unwrap_err().starts_with("field: where "));
}

#[test]
fn mistakes_in_expressions_have_paths_and_spans() {
    let spec = DecoderSpec {
        fields: Some(vec![
            formula("one", "g.frm"),
            formula("two", "later + 1"),
            formula("three", "one + 1"),
            field("later", "/x", FieldType::Decimal(0)),
            FieldSpec { field_type: Some(FieldType::Text), ..formula("four", "later + 1") },
            field("g", "/x", FieldType::Text),
        ]),
        filter: Some("later + 1".into()),
        ..wind()
    };
    let errors = Decoder::new(&spec).unwrap_err();
    let paths: Vec<&str> = errors.iter().map(|e| e.path.as_str()).collect();
    assert_eq!(paths, ["fields.one.expr", "fields.two.expr", "fields.four.expr", "fields.g", "where"], "{errors:#?}");
    assert!(errors[0].span.is_some());
    assert!(errors[4].message.contains("must be true or false"));
}

fn parent() -> Vec<Field> {
    let field = |name: &str, field_type| Field { name: name.into(), field_type };
    vec![field("farm", FieldType::Text), field("power", FieldType::Decimal(3))]
}

fn record(values: [Value; 2]) -> Record {
    let decoder = Decoder::new(&spec()).unwrap();
    Record { values: values.into(), ..run(&decoder, &message("{}"), &Tables::default()).remove(0).unwrap() }
}

#[test]
fn a_child_keeps_its_parents_fields_or_names_its_own() {
    let north = record([text("north"), Value::Decimal(1_500)]);
    let keep = Derivation::new(&DerivationSpec { parent: parent(), fields: None, filter: None }).unwrap();
    assert_eq!(keep.fields(), parent());
    assert_eq!(keep.derive(&north).unwrap(), (north.values.clone(), true));
    let own = DerivationSpec {
        parent: parent(),
        fields: Some(vec![
            field("site", "farm", None),
            field("power", "power", FieldType::Decimal(0)),
            formula("twice", "power * 2"),
        ]),
        filter: Some("twice == 4 && site == 'north'".into()),
    };
    let own = Derivation::new(&own).unwrap_or_else(|errors| panic!("{errors:#?}"));
    let (values, passes) = own.derive(&north).unwrap();
    assert_eq!((values.to_vec(), passes), (vec![text("north"), Value::Decimal(2), Value::Decimal(4)], true));
    assert!(!own.derive(&record([Value::Null, Value::Decimal(1_500)])).unwrap().1);
}

#[test]
fn a_childs_mistakes_are_named() {
    let spec = DerivationSpec {
        parent: parent(),
        fields: Some(vec![
            field("a", "frm", None),
            field("b", "farm", FieldType::Decimal(0)),
            field("c", "power", FieldType::Bool),
            field("c", "power", None),
            field("d", "power", FieldType::Decimal(19)),
        ]),
        filter: Some("power".into()),
    };
    let errors = Derivation::new(&spec).unwrap_err();
    let paths: Vec<&str> = errors.iter().map(|e| e.path.as_str()).collect();
    assert_eq!(paths, ["fields.a.at", "fields.b.type", "fields.c.type", "fields.c", "fields.d.type", "where"], "{errors:#?}");
    assert!(errors[0].message.contains("did you mean `farm`?"));
}
