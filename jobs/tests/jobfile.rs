//! Job files that are wrong, each beside the words that it must be answered with: `bad/x.yaml` and `bad/x.txt`.
//!
//! A first line `# --set path=value` gives an override. To write the answers anew, after reading what changed:
//! `UPDATE_EXPECTED=1 cargo test -p caudal --test jobfile`.

use caudal_connectors::cassandra::config as cassandra;
use caudal_connectors::file::config as file;
use caudal_connectors::kafka::config as kafka;
use caudal_connectors::redis::config as redis;
use caudal_jobs::jobfile::json_schema::json_schema;
use caudal_jobs::jobfile::resolved::{masked, resolved};
use caudal_jobs::jobfile::{
    Emission, HttpSpec, Job, KeptView, Mistakes, Override, SourceSpec, StoreSpec, Surroundings, TableSource, read, yaml,
};
use caudal_pipeline::plan::{
    CalendarUnit, Deduplicate, DeduplicateScope, Limits, StreamInput, TablePlan, ViewInput, WatermarkPlan, WindowPlan,
};
use caudal_pipeline::time::Span;
use caudal_pipeline::value::{Field, FieldType};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/jobfile")
}

/// Reads a job below the folder, with two variables and one secret.
fn read_job(name: &str, overrides: Vec<Override>) -> Result<Job, Mistakes> {
    let around = Surroundings {
        variable: &|name| match name {
            "HOME_BROKER" => Some("home:9092".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        },
        file: &|path| match path.to_str() {
            Some("/run/secret") => Ok("hunter2\n".into()),
            _ => std::fs::read_to_string(folder().join(path)).map_err(|e| match e.kind() {
                std::io::ErrorKind::NotFound => "no such file".to_string(),
                _ => e.to_string(),
            }),
        },
        overrides,
        fits: &|job| match job.plan.limits.memory_bytes {
            Some(bytes) if bytes < 1 << 20 => Err(format!("{bytes} B cannot hold the job, which needs 1 MiB")),
            _ => Ok(()),
        },
    };
    read(name, &around)
}

fn overrides(text: &str) -> Vec<Override> {
    let lines = text.lines().take_while(|l| l.starts_with("# --set "));
    lines.map(|l| Override::Set(l["# --set ".len()..].to_string())).collect()
}

#[test]
fn wrong_files_are_answered_in_the_expected_words() {
    let mut names: Vec<PathBuf> = std::fs::read_dir(folder().join("bad"))
        .expect("the folder is there")
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    names.sort();
    assert!(names.len() > 20, "the folder has lost its files");
    let mut differing = Vec::new();
    for path in names {
        let text = std::fs::read_to_string(&path).expect("a case can be read");
        let name = format!("bad/{}", path.file_name().expect("a file has a name").to_string_lossy());
        let answer = match read_job(&name, overrides(&text)) {
            Ok(_) => "no mistake\n".to_string(),
            Err(mistakes) => format!("{mistakes}\n"),
        };
        let expected_path = path.with_extension("txt");
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            std::fs::write(&expected_path, &answer).expect("the answer can be written");
        }
        let expected = std::fs::read_to_string(&expected_path).unwrap_or_default();
        if answer != expected {
            differing.push(format!("--- expected\n{expected}--- answered\n{answer}"));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

fn good(name: &str) -> Job {
    read_job(name, Vec::new()).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn field(name: &str, field_type: FieldType) -> Field {
    Field { name: name.into(), field_type }
}

#[test]
fn the_wind_farm_becomes_the_plan_it_describes() {
    let job = good("good/wind.yaml");
    let plan = &job.plan;
    assert_eq!(plan.name, "wind-farm");
    assert_eq!(plan.limits, Limits { memory_bytes: Some(6 << 30), events_per_s: Some(500), groups: Some(100) });
    let table = TablePlan {
        name: "generators".into(),
        key: vec!["generator_id".into()],
        columns: ["generator_id", "farm", "rated_kw"].map(|c| field(c, FieldType::Text)).to_vec(),
    };
    assert_eq!(plan.tables, [table]);
    assert_eq!(job.tables, [TableSource { path: "good/../shared/generators.csv".into(), delimiter: b',' }]);

    let [stream] = plan.streams.as_slice() else { panic!("one stream") };
    let fields =
        [field("generator_id", FieldType::Text), field("farm", FieldType::Text), field("power_kw", FieldType::Decimal(3))];
    assert_eq!(stream.fields, fields);
    assert_eq!(stream.lateness, Span::seconds(3600));
    assert_eq!(stream.deduplicate, Some(Deduplicate { within: Span::seconds(3600), scope: DeduplicateScope::Stream }));
    let watermark = WatermarkPlan {
        max_delay: Span::seconds(10),
        idle_after: Span::seconds(30),
        max_future: Span::seconds(60),
        max_ahead: Span::seconds(3600),
        advance_when_all_idle: true,
    };
    assert_eq!(stream.watermark, watermark);

    let [minute, hour] = plan.views.as_slice() else { panic!("two views") };
    assert_eq!(minute.from, ViewInput::Stream { stream: 0, group_by: vec![1] });
    assert_eq!(minute.window, WindowPlan::Tumbling { size: Span::seconds(60) });
    assert_eq!(hour.from, ViewInput::View { view: 0, group_by: vec![0], merge: vec![0, 1, 2, 3, 4] });
    assert_eq!(hour.window, WindowPlan::Tumbling { size: Span::seconds(3600) });
    assert_eq!((hour.stream, &hour.group, &hour.aggregates), (0, &minute.group, &minute.aggregates));
    assert_eq!(hour.columns, minute.columns);
    let names: Vec<&str> = minute.columns.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names[..4], ["mean_power", "max_power", "max_generator", "events"]);
}

#[test]
fn the_wind_farm_reads_and_writes_where_it_says() {
    let job = good("good/wind.yaml");
    let broker: BTreeMap<String, String> = [("bootstrap.servers".to_string(), "localhost:9092".to_string())].into();
    let topics = kafka::Topics::Named(vec!["wind.readings".into()]);
    let source = kafka::SourceConfig { topics, start: kafka::Start::Earliest, properties: broker.clone() };
    assert_eq!(job.sources, [(0, SourceSpec::Kafka(source))]);

    let kept = |view, emission| KeptView { view, emission };
    let [hot, cold, bus] = job.sinks.as_slice() else { panic!("three sinks") };
    let redis =
        redis::Config { servers: redis::Servers::One("redis://localhost:6379".into()), tls_ca: None, board_groups_max: 10_000 };
    assert_eq!((hot.name.as_str(), &hot.store), ("hot", &StoreSpec::Redis(redis)));
    assert_eq!((hot.keep.as_slice(), hot.dead_letters, hot.events), (&[kept(0, Emission::OnUpdate)][..], false, false));
    assert_eq!(hot.retain, Some(Span::seconds(3 * 86_400)));

    let StoreSpec::Cassandra(cassandra) = &cold.store else { panic!("cold is Cassandra") };
    assert_eq!((&cassandra.contact_points, cassandra.create), (&vec!["localhost:9042".to_string()], cassandra::Create::Missing));
    let replication = [("class", "SimpleStrategy"), ("replication_factor", "1")].map(|(k, v)| (k.to_string(), v.to_string()));
    assert_eq!(cassandra.replication, replication.into());
    assert_eq!(cold.keep, [kept(0, Emission::OnComplete), kept(1, Emission::OnComplete)]);
    assert_eq!((cold.dead_letters, cold.events, cold.retain), (true, true, Some(Span::seconds(5 * 365 * 86_400))));

    let publish = vec![
        kafka::Publication { what: kafka::Published::DeadLetters, topic: "deadletter.validation".into() },
        kafka::Publication { what: kafka::Published::View { view: 0, key: vec![0] }, topic: "analytics.window".into() },
    ];
    assert_eq!(bus.store, StoreSpec::Kafka(kafka::SinkConfig { properties: broker, publish }));
    assert_eq!((bus.keep.as_slice(), bus.dead_letters, bus.retain), (&[kept(0, Emission::OnComplete)][..], true, None));
}

#[test]
fn every_form_of_a_key_is_read() {
    let job = good("good/everything.yaml");
    let names: Vec<&str> = job.plan.streams.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["west", "measured", "posted", "made", "pattern", "east"], "parents before children");
    let [west, measured, .., pattern, east] = job.plan.streams.as_slice() else { panic!("six streams") };
    assert_eq!(west.watermark.max_ahead, Span::seconds(7200));
    assert!(!west.watermark.advance_when_all_idle && measured.watermark.advance_when_all_idle);
    assert_eq!(west.deduplicate, Some(Deduplicate { within: Span::seconds(120), scope: DeduplicateScope::Partition }));
    assert_eq!(measured.deduplicate, None);
    assert!(matches!(east.from, StreamInput::Stream(0, _)));
    assert_eq!((east.lateness, east.watermark), (west.lateness, west.watermark));
    assert_eq!((pattern.lateness, pattern.watermark.max_ahead), (Span(0), Span::seconds(10)));

    let views: Vec<&str> = job.plan.views.iter().map(|v| v.name.as_str()).collect();
    assert_eq!(views, ["hour", "slide", "runs", "seen", "day", "month"], "lower views before upper ones");
    let madrid = |unit| WindowPlan::Calendar { unit, zone: "Europe/Madrid".into() };
    assert_eq!(
        [&job.plan.views[4].window, &job.plan.views[5].window],
        [&madrid(CalendarUnit::Day), &madrid(CalendarUnit::Month)]
    );
    assert_eq!(job.plan.views[5].from, ViewInput::View { view: 4, group_by: vec![], merge: vec![0] });
    assert_eq!(job.plan.views[5].columns[0].name, "best");

    let SourceSpec::File(files) = &job.sources[1].1 else { panic!("a file") };
    assert_eq!(
        (files.paths.as_slice(), files.framing),
        (&["good/measured.csv".to_string()][..], file::Framing::Csv { delimiter: b';' })
    );
    assert_eq!(job.sources[2].1, SourceSpec::Http(HttpSpec { partitions: 1 }));
    let SourceSpec::Generate(made) = &job.sources[3].1 else { panic!("a generator") };
    assert_eq!(made.profile.to_string(), r#"{"rate":1.50,"seed":7}"#, "numbers keep their digits");
    let SourceSpec::Kafka(kafka) = &job.sources[4].1 else { panic!("topics") };
    assert_eq!(
        (&kafka.topics, kafka.start),
        (&kafka::Topics::Pattern("^wind[.].*$".into()), kafka::Start::Timestamp(1_769_817_600_000_000))
    );

    let [files, local] = job.sinks.as_slice() else { panic!("two sinks") };
    let kept = |view, emission| KeptView { view, emission };
    assert_eq!(files.keep, [kept(0, Emission::OnComplete), kept(3, Emission::OnUpdate)]);
    assert_eq!(local.keep, [kept(0, Emission::Every(Span::seconds(1))), kept(4, Emission::OnFinal)]);
    assert_eq!((local.store.clone(), local.events, local.dead_letters), (StoreSpec::Embedded, true, false));
}

#[test]
fn without_sinks_the_embedded_store_keeps_everything() {
    let job = read_job("good/wind.yaml", vec![Override::Set("sinks={}".into())]).expect("no sink is fine");
    let [sink] = job.sinks.as_slice() else { panic!("one sink") };
    assert_eq!((sink.name.as_str(), &sink.store, sink.keep.len()), ("embedded", &StoreSpec::Embedded, 2));
    assert!(sink.dead_letters && sink.retain.is_none());
}

#[test]
fn the_resolved_job_hides_secrets_and_reads_back_the_same() {
    let job = good("good/everything.yaml");
    let text = resolved(&job);
    assert!(
        !text.contains("hunter2") && text.contains("'sasl.password': '***'") || text.contains("sasl.password: '***'"),
        "{text}"
    );
    assert_eq!(masked("login with hunter2 failed", &job), "login with *** failed");
    let around = Surroundings {
        variable: &|_| None,
        file: &|path| match path.to_str() {
            Some("good/resolved.yaml") => Ok(text.clone()),
            _ => std::fs::read_to_string(folder().join(path)).map_err(|e| e.to_string()),
        },
        overrides: Vec::new(),
        fits: &|_| Ok(()),
    };
    let again = read("good/resolved.yaml", &around).unwrap_or_else(|mistakes| panic!("{mistakes}\n{text}"));
    assert_eq!(again.fingerprint, job.fingerprint);
    assert_eq!(again.sinks, job.sinks);
}

#[test]
fn the_fingerprint_moves_only_with_what_alters_results() {
    let with = |set: &str| {
        let job = read_job("good/wind.yaml", vec![Override::Set(set.into())]);
        job.unwrap_or_else(|mistakes| panic!("{mistakes}")).fingerprint
    };
    let original = good("good/wind.yaml").fingerprint;
    let same = [
        "limits.memory=4GiB",
        "sinks.hot.retain=4d",
        "streams.readings.lateness=60m",
        "streams.readings.from.kafka.properties.bootstrap.servers=other:9092",
        "streams.readings.from.kafka.start=latest",
    ];
    for set in same {
        assert_eq!(with(set), original, "{set}");
    }
    for set in [
        "streams.readings.lateness=61m",
        "views.per_minute.select.events=count(power_kw)",
        "streams.readings.schema=../shared/reading_v2.json",
    ] {
        assert_ne!(with(set), original, "{set}");
    }
}

#[test]
fn the_job_files_schema_accepts_what_the_reader_accepts() {
    let schema = json_schema();
    for name in ["good/wind.yaml", "good/everything.yaml"] {
        let text = std::fs::read_to_string(folder().join(name)).expect("the file is there");
        let job = yaml::parse(name, &text, &mut Vec::new()).expect("the file is YAML").to_json();
        let validator = jsonschema::validator_for(&schema).expect("the schema is one");
        let errors: Vec<String> = validator.iter_errors(&job).map(|e| format!("{name}{}: {e}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{}", errors.join("\n"));
    }
}

/// The tree of a file with each node in turn replaced, as YAML that JSON is a part of.
fn damaged(json: &serde_json::Value, out: &mut Vec<serde_json::Value>, rebuild: &dyn Fn(serde_json::Value) -> serde_json::Value) {
    use serde_json::{Value as Json, json};
    for other in [json!(null), json!([]), json!({}), json!("x"), json!(0), json!("${NONE}"), json!(["x"]), json!({"x": "y"})] {
        out.push(rebuild(other));
    }
    match json {
        Json::Object(map) => {
            for (key, value) in map {
                let with = |new: Option<Json>| {
                    let mut copy = map.clone();
                    match new {
                        Some(new) => copy.insert(key.clone(), new),
                        None => copy.remove(key),
                    };
                    rebuild(Json::Object(copy))
                };
                out.push(with(None));
                damaged(value, out, &|new| with(Some(new)));
            }
        }
        Json::Array(items) => {
            for (i, value) in items.iter().enumerate() {
                damaged(value, out, &|new| {
                    let mut copy = items.clone();
                    copy[i] = new;
                    rebuild(Json::Array(copy))
                });
            }
        }
        _ => {}
    }
}

/// The reader is silent about a value that is not as it should be, because the grammar has noted it. Were the grammar
/// to miss one, a job could be refused without a word; so each value of two jobs is damaged in each way.
#[test]
fn no_damage_is_refused_without_a_word() {
    for name in ["good/wind.yaml", "good/everything.yaml"] {
        let text = std::fs::read_to_string(folder().join(name)).expect("the file is there");
        let tree = yaml::parse(name, &text, &mut Vec::new()).expect("the file is YAML").to_json();
        let mut variants = Vec::new();
        damaged(&tree, &mut variants, &|new| new);
        assert!(variants.len() > 300);
        for variant in variants {
            let text = variant.to_string();
            let around = Surroundings {
                variable: &|_| None,
                file: &|path| match path.to_str() {
                    Some("good/damaged.yaml") => Ok(text.clone()),
                    Some("/run/secret") => Ok("hunter2".into()),
                    _ => std::fs::read_to_string(folder().join(path)).map_err(|e| e.to_string()),
                },
                overrides: Vec::new(),
                fits: &|_| Ok(()),
            };
            if let Err(mistakes) = read("good/damaged.yaml", &around) {
                assert!(!mistakes.is_empty(), "refused without a word: {text}");
            }
        }
    }
}

/// Whatever the bytes, there is an answer.
#[test]
fn no_cut_of_a_file_stops_the_reader() {
    let text = std::fs::read_to_string(folder().join("good/everything.yaml")).expect("the file is there");
    let cuts: Vec<String> =
        (0..text.len()).filter(|i| text.is_char_boundary(*i)).step_by(7).map(|i| text[..i].to_string()).collect();
    let without_line = (0..text.lines().count()).map(|n| {
        let kept: Vec<&str> = text.lines().enumerate().filter(|(i, _)| *i != n).map(|(_, line)| line).collect();
        kept.join("\n")
    });
    let odd = [
        "\0",
        "\u{feff}",
        "- a",
        "a",
        "{}",
        "[[[[",
        "? a\n: b",
        "%YAML 1.2\n---\na: 1",
        "\u{85}",
        "a: \"\\uD800\"",
        "caudal: 1\nname: \u{1F600}",
    ];
    for text in cuts.into_iter().chain(without_line).chain(odd.map(String::from)).chain([format!("a: {}", "[".repeat(10_000))]) {
        let around = Surroundings {
            variable: &|_| None,
            file: &|path| if path.ends_with("cut.yaml") { Ok(text.clone()) } else { Err("no such file".into()) },
            overrides: Vec::new(),
            fits: &|_| Ok(()),
        };
        if let Err(mistakes) = read("cut.yaml", &around) {
            assert!(!mistakes.is_empty(), "refused without a word: {text}");
        }
    }
}
