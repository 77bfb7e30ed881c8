//! The job in its versions, as its file says it.

use std::fmt::Write as _;

/// Of the job: more than any reading is late.
pub const LATENESS_S: i64 = 180;
/// A silence that ends a session, and the size of `above`.
pub const GAP_S: i64 = 30;
pub const ABOVE_S: i64 = 600;
pub const FINE_S: i64 = 30;
pub const ODD_S: i64 = 90;
pub const EVEN_S: i64 = 120;

/// What versions differ in.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    /// `where: n >= …`.
    pub at_least: i64,
    pub spans_s: i64,
    /// The aggregate of `spans.most`.
    pub most: &'static str,
    /// Views of these names.
    pub more: Vec<&'static str>,
}

/// Where everything is.
pub struct Places {
    /// Of the job and of its topic.
    pub name: String,
    pub kafka: String,
    pub redis: String,
    pub cassandra: String,
    pub keyspace: String,
}

/// Views that only Cassandra keeps: their rows leave the ledger once they are final.
pub const COLD_ONLY: [&str; 2] = ["fine", "naps"];

impl Version {
    /// The first one.
    pub fn first() -> Version {
        Version { at_least: 0, spans_s: 60, most: "max", more: vec!["all", "odd"] }
    }

    /// Its views.
    pub fn views(&self) -> Vec<&'static str> {
        [&["spans", "above", "fine", "naps"][..], &self.more].concat()
    }

    /// The job file.
    pub fn file(&self, places: &Places) -> String {
        let Places { name, kafka, redis, cassandra, keyspace } = places;
        let Version { at_least, spans_s, most, .. } = self;
        let mut file = format!(
            "\
caudal: 1
name: {name}
streams:
  readings:
    from: {{kafka: {{topics: [{name}], properties: {{bootstrap.servers: '{kafka}'}}}}}}
    id: /id
    event_time: {{at: /at, format: unix_ms}}
    watermark: {{max_delay: 2s, idle_after: 10m, all_idle: hold}}
    lateness: {LATENESS_S}s
    fields: {{unit: {{at: /unit, type: text, default: unknown}}, n: {{at: /n, type: integer}}}}
    where: n >= {at_least}
views:
  spans: {{from: readings, window: {{tumbling: {spans_s}s}}, group_by: [unit], select: {{events: count(), total: sum(n), most: {most}(n)}}}}
  above: {{from: spans, window: {{tumbling: {ABOVE_S}s}}, group_by: [unit], select: {{events: merge(events), total: merge(total)}}}}
"
        );
        let windows = [
            ("fine", format!("{{tumbling: {FINE_S}s}}")),
            ("naps", format!("{{session: {GAP_S}s}}")),
            ("all", "none".to_owned()),
            ("odd", format!("{{tumbling: {ODD_S}s}}")),
            ("even", format!("{{tumbling: {EVEN_S}s}}")),
        ];
        let views = self.views();
        for (view, window) in windows.into_iter().filter(|(view, _)| views.contains(view)) {
            let _ = writeln!(
                file,
                "  {view}: {{from: readings, window: {window}, group_by: [unit], select: {{events: count(), total: sum(n)}}}}"
            );
        }
        let hot: Vec<&str> = views.iter().filter(|view| !COLD_ONLY.contains(view)).copied().collect();
        let _ = write!(
            file,
            "\
sinks:
  hot:
    redis: {{url: 'redis://{redis}'}}
    keep: [{}]
  cold:
    cassandra: {{contact_points: ['{cassandra}'], keyspace: {keyspace}}}
    keep: {{views: all, dead_letters: all}}
",
            hot.join(", ")
        );
        file
    }

    /// The paths that a start on the state of `before` must name.
    pub fn differences(&self, before: &Version) -> Vec<String> {
        let mut paths = Vec::new();
        if self.at_least != before.at_least {
            paths.push(format!("streams.readings.where: n >= {} → n >= {}", before.at_least, self.at_least));
        }
        if self.spans_s != before.spans_s {
            paths.push("views.spans.window".to_owned());
        }
        if self.most != before.most {
            paths.push(format!("views.spans.select.most: {}(n) → {}(n)", before.most, self.most));
        }
        paths
    }
}
