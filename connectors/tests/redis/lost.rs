//! A server that has gone back is found out by the next cut, and is given everything again.

use super::{asof, cli, cli_at, config, service, sink, v};
use crate::cuts::{context, cut, job, row};
use caudal_connectors::redis::RedisSink;
use caudal_pipeline::ports::sink::{Cut, Republished, Sink, SinkError};
use caudal_pipeline::time::Epoch;
use xtask::services::redis::RedisOptions;

/// A cut that begins to give again what was lost.
fn begins(cut: Cut, ends: bool) -> Cut {
    Cut { republished: Some(Republished { begun: cut.place(), ends }), ..cut }
}

/// A cut that goes on with what another has begun.
fn goes_on(begun: &Cut, cut: Cut, ends: bool) -> Cut {
    Cut { republished: Some(Republished { begun: begun.place(), ends }), ..cut }
}

/// As a mark holds it.
fn place(generation: u64, version: i64, step: u32) -> String {
    format!("{generation:020}{}{step:010}", v(version))
}

fn assert_lost(sink: &mut RedisSink, cut: &Cut) {
    let refused = sink.write(cut);
    let Err(SinkError::Lost(said)) = &refused else { panic!("{refused:?}") };
    assert!(said.contains("has lost writes"), "{said}");
}

#[test]
fn a_board_that_went_back_is_written_whole_and_says_what_may_be_old() {
    let job = job("failover");
    let mut sink = sink(&job);
    sink.write(&cut(0, 5, vec![row("a", 1, 5), row("old", 1, 5)])).unwrap();
    // The server that took over never saw version 7.
    let next = cut(7, 8, vec![row("a", 3, 8)]);
    assert_lost(&mut sink, &next);
    assert_eq!((asof(&job, "v"), asof(&job, "lost_after")), (v(5), String::new()));

    let begun = begins(next, false);
    sink.write(&begun).unwrap();
    assert_eq!((asof(&job, "v"), asof(&job, "lost_after")), (v(8), v(5)));
    assert_eq!(cli(&["HKEYS", &format!("{{{job}}}:latest:per_minute")]), ["a"]);
    // The same again, as after a crash.
    sink.write(&begun).unwrap();
    assert_eq!(asof(&job, "lost_after"), v(5));

    // A cursor that a crash took back knows nothing of it, and is told.
    assert_lost(&mut sink, &cut(8, 9, vec![row("a", 4, 9)]));
    sink.write(&goes_on(&begun, cut(8, 9, vec![row("a", 4, 9)]), false)).unwrap();
    assert_eq!((asof(&job, "v"), asof(&job, "lost_after")), (v(9), v(5)));
    // Nothing new, and the last of the old: no version moves.
    sink.write(&goes_on(&begun, Cut { latest: vec![], ..cut(9, 9, vec![row("old", 1, 5)]) }, true)).unwrap();
    assert_eq!((asof(&job, "v"), asof(&job, "lost_after")), (v(9), String::new()));
    sink.write(&cut(9, 10, vec![row("a", 5, 10)])).unwrap();

    // It may be over with one cut, and may happen while it lasts.
    assert_lost(&mut sink, &cut(11, 12, vec![]));
    let begun = begins(cut(11, 12, vec![row("a", 5, 10)]), false);
    sink.write(&begun).unwrap();
    assert_lost(&mut sink, &goes_on(&begun, cut(13, 14, vec![]), true));
    assert_eq!(asof(&job, "lost_after"), v(10));
    sink.write(&begins(cut(13, 14, vec![row("a", 5, 10)]), true)).unwrap();
    assert_eq!((asof(&job, "v"), asof(&job, "lost_after")), (v(14), String::new()));

    // A job that begins anew writes the whole board.
    sink.write(&Cut { from: Epoch(0), ..cut(0, 15, vec![row("b", 5, 15)]) }).unwrap();
    assert_eq!(cli(&["HKEYS", &format!("{{{job}}}:latest:per_minute")]), ["b"]);
}

#[test]
fn a_lost_cut_is_missed_although_no_epoch_came_after_the_one_before() {
    let job = job("steps");
    let mut sink = sink(&job);
    let begun = begins(cut(4, 5, vec![row("a", 0, 5)]), false);
    // What was lost is written again in cuts that end where they begin.
    let old = |step: u32, ends| {
        let rows = vec![row("a", i64::from(step), 5)];
        goes_on(&begun, Cut { previous_step: step - 1, step, latest: vec![], ..cut(5, 5, rows) }, ends)
    };
    sink.write(&begun).unwrap();
    for cut in [old(1, false), old(2, false), old(1, false)] {
        sink.write(&cut).unwrap();
    }
    assert_eq!((asof(&job, "v"), asof(&job, "at"), asof(&job, "lost_after")), (v(5), place(0, 5, 2), v(0)));

    // The server that takes over knows of the first of them, then of none.
    let key = format!("{{{job}}}:asof");
    cli(&["HSET", &key, "at", &place(0, 5, 1)]);
    assert_lost(&mut sink, &old(3, true));
    cli(&["HSET", &key, "at", &place(0, 5, 0)]);
    assert_lost(&mut sink, &old(2, true));
    let next = Cut { previous_step: 3, ..cut(5, 6, vec![]) };
    assert_lost(&mut sink, &goes_on(&begun, next.clone(), true));
    sink.write(&begins(next, true)).unwrap();
    assert_eq!((asof(&job, "v"), asof(&job, "at"), asof(&job, "lost_after")), (v(6), place(0, 6, 0), String::new()));
    sink.write(&cut(6, 7, vec![])).unwrap();
}

#[test]
fn what_a_process_repeats_is_missed_although_the_one_before_was_further() {
    let job = job("generations");
    let mut sink = sink(&job);
    let by = |previous_generation, generation, cut| Cut { previous_generation, generation, ..cut };
    sink.write(&by(0, 1, cut(0, 5, vec![row("a", 1, 5)]))).unwrap();
    sink.write(&by(1, 1, cut(5, 9, vec![row("a", 2, 9)]))).unwrap();
    // The next process begins at 5, and what readers see stays.
    sink.write(&by(1, 2, cut(5, 6, vec![row("old", 1, 4)]))).unwrap();
    assert_eq!((asof(&job, "v"), asof(&job, "at")), (v(9), place(2, 6, 0)));
    // Its predecessor comes late.
    sink.write(&by(1, 1, cut(9, 10, vec![row("a", 2, 10)]))).unwrap();
    assert_eq!((asof(&job, "v"), asof(&job, "at")), (v(10), place(2, 6, 0)));
    sink.write(&by(2, 2, cut(6, 7, vec![]))).unwrap();

    // The server that takes over has all of the first process, and nothing of the second.
    cli(&["HSET", &format!("{{{job}}}:asof"), "v", &v(9), "at", &place(1, 9, 0)]);
    assert_lost(&mut sink, &by(2, 2, cut(7, 8, vec![])));
    let begun = begins(by(2, 2, cut(7, 8, vec![])), false);
    sink.write(&begun).unwrap();
    // Another loss, while it is given again; then what the first process had ended comes late, and ends nothing.
    cli(&["HSET", &format!("{{{job}}}:asof"), "at", &place(1, 9, 0)]);
    assert_lost(&mut sink, &goes_on(&begun, by(2, 2, cut(8, 9, vec![])), true));
    let anew = begins(by(2, 2, cut(8, 9, vec![])), false);
    sink.write(&anew).unwrap();
    let late = by(1, 1, cut(9, 10, vec![]));
    sink.write(&begins(late.clone(), false)).unwrap();
    assert_eq!(asof(&job, "again"), place(2, 9, 0));
    sink.write(&goes_on(&anew, late, true)).unwrap();
    assert_ne!(asof(&job, "lost_after"), "");
    sink.write(&goes_on(&anew, by(2, 2, cut(9, 11, vec![])), true)).unwrap();
    assert_eq!((asof(&job, "at"), asof(&job, "lost_after")), (place(2, 11, 0), String::new()));

    // It is given again before the frontiers are where they were: that is not done twice, and readers are told until then.
    cli(&["HSET", &format!("{{{job}}}:asof"), "v", &v(20), "at", &place(1, 9, 0)]);
    sink.write(&begins(by(2, 2, cut(11, 12, vec![])), true)).unwrap();
    sink.write(&by(2, 2, cut(12, 13, vec![]))).unwrap();
    assert_eq!((asof(&job, "at"), asof(&job, "lost_after")), (place(2, 13, 0), v(20)));
    sink.write(&by(2, 2, cut(13, 21, vec![]))).unwrap();
    assert_eq!((asof(&job, "v"), asof(&job, "lost_after")), (v(21), String::new()));

    // The predecessor comes between two pages.
    let page = |number, more| Cut { page: number, more, latest: vec![], ..by(2, 2, cut(21, 22, vec![])) };
    let late = Cut { page: 1, more: true, latest: vec![], ..by(1, 1, cut(10, 11, vec![])) };
    for part in [page(0, true), late, by(1, 1, cut(10, 11, vec![])), page(1, false)] {
        sink.write(&part).unwrap();
    }
    assert_eq!(asof(&job, "at"), place(2, 22, 0));
}

#[test]
fn a_job_that_begins_anew_is_not_measured_by_the_one_before() {
    let job = job("anew");
    let mut sink = sink(&job);
    sink.write(&Cut { generation: 7, ..cut(0, 5, vec![row("a", 1, 5)]) }).unwrap();
    // The state folder was taken away.
    sink.write(&Cut { generation: 1, ..cut(0, 6, vec![row("b", 1, 6)]) }).unwrap();
    assert_eq!((asof(&job, "v"), asof(&job, "at")), (v(6), place(1, 6, 0)));
    assert_lost(&mut sink, &Cut { previous_generation: 1, generation: 1, ..cut(7, 8, vec![]) });

    // It was put back from a copy, to before processes that came later.
    cli(&["HSET", &format!("{{{job}}}:asof"), "at", &place(9, 6, 0)]);
    let by = |previous_generation, cut| Cut { previous_generation, generation: 3, ..cut };
    let page = |number, more| Cut { page: number, more, latest: vec![], ..by(1, cut(6, 9, vec![])) };
    sink.write(&page(0, true)).unwrap();
    assert_lost(&mut sink, &page(2, false));
    sink.write(&page(1, false)).unwrap();
    assert_eq!(asof(&job, "at"), place(3, 9, 0));
    assert_lost(&mut sink, &by(3, cut(10, 11, vec![])));
}

#[test]
fn a_lost_page_is_missed_by_the_next_one() {
    let job = job("pages");
    let mut sink = sink(&job);
    sink.write(&cut(0, 5, vec![row("a", 1, 5)])).unwrap();
    let page = |number, more| Cut {
        page: number,
        more,
        latest: vec![],
        ..cut(5, 9, vec![row("a", 2 + i64::from(number), 6 + i64::from(number))])
    };
    for part in [page(0, true), page(1, true), page(1, true), page(2, false), page(2, false)] {
        sink.write(&part).unwrap();
    }
    assert_eq!((asof(&job, "v"), asof(&job, "page")), (v(9), String::new()));

    // The server that took over knows of the first page, or of none.
    let key = format!("{{{job}}}:asof");
    for marked in [Some(0), None] {
        sink.write(&page(0, true)).unwrap();
        cli(&["HSET", &key, "v", &v(5), "at", &place(0, 5, 0)]);
        match marked {
            Some(number) => cli(&["HSET", &key, "page", &format!("{}:{number}", place(0, 9, 0))]),
            None => cli(&["HDEL", &key, "page"]),
        };
        for part in [page(2, true), page(2, false)] {
            assert_lost(&mut sink, &part);
        }
        sink.write(&begins(page(0, true), false)).unwrap();
        assert_lost(&mut sink, &begins(page(2, false), true));
        sink.write(&begins(page(1, false), true)).unwrap();
        assert_eq!((asof(&job, "v"), asof(&job, "page"), asof(&job, "lost_after")), (v(9), String::new(), String::new()));
    }
}

#[test]
fn an_emptied_server_is_noticed() {
    let server = service::start(&RedisOptions::default()).unwrap();
    let url = format!("redis://{}", server.address);
    let mut sink = RedisSink::new(config(&url), context("emptied"));
    sink.prepare().unwrap();
    sink.write(&cut(0, 5, vec![row("a", 1, 5)])).unwrap();
    assert_eq!(cli_at(&url, &["FLUSHALL"]), ["OK"]);
    assert_lost(&mut sink, &cut(5, 6, vec![row("b", 1, 6)]));
    sink.write(&begins(cut(5, 6, vec![row("b", 1, 6), row("a", 1, 5)]), true)).unwrap();
    assert!(cli_at(&url, &["ZRANGE", "emptied:per_minute:{a}", "0", "-1"]).concat().contains(&v(5)));
    assert_eq!(cli_at(&url, &["HGET", "{emptied}:asof", "v"]), [v(6)]);
}
