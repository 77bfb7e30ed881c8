//! A server that has gone back is found out by the next cut, and is given everything again.

use super::{asof, cli, cli_at, config, service, sink, v};
use crate::cuts::{context, cut, job, row};
use caudal_connectors::redis::RedisSink;
use caudal_pipeline::ports::sink::{Cut, Republished, Sink, SinkError};
use caudal_pipeline::time::Epoch;
use xtask::services::redis::RedisOptions;

fn again(cut: Cut, begins: bool, ends: bool) -> Cut {
    Cut { republished: Some(Republished { begins, ends }), ..cut }
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

    let begun = again(next, true, false);
    sink.write(&begun).unwrap();
    assert_eq!((asof(&job, "v"), asof(&job, "lost_after")), (v(8), v(5)));
    assert_eq!(cli(&["HKEYS", &format!("{{{job}}}:latest:per_minute")]), ["a"]);
    // The same again, as after a crash.
    sink.write(&begun).unwrap();
    assert_eq!(asof(&job, "lost_after"), v(5));

    // A cursor that a crash took back knows nothing of it, and is told.
    assert_lost(&mut sink, &cut(8, 9, vec![row("a", 4, 9)]));
    sink.write(&again(cut(8, 9, vec![row("a", 4, 9)]), false, false)).unwrap();
    assert_eq!((asof(&job, "v"), asof(&job, "lost_after")), (v(9), v(5)));
    // Nothing new, and the last of the old: no version moves.
    sink.write(&again(Cut { latest: vec![], ..cut(9, 9, vec![row("old", 1, 5)]) }, false, true)).unwrap();
    assert_eq!((asof(&job, "v"), asof(&job, "lost_after")), (v(9), String::new()));
    sink.write(&cut(9, 10, vec![row("a", 5, 10)])).unwrap();

    // It may be over with one cut, and may happen while it lasts.
    assert_lost(&mut sink, &cut(11, 12, vec![]));
    sink.write(&again(cut(11, 12, vec![row("a", 5, 10)]), true, false)).unwrap();
    assert_lost(&mut sink, &again(cut(13, 14, vec![]), false, true));
    assert_eq!(asof(&job, "lost_after"), v(10));
    sink.write(&again(cut(13, 14, vec![row("a", 5, 10)]), true, true)).unwrap();
    assert_eq!((asof(&job, "v"), asof(&job, "lost_after")), (v(14), String::new()));

    // A job that begins anew writes the whole board.
    sink.write(&Cut { from: Epoch(0), ..cut(0, 15, vec![row("b", 5, 15)]) }).unwrap();
    assert_eq!(cli(&["HKEYS", &format!("{{{job}}}:latest:per_minute")]), ["b"]);
}

#[test]
fn a_lost_cut_is_missed_although_no_epoch_came_after_the_one_before() {
    let job = job("steps");
    let mut sink = sink(&job);
    // What was lost is written again in cuts that end where they begin.
    let old = |step: u32, ends| {
        let rows = vec![row("a", i64::from(step), 5)];
        again(Cut { previous_step: step - 1, step, latest: vec![], ..cut(5, 5, rows) }, false, ends)
    };
    sink.write(&again(cut(4, 5, vec![row("a", 0, 5)]), true, false)).unwrap();
    for cut in [old(1, false), old(2, false), old(1, false)] {
        sink.write(&cut).unwrap();
    }
    assert_eq!((asof(&job, "v"), asof(&job, "step"), asof(&job, "lost_after")), (v(5), "2".into(), v(0)));

    // The server that takes over knows of the first of them, then of none.
    let key = format!("{{{job}}}:asof");
    cli(&["HSET", &key, "step", "1"]);
    assert_lost(&mut sink, &old(3, true));
    cli(&["HDEL", &key, "step"]);
    assert_lost(&mut sink, &old(2, true));
    let next = Cut { previous_step: 3, ..cut(5, 6, vec![]) };
    assert_lost(&mut sink, &again(next.clone(), false, true));
    sink.write(&again(next, true, true)).unwrap();
    assert_eq!((asof(&job, "v"), asof(&job, "step"), asof(&job, "lost_after")), (v(6), "0".into(), String::new()));
    sink.write(&cut(6, 7, vec![])).unwrap();
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
        cli(&["HSET", &key, "v", &v(5)]);
        match marked {
            Some(number) => cli(&["HSET", &key, "page", &format!("{}0000000000:{number}", v(9))]),
            None => cli(&["HDEL", &key, "page"]),
        };
        for part in [page(2, true), page(2, false)] {
            assert_lost(&mut sink, &part);
        }
        sink.write(&again(page(0, true), true, false)).unwrap();
        assert_lost(&mut sink, &again(page(2, false), true, true));
        sink.write(&again(page(1, false), true, true)).unwrap();
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
    sink.write(&again(cut(5, 6, vec![row("b", 1, 6), row("a", 1, 5)]), true, true)).unwrap();
    assert!(cli_at(&url, &["ZRANGE", "emptied:per_minute:{a}", "0", "-1"]).concat().contains(&v(5)));
    assert_eq!(cli_at(&url, &["HGET", "{emptied}:asof", "v"]), [v(6)]);
}
