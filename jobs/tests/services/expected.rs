//! What the stores must hold: recomputed from the messages that a plain consumer finds in Kafka.

use crate::broker;
use crate::stored::DeadLetters;
use caudal_jobs::jobfile::{Job, tables};
use caudal_jobs::recompute::{Input, Output, recompute};
use caudal_pipeline::decode::Tables;
use caudal_pipeline::engine::Status;
use caudal_pipeline::plan::{Plan, WindowPlan};
use caudal_pipeline::ports::sink::Row;
use caudal_pipeline::record::{Message, Partition, Reason, Verdict};
use caudal_pipeline::time::EventTime;
use caudal_pipeline::value::Cell;
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;

/// A row by view, group and window start.
pub type Key = (String, Vec<String>, String);
/// Rows with their columns, and `end`.
pub type Rows = BTreeMap<Key, Map<String, Json>>;

/// Everything recomputed.
pub struct Expected {
    /// The messages it was recomputed from.
    pub messages: Vec<(Partition, Vec<Message>)>,
    output: Output,
    plan: Plan,
}

impl Expected {
    /// Reads the topics again and recomputes; refusals that depended on arrival are taken from `dead_letters`.
    pub fn of(job: &Job, topics: &[&str], dead_letters: &DeadLetters, watermarks: &[EventTime]) -> Expected {
        Expected::of_messages(job, topics.iter().flat_map(|topic| broker::contents(topic)).collect(), dead_letters, watermarks)
    }

    /// The same from messages that are read already.
    pub fn of_messages(
        job: &Job,
        messages: Vec<(Partition, Vec<Message>)>,
        dead_letters: &DeadLetters,
        watermarks: &[EventTime],
    ) -> Expected {
        let arrival = [Reason::TooLate, Reason::TooFarInFuture, Reason::Conflict];
        let decided = dead_letters.0.iter().filter(|letter| arrival.contains(&letter.reason));
        let tables = load_tables(job);
        let input = Input {
            plan: &job.plan,
            tables: &tables,
            messages: BTreeMap::from([(0, messages.clone())]),
            decided: decided.map(|letter| (letter.place.clone(), letter.reason)).collect(),
            watermarks: watermarks.to_vec(),
        };
        let output = recompute(&input);
        Expected { messages, output, plan: job.plan.clone() }
    }

    /// Records by verdict are as the job counted them, and add up.
    pub fn assert_counts(&self, status: &Status, dead_letters: &DeadLetters) {
        let counted: BTreeMap<_, _> = status.counts.iter().map(|(key, (records, _))| (*key, *records)).collect();
        assert_eq!(counted, self.output.counts, "counted by the job, and recomputed");
        let rejected = |(_, verdict): &(u32, Verdict)| matches!(verdict, Verdict::Rejected(_));
        let refused: u64 = counted.iter().filter(|(key, _)| rejected(key)).map(|(_, records)| records).sum();
        assert_eq!(refused, dead_letters.0.len() as u64, "a dead letter for each refused record");
        for (key, records) in counted.iter().filter(|(key, _)| rejected(key)) {
            let Verdict::Rejected(reason) = key.1 else { continue };
            let kept = dead_letters.0.iter().filter(|letter| letter.reason == reason).count() as u64;
            assert_eq!(kept, *records, "dead letters for {reason:?}");
        }
    }

    /// Records of the first stream, whatever became of them.
    pub fn received(&self) -> u64 {
        self.output.counts.iter().filter(|((stream, _), _)| *stream == 0).map(|(_, records)| records).sum()
    }

    /// Records of the first stream that became this.
    pub fn records(&self, verdict: Verdict) -> u64 {
        self.output.counts.get(&(0, verdict)).copied().unwrap_or(0)
    }

    /// Dead letters have the bytes that Kafka has.
    pub fn assert_originals(&self, dead_letters: &DeadLetters) {
        for letter in &dead_letters.0 {
            let (_, partition, offset, _) = &letter.place;
            let messages = &self.messages.iter().find(|(name, _)| name == partition).expect("a known partition").1;
            let at = messages.binary_search_by_key(offset, |message| message.offset.0).expect("a known offset");
            let message = &messages[at];
            assert_eq!((&letter.payload, &letter.key), (&message.payload, &message.key), "{partition:?}@{offset}");
        }
    }

    /// Rows of a view, as stores write them: `of` says which of them, `cell` how a store writes a value.
    pub fn rows(&self, view: &str, of: impl Fn(&Row) -> bool, cell: impl Fn(&Cell) -> Json) -> Rows {
        let at = self.plan.views.iter().position(|plan| plan.name == view).expect("a view of the job");
        let plan = &self.plan.views[at];
        let one = |row: &Row| {
            let group =
                plan.group.iter().zip(&row.group).map(|(field, value)| text(&Cell::of(value, field.field_type).to_json()));
            let mut columns = Map::from_iter([("end".to_owned(), bound(row.end))]);
            columns.extend(plan.columns.iter().zip(&row.cells).map(|(column, value)| (column.name.clone(), cell(value))));
            ((view.to_owned(), group.collect(), text(&bound(row.start))), columns)
        };
        self.output.rows.iter().filter(|row| row.view == at && of(row)).map(one).collect()
    }

    /// All rows of a view.
    pub fn all(&self, view: &str) -> Rows {
        self.rows(view, |_| true, Cell::to_json)
    }

    /// Rows of a view that are complete at `watermark`, or have no window.
    pub fn complete(&self, view: &str, watermark: EventTime) -> impl Fn(&Row) -> bool {
        let unwindowed = self.plan.views.iter().any(|plan| plan.name == view && plan.window == WindowPlan::Unwindowed);
        move |row| unwindowed || row.end <= watermark
    }
}

/// A JSON value as it stands in a key.
pub fn text(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn bound(at: EventTime) -> Json {
    if at == EventTime::MIN || at == EventTime::MAX { Json::Null } else { Json::from(at.to_string()) }
}

fn load_tables(job: &Job) -> Tables {
    let rows = job.tables.iter().zip(&job.plan.tables).map(|(source, plan)| {
        let text = std::fs::read_to_string(&source.path).unwrap();
        tables::rows(&text, source, plan).unwrap()
    });
    Tables::new(&job.plan.tables, &rows.collect::<Vec<_>>()).unwrap()
}

/// The same rows with the same columns, or the first difference.
pub fn assert_same(store: &str, expected: &Rows, found: &Rows) {
    for (key, columns) in expected {
        match found.get(key) {
            None => panic!("{store}: {key:?} is missing; it has {} of {} rows", found.len(), expected.len()),
            Some(other) => assert_eq!(other, columns, "{store}: {key:?}, found and expected"),
        }
    }
    let more = found.keys().find(|key| !expected.contains_key(*key));
    assert_eq!(more, None, "{store}: a row that nothing explains");
}
