//! The board by one MULTI, and the rows of each of its groups.

use super::lives::Stage;
use super::resp::{Connection, Reply};
use super::seen::Seen;
use super::watch::Watch;
use crate::redis;
use caudal_jobs::jobfile::{Job, StoreSpec};
use caudal_pipeline::plan::WindowPlan;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const PACE: Duration = Duration::from_millis(20);
/// Of each group so many of its newest windows are read: late records correct older ones.
const WINDOWS: &str = "-70";

/// What one MULTI has answered: groups and members by view.
pub struct Board {
    pub version: u64,
    /// Whether the server has lost writes, which are not all written again yet.
    pub lacks: bool,
    pub views: BTreeMap<String, Vec<(String, String)>>,
}

/// Watches a job's rows in Redis; `check` is told of every board.
pub fn watch(stage: &Arc<Stage>, job: &Job, check: impl Fn(&Board) + Send + 'static) -> Watch<Seen> {
    watch_at(stage, job, &redis::shared(), check)
}

/// The same at another server than the shared one.
pub fn watch_at(stage: &Arc<Stage>, job: &Job, address: &str, check: impl Fn(&Board) + Send + 'static) -> Watch<Seen> {
    let (name, views, shared) = (job.plan.name.clone(), views(job), stage.clone());
    let connection = std::sync::Mutex::new(Connection::open(address));
    Watch::start(stage, PACE, Seen::default(), move |seen| {
        let mut connection = connection.lock().expect("one thread looks");
        let answers = connection.ask(&asks_board(&name, &views));
        let Some(board) = board(answers, &views) else { return };
        assert!(!board.lacks, "no call was lost");
        shared.board(board.version);
        seen.look();
        seen.row("the board", "the board", board.version, &format!("{:?}", board.views));
        check(&board);
        for (view, group, member) in board.views.iter().flat_map(|(view, rows)| rows.iter().map(move |(g, m)| (view, g, m))) {
            saw(seen, "the board", view, group, member);
        }
        rows(&mut connection, &name, &views, &board, seen);
    })
}

/// The views that a job keeps in Redis, and whether each has no windows.
pub fn views(job: &Job) -> Vec<(String, bool)> {
    let hot = job.sinks.iter().find(|sink| matches!(sink.store, StoreSpec::Redis(_))).expect("the job keeps rows there");
    let views = hot.keep.iter().map(|kept| &job.plan.views[kept.view]);
    views.map(|view| (view.name.clone(), view.window == WindowPlan::Unwindowed)).collect()
}

/// What asks for the board as of one moment.
pub fn asks_board(job: &str, views: &[(String, bool)]) -> Vec<Vec<String>> {
    let mut commands = vec![words(&["MULTI"]), words(&["HGETALL", &format!("{{{job}}}:asof")])];
    commands.extend(views.iter().map(|(view, _)| words(&["HGETALL", &format!("{{{job}}}:latest:{view}")])));
    commands.push(words(&["EXEC"]));
    commands
}

/// The board in the answers; nothing while there is none.
pub fn board(mut answers: Vec<Reply>, views: &[(String, bool)]) -> Option<Board> {
    let Some(Reply::List(answers)) = answers.pop() else { panic!("EXEC answers a list") };
    let asof: BTreeMap<String, String> = answers[0].pairs().into_iter().collect();
    let lacks = asof.contains_key("lost_after");
    let version = asof.get("v")?.parse().expect("a version is digits");
    let fields = |reply: &Reply| {
        let mut pairs = reply.pairs();
        pairs.sort();
        pairs
    };
    let views = views.iter().zip(&answers[1..]).map(|((view, _), reply)| (view.clone(), fields(reply))).collect();
    Some(Board { version, lacks, views })
}

/// The newest windows of every group on the board.
fn rows(connection: &mut Connection, job: &str, views: &[(String, bool)], board: &Board, seen: &mut Seen) {
    let groups: Vec<(&str, &str, bool)> = views
        .iter()
        .flat_map(|(view, unwindowed)| {
            board.views[view].iter().map(move |(group, _)| (view.as_str(), group.as_str(), *unwindowed))
        })
        .collect();
    let range = |(view, group, unwindowed): &(&str, &str, bool)| {
        words(&["ZRANGE", &format!("{job}:{view}:{{{group}}}"), if *unwindowed { "0" } else { WINDOWS }, "-1"])
    };
    let answers = connection.ask(&groups.iter().map(range).collect::<Vec<_>>());
    for ((view, group, _), reply) in groups.iter().zip(answers) {
        reply.texts().into_iter().for_each(|member| saw(seen, "rows by group", view, group, &member));
    }
}

fn saw(seen: &mut Seen, place: &'static str, view: &str, group: &str, member: &str) {
    let row: Json = serde_json::from_str(member).unwrap_or_else(|error| panic!("{member}: {error}"));
    let version = row["v"].as_str().and_then(|version| version.parse().ok()).expect("a member has a version");
    seen.row(place, &format!("{view} {group} {}", row["start"]), version, member);
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
