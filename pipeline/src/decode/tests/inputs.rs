//! Bad input: each gets one rejection that names reason and place, and nothing panics.

use super::*;

fn rejected(spec: &DecoderSpec, body: impl Into<Vec<u8>>) -> String {
    words(&one(spec, body).unwrap_err())
}

#[test]
fn bodies_that_are_not_json_are_malformed() {
    let spec = spec();
    for (body, expected) in [
        (&b""[..], "malformed:  the body is empty"),
        (b"  ", "malformed:  nothing but white space where JSON was expected at byte 2 (line 1, column 3)"),
        (b"{\"a\":\"\xff\"}", "malformed:  invalid UTF-8 at byte 6 (line 1, column 7)"),
        (b"{\"a\":NaN}", "malformed: /a expected a JSON value, found `NaN` at byte 5 (line 1, column 6)"),
        (b"{\"a\":{\"b\":1,\"b\":1}}", "malformed: /a/b the same key twice in one object at byte 12 (line 1, column 13)"),
        (b"\0", "malformed:  expected a JSON value, found '\\0' at byte 0 (line 1, column 1)"),
        (
            b"{\"a\":\"\0\"}",
            "malformed: /a a control character in a string, which must be written `\\u00XX` at byte 6 (line 1, column 7)",
        ),
        (b"{} {}", "malformed:  more text after the end of the JSON value at byte 3 (line 1, column 4)"),
    ] {
        assert_eq!(rejected(&spec, body), expected, "{body:?}");
    }
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    assert!(rejected(&spec, deep).contains("nested deeper than 128 levels"));
}

#[test]
fn size_comes_before_everything_and_a_tombstone_before_the_format() {
    let spec = DecoderSpec { max_bytes: 8, ..spec() };
    let body = vec![b'x'; 10 << 20];
    assert_eq!(rejected(&spec, body), "too_large:  the message has 10485760 bytes, more than the 8 that are allowed");
    let decoder = Decoder::new(&spec).unwrap();
    let tombstone = Message::default();
    let (element, rejection) = run(&decoder, &tombstone, &Tables::default()).remove(0).unwrap_err();
    assert_eq!((element, rejection.reason), (0, Reason::Tombstone));
}

#[test]
fn ten_megabytes_within_the_limit_are_read() {
    let body = format!("[{}0]", "0,".repeat(5 << 20));
    assert!(one(&spec(), body).is_ok());
}

#[test]
fn fields_are_typed_exactly_and_every_wrong_one_is_named() {
    let spec = DecoderSpec {
        fields: Some(vec![
            field("power", "/power/active", FieldType::Decimal(3)),
            field("name", "/name", FieldType::Text),
            field("on", "/on", FieldType::Bool),
            field("seen", "/seen", FieldType::Time),
            FieldSpec { default: Some("-1.5".into()), ..field("level", "/level", FieldType::Decimal(1)) },
            FieldSpec { excess_digits: ExcessDigits::Reject, ..field("strict", "/strict", FieldType::Decimal(1)) },
        ]),
        ..spec()
    };
    let good = r#"{"power":{"active":812.3005},"name":"a\u0000b","on":true,"seen":"2026-01-01T00:00:00Z","strict":1.50}"#;
    assert_eq!(
        *one(&spec, good).unwrap().values,
        [Value::Decimal(812_300), text("a\0b"), Value::Bool(true), Value::Time(OPENED), Value::Decimal(-15), Value::Decimal(15)]
    );
    assert_eq!(
        *one(&spec, r#"{"power":null,"level":"2.5"}"#).unwrap().values,
        [Value::Null, Value::Null, Value::Null, Value::Null, Value::Decimal(25), Value::Null]
    );
    assert_eq!(
        rejected(&spec, r#"{"power":{"active":1e400},"name":1,"on":"yes","seen":"2026-02-30T00:00:00Z","strict":1.55}"#),
        "field: /name `name` must be text, is 1; /on `on` must be bool, is \"yes\"; /power/active `power` is out of range for \
         decimal(3), whose numbers are smaller than 4611686018427387.904: 1e400; /seen `seen` the time \"2026-02-30T00:00:00Z\" \
         that day does not exist; /strict `strict` has more than the declared 1 digits after the point: 1.55"
    );
}

#[test]
fn event_times_reach_from_year_1_to_9999() {
    let spec = DecoderSpec { event_time: EventTimeSpec { missing: Missing::DeadLetter, ..spec().event_time }, ..spec() };
    for (time, us) in [
        ("0001-01-01T00:00:00Z", rfc3339::MIN_US),
        ("9999-12-31T23:59:59.9999999Z", rfc3339::END_US - 1),
        ("2016-12-31T23:59:60Z", 1_483_228_800_000_000),
    ] {
        assert_eq!(one(&spec, format!("{{\"t\":\"{time}\"}}")).unwrap().event_time.0, us, "{time}");
    }
    for (body, expected) in [
        ("{}", "event_time: /t the event time is missing"),
        ("{\"t\":null}", "event_time: /t the event time is missing"),
        ("{\"t\":5}", "event_time: /t expected text, found the number 5"),
        ("{\"t\":[]}", "event_time: /t the event time must be text or a number, is an array of 0"),
        (
            "{\"t\":\"2026-01-01T00:00:00\"}",
            "event_time: /t the time \"2026-01-01T00:00:00\" must look like 2026-01-31T23:59:59.123Z, with an offset",
        ),
    ] {
        assert_eq!(rejected(&spec, body), expected, "{body}");
    }
    let lenient = DecoderSpec { event_time: EventTimeSpec { missing: Missing::Received, ..spec.event_time.clone() }, ..spec };
    assert_eq!(one(&lenient, "{}").unwrap().event_time.0, OPENED);
    assert_eq!(one(&lenient, "{\"t\":\"x\"}").unwrap_err().reason, Reason::EventTime);
}

#[test]
fn local_times_of_madrid_meet_gap_and_fold() {
    let format = |gap, fold| TimeFormat::Pattern { pattern: "%d/%m/%Y %H:%M".into(), zone: "Europe/Madrid".into(), gap, fold };
    let with = |gap, fold| DecoderSpec { event_time: EventTimeSpec { format: format(gap, fold), ..spec().event_time }, ..spec() };
    let time = |spec: &DecoderSpec, local: &str| one(spec, format!("{{\"t\":\"{local}\"}}")).map(|r| r.event_time.to_string());
    let strict = with(Gap::Reject, Fold::Reject);
    assert_eq!(time(&strict, "29/03/2026 02:30").unwrap_err().reason, Reason::EventTime);
    assert_eq!(time(&strict, "25/10/2026 02:30").unwrap_err().reason, Reason::EventTime);
    assert_eq!(time(&strict, "25/10/2026 12:30").unwrap(), "2026-10-25T11:30:00Z");
    assert_eq!(time(&with(Gap::Later, Fold::Earlier), "29/03/2026 02:30").unwrap(), "2026-03-29T01:30:00Z");
    assert_eq!(time(&with(Gap::Later, Fold::Earlier), "25/10/2026 02:30").unwrap(), "2026-10-25T00:30:00Z");
    assert_eq!(time(&with(Gap::Later, Fold::Later), "25/10/2026 02:30").unwrap(), "2026-10-25T01:30:00Z");
}

#[test]
fn ids_are_joined_and_their_size_does_not_matter() {
    let spec = DecoderSpec { id: Some(vec![at("/a"), at("/b"), at("$partition")]), ..spec() };
    let id = |body: &str| one(&spec, body).map(|record| record.id);
    assert_eq!(id(r#"{"a":"x","b":1.0}"#).unwrap(), Id::Given("x\u{1f}1.0\u{1f}3".into()));
    assert_eq!(words(&id(r#"{"a":"x"}"#).unwrap_err()), "field: /b a part of the id is missing");
    assert_eq!(words(&id(r#"{"a":{},"b":1}"#).unwrap_err()), "field: /a a part of the id must be text or a number, is an object");
    assert!(id(r#"{"a":"x\u001fy","b":1}"#).is_err());
    let single = DecoderSpec { id: Some(vec![at("/a")]), ..spec.clone() };
    let long = "x".repeat(1 << 20);
    assert_eq!(one(&single, format!("{{\"a\":\"{long}\"}}")).unwrap().id, Id::Given(long.into()));
    assert_eq!(words(&one(&single, r#"{"a":""}"#).unwrap_err()), "field: /a the id is empty");
    let origin = one(&super::spec(), "{}").unwrap();
    assert_eq!(origin.id, Id::Origin(origin.origin));
    assert_eq!((origin.origin.partition.0, origin.origin.offset.0, origin.origin.element), (7, 42, 0));
}

#[test]
fn without_configured_parts_a_header_names_the_record() {
    let named = |spec: &DecoderSpec, body: &str| {
        let decoder = Decoder::new(spec).unwrap().or_id_from_header("name");
        let message = Message { headers: [("name".to_owned(), b"k/3".to_vec())].into(), ..message(body) };
        let outcomes = run(&decoder, &message, &Tables::default());
        outcomes.into_iter().map(|outcome| outcome.unwrap().id).collect::<Vec<_>>()
    };
    assert_eq!(named(&spec(), "{}"), [Id::Given("k/3".into())]);
    let exploded = DecoderSpec { explode: Some("/rows".into()), ..spec() };
    let ids = ["k/3\u{1f}0", "k/3\u{1f}1"].map(|id| Id::Given(id.into()));
    assert_eq!(named(&exploded, r#"{"rows":[{},{}]}"#), ids);
    let configured = DecoderSpec { id: Some(vec![at("/a")]), ..spec() };
    assert_eq!(named(&configured, r#"{"a":"x"}"#), [Id::Given("x".into())]);
    let decoder = Decoder::new(&spec()).unwrap().or_id_from_header("name");
    let record = run(&decoder, &message("{}"), &Tables::default()).remove(0).unwrap();
    assert_eq!(record.id, Id::Origin(record.origin));
}

#[test]
fn metadata_are_values_and_content_is_the_hash_of_the_bytes() {
    let spec = DecoderSpec {
        fields: Some(vec![
            field("topic", "$topic", None),
            field("partition", "$partition", None),
            field("offset", "$offset", FieldType::Decimal(1)),
            field("key", "$key", None),
            field("trace", "$header.trace-id", None),
            field("received", "$received", None),
        ]),
        ..spec()
    };
    let decoder = Decoder::new(&spec).unwrap();
    let headers = [("trace-id".to_owned(), b"first".to_vec()), ("trace-id".to_owned(), b"last".to_vec())];
    let mut sent = Message { key: Some(b"k".to_vec()), headers: headers.into(), ..message("{}") };
    let record = run(&decoder, &sent, &Tables::default()).remove(0).unwrap();
    assert_eq!(
        *record.values,
        [text("readings"), Value::Decimal(3), Value::Decimal(420), text("k"), text("last"), Value::Time(OPENED)]
    );
    assert_eq!(record.content, xxhash_rust::xxh3::xxh3_64(b"{}"));
    sent.key = Some(vec![0xff]);
    let (_, rejection) = run(&decoder, &sent, &Tables::default()).remove(0).unwrap_err();
    assert_eq!(words(&rejection), "field: $key `key` must be text, is bytes that are not UTF-8");
}

#[test]
fn csv_reads_a_decimal_comma_and_columns_from_the_file() {
    let spec = DecoderSpec {
        format: Format::Csv { delimiter: b';', decimal: b',', columns: None },
        event_time: EventTimeSpec {
            at: Some(at("/hora")),
            format: TimeFormat::Pattern {
                pattern: "%d/%m/%Y %H:%M:%S".into(),
                zone: "Europe/Madrid".into(),
                gap: Gap::Reject,
                fold: Fold::Reject,
            },
            missing: Missing::DeadLetter,
        },
        fields: Some(vec![
            field("power", "/potencia", FieldType::Decimal(2)),
            field("name", "/nombre", FieldType::Text),
            field("hour", "/hora", FieldType::Time),
        ]),
        ..spec()
    };
    let decoder = Decoder::new(&spec).unwrap();
    let read = |header: &str, line: &str| {
        let headers = [(CSV_COLUMNS.to_owned(), header.as_bytes().to_vec())];
        run(&decoder, &Message { headers: headers.into(), ..message(line) }, &Tables::default())
            .remove(0)
            .map_err(|(_, r)| words(&r))
    };
    let record = read("hora;potencia;nombre\r\n", "31/01/2026 12:00:00;-1234,567;\"uno; dos\"\r\n").unwrap();
    let noon = record.event_time.0;
    assert_eq!(record.event_time.to_string(), "2026-01-31T11:00:00Z");
    assert_eq!(*record.values, [Value::Decimal(-123_457), text("uno; dos"), Value::Time(noon)]);
    assert_eq!(read("hora;potencia;nombre", "31/01/2026 12:00:00;;").unwrap().values[0], Value::Null);
    for (header, line, expected) in [
        ("hora;potencia;nombre", "31/01/2026 12:00:00;1.5;x", "field: /potencia `power` must be a number, is \"1.5\""),
        ("hora;potencia;nombre", "31/01/2026 12:00:00;1", "malformed:  the record has 2 cells, but there are 3 columns"),
        ("hora;hora", "a;b", "malformed:  the header line: two columns are called `hora`"),
    ] {
        assert_eq!(read(header, line).unwrap_err(), expected);
    }
    let (_, rejection) = run(&decoder, &message("a;b;c"), &Tables::default()).remove(0).unwrap_err();
    assert!(words(&rejection).contains("the columns have no names"));
}

#[test]
fn no_bytes_make_it_panic() {
    // A seeded walk over mutations of a good message; the seed is the number in the failure.
    let spec = DecoderSpec {
        explode: Some("/r".into()),
        id: Some(vec![at("./i")]),
        fields: Some(vec![field("v", "./v", FieldType::Decimal(2))]),
        schema: Some(SchemaSpec::Whole(document(
            r#"{"properties":{"r":{"items":{"required":["i"],"properties":{"v":{"maximum":9}}}}}}"#,
        ))),
        ..spec()
    };
    let decoder = Decoder::new(&spec).unwrap();
    const BYTES: &[u8] = b"\"\\{}[],:0e-.u\xff\xc3 n";
    let good = r#"{"r":[{"i":"\u00e9\ud834\udd1e","v":-1.5e1},{"i":2,"v":"3"}],"t":"2026-01-01T00:00:00.5+01:00"}"#.as_bytes();
    for seed in 0..5_000u64 {
        let mut body = good.to_vec();
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for _ in 0..=seed % 3 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (place, byte) = ((state >> 33) as usize % body.len(), BYTES[(state >> 20) as usize % BYTES.len()]);
            match (state >> 60) % 3 {
                0 => body[place] = byte,
                1 => body.insert(place, byte),
                _ => body.truncate(place.max(1)),
            }
        }
        let all = run(&decoder, &message(body), &Tables::default());
        assert!(!all.is_empty(), "seed {seed}");
    }
}
