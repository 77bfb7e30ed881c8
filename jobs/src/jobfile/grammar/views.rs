//! `views.<name>`.

use crate::jobfile::shape::{Key, Keys, Names, Shape, Zero, optional, required};

/// A view.
pub static VIEW: Shape = Shape::Map(&Keys::of(&[
    required("from", &Shape::Identifier, "the stream or view that it aggregates"),
    required("window", &WINDOW, "how event time is cut, such as `{tumbling: 1m}`; `none` keeps one row a group for ever"),
    optional("group_by", &Shape::OneOrMany(&Shape::Text), "the fields that make a group"),
    required("select", &SELECT, "the columns, such as `mean_power: mean(power_kw)`; `rollup` takes those of the view below"),
]));

static WINDOW: Shape = Shape::Either { scalar: Some(&Shape::Choice(&["none"])), list: None, map: Some(&WINDOW_MAP) };

static WINDOW_MAP: Shape = Shape::Map(&Keys { keys: WINDOW_KEYS, one_of: &["tumbling", "sliding", "session"] });

static WINDOW_KEYS: &[Key] = &[
    optional("tumbling", &Shape::WindowSize, "the length of adjoining windows"),
    optional("sliding", &Shape::Duration(Zero::Refused(NO_WINDOW)), "the length of overlapping windows, a multiple of `every`"),
    optional("every", &Shape::Duration(Zero::Refused(NO_WINDOW)), "the distance between the ends of sliding windows"),
    optional("session", &Shape::Duration(Zero::Refused(NO_WINDOW)), "the pause that ends a session"),
    optional("zone", &Shape::Text, "the time zone of tumbling days, weeks and months"),
];

/// Why no length in a window may be zero.
pub const NO_WINDOW: &str = "a window of zero holds nothing: write a length such as `1m`";

static SELECT: Shape = Shape::Either {
    scalar: Some(&Shape::Choice(&["rollup"])),
    list: None,
    map: Some(&Shape::Named(Names::Identifiers, &Shape::Expression)),
};
